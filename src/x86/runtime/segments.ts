// Segmentation: descriptors, loading of segment registers, and the checks on an access through them. Source: Intel
// SDM volume 3, chapters 3 and 5. Far transfers are in far.ts, the instructions that load segments in segment-ops.ts.
import {
  CPL,
  CR0,
  CR4,
  EFER,
  EFLAGS,
  GDT_BASE,
  GDT_LIMIT,
  MODE,
  MODE_CODE,
  MODE_CPL3,
  MODE_FLAT,
  MODE_NO_FPU,
  MODE_NO_SSE,
  MODE_PROTECTED,
  MODE_STACK_SHIFT,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SEL,
  TLB_BASE,
  CS_ATTR,
  SS_ATTR,
  in64,
} from './names';
import {
  ATTR_ACCESSED,
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_DB,
  ATTR_DPL_SHIFT,
  ATTR_EXPAND_DOWN,
  ATTR_L,
  ATTR_P,
  ATTR_RW,
  ATTR_S,
  CR0_EM,
  CR0_PE,
  CR0_TS,
  CR4_OSFXSR,
  EFER_LMA,
  FLAG_AC,
  FLAG_VM,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_LDTR,
  SEG_SS,
  VEC_GP,
  VEC_NP,
  VEC_SS,
} from './bits';
import { raise } from './exceptions';
import { begin, failed, ok, systemRead, systemWrite } from './memory';
import { tlbFor } from './tlb';

/** The bases of ES, CS, SS, DS while 64-bit mode hides them (SEG_BASE holds 0 then), by index. */
const HIDDEN_BASE: i32 = memory.data(64, 8) as i32;

/** Protected mode and not virtual-8086: selectors name descriptors. */
export function isProtected(): bool {
  return (load<i32>(MODE) & MODE_PROTECTED) != 0;
}

export function longActive(): bool {
  return (load<u32>(EFER) & EFER_LMA) != 0;
}

function hidesBase(seg: i32): bool {
  return seg <= SEG_DS;
}

/** Puts what is known of a segment into its register. In 64-bit mode the base of ES, CS, SS, DS is set aside. */
export function setSegment(seg: i32, selector: i32, base: u64, limit: u32, attr: i32): void {
  store<u32>(SEG_SEL + (seg << 2), selector);
  store<u32>(SEG_LIMIT + (seg << 2), limit);
  store<u32>(SEG_ATTR + (seg << 2), attr);
  if (in64() && hidesBase(seg)) store<u64>(HIDDEN_BASE + (seg << 3), base);
  else store<u64>(SEG_BASE + (seg << 3), base);
}

/** Base as it counts outside 64-bit mode. */
export function segmentBase(seg: i32): u64 {
  return in64() && hidesBase(seg) ? load<u64>(HIDDEN_BASE + (seg << 3)) : load<u64>(SEG_BASE + (seg << 3));
}

/** Writable data, expand-up, base 0, limit 4 GiB. */
function isFlatData(seg: i32): bool {
  const attr = load<u32>(SEG_ATTR + (seg << 2));
  return (
    (attr & (ATTR_P | ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN | ATTR_RW)) == (ATTR_P | ATTR_S | ATTR_RW) &&
    load<u64>(SEG_BASE + (seg << 3)) == 0 &&
    load<u32>(SEG_LIMIT + (seg << 2)) == 0xffffffff
  );
}

/** MODE and TLB_BASE from CR0, CR4, EFER, RFLAGS, CS, SS, DS, ES and CPL; to be called after any of them has changed. */
export function updateMode(): void {
  const cpl = load<i32>(CPL);
  const flags = load<i32>(EFLAGS);
  const old = load<i32>(MODE);
  const cs = load<u32>(CS_ATTR);
  let mode: i32;
  if ((cs & ATTR_L) != 0 && longActive()) {
    mode = 2 | (2 << MODE_STACK_SHIFT) | MODE_PROTECTED | MODE_FLAT;
    if ((old & MODE_CODE) != 2) {
      for (let seg = SEG_ES; seg <= SEG_DS; seg++) {
        store<u64>(HIDDEN_BASE + (seg << 3), load<u64>(SEG_BASE + (seg << 3)));
        store<u64>(SEG_BASE + (seg << 3), 0);
      }
    }
  } else {
    if ((old & MODE_CODE) == 2) {
      for (let seg = SEG_ES; seg <= SEG_DS; seg++) {
        store<u64>(SEG_BASE + (seg << 3), load<u64>(HIDDEN_BASE + (seg << 3)));
      }
    }
    mode = (cs & ATTR_DB) != 0 ? 1 : 0;
    if ((load<u32>(SS_ATTR) & ATTR_DB) != 0) mode |= 1 << MODE_STACK_SHIFT;
    if ((load<u32>(CR0) & CR0_PE) != 0 && (flags & FLAG_VM) == 0) {
      mode |= MODE_PROTECTED;
      if (
        (cs & (ATTR_P | ATTR_S | ATTR_CODE | ATTR_RW)) == (ATTR_P | ATTR_S | ATTR_CODE | ATTR_RW) &&
        load<u64>(SEG_BASE + 8) == 0 &&
        load<u32>(SEG_LIMIT + 4) == 0xffffffff &&
        isFlatData(SEG_SS) &&
        isFlatData(SEG_DS) &&
        isFlatData(SEG_ES)
      ) {
        mode |= MODE_FLAT;
      }
    }
  }
  if (cpl == 3) mode |= MODE_CPL3;
  const cr0 = load<u32>(CR0);
  if ((cr0 & CR0_EM) != 0 || (load<u32>(CR4) & CR4_OSFXSR) == 0) mode |= MODE_NO_SSE;
  if ((cr0 & (CR0_TS | CR0_EM)) != 0) mode |= MODE_NO_FPU;
  store<i32>(MODE, mode);
  store<i32>(TLB_BASE, tlbFor(cpl, flags & FLAG_AC));
}

/** Is [offset, offset + size) inside a segment with this limit? SDM 3A 5.3. */
export function withinLimit(attr: i32, limit: u32, offset: u64, size: i32): bool {
  const last = offset + size - 1;
  if ((attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == ATTR_EXPAND_DOWN && (attr & ATTR_S) != 0) {
    return offset > limit && last <= ((attr & ATTR_DB) != 0 ? 0xffff_ffff : 0xffff);
  }
  return last <= limit || limit == 0xffffffff;
}

/**
 * Checks an access of `size` bytes at `offset` of segment `seg` outside 64-bit mode. Returns the linear address, or -1
 * with #SS(0) or #GP(0) raised (in a region without raising).
 */
export function segLinear(seg: i32, offset: u64, size: i32, write: i32): i64 {
  const base = load<u64>(SEG_BASE + (seg << 3));
  if (in64()) return (base + offset) as i64;
  const attr = load<u32>(SEG_ATTR + (seg << 2));
  let allowed = withinLimit(attr, load<u32>(SEG_LIMIT + (seg << 2)), offset, size);
  if (isProtected()) {
    if ((attr & ATTR_P) == 0) allowed = false;
    else if ((attr & ATTR_CODE) != 0) {
      if (write != 0 || (attr & ATTR_RW) == 0) allowed = false;
    } else if (write != 0 && (attr & ATTR_RW) == 0) allowed = false;
  }
  if (!allowed) {
    raise(seg == SEG_SS ? VEC_SS : VEC_GP, 0);
    return -1;
  }
  return ((base + offset) & 0xffff_ffff) as i64;
}

// Descriptors, as the 8 bytes that they are.

export function descriptorBase(descriptor: u64): u64 {
  return ((descriptor >> 16) & 0xff_ffff) | ((descriptor >> 32) & 0xff00_0000);
}

export function descriptorLimit(descriptor: u64): u32 {
  const limit = ((descriptor & 0xffff) | ((descriptor >> 32) & 0xf_0000)) as u32;
  return ((descriptor >> 55) & 1) != 0 ? (limit << 12) | 0xfff : limit;
}

/** In the form of SEG_ATTR. */
export function descriptorAttr(descriptor: u64): i32 {
  return ((descriptor >> 40) as i32) & 0xf0ff;
}

export function attrDpl(attr: i32): i32 {
  return (attr >> ATTR_DPL_SHIFT) & 3;
}

/** Linear address of the last descriptor that readDescriptor read. */
export let descriptorAddress: u64 = 0;

/** Reads the descriptor of a selector. 1 = read, -1 = outside its table, 0 = page fault (raised). */
export function readDescriptor(selector: i32): i32 {
  return readDescriptorBytes(selector, 8);
}

/** The same for a system descriptor, which has 16 bytes in long mode. */
export function readSystemDescriptor(selector: i32): i32 {
  return readDescriptorBytes(selector, longActive() ? 16 : 8);
}

/** The descriptor that was read, and its upper half (0 when it has none). */
export let descriptor: u64 = 0;
export let descriptorHigh: u64 = 0;

function readDescriptorBytes(selector: i32, size: i32): i32 {
  const index = (selector & 0xfff8) as u32;
  let base = load<u64>(GDT_BASE);
  let limit = load<u32>(GDT_LIMIT);
  if ((selector & 4) != 0) {
    if ((load<u32>(SEG_ATTR + (SEG_LDTR << 2)) & ATTR_P) == 0) return -1;
    base = load<u64>(SEG_BASE + (SEG_LDTR << 3));
    limit = load<u32>(SEG_LIMIT + (SEG_LDTR << 2));
  }
  if (index + size - 1 > limit) return -1;
  let address = base + index;
  if (!longActive()) address &= 0xffff_ffff;
  begin();
  descriptorAddress = address;
  descriptor = systemRead(address, 8);
  descriptorHigh = size == 16 && ok != 0 ? systemRead(address + 8, 8) : 0;
  return ok;
}

/** Reads the descriptor of a selector or raises: `vector`(selector | ext) when it lies outside the table. */
export function fetchDescriptor(selector: i32, vector: i32, ext: i32): bool {
  const result = readDescriptor(selector);
  if (result > 0) return true;
  if (result < 0) raise(vector, (selector & 0xfffc) | ext);
  return false;
}

/** Sets the accessed bit of the descriptor that was read last, in memory and in `descriptor`. */
export function markAccessed(): bool {
  const bit: u64 = (ATTR_ACCESSED as u64) << 40;
  if ((descriptor & bit) != 0) return true;
  begin();
  descriptor |= bit;
  systemWrite(descriptorAddress + 5, 1, descriptor >> 40);
  return ok != 0;
}

/** Loads the descriptor that was read last into a segment register. */
export function installDescriptor(seg: i32, selector: i32): void {
  setSegment(
    seg,
    selector,
    descriptorBase(descriptor),
    descriptorLimit(descriptor),
    descriptorAttr(descriptor),
  );
}

/** Makes a segment register unusable (null selector). */
export function setNull(seg: i32, selector: i32): void {
  setSegment(seg, selector, 0, 0, 0);
}

/** Real and virtual-8086 mode: the base is the selector times 16; limit and rights stay. SDM 3B 21.1.1. */
export function setRealSegment(seg: i32, selector: i32): void {
  store<u32>(SEG_SEL + (seg << 2), selector);
  store<u64>(SEG_BASE + (seg << 3), (selector << 4) as u64);
}

/** Virtual-8086 mode: all as an 8086 has it. */
export function setVm86Segment(seg: i32, selector: i32): void {
  setSegment(seg, selector, (selector << 4) as u64, 0xffff, 0xf3);
}

/** SS, with the checks that MOV SS and POP SS make. SDM 2 "MOV". */
function loadStackSegment(selector: i32): bool {
  const cpl = load<i32>(CPL);
  if ((selector & 0xfffc) == 0) {
    if (in64() && cpl < 3 && (selector & 3) == cpl) {
      setNull(SEG_SS, selector);
      return true;
    }
    raise(VEC_GP, 0);
    return false;
  }
  if (!fetchDescriptor(selector, VEC_GP, 0)) return false;
  const attr = descriptorAttr(descriptor);
  const data = (attr & (ATTR_S | ATTR_CODE | ATTR_RW)) == (ATTR_S | ATTR_RW);
  if (!data || (selector & 3) != cpl || attrDpl(attr) != cpl) {
    raise(VEC_GP, selector & 0xfffc);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_SS, selector & 0xfffc);
    return false;
  }
  if (!markAccessed()) return false;
  installDescriptor(SEG_SS, selector);
  return true;
}

/** Loads ES, SS, DS, FS or GS as MOV does. False = exception raised, nothing changed. updateMode is the caller's. */
export function loadSegment(seg: i32, selector: i32): bool {
  if (!isProtected()) {
    if ((load<i32>(EFLAGS) & FLAG_VM) != 0) setVm86Segment(seg, selector);
    else setRealSegment(seg, selector);
    return true;
  }
  if (seg == SEG_SS) return loadStackSegment(selector);
  if ((selector & 0xfffc) == 0) {
    setNull(seg, selector);
    return true;
  }
  if (!fetchDescriptor(selector, VEC_GP, 0)) return false;
  const attr = descriptorAttr(descriptor);
  const code = (attr & ATTR_CODE) != 0;
  let allowed = (attr & ATTR_S) != 0 && (!code || (attr & ATTR_RW) != 0);
  if (allowed && (!code || (attr & ATTR_CONFORMING) == 0)) {
    const dpl = attrDpl(attr);
    allowed = (selector & 3) <= dpl && load<i32>(CPL) <= dpl;
  }
  if (!allowed) {
    raise(VEC_GP, selector & 0xfffc);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_NP, selector & 0xfffc);
    return false;
  }
  if (!markAccessed()) return false;
  installDescriptor(seg, selector);
  return true;
}

/** After a return to an outer ring: data segments that it may not use become null. SDM 3A 5.8.6. */
export function dropInnerSegments(): void {
  const cpl = load<i32>(CPL);
  for (let seg = SEG_ES; seg < SEG_LDTR; seg++) {
    if (seg == SEG_CS || seg == SEG_SS) continue;
    const attr = load<u32>(SEG_ATTR + (seg << 2));
    if (attr == 0) continue;
    if ((attr & (ATTR_CODE | ATTR_CONFORMING)) == (ATTR_CODE | ATTR_CONFORMING)) continue;
    if (attrDpl(attr) >= cpl) continue;
    // The base of FS and GS may have come by MSR and stays.
    const base = segmentBase(seg);
    setSegment(seg, 0, seg >= SEG_FS && longActive() ? base : 0, 0, 0);
  }
}

/** Clears `ok` when `linear` is -1. */
export function checked(linear: i64): u64 {
  if (linear < 0) failed();
  return linear as u64;
}
