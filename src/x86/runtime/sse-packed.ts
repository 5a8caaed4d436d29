// Packed SSE arithmetic, lane by lane with the scalar functions: the side of the packed definitions that is rare or
// has to look closely. All lanes are looked at before any result counts. SDM volume 1, 11.5.3.
import { MXCSR, SSE_PENDING } from '../layout';
import {
  sse_add32,
  sse_add64,
  sse_cmp32,
  sse_cmp64,
  sse_cvt32to64,
  sse_cvt32toi32,
  sse_cvt64to32,
  sse_cvt64toi32,
  sse_cvti32to32,
  sse_div32,
  sse_div64,
  sse_max32,
  sse_max64,
  sse_min32,
  sse_min64,
  sse_mul32,
  sse_mul64,
  sse_round32,
  sse_round64,
  sse_sqrt32,
  sse_sqrt64,
  sse_sub32,
  sse_sub64,
} from './softfloat-sse';

/** IE DE ZE come of the operands alone, OE UE PE of results. */
const BEFORE_COMPUTING: u32 = 0x07;
const AFTER_COMPUTING: u32 = 0x38;

/** An unmasked IE, DE or ZE of one lane keeps OE, UE and PE of the others out of MXCSR. */
function settle(before: u32): void {
  if (load<u32>(SSE_PENDING) & BEFORE_COMPUTING)
    store<u32>(MXCSR, (load<u32>(MXCSR) & ~AFTER_COMPUTING) | (before & AFTER_COMPUTING));
}

/** Operations (SSE_OP in float-emit.ts): 0 add … 7 ADDSUB (subtracts in even lanes); 8 + predicate; 16 + imm of ROUND. */
function one32(op: i32, a: i32, b: i32, lane: i32): i32 {
  if (op >= 16) return sse_round32(b, op & 15);
  if (op >= 8) return -sse_cmp32(a, b, op & 7);
  switch (op) {
    case 0:
      return sse_add32(a, b);
    case 1:
      return sse_sub32(a, b);
    case 2:
      return sse_mul32(a, b);
    case 3:
      return sse_div32(a, b);
    case 4:
      return sse_min32(a, b);
    case 5:
      return sse_max32(a, b);
    case 6:
      return sse_sqrt32(b);
    default:
      return lane & 1 ? sse_add32(a, b) : sse_sub32(a, b);
  }
}

function one64(op: i32, a: i64, b: i64, lane: i32): i64 {
  if (op >= 16) return sse_round64(b, op & 15);
  if (op >= 8) return -(<i64>sse_cmp64(a, b, op & 7));
  switch (op) {
    case 0:
      return sse_add64(a, b);
    case 1:
      return sse_sub64(a, b);
    case 2:
      return sse_mul64(a, b);
    case 3:
      return sse_div64(a, b);
    case 4:
      return sse_min64(a, b);
    case 5:
      return sse_max64(a, b);
    case 6:
      return sse_sqrt64(b);
    default:
      return lane & 1 ? sse_add64(a, b) : sse_sub64(a, b);
  }
}

export function sse_packed32(op: i32, a: v128, b: v128): v128 {
  const before = load<u32>(MXCSR);
  let r = i32x4.splat(one32(op, v128.extract_lane<i32>(a, 0), v128.extract_lane<i32>(b, 0), 0));
  r = v128.replace_lane<i32>(r, 1, one32(op, v128.extract_lane<i32>(a, 1), v128.extract_lane<i32>(b, 1), 1));
  r = v128.replace_lane<i32>(r, 2, one32(op, v128.extract_lane<i32>(a, 2), v128.extract_lane<i32>(b, 2), 2));
  r = v128.replace_lane<i32>(r, 3, one32(op, v128.extract_lane<i32>(a, 3), v128.extract_lane<i32>(b, 3), 3));
  settle(before);
  return r;
}

export function sse_packed64(op: i32, a: v128, b: v128): v128 {
  const before = load<u32>(MXCSR);
  let r = i64x2.splat(one64(op, v128.extract_lane<i64>(a, 0), v128.extract_lane<i64>(b, 0), 0));
  r = v128.replace_lane<i64>(r, 1, one64(op, v128.extract_lane<i64>(a, 1), v128.extract_lane<i64>(b, 1), 1));
  settle(before);
  return r;
}

function to32(kind: i32, x: v128, lane: i32): i32 {
  const low = lane == 0 ? v128.extract_lane<i64>(x, 0) : v128.extract_lane<i64>(x, 1);
  return kind == 1 ? sse_cvt64to32(low) : sse_cvt64toi32(low, kind & 1 ? 0 : 1);
}

function convert32(kind: i32, bits: i32): i32 {
  return kind == 2 ? sse_cvti32to32(bits) : sse_cvt32toi32(bits, kind & 1 ? 0 : 1);
}

/**
 * Packed conversions (SSE_CONVERT in float-emit.ts): 0 PS2PD, 1 PD2PS, 2 DQ2PS, 3 PS2DQ, 4 the same truncating,
 * 5 PD2DQ, 6 the same truncating. `lanes`: how many are converted; the others of the result are 0.
 */
export function sse_convert(kind: i32, x: v128, lanes: i32): v128 {
  const before = load<u32>(MXCSR);
  let r = i32x4.splat(0);
  if (kind == 0) {
    r = v128.replace_lane<i64>(r, 0, sse_cvt32to64(v128.extract_lane<i32>(x, 0)));
    r = v128.replace_lane<i64>(r, 1, sse_cvt32to64(v128.extract_lane<i32>(x, 1)));
  } else if (kind == 1 || kind >= 5) {
    r = v128.replace_lane<i32>(r, 0, to32(kind, x, 0));
    r = v128.replace_lane<i32>(r, 1, to32(kind, x, 1));
  } else {
    r = v128.replace_lane<i32>(r, 0, convert32(kind, v128.extract_lane<i32>(x, 0)));
    r = v128.replace_lane<i32>(r, 1, convert32(kind, v128.extract_lane<i32>(x, 1)));
    if (lanes > 2) {
      r = v128.replace_lane<i32>(r, 2, convert32(kind, v128.extract_lane<i32>(x, 2)));
      r = v128.replace_lane<i32>(r, 3, convert32(kind, v128.extract_lane<i32>(x, 3)));
    }
  }
  settle(before);
  return r;
}
