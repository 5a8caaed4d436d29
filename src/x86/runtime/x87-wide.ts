// Numbers with 128-bit significands, for the x87's transcendental instructions: enough to round their results to 64
// bits within less than one unit. A number is 24 bytes in memory: i32 sign, i32 exponent, u64 high, u64 low; its value is
// high:low * 2^(exponent - 127), bit 63 of high is set, or high is 0 for zero. The last bits are not exact.
import { divWide, mulLow, mulWide } from './softfloat-arith';
import { TOP } from './softfloat';

export const WIDE_BYTES: i32 = 24;
const SCRATCH: i32 = memory.data(72, 8) as i32;

export function wideSign(a: i32): i32 {
  return load<i32>(a);
}
export function wideExp(a: i32): i32 {
  return load<i32>(a, 4);
}
export function wideHigh(a: i32): u64 {
  return load<u64>(a, 8);
}
export function wideLow(a: i32): u64 {
  return load<u64>(a, 16);
}

export function wideSet(d: i32, sign: i32, exp: i32, high: u64, low: u64): void {
  store<i32>(d, sign);
  store<i32>(d, exp, 4);
  store<u64>(d, high, 8);
  store<u64>(d, low, 16);
}

export function wideCopy(d: i32, a: i32): void {
  memory.copy(d, a, WIDE_BYTES);
}

export function wideNegate(d: i32): void {
  store<i32>(d, load<i32>(d) ^ 1);
}

/** Shifts high:low, which is not zero, up until its top bit is set; `exp` belongs to the unshifted top bit. */
export function wideNormalise(d: i32, sign: i32, exp: i32, high: u64, low: u64): void {
  let h = high;
  let l = low;
  let e = exp;
  if (h == 0) {
    if (l == 0) return wideSet(d, sign, 0, 0, 0);
    h = l;
    l = 0;
    e -= 64;
  }
  const shift = <i32>clz(h);
  if (shift) {
    h = (h << shift) | (l >> (64 - shift));
    l <<= shift;
  }
  wideSet(d, sign, e - shift, h, l);
}

export function wideAdd(d: i32, a: i32, b: i32): void {
  if (!wideHigh(b)) return wideCopy(d, a);
  if (!wideHigh(a)) return wideCopy(d, b);
  let x = a;
  let y = b;
  const below =
    wideExp(a) < wideExp(b) ||
    (wideExp(a) == wideExp(b) &&
      (wideHigh(a) < wideHigh(b) || (wideHigh(a) == wideHigh(b) && wideLow(a) < wideLow(b))));
  if (below) {
    x = b;
    y = a;
  }
  const shift = wideExp(x) - wideExp(y);
  let h = wideHigh(y);
  let l = wideLow(y);
  if (shift >= 128) {
    h = 0;
    l = 0;
  } else if (shift >= 64) {
    l = h >> (shift - 64);
    h = 0;
  } else if (shift) {
    l = (h << (64 - shift)) | (l >> shift);
    h >>= shift;
  }
  const sign = wideSign(x);
  const exp = wideExp(x);
  if (sign == wideSign(y)) {
    const low = wideLow(x) + l;
    const carry = <u64>(low < l);
    const part = wideHigh(x) + h;
    const high = part + carry;
    if (part < h || high < carry) wideSet(d, sign, exp + 1, TOP | (high >> 1), (high << 63) | (low >> 1));
    else wideSet(d, sign, exp, high, low);
    return;
  }
  const low = wideLow(x) - l;
  const high = wideHigh(x) - h - <u64>(wideLow(x) < l);
  wideNormalise(d, sign, exp, high, low);
}

/** d = a - b; d must not be b. */
export function wideSubtract(d: i32, a: i32, b: i32): void {
  wideCopy(SCRATCH, b);
  wideNegate(SCRATCH);
  wideAdd(d, a, SCRATCH);
}

/** Upper halves of the product of two 128-bit numbers: the high one is the result, the low one in productLow. */
let productLow: u64 = 0;
function product(ah: u64, al: u64, bh: u64, bl: u64): u64 {
  let high = mulWide(ah, bh);
  let low = mulLow;
  const first = mulWide(ah, bl);
  let tail = mulLow;
  const second = mulWide(al, bh);
  tail += mulLow;
  const carry = <u64>(tail < mulLow);
  low += first;
  high += <u64>(low < first);
  low += second;
  high += <u64>(low < second);
  low += carry;
  high += <u64>(low < carry);
  productLow = low;
  return high;
}

export function wideMultiply(d: i32, a: i32, b: i32): void {
  const sign = wideSign(a) ^ wideSign(b);
  if (!wideHigh(a) || !wideHigh(b)) return wideSet(d, sign, 0, 0, 0);
  const exp = wideExp(a) + wideExp(b) + 1;
  const high = product(wideHigh(a), wideLow(a), wideHigh(b), wideLow(b));
  wideNormalise(d, sign, exp, high, productLow);
}

/** First 64 bits of a / b. */
function quotient(d: i32, a: i32, b: i32): void {
  const sign = wideSign(a) ^ wideSign(b);
  const exp = wideExp(a) - wideExp(b);
  // The divisor's lower half is left out: the error is in the last bits, and mended by the second step.
  const n = wideHigh(a);
  const q = divWide(n >> 1, n << 63, wideHigh(b));
  wideNormalise(d, sign, exp, q, 0);
}

/** d = a / b; d must be neither. b is not zero. */
export function wideDivide(d: i32, a: i32, b: i32): void {
  if (!wideHigh(a)) return wideSet(d, wideSign(a) ^ wideSign(b), 0, 0, 0);
  const rest = SCRATCH + 24;
  const more = SCRATCH + 48;
  quotient(d, a, b);
  for (let step = 0; step < 2; step++) {
    wideMultiply(rest, d, b);
    wideSubtract(more, a, rest);
    if (!wideHigh(more)) return;
    quotient(rest, more, b);
    wideAdd(d, d, rest);
  }
}

/**
 * c[0] + c[1] z + c[2] z^2 … (`alternate` 1: with alternating signs) for 0 <= z < 1; coefficients in `table` are
 * pairs of u64, high first, in units of 2^-127, and no partial sum reaches 2.
 */
export function widePolynomial(d: i32, table: i32, count: i32, z: i32, alternate: i32): void {
  let zh = wideHigh(z);
  let zl = wideLow(z);
  const shift = -1 - wideExp(z);
  if (zh == 0 || shift >= 128) {
    zh = 0;
    zl = 0;
  } else if (shift >= 64) {
    zl = zh >> (shift - 64);
    zh = 0;
  } else if (shift) {
    zl = (zh << (64 - shift)) | (zl >> shift);
    zh >>= shift;
  }
  let h: u64 = 0;
  let l: u64 = 0;
  for (let k = count - 1; k >= 0; k--) {
    const ch = load<u64>(table + (k << 4));
    const cl = load<u64>(table + (k << 4) + 8);
    const ph = product(h, l, zh, zl);
    const pl = productLow;
    if (alternate) {
      l = cl - pl;
      h = ch - ph - <u64>(cl < pl);
    } else {
      l = cl + pl;
      h = ch + ph + <u64>(l < cl);
    }
  }
  wideNormalise(d, 0, 0, h, l);
}
