/**
 * Records of instructions that have been met before. What an instruction of 64-bit code is follows from its head
 * (prefixes, opcode, ModRM and SIB: Intel SDM volume 2, 2.1); only its place, displacement and immediate differ from one
 * occurrence to the next. So the record of each head is kept, and decoding it again is to copy that and fill in three
 * numbers, without an object being made.
 */
import { assert } from '../../core/errors.ts';
import * as L from '../layout.ts';
import { type OpcodeTable, VEX_MAPS } from '../table/compile.ts';
import { isLegacyPrefix } from './decode.ts';
import type { Insn } from './insn.ts';
import { setDisplacement, setInt64 } from './record.ts';

/** Longer heads than this are decoded each time: seven bytes and a mark fill two words. */
const MAX_HEAD = 7;
const MARK = 1 << 24;
/** The kept bytes of the two words that a head begins with, by its length. */
const LOW_MASK = [0, 0xff, 0xffff, 0xffffff, -1, -1, -1, -1];
const HIGH_MASK = [0, 0, 0, 0, 0, 0xff, 0xffff, 0xffffff];

/** Heads kept; a guest could make up any number of them, so when the store is full it is emptied. */
const MAX_FORMS = 1 << 15;
/** Slots of the hash: key low, key high, form; at most half of them are full. */
const SLOTS = 2 * MAX_FORMS;
const SLOT_WORDS = 3;

/** Of a form: the record, then length, kinds of displacement and immediate, and flags. */
const RECORD_WORDS = L.REC_BYTES / 4;
const FORM_WORDS = 16;
const LENGTH = RECORD_WORDS;
const DISPLACEMENT = RECORD_WORDS + 1;
const IMMEDIATE = RECORD_WORDS + 2;
const FLAGS = RECORD_WORDS + 3;

/** Numbers in the code: bytes, and whether they are sign-extended. */
const NO_NUMBER = 0;
const S8 = 1;
const S16 = 2;
const S32 = 4;
const U8 = 0x11;
const U16 = 0x12;
const S64 = 8;
const BYTES = 15;

/** What matters to a block about an instruction. */
export const FORM_ENDS = 1;
export const FORM_INDIRECT = 2;
/** It names a vector register; an MMX register. */
export const FORM_VECTOR = 4;
export const FORM_MMX = 8;
/** The displacement, or the branch target, counts from behind the instruction. */
const FORM_RIP = 16;
const FORM_RELATIVE = 32;
const FORM_MEMORY = 64;
/** It always leaves its block, so that no record needs to follow. */
export const FORM_LEAVES = 128;

/** Whether an opcode is followed by a ModRM byte. */
const PLAIN = 0;
const MODRM = 1;
const UNCLEAR = 2;

/** FORM_ENDS, FORM_INDIRECT, FORM_VECTOR, FORM_MMX and FORM_LEAVES of an instruction. */
export function formFlags(insn: Insn): number {
  const { def, operands } = insn;
  let flags = def.ends ? FORM_ENDS : 0;
  // those that the runtime does may find that there is nothing to do
  if (def.ends && def.helper === undefined) flags |= FORM_LEAVES;
  const kind = operands[0]?.kind;
  if ((def.name === 'jmp' || def.name === 'call') && (kind === 'gpr' || kind === 'mem'))
    flags |= FORM_INDIRECT;
  for (const operand of operands) {
    if (operand.kind === 'xmm') flags |= FORM_VECTOR;
    else if (operand.kind === 'mmx') flags |= FORM_MMX;
  }
  return flags;
}

export class FormStore {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  /** PLAIN, MODRM or UNCLEAR, by map and opcode. */
  readonly #modrm = new Uint8Array(8 * 256);
  readonly #slots = new Int32Array(SLOT_WORDS * SLOTS);
  #forms = new Int32Array(FORM_WORDS * 1024);
  #count = 0;
  /** Of the head that was looked for last: its length (0: not one that is kept) and its key. */
  #head = 0;
  #low = 0;
  #high = 0;
  /** The kind of displacement that follows it. */
  #displacement = NO_NUMBER;
  /** Of the instruction that was written last. */
  length = 0;
  flags = 0;

  constructor(memory: ArrayBufferLike, table: OpcodeTable) {
    this.#view = new DataView(memory);
    this.#bytes = new Uint8Array(memory);
    this.#words = new Int32Array(memory);
    for (let map = 0; map < 8; map++)
      for (let opcode = 0; opcode < 256; opcode++) {
        const candidates = table.candidates(map, opcode);
        const some = candidates.some((def) => def.hasModrm);
        const all = candidates.every((def) => def.hasModrm);
        this.#modrm[256 * map + opcode] = some ? (all ? MODRM : UNCLEAR) : PLAIN;
      }
  }

  /** Forms that are kept now. */
  get count(): number {
    return this.#count;
  }

  /**
   * Writes the record of the instruction of 64-bit code at `at` to `record`, if its form is known; `length` and `flags`
   * then say more about it. MAX_LENGTH bytes must be readable there.
   * @param offset of the instruction in its page
   */
  write(at: number, record: number, offset: number): boolean {
    const head = this.#measure(at);
    this.#head = head;
    if (head === 0) return false;
    this.#low = this.#view.getInt32(at, true) & LOW_MASK[head]!;
    this.#high = (this.#view.getInt32(at + 4, true) & HIGH_MASK[head]!) | MARK;
    const slot = this.#find();
    if (this.#slots[slot + 1] === 0) return false;
    const form = this.#slots[slot + 2]!;
    const forms = this.#forms;
    this.length = forms[form + LENGTH]!;
    this.flags = forms[form + FLAGS]!;
    const words = this.#words;
    const to = record >> 2;
    for (let i = 0; i < RECORD_WORDS; i++) words[to + i] = forms[form + i]!;
    this.#fill(form, at + head, record, offset);
    return true;
  }

  /** Keeps the form of an instruction that `write` was just asked for, and that has been decoded to `record`. */
  keep(insn: Insn, at: number, record: number): void {
    const head = this.#head;
    if (head === 0 || insn.def.shapedByImmediate) return;
    const displacement = this.#displacement;
    const immediate = immediateOf(insn);
    if (immediate < 0 || head + (displacement & BYTES) + (immediate & BYTES) !== insn.length) return;
    if (this.#count === MAX_FORMS) {
      this.#count = 0;
      this.#slots.fill(0);
    }
    const form = FORM_WORDS * this.#count++;
    if (form === this.#forms.length) {
      const larger = new Int32Array(2 * form);
      larger.set(this.#forms);
      this.#forms = larger;
    }
    const forms = this.#forms;
    forms.set(this.#words.subarray(record >> 2, (record >> 2) + RECORD_WORDS), form);
    forms[form + LENGTH] = insn.length;
    forms[form + DISPLACEMENT] = displacement;
    forms[form + IMMEDIATE] = immediate;
    let flags = formFlags(insn);
    if (insn.operands.some(({ kind }) => kind === 'rel')) flags |= FORM_RELATIVE;
    if (insn.mem !== undefined) flags |= insn.mem.ripRelative ? FORM_MEMORY | FORM_RIP : FORM_MEMORY;
    forms[form + FLAGS] = flags;
    const slot = this.#find();
    this.#slots[slot] = this.#low;
    this.#slots[slot + 1] = this.#high;
    this.#slots[slot + 2] = form;
    this.#fill(form, at + head, record, insn.offset);
    const same = this.#words
      .subarray(record >> 2, (record >> 2) + RECORD_WORDS)
      .every((word, i) => word === forms[form + i]);
    assert(same, `decoder: filling in the form of ${insn.def.name} does not give its record`);
  }

  /** Bytes of the head at `at`, or 0 when it is none that is kept. */
  #measure(at: number): number {
    const bytes = this.#bytes;
    this.#displacement = NO_NUMBER;
    let p = at;
    let byte = bytes[p++]!;
    while (isLegacyPrefix(byte)) {
      if (p - at > MAX_HEAD) return 0;
      byte = bytes[p++]!;
    }
    if ((byte & 0xf0) === 0x40) {
      byte = bytes[p++]!;
      if ((byte & 0xf0) === 0x40 || isLegacyPrefix(byte)) return 0;
    }
    let map = 0;
    if (byte === 0x0f) {
      map = 1;
      byte = bytes[p++]!;
      if (byte === 0x38 || byte === 0x3a) {
        map = byte === 0x38 ? 2 : 3;
        byte = bytes[p++]!;
      }
    } else if (byte === 0xc5) {
      map = VEX_MAPS + 1;
      byte = bytes[p + 1]!;
      p += 2;
    } else if (byte === 0xc4) {
      map = VEX_MAPS + (bytes[p]! & 3);
      byte = bytes[p + 2]!;
      p += 3;
    }
    const kind = this.#modrm[256 * map + byte];
    if (kind === UNCLEAR) return 0;
    if (kind === MODRM) {
      const modrm = bytes[p++]!;
      // MOV to and from CR and DR ignores mod
      if (modrm < 0xc0 && !(map === 1 && (byte & 0xfc) === 0x20)) {
        let base = modrm & 7;
        if (base === 4) base = bytes[p++]! & 7;
        const mod = modrm >> 6;
        // SDM volume 2, tables 2-2 and 2-3
        if (mod === 1) this.#displacement = S8;
        else if (mod === 2 || base === 5) this.#displacement = S32;
      }
    }
    return p - at <= MAX_HEAD ? p - at : 0;
  }

  /** The slot of the present key, or the free one where it belongs. */
  #find(): number {
    const slots = this.#slots;
    const low = this.#low;
    const high = this.#high;
    const hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    let slot = ((hash >>> 16) ^ hash) & (SLOTS - 1);
    for (;;) {
      const at = SLOT_WORDS * slot;
      if (slots[at + 1] === 0 || (slots[at] === low && slots[at + 1] === high)) return at;
      slot = (slot + 1) & (SLOTS - 1);
    }
  }

  /** Puts the numbers at `numbers` in the code, and the instruction's place, into its record. */
  #fill(form: number, numbers: number, record: number, offset: number): void {
    const forms = this.#forms;
    const view = this.#view;
    const displacement = forms[form + DISPLACEMENT]!;
    const immediate = forms[form + IMMEDIATE]!;
    const flags = forms[form + FLAGS]!;
    const next = offset + forms[form + LENGTH]!;
    view.setUint16(record + L.REC_OFFSET, offset, true);
    if (displacement !== NO_NUMBER) {
      const value = this.#number(displacement, numbers);
      if (flags & FORM_RIP) {
        // where the form was kept it may have needed more than 32 bits
        view.setUint16(record + L.REC_INDEX, L.ZERO, true);
        setDisplacement(view, record, value + next);
      } else setDisplacement(view, record, value);
    }
    if (immediate === NO_NUMBER) return;
    const at = numbers + (displacement & BYTES);
    if (immediate === S64) {
      view.setInt32(record + L.REC_IMM, view.getInt32(at, true), true);
      view.setInt32(record + L.REC_IMM + 4, view.getInt32(at + 4, true), true);
    } else {
      const value = this.#number(immediate, at);
      if (flags & FORM_MEMORY) view.setInt32(record + L.REC_MEM_IMM, value, true);
      else setInt64(view, record + L.REC_IMM, flags & FORM_RELATIVE ? value + next : value);
    }
  }

  #number(kind: number, at: number): number {
    switch (kind) {
      case S8:
        return this.#view.getInt8(at);
      case U8:
        return this.#bytes[at]!;
      case S16:
        return this.#view.getInt16(at, true);
      case U16:
        return this.#view.getUint16(at, true);
      default:
        return this.#view.getInt32(at, true);
    }
  }
}

/** What kind of number the immediate operand is; -1 for operands that are decoded each time. */
function immediateOf(insn: Insn): number {
  let found = NO_NUMBER;
  for (const code of insn.def.operandCodes) {
    const kind = immediateKind(code, insn.opsize);
    if (kind === NO_NUMBER) continue;
    if (kind < 0 || found !== NO_NUMBER) return -1;
    found = kind;
  }
  return found;
}

function immediateKind(code: string, opsize: 2 | 4 | 8): number {
  switch (code) {
    case 'Ib':
      return U8;
    case 'Ibs':
    case 'Jb':
      return S8;
    case 'Iw':
      return U16;
    case 'Iz':
    case 'Jz':
      return opsize === 2 ? S16 : S32;
    case 'Iv':
      return opsize === 8 ? S64 : opsize === 4 ? S32 : S16;
    // an address, or a far pointer, in the place of an immediate
    case 'Ob':
    case 'Ov':
    case 'Ap':
      return -1;
    default:
      return NO_NUMBER;
  }
}
