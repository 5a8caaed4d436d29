/**
 * Definitions of the vector moves and integer operations of SSE2 to SSE4.1, and of MMX through the same lanes (an MMX
 * operand is the low half of a vector). Intel SDM volume 2.
 */
import type { Expr } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import { SIMD } from '../../wasm/simd.ts';
import type { Operand } from '../decode/insn.ts';
import type { Emitter, Semantics } from './emitter.ts';

/** A vector operation that gives a vector. */
export const v = (opcode: number, ...operands: Expr[]): Expr => w.simd('v128', opcode, operands);
export const shuffle = (a: Expr, b: Expr, lanes: readonly number[]): Expr =>
  w.simd('v128', SIMD.shuffle, [a, b], [...lanes]);
export const lane32 = (x: Expr, lane: number): Expr => w.simd('i32', SIMD.i32x4_extract, [x], [lane]);
export const lane64 = (x: Expr, lane: number): Expr => w.simd('i64', SIMD.i64x2_extract, [x], [lane]);
export const withLane32 = (x: Expr, lane: number, value: Expr): Expr =>
  w.simd('v128', SIMD.i32x4_replace, [x, value], [lane]);
export const withLane64 = (x: Expr, lane: number, value: Expr): Expr =>
  w.simd('v128', SIMD.i64x2_replace, [x, value], [lane]);

const bytes = (f: (i: number) => number): number[] => Array.from({ length: 16 }, (_, i) => f(i));
export const ZERO = w.v128(bytes(() => 0));
export const ONES = w.v128(bytes(() => 0xff));
/** A vector with the low 64 bits given and zeroes above. */
export const lowHalf = (x: Expr): Expr => withLane64(ZERO, 0, x);

const isMmx = (e: Emitter): boolean => e.insn.operands.some((operand) => operand.kind === 'mmx');

/** A vector operand; of MMX registers and their memory operands the low half. */
export function readVector(e: Emitter, operand: Operand): Expr {
  if (operand.kind === 'mmx' || (operand.kind === 'mem' && isMmx(e))) {
    const x = e.read(operand);
    return lowHalf(operand.size === 8 ? x : w.zext(x));
  }
  return e.readVector(operand);
}

/** Writes a vector, or its low half to an MMX register. */
export function writeVector(e: Emitter, operand: Operand, x: Expr): void {
  if (operand.kind === 'mmx') e.writeMmx(operand, lane64(x, 0));
  else e.writeVector(operand, x);
}

/** `op dst, src` lane by lane. For MMX the unit is switched over between reading and writing. */
export function binary(compute: (a: Expr, b: Expr, e: Emitter) => Expr): Semantics {
  return (e, dst, src) => {
    const b = e.tmp(readVector(e, src!));
    e.enterMmx();
    const a = e.tmp(readVector(e, dst!));
    writeVector(e, dst!, compute(a, b, e));
  };
}

export const lanes = (opcode: number): Semantics => binary((a, b) => v(opcode, a, b));

/** `op dst, src` that depends on the source alone. */
export function unary(compute: (b: Expr, e: Emitter) => Expr): Semantics {
  return (e, dst, src) => {
    const b = e.tmp(readVector(e, src!));
    e.enterMmx();
    writeVector(e, dst!, compute(b, e));
  };
}

/** MOVQ and MOVNTQ from an MMX register. */
export const moveMmx: Semantics = (e, dst, src) => {
  e.enterMmx();
  const x = e.tmp(e.read(src!));
  if (dst!.kind === 'mmx') e.writeMmx(dst!, x);
  else e.write(dst!, x);
};

// --- moves ----------------------------------------------------------------------------------------------------------

/** A move of a whole operand, whatever its size and direction. */
export const move: Semantics = unary((b) => b);

/** MOVSS / MOVSD: between registers only the low lane; from memory with zeroes above. */
export const moveScalar =
  (size: 4 | 8): Semantics =>
  (e, dst, src) => {
    const x = e.tmp(e.readVector(src!));
    if (dst!.kind !== 'xmm' || src!.kind === 'mem') {
      e.writeVector(dst!, x);
      return;
    }
    const old = e.readVector(dst!);
    e.writeVector(dst!, size === 4 ? withLane32(old, 0, lane32(x, 0)) : withLane64(old, 0, lane64(x, 0)));
  };

/** Loads 64 bits into one half of a register, keeping the other. */
export const loadHalf =
  (half: 0 | 1): Semantics =>
  (e, dst, src) => {
    const x = e.read(src!);
    e.writeVector(dst!, withLane64(e.readVector(dst!), half, x));
  };
export const storeHalf =
  (half: 0 | 1): Semantics =>
  (e, dst, src) =>
    e.write(dst!, lane64(e.readVector(src!), half));

/** MOVHLPS, MOVLHPS */
export const moveHalf =
  (to: 0 | 1): Semantics =>
  (e, dst, src) => {
    const x = e.tmp(lane64(e.readVector(src!), 1 - to));
    e.writeVector(dst!, withLane64(e.readVector(dst!), to, x));
  };

/** MOVD / MOVQ from a general register or memory. */
export const fromGeneral: Semantics = (e, dst, src) => {
  const x = e.tmp(e.read(src!));
  e.enterMmx();
  const wide = e.size(src!) === 8 ? x : w.zext(x);
  if (dst!.kind === 'mmx') e.writeMmx(dst!, wide);
  else e.writeVector(dst!, lowHalf(wide));
};

/** MOVD / MOVQ to a general register or memory. */
export const toGeneral: Semantics = (e, dst, src) => {
  e.enterMmx();
  const x = e.tmp(src!.kind === 'mmx' ? e.read(src!) : lane64(e.readVector(src!), 0));
  e.write(dst!, e.size(dst!) === 8 ? x : w.wrap(x));
};

/** MOVQ between XMM registers or memory: the upper half becomes zero. */
export const moveQuad: Semantics = (e, dst, src) => {
  const x = e.tmp(lane64(e.readVector(src!), 0));
  if (dst!.kind === 'mem') e.write(dst!, x);
  else e.writeVector(dst!, lowHalf(x));
};

/** MOVQ2DQ, MOVDQ2Q */
export const mmxToXmm: Semantics = (e, dst, src) => {
  e.enterMmx();
  const x = e.tmp(e.read(src!));
  e.writeVector(dst!, lowHalf(x));
};
export const xmmToMmx: Semantics = (e, dst, src) => {
  e.enterMmx();
  e.writeMmx(dst!, e.tmp(lane64(e.readVector(src!), 0)));
};

/** Register-to-register patterns of the source: MOVDDUP, MOVSHDUP, MOVSLDUP. */
export const pattern = (lanesOf: (i: number) => number): Semantics =>
  unary((b) => shuffle(b, b, bytes(lanesOf)));

/** PMOVMSKB, MOVMSKPS, MOVMSKPD: sign bits to a general register. */
export const signMask =
  (opcode: number): Semantics =>
  (e, dst, src) => {
    e.enterMmx();
    const mmx = src!.kind === 'mmx';
    const bits = w.simd('i32', opcode, [readVector(e, src!)]);
    const mask = mmx ? w.and(bits, 0xff) : bits;
    e.write(dst!, e.size(dst!) === 8 ? w.zext(mask) : mask);
  };

// --- shuffles, packs --------------------------------------------------------------------------------------------

/** PSHUFD, PSHUFHW, PSHUFLW, PSHUFW: `unit` bytes a lane, four lanes from `first` on. */
export const shuffleImmediate =
  (unit: 2 | 4, first: 0 | 8): Semantics =>
  (e, dst, src, imm) => {
    const order = e.constantImmediate(imm!);
    const x = e.tmp(readVector(e, src!));
    e.enterMmx();
    const span = unit * 4;
    writeVector(
      e,
      dst!,
      shuffle(
        x,
        x,
        bytes((i) => {
          if (i < first || i >= first + span) return i;
          const lane = Math.floor((i - first) / unit);
          return first + ((order >> (2 * lane)) & 3) * unit + (i % unit);
        }),
      ),
    );
  };

/** SHUFPS, SHUFPD: low lanes from the destination, high lanes from the source. */
export const shuffleFloat =
  (unit: 4 | 8): Semantics =>
  (e, dst, src, imm) => {
    const order = e.constantImmediate(imm!);
    const b = e.tmp(e.readVector(src!));
    const perHalf = 8 / unit;
    const lanesOf = (i: number): number => {
      const lane = Math.floor(i / unit);
      const select = unit === 4 ? (order >> (2 * lane)) & 3 : (order >> lane) & 1;
      return (lane >= perHalf ? 16 : 0) + select * unit + (i % unit);
    };
    e.writeVector(dst!, shuffle(e.readVector(dst!), b, bytes(lanesOf)));
  };

/** PUNPCKL / PUNPCKH and UNPCK: interleaves lanes of `unit` bytes. */
export const unpack =
  (unit: 1 | 2 | 4 | 8, high: boolean): Semantics =>
  (e, dst, src) => {
    const half = dst!.kind === 'mmx' ? 4 : 8;
    const b = e.tmp(readVector(e, src!));
    e.enterMmx();
    const a = e.tmp(readVector(e, dst!));
    const lanesOf = (i: number): number => {
      const pair = Math.floor(i / (2 * unit));
      const fromB = Math.floor(i / unit) % 2;
      const at = ((high ? half : 0) + pair * unit + (i % unit)) & 15;
      return at + 16 * fromB;
    };
    writeVector(e, dst!, shuffle(a, b, bytes(lanesOf)));
  };

/** PACKSSWB, PACKUSWB, PACKSSDW, PACKUSDW; MMX packs the two low halves. */
export const pack = (opcode: number): Semantics =>
  binary((a, b, e) => {
    if (!isMmx(e)) return v(opcode, a, b);
    const both = e.tmp(withLane64(a, 1, lane64(b, 0)));
    return v(opcode, both, both);
  });

/** PSHUFB: bit 7 of the index gives zero. An MMX index counts to 8. */
export const shuffleBytes: Semantics = binary((a, b, e) =>
  v(SIMD.swizzle, a, v(SIMD.and, b, w.v128(bytes(() => (isMmx(e) ? 0x87 : 0x8f))))),
);

export const alignRight: Semantics = (e, dst, src, imm) => {
  const shift = Math.min(e.constantImmediate(imm!), 32);
  const width = dst!.kind === 'mmx' ? 8 : 16;
  const b = e.tmp(readVector(e, src!));
  e.enterMmx();
  const a = e.tmp(readVector(e, dst!));
  if (shift >= 2 * width) {
    writeVector(e, dst!, ZERO);
    return;
  }
  // bytes of a:b from `shift` on
  if (shift >= width)
    writeVector(
      e,
      dst!,
      shuffle(
        a,
        ZERO,
        bytes((i) => (i + shift - width < width ? i + shift - width : 16)),
      ),
    );
  else
    writeVector(
      e,
      dst!,
      shuffle(
        b,
        a,
        bytes((i) => (i + shift < width ? i + shift : 16 + ((i + shift - width) & 15))),
      ),
    );
};

/** PSLLDQ, PSRLDQ */
export const shiftBytes =
  (left: boolean): Semantics =>
  (e, dst, imm) => {
    const n = Math.min(e.constantImmediate(imm!), 16);
    const x = e.tmp(e.readVector(dst!));
    e.writeVector(
      dst!,
      shuffle(
        x,
        ZERO,
        bytes((i) => (left ? (i >= n ? i - n : 16) : i + n < 16 ? i + n : 16)),
      ),
    );
  };

// --- shifts -----------------------------------------------------------------------------------------------------------

/** Shifts of all lanes by one count; counts beyond the width give zero, or the sign. */
export const shiftLanes =
  (opcode: number, bits: 16 | 32 | 64, arithmetic: boolean): Semantics =>
  (e, dst, src) => {
    const count =
      src!.kind === 'imm' ? e.tmp(w.zext(e.readAs(src!, 1))) : e.tmp(lane64(readVector(e, src!), 0));
    e.enterMmx();
    const a = e.tmp(readVector(e, dst!));
    const inRange = e.tmp(w.ltU(count, w.i64(bits)));
    if (arithmetic) writeVector(e, dst!, v(opcode, a, w.select(inRange, w.wrap(count), w.i32(bits - 1))));
    else writeVector(e, dst!, w.select(inRange, v(opcode, a, w.wrap(count)), ZERO));
  };

// --- multiplication and sums ------------------------------------------------------------------------------------

/** The high (offset 2) or rounded 16 bits of each 32-bit product. */
function pickWords(low: Expr, high: Expr, offset: 0 | 2): Expr {
  return shuffle(
    low,
    high,
    bytes((i) => (i >> 1) * 4 + (i & 1) + offset),
  );
}

export const mulHigh = (low: number, high: number): Semantics =>
  binary((a, b) => pickWords(v(low, a, b), v(high, a, b), 2));

/** PMULHRSW */
export const mulHighRounded: Semantics = binary((a, b, e) => {
  const one = w.v128(bytes((i) => (i % 4 === 0 ? 1 : 0)));
  const round = (product: Expr): Expr =>
    v(SIMD.i32x4_shr_s, v(SIMD.i32x4_add, v(SIMD.i32x4_shr_s, product, w.i32(14)), one), w.i32(1));
  return pickWords(
    e.tmp(round(v(SIMD.i32x4_extmul_low_i16x8_s, a, b))),
    e.tmp(round(v(SIMD.i32x4_extmul_high_i16x8_s, a, b))),
    0,
  );
});

/** PMULUDQ, PMULDQ: even 32-bit lanes to 64-bit products. */
export const mulEven = (opcode: number): Semantics =>
  binary((a, b) => {
    const even = (x: Expr): Expr =>
      shuffle(
        x,
        x,
        bytes((i) => (i < 8 ? (i >> 2) * 8 + (i & 3) : i)),
      );
    return v(opcode, even(a), even(b));
  });

/** PMADDUBSW: unsigned bytes of the destination times signed bytes of the source, pairs added with saturation. */
export const mulAddBytes: Semantics = binary((a, b, e) => {
  const low = w.v128(bytes((i) => (i % 2 === 0 ? 0xff : 0)));
  const eight = w.i32(8);
  const even = v(
    SIMD.i16x8_mul,
    v(SIMD.and, a, low),
    v(SIMD.i16x8_shr_s, v(SIMD.i16x8_shl, b, eight), eight),
  );
  const odd = v(SIMD.i16x8_mul, v(SIMD.i16x8_shr_u, a, eight), v(SIMD.i16x8_shr_s, b, eight));
  return v(SIMD.i16x8_add_sat_s, e.tmp(even), e.tmp(odd));
});

/** PSADBW */
export const sumOfDifferences: Semantics = binary((a, b, e) => {
  const difference = v(SIMD.i8x16_sub, v(SIMD.i8x16_max_u, a, b), v(SIMD.i8x16_min_u, a, b));
  const sums = e.tmp(
    v(SIMD.i32x4_extadd_pairwise_i16x8_u, v(SIMD.i16x8_extadd_pairwise_i8x16_u, difference)),
  );
  const low = w.v128(bytes((i) => (i % 8 < 4 ? 0xff : 0)));
  return v(SIMD.i64x2_add, v(SIMD.and, sums, low), v(SIMD.i64x2_shr_u, sums, w.i32(32)));
});

/** PHADD, PHSUB: pairs of lanes of `unit` bytes. */
export const horizontal = (opcode: number, unit: 2 | 4): Semantics =>
  binary((a, b, e) => {
    const half = isMmx(e) ? 8 : 16;
    const take = (odd: number) => (i: number) => {
      const lane = Math.floor(i / unit);
      const perOperand = half / unit / 2;
      const fromB = Math.floor(lane / perOperand) % 2;
      return fromB * 16 + (((lane % perOperand) * 2 + odd) * unit + (i % unit));
    };
    return v(opcode, shuffle(a, b, bytes(take(0))), shuffle(a, b, bytes(take(1))));
  });

/** PSIGN: the destination negated, kept or cleared as the source is negative, positive or zero. */
export const sign = (sub: number, greater: number, equal: number): Semantics =>
  binary((a, b, e) => {
    const negative = e.tmp(v(greater, ZERO, b));
    const negated = v(sub, v(SIMD.xor, a, negative), negative);
    return v(SIMD.andnot, negated, v(equal, b, ZERO));
  });

// --- blends, inserts, extracts, extensions --------------------------------------------------------------------------

/** PBLENDVB, BLENDVPS, BLENDVPD: the sign bits of XMM0's lanes choose. */
export const blendVariable =
  (spread: (mask: Expr) => Expr): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    const mask = spread(e.xmm(0));
    e.writeVector(dst!, v(SIMD.bitselect, b, e.readVector(dst!), mask));
  };
export const spreadSign8 = (mask: Expr): Expr => v(SIMD.i8x16_gt_s, ZERO, mask);
export const spreadSign32 = (mask: Expr): Expr => v(SIMD.i32x4_shr_s, mask, w.i32(31));
export const spreadSign64 = (mask: Expr): Expr => v(SIMD.i64x2_lt_s, mask, ZERO);

/** PBLENDW, BLENDPS, BLENDPD: an immediate chooses. */
export const blendImmediate =
  (unit: 2 | 4 | 8): Semantics =>
  (e, dst, src, imm) => {
    const choose = e.constantImmediate(imm!);
    const b = e.tmp(e.readVector(src!));
    const lanesOf = (i: number): number => ((choose >> Math.floor(i / unit)) & 1 ? 16 : 0) + i;
    e.writeVector(dst!, shuffle(e.readVector(dst!), b, bytes(lanesOf)));
  };

const REPLACE = {
  1: SIMD.i8x16_replace,
  2: SIMD.i16x8_replace,
  4: SIMD.i32x4_replace,
  8: SIMD.i64x2_replace,
};

/** PINSRB/W/D/Q */
export const insert =
  (unit: 1 | 2 | 4 | 8): Semantics =>
  (e, dst, src, imm) => {
    const x = e.tmp(e.read(src!));
    e.enterMmx();
    const lanesCount = (dst!.kind === 'mmx' ? 8 : 16) / unit;
    const lane = e.constantImmediate(imm!) % lanesCount;
    const value = unit !== 8 && e.size(src!) === 8 ? w.wrap(x) : x;
    writeVector(e, dst!, w.simd('v128', REPLACE[unit], [readVector(e, dst!), value], [lane]));
  };

/** PEXTRB/W/D/Q, EXTRACTPS */
export const extract =
  (unit: 1 | 2 | 4 | 8): Semantics =>
  (e, dst, src, imm) => {
    e.enterMmx();
    const lanesCount = (src!.kind === 'mmx' ? 8 : 16) / unit;
    const lane = e.constantImmediate(imm!) % lanesCount;
    const x = readVector(e, src!);
    const value =
      unit === 8
        ? lane64(x, lane)
        : unit === 4
          ? lane32(x, lane)
          : w.simd('i32', unit === 2 ? SIMD.i16x8_extract_u : SIMD.i8x16_extract_u, [x], [lane]);
    const wide = e.size(dst!) === 8 && unit !== 8 ? w.zext(value) : value;
    e.write(dst!, e.tmp(wide));
  };

/** PMOVSX / PMOVZX: one or more widening steps. */
export const extend = (...steps: number[]): Semantics =>
  unary((b) => steps.reduce((x, step) => v(step, x), b));

/** PTEST: ZF = no common bits, CF = no bits of the source outside the destination. */
export const vectorTest: Semantics = (e, dst, src) => {
  const b = e.tmp(e.readVector(src!));
  const a = e.tmp(e.readVector(dst!));
  const none = (x: Expr): Expr => w.eqz(w.simd('i32', SIMD.any_true, [x]));
  e.flagBits(w.or(w.shl(none(v(SIMD.and, a, b)), 6), none(v(SIMD.andnot, b, a))));
};

/** PHMINPOSUW: the smallest word and its place. */
export const minimumPosition: Semantics = unary((b, e) => {
  const word = (lane: number): Expr => w.simd('i32', SIMD.i16x8_extract_u, [b], [lane]);
  // value << 3 | place: the smallest of these is the smallest value at its first place
  let best: Expr = e.tmp(w.shl(word(0), 3));
  for (let lane = 1; lane < 8; lane++) {
    const candidate = e.tmp(w.or(w.shl(word(lane), 3), lane));
    best = e.tmp(w.select(w.ltU(candidate, best), candidate, best));
  }
  return withLane32(ZERO, 0, w.or(w.shrU(best, 3), w.shl(w.and(best, 7), 16)));
});

/** Packed 64-bit compare greater, equal. */
export const compare64 = (opcode: number): Semantics => lanes(opcode);
