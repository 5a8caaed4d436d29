/**
 * Definitions of the general-purpose arithmetic: what each instruction computes and how it sets the flags. Source:
 * Intel SDM volume 2. Flags that the manual leaves undefined are whatever falls out.
 */
import type { Expr } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import type { Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import type { Emitter, Semantics, Size } from './emitter.ts';

export const CF = 0x001;
export const PF = 0x004;
export const AF = 0x010;
export const ZF = 0x040;
export const SF = 0x080;
export const OF = 0x800;

/** The constant `n` in the type of values of `size` bytes. */
export const k = (size: Size, n: number | bigint): Expr => (size === 8 ? w.i64(n) : w.i32(Number(n)));
/** An i32 made as wide as values of `size` bytes. */
export const widen = (size: Size, x: Expr): Expr => (size === 8 ? w.zext(x) : x);

type Compute = (e: Emitter, size: Size, a: Expr, b: Expr) => Expr;

/** The eight operations of opcodes 00-3F, in the order of their numbers. */
export const ALU: readonly { name: string; compute: Compute; writes: boolean }[] = [
  { name: 'add', writes: true, compute: addition },
  { name: 'or', writes: true, compute: logic(w.or) },
  { name: 'adc', writes: true, compute: additionWithCarry },
  { name: 'sbb', writes: true, compute: subtractionWithBorrow },
  { name: 'and', writes: true, compute: logic(w.and) },
  { name: 'sub', writes: true, compute: subtraction },
  { name: 'xor', writes: true, compute: logic(w.xor) },
  { name: 'cmp', writes: false, compute: subtraction },
];

function addition(e: Emitter, size: Size, a: Expr, b: Expr): Expr {
  const r = e.tmp(e.cut(size, w.add(a, b)));
  e.flags(L.CC_ADD, size, r, b);
  return r;
}

export function subtraction(e: Emitter, size: Size, a: Expr, b: Expr): Expr {
  const r = e.tmp(e.cut(size, w.sub(a, b)));
  e.flags(L.CC_SUB, size, a, b);
  return r;
}

function logic(combine: (a: Expr, b: Expr) => Expr): Compute {
  return (e, size, a, b) => {
    const r = e.tmp(combine(a, b));
    e.flags(L.CC_LOGIC, size, r);
    return r;
  };
}

function additionWithCarry(e: Emitter, size: Size, a: Expr, b: Expr): Expr {
  const carry = e.tmp(e.carry());
  const r = e.tmp(e.cut(size, w.add(w.add(a, b), widen(size, carry))));
  e.flags(L.CC_ADC, size, r, b, carry);
  return r;
}

function subtractionWithBorrow(e: Emitter, size: Size, a: Expr, b: Expr): Expr {
  const carry = e.tmp(e.carry());
  const r = e.tmp(e.cut(size, w.sub(w.sub(a, b), widen(size, carry))));
  e.flags(L.CC_SBB, size, a, b, carry);
  return r;
}

/** `op dst, src` for the eight ALU operations. */
export function alu(number: number): Semantics {
  const { name, compute, writes } = ALU[number]!;
  return (e, dst, src) => {
    const size = e.size(dst!);
    if (!writes) {
      const a = e.tmp(e.read(dst!));
      compute(e, size, a, e.pin(e.readAs(src!, size)));
      return;
    }
    // xor r,r and sub r,r: the value does not matter
    if (dst!.kind === 'gpr' && src!.kind === 'gpr' && dst!.reg === src!.reg && dst!.high === src!.high) {
      if (name === 'xor' || name === 'sub') {
        if (size >= 4 && e.constantOperands) {
          e.write(dst!, k(size, 0));
          e.flags(L.CC_LOGIC, size, k(size, 0));
          return;
        }
      }
    }
    const b = e.pin(e.readAs(src!, size));
    e.update(dst!, (a) => compute(e, size, a, b));
  };
}

export const test: Semantics = (e, a, b) => {
  const size = e.size(a!);
  const x = e.tmp(e.read(a!));
  e.flags(L.CC_LOGIC, size, e.tmp(w.and(x, e.readAs(b!, size))));
};

export const inc: Semantics = (e, dst) => {
  const size = e.size(dst!);
  e.update(dst!, (a) => {
    const carry = e.tmp(e.carry());
    const r = e.tmp(e.cut(size, w.add(a, k(size, 1))));
    e.flags(L.CC_INC, size, r, undefined, carry);
    return r;
  });
};

export const dec: Semantics = (e, dst) => {
  const size = e.size(dst!);
  e.update(dst!, (a) => {
    const carry = e.tmp(e.carry());
    const r = e.tmp(e.cut(size, w.sub(a, k(size, 1))));
    e.flags(L.CC_DEC, size, r, undefined, carry);
    return r;
  });
};

export const neg: Semantics = (e, dst) => {
  const size = e.size(dst!);
  e.update(dst!, (a) => subtraction(e, size, k(size, 0), a));
};

export const not: Semantics = (e, dst) => {
  const size = e.size(dst!);
  e.update(dst!, (a) => e.cut(size, w.xor(a, k(size, -1))));
};

// --- shifts and rotates -----------------------------------------------------------------------------------------

const countMask = (size: Size): number => (size === 8 ? 63 : 31);

/** The masked count as i32 (SDM SAL/SAR/SHL/SHR). */
function shiftCount(e: Emitter, size: Size, count: Operand): Expr {
  const c = w.and(e.readAs(count, 1), countMask(size));
  return e.pin(c);
}

export function shift(kind: 'shl' | 'shr' | 'sar'): Semantics {
  return (e, dst, count) => {
    const size = e.size(dst!);
    const c = shiftCount(e, size, count!);
    e.update(dst!, (a) => {
      const value = kind === 'sar' ? e.tmp(e.signed(size, a)) : a;
      const move = kind === 'shl' ? w.shl : kind === 'shr' ? w.shrU : w.shrS;
      const r = e.tmp(e.cut(size, move(value, widen(size, c))));
      e.flagsIf(w.ne(c, 0), () => {
        const before = e.cut(size, move(value, widen(size, w.sub(c, 1))));
        e.flags(kind === 'shl' ? L.CC_SHL : L.CC_SHR, size, r, before);
      });
      return r;
    });
  };
}

const topBit = (size: Size, x: Expr): Expr =>
  size === 8 ? w.wrap(w.shrU(x, w.i64(63))) : w.and(w.shrU(x, size * 8 - 1), 1);
const secondBit = (size: Size, x: Expr): Expr =>
  size === 8 ? w.and(w.wrap(w.shrU(x, w.i64(62))), 1) : w.and(w.shrU(x, size * 8 - 2), 1);
const lowBit = (size: Size, x: Expr): Expr => w.and(size === 8 ? w.wrap(x) : x, 1);

export function rotate(left: boolean): Semantics {
  return (e, dst, count) => {
    const size = e.size(dst!);
    const c = shiftCount(e, size, count!);
    const turn = left ? w.rotl : w.rotr;
    e.update(dst!, (a) => {
      // 8 and 16 bits: repeat the value through 32 bits, and 32-bit rotation does the rest
      const full = size === 1 ? w.mul(a, 0x01010101) : size === 2 ? w.mul(a, 0x00010001) : a;
      const r = e.tmp(e.cut(size, turn(full, widen(size, c))));
      e.flagsIf(w.ne(c, 0), () => {
        const carry = e.tmp(left ? lowBit(size, r) : topBit(size, r));
        e.overrideCarry(carry, left ? w.xor(topBit(size, r), carry) : w.xor(carry, secondBit(size, r)));
      });
      return r;
    });
  };
}

export function rotateThroughCarry(left: boolean): Semantics {
  return (e, dst, count) => {
    const size = e.size(dst!);
    const c = e.tmp(shiftCount(e, size, count!));
    e.update(dst!, (a) => {
      const value = size === 8 ? a : w.zext(a);
      const carryIn = e.tmp(e.carry());
      const wide = e.tmp(e.rt(left ? 'rcl' : 'rcr', w.i32(size), value, c, carryIn));
      const r = e.tmp(size === 8 ? wide : w.wrap(wide));
      e.flagsIf(w.ne(c, 0), () => {
        const carry = e.tmp(e.rt('rotateCarry'));
        const overflow = left ? w.xor(topBit(size, r), carry) : w.xor(topBit(size, r), secondBit(size, r));
        e.overrideCarry(carry, overflow);
      });
      return r;
    });
  };
}

/** SHLD / SHRD. With 16 bits, counts above 16 are undefined by the manual; real parts rotate dst:src:dst. */
export function doubleShift(left: boolean): Semantics {
  return (e, dst, src, count) => {
    const size = e.size(dst!);
    const bits = size * 8;
    const c = shiftCount(e, size, count!);
    const other = e.tmp(e.read(src!));
    e.update(dst!, (a) => {
      let r: Expr;
      let before: Expr;
      if (size === 2) {
        // left: a:other:a shifted as 48 bits; right: a:other:a shifted right
        const a64 = w.zext(a);
        const o64 = w.zext(other);
        const joined = e.tmp(w.or(w.shl(a64, w.i64(32)), w.or(w.shl(o64, w.i64(16)), a64)));
        const n = w.zext(c);
        const one = w.sub(n, w.i64(1));
        const take = (x: Expr): Expr => w.wrap(w.and(x, w.i64(0xffff)));
        r = left ? take(w.shrU(w.shl(joined, n), w.i64(32))) : take(w.shrU(joined, n));
        before = left ? take(w.shrU(w.shl(joined, one), w.i64(32))) : take(w.shrU(joined, one));
      } else {
        const n = widen(size, c);
        const rest = w.and(w.sub(k(size, bits), n), k(size, bits - 1));
        const main = left ? w.shl(a, n) : w.shrU(a, n);
        const fill = left ? w.shrU(other, rest) : w.shl(other, rest);
        r = w.select(w.ne(c, 0), w.or(main, fill), a);
        const one = widen(size, w.sub(c, 1));
        before = left ? w.shl(a, one) : w.shrU(a, one);
      }
      const result = e.tmp(r);
      e.flagsIf(w.ne(c, 0), () => {
        // OF (sign changed) comes out right for a count of 1, the only one for which it is defined
        e.flags(left ? L.CC_SHL : L.CC_SHR, size, result, e.tmp(before));
      });
      return result;
    });
  };
}

// --- multiplication and division --------------------------------------------------------------------------------

/** High 64 bits of an unsigned 64 x 64 product, by four 32-bit multiplications. */
export function mulHighUnsigned(e: Emitter, a: Expr, b: Expr): Expr {
  const mask = w.i64(0xffffffff);
  const shift = w.i64(32);
  const a0 = e.tmp(w.and(a, mask));
  const a1 = e.tmp(w.shrU(a, shift));
  const b0 = e.tmp(w.and(b, mask));
  const b1 = e.tmp(w.shrU(b, shift));
  const low = e.tmp(w.mul(a0, b0));
  const middle = e.tmp(w.add(w.mul(a1, b0), w.shrU(low, shift)));
  const middle2 = e.tmp(w.add(w.mul(a0, b1), w.and(middle, mask)));
  return e.tmp(w.add(w.mul(a1, b1), w.add(w.shrU(middle, shift), w.shrU(middle2, shift))));
}

function mulHighSigned(e: Emitter, a: Expr, b: Expr): Expr {
  const high = mulHighUnsigned(e, a, b);
  const fixA = w.and(w.shrS(a, w.i64(63)), b);
  const fixB = w.and(w.shrS(b, w.i64(63)), a);
  return e.tmp(w.sub(w.sub(high, fixA), fixB));
}

/** MUL and one-operand IMUL. */
export function multiply(signed: boolean): Semantics {
  return (e, src) => {
    const size = e.size(src!);
    const b = e.tmp(e.read(src!));
    if (size === 8) {
      const a = e.tmp(e.gpr(0, 8));
      const low = e.tmp(w.mul(a, b));
      const high = signed ? mulHighSigned(e, a, b) : mulHighUnsigned(e, a, b);
      e.setGpr(0, 8, low);
      e.setGpr(2, 8, high);
      const over = signed ? w.xor(high, w.shrS(low, w.i64(63))) : high;
      e.flags(L.CC_MUL, 8, low, e.tmp(over));
      return;
    }
    const wide = (x: Expr): Expr => (signed ? w.sext(e.signed(size, x)) : w.zext(x));
    const product = e.tmp(w.mul(wide(e.gpr(0, size)), wide(b)));
    const low = e.tmp(e.cut(size, w.wrap(product)));
    const high = e.tmp(e.cut(size, w.wrap(w.shrU(product, w.i64(size * 8)))));
    if (size === 1) e.setGpr(0, 2, w.and(w.wrap(product), 0xffff));
    else {
      e.setGpr(0, size, low);
      e.setGpr(2, size, high);
    }
    const over = signed ? w.ne(product, w.sext(e.signed(size, low))) : w.ne(high, 0);
    e.flags(L.CC_MUL, size, low, over);
  };
}

/** IMUL with two or three operands. */
export const imul: Semantics = (e, dst, x, y) => {
  const size = e.size(dst!);
  const a = e.tmp(e.read(y === undefined ? dst! : x!));
  const b = e.tmp(e.readAs(y ?? x!, size));
  const wide = (value: Expr): Expr => e.tmp(size === 8 ? value : w.sext(e.signed(size, value)));
  const x64 = wide(a);
  const y64 = wide(b);
  const product = w.mul(x64, y64);
  const low = e.tmp(size === 8 ? product : e.cut(size, w.wrap(product)));
  e.write(dst!, low);
  // whether the product fits is worked out when somebody asks
  e.flags(L.CC_IMUL, size, low, x64, y64);
};

/** DIV and IDIV: #DE on zero and when the quotient does not fit. The flags are undefined: left alone. */
export function divide(signed: boolean): Semantics {
  return (e, src) => {
    const size = e.size(src!);
    const divisor = e.tmp(e.read(src!));
    if (size === 8) {
      const ok = e.rt(signed ? 'div128S' : 'div128U', e.gpr(2, 8), e.gpr(0, 8), divisor);
      e.raiseIf(w.eqz(ok), 0);
      e.setGpr(0, 8, e.rt('divQuotient'));
      e.setGpr(2, 8, e.rt('divRemainder'));
      return;
    }
    e.raiseIf(w.eqz(divisor), 0);
    const d = e.tmp(signed ? w.sext(e.signed(size, divisor)) : w.zext(divisor));
    let dividend: Expr;
    if (size === 1) dividend = signed ? w.sext(w.ext16(e.gpr(0, 2))) : w.zext(e.gpr(0, 2));
    else if (size === 2) {
      const joined = w.or(w.shl(e.gpr(2, 2), 16), e.gpr(0, 2));
      dividend = signed ? w.sext(joined) : w.zext(joined);
    } else dividend = w.or(w.shl(w.zext(e.gpr(2, 4)), w.i64(32)), w.zext(e.gpr(0, 4)));
    const n = e.tmp(dividend);
    if (signed && size === 4) {
      // the one signed division that WebAssembly traps on
      e.raiseIf(w.and(w.eq(n, w.i64(-(1n << 63n))), w.eq(d, w.i64(-1))), 0);
    }
    const q = e.tmp(signed ? w.divS(n, d) : w.divU(n, d));
    const back = signed ? w.sext(e.signed(size, w.wrap(q))) : w.zext(e.cut(size, w.wrap(q)));
    e.raiseIf(w.ne(q, back), 0);
    const r = e.tmp(signed ? w.remS(n, d) : w.remU(n, d));
    if (size === 1) {
      e.setGpr(0, 2, w.or(w.and(w.wrap(q), 0xff), w.shl(w.and(w.wrap(r), 0xff), 8)));
    } else {
      e.setGpr(0, size, e.cut(size, w.wrap(q)));
      e.setGpr(2, size, e.cut(size, w.wrap(r)));
    }
  };
}

// --- bits ---------------------------------------------------------------------------------------------------------

/** BT BTS BTR BTC. With a register index and a memory operand the index reaches beyond the operand. */
export function bitTest(kind: 'bt' | 'bts' | 'btr' | 'btc'): Semantics {
  return (e, dst, index) => {
    const size = e.size(dst!);
    const bits = size * 8;
    const change = (a: Expr, bit: Expr): Expr =>
      kind === 'bts' ? w.or(a, bit) : kind === 'btr' ? w.and(a, w.xor(bit, k(size, -1))) : w.xor(a, bit);
    const raw = e.tmp(e.readAs(index!, size));
    const n = e.tmp(w.and(raw, k(size, bits - 1)));
    const setCarry = (a: Expr): void => {
      const bit = w.and(w.shrU(a, n), k(size, 1));
      // only CF changes
      e.overrideCarry(size === 8 ? w.wrap(bit) : bit);
    };
    const mask = (): Expr => w.shl(k(size, 1), n);
    if (dst!.kind === 'mem' && index!.kind === 'gpr') {
      const full = size === 8 ? raw : w.sext(e.signed(size, raw));
      const shift = Math.log2(bits);
      const byteOffset = w.shl(w.shrS(full, w.i64(shift)), w.i64(Math.log2(size)));
      const va = e.linearWithOffset(byteOffset, size, kind !== 'bt');
      if (kind === 'bt') setCarry(e.tmp(e.loadAt(va, size)));
      else
        e.updateAt(va, size, (a) => {
          setCarry(a);
          return e.cut(size, change(a, mask()));
        });
      return;
    }
    if (kind === 'bt') setCarry(e.tmp(e.read(dst!)));
    else
      e.update(dst!, (a) => {
        setCarry(a);
        return e.cut(size, change(a, mask()));
      });
  };
}

/** BSF and BSR: with a zero source the destination keeps its value (AMD documents it, Intel does it). */
export function bitScan(forward: boolean): Semantics {
  return (e, dst, src) => {
    const size = e.size(dst!);
    const x = e.tmp(e.read(src!));
    const found = forward ? w.ctz(x) : w.sub(k(size, size === 8 ? 63 : 31), w.clz(x));
    const value = e.tmp(w.select(size === 8 ? w.ne(x, w.i64(0)) : x, found, e.read(dst!)));
    if (size === 4) {
      // a zero source leaves even the upper half of a 32-bit destination alone
      const keep = e.tmp(e.gprOf(dst!));
      e.setGprOf(dst!, w.select(x, w.zext(value), keep));
    } else e.write(dst!, value);
    e.flags(L.CC_LOGIC, size, x);
  };
}

/** TZCNT, LZCNT: CF = source zero, ZF = result zero. */
export function countZeros(trailing: boolean): Semantics {
  return (e, dst, src) => {
    const size = e.size(dst!);
    const x = e.tmp(e.read(src!));
    let count: Expr;
    if (size === 2) count = trailing ? w.ctz(w.or(x, 0x10000)) : w.sub(w.clz(x), 16);
    else count = trailing ? w.ctz(x) : w.clz(x);
    const r = e.tmp(count);
    e.write(dst!, r);
    e.flagBits(w.or(w.eqz(x), w.shl(w.eqz(r), 6)));
  };
}

export const popcnt: Semantics = (e, dst, src) => {
  const x = e.tmp(e.read(src!));
  e.write(dst!, w.popcnt(x));
  e.flagBits(w.shl(w.eqz(x), 6));
};

export const bswap: Semantics = (e, dst) => {
  e.write(dst!, byteSwap(e, e.size(dst!), e.tmp(e.read(dst!))));
};

export function byteSwap(e: Emitter, size: Size, x: Expr): Expr {
  // BSWAP of 16 bits is undefined; real parts give 0. MOVBE swaps its two bytes (see movbe).
  if (size === 2) return w.i32(0);
  const swap32 = (v: Expr): Expr =>
    w.or(w.and(w.rotl(v, 8), 0x00ff00ff), w.and(w.rotl(v, 24), 0xff00ff00 | 0));
  if (size === 4) return swap32(x);
  const low = e.tmp(w.wrap(x));
  const high = e.tmp(w.wrap(w.shrU(x, w.i64(32))));
  return w.or(w.shl(w.zext(swap32(low)), w.i64(32)), w.zext(swap32(high)));
}

export const movbe: Semantics = (e, dst, src) => {
  const size = e.size(dst!);
  const x = e.tmp(e.read(src!));
  e.write(dst!, size === 2 ? w.and(w.or(w.shrU(x, 8), w.shl(x, 8)), 0xffff) : byteSwap(e, size, x));
};

// --- exchange and add -------------------------------------------------------------------------------------------

export const xadd: Semantics = (e, dst, src) => {
  const size = e.size(dst!);
  const b = e.tmp(e.read(src!));
  const sameRegister = dst!.kind === 'gpr';
  let old: Expr | undefined;
  e.update(dst!, (a) => {
    old = a;
    const r = addition(e, size, a, b);
    // The register source is written first, so that XADD r,r leaves the sum.
    if (sameRegister) e.write(src!, a);
    return r;
  });
  if (!sameRegister) e.write(src!, old!);
};

export const cmpxchg: Semantics = (e, dst, src) => {
  const size = e.size(dst!);
  const wanted = e.tmp(e.gpr(0, size));
  const value = e.tmp(e.read(src!));
  if (dst!.kind === 'gpr') {
    const old = e.tmp(e.read(dst!));
    const equal = e.tmp(w.eq(old, wanted));
    subtraction(e, size, wanted, old);
    e.f.if(
      equal,
      () => e.write(dst!, value),
      () => e.setGpr(0, size, old),
    );
    return;
  }
  e.update(dst!, (old) => {
    const equal = e.tmp(w.eq(old, wanted));
    subtraction(e, size, wanted, old);
    // RAX changes only when they differ; with 32 bits an equal compare leaves its upper half alone.
    e.f.if(w.eqz(equal), () => e.setGpr(0, size, old));
    return w.select(equal, value, old);
  });
};

/** CMPXCHG8B: 64 bits in memory against EDX:EAX, ECX:EBX. Only ZF changes. */
export const cmpxchg8b: Semantics = (e, dst) => {
  const join = (high: number, low: number): Expr =>
    w.or(w.shl(w.zext(e.gpr(high, 4)), w.i64(32)), w.zext(e.gpr(low, 4)));
  const wanted = e.tmp(join(2, 0));
  const value = e.tmp(join(1, 3));
  e.update(dst!, (old) => {
    const equal = e.tmp(w.eq(old, wanted));
    e.flagBits(w.or(w.and(e.arithmeticFlags(), ~ZF), w.shl(equal, 6)));
    e.f.if(w.eqz(equal), () => {
      e.setGpr(0, 4, w.wrap(old));
      e.setGpr(2, 4, w.wrap(w.shrU(old, w.i64(32))));
    });
    return w.select(equal, value, old);
  });
};

/** CMPXCHG16B; #GP when not aligned to 16. */
export const cmpxchg16b: Semantics = (e) => {
  const va = e.linear(16, true);
  e.raiseIf(w.and(w.wrap(va), 15), 13, 0);
  const wantedLow = e.tmp(e.gpr(0, 8));
  const wantedHigh = e.tmp(e.gpr(2, 8));
  e.updateAt(va, 16, (old) => {
    const low = e.tmp(w.simd('i64', 0x1d, [old], [0]));
    const high = e.tmp(w.simd('i64', 0x1d, [old], [1]));
    const equal = e.tmp(w.and(w.eq(low, wantedLow), w.eq(high, wantedHigh)));
    e.flagBits(w.or(w.and(e.arithmeticFlags(), ~ZF), w.shl(equal, 6)));
    e.f.if(w.eqz(equal), () => {
      e.setGpr(0, 8, low);
      e.setGpr(2, 8, high);
    });
    const value = w.simd('v128', 0x1e, [w.simd('v128', 0x12, [e.gpr(3, 8)]), e.gpr(1, 8)], [1]);
    return w.select(equal, value, old);
  });
};

export const crc32: Semantics = (e, dst, src) => {
  const size = e.size(src!);
  const data = e.read(src!);
  const accumulator = e.size(dst!) === 8 ? w.wrap(e.read(dst!)) : e.read(dst!);
  const crc = e.tmp(e.rt('crc32', accumulator, size === 8 ? data : w.zext(data), w.i32(size)));
  e.write(dst!, e.size(dst!) === 8 ? w.zext(crc) : crc);
};
