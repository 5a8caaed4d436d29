// The stack as instructions of the runtime see it: a frame that is built or read item by item and takes effect only
// when all of it went well. Source: Intel SDM volume 1, 6.2; volume 3, 5.8.5.
import { MODE, MODE_CODE, MODE_STACK_SHIFT, RSP, SS_ATTR, SS_BASE, SS_LIMIT } from './names';
import { ATTR_DB, VEC_SS } from './bits';
import { raise } from './exceptions';
import { canonicalFault, clearCanonicalFault } from './mmu';
import { failed, ok, readSized, writeOk, writeSized } from './memory';
import { withinLimit } from './segments';

// The frame under construction. Offsets are cut to `mask`; without `flat` there are a base, a limit and rights.
let flat: bool = false;
let pointer: u64 = 0;
let mask: u64 = 0;
let base: u64 = 0;
let limit: u32 = 0;
let attr: i32 = 0;
/** Error code of a #SS for the frame: the selector of a new stack, 0 for the present one. */
let errorCode: i32 = 0;

/** All ones in the stack pointer of the present mode. */
export function stackMask(): u64 {
  const size = (load<i32>(MODE) >> MODE_STACK_SHIFT) & 3;
  return size == 2 ? 0xffff_ffff_ffff_ffff : size == 1 ? 0xffff_ffff : 0xffff;
}

/** Starts a frame on the present stack. */
export function frameHere(): void {
  frameAt(load<u64>(RSP));
}

/** Starts a frame at `sp` of the present stack segment. */
export function frameAt(sp: u64): void {
  flat = (load<i32>(MODE) & MODE_CODE) == 2;
  mask = stackMask();
  pointer = sp & mask;
  base = flat ? 0 : load<u64>(SS_BASE);
  limit = load<u32>(SS_LIMIT);
  attr = load<u32>(SS_ATTR);
  errorCode = 0;
}

/** Starts a frame at a 64-bit stack pointer, for long mode. */
export function frameLong(sp: u64): void {
  flat = true;
  mask = 0xffff_ffff_ffff_ffff;
  pointer = sp;
  errorCode = 0;
}

/** Starts a frame in a stack segment that is not loaded yet. */
export function frameIn(sp: u64, segmentBase: u64, segmentLimit: u32, segmentAttr: i32, error: i32): void {
  flat = false;
  mask = (segmentAttr & ATTR_DB) != 0 ? 0xffff_ffff : 0xffff;
  pointer = sp & mask;
  base = segmentBase;
  limit = segmentLimit;
  attr = segmentAttr;
  errorCode = error;
}

export function framePointer(): u64 {
  return pointer;
}

/** Linear address of [offset, offset + size) of the frame's stack, with #SS for what lies outside. */
function place(offset: u64, size: i32): u64 {
  if (flat) return offset;
  if (!withinLimit(attr, limit, offset, size)) {
    raise(VEC_SS, errorCode);
    failed();
    return 0;
  }
  return (base + offset) & 0xffff_ffff;
}

/** A non-canonical stack address is a #SS, not a #GP. SDM 1 3.3.7.1. */
function stackFault(): void {
  if (ok != 0 || canonicalFault == 0) return;
  clearCanonicalFault();
  raise(VEC_SS, errorCode);
}

export function framePush(value: u64, size: i32): void {
  if (ok == 0) return;
  const next = (pointer - size) & mask;
  const linear = place(next, size);
  if (ok == 0) return;
  writeSized(linear, size, value);
  if (ok != 0) pointer = next;
  else stackFault();
}

export function framePop(size: i32): u64 {
  const value = framePeek(0, size);
  if (ok != 0) pointer = (pointer + size) & mask;
  return value;
}

/** Reads `size` bytes at `distance` above the top. */
export function framePeek(distance: i32, size: i32): u64 {
  if (ok == 0) return 0;
  const linear = place((pointer + distance) & mask, size);
  if (ok == 0) return 0;
  const value = readSized(linear, size);
  if (ok == 0) stackFault();
  return value;
}

/** Makes sure that `size` bytes at `sp` of the frame's stack can be written, as a push would. */
export function frameProbe(sp: u64, size: i32): void {
  if (ok == 0) return;
  const linear = place(sp & mask, size);
  if (ok == 0) return;
  if (writeOk(linear, size) == 0) failed();
  stackFault();
}

/** Drops `bytes` from the top. */
export function frameSkip(bytes: i32): void {
  pointer = (pointer + bytes) & mask;
}

/** Gives RSP the frame's pointer: 16-bit stacks keep the rest of the register, 32-bit ones clear its upper half. */
export function frameCommit(): void {
  setStackPointer(pointer, mask);
}

export function setStackPointer(value: u64, width: u64): void {
  if (width == 0xffff) store<u16>(RSP, value as u16);
  else store<u64>(RSP, value & width);
}
