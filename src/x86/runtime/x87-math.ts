// The x87's transcendental instructions: F2XM1 FYL2X FYL2XP1 FPTAN FPATAN FSIN FCOS FSINCOS, by argument reduction and
// Taylor series on the 128-bit numbers of x87-wide.ts. Results are within one unit of the 64-bit significand, as
// processors promise (SDM volume 1, 8.3.10). Special cases: the tables of SDM volume 2.
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
  sfRaise,
  toA,
  TOP,
  uClass,
  uExp,
  unpack80,
  uSig,
  uSign,
  ZE,
  ZERO,
  zDefaultNaN,
  zInfinity,
  zInvalid,
  zZero,
} from './softfloat';
import {
  beginExtended,
  enter,
  FSW_C2,
  isEmpty,
  note,
  pop,
  putRaw,
  putZ,
  report,
  setTop,
  slot,
  stackFault,
  top,
  underflowTo,
} from './x87-state';
import {
  WIDE_BYTES,
  wideAdd,
  wideCopy,
  wideDivide,
  wideExp,
  wideHigh,
  wideLow,
  wideMultiply,
  wideNegate,
  wideNormalise,
  widePolynomial,
  wideSet,
  wideSign,
  wideSubtract,
} from './x87-wide';

// Coefficients in units of 2^-127, high half first.
/** 1 / (2k+1)! */
const SINE: i32 = memory.data<u64>([
  0x8000000000000000, 0x0000000000000000, 0x1555555555555555, 0x5555555555555555, 0x0111111111111111,
  0x1111111111111111, 0x0006806806806806, 0x8068068068068068, 0x0000171de3a556c7, 0x338faac1c88e5001,
  0x00000035cc8acfea, 0x89c71fce8fc97070, 0x000000005849184e, 0xa1b425f28e0cc749, 0x00000000006b9fcf,
  0x9ccee07c476195ac, 0x000000000000654b, 0x1dc0c2b529ac9814, 0x000000000000004b, 0xd26d1a05055c9328,
  0x0000000000000000, 0x2e371dedb9eae318, 0x0000000000000000, 0x001761b41316381a, 0x0000000000000000,
  0x000009f9e66e8b30, 0x0000000000000000, 0x00000003a356385c,
]) as i32;
/** 1 / (2k)! */
const COSINE: i32 = memory.data<u64>([
  0x8000000000000000, 0x0000000000000000, 0x4000000000000000, 0x0000000000000000, 0x0555555555555555,
  0x5555555555555555, 0x002d82d82d82d82d, 0x82d82d82d82d82d8, 0x0000d00d00d00d00, 0xd00d00d00d00d00d,
  0x0000024fc9f6ef13, 0xeb8e5de02da7d4cd, 0x000000047bb63bfe, 0x3625ed5136a61eb4, 0x00000000064e5d2a,
  0x301f27482eb7c517, 0x000000000006b9fc, 0xf9ccee07c476195b, 0x00000000000005a0, 0x9e18ee5f65deec01,
  0x0000000000000003, 0xca8574804044a0f5, 0x0000000000000000, 0x0219c72db6ff0a53, 0x0000000000000000,
  0x0000f96780cb97ac, 0x0000000000000000, 0x000000623a17f1a9,
]) as i32;
/** 1 / (k+1)! */
const EXPONENTIAL: i32 = memory.data<u64>([
  0x8000000000000000, 0x0000000000000000, 0x4000000000000000, 0x0000000000000000, 0x1555555555555555,
  0x5555555555555555, 0x0555555555555555, 0x5555555555555555, 0x0111111111111111, 0x1111111111111111,
  0x002d82d82d82d82d, 0x82d82d82d82d82d8, 0x0006806806806806, 0x8068068068068068, 0x0000d00d00d00d00,
  0xd00d00d00d00d00d, 0x0000171de3a556c7, 0x338faac1c88e5001, 0x0000024fc9f6ef13, 0xeb8e5de02da7d4cd,
  0x00000035cc8acfea, 0x89c71fce8fc97070, 0x000000047bb63bfe, 0x3625ed5136a61eb4, 0x000000005849184e,
  0xa1b425f28e0cc749, 0x00000000064e5d2a, 0x301f27482eb7c517, 0x00000000006b9fcf, 0x9ccee07c476195ac,
  0x000000000006b9fc, 0xf9ccee07c476195b, 0x000000000000654b, 0x1dc0c2b529ac9814, 0x00000000000005a0,
  0x9e18ee5f65deec01, 0x000000000000004b, 0xd26d1a05055c9328, 0x0000000000000003, 0xca8574804044a0f5,
  0x0000000000000000, 0x2e371dedb9eae318, 0x0000000000000000, 0x0219c72db6ff0a53, 0x0000000000000000,
  0x001761b41316381a, 0x0000000000000000, 0x0000f96780cb97ac, 0x0000000000000000, 0x000009f9e66e8b30,
  0x0000000000000000, 0x000000623a17f1a9, 0x0000000000000000, 0x00000003a356385c,
]) as i32;
/** 1 / (2k+1) */
const ODD: i32 = memory.data<u64>([
  0x8000000000000000, 0x0000000000000000, 0x2aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab, 0x1999999999999999,
  0x999999999999999a, 0x1249249249249249, 0x2492492492492492, 0x0e38e38e38e38e38, 0xe38e38e38e38e38e,
  0x0ba2e8ba2e8ba2e8, 0xba2e8ba2e8ba2e8c, 0x09d89d89d89d89d8, 0x9d89d89d89d89d8a, 0x0888888888888888,
  0x8888888888888889, 0x0787878787878787, 0x8787878787878788, 0x06bca1af286bca1a, 0xf286bca1af286bca,
  0x0618618618618618, 0x6186186186186186, 0x0590b21642c8590b, 0x21642c8590b21643, 0x051eb851eb851eb8,
  0x51eb851eb851eb85, 0x04bda12f684bda12, 0xf684bda12f684bda, 0x0469ee58469ee584, 0x69ee58469ee5846a,
  0x0421084210842108, 0x4210842108421084, 0x03e0f83e0f83e0f8, 0x3e0f83e0f83e0f84, 0x03a83a83a83a83a8,
  0x3a83a83a83a83a84, 0x03759f22983759f2, 0x2983759f2298375a, 0x0348348348348348, 0x3483483483483483,
  0x031f3831f3831f38, 0x31f3831f3831f383, 0x02fa0be82fa0be82, 0xfa0be82fa0be82fa, 0x02d82d82d82d82d8,
  0x2d82d82d82d82d83, 0x02b9310572620ae4, 0xc415c9882b931057, 0x029cbc14e5e0a72f, 0x05397829cbc14e5e,
]) as i32;
/** Arctangents of k/8 for k = 0 to 8 */
const ARCTANGENTS: i32 = memory.data<u64>([
  0x0000000000000000, 0x0000000000000000, 0x0feadd4d5617b6e3, 0x2c897989f3e888ef, 0x1f5b75f92c80dd62,
  0xadb8f3debef442fd, 0x2dec3283c9bde11c, 0xe2a8c848b73f9121, 0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea341,
  0x47802eaf7bfacfcd, 0xae41af0b32e21ba4, 0x525e3e8c9a7b8492, 0x0cd43f9522bed64f, 0x5c029f15e118cf39,
  0xe596d2a90852221f, 0x6487ed5110b4611a, 0x62633145c06e0e69,
]) as i32;

const NUMBERS: i32 = memory.data(8 * 24, 8) as i32;
const X: i32 = NUMBERS;
const Y: i32 = NUMBERS + WIDE_BYTES;
const SQUARE: i32 = NUMBERS + 2 * WIDE_BYTES;
const SERIES: i32 = NUMBERS + 3 * WIDE_BYTES;
const SIN: i32 = NUMBERS + 4 * WIDE_BYTES;
const COS: i32 = NUMBERS + 5 * WIDE_BYTES;
const T: i32 = NUMBERS + 6 * WIDE_BYTES;
const R: i32 = NUMBERS + 7 * WIDE_BYTES;

function unpackSlot(i: i32): void {
  const at = slot(i);
  unpack80(load<u64>(at), load<u16>(at + 8));
}

/** Z = a number, rounded; it is never taken as exact. */
function finish(a: i32): void {
  if (!wideHigh(a)) return zZero(wideSign(a));
  roundPack(wideSign(a), wideExp(a), wideHigh(a), wideLow(a) | 1);
}

/** Pi divided by 2^down, with the sign. */
function setPi(d: i32, sign: i32, down: i32): void {
  wideSet(d, sign, 1 - down, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
}

/** SIN and COS of X, which is at most pi/4 in magnitude. */
function series(): void {
  wideMultiply(SQUARE, X, X);
  widePolynomial(SERIES, SINE, 14, SQUARE, 1);
  wideMultiply(SIN, SERIES, X);
  widePolynomial(COS, COSINE, 14, SQUARE, 1);
}

/**
 * X = U modulo pi/2 (between -pi/4 and pi/4), and the quadrant. Processors reduce by a pi of 66 bits, which shows in
 * large arguments (SDM 8.3.8); so does this: pi/2 = REDUCE_HIGH:REDUCE_LOW * 2^-65.
 */
const REDUCE_HIGH: u64 = 3;
const REDUCE_LOW: u64 = 0x243f6a8885a308d3;
function reduce(): i32 {
  if (uExp < -1) {
    wideSet(X, uSign, uExp, uSig, 0);
    return 0;
  }
  let h: u64 = 0;
  let l = uSig;
  let quadrant = 0;
  for (let n = uExp + 2; n > 0; n--) {
    h = (h << 1) | (l >> 63);
    l <<= 1;
    quadrant <<= 1;
    if (h > REDUCE_HIGH || (h == REDUCE_HIGH && l >= REDUCE_LOW)) {
      h -= REDUCE_HIGH + <u64>(l < REDUCE_LOW);
      l -= REDUCE_LOW;
      quadrant |= 1;
    }
  }
  const otherLow = REDUCE_LOW - l;
  const otherHigh = REDUCE_HIGH - h - <u64>(REDUCE_LOW < l);
  let sign = 0;
  if (h > otherHigh || (h == otherHigh && l > otherLow)) {
    h = otherHigh;
    l = otherLow;
    sign = 1;
    quadrant++;
  }
  // In units of 2^-65; a negative argument is reduced as its opposite.
  if (uSign) {
    sign ^= 1;
    quadrant = -quadrant;
  }
  wideNormalise(X, sign, 127 - 65, h, l);
  return quadrant & 3;
}

/** SIN and COS of the operand in U. */
function sineAndCosine(): void {
  const quadrant = reduce();
  series();
  if (quadrant & 1) {
    wideCopy(T, SIN);
    wideCopy(SIN, COS);
    wideCopy(COS, T);
    wideNegate(COS);
  }
  if (quadrant & 2) {
    wideNegate(SIN);
    wideNegate(COS);
  }
}

const ONE_SIN: i32 = 0;
const ONE_COS: i32 = 1;
const BOTH: i32 = 2;
const TANGENT: i32 = 3;

/** Z = the first result for operand U; false when nothing remains to be computed. */
function trigonometric(rec: i32, kind: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  const pushes = kind >= BOTH;
  if (isEmpty(0) || (pushes && !isEmpty(7))) {
    if (stackFault(rec, isEmpty(0) ? 0 : 1)) return NEXT;
    zDefaultNaN();
    putZ(0);
    store<u32>(FSW, load<u32>(FSW) & ~FSW_C2);
    if (pushes) {
      setTop(top() - 1);
      putZ(0);
    }
    return NEXT;
  }
  beginExtended();
  unpackSlot(0);
  if (uClass < INFINITE && uClass != ZERO && uExp >= 63) {
    // "The source operand must be in the range -2^63 to +2^63": C2 says that nothing was done.
    report(rec);
    store<u32>(FSW, load<u32>(FSW) | FSW_C2);
    return NEXT;
  }
  store<u32>(FSW, load<u32>(FSW) & ~FSW_C2);
  if (uClass >= INFINITE || uClass == ZERO) {
    const zero = uClass == ZERO;
    const sign = uSign;
    if (uClass >= QNAN) nan1();
    else if (!zero) zInvalid();
    else if (kind == ONE_COS) roundPack(0, 0, TOP, 0);
    else zZero(sign);
    if (report(rec)) return NEXT;
    putZ(0);
    if (pushes) {
      setTop(top() - 1);
      if (zero) putRaw(0, TOP, 16383);
      else putZ(0);
    }
    return NEXT;
  }
  if (denormal1()) {
    report(rec);
    return NEXT;
  }
  sineAndCosine();
  if (kind == TANGENT) {
    wideDivide(T, SIN, COS);
    finish(T);
  } else {
    finish(kind == ONE_COS ? COS : SIN);
  }
  if (report(rec)) return NEXT;
  putZ(0);
  if (!pushes) return NEXT;
  if (kind == TANGENT) {
    setTop(top() - 1);
    putRaw(0, TOP, 16383);
    return NEXT;
  }
  finish(COS);
  report(rec);
  setTop(top() - 1);
  putZ(0);
  return NEXT;
}

export function op_fsin(rec: i32): i32 {
  return trigonometric(rec, ONE_SIN);
}
export function op_fcos(rec: i32): i32 {
  return trigonometric(rec, ONE_COS);
}
export function op_fsincos(rec: i32): i32 {
  return trigonometric(rec, BOTH);
}
export function op_fptan(rec: i32): i32 {
  return trigonometric(rec, TANGENT);
}

/** 2^ST(0) - 1 for -1 <= ST(0) <= 1; beyond, the result is undefined: the operand stays. */
export function op_f2xm1(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (isEmpty(0)) {
    underflowTo(rec, 0);
    return NEXT;
  }
  beginExtended();
  unpackSlot(0);
  if (uClass >= QNAN) nan1();
  else if (uClass == ZERO) zZero(uSign);
  else if (uClass == INFINITE) {
    if (uSign) roundPack(1, 0, TOP, 0);
    else zInfinity(0);
  } else if (!denormal1()) {
    if (uExp > 0 || (uExp == 0 && uSig != TOP)) roundPack(uSign, uExp, uSig, 0);
    else if (uExp == 0) roundPack(uSign, uSign ? -1 : 0, TOP, 0);
    else {
      wideSet(X, uSign, uExp, uSig, 0);
      wideSet(T, 0, -1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af);
      wideMultiply(Y, X, T);
      widePolynomial(SERIES, EXPONENTIAL, 27, Y, uSign);
      wideMultiply(T, SERIES, Y);
      finish(T);
    }
  }
  if (!report(rec)) putZ(0);
  return NEXT;
}

/** T = log2 of the number whose atanh argument X / Y is at most 0.18 in magnitude: 2 / ln 2 * atanh(X / Y). */
function logarithm(): void {
  wideDivide(R, X, Y);
  wideMultiply(SQUARE, R, R);
  widePolynomial(SERIES, ODD, 25, SQUARE, 0);
  wideMultiply(T, SERIES, R);
  wideSet(X, 0, 1, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89);
  wideMultiply(T, T, X);
}

/** T = log2(sig * 2^(exp - 63) of the wide number in X). */
function logarithmOf(): void {
  // Significand between sqrt(1/2) and sqrt(2).
  let exp = wideExp(X);
  let e = 0;
  if (wideHigh(X) >= 0xb504f333f9de6484) {
    exp++;
    e = -1;
  }
  wideSet(X, 0, e, wideHigh(X), wideLow(X));
  wideSet(T, 0, 0, TOP, 0);
  wideAdd(Y, X, T);
  wideSubtract(X, X, T);
  logarithm();
  if (exp) {
    const magnitude: u64 = exp < 0 ? -exp : exp;
    wideNormalise(X, exp < 0 ? 1 : 0, 63, magnitude, 0);
    wideAdd(T, T, X);
  }
}

/** Two operands, A = ST(1) and U = ST(0); the result replaces ST(1), and the stack is popped. */
let binaryStatus: i32 = 0;
function binary(rec: i32): bool {
  binaryStatus = enter();
  if (binaryStatus) return false;
  note(rec, 0);
  if (isEmpty(0) || isEmpty(1)) {
    if (!underflowTo(rec, 1)) pop();
    return false;
  }
  beginExtended();
  unpackSlot(1);
  toA();
  unpackSlot(0);
  return true;
}

function finishBinary(rec: i32): i32 {
  if (report(rec)) return NEXT;
  putZ(1);
  pop();
  return NEXT;
}

/** Z = A * T. */
function timesY(): void {
  wideSet(X, aSign, aExp, aSig, 0);
  wideMultiply(T, T, X);
  finish(T);
}

function yLog2x(): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  if (uSign && uClass != ZERO) return zInvalid();
  if (uClass == ZERO) {
    if (aClass == ZERO) return zInvalid();
    if (aClass != INFINITE) sfRaise(ZE);
    return zInfinity(aSign ^ 1);
  }
  const one = uExp == 0 && uSig == TOP && uClass != INFINITE;
  const small = uClass != INFINITE && uExp < 0;
  if (uClass == INFINITE && aClass == ZERO) return zInvalid();
  if (aClass == INFINITE && one) return zInvalid();
  if (denormal2()) return;
  if (uClass == INFINITE) return zInfinity(aSign);
  if (aClass == INFINITE) return zInfinity(aSign ^ (small ? 1 : 0));
  if (one || aClass == ZERO) return zZero(aSign ^ (small ? 1 : 0));
  wideSet(X, 0, uExp, uSig, 0);
  logarithmOf();
  timesY();
}

export function op_fyl2x(rec: i32): i32 {
  if (!binary(rec)) return binaryStatus;
  yLog2x();
  return finishBinary(rec);
}

/** ST(1) * log2(ST(0) + 1), meant for |ST(0)| below 1 - sqrt(1/2). */
function yLog2xPlus1(): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  if (uClass == ZERO) {
    if (aClass == INFINITE) return zInvalid();
    if (denormal2()) return;
    return zZero(aSign ^ uSign);
  }
  if (uSign && (uClass == INFINITE || uExp >= 0)) return zInvalid();
  if (uClass == INFINITE && aClass == ZERO) return zInvalid();
  if (denormal2()) return;
  if (uClass == INFINITE || aClass == INFINITE) return zInfinity(aSign ^ uSign);
  if (aClass == ZERO) return zZero(aSign ^ uSign);
  wideSet(X, uSign, uExp, uSig, 0);
  if (uExp >= -1) {
    wideSet(T, 0, 0, TOP, 0);
    wideAdd(X, X, T);
    logarithmOf();
  } else {
    wideSet(T, 0, 1, TOP, 0);
    wideAdd(Y, X, T);
    logarithm();
  }
  timesY();
}

export function op_fyl2xp1(rec: i32): i32 {
  if (!binary(rec)) return binaryStatus;
  yLog2xPlus1();
  return finishBinary(rec);
}

/** T = arctangent of X / Y, both positive, X <= Y. */
function arctangent(): void {
  wideDivide(R, X, Y);
  // Nearest eighth: atan(r) = atan(c) + atan((r - c) / (1 + r c)).
  let eighth = 0;
  const e = wideExp(R);
  if (e >= 0) eighth = 8;
  else if (e >= -4) eighth = <i32>(((wideHigh(R) >> (59 - e)) + 1) >> 1);
  if (eighth) {
    wideNormalise(X, 0, 60, <u64>eighth, 0);
    wideSet(Y, 0, 0, TOP, 0);
    wideMultiply(T, R, X);
    wideAdd(Y, Y, T);
    wideSubtract(X, R, X);
    wideDivide(R, X, Y);
  }
  wideMultiply(SQUARE, R, R);
  widePolynomial(SERIES, ODD, 18, SQUARE, 1);
  wideMultiply(T, SERIES, R);
  if (!eighth) return;
  const at = ARCTANGENTS + (eighth << 4);
  wideNormalise(X, 0, 0, load<u64>(at), load<u64>(at + 8));
  wideAdd(T, T, X);
}

function arctangentOfQuotient(): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  if (denormal2()) return;
  const sign = aSign;
  if (aClass == ZERO && !uSign) return zZero(sign);
  if (uClass == INFINITE && !uSign && aClass != INFINITE) return zZero(sign);
  if (aClass == INFINITE && uClass == INFINITE) {
    setPi(T, 0, 2);
    if (uSign) {
      setPi(X, 0, 1);
      wideAdd(T, T, X);
    }
  } else if (aClass == ZERO || uClass == INFINITE) {
    setPi(T, 0, 0);
  } else if (aClass == INFINITE || uClass == ZERO) {
    setPi(T, 0, 1);
  } else {
    const steep = aExp > uExp || (aExp == uExp && aSig > uSig);
    wideSet(X, 0, aExp, aSig, 0);
    wideSet(Y, 0, uExp, uSig, 0);
    if (steep) {
      wideCopy(T, X);
      wideCopy(X, Y);
      wideCopy(Y, T);
    }
    arctangent();
    if (steep) {
      setPi(X, 0, 1);
      wideSubtract(T, X, T);
    }
    if (uSign) {
      setPi(X, 0, 0);
      wideSubtract(T, X, T);
    }
  }
  if (sign) wideNegate(T);
  finish(T);
}

export function op_fpatan(rec: i32): i32 {
  if (!binary(rec)) return binaryStatus;
  arctangentOfQuotient();
  return finishBinary(rec);
}
