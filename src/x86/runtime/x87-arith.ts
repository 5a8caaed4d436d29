// x87 arithmetic: FADD FMUL FSUB(R) FDIV(R) in all their forms, and the one- and two-operand instructions that need no
// approximation. Operations are numbered as in ModRM.reg of D8: 0 add, 1 multiply, 4 subtract, 5 reversed, 6 divide,
// 7 reversed. Source: SDM volume 1 chapter 8, volume 2.
import { FSW, NEXT } from './names';
import {
  aClass,
  aExp,
  aSig,
  aSign,
  denormal1,
  denormal2,
  INFINITE,
  nan1,
  nan2,
  QNAN,
  roundPack,
  roundToIntegral,
  sfRound,
  swapAU,
  toA,
  uClass,
  uSign,
  uExp,
  uSig,
  unpackInt,
  DENORMAL,
  NORMAL,
  ZERO,
  ZE,
  sfRaise,
  zDefaultNaN,
  zInfinity,
  zInvalid,
  zZero,
} from './softfloat';
import { addSub, divide, multiply, squareRoot } from './softfloat-arith';
import { fetch, I16, I32, M32, M64, unpackMemory, unpackSlot } from './x87-operand';
import {
  beginArithmetic,
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
  putRaw,
  putZ,
  report,
  setTop,
  slot,
  stackFault,
  sti,
  top,
  underflowTo,
} from './x87-state';

/** Z = A op U. */
function compute(op: i32): void {
  if (op == 5 || op == 7) swapAU();
  if (op == 0) addSub(0);
  else if (op == 1) multiply();
  else if (op < 6) addSub(1);
  else divide();
}

function withMemory(rec: i32, op: i32, format: i32): i32 {
  const status = enter();
  if (status) return status;
  const at = fetch(rec, format);
  if (!at) return memoryFault();
  note(rec, 1);
  if (isEmpty(0)) {
    underflowTo(rec, 0);
    return NEXT;
  }
  beginArithmetic();
  unpackSlot(0);
  toA();
  unpackMemory(at, format);
  compute(op);
  if (!report(rec)) putZ(0);
  return NEXT;
}

/**
 * ST(0) op ST(i) into ST(0), or (`into` 1) into ST(i), or (2) into ST(i) with a pop. Where ST(i) is the destination, the
 * mnemonics call reversed what ModRM.reg does not: FSUB ST(i), ST(0) is operation 5.
 */
function withRegister(rec: i32, op: i32, into: i32): i32 {
  const status = enter();
  if (status) return status;
  const i = sti(rec);
  const target = into ? i : 0;
  note(rec, 0);
  let stop: bool;
  if (isEmpty(0) || isEmpty(i)) {
    stop = underflowTo(rec, target);
  } else {
    beginArithmetic();
    unpackSlot(0);
    toA();
    unpackSlot(i);
    compute(op);
    stop = report(rec);
    if (!stop) putZ(target);
  }
  if (into == 2 && !stop) pop();
  return NEXT;
}

export function op_fadd_m32(rec: i32): i32 {
  return withMemory(rec, 0, M32);
}
export function op_fadd_m64(rec: i32): i32 {
  return withMemory(rec, 0, M64);
}
export function op_fiadd_m16(rec: i32): i32 {
  return withMemory(rec, 0, I16);
}
export function op_fiadd_m32(rec: i32): i32 {
  return withMemory(rec, 0, I32);
}
export function op_fadd_st0(rec: i32): i32 {
  return withRegister(rec, 0, 0);
}
export function op_fadd_sti(rec: i32): i32 {
  return withRegister(rec, 0, 1);
}
export function op_faddp(rec: i32): i32 {
  return withRegister(rec, 0, 2);
}

export function op_fmul_m32(rec: i32): i32 {
  return withMemory(rec, 1, M32);
}
export function op_fmul_m64(rec: i32): i32 {
  return withMemory(rec, 1, M64);
}
export function op_fimul_m16(rec: i32): i32 {
  return withMemory(rec, 1, I16);
}
export function op_fimul_m32(rec: i32): i32 {
  return withMemory(rec, 1, I32);
}
export function op_fmul_st0(rec: i32): i32 {
  return withRegister(rec, 1, 0);
}
export function op_fmul_sti(rec: i32): i32 {
  return withRegister(rec, 1, 1);
}
export function op_fmulp(rec: i32): i32 {
  return withRegister(rec, 1, 2);
}

export function op_fsub_m32(rec: i32): i32 {
  return withMemory(rec, 4, M32);
}
export function op_fsub_m64(rec: i32): i32 {
  return withMemory(rec, 4, M64);
}
export function op_fisub_m16(rec: i32): i32 {
  return withMemory(rec, 4, I16);
}
export function op_fisub_m32(rec: i32): i32 {
  return withMemory(rec, 4, I32);
}
export function op_fsub_st0(rec: i32): i32 {
  return withRegister(rec, 4, 0);
}
export function op_fsubr_sti(rec: i32): i32 {
  return withRegister(rec, 4, 1);
}
export function op_fsubrp(rec: i32): i32 {
  return withRegister(rec, 4, 2);
}

export function op_fsubr_m32(rec: i32): i32 {
  return withMemory(rec, 5, M32);
}
export function op_fsubr_m64(rec: i32): i32 {
  return withMemory(rec, 5, M64);
}
export function op_fisubr_m16(rec: i32): i32 {
  return withMemory(rec, 5, I16);
}
export function op_fisubr_m32(rec: i32): i32 {
  return withMemory(rec, 5, I32);
}
export function op_fsubr_st0(rec: i32): i32 {
  return withRegister(rec, 5, 0);
}
export function op_fsub_sti(rec: i32): i32 {
  return withRegister(rec, 5, 1);
}
export function op_fsubp(rec: i32): i32 {
  return withRegister(rec, 5, 2);
}

export function op_fdiv_m32(rec: i32): i32 {
  return withMemory(rec, 6, M32);
}
export function op_fdiv_m64(rec: i32): i32 {
  return withMemory(rec, 6, M64);
}
export function op_fidiv_m16(rec: i32): i32 {
  return withMemory(rec, 6, I16);
}
export function op_fidiv_m32(rec: i32): i32 {
  return withMemory(rec, 6, I32);
}
export function op_fdiv_st0(rec: i32): i32 {
  return withRegister(rec, 6, 0);
}
export function op_fdivr_sti(rec: i32): i32 {
  return withRegister(rec, 6, 1);
}
export function op_fdivrp(rec: i32): i32 {
  return withRegister(rec, 6, 2);
}

export function op_fdivr_m32(rec: i32): i32 {
  return withMemory(rec, 7, M32);
}
export function op_fdivr_m64(rec: i32): i32 {
  return withMemory(rec, 7, M64);
}
export function op_fidivr_m16(rec: i32): i32 {
  return withMemory(rec, 7, I16);
}
export function op_fidivr_m32(rec: i32): i32 {
  return withMemory(rec, 7, I32);
}
export function op_fdivr_st0(rec: i32): i32 {
  return withRegister(rec, 7, 0);
}
export function op_fdiv_sti(rec: i32): i32 {
  return withRegister(rec, 7, 1);
}
export function op_fdivp(rec: i32): i32 {
  return withRegister(rec, 7, 2);
}

function signOperation(rec: i32, flip: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (isEmpty(0)) {
    underflowTo(rec, 0);
    return NEXT;
  }
  store<u32>(FSW, load<u32>(FSW) & ~FSW_C1);
  const at = slot(0) + 8;
  const se = load<u16>(at);
  store<u16>(at, flip ? se ^ 0x8000 : se & 0x7fff);
  return NEXT;
}

export function op_fchs(rec: i32): i32 {
  return signOperation(rec, 1);
}
export function op_fabs(rec: i32): i32 {
  return signOperation(rec, 0);
}

/** Prologue of the instructions on ST(0) alone: unpacked in U. False: `status` says how it ends. */
let unaryStatus: i32 = 0;
function unary(rec: i32): bool {
  unaryStatus = enter();
  if (unaryStatus) return false;
  note(rec, 0);
  if (isEmpty(0)) {
    underflowTo(rec, 0);
    return false;
  }
  beginExtended();
  unpackSlot(0);
  return true;
}

export function op_fsqrt(rec: i32): i32 {
  if (!unary(rec)) return unaryStatus;
  beginArithmetic();
  squareRoot();
  if (!report(rec)) putZ(0);
  return NEXT;
}

export function op_frndint(rec: i32): i32 {
  if (!unary(rec)) return unaryStatus;
  if (uClass >= QNAN) nan1();
  else if (!denormal1()) roundToIntegral(sfRound);
  if (!report(rec)) putZ(0);
  return NEXT;
}

/** ST(0) * 2^truncate(ST(1)) (SDM table 3-34). */
export function op_fscale(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (isEmpty(0) || isEmpty(1)) {
    underflowTo(rec, 0);
    return NEXT;
  }
  beginExtended();
  unpackSlot(0);
  toA();
  unpackSlot(1);
  scale();
  if (!report(rec)) putZ(0);
  return NEXT;
}

function scale(): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  if (uClass == INFINITE) {
    if (uSign ? aClass == INFINITE : aClass == ZERO) return zInvalid();
    if (denormal2()) return;
    return uSign ? zZero(aSign) : zInfinity(aSign);
  }
  if (denormal2()) return;
  if (aClass == INFINITE) return zInfinity(aSign);
  if (aClass == ZERO) return zZero(aSign);
  // Beyond 2^17 every result over- or underflows whatever the operand.
  let n = 0;
  if (uClass != ZERO && uExp >= 0) n = uExp > 16 ? 0x20000 : <i32>(uSig >> (63 - uExp));
  roundPack(aSign, uSign ? aExp - n : aExp + n, aSig, 0);
}

/** ST(0) = exponent, then its significand is pushed. */
export function op_fxtract(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (isEmpty(0) || !isEmpty(7)) {
    if (stackFault(rec, isEmpty(0) ? 0 : 1)) return NEXT;
    zDefaultNaN();
    putZ(0);
    setTop(top() - 1);
    putZ(0);
    return NEXT;
  }
  beginExtended();
  unpackSlot(0);
  if (uClass >= QNAN) nan1();
  else if (uClass == INFINITE) zInfinity(0);
  else if (uClass == ZERO) {
    sfRaise(ZE);
    zInfinity(1);
  } else denormal1();
  if (report(rec)) return NEXT;
  const sign = uSign;
  const sig = uSig;
  if (uClass == NORMAL || uClass == DENORMAL) {
    unpackInt(uExp);
    if (uClass == ZERO) zZero(0);
    else roundPack(uSign, uExp, uSig, 0);
    putZ(0);
    setTop(top() - 1);
    putRaw(0, sig, (sign << 15) | 16383);
    return NEXT;
  }
  putZ(0);
  const special = uClass;
  setTop(top() - 1);
  if (special == ZERO) zZero(sign);
  else if (special == INFINITE) zInfinity(sign);
  putZ(0);
  return NEXT;
}

/**
 * FPREM (`nearest` 0) and FPREM1 (1): at most 63 quotient bits at once. C2 says that the remainder is not final; else
 * C0 C3 C1 are bits 2 1 0 of the quotient.
 */
function remainder(rec: i32, nearest: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (isEmpty(0) || isEmpty(1)) {
    underflowTo(rec, 0);
    store<u32>(FSW, load<u32>(FSW) & ~FSW_C2);
    return NEXT;
  }
  beginExtended();
  unpackSlot(0);
  toA();
  unpackSlot(1);
  const codes = divideForRest(nearest);
  const stop = report(rec);
  let sw = load<u32>(FSW) & ~FSW_C2;
  // Without a quotient C0 and C3 stay.
  if (codes != NO_QUOTIENT) sw = (sw & ~(FSW_C0 | FSW_C1 | FSW_C3)) | codes;
  store<u32>(FSW, sw);
  if (!stop) putZ(0);
  return NEXT;
}

const NO_QUOTIENT: u32 = 0xffffffff;

/** Z = rest of A / U; condition codes. */
function divideForRest(nearest: i32): u32 {
  if (aClass >= QNAN || uClass >= QNAN) {
    nan2();
    return NO_QUOTIENT;
  }
  if (aClass == INFINITE || uClass == ZERO) {
    zInvalid();
    return NO_QUOTIENT;
  }
  if (denormal2()) return NO_QUOTIENT;
  if (aClass == ZERO) {
    zZero(aSign);
    return 0;
  }
  if (uClass == INFINITE || aExp < uExp - 1) {
    roundPack(aSign, aExp, aSig, 0);
    return 0;
  }
  const d = aExp - uExp;
  let rest = aSig;
  let q: u64 = 0;
  let sign = aSign;
  let exp = uExp;
  let codes: u32 = 0;
  let steps = d;
  if (d >= 64) {
    // Reduce by 32 to 63 bits and ask to be called again (SDM FPREM: N between 32 and 63).
    steps = 32 + (d & 31);
    exp = aExp - steps;
    codes = FSW_C2;
  }
  if (d < 0) {
    // d = -1: the quotient is 0, or 1 to nearest. In units of half of U's: A = aSig, U = 2 * uSig.
    if (!nearest || aSig <= uSig) {
      roundPack(aSign, aExp, aSig, 0);
      return 0;
    }
    const other = uSig - (aSig - uSig);
    const shift = <i32>clz(other);
    roundPack(sign ^ 1, aExp - shift, other << shift, 0);
    return quotientCodes(1);
  }
  // One quotient bit a step: `over` is the bit that a doubled rest carries out of 64 bits.
  let over = false;
  for (let n = 0; ; n++) {
    q <<= 1;
    if (over || rest >= uSig) {
      rest -= uSig;
      q |= 1;
    }
    if (n == steps) break;
    over = rest >> 63 != 0;
    rest <<= 1;
  }
  if (!codes && nearest) {
    const other = uSig - rest;
    if (rest > other || (rest == other && q & 1)) {
      rest = other;
      sign ^= 1;
      q++;
    }
  }
  if (rest == 0) {
    zZero(aSign);
  } else {
    const shift = <i32>clz(rest);
    roundPack(sign, exp - shift, rest << shift, 0);
  }
  return codes ? codes : quotientCodes(q);
}

function quotientCodes(q: u64): u32 {
  return (q & 4 ? FSW_C0 : 0) | (q & 2 ? FSW_C3 : 0) | (q & 1 ? FSW_C1 : 0);
}

export function op_fprem(rec: i32): i32 {
  return remainder(rec, 0);
}
export function op_fprem1(rec: i32): i32 {
  return remainder(rec, 1);
}
