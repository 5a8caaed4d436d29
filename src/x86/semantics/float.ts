/**
 * Definitions of the floating-point arithmetic of SSE and SSE2. The results and flags must be those of the SDM to the
 * bit, so WebAssembly's own operations serve only where they are known to be exactly right and to raise no flag that
 * is not set already: round to nearest, all exceptions masked, precision flag set, no denormal operand, and a normal
 * result. Everything else goes to the runtime's software arithmetic. SDM volume 1, chapters 10 and 11.
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import { SIMD } from '../../wasm/simd.ts';
import type { Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import type { Emitter, Semantics } from './emitter.ts';
import type { RuntimeFunction } from './runtime-functions.ts';
import { lane32, lane64, v, withLane32, withLane64, ZERO } from './vector.ts';

type Width = 4 | 8;
type Operation = 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max' | 'sqrt';

const fn = (operation: Operation, width: Width): RuntimeFunction =>
  `sse_${operation}${width === 4 ? 32 : 64}` as RuntimeFunction;

/** Flags that operands alone decide (IE DE ZE), and those of results (OE UE PE). */
const BEFORE_COMPUTING = 0x07;
const AFTER_COMPUTING = 0x38;
/** MXCSR bits that must be so for the fast path: RC, DAZ, FZ clear, PE and all masks set. */
const FAST_MASK = 0xffe0;
const FAST_VALUE = 0x1fa0;
const mxcsrIsFast = (): Expr => w.eq(w.and(w.load32(w.i32(0), L.MXCSR), FAST_MASK), FAST_VALUE);

const SCALAR = { add: [0x92, 0xa0], sub: [0x93, 0xa1], mul: [0x94, 0xa2], div: [0x95, 0xa3] } as const;
const PACKED = {
  add: [SIMD.f32x4_add, SIMD.f64x2_add],
  sub: [SIMD.f32x4_sub, SIMD.f64x2_sub],
  mul: [SIMD.f32x4_mul, SIMD.f64x2_mul],
  div: [SIMD.f32x4_div, SIMD.f64x2_div],
} as const;

/** The bits of lane `lane`, as i32 or i64. */
const laneOf = (width: Width, x: Expr, lane: number): Expr =>
  width === 4 ? lane32(x, lane) : lane64(x, lane);
const withLane = (width: Width, x: Expr, lane: number, value: Expr): Expr =>
  width === 4 ? withLane32(x, lane, value) : withLane64(x, lane, value);

/** An operand's low lane as bits; memory is read at exactly that size. */
function readScalar(e: Emitter, operand: Operand, width: Width): LocalGet {
  return e.tmp(operand.kind === 'mem' ? e.read(operand) : laneOf(width, e.readVector(operand), 0));
}

/** The bits are a denormal number: not zero, exponent zero. */
function isDenormal(width: Width, x: Expr): Expr {
  if (width === 4) return w.ltU(w.sub(w.shl(x, 1), 1), 0x00ffffff);
  return w.ltU(w.sub(w.shl(x, w.i64(1)), w.i64(1)), w.i64(0x1fffffffffffffn));
}

/**
 * The bits are a normal number above the smallest binade: neither zero, denormal, infinite nor NaN, nor a tiny value
 * that was rounded up to the smallest normal number (which underflows).
 */
function isNormal(width: Width, x: Expr): Expr {
  if (width === 4) return w.ltU(w.sub(w.and(w.shrU(x, 23), 0xff), 2), 0xfd);
  return w.ltU(w.sub(w.and(w.wrap(w.shrU(x, w.i64(52))), 0x7ff), 2), 0x7fd);
}

const toFloat = (width: Width, x: Expr): Expr => (width === 4 ? w.op('f32', 0xbe, x) : w.op('f64', 0xbf, x));
const toBits = (width: Width, x: Expr): Expr => (width === 4 ? w.op('i32', 0xbc, x) : w.op('i64', 0xbd, x));

/** After software arithmetic: an unmasked exception is #XM, and the destination is not written. */
function checkPending(e: Emitter): void {
  e.f.if(e.rt('sse_pending'), () => e.raise(19));
}

/** ADDSS … DIVSD: the low lane; the rest of the destination stays. */
export const scalar =
  (operation: 'add' | 'sub' | 'mul' | 'div', width: Width): Semantics =>
  (e, dst, src) => {
    const b = readScalar(e, src!, width);
    const old = e.tmp(e.readVector(dst!));
    const a = e.tmp(laneOf(width, old, 0));
    const result = e.f.temporary(width === 4 ? 'i32' : 'i64');
    const done = e.f.temporary('i32');
    e.f.set(done, w.i32(0));
    const fits = w.eqz(w.or(isDenormal(width, a), isDenormal(width, b)));
    e.f.if(w.and(mxcsrIsFast(), fits), () => {
      const opcode = SCALAR[operation][width === 4 ? 0 : 1];
      const value = w.op(width === 4 ? 'f32' : 'f64', opcode, toFloat(width, a), toFloat(width, b));
      e.f.set(result, toBits(width, value));
      e.f.set(done, isNormal(width, result));
    });
    e.f.if(w.eqz(done), () => {
      e.f.set(result, e.rt(fn(operation, width), a, b));
      checkPending(e);
    });
    e.writeVector(dst!, withLane(width, old, 0, result));
  };

/** Lanes that are denormal, as a mask vector. */
function denormalLanes(e: Emitter, width: Width, x: Expr): Expr {
  const clear = w.v128(Array.from({ length: 16 }, (_, i) => (i % width === width - 1 ? 0x7f : 0xff)));
  const magnitude = e.tmp(v(SIMD.and, x, clear));
  const smallest = w.v128(
    Array.from({ length: 16 }, (_, i) => (width === 4 ? (i % 4 === 2 ? 0x80 : 0) : i % 8 === 6 ? 0x10 : 0)),
  );
  const below = v(width === 4 ? SIMD.i32x4_lt_s : SIMD.i64x2_lt_s, magnitude, smallest);
  const zero = v(width === 4 ? SIMD.i32x4_eq : SIMD.i64x2_eq, magnitude, ZERO);
  return v(SIMD.andnot, below, zero);
}

/** 1 if all lanes are normal numbers above the smallest binade. */
function allNormal(e: Emitter, width: Width, x: Expr): Expr {
  const exponent = w.v128(
    Array.from({ length: 16 }, (_, i) =>
      i % width === width - 1 ? 0x7f : i % width === width - 2 ? (width === 4 ? 0x80 : 0xf0) : 0,
    ),
  );
  const bits = e.tmp(v(SIMD.and, x, exponent));
  const nonZero = w.simd('i32', width === 4 ? SIMD.i32x4_all_true : SIMD.i64x2_all_true, [bits]);
  const lowest = w.v128(
    Array.from({ length: 16 }, (_, i) => (i % width === width - 2 ? (width === 4 ? 0x80 : 0x10) : 0)),
  );
  const equal = width === 4 ? SIMD.i32x4_eq : SIMD.i64x2_eq;
  const special = w.simd('i32', SIMD.any_true, [
    v(SIMD.or, v(equal, bits, exponent), v(equal, bits, lowest)),
  ]);
  return w.and(nonZero, w.eqz(special));
}

/**
 * #XM if `pending` flags are not masked. All lanes are looked at before any is computed: an unmasked IE, DE or ZE of
 * one keeps OE, UE and PE of the others out of MXCSR (SDM volume 1, 11.5.3). `before`: MXCSR as it was.
 */
function raisePending(e: Emitter, pending: Expr, before: Expr): void {
  e.f.if(pending, () => {
    e.f.if(w.and(pending, BEFORE_COMPUTING), () => {
      const now = w.and(w.load32(w.i32(0), L.MXCSR), ~AFTER_COMPUTING);
      e.f.store32(w.i32(0), w.or(now, w.and(before, AFTER_COMPUTING)), L.MXCSR);
    });
    e.raise(19);
  });
}

/** One software operation for each lane; nothing is written if an unmasked exception comes of any. */
function eachLane(e: Emitter, width: Width, f: (lane: number) => Expr): LocalGet {
  let result: Expr = ZERO;
  const pending = e.f.temporary('i32');
  e.f.set(pending, w.i32(0));
  const before = e.tmp(w.load32(w.i32(0), L.MXCSR));
  for (let lane = 0; lane < 16 / width; lane++) {
    const bits = e.tmp(f(lane));
    e.f.set(pending, w.or(pending, e.rt('sse_pending')));
    result = e.tmp(withLane(width, result, lane, bits));
  }
  raisePending(e, pending, before);
  return result as LocalGet;
}

/** ADDPS … DIVPD */
export const packed =
  (operation: 'add' | 'sub' | 'mul' | 'div', width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const result = e.f.temporary('v128');
    const done = e.f.temporary('i32');
    e.f.set(done, w.i32(0));
    e.f.if(mxcsrIsFast(), () => {
      const denormal = v(SIMD.or, denormalLanes(e, width, a), denormalLanes(e, width, b));
      e.f.if(w.eqz(w.simd('i32', SIMD.any_true, [denormal])), () => {
        e.f.set(result, v(PACKED[operation][width === 4 ? 0 : 1], a, b));
        e.f.set(done, allNormal(e, width, result));
      });
    });
    e.f.if(w.eqz(done), () => {
      const slow = eachLane(e, width, (lane) =>
        e.rt(fn(operation, width), laneOf(width, a, lane), laneOf(width, b, lane)),
      );
      e.f.set(result, slow);
    });
    e.writeVector(dst!, result);
  };

/** MINSS … MAXPD and SQRT by the software functions. */
export const scalarSlow =
  (operation: 'min' | 'max' | 'sqrt', width: Width): Semantics =>
  (e, dst, src) => {
    const b = readScalar(e, src!, width);
    const old = e.tmp(e.readVector(dst!));
    const result = e.tmp(
      operation === 'sqrt'
        ? e.rt(fn('sqrt', width), b)
        : e.rt(fn(operation, width), laneOf(width, old, 0), b),
    );
    checkPending(e);
    e.writeVector(dst!, withLane(width, old, 0, result));
  };

export const packedSlow =
  (operation: 'min' | 'max' | 'sqrt', width: Width): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const result = eachLane(e, width, (lane) =>
      operation === 'sqrt'
        ? e.rt(fn('sqrt', width), laneOf(width, b, lane))
        : e.rt(fn(operation, width), laneOf(width, a, lane), laneOf(width, b, lane)),
    );
    e.writeVector(dst!, result);
  };

/** CMPPS … CMPSD: all ones or zeroes by predicate 0..7. */
export const compareScalar =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = readScalar(e, src!, width);
    const old = e.tmp(e.readVector(dst!));
    const predicate = w.and(e.readAs(imm!, 1), 7);
    const yes = e.tmp(e.rt(width === 4 ? 'sse_cmp32' : 'sse_cmp64', laneOf(width, old, 0), b, predicate));
    checkPending(e);
    const mask = width === 4 ? w.sub(w.i32(0), yes) : w.sub(w.i64(0), w.zext(yes));
    e.writeVector(dst!, withLane(width, old, 0, mask));
  };

export const comparePacked =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const predicate = e.tmp(w.and(e.readAs(imm!, 1), 7));
    const result = eachLane(e, width, (lane) => {
      const yes = e.rt(
        width === 4 ? 'sse_cmp32' : 'sse_cmp64',
        laneOf(width, a, lane),
        laneOf(width, b, lane),
        predicate,
      );
      return width === 4 ? w.sub(w.i32(0), yes) : w.sub(w.i64(0), w.zext(yes));
    });
    e.writeVector(dst!, result);
  };

/** COMISS, UCOMISS, COMISD, UCOMISD: ZF PF CF; the other arithmetic flags become 0. */
export const compareFlags =
  (width: Width, quiet: boolean): Semantics =>
  (e, dst, src) => {
    const b = readScalar(e, src!, width);
    const a = e.tmp(laneOf(width, e.readVector(dst!), 0));
    const flags = e.f.temporary('i32');
    // Ordered operands without denormals set no exception flag: WebAssembly's comparisons are enough.
    const x = toFloat(width, a);
    const y = toFloat(width, b);
    const plain = w.and(
      w.eqz(w.or(isDenormal(width, a), isDenormal(width, b))),
      w.and(w.feq(x, x), w.feq(y, y)),
    );
    e.f.if(
      plain,
      () => e.f.set(flags, w.or(w.flt(x, y), w.shl(w.feq(x, y), 6))),
      () => {
        e.f.set(flags, e.rt(width === 4 ? 'sse_comi32' : 'sse_comi64', a, b, w.i32(quiet ? 1 : 0)));
        checkPending(e);
      },
    );
    e.flagBits(flags);
  };

// --- conversions ------------------------------------------------------------------------------------------------------

/** CVTSI2SS, CVTSI2SD: from a general register or memory. */
export const fromInteger =
  (width: Width): Semantics =>
  (e, dst, src) => {
    const wide = e.size(src!) === 8;
    const x = e.tmp(e.read(src!));
    // 32 bits to double is always exact
    const bits =
      width === 8 && !wide
        ? toBits(8, w.op('f64', 0xb7, x))
        : e.rt(width === 4 ? (wide ? 'sse_cvti64to32' : 'sse_cvti32to32') : 'sse_cvti64to64', x);
    const result = e.tmp(bits);
    if (!(width === 8 && !wide)) checkPending(e);
    e.writeVector(dst!, withLane(width, e.readVector(dst!), 0, result));
  };

/** CVTSS2SI, CVTTSS2SI, CVTSD2SI, CVTTSD2SI */
export const toInteger =
  (width: Width, truncate: boolean): Semantics =>
  (e, dst, src) => {
    const x = readScalar(e, src!, width);
    const wide = e.size(dst!) === 8;
    const name =
      width === 4 ? (wide ? 'sse_cvt32toi64' : 'sse_cvt32toi32') : wide ? 'sse_cvt64toi64' : 'sse_cvt64toi32';
    const result = e.tmp(e.rt(name, x, w.i32(truncate ? 1 : 0)));
    checkPending(e);
    e.write(dst!, result);
  };

/** CVTSS2SD, CVTSD2SS */
export const convertScalar =
  (from: Width): Semantics =>
  (e, dst, src) => {
    const x = readScalar(e, src!, from);
    const result = e.tmp(e.rt(from === 4 ? 'sse_cvt32to64' : 'sse_cvt64to32', x));
    checkPending(e);
    e.writeVector(dst!, withLane(from === 4 ? 8 : 4, e.readVector(dst!), 0, result));
  };

/** Lane by lane from `read` to a result vector of `count` lanes of `width`; the rest is zero. */
function convertLanes(e: Emitter, width: Width, count: number, read: (lane: number) => Expr): LocalGet {
  let result: Expr = ZERO;
  const pending = e.f.temporary('i32');
  e.f.set(pending, w.i32(0));
  const before = e.tmp(w.load32(w.i32(0), L.MXCSR));
  for (let lane = 0; lane < count; lane++) {
    const bits = e.tmp(read(lane));
    e.f.set(pending, w.or(pending, e.rt('sse_pending')));
    result = e.tmp(withLane(width, result, lane, bits));
  }
  raisePending(e, pending, before);
  return e.tmp(result);
}

export const convertPacked =
  (kind: 'ps2pd' | 'pd2ps' | 'dq2ps' | 'ps2dq' | 'pd2dq', truncate = false): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const t = w.i32(truncate ? 1 : 0);
    const result =
      kind === 'ps2pd'
        ? convertLanes(e, 8, 2, (i) => e.rt('sse_cvt32to64', lane32(b, i)))
        : kind === 'pd2ps'
          ? convertLanes(e, 4, 2, (i) => e.rt('sse_cvt64to32', lane64(b, i)))
          : kind === 'dq2ps'
            ? convertLanes(e, 4, 4, (i) => e.rt('sse_cvti32to32', lane32(b, i)))
            : kind === 'ps2dq'
              ? convertLanes(e, 4, 4, (i) => e.rt('sse_cvt32toi32', lane32(b, i), t))
              : convertLanes(e, 4, 2, (i) => e.rt('sse_cvt64toi32', lane64(b, i), t));
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
    const integer = (i: number): Expr => w.wrap(i === 0 ? x : w.shrU(x, w.i64(32)));
    if (width === 8) {
      e.writeVector(dst!, v(SIMD.f64x2_convert_low_i32x4_s, withLane64(ZERO, 0, x)));
      return;
    }
    const result = convertLanes(e, 4, 2, (i) => e.rt('sse_cvti32to32', integer(i)));
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
    const t = w.i32(truncate ? 1 : 0);
    const result = convertLanes(e, 4, 2, (i) =>
      width === 4 ? e.rt('sse_cvt32toi32', lane32(b, i), t) : e.rt('sse_cvt64toi32', lane64(b, i), t),
    );
    e.writeMmx(dst!, lane64(result, 0));
  };

// --- the rest -----------------------------------------------------------------------------------------------------

export const roundScalar =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = readScalar(e, src!, width);
    const result = e.tmp(e.rt(width === 4 ? 'sse_round32' : 'sse_round64', b, e.readAs(imm!, 1)));
    checkPending(e);
    e.writeVector(dst!, withLane(width, e.readVector(dst!), 0, result));
  };

export const roundPacked =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const mode = e.tmp(e.readAs(imm!, 1));
    const result = eachLane(e, width, (i) =>
      e.rt(width === 4 ? 'sse_round32' : 'sse_round64', laneOf(width, b, i), mode),
    );
    e.writeVector(dst!, result);
  };

/** HADDPS, HSUBPD, ADDSUBPS …: software arithmetic on rearranged lanes. */
export const rearranged =
  (width: Width, kind: 'hadd' | 'hsub' | 'addsub'): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const count = 16 / width;
    const result = eachLane(e, width, (lane) => {
      if (kind === 'addsub')
        return e.rt(
          fn(lane % 2 === 0 ? 'sub' : 'add', width),
          laneOf(width, a, lane),
          laneOf(width, b, lane),
        );
      const from = lane < count / 2 ? a : b;
      const at = (lane % (count / 2)) * 2;
      return e.rt(
        fn(kind === 'hadd' ? 'add' : 'sub', width),
        laneOf(width, from, at),
        laneOf(width, from, at + 1),
      );
    });
    e.writeVector(dst!, result);
  };

/** DPPS, DPPD: products chosen by the high bits, summed as the manual's pseudocode, to lanes chosen by the low bits. */
export const dotProduct =
  (width: Width): Semantics =>
  (e, dst, src, imm) => {
    const choose = e.constantImmediate(imm!);
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const zero = width === 4 ? w.i32(0) : w.i64(0);
    const pending = e.f.temporary('i32');
    e.f.set(pending, w.i32(0));
    const note = (x: Expr): Expr => {
      const r = e.tmp(x);
      e.f.set(pending, w.or(pending, e.rt('sse_pending')));
      return r;
    };
    const products = Array.from({ length: 16 / width }, (_, i) =>
      (choose >> (4 + i)) & 1 ? note(e.rt(fn('mul', width), laneOf(width, a, i), laneOf(width, b, i))) : zero,
    );
    const sum = (x: Expr, y: Expr): Expr => note(e.rt(fn('add', width), x, y));
    const total =
      width === 4
        ? sum(sum(products[0]!, products[1]!), sum(products[2]!, products[3]!))
        : sum(products[0]!, products[1]!);
    e.f.if(pending, () => e.raise(19));
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
    const b = all ? e.tmp(e.readVector(src!)) : readScalar(e, src!, 4);
    const one = (bits: Expr): Expr => {
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
      e.writeVector(dst!, withLane32(e.readVector(dst!), 0, one(b)));
      return;
    }
    let result: Expr = ZERO;
    for (let i = 0; i < 4; i++) result = e.tmp(withLane32(result, i, one(lane32(b, i))));
    e.writeVector(dst!, result);
  };
