/** Definitions of moves, stack operations, flag instructions and near control transfers. Intel SDM volume 2. */
import type { Expr } from '../../wasm/expr.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';
import type { Emitter, Semantics, Size } from './emitter.ts';
import { AF, CF, k, OF, PF, SF, ZF } from './integer.ts';

export const mov: Semantics = (e, dst, src) => e.write(dst!, e.readOnce(src!, e.size(dst!)));

export const movzx: Semantics = (e, dst, src) => {
  const x = e.readOnce(src!, e.size(src!));
  e.write(dst!, e.size(dst!) === 8 ? w.zext(x) : x);
};

export const movsx: Semantics = (e, dst, src) => {
  const size = e.size(dst!);
  const x = e.signed(e.size(src!), e.readOnce(src!, e.size(src!)));
  e.write(dst!, size === 8 ? w.sext(x) : e.cut(size, x));
};

/** MOVSXD: with a 16 or 32-bit operand size a plain move. */
export const movsxd: Semantics = (e, dst, src) => {
  const size = e.size(dst!);
  const x = e.readOnce(src!, e.size(src!));
  e.write(dst!, size === 8 ? w.sext(x) : e.cut(size, x));
};

export const lea: Semantics = (e, dst) => {
  const size = e.size(dst!);
  const ea = e.effectiveAddress();
  e.write(dst!, size === 8 ? ea : e.cut(size, w.wrap(ea)));
};

export const xchg: Semantics = (e, dst, src) => {
  const b = e.tmp(e.read(src!));
  if (dst!.kind === 'gpr') {
    const a = e.tmp(e.read(dst!));
    e.write(dst!, b);
    e.write(src!, a);
    return;
  }
  let old: Expr | undefined;
  e.update(dst!, (a) => {
    old = a;
    return b;
  });
  e.write(src!, old!);
};

export const nop: Semantics = () => {};

export const setcc =
  (cc: number): Semantics =>
  (e, dst) =>
    e.write(dst!, e.tmp(e.condition(cc)));

/** CMOVcc: the source is read in any case, and a 32-bit destination is always zero-extended. */
export const cmovcc =
  (cc: number): Semantics =>
  (e, dst, src) => {
    const x = e.tmp(e.read(src!));
    e.write(dst!, w.select(e.condition(cc), x, e.read(dst!)));
  };

/** CBW CWDE CDQE */
export const extendAccumulator: Semantics = (e) => {
  const size = e.insn.opsize;
  if (size === 8) e.setGpr(0, 8, w.sext(e.gpr(0, 4)));
  else if (size === 4) e.setGpr(0, 4, w.ext16(e.gpr(0, 2)));
  else e.setGpr(0, 2, w.and(w.ext8(e.gpr(0, 1)), 0xffff));
};

/** CWD CDQ CQO */
export const extendToD: Semantics = (e) => {
  const size = e.insn.opsize;
  if (size === 8) e.setGpr(2, 8, w.shrS(e.gpr(0, 8), w.i64(63)));
  else if (size === 4) e.setGpr(2, 4, w.shrS(e.gpr(0, 4), 31));
  else e.setGpr(2, 2, w.and(w.shrS(w.ext16(e.gpr(0, 2)), 15), 0xffff));
};

export const xlat: Semantics = (e) => {
  const size = e.insn.addrsize;
  const base = e.gpr(3, size === 8 ? 8 : size);
  const al = e.gpr(0, 1);
  const ea = size === 8 ? w.add(base, w.zext(al)) : w.zext(e.cut(size, w.add(base, al)));
  const seg = e.insn.segOverride < 0 ? 3 : e.insn.segOverride;
  const va = e.linearOf(seg, ea, 1, false);
  e.setGpr(0, 1, e.tmp(e.loadAt(va, 1)));
};

// --- stack ----------------------------------------------------------------------------------------------------------

export const push: Semantics = (e, src) => {
  const size = e.insn.opsize;
  e.push(size, e.readAs(src!, size));
};

/** POP: a memory destination is addressed with RSP already moved (SDM POP). */
export const pop: Semantics = (e, dst) => {
  const size = e.insn.opsize;
  if (dst!.kind === 'gpr') {
    const value = e.pop(size);
    e.write(dst!, value);
    return;
  }
  const value = e.peek(0, size);
  const before = e.tmp(e.gpr(4, 8));
  e.stackTop(size).commit();
  const after = e.tmp(e.gpr(4, 8));
  // If the write fails, RSP must be as it was: compute the address with the new RSP, write with the old one.
  const ea = e.tmp(e.effectiveAddress());
  e.setGpr(4, 8, before);
  const va = e.linear(size, true, ea);
  e.storeAt(va, size, value);
  e.setGpr(4, 8, after);
};

export const leave: Semantics = (e) => {
  if (!e.long) {
    e.callHelper('op_leave');
    return;
  }
  const size = e.insn.opsize;
  const at = e.tmp(e.gpr(5, 8));
  const value = e.tmp(e.loadAt(at, size));
  e.setGpr(4, 8, w.add(at, w.i64(size)));
  e.setGpr(5, size, value);
};

// --- control transfers ---------------------------------------------------------------------------------------------

export const jmp: Semantics = (e, target) => e.jumpRelative(target!);
export const jcc =
  (cc: number): Semantics =>
  (e, target) =>
    e.jumpIf(e.condition(cc), target!);

const toRip = (size: Size, x: Expr): Expr => (size === 8 ? x : w.zext(x));

export const jmpIndirect: Semantics = (e, target) => {
  e.jumpTo(toRip(e.size(target!), e.tmp(e.read(target!))));
};

export const call: Semantics = (e, target) => {
  const size = e.insn.opsize;
  const next = e.nextRip();
  e.push(size, size === 8 ? next : e.cut(size, w.wrap(next)));
  e.jumpCall(target!);
};

export const callIndirect: Semantics = (e, target) => {
  const size = e.insn.opsize;
  const to = e.tmp(toRip(e.size(target!), e.read(target!)));
  const next = e.nextRip();
  e.push(size, size === 8 ? next : e.cut(size, w.wrap(next)));
  e.jumpCall(to);
};

export const ret: Semantics = (e, count) => {
  const size = e.insn.opsize;
  const to = e.pop(size);
  if (count !== undefined) {
    if (e.long) e.setGpr(4, 8, w.add(e.gpr(4, 8), w.zext(e.readAs(count, 2))));
    else {
      // the stack pointer may be 16 bits wide: only those change
      const wide = w.and(w.load32(w.i32(0), L.MODE), 3 << L.MODE_STACK_SHIFT);
      const moved = e.tmp(w.add(e.gpr(4, 4), e.readAs(count, 2)));
      e.setGpr(4, 4, w.select(wide, moved, w.or(w.and(e.gpr(4, 4), 0xffff0000 | 0), w.and(moved, 0xffff))));
    }
  }
  e.jumpReturn(toRip(size, to));
};

/** LOOP LOOPE LOOPNE (count register of the address size) and JCXZ/JECXZ/JRCXZ. */
export const loop =
  (kind: 'loop' | 'loope' | 'loopne' | 'jcxz'): Semantics =>
  (e, target) => {
    const size = e.insn.addrsize;
    if (kind === 'jcxz') {
      e.jumpIf(w.eqz(e.gpr(1, size)), target!);
      return;
    }
    const count = e.tmp(e.cut(size, w.sub(e.gpr(1, size), k(size, 1))));
    const zero = kind === 'loop' ? undefined : e.tmp(e.condition(kind === 'loope' ? 4 : 5));
    e.setGpr(1, size, count);
    const more = w.eqz(w.eqz(count));
    e.jumpIf(zero === undefined ? more : w.and(more, zero), target!);
  };

// --- flags ----------------------------------------------------------------------------------------------------------

export const changeCarry =
  (kind: 'clc' | 'stc' | 'cmc'): Semantics =>
  (e) => {
    e.overrideCarry(kind === 'cmc' ? w.xor(e.carry(), 1) : w.i32(kind === 'stc' ? 1 : 0));
  };

const DF = 0x400;
export const changeDirection =
  (set: boolean): Semantics =>
  (e) => {
    const flags = e.systemFlags();
    e.f.store32(w.i32(0), set ? w.or(flags, DF) : w.and(flags, ~DF), L.EFLAGS);
  };

export const lahf: Semantics = (e) => {
  setHighA(e, w.or(w.and(e.arithmeticFlags(), 0xff), 2));
};

function setHighA(e: Emitter, x: Expr): void {
  e.setGpr(0, 2, w.or(e.gpr(0, 1), w.shl(x, 8)));
}

export const sahf: Semantics = (e) => {
  const ah = w.shrU(e.gpr(0, 2), 8);
  e.flagBits(w.or(w.and(e.arithmeticFlags(), OF), w.and(ah, SF | ZF | AF | PF | CF)));
};

/** SALC, undocumented: AL = CF ? FFh : 0. */
export const salc: Semantics = (e) => e.setGpr(0, 1, w.and(w.sub(w.i32(0), e.carry()), 0xff));
