// What decides quickly that an SSE operation raises nothing: the WebAssembly operation's own result stands if the
// operands are no denormals, the result is normal or an exact zero, and it is either exact or may be inexact unseen
// (rounding to nearest, PE set and masked). Exactness is shown by error-free transformations (Knuth's sum) and by
// counting the significant bits of products. SDM volume 1, 11.5.2.
import { MXCSR } from '../layout';

const FRACTION64: i64 = 0x000fffffffffffff;
const HIDDEN64: i64 = 0x0010000000000000;

/** RC is "to nearest". */
export function nearest(): bool {
  return (load<u32>(MXCSR) & 0x6000) == 0;
}

/** RC is "to nearest", and an inexact result changes nothing: PE is set and masked. */
export function settled(): bool {
  return (load<u32>(MXCSR) & 0x7020) == 0x1020;
}

/** PE is set and masked, whatever RC is. */
export function inexactUnseen(): bool {
  return (load<u32>(MXCSR) & 0x1020) == 0x1020;
}

export function denormal32(x: i32): bool {
  return <u32>((x << 1) - 1) < 0x00ffffff;
}

export function denormal64(x: i64): bool {
  return <u64>((x << 1) - 1) < 0x001fffffffffffff;
}

/** Above the smallest binade and finite: rounding to it did not underflow. */
export function normal32(x: f32): bool {
  return ((reinterpret<u32>(x) >> 23) & 0xff) - 2 < 0xfd;
}

export function normal64(x: f64): bool {
  return (<u32>(reinterpret<u64>(x) >> 52) & 0x7ff) - 2 < 0x7fd;
}

export function finite32(x: f32): bool {
  return (reinterpret<u32>(x) & 0x7f800000) != 0x7f800000;
}

export function finite64(x: f64): bool {
  return (reinterpret<u64>(x) & 0x7ff0000000000000) != 0x7ff0000000000000;
}

/** `s` = x + y rounded to nearest, finite: is it the sum? An overflow on the way gives NaN or infinity, hence no. */
export function sumExact64(x: f64, y: f64, s: f64): bool {
  const t = s - x;
  return x - (s - t) + (y - t) == 0;
}

export function sumExact32(x: f32, y: f32, s: f32): bool {
  const t: f32 = s - x;
  const left: f32 = x - (s - t);
  const right: f32 = y - t;
  return left + right == 0;
}

/**
 * Does the product of two normal numbers fit in 53 bits? Without their trailing zeroes the significands have p and q
 * bits; the product has p + q or one less. Where p + q is at most 64 it is computed; beyond it cannot fit.
 */
export function productExact64(a: i64, b: i64): bool {
  const x = (a & FRACTION64) | HIDDEN64;
  const y = (b & FRACTION64) | HIDDEN64;
  const m = ctz(x);
  const n = ctz(y);
  if (m + n >= 53) return true;
  if (m + n < 42) return false;
  return <u64>((x >> m) * (y >> n)) < 0x0020000000000000;
}
