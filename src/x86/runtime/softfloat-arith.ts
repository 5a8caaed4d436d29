// Add, multiply, divide, square root and remainder on the unpacked numbers of softfloat.ts. Each computes an exact
// 128-bit result (or one with a sticky last bit) and leaves the only rounding to roundPack.
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
  sfFlags,
  sfRaise,
  sfRound,
  sfTrap,
  TOP,
  uClass,
  uExp,
  uSig,
  uSign,
  ZE,
  ZERO,
  zInfinity,
  zInvalid,
  zZero,
} from './softfloat';

/** High and low half of the last 64x64 multiplication, quotient and remainder of the last division. */
export let mulLow: u64 = 0;
export let divRest: u64 = 0;

/** High half of a 64x64-bit product; the low half is left in mulLow. */
export function mulWide(a: u64, b: u64): u64 {
  const a0: u64 = a & 0xffffffff;
  const a1: u64 = a >> 32;
  const b0: u64 = b & 0xffffffff;
  const b1: u64 = b >> 32;
  const low = a0 * b0;
  const mid = a1 * b0 + (low >> 32);
  const mid2 = a0 * b1 + (mid & 0xffffffff);
  mulLow = (mid2 << 32) | (low & 0xffffffff);
  return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/** (hi:lo) / d for hi < d and the top bit of d set; the remainder is left in divRest (Knuth, algorithm D). */
export function divWide(hi: u64, lo: u64, d: u64): u64 {
  const d1: u64 = d >> 32;
  const d0: u64 = d & 0xffffffff;
  const l1: u64 = lo >> 32;
  const l0: u64 = lo & 0xffffffff;
  let q1 = hi / d1;
  let r = hi - q1 * d1;
  while (q1 >> 32 || q1 * d0 > ((r << 32) | l1)) {
    q1--;
    r += d1;
    if (r >> 32) break;
  }
  const mid = ((hi << 32) | l1) - q1 * d;
  let q0 = mid / d1;
  r = mid - q0 * d1;
  while (q0 >> 32 || q0 * d0 > ((r << 32) | l0)) {
    q0--;
    r += d1;
    if (r >> 32) break;
  }
  divRest = ((mid << 32) | l0) - q0 * d;
  return (q1 << 32) + q0;
}

/** Z = A + U, or A - U. */
export function addSub(subtract: i32): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  const bSign = uSign ^ subtract;
  if (aClass == INFINITE && uClass == INFINITE && aSign != bSign) return zInvalid();
  if (denormal2()) return;
  if (aClass == INFINITE) return zInfinity(aSign);
  if (uClass == INFINITE) return zInfinity(bSign);
  if (aClass == ZERO) {
    if (uClass != ZERO) return roundPack(bSign, uExp, uSig, 0);
    return zZero(aSign == bSign ? aSign : sfRound == 1 ? 1 : 0);
  }
  if (uClass == ZERO) return roundPack(aSign, aExp, aSig, 0);
  addMagnitudes(aSign, aExp, aSig, bSign, uExp, uSig);
}

function addMagnitudes(s1: i32, e1: i32, g1: u64, s2: i32, e2: i32, g2: u64): void {
  // The larger magnitude goes first: its sign is the result's.
  if (e2 > e1 || (e2 == e1 && g2 > g1)) {
    addMagnitudes(s2, e2, g2, s1, e1, g1);
    return;
  }
  const d = e1 - e2;
  let h: u64 = 0;
  let l: u64 = 1;
  if (d == 0) {
    h = g2;
    l = 0;
  } else if (d < 64) {
    h = g2 >> d;
    l = g2 << (64 - d);
  } else if (d == 64) {
    l = g2;
  } else if (d < 128) {
    l = (g2 >> (d - 64)) | <u64>(g2 << (128 - d) != 0);
  }
  if (s1 == s2) {
    const sum = g1 + h;
    if (sum >= g1) return roundPack(s1, e1, sum, l);
    return roundPack(s1, e1 + 1, TOP | (sum >> 1), (sum << 63) | (l >> 1) | (l & 1));
  }
  const low: u64 = 0 - l;
  const high = g1 - h - <u64>(l != 0);
  if (high) {
    const shift = <i32>clz(high);
    if (shift == 0) return roundPack(s1, e1, high, low);
    return roundPack(s1, e1 - shift, (high << shift) | (low >> (64 - shift)), low << shift);
  }
  // An exact zero is +0, except when rounding down (SDM 4.8.3.1).
  if (low == 0) return zZero(sfRound == 1 ? 1 : 0);
  const shift = <i32>clz(low);
  roundPack(s1, e1 - 64 - shift, low << shift, 0);
}

/** Z = A * U. */
export function multiply(): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  const sign = aSign ^ uSign;
  if ((aClass == INFINITE && uClass == ZERO) || (aClass == ZERO && uClass == INFINITE)) return zInvalid();
  if (denormal2()) return;
  if (aClass == INFINITE || uClass == INFINITE) return zInfinity(sign);
  if (aClass == ZERO || uClass == ZERO) return zZero(sign);
  const hi = mulWide(aSig, uSig);
  const lo = mulLow;
  if (hi >> 63) roundPack(sign, aExp + uExp + 1, hi, lo);
  else roundPack(sign, aExp + uExp, (hi << 1) | (lo >> 63), lo << 1);
}

/** Z = A / U. */
export function divide(): void {
  if (aClass >= QNAN || uClass >= QNAN) return nan2();
  const sign = aSign ^ uSign;
  if (aClass == uClass && (aClass == INFINITE || aClass == ZERO)) return zInvalid();
  if (uClass == ZERO && aClass < INFINITE) {
    sfRaise(ZE);
    return zInfinity(sign);
  }
  if (denormal2()) return;
  if (aClass == INFINITE) return zInfinity(sign);
  if (aClass == ZERO || uClass == INFINITE) return zZero(sign);
  let e = aExp - uExp;
  let q: u64 = 0;
  if (aSig < uSig) {
    q = divWide(aSig, 0, uSig);
    e--;
  } else {
    q = divWide(aSig >> 1, aSig << 63, uSig);
  }
  roundPack(sign, e, q, tail(divRest, uSig));
}

/** What a remainder says of the digits that follow: nothing, below, at or above one half. */
function tail(rest: u64, divisor: u64): u64 {
  if (rest == 0) return 0;
  const other = divisor - rest;
  return rest < other ? 1 : rest == other ? TOP : TOP | 1;
}

/** Z = square root of U. */
export function squareRoot(): void {
  if (uClass >= QNAN) return nan1();
  if (uClass == ZERO) return zZero(uSign);
  if (uSign) return zInvalid();
  if (denormal1()) return;
  if (uClass == INFINITE) return zInfinity(0);
  // n = hi:lo in [2^126, 2^128) with an even exponent; its root has 64 bits.
  let hi = uSig;
  let lo: u64 = 0;
  if (!(uExp & 1)) {
    lo = hi << 63;
    hi >>= 1;
  }
  const estimate = Math.sqrt(<f64>hi) * 4294967296.0;
  let q: u64 = estimate >= 18446744073709551615.0 ? ~(<u64>0) : <u64>estimate;
  // The estimate is good to 52 bits, and one Newton step in double precision brings it within one or two.
  let rh = hi - mulWide(q, q) - <u64>(mulLow > lo);
  let rl = lo - mulLow;
  const rest = <f64>(<i64>rh) * 18446744073709551616.0 + <f64>rl;
  const step = <i64>(rest / (2.0 * <f64>q));
  const next = q + <u64>step;
  q = step > 0 && next < q ? ~(<u64>0) : next;
  rh = hi - mulWide(q, q) - <u64>(mulLow > lo);
  rl = lo - mulLow;
  while (<i64>rh < 0) {
    q--;
    // (q+1)^2 - q^2 = 2q + 1
    const old = rl;
    rl += (q << 1) | 1;
    rh += (q >> 63) + <u64>(rl < old);
  }
  while (rh > q >> 63 || (rh == q >> 63 && rl > q << 1)) {
    const old = rl;
    rl -= (q << 1) | 1;
    rh -= (q >> 63) + <u64>(rl > old);
    q++;
  }
  const above = rh != 0 || rl > q;
  roundPack(0, uExp >> 1, q, rh == 0 && rl == 0 ? 0 : above ? TOP | 1 : 1);
}

/** True when an unmasked exception stops the instruction before its result is written. */
export function stopped(): bool {
  return (sfFlags & sfTrap & 7) != 0;
}
