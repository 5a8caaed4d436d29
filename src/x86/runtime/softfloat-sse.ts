// Scalar SSE arithmetic: what translated code calls when the fast WebAssembly instruction might not leave the right bits
// or flags. What sse-exact.ts can show to be right is answered at once; the rest (rounding other than to nearest, NaNs,
// denormals, flags to raise) is software. Operands and results are bit patterns; MXCSR says how to round and receives
// the flags. SDM volume 1, chapter 11.
import { MXCSR, SSE_PENDING } from '../layout';
import { addSub, divide, multiply, squareRoot } from './softfloat-arith';
import {
  denormal32,
  denormal64,
  finite32,
  finite64,
  inexactUnseen,
  nearest,
  normal32,
  normal64,
  productExact64,
  settled,
  sumExact32,
  sumExact64,
} from './sse-exact';
import {
  compare,
  convert,
  denormal1,
  pack32,
  pack64,
  PE,
  IE,
  aClass,
  QNAN,
  roundToIntegral,
  sfBeginSse,
  sfFlags,
  sfFormat,
  sfForget,
  sfRaise,
  sfRound,
  toA,
  toInteger,
  UE,
  uClass,
  unpack32,
  unpack64,
  unpackInt,
} from './softfloat';

const MXCSR_DAZ: u32 = 0x40;
const MXCSR_FTZ: u32 = 0x8000;

function begin(): void {
  const m = load<u32>(MXCSR);
  const trap = ~(m >> 7) & 63;
  // Flush to zero applies only while underflow is masked (SDM 10.2.3.3).
  const flush = m & MXCSR_FTZ && !(trap & UE) ? 1 : 0;
  sfBeginSse((m >> 13) & 3, trap, m & MXCSR_DAZ ? 1 : 0, flush);
}

function end(): void {
  const m = load<u32>(MXCSR);
  store<u32>(MXCSR, m | sfFlags);
  const unmasked = sfFlags & ~(m >> 7);
  if (unmasked) store<u32>(SSE_PENDING, load<u32>(SSE_PENDING) | unmasked);
}

/**
 * Nonzero if an operation since the last call of this function met an unmasked exception: the caller then raises #XM
 * (#UD while CR4.OSXMMEXCPT is clear) and writes no result. All lanes of a packed instruction may come before one call.
 */
export function sse_pending(): i32 {
  const p = load<i32>(SSE_PENDING);
  store<u32>(SSE_PENDING, 0);
  return p;
}

function single(a: i32, b: i32): void {
  begin();
  sfFormat(24, 127);
  unpack32(a);
  toA();
  unpack32(b);
}

function double(a: i64, b: i64): void {
  begin();
  sfFormat(53, 1023);
  unpack64(a);
  toA();
  unpack64(b);
}

function done32(): i32 {
  end();
  return pack32();
}

function done64(): i64 {
  end();
  return pack64();
}

export function sse_add32(a: i32, b: i32): i32 {
  if (nearest() && !denormal32(a) && !denormal32(b)) {
    const x = reinterpret<f32>(a);
    const y = reinterpret<f32>(b);
    const s = x + y;
    const bits = reinterpret<i32>(s);
    // sums that are tiny are exact, but may be flushed or trap
    if (finite32(s) && !denormal32(bits) && (settled() || sumExact32(x, y, s))) return bits;
  }
  single(a, b);
  addSub(0);
  return done32();
}

export function sse_sub32(a: i32, b: i32): i32 {
  if (nearest() && !denormal32(a) && !denormal32(b)) {
    const x = reinterpret<f32>(a);
    const y = reinterpret<f32>(b);
    const s = x - y;
    const bits = reinterpret<i32>(s);
    // sums that are tiny are exact, but may be flushed or trap
    if (finite32(s) && !denormal32(bits) && (settled() || sumExact32(x, -y, s))) return bits;
  }
  single(a, b);
  addSub(1);
  return done32();
}

export function sse_mul32(a: i32, b: i32): i32 {
  if (nearest() && !denormal32(a) && !denormal32(b)) {
    const exact = <f64>reinterpret<f32>(a) * <f64>reinterpret<f32>(b);
    const r = <f32>exact;
    if ((normal32(r) && (settled() || <f64>r == exact)) || exact == 0) return reinterpret<i32>(r);
  }
  single(a, b);
  multiply();
  return done32();
}

export function sse_div32(a: i32, b: i32): i32 {
  if (nearest() && !denormal32(a) && !denormal32(b)) {
    const x = reinterpret<f32>(a);
    const y = reinterpret<f32>(b);
    const r = x / y;
    if (
      normal32(r)
        ? y != 0 && finite32(y) && (settled() || <f64>r * <f64>y == <f64>x)
        : x == 0 && finite32(y) && y != 0
    )
      return reinterpret<i32>(r);
  }
  single(a, b);
  divide();
  return done32();
}

export function sse_sqrt32(a: i32): i32 {
  if (!(a << 1)) return a;
  if (nearest() && a >= 0x00800000 && a < 0x7f800000) {
    const x = reinterpret<f32>(a);
    const r = sqrt<f32>(x);
    if (settled() || <f64>r * <f64>r == <f64>x) return reinterpret<i32>(r);
  }
  single(0, a);
  squareRoot();
  return done32();
}

export function sse_add64(a: i64, b: i64): i64 {
  if (nearest() && !denormal64(a) && !denormal64(b)) {
    const x = reinterpret<f64>(a);
    const y = reinterpret<f64>(b);
    const s = x + y;
    const bits = reinterpret<i64>(s);
    // sums that are tiny are exact, but may be flushed or trap
    if (finite64(s) && !denormal64(bits) && (settled() || sumExact64(x, y, s))) return bits;
  }
  double(a, b);
  addSub(0);
  return done64();
}

export function sse_sub64(a: i64, b: i64): i64 {
  if (nearest() && !denormal64(a) && !denormal64(b)) {
    const x = reinterpret<f64>(a);
    const y = reinterpret<f64>(b);
    const s = x - y;
    const bits = reinterpret<i64>(s);
    // sums that are tiny are exact, but may be flushed or trap
    if (finite64(s) && !denormal64(bits) && (settled() || sumExact64(x, -y, s))) return bits;
  }
  double(a, b);
  addSub(1);
  return done64();
}

export function sse_mul64(a: i64, b: i64): i64 {
  if (nearest() && !denormal64(a) && !denormal64(b)) {
    const r = reinterpret<f64>(a) * reinterpret<f64>(b);
    // the product of infinity and zero is a NaN, not finite
    if (normal64(r) ? settled() || productExact64(a, b) : (!(a << 1) || !(b << 1)) && finite64(r))
      return reinterpret<i64>(r);
  }
  double(a, b);
  multiply();
  return done64();
}

export function sse_div64(a: i64, b: i64): i64 {
  if (nearest() && !denormal64(a) && !denormal64(b)) {
    const x = reinterpret<f64>(a);
    const y = reinterpret<f64>(b);
    const r = x / y;
    if (
      normal64(r)
        ? settled() || (r * y == x && productExact64(reinterpret<i64>(r), b))
        : x == 0 && finite64(y) && y != 0
    )
      return reinterpret<i64>(r);
  }
  double(a, b);
  divide();
  return done64();
}

export function sse_sqrt64(a: i64): i64 {
  if (!(a << 1)) return a;
  if (nearest() && a >= 0x0010000000000000 && a < 0x7ff0000000000000) {
    const x = reinterpret<f64>(a);
    const r = sqrt<f64>(x);
    const bits = reinterpret<i64>(r);
    if (settled() || (r * r == x && productExact64(bits, bits))) return bits;
  }
  double(0, a);
  squareRoot();
  return done64();
}

/** MIN and MAX give the second operand when either is a NaN or both are zeros; any NaN is invalid (SDM MINSS). */
function second(max: i32): bool {
  if (aClass >= QNAN || uClass >= QNAN) {
    sfRaise(IE);
    return true;
  }
  const relation = compare(0);
  return max ? relation != 0 : relation != 1;
}

/** A denormal operand under DAZ is a zero with its sign. */
function flushed32(bits: i32): i32 {
  return load<u32>(MXCSR) & MXCSR_DAZ && !(bits & 0x7f800000) ? bits & 0x80000000 : bits;
}

function flushed64(bits: i64): i64 {
  return load<u32>(MXCSR) & MXCSR_DAZ && !(bits & 0x7ff0000000000000) ? bits & 0x8000000000000000 : bits;
}

export function sse_min32(a: i32, b: i32): i32 {
  single(a, b);
  const result = second(0) ? b : a;
  end();
  return flushed32(result);
}

export function sse_max32(a: i32, b: i32): i32 {
  single(a, b);
  const result = second(1) ? b : a;
  end();
  return flushed32(result);
}

export function sse_min64(a: i64, b: i64): i64 {
  double(a, b);
  const result = second(0) ? b : a;
  end();
  return flushed64(result);
}

export function sse_max64(a: i64, b: i64): i64 {
  double(a, b);
  const result = second(1) ? b : a;
  end();
  return flushed64(result);
}

export function sse_cvt32to64(a: i32): i64 {
  const x = reinterpret<f32>(a);
  if (finite32(x) && !denormal32(a)) return reinterpret<i64>(<f64>x);
  begin();
  sfFormat(53, 1023);
  unpack32(a);
  if (!denormal1()) convert();
  return done64();
}

export function sse_cvt64to32(a: i64): i32 {
  const x = reinterpret<f64>(a);
  const r = <f32>x;
  if (x == 0 && !(a << 1)) return reinterpret<i32>(r);
  if (nearest() && normal32(r) && (settled() || <f64>r == x)) return reinterpret<i32>(r);
  begin();
  sfFormat(24, 127);
  unpack64(a);
  if (!denormal1()) convert();
  return done32();
}

function fromInteger(value: i64): void {
  begin();
  unpackInt(value);
}

export function sse_cvti32to32(a: i32): i32 {
  const r = <f32>a;
  if (<f64>r == <f64>a || settled()) return reinterpret<i32>(r);
  fromInteger(a);
  sfFormat(24, 127);
  convert();
  return done32();
}

export function sse_cvti32to64(a: i32): i64 {
  fromInteger(a);
  sfFormat(53, 1023);
  convert();
  return done64();
}

export function sse_cvti64to32(a: i64): i32 {
  const r = <f32>a;
  // below 2^63 the way back does not saturate
  if (settled() || (abs<f32>(r) < 9223372036854775808.0 && <i64>r == a)) return reinterpret<i32>(r);
  fromInteger(a);
  sfFormat(24, 127);
  convert();
  return done32();
}

export function sse_cvti64to64(a: i64): i64 {
  const r = <f64>a;
  if (settled() || (abs<f64>(r) < 9223372036854775808.0 && <i64>r == a)) return reinterpret<i64>(r);
  fromInteger(a);
  sfFormat(53, 1023);
  convert();
  return done64();
}

function integer(bits: i32, truncate: i32): i64 {
  const result = toInteger(bits, truncate ? 3 : sfRound);
  end();
  return result;
}

/** `truncate`: 1 for CVTT…, 0 to round as MXCSR says. */
export function sse_cvt32toi32(a: i32, truncate: i32): i32 {
  const x = reinterpret<f32>(a);
  if (truncate || nearest()) {
    const whole = truncate ? trunc<f32>(x) : f32.nearest(x);
    if (abs<f32>(whole) < 2147483648.0 && (whole == x || inexactUnseen())) return <i32>whole;
  }
  begin();
  unpack32(a);
  return <i32>integer(32, truncate);
}

export function sse_cvt32toi64(a: i32, truncate: i32): i64 {
  const x = reinterpret<f32>(a);
  if (truncate || nearest()) {
    const whole = truncate ? trunc<f32>(x) : f32.nearest(x);
    if (abs<f32>(whole) < 9223372036854775808.0 && (whole == x || inexactUnseen())) return <i64>whole;
  }
  begin();
  unpack32(a);
  return integer(64, truncate);
}

export function sse_cvt64toi32(a: i64, truncate: i32): i32 {
  const x = reinterpret<f64>(a);
  if (truncate || nearest()) {
    const whole = truncate ? trunc<f64>(x) : f64.nearest(x);
    if (abs<f64>(whole) < 2147483648.0 && (whole == x || inexactUnseen())) return <i32>whole;
  }
  begin();
  unpack64(a);
  return <i32>integer(32, truncate);
}

export function sse_cvt64toi64(a: i64, truncate: i32): i64 {
  const x = reinterpret<f64>(a);
  if (truncate || nearest()) {
    const whole = truncate ? trunc<f64>(x) : f64.nearest(x);
    if (abs<f64>(whole) < 9223372036854775808.0 && (whole == x || inexactUnseen())) return <i64>whole;
  }
  begin();
  unpack64(a);
  return integer(64, truncate);
}

/** ROUNDSS/ROUNDSD: imm[1:0] rounding, imm[2] take MXCSR's instead, imm[3] no precision exception. */
function integral(imm: i32): void {
  roundToIntegral(imm & 4 ? sfRound : imm & 3);
  if (imm & 8) sfForget(PE);
}

export function sse_round32(a: i32, imm: i32): i32 {
  const x = reinterpret<f32>(a);
  const mode = imm & 4 ? (load<u32>(MXCSR) >> 13) & 3 : imm & 3;
  if (x == x && !denormal32(a)) {
    const r =
      mode == 0 ? f32.nearest(x) : mode == 1 ? floor<f32>(x) : mode == 2 ? ceil<f32>(x) : trunc<f32>(x);
    if (r == x || imm & 8 || inexactUnseen()) return reinterpret<i32>(r);
  }
  single(0, a);
  integral(imm);
  return done32();
}

export function sse_round64(a: i64, imm: i32): i64 {
  const x = reinterpret<f64>(a);
  const mode = imm & 4 ? (load<u32>(MXCSR) >> 13) & 3 : imm & 3;
  if (x == x && !denormal64(a)) {
    const r =
      mode == 0 ? f64.nearest(x) : mode == 1 ? floor<f64>(x) : mode == 2 ? ceil<f64>(x) : trunc<f64>(x);
    if (r == x || imm & 8 || inexactUnseen()) return reinterpret<i64>(r);
  }
  double(0, a);
  integral(imm);
  return done64();
}

/** CMPSS predicates: EQ LT LE UNORD NEQ NLT NLE ORD; LT, LE and their opposites signal quiet NaNs too. */
function predicate(p: i32): i32 {
  const signals = (p & 3) == 1 || (p & 3) == 2;
  const r = compare(signals ? 0 : 1);
  let truth: i32;
  if ((p & 3) == 3) truth = r == 0x45 ? 1 : 0;
  else if (r == 0x45) truth = 0;
  else if ((p & 3) == 0) truth = r == 0x40 ? 1 : 0;
  else if ((p & 3) == 1) truth = r == 1 ? 1 : 0;
  else truth = r ? 1 : 0;
  end();
  return p & 4 ? truth ^ 1 : truth;
}

/** Predicate `p` of two numbers, neither of which is a NaN. */
function ordered(equal: bool, less: bool, p: i32): i32 {
  const q = p & 3;
  const truth = (equal && !(q & 1)) || (less && (q == 1 || q == 2));
  return <i32>truth ^ (p >> 2);
}

/** 1 when the predicate (0..7) holds. */
export function sse_cmp32(a: i32, b: i32, p: i32): i32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  if (x == x && y == y && !denormal32(a) && !denormal32(b)) return ordered(x == y, x < y, p);
  single(a, b);
  return predicate(p);
}

export function sse_cmp64(a: i64, b: i64, p: i32): i32 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  if (x == x && y == y && !denormal64(a) && !denormal64(b)) return ordered(x == y, x < y, p);
  double(a, b);
  return predicate(p);
}

/** ZF 0x40, PF 4, CF 1; `quiet`: 1 for UCOMIS. */
export function sse_comi32(a: i32, b: i32, quiet: i32): i32 {
  single(a, b);
  const result = compare(quiet);
  end();
  return result;
}

export function sse_comi64(a: i64, b: i64, quiet: i32): i32 {
  double(a, b);
  const result = compare(quiet);
  end();
  return result;
}
