/**
 * Definitions of the floating-point arithmetic of SSE and SSE2. The results and flags must be those of the SDM to the
 * bit, so WebAssembly's own operations serve only where they are known to be exactly right and to raise no flag that
 * is not set already (float-emit.ts has the conditions). Everything else goes to the runtime. Conversions are in
 * float-convert.ts. SDM volume 1, chapters 10 and 11.
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import { SIMD } from '../../wasm/simd.ts';
import type { Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import type { Emitter, Semantics } from './emitter.ts';
import {
  anySpecial,
  anyTrue,
  checkPending,
  denormalLanes,
  fastOr,
  floatType,
  infiniteLanes,
  isDenormal,
  isInfinite,
  isSpecial,
  laneOf,
  lowFloat,
  SSE_OP,
  SSE_OP_COMPARE,
  toBits,
  toFloat,
  unsettled,
  unsettledTiny,
  type Width,
  withLane,
  withLowFloat,
} from './float-emit.ts';
import type { RuntimeFunction } from './runtime-functions.ts';
import { lane32, ONES, shuffle, v, withLane32, ZERO } from './vector.ts';

type Arithmetic = 'add' | 'sub' | 'mul' | 'div';
type Choice = 'min' | 'max';

const fn = (operation: Arithmetic | Choice | 'sqrt', width: Width): RuntimeFunction =>
  `sse_${operation}${width === 4 ? 32 : 64}` as RuntimeFunction;
const one = <T>(width: Width, pair: readonly [T, T]): T => pair[width === 4 ? 0 : 1];

const SCALAR = { add: [0x92, 0xa0], sub: [0x93, 0xa1], mul: [0x94, 0xa2], div: [0x95, 0xa3] } as const;
const PACKED = {
  add: [SIMD.f32x4_add, SIMD.f64x2_add],
  sub: [SIMD.f32x4_sub, SIMD.f64x2_sub],
  mul: [SIMD.f32x4_mul, SIMD.f64x2_mul],
  div: [SIMD.f32x4_div, SIMD.f64x2_div],
  sqrt: [SIMD.f32x4_sqrt, SIMD.f64x2_sqrt],
} as const;
/** pmin(x, y) is y < x ? y : x, which is x86's MIN with the operands exchanged. */
const CHOICE = {
  min: [SIMD.f32x4_pmin, SIMD.f64x2_pmin],
  max: [SIMD.f32x4_pmax, SIMD.f64x2_pmax],
} as const;

type Unless = (condition: Expr) => void;

/** Sums that are tiny are exact and zeroes are right, so only infinities and NaNs are special among them. */
const isSum = (operation: string): boolean => operation === 'add' || operation === 'sub';

/** ADDSS … DIVSD: the low lane; the rest of the destination stays. */
export const scalar =
  (operation: Arithmetic, width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const [x, y] = [laneOf(width, a, 0), laneOf(width, b, 0)];
    const result = fastOr(
      e,
      floatType(width),
      (unless) => {
        unless(isSum(operation) ? unsettledTiny() : unsettled());
        unless(isDenormal(width, x));
        unless(isDenormal(width, y));
        const opcode = one(width, SCALAR[operation]);
        const value = e.tmp(w.op(floatType(width), opcode, lowFloat(width, a), lowFloat(width, b)));
        unless((isSum(operation) ? isInfinite : isSpecial)(width, toBits(width, value)));
        return value;
      },
      () => toFloat(width, e.rt(fn(operation, width), x, y)),
    );
    e.writeVector(dst!, withLowFloat(width, a, result));
  };

const packedName = (width: Width): RuntimeFunction => (width === 4 ? 'sse_packed32' : 'sse_packed64');

/** Vectors without denormals, and a result that raises nothing. */
function packedFast(e: Emitter, operation: Arithmetic, width: Width, a: LocalGet, b: LocalGet) {
  return (unless: Unless): Expr => {
    unless(isSum(operation) ? unsettledTiny() : unsettled());
    unless(anyTrue(v(SIMD.or, denormalLanes(width, a), denormalLanes(width, b))));
    const value = e.tmp(v(one(width, PACKED[operation]), a, b));
    unless(isSum(operation) ? anyTrue(infiniteLanes(e, width, value)) : anySpecial(width, value));
    return value;
  };
}

/** ADDPS … DIVPD */
export const packed =
  (operation: Arithmetic, width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const result = fastOr(e, 'v128', packedFast(e, operation, width, a, b), () =>
      e.rt(packedName(width), w.i32(SSE_OP[operation]), a, b),
    );
    e.writeVector(dst!, result);
  };

/** SQRTSS, SQRTSD: exact or rounded to nearest for positive normal operands, whose roots are normal. */
export const scalarRoot =
  (width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const bits = laneOf(width, b, 0);
    const result = fastOr(
      e,
      floatType(width),
      (unless) => {
        unless(unsettled());
        unless(
          width === 4
            ? w.geU(w.sub(bits, 0x00800000), 0x7f000000)
            : w.geU(w.sub(bits, 0x0010000000000000n), w.i64(0x7fe0000000000000n)),
        );
        return w.fsqrt(lowFloat(width, b));
      },
      () => toFloat(width, e.rt(fn('sqrt', width), bits)),
    );
    e.writeVector(dst!, withLowFloat(width, e.readVector(dst!), result));
  };

/** SQRTPS, SQRTPD: a root that is normal had a positive operand; that it was no denormal is looked at. */
export const packedRoot =
  (width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const result = fastOr(
      e,
      'v128',
      (unless) => {
        unless(unsettled());
        unless(anyTrue(denormalLanes(width, b)));
        const value = e.tmp(v(one(width, PACKED.sqrt), b));
        unless(anySpecial(width, value));
        return value;
      },
      () => e.rt(packedName(width), w.i32(SSE_OP.sqrt), b, b),
    );
    e.writeVector(dst!, result);
  };

/** Leaves the fast path unless the low lanes are ordered numbers and no denormals: nothing can be raised then. */
function unlessPlain(e: Emitter, width: Width, a: LocalGet, b: LocalGet, unless: Unless): void {
  unless(isDenormal(width, laneOf(width, a, 0)));
  unless(isDenormal(width, laneOf(width, b, 0)));
  // the sum is a NaN if an operand is one (or for infinity minus infinity, which may go the slow way)
  const sum = e.tmp(w.fadd(lowFloat(width, a), lowFloat(width, b)));
  unless(w.fne(sum, sum));
}

function unlessPlainLanes(e: Emitter, width: Width, a: LocalGet, b: LocalGet, unless: Unless): void {
  const sum = e.tmp(v(one(width, PACKED.add), a, b));
  const unordered = v(one(width, [SIMD.f32x4_ne, SIMD.f64x2_ne]), sum, sum);
  unless(anyTrue(v(SIMD.or, unordered, v(SIMD.or, denormalLanes(width, a), denormalLanes(width, b)))));
}

/** Vector `x` with its low lane from `low`. */
const mergeLow = (width: Width, x: Expr, low: Expr): Expr =>
  shuffle(
    low,
    x,
    Array.from({ length: 16 }, (_, i) => (i < width ? i : 16 + i)),
  );

/** MINSS … MAXSD: the second operand when both are equal, so the zeroes of both signs too. */
export const scalarChoice =
  (operation: Choice, width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const result = fastOr(
      e,
      'v128',
      (unless) => {
        unlessPlain(e, width, a, b, unless);
        return mergeLow(width, a, v(one(width, CHOICE[operation]), b, a));
      },
      () => {
        const bits = e.rt(fn(operation, width), laneOf(width, a, 0), laneOf(width, b, 0));
        return withLowFloat(width, a, toFloat(width, bits));
      },
    );
    e.writeVector(dst!, result);
  };

/** MINPS … MAXPD */
export const packedChoice =
  (operation: Choice, width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const result = fastOr(
      e,
      'v128',
      (unless) => {
        unlessPlainLanes(e, width, a, b, unless);
        return v(one(width, CHOICE[operation]), b, a);
      },
      () => e.rt(packedName(width), w.i32(SSE_OP[operation]), a, b),
    );
    e.writeVector(dst!, result);
  };

/** Predicates 0 EQ, 1 LT, 2 LE, 4 NEQ, 5 NLT, 6 NLE between ordered operands; 3 UNORD and 7 ORD are known then. */
const COMPARE: readonly (readonly [number, number] | undefined)[] = [
  [SIMD.f32x4_eq, SIMD.f64x2_eq],
  [SIMD.f32x4_lt, SIMD.f64x2_lt],
  [SIMD.f32x4_le, SIMD.f64x2_le],
  undefined,
  [SIMD.f32x4_ne, SIMD.f64x2_ne],
  [SIMD.f32x4_ge, SIMD.f64x2_ge],
  [SIMD.f32x4_gt, SIMD.f64x2_gt],
  undefined,
];

function compareLanes(width: Width, predicate: number, a: Expr, b: Expr): Expr {
  const pair = COMPARE[predicate];
  if (pair === undefined) return predicate === 3 ? ZERO : ONES;
  return v(one(width, pair), a, b);
}

/** A predicate that is known while the code is made (not so in the interpreter, which asks the runtime). */
function knownPredicate(e: Emitter, imm: Operand): number | undefined {
  const value = w.constantOf(e.readAs(imm, 1));
  return value === undefined ? undefined : Number(value) & 7;
}

/** CMPSS, CMPSD: all ones or zeroes by predicate 0..7. */
export const compareScalar =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const known = knownPredicate(e, imm!);
    const fast = (unless: Unless): Expr => {
      unlessPlain(e, width, a, b, unless);
      return mergeLow(width, a, compareLanes(width, known!, a, b));
    };
    const result = fastOr(e, 'v128', known === undefined ? undefined : fast, () => {
      const predicate = w.and(e.readAs(imm!, 1), 7);
      const name = width === 4 ? 'sse_cmp32' : 'sse_cmp64';
      const yes = e.rt(name, laneOf(width, a, 0), laneOf(width, b, 0), predicate);
      const mask = width === 4 ? w.sub(w.i32(0), yes) : w.sub(w.i64(0), w.zext(yes));
      return withLowFloat(width, a, toFloat(width, mask));
    });
    e.writeVector(dst!, result);
  };

/** CMPPS, CMPPD */
export const comparePacked =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const known = knownPredicate(e, imm!);
    const fast = (unless: Unless): Expr => {
      unlessPlainLanes(e, width, a, b, unless);
      return compareLanes(width, known!, a, b);
    };
    const result = fastOr(e, 'v128', known === undefined ? undefined : fast, () =>
      e.rt(packedName(width), w.or(w.and(e.readAs(imm!, 1), 7), SSE_OP_COMPARE), a, b),
    );
    e.writeVector(dst!, result);
  };

/** COMISS, UCOMISS, COMISD, UCOMISD: ZF PF CF; the other arithmetic flags become 0. */
export const compareFlags =
  (width: Width, quiet: boolean): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const flags = fastOr(
      e,
      'i32',
      (unless) => {
        unlessPlain(e, width, a, b, unless);
        const [x, y] = [lowFloat(width, a), lowFloat(width, b)];
        return w.or(w.flt(x, y), w.shl(w.feq(x, y), 6));
      },
      () => {
        const name = width === 4 ? 'sse_comi32' : 'sse_comi64';
        return e.rt(name, laneOf(width, a, 0), laneOf(width, b, 0), w.i32(quiet ? 1 : 0));
      },
    );
    e.flagBits(flags);
  };

/** HADDPS, HSUBPD: pairs within the operands, so the lanes with even and with odd numbers are the operands. */
export const horizontal =
  (operation: 'add' | 'sub', width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const pick = (odd: number): LocalGet =>
      e.tmp(
        shuffle(
          a,
          b,
          Array.from({ length: 16 }, (_, i) => (Math.floor(i / width) * 2 + odd) * width + (i % width)),
        ),
      );
    const [x, y] = [pick(0), pick(1)];
    const result = fastOr(e, 'v128', packedFast(e, operation, width, x, y), () =>
      e.rt(packedName(width), w.i32(SSE_OP[operation]), x, y),
    );
    e.writeVector(dst!, result);
  };

/** ADDSUBPS, ADDSUBPD: subtracts in the even lanes. */
export const addSubtract =
  (width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const signs = w.v128(Array.from({ length: 16 }, (_, i) => (i % (2 * width) === width - 1 ? 0x80 : 0)));
    const fast = (unless: Unless): Expr =>
      packedFast(e, 'add', width, a, e.tmp(v(SIMD.xor, b, signs)))(unless);
    const result = fastOr(e, 'v128', fast, () => e.rt(packedName(width), w.i32(SSE_OP.addsub), a, b));
    e.writeVector(dst!, result);
  };

/** IE DE ZE come of the operands alone, OE UE PE of results. */
const BEFORE_COMPUTING = 0x07;
const AFTER_COMPUTING = 0x38;

/**
 * Some operations at once, then #XM if one of them asks for it. An unmasked IE, DE or ZE of one keeps OE, UE and PE of
 * the others out of MXCSR (SDM volume 1, 11.5.3).
 */
function stage(e: Emitter, operations: readonly Expr[]): Expr[] {
  const mxcsr = (): Expr => w.load32(w.i32(0), L.MXCSR);
  const before = e.tmp(mxcsr());
  const results = operations.map((x) => e.tmp(x));
  e.f.if(w.and(w.load32(w.i32(0), L.SSE_PENDING), BEFORE_COMPUTING), () => {
    const flags = w.or(w.and(mxcsr(), ~AFTER_COMPUTING), w.and(before, AFTER_COMPUTING));
    e.f.store32(w.i32(0), flags, L.MXCSR);
  });
  checkPending(e);
  return results;
}

/** DPPS, DPPD: products chosen by the high bits, summed as the manual's pseudocode, to lanes chosen by the low bits. */
export const dotProduct =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const choose = e.constantImmediate(imm!);
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const zero = width === 4 ? w.i32(0) : w.i64(0);
    const chosen = Array.from({ length: 16 / width }, (_, i) => i).filter((i) => (choose >> (4 + i)) & 1);
    const values = stage(
      e,
      chosen.map((i) => e.rt(fn('mul', width), laneOf(width, a, i), laneOf(width, b, i))),
    );
    const product = (i: number): Expr => values[chosen.indexOf(i)] ?? zero;
    const sum = (i: number): Expr => e.rt(fn('add', width), product(i), product(i + 1));
    let sums = stage(e, width === 4 ? [sum(0), sum(2)] : [sum(0)]);
    if (width === 4) sums = stage(e, [e.rt(fn('add', 4), sums[0]!, sums[1]!)]);
    const total = sums[0]!;
    let result: Expr = ZERO;
    for (let i = 0; i < 16 / width; i++) if ((choose >> i) & 1) result = withLane(width, result, i, total);
    e.writeVector(dst!, result);
  };

/** INSERTPS: one lane of the source to one of the destination, others cleared. */
export const insertFloat: Semantics = (e, dst, src, imm) => {
  const control = e.constantImmediate(imm!);
  const value = e.tmp(src!.kind === 'mem' ? e.read(src!) : lane32(e.readVector(src!), control >> 6));
  let result = withLane32(e.readVector(dst!), (control >> 4) & 3, value);
  for (let i = 0; i < 4; i++) if ((control >> i) & 1) result = withLane32(result, i, w.i32(0));
  e.writeVector(dst!, result);
};

/**
 * RCPPS, RSQRTPS: approximations with a relative error below 1.5 * 2^-12 (SDM). Each maker's table differs; here the
 * exact quotient rounded to float. Denormal operands count as zero, and no flags are set.
 */
export const approximate =
  (root: boolean, all: boolean): Semantics =>
  (e, dst, src) => {
    const vector = e.tmp(e.readVector(src!));
    const b = all ? vector : e.tmp(lane32(vector, 0));
    const approximation = (bits: Expr): Expr => {
      const x = e.tmp(bits);
      const flushed = w.select(isDenormal(4, x), w.and(x, 0x80000000 | 0), x);
      const value = w.op('f64', 0xbb, toFloat(4, e.tmp(flushed)));
      const unit = w.op('f64', 0xbf, w.i64(0x3ff0000000000000n));
      const quotient = w.fdiv(unit, root ? w.fsqrt(value) : value);
      const r = e.tmp(toBits(4, w.op('f32', 0xb6, quotient)));
      // results too small for a normal number become zero; NaNs are the quiet ones of the operand or the default
      const tiny = w.select(isDenormal(4, r), w.and(r, 0x80000000 | 0), r);
      const nan = w.gtU(w.and(x, 0x7fffffff), 0x7f800000);
      const madeNan = w.gtU(w.and(r, 0x7fffffff), 0x7f800000);
      return e.tmp(w.select(nan, w.or(x, 0x00400000), w.select(madeNan, w.i32(0xffc00000 | 0), e.tmp(tiny))));
    };
    if (!all) {
      e.writeVector(dst!, withLane32(e.readVector(dst!), 0, approximation(b)));
      return;
    }
    let result: Expr = ZERO;
    for (let i = 0; i < 4; i++) result = e.tmp(withLane32(result, i, approximation(lane32(b, i))));
    e.writeVector(dst!, result);
  };
