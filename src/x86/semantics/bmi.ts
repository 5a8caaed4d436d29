/** BMI1, BMI2 and ADX: bit-manipulation instructions on general registers. Intel SDM volume 2. */
import type { Expr } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';
import type { Semantics, Size } from './emitter.ts';
import { CF, k, mulHighUnsigned, OF, widen } from './integer.ts';

export const andn: Semantics = (e, dst, a, b) => {
  const size = e.size(dst!);
  const y = e.tmp(e.read(b!));
  const r = e.tmp(w.and(w.xor(e.read(a!), k(size, -1)), y));
  e.write(dst!, r);
  e.flags(L.CC_LOGIC, size, r);
};

/** BLSI BLSR BLSMSK: CF says whether the source was zero (BLSI: not zero). */
export function lowestBit(kind: 'blsi' | 'blsr' | 'blsmsk'): Semantics {
  return (e, dst, src) => {
    const size = e.size(dst!);
    const x = e.tmp(e.read(src!));
    const less = w.sub(x, k(size, 1));
    const r = e.tmp(
      kind === 'blsi' ? w.and(x, w.sub(k(size, 0), x)) : kind === 'blsr' ? w.and(x, less) : w.xor(x, less),
    );
    e.write(dst!, r);
    const carry = kind === 'blsi' ? w.eqz(w.eqz(x)) : w.eqz(x);
    const sign = size === 8 ? w.wrap(w.shrU(r, w.i64(63))) : w.shrU(r, 31);
    e.flagBits(w.or(carry, w.or(w.shl(w.eqz(r), 6), w.shl(sign, 7))));
  };
}

export const bextr: Semantics = (e, dst, src, control) => {
  const size = e.size(dst!);
  const bits = size * 8;
  const x = e.tmp(e.read(src!));
  const c = e.read(control!);
  const control32 = e.tmp(size === 8 ? w.wrap(c) : c);
  const start = e.tmp(w.and(control32, 0xff));
  const length = e.tmp(w.and(w.shrU(control32, 8), 0xff));
  const shifted = w.select(w.ltU(start, bits), w.shrU(x, widen(size, start)), k(size, 0));
  const mask = w.select(
    w.ltU(length, bits),
    w.sub(w.shl(k(size, 1), widen(size, length)), k(size, 1)),
    k(size, -1),
  );
  const r = e.tmp(w.and(shifted, mask));
  e.write(dst!, r);
  e.flagBits(w.shl(w.eqz(r), 6));
};

export const bzhi: Semantics = (e, dst, src, index) => {
  const size = e.size(dst!);
  const bits = size * 8;
  const x = e.tmp(e.read(src!));
  const i = e.read(index!);
  const n = e.tmp(w.and(size === 8 ? w.wrap(i) : i, 0xff));
  const mask = w.sub(w.shl(k(size, 1), widen(size, n)), k(size, 1));
  const r = e.tmp(w.select(w.ltU(n, bits), w.and(x, mask), x));
  e.write(dst!, r);
  const sign = size === 8 ? w.wrap(w.shrU(r, w.i64(63))) : w.shrU(r, 31);
  e.flagBits(w.or(w.geU(n, bits), w.or(w.shl(w.eqz(r), 6), w.shl(sign, 7))));
};

/** MULX: low half to the second operand, high half to the first (which wins when they are the same). No flags. */
export const mulx: Semantics = (e, high, low, src) => {
  const size = e.size(high!);
  const b = e.tmp(e.read(src!));
  const a = e.tmp(e.gpr(2, size));
  if (size === 8) {
    const top = mulHighUnsigned(e, a, b);
    e.write(low!, w.mul(a, b));
    e.write(high!, top);
  } else {
    const product = e.tmp(w.mul(w.zext(a), w.zext(b)));
    e.write(low!, w.wrap(product));
    e.write(high!, w.wrap(w.shrU(product, w.i64(32))));
  }
};

export function depositExtract(name: 'pdep' | 'pext'): Semantics {
  return (e, dst, src, mask) => {
    const size = e.size(dst!);
    const m = e.tmp(e.read(mask!));
    const wide = (x: Expr): Expr => (size === 8 ? x : w.zext(x));
    const r = e.rt(name, wide(e.read(src!)), wide(m));
    e.write(dst!, size === 8 ? r : w.wrap(r));
  };
}

export const rorx: Semantics = (e, dst, src, count) => {
  const size = e.size(dst!);
  const x = e.tmp(e.read(src!));
  e.write(dst!, w.rotr(x, widen(size, w.and(e.readAs(count!, 1), size * 8 - 1))));
};

export function shiftWithoutFlags(kind: 'shlx' | 'shrx' | 'sarx'): Semantics {
  return (e, dst, src, count) => {
    const size = e.size(dst!);
    const x = e.tmp(e.read(src!));
    const move = kind === 'shlx' ? w.shl : kind === 'shrx' ? w.shrU : w.shrS;
    e.write(dst!, move(x, w.and(e.read(count!), k(size, size * 8 - 1))));
  };
}

/** ADCX (CF) and ADOX (OF): add with one flag as carry, in and out; the other flags stay. */
export function addWithOneFlag(flag: typeof CF | typeof OF): Semantics {
  return (e, dst, src) => {
    const size = e.size(dst!);
    const b = e.tmp(e.read(src!));
    const carry = e.tmp(flag === CF ? e.carry() : e.condition(0));
    const a = e.tmp(e.read(dst!));
    const r = e.tmp(w.add(w.add(a, b), widen(size, carry)));
    e.write(dst!, r);
    const out = e.tmp(carryOut(size, a, b, r));
    if (flag === CF) e.overrideCarry(out);
    else e.overrideOverflow(out);
  };
}

/** The carry out of a sum `r` of `a`, `b` and a carry: where both have their top bit, or one of them and the sum not. */
function carryOut(size: Size, a: Expr, b: Expr, r: Expr): Expr {
  const carries = w.or(w.and(a, b), w.and(w.or(a, b), w.xor(r, k(size, -1))));
  return size === 8 ? w.wrap(w.shrU(carries, w.i64(63))) : w.shrU(carries, 31);
}
