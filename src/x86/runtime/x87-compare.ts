// x87 comparison and examination: the FCOM, FUCOM and FCOMI families, FTST, FXAM.
// Source: SDM volume 1, 8.3.6, volume 2.
import { CC_EFLAGS, CC_OP, CC_SRC, FSW, NEXT } from './names';
import {
  compare,
  INFINITE,
  toA,
  uClass,
  uSign,
  unpackInt,
  UNSUPPORTED,
  DENORMAL,
  NORMAL,
  ZERO,
} from './softfloat';
import { fetch, I16, I32, M32, M64, unpackMemory, unpackSlot } from './x87-operand';
import {
  beginExtended,
  enter,
  FSW_C0,
  FSW_C1,
  FSW_C2,
  FSW_C3,
  isEmpty,
  memoryFault,
  note,
  pop,
  report,
  stackFault,
  sti,
} from './x87-state';

/** ZF PF CF of a comparison as C3 C2 C0; C1 is cleared. */
function setConditions(relation: i32): void {
  let sw = load<u32>(FSW) & ~(FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3);
  if (relation & 1) sw |= FSW_C0;
  if (relation & 4) sw |= FSW_C2;
  if (relation & 0x40) sw |= FSW_C3;
  store<u32>(FSW, sw);
}

/**
 * Compares A with U (both unpacked) and reports; true when an unmasked exception stops it. The condition codes are set
 * even then, as AMD's processors do (the SDM leaves them alone): nothing reads them before #MF.
 */
function compareAndReport(rec: i32, quiet: i32): bool {
  const relation = compare(quiet);
  const stop = report(rec);
  setConditions(relation);
  return stop;
}

function compareEmpty(rec: i32): bool {
  const stop = stackFault(rec, 0);
  setConditions(0x45);
  return stop;
}

function compareMemory(rec: i32, format: i32, pops: i32): i32 {
  const status = enter();
  if (status) return status;
  const at = fetch(rec, format);
  if (!at) return memoryFault();
  note(rec, 1);
  let stop: bool;
  if (isEmpty(0)) {
    stop = compareEmpty(rec);
  } else {
    beginExtended();
    unpackSlot(0);
    toA();
    unpackMemory(at, format);
    stop = compareAndReport(rec, 0);
  }
  if (pops && !stop) pop();
  return NEXT;
}

function compareRegister(rec: i32, i: i32, quiet: i32, pops: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  let stop: bool;
  if (isEmpty(0) || isEmpty(i)) {
    stop = compareEmpty(rec);
  } else {
    beginExtended();
    unpackSlot(0);
    toA();
    unpackSlot(i);
    stop = compareAndReport(rec, quiet);
  }
  if (stop) return NEXT;
  for (let n = 0; n < pops; n++) pop();
  return NEXT;
}

/** FCOMI and FUCOMI: the relation goes to ZF PF CF; OF SF AF are cleared. */
function compareFlags(rec: i32, quiet: i32, pops: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  let relation = 0x45;
  let stop: bool;
  if (isEmpty(0) || isEmpty(sti(rec))) {
    stop = stackFault(rec, 0);
  } else {
    beginExtended();
    unpackSlot(0);
    toA();
    unpackSlot(sti(rec));
    relation = compare(quiet);
    // C1 is only cleared by a stack fault.
    const c1 = load<u32>(FSW) & FSW_C1;
    stop = report(rec);
    store<u32>(FSW, load<u32>(FSW) | c1);
  }
  store<u64>(CC_SRC, relation);
  store<i32>(CC_OP, CC_EFLAGS);
  if (pops && !stop) pop();
  return NEXT;
}

export function op_fcom_m32(rec: i32): i32 {
  return compareMemory(rec, M32, 0);
}
export function op_fcom_m64(rec: i32): i32 {
  return compareMemory(rec, M64, 0);
}
export function op_fcomp_m32(rec: i32): i32 {
  return compareMemory(rec, M32, 1);
}
export function op_fcomp_m64(rec: i32): i32 {
  return compareMemory(rec, M64, 1);
}
export function op_ficom_m16(rec: i32): i32 {
  return compareMemory(rec, I16, 0);
}
export function op_ficom_m32(rec: i32): i32 {
  return compareMemory(rec, I32, 0);
}
export function op_ficomp_m16(rec: i32): i32 {
  return compareMemory(rec, I16, 1);
}
export function op_ficomp_m32(rec: i32): i32 {
  return compareMemory(rec, I32, 1);
}
export function op_fcom(rec: i32): i32 {
  return compareRegister(rec, sti(rec), 0, 0);
}
export function op_fcomp(rec: i32): i32 {
  return compareRegister(rec, sti(rec), 0, 1);
}
export function op_fcompp(rec: i32): i32 {
  return compareRegister(rec, 1, 0, 2);
}
export function op_fucom(rec: i32): i32 {
  return compareRegister(rec, sti(rec), 1, 0);
}
export function op_fucomp(rec: i32): i32 {
  return compareRegister(rec, sti(rec), 1, 1);
}
export function op_fucompp(rec: i32): i32 {
  return compareRegister(rec, 1, 1, 2);
}
export function op_fcomi(rec: i32): i32 {
  return compareFlags(rec, 0, 0);
}
export function op_fcomip(rec: i32): i32 {
  return compareFlags(rec, 0, 1);
}
export function op_fucomi(rec: i32): i32 {
  return compareFlags(rec, 1, 0);
}
export function op_fucomip(rec: i32): i32 {
  return compareFlags(rec, 1, 1);
}

export function op_ftst(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (isEmpty(0)) {
    compareEmpty(rec);
    return NEXT;
  }
  beginExtended();
  unpackSlot(0);
  toA();
  unpackInt(0);
  compareAndReport(rec, 0);
  return NEXT;
}

/** FXAM: class of ST(0) in C3 C2 C0, its sign in C1; an empty register is a class of its own (SDM volume 2, FXAM). */
export function op_fxam(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  unpackSlot(0);
  let sw = load<u32>(FSW) & ~(FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3);
  if (uSign) sw |= FSW_C1;
  if (isEmpty(0)) sw |= FSW_C3 | FSW_C0;
  else if (uClass == NORMAL) sw |= FSW_C2;
  else if (uClass == INFINITE) sw |= FSW_C2 | FSW_C0;
  else if (uClass == ZERO) sw |= FSW_C3;
  else if (uClass == DENORMAL) sw |= FSW_C3 | FSW_C2;
  else if (uClass != UNSUPPORTED) sw |= FSW_C0;
  store<u32>(FSW, sw);
  return NEXT;
}
