/** Writes a decoded instruction into the memory where handlers and runtime functions read it (layout.ts, REC_*). */
import * as L from '../layout.ts';
import type { CompiledDef } from '../table/compile.ts';
import type { Insn, Operand } from './insn.ts';
import { SEG_DS, SEG_FS } from './decode.ts';

const SLOTS = [L.REC_R0, L.REC_R1, L.REC_R2];

/** What a register operand's slot holds: an address, or a register number where there is no plain storage; -1 for others. */
function slotValue(operand: Operand): number {
  switch (operand.kind) {
    case 'gpr':
      return L.GPR + 8 * operand.reg + (operand.high ? 1 : 0);
    case 'xmm':
      return L.XMM + 16 * operand.reg;
    case 'mmx':
      return L.X87 + 16 * operand.reg;
    case 'seg':
    case 'cr':
    case 'dr':
    case 'st':
      return operand.reg;
    default:
      return -1;
  }
}

const gprAddress = (reg: number): number => (reg < 0 ? L.ZERO : L.GPR + 8 * reg);

/** A 64-bit integer; most fit in 32 bits, and BigInt is slow. */
export function setInt64(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === 'bigint') {
    view.setBigInt64(at, value, true);
    return;
  }
  view.setInt32(at, value | 0, true);
  view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** A displacement: RIP-relative ones, counted from the page, may be a little more than 32 bits. */
export function setDisplacement(view: DataView, at: number, value: number): void {
  const low = value | 0;
  view.setInt32(at + L.REC_DISP, low, true);
  if (low !== value) view.setUint16(at + L.REC_INDEX, low < value ? L.PLUS_4G : L.MINUS_4G, true);
}

export function writeRecord(view: DataView, at: number, insn: Insn, handler: number, long: boolean): void {
  view.setUint32(at + L.REC_HANDLER, handler, true);
  view.setUint16(at + L.REC_OFFSET, insn.offset, true);
  view.setUint8(at + L.REC_LENGTH, insn.length);
  const { mem, operands, segOverride } = insn;
  view.setUint8(
    at + L.REC_FLAGS,
    insn.rep | (insn.lock ? L.REC_FLAG_LOCK : 0) | (mem !== undefined ? L.REC_FLAG_MEM : 0),
  );
  view.setInt32(at + L.REC_R0, 0, true);
  view.setUint16(at + L.REC_R2, 0, true);
  view.setUint8(at + L.REC_OPSIZE, insn.opsize);
  view.setUint8(at + L.REC_ADDRSIZE, insn.addrsize);
  const seg = mem !== undefined ? mem.seg : segOverride < 0 ? SEG_DS : segOverride;
  view.setUint8(at + L.REC_SEG, seg);
  view.setUint16(at + L.REC_SEGBASE, long && seg < SEG_FS ? L.ZERO : L.SEG_BASE + 8 * seg, true);
  view.setInt32(at + L.REC_DISP, 0, true);
  view.setInt32(at + L.REC_MEM_IMM, 0, true);
  if (mem === undefined) {
    view.setUint16(at + L.REC_BASE, L.ZERO, true);
    view.setUint16(at + L.REC_INDEX, L.ZERO, true);
    view.setUint8(at + L.REC_SCALE, 0);
  } else {
    view.setUint16(at + L.REC_BASE, mem.ripRelative ? L.VBASE : gprAddress(mem.base), true);
    view.setUint16(at + L.REC_INDEX, gprAddress(mem.index), true);
    view.setUint8(at + L.REC_SCALE, mem.scale);
    if (hasAddress(insn.def)) setInt64(view, at + L.REC_ADDRESS, mem.disp);
    else setDisplacement(view, at, Number(mem.disp));
  }
  let immediates = 0;
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i]!;
    const value = slotValue(operand);
    if (value >= 0) view.setUint16(at + SLOTS[i]!, value, true);
    else if (operand.kind === 'rel') setInt64(view, at + L.REC_IMM, operand.reg);
    else if (operand.kind === 'imm') {
      if (insn.def.operandCodes[i] === 'Ap') {
        // far pointer: offset in the first immediate, selector in the second
        view.setBigInt64(at + L.REC_IMM, BigInt(operand.value), true);
      } else if (immediates++ > 0) view.setInt32(at + L.REC_IMM2, Number(operand.value), true);
      else if (mem !== undefined) view.setInt32(at + L.REC_MEM_IMM, Number(operand.value), true);
      else setInt64(view, at + L.REC_IMM, operand.value);
    }
  }
}

/** A move between memory at an address in the instruction, and the accumulator: the only displacement of 64 bits. */
export function hasAddress(def: CompiledDef): boolean {
  return def.operandCodes.includes('Ob') || def.operandCodes.includes('Ov');
}

/** A record that is no guest instruction (end of block, undefined encoding): only its place and handler count. */
export function writeMarker(
  view: DataView,
  at: number,
  offset: number,
  length: number,
  handler: number,
): void {
  for (let i = 0; i < L.REC_BYTES; i += 8) view.setBigInt64(at + i, 0n, true);
  view.setUint32(at + L.REC_HANDLER, handler, true);
  view.setUint16(at + L.REC_OFFSET, offset, true);
  view.setUint8(at + L.REC_LENGTH, length);
}
