/**
 * What the definitions of SSE floating point share: conditions under which WebAssembly's own operation gives the bits
 * of the SDM and raises no flag that is not set already, and the branch to the runtime where they do not hold. Each
 * condition is a branch of its own that is almost never taken; the runtime (sse-exact.ts, softfloat-sse.ts) looks
 * closer, so that what is merely not covered here costs a call and no more. SDM volume 1, chapters 10 and 11.
 */
import type { Expr, LocalGet, ValType } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import { SIMD } from '../../wasm/simd.ts';
import * as L from '../layout.ts';
import type { Emitter } from './emitter.ts';
import { lane32, lane64, v, withLane32, withLane64 } from './vector.ts';

export type Width = 4 | 8;

/** Operations of the runtime's sse_packed32 and sse_packed64. */
export const SSE_OP = { add: 0, sub: 1, mul: 2, div: 3, min: 4, max: 5, sqrt: 6, addsub: 7 } as const;
export const SSE_OP_COMPARE = 8;
export const SSE_OP_ROUND = 16;
/** Kinds of the runtime's sse_convert. */
export const SSE_CONVERT = { ps2pd: 0, pd2ps: 1, dq2ps: 2, ps2dq: 3, pd2dq: 5 } as const;

/** RC, PM and PE: rounding to nearest, and an inexact result changes nothing. */
const SETTLED_MASK = 0x7020;
const SETTLED = 0x1020;
/** Also FZ and UM: a tiny exact result changes nothing either. */
const TINY_MASK = 0xf820;
const TINY = 0x1820;

const mxcsr = (): Expr => w.load32(w.i32(0), L.MXCSR);
/** Rounding is not to nearest, or an inexact result would be seen. */
export const unsettled = (): Expr => w.ne(w.and(mxcsr(), SETTLED_MASK), SETTLED);
/** The same, or a tiny exact result would be seen. */
export const unsettledTiny = (): Expr => w.ne(w.and(mxcsr(), TINY_MASK), TINY);

/** The bits of lane `lane`, as i32 or i64. */
export const laneOf = (width: Width, x: Expr, lane: number): Expr =>
  width === 4 ? lane32(x, lane) : lane64(x, lane);
export const withLane = (width: Width, x: Expr, lane: number, value: Expr): Expr =>
  width === 4 ? withLane32(x, lane, value) : withLane64(x, lane, value);

export const floatType = (width: Width): ValType => (width === 4 ? 'f32' : 'f64');
/** The low lane as a number; `x` with its low lane replaced by a number. */
export const lowFloat = (width: Width, x: Expr): Expr =>
  w.simd(floatType(width), width === 4 ? SIMD.f32x4_extract : SIMD.f64x2_extract, [x], [0]);
export const withLowFloat = (width: Width, x: Expr, value: Expr): Expr =>
  w.simd('v128', width === 4 ? SIMD.f32x4_replace : SIMD.f64x2_replace, [x, value], [0]);

export const toFloat = (width: Width, x: Expr): Expr =>
  width === 4 ? w.op('f32', 0xbe, x) : w.op('f64', 0xbf, x);
export const toBits = (width: Width, x: Expr): Expr =>
  width === 4 ? w.op('i32', 0xbc, x) : w.op('i64', 0xbd, x);
export const absolute = (x: Expr): Expr => w.op(x.type, x.type === 'f32' ? 0x8b : 0x99, x);
/** 2^n as a number. */
export const power = (width: Width, n: number): Expr =>
  width === 4 ? toFloat(4, w.i32((n + 127) << 23)) : toFloat(8, w.i64(BigInt(n + 1023) << 52n));

/** The bits are a denormal number: not zero, exponent zero. */
export function isDenormal(width: Width, x: Expr): Expr {
  if (width === 4) return w.ltU(w.sub(w.shl(x, 1), 1), 0x00ffffff);
  return w.ltU(w.sub(w.shl(x, w.i64(1)), w.i64(1)), w.i64(0x1fffffffffffffn));
}

const exponent = (width: Width, x: Expr): Expr =>
  width === 4 ? w.and(w.shrU(x, 23), 0xff) : w.and(w.wrap(w.shrU(x, w.i64(52))), 0x7ff);

/**
 * The bits are no normal number above the smallest binade: zero, denormal, infinite, NaN, or a tiny value that may
 * have been rounded up to the smallest normal number (which underflows).
 */
export const isSpecial = (width: Width, x: Expr): Expr =>
  w.geU(w.sub(exponent(width, x), 2), width === 4 ? 0xfd : 0x7fd);
/** The bits are infinite or a NaN. */
export const isInfinite = (width: Width, x: Expr): Expr =>
  w.eq(exponent(width, x), width === 4 ? 0xff : 0x7ff);

/** A vector of one constant (given as unsigned bits) in all lanes. */
export function constant(width: Width, bits: bigint): Expr {
  const at = (i: number): number => Number((bits >> BigInt(8 * (i % width))) & 0xffn);
  return w.v128(Array.from({ length: 16 }, (_, i) => at(i)));
}

const FRACTION = { 4: 23n, 8: 52n } as const;
const TOP = { 4: 1n << 31n, 8: 1n << 63n } as const;
const plus = (width: Width, a: Expr, b: Expr): Expr => v(width === 4 ? SIMD.i32x4_add : SIMD.i64x2_add, a, b);
const below = (width: Width, a: Expr, b: Expr): Expr =>
  v(width === 4 ? SIMD.i32x4_lt_s : SIMD.i64x2_lt_s, a, b);
const wrapped = (width: Width, x: bigint): bigint => BigInt.asUintN(8 * width, x);

/**
 * Lanes where (2x - from) < size without sign, 2x being the bits without the sign: a comparison with sign of what is
 * moved by half the range, since vectors of 64 bits have no other.
 */
const inRange = (width: Width, x: LocalGet, from: bigint, size: bigint): Expr =>
  below(
    width,
    plus(width, plus(width, x, x), constant(width, wrapped(width, TOP[width] - from))),
    constant(width, size ^ TOP[width]),
  );

/** Lanes that are denormal, as a mask vector. */
export const denormalLanes = (width: Width, x: LocalGet): Expr =>
  inRange(width, x, 1n, (2n << FRACTION[width]) - 1n);

/** Lanes that are nonzero with a biased exponent below `least`. */
export const lanesBelow = (width: Width, x: LocalGet, least: bigint): Expr =>
  inRange(width, x, 1n, ((2n * least) << FRACTION[width]) - 1n);

/** Some lane is no normal number above the smallest binade (see isSpecial). */
export function anySpecial(width: Width, x: LocalGet): Expr {
  const exponents = width === 4 ? 0xfdn : 0x7fdn;
  const good = inRange(width, x, 4n << FRACTION[width], (2n * exponents) << FRACTION[width]);
  return w.eqz(w.simd('i32', width === 4 ? SIMD.i32x4_all_true : SIMD.i64x2_all_true, [good]));
}

/** Lanes of x - x that are not 0: x is infinite or a NaN. */
export function infiniteLanes(e: Emitter, width: Width, x: LocalGet): Expr {
  const zero = e.tmp(v(width === 4 ? SIMD.f32x4_sub : SIMD.f64x2_sub, x, x));
  return v(width === 4 ? SIMD.f32x4_ne : SIMD.f64x2_ne, zero, zero);
}

export const anyTrue = (x: Expr): Expr => w.simd('i32', SIMD.any_true, [x]);

/** After the runtime's arithmetic: an unmasked exception is #XM, and the destination is not written. */
export function checkPending(e: Emitter): void {
  e.f.if(w.load32(w.i32(0), L.SSE_PENDING), () => {
    e.f.store32(w.i32(0), w.i32(0), L.SSE_PENDING);
    e.raise(19);
  });
}

/**
 * A result that `fast` computes unless it finds one of its conditions (given to `unless`) true; then `slow`, an
 * expression that calls the runtime, is the result.
 */
export function fastOr(
  e: Emitter,
  type: ValType,
  fast: ((unless: (condition: Expr) => void) => Expr) | undefined,
  slow: () => Expr,
): LocalGet {
  const { f } = e;
  const result = f.temporary(type);
  f.block((done) => {
    if (fast !== undefined)
      f.block((rare) => {
        f.set(
          result,
          fast((condition) => f.brIf(condition, rare)),
        );
        f.br(done);
      });
    f.set(result, slow());
    checkPending(e);
  });
  return result;
}
