// Instructions that load, store and examine segment registers and descriptor tables. Source: Intel SDM volume 2.
import {
  CR4,
  GDT_BASE,
  GDT_LIMIT,
  IDT_BASE,
  IDT_LIMIT,
  MODE,
  NEXT,
  SEG_SEL,
  SHADOW,
  SHADOW_STACK,
  cpl,
  in64,
} from './names';
import {
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_P,
  ATTR_RW,
  ATTR_S,
  CR4_UMIP,
  FLAG_ZF,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
  VEC_GP,
  VEC_NP,
  VEC_UD,
} from './bits';
import { raise } from './exceptions';
import { computeFlags, setArithmetic } from './flags';
import { begin, ok, read16, readSized, systemWrite, write16, writeSized } from './memory';
import { isCanonicalBase } from './control';
import {
  effectiveAddress,
  endBlock,
  failure,
  isMemory,
  linearAt,
  opSize,
  outcome,
  r0,
  r1,
  readFirst,
  readSecond,
  registerWrite,
  writeFirst,
} from './record';
import {
  attrDpl,
  descriptor,
  descriptorAddress,
  descriptorAttr,
  descriptorBase,
  descriptorHigh,
  descriptorLimit,
  isProtected,
  loadSegment,
  longActive,
  readDescriptor,
  readSystemDescriptor,
  setNull,
  setSegment,
  updateMode,
} from './segments';
import { frameCommit, frameHere, framePop, framePush } from './stack';

function selectorOf(seg: i32): u32 {
  return load<u32>(SEG_SEL + (seg << 2));
}

/** After a segment load: the block ends where decoding may depend on it, or where interrupts are held off. */
function afterLoad(rec: i32, seg: i32): i32 {
  const old = load<i32>(MODE);
  updateMode();
  if (seg == SEG_SS) {
    store<i32>(SHADOW, SHADOW_STACK);
    return endBlock(rec);
  }
  return load<i32>(MODE) != old ? endBlock(rec) : NEXT;
}

/** MOV Sreg, r/m16. CS cannot be loaded: #UD. */
export function op_mov_to_seg(rec: i32): i32 {
  const seg = r0(rec);
  if (seg == 1 || seg > SEG_GS) return raise(VEC_UD, -1);
  begin();
  const selector = readSecond(rec, 2) as i32;
  if (ok == 0 || !loadSegment(seg, selector)) return failure();
  return afterLoad(rec, seg);
}

/** MOV r/m, Sreg: 16 bits to memory, zero-extended to a register. */
export function op_mov_from_seg(rec: i32): i32 {
  const seg = r1(rec);
  if (seg > SEG_GS) return raise(VEC_UD, -1);
  begin();
  if (isMemory(rec)) writeFirst(rec, 2, selectorOf(seg));
  else registerWrite(r0(rec), opSize(rec), selectorOf(seg));
  return outcome();
}

function pushSegment(rec: i32, seg: i32): i32 {
  begin();
  frameHere();
  framePush(selectorOf(seg), opSize(rec));
  if (ok == 0) return failure();
  frameCommit();
  return NEXT;
}

function popSegment(rec: i32, seg: i32): i32 {
  begin();
  frameHere();
  const selector = (framePop(opSize(rec)) as i32) & 0xffff;
  if (ok == 0 || !loadSegment(seg, selector)) return failure();
  frameCommit();
  return afterLoad(rec, seg);
}

export function op_push_es(rec: i32): i32 {
  return pushSegment(rec, SEG_ES);
}
export function op_push_cs(rec: i32): i32 {
  return pushSegment(rec, 1);
}
export function op_push_ss(rec: i32): i32 {
  return pushSegment(rec, SEG_SS);
}
export function op_push_ds(rec: i32): i32 {
  return pushSegment(rec, SEG_DS);
}
export function op_push_fs(rec: i32): i32 {
  return pushSegment(rec, SEG_FS);
}
export function op_push_gs(rec: i32): i32 {
  return pushSegment(rec, SEG_GS);
}
export function op_pop_es(rec: i32): i32 {
  return popSegment(rec, SEG_ES);
}
export function op_pop_ss(rec: i32): i32 {
  return popSegment(rec, SEG_SS);
}
export function op_pop_ds(rec: i32): i32 {
  return popSegment(rec, SEG_DS);
}
export function op_pop_fs(rec: i32): i32 {
  return popSegment(rec, SEG_FS);
}
export function op_pop_gs(rec: i32): i32 {
  return popSegment(rec, SEG_GS);
}

/** LES, LDS, LSS, LFS, LGS: a far pointer to a general and a segment register. */
function loadFar(rec: i32, seg: i32): i32 {
  const size = opSize(rec);
  begin();
  const at = effectiveAddress(rec);
  const low = linearAt(rec, at, size, 0);
  const high = ok != 0 ? linearAt(rec, at + size, 2, 0) : 0;
  if (ok == 0) return failure();
  const offset = readSized(low, size);
  const selector = ok != 0 ? (read16(high) as i32) : 0;
  if (ok == 0 || !loadSegment(seg, selector)) return failure();
  registerWrite(r0(rec), size, offset);
  const status = afterLoad(rec, seg);
  // Only MOV SS and POP SS hold interrupts off. SDM 3A 6.8.3.
  if (seg == SEG_SS) store<i32>(SHADOW, 0);
  return status;
}

export function op_les(rec: i32): i32 {
  return loadFar(rec, SEG_ES);
}
export function op_lds(rec: i32): i32 {
  return loadFar(rec, SEG_DS);
}
export function op_lss(rec: i32): i32 {
  return loadFar(rec, SEG_SS);
}
export function op_lfs(rec: i32): i32 {
  return loadFar(rec, SEG_FS);
}
export function op_lgs(rec: i32): i32 {
  return loadFar(rec, SEG_GS);
}

/** LGDT and LIDT: 16-bit limit, then a base of 24 (16-bit operand), 32 or 64 bits. */
function loadTable(rec: i32, base: i32, limit: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const long = in64();
  begin();
  const at = effectiveAddress(rec);
  const low = linearAt(rec, at, 2, 0);
  const high = ok != 0 ? linearAt(rec, at + 2, long ? 8 : 4, 0) : 0;
  if (ok == 0) return failure();
  const size = read16(low);
  let address = ok != 0 ? readSized(high, long ? 8 : 4) : 0;
  if (ok == 0) return failure();
  if (long && !isCanonicalBase(address)) return raise(VEC_GP, 0);
  if (!long && opSize(rec) == 2) address &= 0xff_ffff;
  store<u64>(base, address);
  store<u32>(limit, size);
  return NEXT;
}

/** SGDT and SIDT; the base is stored in full whatever the operand size. */
function storeTable(rec: i32, base: i32, limit: i32): i32 {
  if (umipForbids()) return raise(VEC_GP, 0);
  const size = in64() ? 8 : 4;
  begin();
  const at = effectiveAddress(rec);
  const low = linearAt(rec, at, 2, 1);
  const high = ok != 0 ? linearAt(rec, at + 2, size, 1) : 0;
  if (ok == 0) return failure();
  write16(low, load<u32>(limit));
  if (ok != 0) writeSized(high, size, load<u64>(base));
  return outcome();
}

/** CR4.UMIP keeps SGDT, SIDT, SLDT, STR and SMSW from CPL 3. SDM 3A 2.5. */
export function umipForbids(): bool {
  return cpl() != 0 && (load<u32>(CR4) & CR4_UMIP) != 0;
}

export function op_lgdt(rec: i32): i32 {
  return loadTable(rec, GDT_BASE, GDT_LIMIT);
}
export function op_lidt(rec: i32): i32 {
  return loadTable(rec, IDT_BASE, IDT_LIMIT);
}
export function op_sgdt(rec: i32): i32 {
  return storeTable(rec, GDT_BASE, GDT_LIMIT);
}
export function op_sidt(rec: i32): i32 {
  return storeTable(rec, IDT_BASE, IDT_LIMIT);
}

function storeSelector(rec: i32, seg: i32): i32 {
  if (!isProtected()) return raise(VEC_UD, -1);
  if (umipForbids()) return raise(VEC_GP, 0);
  begin();
  if (isMemory(rec)) writeFirst(rec, 2, selectorOf(seg));
  else registerWrite(r0(rec), opSize(rec), selectorOf(seg));
  return outcome();
}

export function op_sldt(rec: i32): i32 {
  return storeSelector(rec, SEG_LDTR);
}
export function op_str(rec: i32): i32 {
  return storeSelector(rec, SEG_TR);
}

/** Base of the system descriptor that was read last: 64 bits in long mode. */
function systemBase(): u64 {
  return descriptorBase(descriptor) | (descriptorHigh << 32);
}

export function op_lldt(rec: i32): i32 {
  if (!isProtected()) return raise(VEC_UD, -1);
  if (cpl() != 0) return raise(VEC_GP, 0);
  begin();
  const selector = readFirst(rec, 2) as i32;
  if (ok == 0) return failure();
  if ((selector & 0xfffc) == 0) {
    setNull(SEG_LDTR, selector);
    return NEXT;
  }
  const error = selector & 0xfffc;
  if ((selector & 4) != 0) return raise(VEC_GP, error);
  const read = readSystemDescriptor(selector);
  if (read < 0) return raise(VEC_GP, error);
  if (read == 0) return failure();
  const attr = descriptorAttr(descriptor);
  if ((attr & 0x1f) != 2) return raise(VEC_GP, error);
  if ((attr & ATTR_P) == 0) return raise(VEC_NP, error);
  if (longActive() && !isCanonicalBase(systemBase())) return raise(VEC_GP, error);
  setSegment(SEG_LDTR, selector, systemBase(), descriptorLimit(descriptor), attr);
  return NEXT;
}

export function op_ltr(rec: i32): i32 {
  if (!isProtected()) return raise(VEC_UD, -1);
  if (cpl() != 0) return raise(VEC_GP, 0);
  begin();
  const selector = readFirst(rec, 2) as i32;
  if (ok == 0) return failure();
  const error = selector & 0xfffc;
  if (error == 0) return raise(VEC_GP, 0);
  if ((selector & 4) != 0) return raise(VEC_GP, error);
  const read = readSystemDescriptor(selector);
  if (read < 0) return raise(VEC_GP, error);
  if (read == 0) return failure();
  const attr = descriptorAttr(descriptor);
  const type = attr & 0x1f;
  if (type != 9 && (type != 1 || longActive())) return raise(VEC_GP, error);
  if ((attr & ATTR_P) == 0) return raise(VEC_NP, error);
  if (longActive() && !isCanonicalBase(systemBase())) return raise(VEC_GP, error);
  const base = systemBase();
  const limit = descriptorLimit(descriptor);
  begin();
  systemWrite(descriptorAddress + 5, 1, (attr | 2) as u64);
  if (ok == 0) return failure();
  setSegment(SEG_TR, selector, base, limit, attr | 2);
  return NEXT;
}

function setZero(zero: bool): void {
  setArithmetic((computeFlags() & ~FLAG_ZF) | (zero ? FLAG_ZF : 0));
}

/** Reads a descriptor for LAR, LSL, VERR, VERW: 1 = visible at this CPL and RPL, 0 = not, -1 = page fault. */
function visible(selector: i32): i32 {
  if ((selector & 0xfffc) == 0) return 0;
  const read = readDescriptor(selector);
  if (read < 0) return 0;
  if (read == 0) return -1;
  const attr = descriptorAttr(descriptor);
  const conforming =
    (attr & (ATTR_S | ATTR_CODE | ATTR_CONFORMING)) == (ATTR_S | ATTR_CODE | ATTR_CONFORMING);
  const dpl = attrDpl(attr);
  return conforming || (cpl() <= dpl && (selector & 3) <= dpl) ? 1 : 0;
}

/** LAR (limit false) and LSL. SDM 2 tables 3-53, 3-55: which system descriptors they accept. */
function examine(rec: i32, limit: bool): i32 {
  if (!isProtected()) return raise(VEC_UD, -1);
  begin();
  const selector = readSecond(rec, 2) as i32;
  if (ok == 0) return failure();
  const seen = visible(selector);
  if (seen < 0) return failure();
  let accepted = seen > 0;
  const attr = descriptorAttr(descriptor);
  if (accepted && (attr & ATTR_S) == 0) {
    // LDT 2, TSS 9 and 11 always; 16-bit TSS 1, 3 outside long mode; gates 4, 5, 12 for LAR (5 and 4 not in long mode).
    const types = limit ? (longActive() ? 0x0a04 : 0x0a0e) : longActive() ? 0x1a04 : 0x1a3e;
    accepted = ((types >> (attr & 15)) & 1) != 0;
  }
  if (accepted) {
    const value: u32 = limit ? descriptorLimit(descriptor) : ((descriptor >> 32) as u32) & 0x00ffff00;
    registerWrite(r0(rec), opSize(rec), value);
  }
  setZero(accepted);
  return NEXT;
}

export function op_lar(rec: i32): i32 {
  return examine(rec, false);
}
export function op_lsl(rec: i32): i32 {
  return examine(rec, true);
}

function verify(rec: i32, write: bool): i32 {
  if (!isProtected()) return raise(VEC_UD, -1);
  begin();
  const selector = readFirst(rec, 2) as i32;
  if (ok == 0) return failure();
  const seen = visible(selector);
  if (seen < 0) return failure();
  const attr = descriptorAttr(descriptor);
  let accepted = seen > 0 && (attr & ATTR_S) != 0;
  if ((attr & ATTR_CODE) != 0) {
    if (write || (attr & ATTR_RW) == 0) accepted = false;
  } else if (write && (attr & ATTR_RW) == 0) accepted = false;
  setZero(accepted);
  return NEXT;
}

export function op_verr(rec: i32): i32 {
  return verify(rec, false);
}
export function op_verw(rec: i32): i32 {
  return verify(rec, true);
}

/** ARPL r/m16, r16: raises the RPL of the first to that of the second. */
export function op_arpl(rec: i32): i32 {
  if (!isProtected()) return raise(VEC_UD, -1);
  begin();
  const first = readFirst(rec, 2) as i32;
  const second = load<u16>(r1(rec)) as i32;
  if (ok == 0) return failure();
  const raised = (first & 3) < (second & 3);
  if (raised) writeFirst(rec, 2, ((first & ~3) | (second & 3)) as u64);
  if (ok == 0) return failure();
  setZero(raised);
  return NEXT;
}
