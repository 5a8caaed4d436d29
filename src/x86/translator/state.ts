/**
 * The processor's state as locals of a region's function: general and vector registers in one local each, the arithmetic
 * flags lazy in three values and a kind that is mostly known while the code is written. Outside of loops memory always
 * holds the registers: each write goes there, too, and a local is loaded where it is read first. A loop has what it uses
 * in locals from its start to its ends, and stores what it has changed there. Flags are loaded at the function's entry,
 * stored at its end; their third value only where a region uses or sets it.
 */
import { assert } from '../../core/errors.ts';
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import type { ImmOperand, Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import { Emitter, type RuntimeImports, type Size } from '../semantics/emitter.ts';
import type { FlagSource } from '../semantics/flags.ts';
import { gprBit, REGISTERS, VECTORS } from './register-sets.ts';

/** What is known of the flags at a place, beside the values in the locals. */
export interface FlagState {
  readonly known: number | undefined;
  readonly carryOverridden: boolean;
  readonly overflowOverridden: boolean;
}

/** What a loop that lies in no other keeps in locals. */
export interface LoopRegisters {
  readonly resident: number;
  /** Those of them that are to be stored on each way out. */
  readonly late: number;
}

export abstract class RegionState extends Emitter {
  readonly constantOperands = true;
  /** The 16 general registers, then the 16 vector registers; they are numbered so here. */
  readonly #locals: (LocalGet | undefined)[] = [];
  /** Registers that are in their locals all through the loop around. */
  #resident = 0;
  /** Those of them that go to memory no sooner than the loop is left. */
  #late = 0;
  /** Others whose locals hold at present what is in memory. */
  #available = 0;
  readonly ccOp: LocalGet;
  readonly ccDst: LocalGet;
  readonly ccSrc: LocalGet;
  readonly ccSrc2: LocalGet;
  /** CF and OF where they are not what CC_OP's kind says. */
  readonly #ccCarry: LocalGet;
  readonly #ccOverflow: LocalGet;
  /** Address of the first byte of the region's page, as mapped now. */
  readonly vbase: LocalGet;
  readonly tlbBase: LocalGet;
  readonly budget: LocalGet;
  readonly rip: LocalGet;
  /** The low byte of CC_OP where it is known here; `#stored` when the local ccOp holds all of it, too. */
  #known: number | undefined;
  /** CF is in #ccCarry, OF in #ccOverflow, whatever the kind says and whether it is known or not. */
  #carryOverridden = false;
  #overflowOverridden = false;
  #stored = true;
  /** Offset of the page of the present block from the region's first page; offsets in an `Insn` count from there. */
  protected page = 0;
  /** The same, in the code; none where all blocks are in the first page. */
  pageLocal: LocalGet | undefined;
  protected flagsUsed = false;
  /** The third value of the flags, which few instructions set: whether the region does, and whether it looks at it. */
  #src2Set = false;
  #src2Used = false;

  constructor(f: FunctionBuilder, runtime: RuntimeImports) {
    super(f, true, runtime);
    this.vbase = f.param(1);
    this.tlbBase = f.local('i32');
    this.budget = f.local('i32');
    this.rip = f.local('i64');
    this.ccOp = f.local('i32');
    this.ccDst = f.local('i64');
    this.ccSrc = f.local('i64');
    this.ccSrc2 = f.local('i64');
    this.#ccCarry = f.local('i32');
    this.#ccOverflow = f.local('i32');
    f.nested = (body) => {
      const before = this.#available;
      body();
      this.#available &= before;
    };
  }

  /**
   * A block begins.
   * @param flags what is known of them on all ways into the block; undefined: nothing
   * @param available registers whose locals hold them on all ways into the block
   */
  beginBlock(page: number, flags: FlagState | undefined, available = 0): void {
    this.page = page;
    this.#available = available;
    this.#forgetFlags();
    if (flags === undefined) return;
    this.#known = flags.known;
    this.#carryOverridden = flags.carryOverridden;
    this.#overflowOverridden = flags.overflowOverridden;
  }

  /** What is known of the flags here, where ccOp holds them, too. */
  get flagState(): FlagState {
    return {
      known: this.#known,
      carryOverridden: this.#carryOverridden,
      overflowOverridden: this.#overflowOverridden,
    };
  }

  /** The flags are what the local ccOp says. */
  #forgetFlags(): void {
    this.#known = undefined;
    this.#carryOverridden = false;
    this.#overflowOverridden = false;
    this.#stored = true;
  }

  // --- state ----------------------------------------------------------------------------------------------------

  /** Registers whose locals hold them here, beside those that always do. */
  get available(): number {
    return this.#available;
  }

  #local(n: number): LocalGet {
    return (this.#locals[n] ??= this.f.local(n < VECTORS ? 'i64' : 'v128'));
  }

  #load(n: number): void {
    const zero = w.i32(0);
    const x = n < VECTORS ? w.load64(zero, L.GPR + 8 * n) : w.load128(zero, L.XMM + 16 * (n - VECTORS));
    this.f.set(this.#local(n), x);
  }

  #store(n: number, x: Expr): void {
    const zero = w.i32(0);
    if (n < VECTORS) this.f.store64(zero, x, L.GPR + 8 * n);
    else this.f.store128(zero, x, L.XMM + 16 * (n - VECTORS));
  }

  /** The local that holds a register here. */
  #get(n: number): LocalGet {
    if (((this.#resident | this.#available) & (1 << n)) === 0) {
      this.#load(n);
      this.#available |= 1 << n;
    }
    return this.#local(n);
  }

  #put(n: number, x: Expr): void {
    const local = this.#local(n);
    if ((this.#late & (1 << n)) !== 0) this.f.set(local, x);
    else {
      this.#store(n, this.f.tee(local, x));
      this.#available |= 1 << n;
    }
  }

  /**
   * A loop begins that lies in no other, in front of its first instruction.
   * @param used the registers that are in their locals from here on
   * @param written those of them that are in memory again when the loop has been left by way of `storeLate`
   */
  beginLoop(used: number, written: number): LoopRegisters {
    for (let n = 0; n < REGISTERS; n++) if ((used & (1 << n)) !== 0) this.#load(n);
    this.#resident = used;
    this.#late = written;
    return { resident: used, late: written };
  }

  /** Stores what is not in memory yet. */
  storeLate(late: number): void {
    for (let n = 0; n < REGISTERS; n++) if ((late & (1 << n)) !== 0) this.#store(n, this.#local(n));
  }

  endLoop(): void {
    this.#resident = 0;
    this.#late = 0;
  }

  /** A register has been changed in memory. */
  protected reloadGpr(reg: number): void {
    if ((this.#resident & gprBit(reg)) === 0) this.#available &= ~gprBit(reg);
    else this.#put(reg, w.load64(w.i32(0), L.GPR + 8 * reg));
  }

  /** Sees to it that a register is in memory. */
  protected spillGpr(reg: number): void {
    this.storeLate(this.#late & gprBit(reg));
  }

  protected gprLocal(reg: number): LocalGet {
    return this.#get(reg);
  }

  /** Code that loads what stays in locals to the end; runs before all other code. */
  loadState(): void {
    const { f } = this;
    const zero = w.i32(0);
    f.set(this.tlbBase, w.load32(zero, L.TLB_BASE));
    f.set(this.budget, w.load32(zero, L.BUDGET));
    if (this.flagsUsed) this.#loadFlags(this.#src2Set || this.#src2Used);
  }

  /** Code that stores that, where it may have changed. */
  storeState(): void {
    const { f } = this;
    const zero = w.i32(0);
    if (this.flagsUsed) this.#storeFlags(this.#src2Set);
    f.store32(zero, this.budget, L.BUDGET);
  }

  /** Code that has the lazy flags in memory while the runtime looks at them or changes them. */
  protected lendFlags(): void {
    this.flagsUsed = true;
    this.#src2Set = true;
    this.#storeFlags(true);
  }

  /** Code that takes them back. */
  protected takeFlags(): void {
    this.#loadFlags(true);
    this.#forgetFlags();
  }

  #loadFlags(src2: boolean): void {
    const { f } = this;
    const zero = w.i32(0);
    f.set(this.ccOp, w.load32(zero, L.CC_OP));
    f.set(this.ccDst, w.load64(zero, L.CC_DST));
    f.set(this.ccSrc, w.load64(zero, L.CC_SRC));
    if (src2) f.set(this.ccSrc2, w.load64(zero, L.CC_SRC2));
  }

  /** ccOp has to hold the kind. */
  #storeFlags(src2: boolean): void {
    const { f } = this;
    const zero = w.i32(0);
    f.store32(zero, this.ccOp, L.CC_OP);
    f.store64(zero, this.ccDst, L.CC_DST);
    f.store64(zero, this.ccSrc, L.CC_SRC);
    if (src2) f.store64(zero, this.ccSrc2, L.CC_SRC2);
  }

  gpr(reg: number, size: Size): Expr {
    return this.#readGpr(reg, size, false);
  }
  #readGpr(reg: number, size: Size, high: boolean): Expr {
    const full = this.gprLocal(reg);
    if (size === 8) return full;
    const low = w.wrap(full);
    if (size === 4) return low;
    if (high) return w.and(w.shrU(low, 8), 0xff);
    return w.and(low, size === 1 ? 0xff : 0xffff);
  }
  setGpr(reg: number, size: Size, x: Expr): void {
    this.#writeGpr(reg, size, x, false);
  }
  #writeGpr(reg: number, size: Size, x: Expr, high: boolean): void {
    switch (size) {
      case 8:
        return this.#put(reg, x);
      case 4:
        return this.#put(reg, w.zext(x));
      case 2:
        return this.#put(reg, merged(this.gprLocal(reg), ~0xffff, w.zext(w.and(x, 0xffff))));
      default: {
        const value = w.zext(w.and(x, 0xff));
        const old = this.gprLocal(reg);
        return this.#put(
          reg,
          high ? merged(old, ~0xff00, w.shl(value, w.i64(8))) : merged(old, ~0xff, value),
        );
      }
    }
  }
  protected readRegister(operand: Operand & { kind: 'gpr' }): Expr {
    return this.#readGpr(operand.reg, operand.size, operand.high);
  }
  protected writeRegister(operand: Operand & { kind: 'gpr' }, x: Expr): void {
    this.#writeGpr(operand.reg, operand.size, x, operand.high);
  }
  xmm(reg: number): Expr {
    return this.#get(VECTORS + reg);
  }
  setXmm(reg: number, x: Expr): void {
    this.#put(VECTORS + reg, x);
  }
  protected readXmm(operand: Operand & { kind: 'xmm' }): Expr {
    return this.xmm(operand.reg);
  }
  protected writeXmm(operand: Operand & { kind: 'xmm' }, x: Expr): void {
    this.setXmm(operand.reg, x);
  }
  protected mmxAddress(operand: Operand & { kind: 'mmx' }): Expr {
    return w.i32(L.X87 + 16 * operand.reg);
  }

  // --- operands ----------------------------------------------------------------------------------------------------

  effectiveAddress(): Expr {
    const { mem, addrsize } = this.insn;
    assert(mem !== undefined, 'instruction without a memory operand');
    let sum: Expr | undefined = mem.ripRelative
      ? this.vbase
      : mem.base >= 0
        ? this.gprLocal(mem.base)
        : undefined;
    if (mem.index >= 0) {
      const index = w.shl(this.gprLocal(mem.index), w.i64(mem.scale));
      sum = sum === undefined ? index : w.add(sum, index);
    }
    const disp = w.i64(mem.ripRelative ? Number(mem.disp) + this.page : mem.disp);
    sum = sum === undefined ? disp : w.add(sum, disp);
    return addrsize === 8 ? sum : w.and(sum, w.i64(0xffffffff));
  }

  protected segmentBase(): Expr | undefined {
    const { seg } = this.insn.mem!;
    return seg < 4 ? undefined : w.load64(w.i32(0), L.SEG_BASE + 8 * seg);
  }

  protected immediate(operand: ImmOperand, size: Size): Expr {
    const { value } = operand;
    if (size === 8) return w.i64(value);
    const low = typeof value === 'number' ? value : Number(BigInt.asIntN(32, value));
    return w.i32(size === 4 ? low : low & (size === 1 ? 0xff : 0xffff));
  }

  // --- flags ----------------------------------------------------------------------------------------------------

  protected setLazyFlags(op: number, dst: Expr, src?: Expr, src2?: Expr): void {
    const { f } = this;
    this.flagsUsed = true;
    // the new values may be computed from the old ones: all of them first
    const dstValue = this.pin(dst);
    const srcValue = src === undefined ? undefined : this.pin(src);
    const src2Value = src2 === undefined ? undefined : this.pin(src2);
    f.set(this.ccDst, dstValue);
    if (srcValue !== undefined) f.set(this.ccSrc, srcValue);
    if (src2Value !== undefined) {
      f.set(this.ccSrc2, src2Value);
      this.#src2Set = true;
    }
    this.#known = op;
    this.#stored = false;
    this.#carryOverridden = false;
    this.#overflowOverridden = false;
  }

  overrideCarry(carry: Expr, overflow?: Expr): void {
    const { f } = this;
    this.flagsUsed = true;
    const carryValue = this.tmp(carry);
    const overflowValue = overflow === undefined ? undefined : this.tmp(overflow);
    f.set(this.#ccCarry, carryValue);
    this.#carryOverridden = true;
    if (overflowValue !== undefined) {
      f.set(this.#ccOverflow, overflowValue);
      this.#overflowOverridden = true;
    }
    this.#stored = false;
  }

  overrideOverflow(overflow: Expr): void {
    this.flagsUsed = true;
    this.f.set(this.#ccOverflow, overflow);
    this.#overflowOverridden = true;
    this.#stored = false;
  }

  /** CC_OP as it is now. */
  protected op(): Expr {
    let op: Expr = this.#known === undefined ? this.ccOp : w.i32(this.#known);
    const put = (value: Expr, bit: number, shift: number, over: number): void => {
      const rest = this.#known === undefined ? w.and(op, ~bit) : op;
      op = w.or(w.or(rest, w.shl(value, shift)), over);
    };
    if (this.#carryOverridden) put(this.#ccCarry, L.CC_CARRY, L.CC_CARRY_SHIFT, L.CC_OVER_CF);
    if (this.#overflowOverridden) put(this.#ccOverflow, L.CC_OVERFLOW, L.CC_OVERFLOW_SHIFT, L.CC_OVER_OF);
    return op;
  }

  protected flagSource(): FlagSource {
    this.flagsUsed = true;
    // kinds that have it are known only where the region has set it
    if (this.#known === undefined) this.#src2Used = true;
    return {
      known: this.#known,
      op: this.op(),
      dst: this.ccDst,
      src: this.ccSrc,
      src2: this.ccSrc2,
      carry: this.#carryOverridden ? this.#ccCarry : undefined,
      overflow: this.#overflowOverridden ? this.#ccOverflow : undefined,
    };
  }

  /** Whether storeFlagKind writes a constant at most. */
  protected get flagKindIsConstant(): boolean {
    if (this.#stored) return true;
    return this.#known !== undefined && !this.#carryOverridden && !this.#overflowOverridden;
  }

  /** Like storeFlagKind, on a way out that leaves what follows as it is. */
  protected noteFlagKind(): void {
    if (!this.#stored) this.f.set(this.ccOp, this.op());
  }

  /** Makes the local ccOp hold what is known; to be done before control flow joins. */
  storeFlagKind(): void {
    this.noteFlagKind();
    this.#stored = true;
  }

  flagsIf(condition: Expr, body: () => void): void {
    const constant = w.constantOf(condition);
    if (constant !== undefined) {
      if (constant !== 0) body();
      return;
    }
    const test = this.tmp(condition);
    this.storeFlagKind();
    this.f.if(test, () => {
      body();
      this.storeFlagKind();
    });
    this.#forgetFlags();
  }
}

/** The bits of `old` that `mask` keeps, and those of `value`. */
function merged(old: Expr, mask: number, value: Expr): Expr {
  return w.or(w.and(old, w.i64(mask)), value);
}
