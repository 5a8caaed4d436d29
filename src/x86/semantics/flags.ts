/**
 * The lazy arithmetic flags: conditions as expressions when the operation that set the flags is known. See the end
 * of layout.ts for what each kind keeps. SDM volume 1, 3.4.3 and appendix B.
 */
import type { Expr } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';

/** The four values of the lazy flags; `known` when the operation is known as this code is made. */
export interface FlagSource {
  readonly known: number | undefined;
  readonly op: Expr;
  readonly dst: Expr;
  readonly src: Expr;
  readonly src2: Expr;
  /** CF and OF (0 or 1), where they are not what `known` says. */
  readonly carry?: Expr | undefined;
  readonly overflow?: Expr | undefined;
}

const SIGN = [0x80, 0x8000, 0x8000_0000] as const;

/** Sign-extends an i64 that holds a zero-extended value of 1 << `log` bytes, as i32 or (64 bit) i64. */
function signed(log: number, x: Expr): Expr {
  if (log === 3) return x;
  const low = w.wrap(x);
  return log === 0 ? w.ext8(low) : log === 1 ? w.ext16(low) : low;
}

/** Zero-extended value in its narrow type. */
function narrow(log: number, x: Expr): Expr {
  return log === 3 ? x : w.wrap(x);
}

function zero(x: Expr): Expr {
  return w.eqz(x);
}

function not(x: Expr): Expr {
  return w.eqz(x);
}

/** 1 if `cc` holds, or undefined when it takes the runtime to tell. */
export function conditionExpr(cc: number, source: FlagSource): Expr | undefined {
  let base: Expr | undefined;
  if (source.known === undefined)
    base = (cc & ~1) === 0 ? source.overflow : (cc & ~1) === 2 ? source.carry : undefined;
  else if (source.carry === undefined && source.overflow === undefined) base = positive(cc & ~1, source);
  else base = overridden(cc & ~1, source);
  if (base === undefined) return undefined;
  return cc & 1 ? not(base) : base;
}

/** Conditions that CF or OF take part in, put together from the single flags. */
function overridden(cc: number, source: FlagSource): Expr | undefined {
  const plain = { ...source, carry: undefined, overflow: undefined };
  const carry = source.carry ?? carryExpr(source);
  const overflow = source.overflow ?? positive(0, plain);
  const zeroFlag = positive(4, plain);
  const sign = positive(8, plain);
  const both = (
    a: Expr | undefined,
    b: Expr | undefined,
    join: (a: Expr, b: Expr) => Expr,
  ): Expr | undefined => (a === undefined || b === undefined ? undefined : join(a, b));
  switch (cc) {
    case 0:
      return overflow;
    case 2:
      return carry;
    case 6:
      return both(carry, zeroFlag, w.or);
    case 12:
      return both(sign, overflow, w.xor);
    case 14:
      return both(both(sign, overflow, w.xor), zeroFlag, w.or);
    default:
      return positive(cc, plain);
  }
}

function positive(cc: number, source: FlagSource): Expr | undefined {
  const kind = source.known! & ~3;
  const log = source.known! & 3;
  const { dst, src, src2 } = source;
  if (kind === L.CC_EFLAGS) return fromBits(cc, w.wrap(src));
  if (kind === L.CC_SUB) {
    const a = signed(log, dst);
    const b = signed(log, src);
    const ua = narrow(log, dst);
    const ub = narrow(log, src);
    switch (cc) {
      case 2:
        return w.ltU(ua, ub);
      case 4:
        return w.eq(ua, ub);
      case 6:
        return w.leU(ua, ub);
      case 8:
        return w.ltS(cutSigned(log, w.sub(a, b)), zeroOf(log));
      case 10:
        return parity(w.sub(w.wrap(dst), w.wrap(src)));
      case 12:
        return w.ltS(a, b);
      case 14:
        return w.leS(a, b);
      default: {
        const result = w.sub(a, b);
        return top(log, w.and(w.xor(a, b), w.xor(a, result)));
      }
    }
  }
  const result = signed(log, dst);
  switch (cc) {
    case 2:
      return carryExpr(source);
    case 4:
      return kind === L.CC_SBB ? undefined : zero(narrow(log, dst));
    case 8:
      return kind === L.CC_SBB ? undefined : w.ltS(result, zeroOf(log));
    case 10:
      return kind === L.CC_SBB ? undefined : parity(w.wrap(dst));
    default:
  }
  if (kind === L.CC_LOGIC) {
    switch (cc) {
      case 0:
        return w.i32(0);
      case 6:
        return zero(narrow(log, dst));
      case 12:
        return w.ltS(result, zeroOf(log));
      default:
        return w.leS(result, zeroOf(log));
    }
  }
  if (kind === L.CC_ADD || kind === L.CC_INC || kind === L.CC_DEC) {
    let overflow: Expr;
    if (kind === L.CC_ADD) {
      const r = narrow(log, dst);
      const b = narrow(log, src);
      const a = w.sub(r, b);
      overflow = top(log, w.and(w.xor(a, r), w.xor(b, r)));
    } else if (log === 3) overflow = w.eq(dst, w.i64(kind === L.CC_INC ? -(1n << 63n) : (1n << 63n) - 1n));
    else overflow = w.eq(w.wrap(dst), w.i32(kind === L.CC_INC ? SIGN[log]! : SIGN[log]! - 1));
    switch (cc) {
      case 0:
        return overflow;
      case 6:
        return w.or(carryExpr(source)!, zero(narrow(log, dst)));
      case 12:
        return w.xor(w.ltS(result, zeroOf(log)), overflow);
      default:
        return w.or(w.xor(w.ltS(result, zeroOf(log)), overflow), zero(narrow(log, dst)));
    }
  }
  void src2;
  return undefined;
}

function zeroOf(log: number): Expr {
  return log === 3 ? w.i64(0) : w.i32(0);
}

/** A difference of sign-extended narrow values, brought back to its width. */
function cutSigned(log: number, x: Expr): Expr {
  return log === 0 ? w.ext8(x) : log === 1 ? w.ext16(x) : x;
}

function top(log: number, x: Expr): Expr {
  if (log === 3) return w.ltS(x, w.i64(0));
  if (log === 2) return w.ltS(x, w.i32(0));
  return w.ne(w.and(x, SIGN[log]!), w.i32(0));
}

/** PF: even number of ones in the low byte. */
function parity(x: Expr): Expr {
  return w.xor(w.and(w.popcnt(w.and(x, 0xff)), 1), 1);
}

/** Conditions on flags at their places in RFLAGS: CF 0, PF 2, AF 4, ZF 6, SF 7, OF 11. */
function fromBits(cc: number, bits: Expr): Expr {
  const bit = (n: number): Expr => w.and(w.shrU(bits, n), 1);
  switch (cc) {
    case 0:
      return bit(11);
    case 2:
      return w.and(bits, 1);
    case 4:
      return bit(6);
    case 6:
      return w.ne(w.and(bits, 0x41), 0);
    case 8:
      return bit(7);
    case 10:
      return bit(2);
    case 12:
      return w.xor(bit(7), bit(11));
    default:
      return w.or(bit(6), w.xor(bit(7), bit(11)));
  }
}

/** CF as 0 or 1, or undefined when it takes the runtime to tell. */
export function carryExpr(source: FlagSource): Expr | undefined {
  if (source.carry !== undefined) return source.carry;
  if (source.known === undefined) return undefined;
  const log = source.known & 3;
  const { dst, src, src2 } = source;
  switch (source.known & ~3) {
    case L.CC_EFLAGS:
      return w.and(w.wrap(src), 1);
    case L.CC_LOGIC:
      return w.i32(0);
    case L.CC_ADD:
    case L.CC_SUB:
      return w.ltU(narrow(log, dst), narrow(log, src));
    case L.CC_INC:
    case L.CC_DEC:
      return w.wrap(src2);
    case L.CC_SHL:
      return w.wrap(w.and(w.shrU(src, w.i64((8 << log) - 1)), w.i64(1)));
    case L.CC_SHR:
      return w.and(w.wrap(src), 1);
    case L.CC_MUL:
      return w.ne(src, w.i64(0));
    case L.CC_IMUL:
      return undefined;
    case L.CC_SBB: {
      // left < right, or equal to it with the borrow in
      const a = narrow(log, dst);
      const b = narrow(log, src);
      return w.or(w.ltU(a, b), w.and(w.wrap(src2), w.eq(a, b)));
    }
    default: {
      // ADC: the sum is below the right operand, or equal to it with the carry in
      const r = narrow(log, dst);
      const b = narrow(log, src);
      return w.or(w.ltU(r, b), w.and(w.wrap(src2), w.eq(r, b)));
    }
  }
}
