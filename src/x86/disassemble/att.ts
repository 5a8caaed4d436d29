/**
 * A decoded instruction as text in AT&T syntax, as QEMU's monitor prints it: suffixes that tell the size, operands with
 * the destination last, numbers beyond nine in hexadecimal. What the names and operands are comes from the opcode
 * table; here is only where the syntax has its own ways.
 */
import type { Insn, MemAddress, Operand } from '../decode/insn.ts';
import { mnemonic } from './names.ts';

const R64 = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
const R16 = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const R8 = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'];
const HIGH = ['ah', 'ch', 'dh', 'bh'];
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];
const SEG_ES = 0;

export function registerName(reg: number, size: number, high = false): string {
  if (high) return HIGH[reg]!;
  if (reg >= 8) return `r${reg}${size === 8 ? '' : size === 4 ? 'd' : size === 2 ? 'w' : 'b'}`;
  if (size === 8) return R64[reg]!;
  if (size === 4) return `e${R16[reg]!}`;
  return (size === 2 ? R16 : R8)[reg]!;
}

/** Numbers to nine are decimal. */
export function formatNumber(value: bigint): string {
  const size = value < 0n ? -value : value;
  return `${value < 0n ? '-' : ''}${size > 9n ? `0x${size.toString(16)}` : size.toString()}`;
}

/** The instruction's place, for branch targets. */
export interface Place {
  readonly address: bigint;
  /** Bits of an address: 16, 32 or 64. */
  readonly bits: 16 | 32 | 64;
  /** The segment prefix, also where it has no effect; -1 for none. */
  readonly override: number;
}

function memory(insn: Insn, mem: MemAddress, place: Place): string {
  const size = insn.addrsize;
  const name = (reg: number): string => `%${registerName(reg, size)}`;
  let disp = BigInt(mem.disp);
  // The decoder has added what lies behind: the text shows the displacement itself.
  if (mem.ripRelative) disp -= BigInt(insn.length);
  const none = mem.base < 0 && mem.index < 0 && !mem.ripRelative;
  const prefix = place.override >= 0 ? `%${SEGMENTS[place.override]!}:` : '';
  if (none) {
    // A scaled index of nothing, or a plain address: as wide as addresses are.
    return `${prefix}${formatNumber(BigInt.asUintN(place.bits, disp))}`;
  }
  const shown = disp === 0n ? '' : formatNumber(size === 2 ? BigInt.asIntN(16, disp) : disp);
  if (mem.ripRelative) return `${prefix}${shown}(%${size === 8 ? 'rip' : 'eip'})`;
  const base = mem.base < 0 ? '' : name(mem.base);
  if (mem.index < 0) return `${prefix}${shown}(${base})`;
  const scale = mem.scale === 0 ? '' : `, ${1 << mem.scale}`;
  return `${prefix}${shown}(${base}, ${name(mem.index)}${scale})`;
}

function operandText(insn: Insn, operand: Operand, place: Place): string {
  switch (operand.kind) {
    case 'gpr':
      return `%${registerName(operand.reg, operand.size, operand.high)}`;
    case 'mem':
      return insn.mem === undefined ? '?' : memory(insn, insn.mem, place);
    case 'imm':
      return `$${formatNumber(immediate(insn, operand))}`;
    case 'xmm':
      return `%xmm${operand.reg}`;
    case 'mmx':
      return `%mm${operand.reg}`;
    case 'seg':
      return `%${SEGMENTS[operand.reg]!}`;
    case 'cr':
      return `%cr${operand.reg}`;
    case 'dr':
      return `%dr${operand.reg}`;
    case 'st':
      return `%st(${operand.reg})`;
    case 'rel':
      return formatNumber(BigInt.asUintN(place.bits, place.address + BigInt(operand.reg)));
  }
}

/** Extended bytes and 64-bit numbers are shown signed, masks and whole constants unsigned. */
const MASKS = /^(and|or|xor)$/;

function immediate({ def, operands, opsize }: Insn, operand: Operand): bigint {
  const value = BigInt(operand.value);
  const [first] = operands;
  const width = first?.kind === 'gpr' || first?.kind === 'mem' ? first.size : opsize;
  const signed = def.operandCodes.includes('Ibs') && !MASKS.test(def.name);
  if (width < 8 && !signed) return BigInt.asUintN(8 * Math.max(width, 1), value);
  const unsigned = MASKS.test(def.name) || (operand.size === 8 && def.operandCodes.includes('Iv'));
  return unsigned ? BigInt.asUintN(64, value) : value;
}

const STRINGS: Readonly<Record<string, readonly string[]>> = {
  movs: ['source', 'destination'],
  cmps: ['destination', 'source'],
  stos: ['accumulator', 'destination'],
  lods: ['source', 'accumulator'],
  scas: ['destination', 'accumulator'],
  ins: ['port', 'destination'],
  outs: ['source', 'port'],
};

/** String instructions have their operands in no encoding. */
function stringOperands(insn: Insn, size: number, place: Place): string[] {
  const index = (reg: number): string => `(%${registerName(reg, insn.addrsize)})`;
  const override = place.override >= 0 ? `%${SEGMENTS[place.override]!}:` : '';
  const extra = place.bits === 64 ? '' : `%${SEGMENTS[SEG_ES]!}:`;
  return STRINGS[insn.def.name]!.map((what) => {
    switch (what) {
      case 'source':
        return `${override}${index(6)}`;
      case 'destination':
        return `${extra}${index(7)}`;
      case 'port':
        return '%dx';
      default:
        return `%${registerName(0, size)}`;
    }
  });
}

/** @returns the mnemonic with its prefixes, and the operands */
export function formatAtt(insn: Insn, place: Place): { readonly name: string; readonly operands: string } {
  const { def, rep, lock } = insn;
  const shown = mnemonic(insn);
  const string = STRINGS[def.name] !== undefined;
  let operands: string[];
  if (string) operands = stringOperands(insn, shown.size, place);
  else {
    operands = (shown.operands ?? insn.operands).map((one) => operandText(insn, one, place));
    operands = shown.inOrder === true ? operands : operands.reverse();
  }
  if (shown.texts !== undefined) operands = [...shown.texts, ...operands];
  if (shown.indirect === true) operands = operands.map((one) => `*${one}`);
  let prefix = lock ? 'lock ' : '';
  if (string && rep !== 0)
    prefix = rep === 2 ? 'repne ' : def.name === 'cmps' || def.name === 'scas' ? 'repe ' : 'rep ';
  return { name: `${prefix}${shown.name}`, operands: operands.join(', ') };
}
