/**
 * The interpreter's reading of the instruction definitions: one small function for each form, which takes its
 * operands from a decoded record (layout.ts, REC_*) and works on the state in memory.
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import type { ImmOperand, Insn, Operand } from '../decode/insn.ts';
import { hasAddress } from '../decode/record.ts';
import * as L from '../layout.ts';
import { Emitter, MEMORY_OPERAND, type RuntimeImports, type Size } from '../semantics/emitter.ts';
import type { FlagSource } from '../semantics/flags.ts';

/** Operands of a handler remember which register slot of the record is theirs. */
type Slotted = { slot?: number };

const SLOT_OFFSET = [L.REC_R0, L.REC_R1, L.REC_R2];
const STORES = { 1: 'store8', 2: 'store16', 4: 'store32', 8: 'store64' } as const;

export class InterpreterEmitter extends Emitter {
  readonly constantOperands = false;
  readonly #record: LocalGet;
  readonly #callHelper: (name: string) => number;

  constructor(
    f: FunctionBuilder,
    long: boolean,
    runtime: RuntimeImports,
    callHelper: (name: string) => number,
  ) {
    super(f, long, runtime);
    this.#record = f.param(0);
    this.#callHelper = callHelper;
  }

  /** Writes the handler for `insn`'s form. */
  define(insn: Insn): void {
    this.insn = insn;
    const operands = insn.operands.map((operand, slot) => ({ ...operand, slot }));
    insn.def.semantics!(this, ...(operands as Operand[]));
    this.f.return(w.i32(L.NEXT));
  }

  #slotAddress(operand: Operand): Expr {
    return w.load16u(this.#record, SLOT_OFFSET[(operand as Slotted).slot!]!);
  }

  gpr(reg: number, size: Size): Expr {
    return load(w.i32(0), size, L.GPR + 8 * reg);
  }
  setGpr(reg: number, size: Size, x: Expr): void {
    this.#store(w.i32(0), size, x, L.GPR + 8 * reg);
  }

  protected readRegister(operand: Operand & { kind: 'gpr' }): Expr {
    return load(this.#slotAddress(operand), operand.size, 0);
  }
  protected writeRegister(operand: Operand & { kind: 'gpr' }, x: Expr): void {
    this.#store(this.#slotAddress(operand), operand.size, x, 0);
  }

  /** A 32-bit write clears the upper half (SDM volume 1, 3.4.1.1). */
  #store(address: Expr, size: Size, x: Expr, offset: number): void {
    switch (size) {
      case 1:
        return this.f.store8(address, x, offset);
      case 2:
        return this.f.store16(address, x, offset);
      case 4:
        return this.f.store64(address, w.zext(x), offset);
      default:
        return this.f.store64(address, x, offset);
    }
  }

  xmm(reg: number): Expr {
    return w.load128(w.i32(0), L.XMM + 16 * reg);
  }
  setXmm(reg: number, x: Expr): void {
    this.f.store128(w.i32(0), x, L.XMM + 16 * reg);
  }
  protected readXmm(operand: Operand & { kind: 'xmm' }): Expr {
    return w.load128(this.#slotAddress(operand));
  }
  protected writeXmm(operand: Operand & { kind: 'xmm' }, x: Expr): void {
    this.f.store128(this.#slotAddress(operand), x);
  }
  protected mmxAddress(operand: Operand & { kind: 'mmx' }): Expr {
    return this.#slotAddress(operand);
  }

  effectiveAddress(): Expr {
    const base = w.load64(w.load16u(this.#record, L.REC_BASE));
    const index = w.load64(w.load16u(this.#record, L.REC_INDEX));
    const scale = w.zext(w.load8u(this.#record, L.REC_SCALE));
    const displacement = hasAddress(this.insn.def)
      ? w.load64(this.#record, L.REC_ADDRESS)
      : w.sext(w.load32(this.#record, L.REC_DISP));
    const sum = w.add(w.add(base, w.shl(index, scale)), displacement);
    if (this.insn.addrsize === 8) return sum;
    return w.and(sum, w.i64(this.insn.addrsize === 4 ? 0xffffffff : 0xffff));
  }

  protected segmentBase(): Expr | undefined {
    return w.load64(w.load16u(this.#record, L.REC_SEGBASE));
  }

  protected override segmented(seg: number, offset: Expr, size: number, write: boolean): LocalGet {
    const number = seg === MEMORY_OPERAND ? w.load8u(this.#record, L.REC_SEG) : w.i32(seg);
    const linear = this.tmp(this.rt('segLinear', number, offset, w.i32(size), w.i32(write ? 1 : 0)));
    this.f.if(w.eq(linear, w.i64(-1)), () => this.fail());
    return linear;
  }

  protected immediate(operand: ImmOperand, size: Size): Expr {
    void operand;
    if (this.insn.mem === undefined) return load(this.#record, size, L.REC_IMM);
    if (size === 8) return w.sext(w.load32(this.#record, L.REC_MEM_IMM));
    return load(this.#record, size, L.REC_MEM_IMM);
  }

  protected readPointer(va: LocalGet, size: number): Expr {
    const address = this.tmp(this.rt('readAddress', va, w.i32(size)));
    this.f.if(w.eqz(address), () => this.fail());
    return address;
  }

  protected writeMemory(va: LocalGet, size: number, x: Expr): void {
    if (size === 16) {
      const v = this.tmp(x);
      const low = w.simd('i64', 0x1d, [v], [0]);
      const high = w.simd('i64', 0x1d, [v], [1]);
      this.f.if(w.eqz(this.rt('storeSlow128', va, low, high)), () => this.fail());
      return;
    }
    this.f.if(w.eqz(this.rt(STORES[size as Size], va, x)), () => this.fail());
  }

  protected updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void } {
    const address = this.tmp(this.rt('updateAddress', va, w.i32(size)));
    this.f.if(w.eqz(address), () => this.fail());
    return {
      address,
      done: () => this.f.if(w.eq(address, w.i32(L.BOUNCE)), () => this.f.drop(this.rt('rmwCommit'))),
    };
  }

  fail(): void {
    this.f.return(w.i32(L.EXCEPTION));
  }
  raise(vector: number, error = -1): void {
    this.f.drop(this.rt('raise', w.i32(vector), w.i32(error)));
    this.fail();
  }

  protected setLazyFlags(op: number, dst: Expr, src?: Expr, src2?: Expr): void {
    // The new values may be computed from the old ones: all of them first.
    const values = [dst, src, src2].map((x) => (x === undefined ? undefined : this.tmp(x)));
    const zero = w.i32(0);
    this.f.store32(zero, w.i32(op), L.CC_OP);
    for (const [i, value] of values.entries())
      if (value !== undefined) this.f.store64(zero, value, L.CC_DST + 8 * i);
  }
  overrideCarry(carry: Expr, overflow?: Expr): void {
    const zero = w.i32(0);
    const op = w.load32(zero, L.CC_OP);
    const cf = w.or(w.shl(carry, L.CC_CARRY_SHIFT), L.CC_OVER_CF);
    const value =
      overflow === undefined
        ? w.or(w.and(op, ~L.CC_CARRY), cf)
        : w.or(w.and(op, 0xff), w.or(cf, w.or(w.shl(overflow, L.CC_OVERFLOW_SHIFT), L.CC_OVER_OF)));
    this.f.store32(zero, value, L.CC_OP);
  }
  overrideOverflow(overflow: Expr): void {
    const zero = w.i32(0);
    const kept = w.and(w.load32(zero, L.CC_OP), ~L.CC_OVERFLOW);
    this.f.store32(zero, w.or(kept, w.or(w.shl(overflow, L.CC_OVERFLOW_SHIFT), L.CC_OVER_OF)), L.CC_OP);
  }
  protected flagSource(): FlagSource {
    const zero = w.i32(0);
    return {
      known: undefined,
      op: w.load32(zero, L.CC_OP),
      dst: w.load64(zero, L.CC_DST),
      src: w.load64(zero, L.CC_SRC),
      src2: w.load64(zero, L.CC_SRC2),
    };
  }
  flagsIf(condition: Expr, body: () => void): void {
    this.f.if(condition, body);
  }

  // Linear addresses count from VBASE; RIP is relative to CS, whose base is 0 in 64-bit code.
  #ripFromPage(offset: Expr): Expr {
    const linear = w.add(w.load64(w.i32(0), L.VBASE), offset);
    if (this.long) return linear;
    return w.and(
      w.sub(linear, w.load64(w.i32(0), L.SEG_BASE + 8)),
      w.i64(this.insn.opsize === 2 ? 0xffff : 0xffffffff),
    );
  }
  nextRip(): Expr {
    const offset = w.add(
      w.zext(w.load16u(this.#record, L.REC_OFFSET)),
      w.zext(w.load8u(this.#record, L.REC_LENGTH)),
    );
    return this.tmp(this.#ripFromPage(offset));
  }
  jumpTo(rip: Expr): void {
    const masked = this.long || this.insn.opsize !== 2 ? rip : w.and(rip, w.i64(0xffff));
    this.f.store64(w.i32(0), masked, L.RIP);
    this.f.return(w.i32(L.END_BLOCK));
  }
  jumpRelative(_operand: Operand): void {
    this.jumpTo(this.#ripFromPage(w.load64(this.#record, L.REC_IMM)));
  }
  jumpIf(condition: Expr, operand: Operand): void {
    this.f.if(condition, () => this.jumpRelative(operand));
    this.jumpTo(this.nextRip());
  }
  jumpCall(target: Operand | Expr): void {
    if ('kind' in target) this.jumpRelative(target);
    else this.jumpTo(target);
  }
  jumpReturn(rip: Expr): void {
    this.jumpTo(rip);
  }
  callHelper(name: string): void {
    this.f.return(w.call('i32', this.#callHelper(name), [this.#record]));
  }
}

function load(address: Expr, size: Size, offset: number): Expr {
  switch (size) {
    case 1:
      return w.load8u(address, offset);
    case 2:
      return w.load16u(address, offset);
    case 4:
      return w.load32(address, offset);
    default:
      return w.load64(address, offset);
  }
}
