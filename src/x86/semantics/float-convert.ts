/**
 * Definitions of the conversions and roundings of SSE floating point: as in float.ts, WebAssembly's own operation
 * where it is right and raises nothing, else the runtime. SDM volume 1, 4.8 and 11.4.1; volume 2, CVT… and ROUND….
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import { SIMD } from '../../wasm/simd.ts';
import type { Operand } from '../decode/insn.ts';
import type { Emitter, Semantics } from './emitter.ts';
import {
  absolute,
  anySpecial,
  anyTrue,
  checkPending,
  constant,
  denormalLanes,
  fastOr,
  floatType,
  infiniteLanes,
  isDenormal,
  isInfinite,
  isSpecial,
  laneOf,
  lanesBelow,
  lowFloat,
  power,
  SSE_CONVERT,
  SSE_OP_ROUND,
  toBits,
  toFloat,
  unsettled,
  type Width,
  withLowFloat,
} from './float-emit.ts';
import { lane64, shuffle, v, withLane64, ZERO } from './vector.ts';

type Unless = (condition: Expr) => void;

const one = <T>(width: Width, pair: readonly [T, T]): T => pair[width === 4 ? 0 : 1];

/** CVTSI2SS, CVTSI2SD: from a general register or memory. Exact for integers of no more bits than the significand. */
export const fromInteger =
  (width: Width): Semantics =>
  (e, dst, src) => {
    const wide = e.size(src!) === 8;
    const x = e.tmp(e.read(src!));
    const opcode = wide ? one(width, [0xb4, 0xb9]) : one(width, [0xb2, 0xb7]);
    const value = w.op(floatType(width), opcode, x);
    let result: Expr = value;
    // 32 bits to double is always exact
    if (width === 4 || wide) {
      const limit = width === 4 ? 1n << 24n : 1n << 53n;
      const at = (n: bigint): Expr => (wide ? w.i64(n) : w.i32(Number(n)));
      const name = width === 4 ? (wide ? 'sse_cvti64to32' : 'sse_cvti32to32') : 'sse_cvti64to64';
      result = fastOr(
        e,
        floatType(width),
        (unless) => {
          unless(w.gtU(w.add(x, at(limit)), at(2n * limit)));
          return value;
        },
        () => toFloat(width, e.rt(name, x)),
      );
    }
    e.writeVector(dst!, withLowFloat(width, e.readVector(dst!), result));
  };

/** CVTSS2SI, CVTTSS2SI, CVTSD2SI, CVTTSD2SI */
export const toInteger =
  (width: Width, truncate: boolean): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const wide = e.size(dst!) === 8;
    const type = wide ? 'i64' : 'i32';
    const result = fastOr(
      e,
      type,
      (unless) => {
        unless(unsettled());
        const x = lowFloat(width, b);
        const whole = truncate ? x : e.tmp(w.op(floatType(width), one(width, [0x90, 0x9e]), x));
        // not "greater or equal": a NaN is out of range, too
        unless(w.eqz(w.flt(absolute(whole), power(width, wide ? 63 : 31))));
        return w.truncSat(type, whole);
      },
      () => {
        const name = `sse_cvt${one(width, ['32', '64'])}to${type}` as 'sse_cvt32toi64';
        return e.rt(name, laneOf(width, b, 0), w.i32(truncate ? 1 : 0));
      },
    );
    e.write(dst!, result);
  };

/** CVTSS2SD, always exact but for denormals and NaNs; CVTSD2SS, whose normal results come of no denormals. */
export const convertScalar =
  (from: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const x = laneOf(from, b, 0);
    const result =
      from === 4
        ? fastOr(
            e,
            'f64',
            (unless) => {
              unless(isDenormal(4, x));
              unless(isInfinite(4, x));
              return w.op('f64', 0xbb, lowFloat(4, b));
            },
            () => toFloat(8, e.rt('sse_cvt32to64', x)),
          )
        : fastOr(
            e,
            'f32',
            (unless) => {
              unless(unsettled());
              const value = e.tmp(w.op('f32', 0xb6, lowFloat(8, b)));
              unless(isSpecial(4, toBits(4, value)));
              return value;
            },
            () => toFloat(4, e.rt('sse_cvt64to32', x)),
          );
    e.writeVector(dst!, withLowFloat(from === 4 ? 8 : 4, e.readVector(dst!), result));
  };

type Conversion = keyof typeof SSE_CONVERT;

/** The runtime's packed conversion of the low `count` lanes. */
const convert = (e: Emitter, kind: Conversion, truncate: boolean, x: Expr, count: number): Expr =>
  e.rt('sse_convert', w.i32(SSE_CONVERT[kind] + (truncate ? 1 : 0)), x, w.i32(count));

/** Some lane of `x` is a NaN, or its magnitude is 2^31 or more. */
function beyondIntegers(width: Width, x: Expr): Expr {
  const limit = constant(width, width === 4 ? 0x4f000000n : 0x41e0000000000000n);
  const inside = v(
    one(width, [SIMD.f32x4_lt, SIMD.f64x2_lt]),
    v(one(width, [SIMD.f32x4_abs, SIMD.f64x2_abs]), x),
    limit,
  );
  return w.eqz(w.simd('i32', one(width, [SIMD.i32x4_all_true, SIMD.i64x2_all_true]), [inside]));
}

function convertFast(e: Emitter, kind: Conversion, truncate: boolean, b: LocalGet) {
  return (unless: Unless): Expr => {
    if (kind !== 'ps2pd') unless(unsettled());
    switch (kind) {
      case 'ps2pd': {
        const value = e.tmp(v(SIMD.f64x2_promote_low_f32x4, b));
        // the least normal float, 2^-126, has the biased exponent 897 as a double
        unless(anyTrue(v(SIMD.or, infiniteLanes(e, 8, value), lanesBelow(8, value, 897n))));
        return value;
      }
      case 'pd2ps': {
        const value = e.tmp(v(SIMD.f32x4_demote_f64x2_zero, b));
        const twice = shuffle(value, value, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
        unless(anySpecial(4, e.tmp(twice)));
        return value;
      }
      case 'dq2ps':
        return v(SIMD.f32x4_convert_i32x4_s, b);
      case 'ps2dq':
      case 'pd2dq': {
        const width = kind === 'ps2dq' ? 4 : 8;
        const nearest = one(width, [SIMD.f32x4_nearest, SIMD.f64x2_nearest]);
        const whole = truncate ? b : e.tmp(v(nearest, b));
        unless(beyondIntegers(width, whole));
        return v(one(width, [SIMD.i32x4_trunc_sat_f32x4_s, SIMD.i32x4_trunc_sat_f64x2_s_zero]), whole);
      }
    }
  };
}

/** CVTPS2PD, CVTPD2PS, CVTDQ2PS, CVTPS2DQ, CVTTPS2DQ, CVTPD2DQ, CVTTPD2DQ */
export const convertPacked =
  (kind: Conversion, truncate = false): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const result = fastOr(e, 'v128', convertFast(e, kind, truncate, b), () =>
      convert(e, kind, truncate, b, 4),
    );
    e.writeVector(dst!, result);
  };

/** CVTDQ2PD: always exact. */
export const integersToDoubles: Semantics = (e, dst, src) => {
  e.writeVector(dst!, v(SIMD.f64x2_convert_low_i32x4_s, e.readVector(src!)));
};

/** CVTPI2PS and CVTPI2PD: two integers from MMX or memory. The first keeps the upper half. */
export const fromMmx =
  (width: Width): Semantics =>
  (e, dst, src) => {
    const x = e.tmp(e.read(src!));
    e.enterMmx();
    const integers = withLane64(ZERO, 0, x);
    if (width === 8) {
      e.writeVector(dst!, v(SIMD.f64x2_convert_low_i32x4_s, integers));
      return;
    }
    const result = e.tmp(convert(e, 'dq2ps', false, integers, 2));
    checkPending(e);
    e.writeVector(dst!, withLane64(e.readVector(dst!), 0, lane64(result, 0)));
  };

/** CVTPS2PI, CVTPD2PI and their truncating forms. */
export const toMmx =
  (width: Width, truncate: boolean): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(
      src!.kind === 'mem' && src!.size === 8 ? withLane64(ZERO, 0, e.read(src!)) : e.readVector(src!),
    );
    e.enterMmx();
    const result = e.tmp(convert(e, width === 4 ? 'ps2dq' : 'pd2dq', truncate, b, 2));
    checkPending(e);
    e.writeMmx(dst!, lane64(result, 0));
  };

// --- ROUND ----------------------------------------------------------------------------------------------------------

/** imm[1:0]: to nearest, down, up, towards zero. */
const ROUND_SCALAR = [
  [0x90, 0x9e],
  [0x8e, 0x9c],
  [0x8d, 0x9b],
  [0x8f, 0x9d],
] as const;
const ROUND_PACKED = [
  [SIMD.f32x4_nearest, SIMD.f64x2_nearest],
  [SIMD.f32x4_floor, SIMD.f64x2_floor],
  [SIMD.f32x4_ceil, SIMD.f64x2_ceil],
  [SIMD.f32x4_trunc, SIMD.f64x2_trunc],
] as const;
/** imm[2]: round as MXCSR says. imm[3]: no precision exception. */
const ROUND_MXCSR = 4;
const ROUND_NO_PE = 8;

/** The immediate of ROUND if it is known while the code is made (not so in the interpreter). */
function roundControl(e: Emitter, imm: Operand): number | undefined {
  const value = w.constantOf(e.readAs(imm, 1));
  return value === undefined ? undefined : Number(value);
}

const roundMode = (control: number): number => (control & ROUND_MXCSR ? 0 : control & 3);
/** MXCSR matters: for its RC, or because an inexact result may be seen. */
const needsSettled = (control: number): boolean => (control & (ROUND_MXCSR | ROUND_NO_PE)) !== ROUND_NO_PE;

/** ROUNDSS, ROUNDSD */
export const roundScalar =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const bits = laneOf(width, b, 0);
    const control = roundControl(e, imm!);
    const fast = (unless: Unless): Expr => {
      if (needsSettled(control!)) unless(unsettled());
      unless(isDenormal(width, bits));
      unless(isInfinite(width, bits));
      return w.op(floatType(width), one(width, ROUND_SCALAR[roundMode(control!)]!), lowFloat(width, b));
    };
    const name = width === 4 ? 'sse_round32' : 'sse_round64';
    const result = fastOr(e, floatType(width), control === undefined ? undefined : fast, () =>
      toFloat(width, e.rt(name, bits, e.readAs(imm!, 1))),
    );
    e.writeVector(dst!, withLowFloat(width, e.readVector(dst!), result));
  };

/** ROUNDPS, ROUNDPD */
export const roundPacked =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const control = roundControl(e, imm!);
    const fast = (unless: Unless): Expr => {
      if (needsSettled(control!)) unless(unsettled());
      unless(anyTrue(v(SIMD.or, denormalLanes(width, b), infiniteLanes(e, width, b))));
      return v(one(width, ROUND_PACKED[roundMode(control!)]!), b);
    };
    const result = fastOr(e, 'v128', control === undefined ? undefined : fast, () => {
      const operation = w.or(w.and(e.readAs(imm!, 1), 15), SSE_OP_ROUND);
      return e.rt(width === 4 ? 'sse_packed32' : 'sse_packed64', operation, b, b);
    });
    e.writeVector(dst!, result);
  };
