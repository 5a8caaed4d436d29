/**
 * What the runtime needs to know to decode by copying (runtime/forms.ts): which opcodes are followed by a ModRM byte, and
 * for an instruction that is to be kept, its flags and which number it ends with.
 */
import { assert } from '../../core/errors.ts';
import * as L from '../layout.ts';
import { type OpcodeTable, VEX_MAPS } from '../table/compile.ts';
import { isLegacyPrefix } from './decode.ts';
import type { Insn } from './insn.ts';

const MAPS = VEX_MAPS + 4;

/** Functions of the runtime. */
export interface FormRuntime {
  /** See runtime/forms.ts. */
  writeKnown(first: number, base: number, offset: number, most: number, refused: number): number;
  keepForm(
    at: number,
    record: number,
    offset: number,
    length: number,
    immediate: number,
    flags: number,
  ): number;
  /** See runtime/pairs.ts. */
  joinPairs(first: number, end: number): void;
}

/** What matters to a block about an instruction: FORM_ENDS, FORM_INDIRECT, FORM_VECTOR, FORM_MMX, FORM_LEAVES. */
export function formFlags(insn: Insn): number {
  const { def, operands } = insn;
  let flags = def.ends ? L.FORM_ENDS : 0;
  // those that the runtime does may find that there is nothing to do
  if (def.ends && def.helper === undefined) flags |= L.FORM_LEAVES;
  const kind = operands[0]?.kind;
  if ((def.name === 'jmp' || def.name === 'call') && (kind === 'gpr' || kind === 'mem'))
    flags |= L.FORM_INDIRECT;
  for (const operand of operands) {
    if (operand.kind === 'xmm') flags |= L.FORM_VECTOR;
    else if (operand.kind === 'mmx') flags |= L.FORM_MMX;
  }
  return flags;
}

export class FormStore {
  readonly #words: Int32Array;
  readonly #runtime: FormRuntime;

  constructor(memory: ArrayBufferLike, runtime: FormRuntime, table: OpcodeTable) {
    this.#words = new Int32Array(memory);
    this.#runtime = runtime;
    const kinds = new Uint8Array(memory, L.FORM_OPCODES, MAPS * 256);
    for (let map = 0; map < MAPS; map++)
      for (let opcode = 0; opcode < 256; opcode++) kinds[256 * map + opcode] = kindOf(table, map, opcode);
  }

  /**
   * Writes records as long as the forms of instructions are known.
   * @returns offset behind them | their number << 16 | flags of the last one << 24
   */
  write(record: number, base: number, offset: number, most: number, refused: number): number {
    return this.#runtime.writeKnown(record, base, offset, most, refused);
  }

  /** Keeps the form of an instruction of 64-bit code at `at` that has been decoded to `record`. */
  keep(insn: Insn, at: number, record: number): void {
    if (insn.def.shapedByImmediate) return;
    const immediate = immediateOf(insn);
    if (immediate < 0) return;
    let flags = formFlags(insn);
    if (insn.operands.some(({ kind }) => kind === 'rel')) flags |= L.FORM_RELATIVE;
    if (insn.mem !== undefined) flags |= insn.mem.ripRelative ? L.FORM_MEMORY | L.FORM_RIP : L.FORM_MEMORY;
    const words = this.#words.subarray(record >> 2, (record + L.REC_BYTES) >> 2);
    const before = words.slice();
    this.#runtime.keepForm(at, record, insn.offset, insn.length, immediate, flags);
    assert(
      words.every((word, i) => word === before[i]),
      `decoder: filling in the form of ${insn.def.name} does not give its record`,
    );
  }
}

/** What follows an opcode, or what the byte is: FORM_PLAIN … FORM_VEX3. */
function kindOf(table: OpcodeTable, map: number, opcode: number): number {
  if (map === 0) {
    if (isLegacyPrefix(opcode)) return L.FORM_PREFIX;
    if ((opcode & 0xf0) === 0x40) return L.FORM_REX;
    if (opcode === 0x0f) return L.FORM_ESCAPE;
    if (opcode === 0xc5) return L.FORM_VEX2;
    if (opcode === 0xc4) return L.FORM_VEX3;
  }
  const candidates = table.candidates(map, opcode);
  if (!candidates.some((def) => def.hasModrm)) return L.FORM_PLAIN;
  return candidates.every((def) => def.hasModrm) ? L.FORM_MODRM : L.FORM_UNCLEAR;
}

/** What kind of number the immediate operand is; -1 for operands that are decoded each time. */
function immediateOf(insn: Insn): number {
  let found: number = L.NUMBER_NONE;
  for (const code of insn.def.operandCodes) {
    const kind = immediateKind(code, insn.opsize);
    if (kind === L.NUMBER_NONE) continue;
    if (kind < 0 || found !== L.NUMBER_NONE) return -1;
    found = kind;
  }
  return found;
}

function immediateKind(code: string, opsize: 2 | 4 | 8): number {
  switch (code) {
    case 'Ib':
      return 1 | L.NUMBER_UNSIGNED;
    case 'Ibs':
    case 'Jb':
      return 1;
    case 'Iw':
      return 2 | L.NUMBER_UNSIGNED;
    case 'Iz':
    case 'Jz':
      return opsize === 2 ? 2 : 4;
    case 'Iv':
      return opsize;
    // an address, or a far pointer, in the place of an immediate
    case 'Ob':
    case 'Ov':
    case 'Ap':
      return -1;
    default:
      return L.NUMBER_NONE;
  }
}
