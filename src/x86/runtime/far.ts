// Far jumps and calls: direct, through memory, and through call gates. Hardware task switches are not implemented and
// raise #TS. Source: Intel SDM volume 2, "JMP", "CALL"; volume 3, 5.8.
import { CPL, CS_SEL, EFLAGS, END_BLOCK, REC_IMM, REC_IMM2, RIP, RSP, SS_SEL, cpl } from './names';
import {
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_DB,
  ATTR_L,
  ATTR_P,
  ATTR_S,
  FLAG_VM,
  SEG_CS,
  SEG_SS,
  VEC_GP,
  VEC_NP,
  VEC_SS,
} from './bits';
import { fetchInnerStack, frameInner, installInnerStack, raise, readTss, setRights } from './exceptions';
import { begin, ok, read16, readSized } from './memory';
import { isCanonical } from './mmu';
import { failure, linearAt, effectiveAddress, nextRip, opSize, truncate } from './record';
import {
  attrDpl,
  descriptor,
  descriptorAttr,
  descriptorBase,
  descriptorHigh,
  descriptorLimit,
  fetchDescriptor,
  isProtected,
  longActive,
  markAccessed,
  readSystemDescriptor,
  setNull,
  setRealSegment,
  setSegment,
  setVm86Segment,
  updateMode,
} from './segments';
import { frameCommit, frameHere, frameLong, framePeek, framePointer, framePush } from './stack';
import { switchTask, TASK_CALL, TASK_JUMP } from './task';

const GATE_CALL16 = 4;
const GATE_TASK = 5;
const GATE_CALL = 12;

function installCode(selector: i32, descriptor: u64): void {
  setSegment(
    SEG_CS,
    selector,
    descriptorBase(descriptor),
    descriptorLimit(descriptor),
    descriptorAttr(descriptor),
  );
}

function isLongCode(descriptor: u64): bool {
  return longActive() && (descriptorAttr(descriptor) & ATTR_L) != 0;
}

/** #GP(0) when `offset` is not a place in the code segment. */
function checkOffset(descriptor: u64, offset: u64): bool {
  if (isLongCode(descriptor) ? isCanonical(offset) : offset <= descriptorLimit(descriptor)) return true;
  raise(VEC_GP, 0);
  return false;
}

/** Real and virtual-8086 mode. */
function farReal(rec: i32, selector: i32, offset: u64, call: bool): i32 {
  const size = opSize(rec);
  if (offset > 0xffff) return raise(VEC_GP, 0);
  if (call) {
    frameHere();
    framePush(load<u32>(CS_SEL), size);
    framePush(nextRip(rec), size);
    if (ok == 0) return failure();
    frameCommit();
  }
  if ((load<i32>(EFLAGS) & FLAG_VM) != 0) setVm86Segment(SEG_CS, selector);
  else setRealSegment(SEG_CS, selector);
  store<u64>(RIP, offset);
  updateMode();
  return END_BLOCK;
}

function farTo(rec: i32, selector: i32, offset: u64, call: bool): i32 {
  begin();
  if (!isProtected()) return farReal(rec, selector, offset, call);
  if ((selector & 0xfffc) == 0) return raise(VEC_GP, 0);
  if (!fetchDescriptor(selector, VEC_GP, 0)) return failure();
  const attr = descriptorAttr(descriptor);
  if ((attr & ATTR_S) == 0) return farThroughSystem(rec, selector, call);
  const ring = cpl();
  const dpl = attrDpl(attr);
  const rights = (attr & ATTR_CONFORMING) != 0 ? dpl <= ring : (selector & 3) <= ring && dpl == ring;
  const both = longActive() && (attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB);
  if ((attr & ATTR_CODE) == 0 || !rights || both) return raise(VEC_GP, selector & 0xfffc);
  if ((attr & ATTR_P) == 0) return raise(VEC_NP, selector & 0xfffc);
  if (!markAccessed()) return failure();
  const code = descriptor;
  begin();
  if (call) {
    const size = opSize(rec);
    frameHere();
    framePush(load<u32>(CS_SEL), size);
    framePush(nextRip(rec), size);
    if (ok == 0) return failure();
  }
  if (!checkOffset(code, offset)) return failure();
  if (call) frameCommit();
  installCode((selector & 0xfffc) | ring, code);
  store<u64>(RIP, offset);
  updateMode();
  return END_BLOCK;
}

/** The selector names a gate or a TSS. */
function farThroughSystem(rec: i32, selector: i32, call: bool): i32 {
  const error = selector & 0xfffc;
  const type = descriptorAttr(descriptor) & 15;
  if (!longActive() && (type == 1 || type == 9 || type == GATE_TASK)) return farToTask(rec, selector, call);
  const known = type == GATE_CALL || (type == GATE_CALL16 && !longActive());
  if (!known) return raise(VEC_GP, error);
  const read = readSystemDescriptor(selector);
  if (read < 0) return raise(VEC_GP, error);
  if (read == 0) return failure();
  const gate = descriptor;
  const ring = cpl();
  const gateAttr = descriptorAttr(gate);
  if (attrDpl(gateAttr) < ring || attrDpl(gateAttr) < (selector & 3)) return raise(VEC_GP, error);
  if (longActive() && ((descriptorHigh >> 8) & 0x1f) != 0) return raise(VEC_GP, error);
  if ((gateAttr & ATTR_P) == 0) return raise(VEC_NP, error);

  let offset = gate & 0xffff;
  if (type == GATE_CALL) offset |= (gate >> 32) & 0xffff_0000;
  if (longActive()) offset |= (descriptorHigh & 0xffff_ffff) << 32;
  const target = ((gate >> 16) as i32) & 0xffff;
  if ((target & 0xfffc) == 0) return raise(VEC_GP, 0);
  if (!fetchDescriptor(target, VEC_GP, 0)) return failure();
  const attr = descriptorAttr(descriptor);
  const dpl = attrDpl(attr);
  const conforming = (attr & ATTR_CONFORMING) != 0;
  const code = (attr & (ATTR_S | ATTR_CODE)) == (ATTR_S | ATTR_CODE);
  const rights = call || conforming ? dpl <= ring : dpl == ring;
  const wrongSize = longActive() && (attr & (ATTR_L | ATTR_DB)) != ATTR_L;
  if (!code || !rights || wrongSize) return raise(VEC_GP, target & 0xfffc);
  if ((attr & ATTR_P) == 0) return raise(VEC_NP, target & 0xfffc);
  if (!markAccessed()) return failure();
  const codeDescriptor = descriptor;
  if (!checkOffset(codeDescriptor, offset)) return failure();

  const size: i32 = longActive() ? 8 : type == GATE_CALL ? 4 : 2;
  const inner = call && !conforming && dpl < ring;
  begin();
  if (inner) {
    const parameters = ((gate >> 32) as i32) & 31;
    if (!callInner(rec, dpl, size, parameters)) return failure();
  } else if (call) {
    frameHere();
    framePush(load<u32>(CS_SEL), size);
    framePush(nextRip(rec), size);
    if (ok == 0) return failure();
    frameCommit();
  }
  installCode((target & 0xfffc) | cpl(), codeDescriptor);
  store<u64>(RIP, offset);
  updateMode();
  return END_BLOCK;
}

/** A TSS, or a task gate that names one; its descriptor has been read. */
function farToTask(rec: i32, selector: i32, call: bool): i32 {
  const attr = descriptorAttr(descriptor);
  const error = selector & 0xfffc;
  if (attrDpl(attr) < cpl() || attrDpl(attr) < (selector & 3)) return raise(VEC_GP, error);
  let target = selector;
  if ((attr & 15) == GATE_TASK) {
    if ((attr & ATTR_P) == 0) return raise(VEC_NP, error);
    target = ((descriptor >> 16) as i32) & 0xffff;
  }
  const how = call ? TASK_CALL : TASK_JUMP;
  return switchTask(target, how, VEC_GP, 0, nextRip(rec), -1) ? END_BLOCK : failure();
}

/** The parameters of a call through a gate, on their way from the outer stack to the inner one. */
const PARAMETERS: i32 = memory.data(256, 8) as i32;

/** Switches to the stack of inner ring `ring` and pushes the frame of a call there. CPL is the new one afterwards. */
function callInner(rec: i32, ring: i32, size: i32, parameters: i32): bool {
  const outer = cpl();
  if (longActive()) {
    const sp = readTss(4 + ring * 8, 8, 0);
    if (ok == 0) return false;
    if (!isCanonical(sp)) {
      raise(VEC_SS, 0);
      return false;
    }
    frameLong(sp);
  } else {
    if (!fetchInnerStack(ring, 0)) return false;
    begin();
    frameHere();
    for (let n = 0; n < parameters; n++) {
      store<u64>(PARAMETERS + (n << 3), framePeek(n * size, size));
    }
    if (ok == 0) return false;
    frameInner(0);
  }
  setRights(ring);
  framePush(load<u32>(SS_SEL), size);
  framePush(load<u64>(RSP), size);
  if (!longActive()) {
    for (let n = parameters - 1; n >= 0; n--) framePush(load<u64>(PARAMETERS + (n << 3)), size);
  }
  framePush(load<u32>(CS_SEL), size);
  framePush(nextRip(rec), size);
  if (ok == 0) {
    setRights(outer);
    return false;
  }
  if (longActive()) setNull(SEG_SS, ring);
  else installInnerStack();
  store<u64>(RSP, framePointer());
  store<i32>(CPL, ring);
  return true;
}

/** Reads the far pointer in memory and goes there. */
function farIndirect(rec: i32, call: bool): i32 {
  const size = opSize(rec);
  begin();
  const at = effectiveAddress(rec);
  const low = linearAt(rec, at, size, 0);
  const high = ok != 0 ? linearAt(rec, at + size, 2, 0) : 0;
  if (ok == 0) return failure();
  const offset = readSized(low, size);
  const selector = ok != 0 ? (read16(high) as i32) : 0;
  if (ok == 0) return failure();
  return farTo(rec, selector, offset, call);
}

/** JMP ptr16:16, ptr16:32: offset in REC_IMM, selector in REC_IMM2. */
export function op_jmpf_imm(rec: i32): i32 {
  return farTo(rec, load<u16>(rec + REC_IMM2), truncate(load<u32>(rec + REC_IMM), opSize(rec)), false);
}

export function op_callf_imm(rec: i32): i32 {
  return farTo(rec, load<u16>(rec + REC_IMM2), truncate(load<u32>(rec + REC_IMM), opSize(rec)), true);
}

export function op_jmpf_mem(rec: i32): i32 {
  return farIndirect(rec, false);
}

export function op_callf_mem(rec: i32): i32 {
  return farIndirect(rec, true);
}
