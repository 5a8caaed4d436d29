// Records of instructions that have been met before. What an instruction of 64-bit code is follows from its head (prefixes,
// opcode, ModRM and SIB: Intel SDM volume 2, 2.1); only its place, displacement and immediate differ from one occurrence to
// the next. So the record of each head is kept, and decoding it again is to copy that and fill in three numbers. What is
// not known, decode/block-decoder.ts decodes and has kept.
import {
  FORMS,
  FORM_BYTES,
  FORM_DISPLACEMENT,
  FORM_ENDS,
  FORM_ESCAPE,
  FORM_FLAGS,
  FORM_IMMEDIATE,
  FORM_LENGTH,
  FORM_MARK,
  FORM_MEMORY,
  FORM_MODRM,
  FORM_OPCODES,
  FORM_PREFIX,
  FORM_RELATIVE,
  FORM_REX,
  FORM_RIP,
  FORM_SLOTS,
  FORM_SLOT_BITS,
  FORM_SLOT_COUNT,
  FORM_UNCLEAR,
  FORM_VEX2,
  MAX_FORMS,
  MAX_HEAD,
  MINUS_4G,
  NUMBER_BYTES,
  NUMBER_NONE,
  NUMBER_UNSIGNED,
  PLUS_4G,
  REC_BYTES,
  REC_DISP,
  REC_IMM,
  REC_INDEX,
  REC_MEM_IMM,
  REC_OFFSET,
  ZERO,
} from '../layout';

const PAGE = 4096;
/** Bytes of the longest instruction. */
const MAX_LENGTH = 15;
/** The first of the maps that VEX prefixes name. */
const VEX_MAPS = 4;

// Of a slot.
const SLOT_BYTES = 16;
const SLOT_FORM = 8;

let forms = 0;
/** The kind of displacement behind the head that was measured last. */
let displacement: i32 = NUMBER_NONE;

/** Bytes of the head at `at`, or 0 when it is none that is kept. */
function measure(at: i32): i32 {
  displacement = NUMBER_NONE;
  let p = at;
  let byte: i32 = load<u8>(p++);
  let kind: i32 = load<u8>(FORM_OPCODES + byte);
  while (kind == FORM_PREFIX) {
    if (p - at > MAX_HEAD) return 0;
    byte = load<u8>(p++);
    kind = load<u8>(FORM_OPCODES + byte);
  }
  if (kind == FORM_REX) {
    byte = load<u8>(p++);
    kind = load<u8>(FORM_OPCODES + byte);
    // a REX prefix that does not stand directly before the opcode is ignored
    if (kind == FORM_REX || kind == FORM_PREFIX) return 0;
  }
  let map = 0;
  if (kind >= FORM_ESCAPE) {
    if (kind == FORM_ESCAPE) {
      map = 1;
      byte = load<u8>(p++);
      if (byte == 0x38 || byte == 0x3a) {
        map = byte == 0x38 ? 2 : 3;
        byte = load<u8>(p++);
      }
    } else if (kind == FORM_VEX2) {
      map = VEX_MAPS + 1;
      byte = load<u8>(p + 1);
      p += 2;
    } else {
      map = VEX_MAPS + (load<u8>(p) & 3);
      byte = load<u8>(p + 2);
      p += 3;
    }
    kind = load<u8>(FORM_OPCODES + (map << 8) + byte);
  }
  if (kind == FORM_UNCLEAR) return 0;
  if (kind == FORM_MODRM) {
    const modrm: i32 = load<u8>(p++);
    // MOV to and from CR and DR ignores mod
    if (modrm < 0xc0 && !(map == 1 && (byte & 0xfc) == 0x20)) {
      let base = modrm & 7;
      if (base == 4) base = load<u8>(p++) & 7;
      const mod = modrm >> 6;
      // SDM volume 2, tables 2-2 and 2-3
      if (mod == 1) displacement = 1;
      else if (mod == 2 || base == 5) displacement = 4;
    }
  }
  return p - at <= MAX_HEAD ? p - at : 0;
}

function keyOf(at: i32, head: i32): u64 {
  return (load<u64>(at) & (((<u64>1) << (head << 3)) - 1)) | ((<u64>FORM_MARK) << 56);
}

/** The slot of a key, or the free one where it belongs. */
function find(key: u64): i32 {
  let slot = <i32>((key * 0x9e3779b97f4a7c15) >> (64 - FORM_SLOT_BITS));
  for (;;) {
    const at = FORM_SLOTS + slot * SLOT_BYTES;
    const there = load<u64>(at);
    if (there == key || there == 0) return at;
    slot = (slot + 1) & (FORM_SLOT_COUNT - 1);
  }
  // oxlint-disable-next-line no-unreachable -- AssemblyScript does not see that the loop never ends
  return 0;
}

function number(kind: i32, at: i32): i64 {
  switch (kind & NUMBER_BYTES) {
    case 1:
      return kind & NUMBER_UNSIGNED ? <i64>load<u8>(at) : <i64>load<i8>(at);
    case 2:
      return kind & NUMBER_UNSIGNED ? <i64>load<u16>(at) : <i64>load<i16>(at);
    case 4:
      return load<i32>(at);
    default:
      return load<i64>(at);
  }
}

/** Puts the numbers behind the head, and the instruction's place in its page, into its record. */
function fill(form: i32, behind: i32, record: i32, offset: i32): void {
  const flags: i32 = load<u8>(form, FORM_FLAGS);
  const disp: i32 = load<u8>(form, FORM_DISPLACEMENT);
  const imm: i32 = load<u8>(form, FORM_IMMEDIATE);
  const next = offset + <i32>load<u8>(form, FORM_LENGTH);
  store<u16>(record, offset, REC_OFFSET);
  if (disp != NUMBER_NONE) {
    let value = number(disp, behind);
    if (flags & FORM_RIP) {
      // counted from the page it may need a little more than 32 bits
      value += next;
      const index = value == <i64>(<i32>value) ? ZERO : value > 0 ? PLUS_4G : MINUS_4G;
      store<u16>(record, index, REC_INDEX);
    }
    store<i32>(record, <i32>value, REC_DISP);
  }
  if (imm == NUMBER_NONE) return;
  const value = number(imm, behind + (disp & NUMBER_BYTES));
  if (flags & FORM_MEMORY) store<i32>(record, <i32>value, REC_MEM_IMM);
  else store<i64>(record, flags & FORM_RELATIVE ? value + next : value, REC_IMM);
}

/**
 * Writes records of the code at `offset` of the page at `base`, up to `most`, for as long as their forms are known, and
 * up to one that ends its block. None that has a flag of `refused`.
 * @returns offset behind them | their number << 16 | flags of the last one << 24
 */
export function writeKnown(first: i32, base: i32, offset: i32, most: i32, refused: i32): i32 {
  let record = first;
  let at = offset;
  let count = 0;
  let flags = 0;
  while (count < most && at <= PAGE - MAX_LENGTH) {
    const head = measure(base + at);
    if (head == 0) break;
    const form = load<i32>(find(keyOf(base + at, head)), SLOT_FORM);
    if (form == 0 || load<u8>(form, FORM_FLAGS) & refused) break;
    v128.store(record, v128.load(form));
    v128.store(record, v128.load(form, 16), 16);
    fill(form, base + at + head, record, at);
    flags = load<u8>(form, FORM_FLAGS);
    record += REC_BYTES;
    at += load<u8>(form, FORM_LENGTH);
    count++;
    if (flags & FORM_ENDS) break;
  }
  return at | (count << 16) | (flags << 24);
}

/**
 * Keeps the form of an instruction that has been decoded to `record`, and fills the record in as `writeKnown` will.
 * @param at address of its code
 * @returns whether it was kept: its head, displacement and immediate must be all of its bytes
 */
export function keepForm(at: i32, record: i32, offset: i32, length: i32, immediate: i32, flags: i32): i32 {
  const head = measure(at);
  if (head == 0 || head + displacement + (immediate & NUMBER_BYTES) != length) return 0;
  if (forms == MAX_FORMS) {
    forms = 0;
    memory.fill(FORM_SLOTS, 0, FORM_SLOT_COUNT * SLOT_BYTES);
  }
  const key = keyOf(at, head);
  const form = FORMS + forms++ * FORM_BYTES;
  v128.store(form, v128.load(record));
  v128.store(form, v128.load(record, 16), 16);
  store<u8>(form, length, FORM_LENGTH);
  store<u8>(form, displacement, FORM_DISPLACEMENT);
  store<u8>(form, immediate, FORM_IMMEDIATE);
  store<u8>(form, flags, FORM_FLAGS);
  const slot = find(key);
  store<u64>(slot, key);
  store<i32>(slot, form, SLOT_FORM);
  fill(form, at + head, record, offset);
  return 1;
}

/** Takes over a form of an earlier run, unless its head is known: its key stands at `from`, the form behind it. */
export function takeForm(from: i32): i32 {
  if (forms == MAX_FORMS) return 0;
  const key = load<u64>(from);
  const slot = find(key);
  if (load<i32>(slot, SLOT_FORM) != 0) return 0;
  const form = FORMS + forms++ * FORM_BYTES;
  v128.store(form, v128.load(from, 8));
  v128.store(form, v128.load(from, 24), 16);
  store<u64>(form, load<u64>(from, 40), 32);
  store<u64>(slot, key);
  store<i32>(slot, form, SLOT_FORM);
  return 1;
}

/** Forms that are kept now. */
export function formCount(): i32 {
  return forms;
}
