// IRET in every mode, the far return, and what both check of the code and stack segment that they go back to.
// Source: Intel SDM volume 2, "IRET", "RET"; volume 3, 5.8.6.
import { CPL, EFLAGS, END_BLOCK, REC_IMM, RIP, RSP, cpl, in64 } from './names';
import {
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_DB,
  ATTR_L,
  ATTR_P,
  ATTR_RW,
  ATTR_S,
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_DF,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
  VEC_GP,
  VEC_NP,
  VEC_SS,
  VEC_TS,
} from './bits';
import { raise, readTss, unblockNmi } from './exceptions';
import { setRflags } from './flags';
import { begin, ok } from './memory';
import { isCanonical } from './mmu';
import { failure, nextRip, opSize } from './record';
import {
  attrDpl,
  descriptor,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  dropInnerSegments,
  fetchDescriptor,
  isProtected,
  longActive,
  markAccessed,
  setNull,
  setRealSegment,
  setSegment,
  setVm86Segment,
  updateMode,
} from './segments';
import { frameCommit, frameHere, framePop, frameSkip, setStackPointer, stackMask } from './stack';
import { switchTask, TASK_IRET } from './task';

/** The flags that IRET and POPF may change at `cpl`, for an operand of `size` bytes. SDM 2 "POPF", table 4-15. */
export function changeableFlags(size: i32, cpl: i32): i32 {
  let mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
  if (size >= 4) mask |= FLAG_RF | FLAG_AC | FLAG_ID;
  const iopl = (load<i32>(EFLAGS) >> 12) & 3;
  if (cpl <= iopl) mask |= FLAG_IF;
  if (cpl == 0) mask |= FLAG_IOPL;
  return mask;
}

// The segments of the place to return to, checked and not loaded.
let codeDescriptor: u64 = 0;
let stackDescriptor: u64 = 0;

/** Checks the code segment of a return and its instruction pointer. */
function checkCode(selector: i32, rip: u64): bool {
  if ((selector & 0xfffc) == 0) {
    raise(VEC_GP, 0);
    return false;
  }
  if (!fetchDescriptor(selector, VEC_GP, 0)) return false;
  const attr = descriptorAttr(descriptor);
  const rpl = selector & 3;
  const dpl = attrDpl(attr);
  const code = (attr & (ATTR_S | ATTR_CODE)) == (ATTR_S | ATTR_CODE);
  const rights = (attr & ATTR_CONFORMING) != 0 ? dpl <= rpl : dpl == rpl;
  const both = longActive() && (attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB);
  if (!code || rpl < cpl() || !rights || both) {
    raise(VEC_GP, selector & 0xfffc);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_NP, selector & 0xfffc);
    return false;
  }
  const long = longActive() && (attr & ATTR_L) != 0;
  if (long ? !isCanonical(rip) : rip > descriptorLimit(descriptor)) {
    raise(VEC_GP, 0);
    return false;
  }
  if (!markAccessed()) return false;
  codeDescriptor = descriptor;
  return true;
}

/** Is the code segment that checkCode accepted a 64-bit one? */
function returnsTo64(): bool {
  return longActive() && ((codeDescriptor >> 53) & 1) != 0;
}

/** Checks the stack segment of a return to ring `rpl`. */
function checkStack(selector: i32, rpl: i32): bool {
  stackDescriptor = 0;
  if ((selector & 0xfffc) == 0) {
    if (returnsTo64() && rpl != 3 && (selector & 3) == rpl) return true;
    raise(VEC_GP, 0);
    return false;
  }
  if (!fetchDescriptor(selector, VEC_GP, 0)) return false;
  const attr = descriptorAttr(descriptor);
  const data = (attr & (ATTR_S | ATTR_CODE | ATTR_RW)) == (ATTR_S | ATTR_RW);
  if (!data || (selector & 3) != rpl || attrDpl(attr) != rpl) {
    raise(VEC_GP, selector & 0xfffc);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_SS, selector & 0xfffc);
    return false;
  }
  if (!markAccessed()) return false;
  stackDescriptor = descriptor;
  return true;
}

function install(seg: i32, selector: i32, descriptor: u64): void {
  if (descriptor == 0) setNull(seg, selector);
  else {
    setSegment(
      seg,
      selector,
      descriptorBase(descriptor),
      descriptorLimit(descriptor),
      descriptorAttr(descriptor),
    );
  }
}

/** Loads CS, and SS:RSP too when the return goes to an outer ring or pops them anyway. */
function enterReturned(selector: i32, rip: u64, withStack: bool, stack: i32, sp: u64): void {
  const outer = (selector & 3) != cpl();
  install(SEG_CS, selector, codeDescriptor);
  store<u64>(RIP, rip);
  if (withStack) install(SEG_SS, stack, stackDescriptor);
  if (outer) {
    store<i32>(CPL, selector & 3);
    dropInnerSegments();
  }
  updateMode();
  if (withStack) setStackPointer(sp, stackMask());
}

/** Real mode, and virtual-8086 mode with IOPL 3. */
function iretReal(size: i32): i32 {
  const vm86 = (load<i32>(EFLAGS) & FLAG_VM) != 0;
  if (vm86 && ((load<i32>(EFLAGS) >> 12) & 3) < 3) return raise(VEC_GP, 0);
  frameHere();
  const rip = framePop(size);
  const selector = framePop(size) as i32;
  const flags = framePop(size);
  if (ok == 0) return failure();
  if (rip > 0xffff) return raise(VEC_GP, 0);
  frameCommit();
  if (vm86) setVm86Segment(SEG_CS, selector & 0xffff);
  else setRealSegment(SEG_CS, selector & 0xffff);
  store<u64>(RIP, rip);
  setRflags(flags as i64, changeableFlags(size, vm86 ? 3 : 0));
  updateMode();
  unblockNmi();
  return END_BLOCK;
}

/** Protected mode, CPL 0, VM set in the image: back to a virtual-8086 task. SDM 3B 20.2.6. */
function iretToVm86(rip: u64, selector: i32, flags: u64): i32 {
  const sp = framePop(4);
  const ss = framePop(4) as i32;
  const es = framePop(4) as i32;
  const ds = framePop(4) as i32;
  const fs = framePop(4) as i32;
  const gs = framePop(4) as i32;
  if (ok == 0) return failure();
  setRflags(flags as i64, changeableFlags(4, 0) | FLAG_VM | FLAG_VIF | FLAG_VIP);
  setVm86Segment(SEG_CS, selector & 0xffff);
  setVm86Segment(SEG_SS, ss & 0xffff);
  setVm86Segment(SEG_ES, es & 0xffff);
  setVm86Segment(SEG_DS, ds & 0xffff);
  setVm86Segment(SEG_FS, fs & 0xffff);
  setVm86Segment(SEG_GS, gs & 0xffff);
  store<i32>(CPL, 3);
  store<u64>(RIP, rip & 0xffff);
  store<u64>(RSP, sp);
  updateMode();
  unblockNmi();
  return END_BLOCK;
}

export function op_iret(rec: i32): i32 {
  const size = opSize(rec);
  begin();
  if (!isProtected()) return iretReal(size);
  const long = in64();
  const flagsNow = load<i32>(EFLAGS);
  if ((flagsNow & FLAG_NT) != 0) {
    if (longActive()) return raise(VEC_GP, 0);
    // Back to the task that the running one was nested in: the link is the first word of its TSS.
    const link = readTss(0, 2, 0) as i32;
    if (ok == 0 || !switchTask(link, TASK_IRET, VEC_TS, 0, nextRip(rec), -1)) return failure();
    unblockNmi();
    return END_BLOCK;
  }
  frameHere();
  const rip = framePop(size);
  const selector = (framePop(size) as i32) & 0xffff;
  const flags = framePop(size);
  if (ok == 0) return failure();
  const ring = cpl();
  if (size == 4 && (flags & FLAG_VM) != 0 && ring == 0 && !longActive()) {
    return iretToVm86(rip, selector, flags);
  }
  const rpl = selector & 3;
  const withStack = long || rpl > ring;
  let sp: u64 = 0;
  let stack = 0;
  if (!checkCode(selector, rip)) return failure();
  begin();
  if (withStack) {
    sp = framePop(size);
    stack = (framePop(size) as i32) & 0xffff;
    if (ok == 0 || !checkStack(stack, rpl)) return failure();
  }
  let mask = changeableFlags(size, ring);
  if (ring == 0 && size >= 4) mask |= FLAG_VIF | FLAG_VIP;
  if (!withStack) frameCommit();
  setRflags(flags as i64, mask);
  enterReturned(selector, rip, withStack, stack, sp);
  unblockNmi();
  return END_BLOCK;
}

export function op_retf(rec: i32): i32 {
  return farReturn(rec, 0);
}

/** RETF imm16: drops as many bytes of parameters. */
export function op_retf_imm(rec: i32): i32 {
  return farReturn(rec, load<u16>(rec + REC_IMM));
}

function farReturn(rec: i32, drop: i32): i32 {
  const size = opSize(rec);
  begin();
  frameHere();
  const rip = framePop(size);
  const selector = (framePop(size) as i32) & 0xffff;
  if (ok == 0) return failure();
  if (!isProtected()) {
    if (rip > 0xffff) return raise(VEC_GP, 0);
    frameSkip(drop);
    frameCommit();
    if ((load<i32>(EFLAGS) & FLAG_VM) != 0) setVm86Segment(SEG_CS, selector);
    else setRealSegment(SEG_CS, selector);
    store<u64>(RIP, rip);
    updateMode();
    return END_BLOCK;
  }
  if (!checkCode(selector, rip)) return failure();
  frameSkip(drop);
  const rpl = selector & 3;
  if (rpl == cpl()) {
    frameCommit();
    enterReturned(selector, rip, false, 0, 0);
    return END_BLOCK;
  }
  begin();
  const sp = framePop(size);
  const stack = (framePop(size) as i32) & 0xffff;
  if (ok == 0 || !checkStack(stack, rpl)) return failure();
  enterReturned(selector, rip, true, stack, sp);
  // The caller's stack held the parameters too.
  setStackPointer(load<u64>(RSP) + drop, stackMask());
  return END_BLOCK;
}
