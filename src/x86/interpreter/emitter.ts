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
import {
  Emitter,
  MEMORY_OPERAND,
  type RuntimeImports,
  type Size,
  storeBySize,
} from '../semantics/emitter.ts';
import type { FlagSource } from '../semantics/flags.ts';

/** Operands of a handler remember which register slot of the record is theirs. */
type Slotted = { slot?: number };

const SLOT_OFFSET = [L.REC_R0, L.REC_R1, L.REC_R2];
/** For what the TLB does not hold. */
const STORES = { 1: 'storeSlow8', 2: 'storeSlow16', 4: 'storeSlow32', 8: 'storeSlow64' } as const;

export class InterpreterEmitter extends Emitter {
  readonly constantOperands = false;
  readonly #record: LocalGet;
  readonly #callHelper: (name: string) => number;
  readonly #thread: Thread | undefined;
  /** It accesses memory: that may set BREAK. */
  #mayBreak = false;
  /** The flags that the first of two instructions has set. */
  #flags: FlagSource | undefined;

  constructor(
    f: FunctionBuilder,
    long: boolean,
    runtime: RuntimeImports,
    callHelper: (name: string) => number,
    thread?: Thread,
  ) {
    super(f, long, runtime);
    this.#record = f.param(0);
    this.#callHelper = callHelper;
    this.#thread = thread;
  }

  /** Writes the handler for `insn`'s form, or for that and the one of another instruction behind it. */
  define(insn: Insn, second?: Insn): void {
    this.insn = insn;
    const operands = insn.operands.map((operand, slot) => ({ ...operand, slot }));
    insn.def.semantics!(this, ...(operands as Operand[]));
    if (second === undefined) {
      next(this.f, this.#thread, this.#mayBreak);
      return;
    }
    if (this.#mayBreak) this.f.ifRarely(w.load32(w.i32(0), L.BREAK), () => this.#return(L.NEXT));
    this.#mayBreak = false;
    this.f.set(this.#record, w.add(this.#record, L.REC_BYTES));
    this.define(second);
  }

  #return(status: number): void {
    this.f.return(w.or(this.#record, status));
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
    return this.#address(va, size, L.TLB_READ, 'loadSlow');
  }

  protected writeMemory(va: LocalGet, size: number, x: Expr): void {
    if (size === 16) {
      const v = this.tmp(x);
      const low = w.simd('i64', 0x1d, [v], [0]);
      const high = w.simd('i64', 0x1d, [v], [1]);
      const slowly = (): void => this.failIf(w.eqz(this.rt('storeSlow128', va, low, high)));
      this.#probe(va, 16, L.TLB_WRITE, (address) => this.f.store128(address, v), slowly);
      return;
    }
    const value = this.pin(x);
    this.#probe(
      va,
      size,
      L.TLB_WRITE,
      (address) => storeBySize(this.f, address, size, value),
      () => this.failIf(w.eqz(this.rt(STORES[size as Size], va, value))),
    );
  }

  protected updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void } {
    const address = this.#address(va, size, L.TLB_WRITE, 'rmwSlow');
    return {
      address,
      done: () => this.f.ifRarely(w.eq(address, w.i32(L.BOUNCE)), () => this.f.drop(this.rt('rmwCommit'))),
    };
  }

  /** Looks `va` up in the TLB; `quickly` is given its address in this memory if it is there for accesses of this kind. */
  #probe(
    va: LocalGet,
    size: number,
    tag: number,
    quickly: (address: Expr) => void,
    slowly: () => void,
  ): void {
    this.#mayBreak = true;
    const index = w.and(
      w.wrap(w.shrU(va, w.i64(12 - L.TLB_ENTRY_SHIFT))),
      (L.TLB_ENTRIES - 1) << L.TLB_ENTRY_SHIFT,
    );
    const entry = this.tmp(w.add(w.load32(w.i32(0), L.TLB_BASE), index));
    // the page of the last byte: an access across two pages misses
    const page = w.and(size === 1 ? va : w.add(va, w.i64(size - 1)), w.i64(-4096));
    const address = w.add(w.wrap(va), w.load32(entry, L.TLB_ADDEND));
    this.f.if(w.eq(w.load64(entry, tag), page), () => quickly(address), slowly, true);
  }

  #address(va: LocalGet, size: number, tag: number, slow: 'loadSlow' | 'rmwSlow'): LocalGet {
    const found = this.f.local('i32');
    this.#probe(
      va,
      size,
      tag,
      (address) => this.f.set(found, address),
      () => {
        this.f.set(found, this.rt(slow, va, w.i32(size)));
        this.failIf(w.eqz(found));
      },
    );
    return found;
  }

  fail(): void {
    this.#return(L.EXCEPTION);
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
    const [d, s = w.load64(zero, L.CC_SRC), s2 = w.load64(zero, L.CC_SRC2)] = values;
    this.#flags = { known: op, op: w.i32(op), dst: d!, src: s, src2: s2 };
  }
  overrideCarry(carry: Expr, overflow?: Expr): void {
    this.#flags = undefined;
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
    this.#flags = undefined;
    const zero = w.i32(0);
    const kept = w.and(w.load32(zero, L.CC_OP), ~L.CC_OVERFLOW);
    this.f.store32(zero, w.or(kept, w.or(w.shl(overflow, L.CC_OVERFLOW_SHIFT), L.CC_OVER_OF)), L.CC_OP);
  }
  protected flagSource(): FlagSource {
    if (this.#flags !== undefined) return this.#flags;
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
    this.#flags = undefined;
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
    if (this.#thread === undefined || !this.long) this.#return(L.END_BLOCK);
    else this.f.returnCall(this.#thread.goOn, [this.#record]);
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
    this.f.return(w.or(w.call('i32', this.#callHelper(name), [this.#record]), this.#record));
  }
}

/** How handlers of a module go on by themselves. */
export interface Thread {
  /** The signature of a handler in the module. */
  readonly handler: number;
  /** The function of go-on.ts. */
  readonly goOn: number;
}

/** Ends a handler that has gone well: with the next record's, in its place; or the dispatcher does that. */
export function next(f: FunctionBuilder, thread: Thread | undefined, mayBreak: boolean): void {
  const record = f.param(0);
  if (thread === undefined) {
    f.return(record);
    return;
  }
  if (mayBreak) f.ifRarely(w.load32(w.i32(0), L.BREAK), () => f.return(record));
  f.returnCallIndirect(thread.handler, w.load32(record, L.REC_BYTES + L.REC_HANDLER), [
    w.add(record, L.REC_BYTES),
  ]);
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
