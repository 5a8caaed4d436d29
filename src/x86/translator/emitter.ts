/**
 * The translator's reading of the instruction definitions: registers live in locals of one WebAssembly function
 * (state.ts), operands are constants, flags are lazy in locals and their kind is mostly known. At every instruction
 * boundary locals and memory are the architectural state, so that a fault or a device access leaves the region at its
 * instruction without any table of what is where: the interpreter does that instruction again.
 */
import { assert } from '../../core/errors.ts';
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder, Label } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import type { Insn, Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import type { RuntimeImports } from '../semantics/emitter.ts';
import { changedBy, type Effects, effectsOf } from './effects.ts';
import type { Memberships } from './groups.ts';
import { inlineOf } from './inline.ts';
import { RegionMemory } from './memory.ts';
import { FAILED_SHIFT, failedSymbol, failedValue, REGION_SYMBOL, recordSymbol } from './symbols.ts';

/** How a region's code leaves a block; provided by the region builder, which knows the blocks. */
export interface RegionFlow {
  /**
   * Continues at an offset from the region's first page: inside the region if a block starts there.
   * @param held no interrupt may come before the instruction there
   */
  goto(offset: number, held?: boolean): void;
  /** Continues at a computed address. */
  gotoRip(rip: LocalGet, kind: 'jump' | 'call' | 'return'): void;
}

export interface RegionOptions {
  /** Count what is called of the runtime (CALL_COUNTS). */
  readonly countCalls?: boolean;
  /** Names the region to the runtime (see groupSlow). */
  readonly id?: number;
  /** Accesses that could be checked together lie across pages too often. */
  readonly scattered?: boolean;
  /** The runtime is called for accesses that miss the TLB. */
  readonly patient?: boolean;
}

export class RegionEmitter extends RegionMemory {
  /** Where a failing instruction is: offset << 16 | instructions of the block that have not run. */
  readonly where: LocalGet;
  /** The failing instruction: 16 bytes from RECORDS to its record << FAILED_SHIFT | instructions of the block behind it. */
  readonly failed: LocalGet;
  /** Of an instruction that the runtime does: its status and its record. */
  readonly status: LocalGet;
  readonly record: LocalGet;
  /** Leaves at the instruction in `where`. */
  failLabel!: Label;
  /** Leaves after the runtime's function for an instruction; `where` is behind it. */
  helperLabel!: Label;
  /** Leaves by way of the instruction in `where`, one of `lastCalls`. */
  recordLabel!: Label;
  flow!: RegionFlow;
  /** Instructions that the runtime does behind the region's exit, where all state is in memory: record and function. */
  readonly lastCalls: { readonly record: Expr; readonly name: string }[] = [];
  /** Instructions of the block that come after the present one, plus one. */
  remaining = 0;
  readonly #helpers: (name: string) => number;
  readonly #countCalls: boolean;
  /** The region's name. */
  readonly id: number;
  /** The present block: its number in the region, and the address of its first record. */
  block = 0;
  records = 0;
  /** Number of the present instruction in its block. */
  #number = 0;
  /** How many blocks were open when it began, and whether `failed` says so there. */
  #nesting = 0;
  #failedIsSet = false;

  /** @param helpers makes a runtime function with the signature of a handler callable */
  constructor(
    f: FunctionBuilder,
    runtime: RuntimeImports,
    helpers: (name: string) => number,
    { countCalls = false, id = 0, scattered = false, patient = scattered }: RegionOptions = {},
  ) {
    super(f, runtime, { id, scattered, patient });
    this.id = id;
    this.#helpers = helpers;
    this.#countCalls = countCalls;
    this.where = f.local('i64');
    this.failed = f.local('i32');
    this.status = f.local('i32');
    this.record = f.local('i32');
  }

  /**
   * Writes the code of one instruction.
   * @param number of it in its block
   * @param memberships its accesses that are checked together with others of the block
   */
  translate(insn: Insn, remaining: number, number: number, memberships?: Memberships): void {
    this.insn = insn;
    this.remaining = remaining;
    this.#number = number;
    this.#nesting = this.f.nesting;
    this.#failedIsSet = false;
    this.beginAccesses(memberships);
    this.f.mark(insn);
    const { semantics } = insn.def;
    const { operands } = insn;
    // none has more than four; spreading them takes V8 longer
    if (semantics !== undefined) semantics(this, operands[0]!, operands[1]!, operands[2]!, operands[3]!);
    else {
      const inline = inlineOf(insn);
      const effects = effectsOf(insn);
      if (inline !== undefined) inline(this, insn);
      else if (effects === undefined) this.#callLast(insn);
      else this.#callRuntime(insn, effects);
    }
    this.f.releaseTemporaries();
  }

  /** Address of the present instruction's record. */
  #record(): Expr {
    const address = this.records + this.#number * L.REC_BYTES;
    return w.symbol(address, recordSymbol(this.block, this.#number));
  }

  /** Leaves the region by way of an instruction that may read and change any state. */
  #callLast(insn: Insn): void {
    const { f } = this;
    const record = this.#record();
    this.storeFlagKind();
    f.set(this.record, record);
    f.set(this.where, this.#place(0, this.remaining - 1));
    f.br(this.recordLabel);
    this.lastCalls.push({ record, name: insn.def.helper! });
  }

  /**
   * The end of a region that is left by one of `lastCalls`: all state is in memory, RIP that of the instruction. Calls
   * the runtime's function; what comes behind runs when that has gone well. Nothing of the region's goes on after it.
   */
  finishLastCall(): void {
    const { f } = this;
    const zero = w.i32(0);
    f.store64(zero, w.and(this.rip, w.i64(-4096)), L.VBASE);
    f.store32(zero, zero, L.IN_REGION);
    this.#countCall();
    const [first, ...more] = this.lastCalls;
    const call = ({ name }: { name: string }): void =>
      f.set(this.status, w.call('i32', this.#helpers(name), [this.record]));
    // one of a few: the last of them needs no comparison
    const choose = (left: readonly { record: Expr; name: string }[], last: { name: string }): void => {
      const [next, ...rest] = left;
      if (next === undefined) call(last);
      else
        f.if(
          w.eq(this.record, next.record),
          () => call(next),
          () => choose(rest, last),
        );
    };
    choose(more, first!);
    f.store32(zero, w.i32(1), L.IN_REGION);
    f.store32(zero, zero, L.BREAK);
    f.if(w.eq(this.status, w.i32(L.EXCEPTION)), () => {
      f.store32(zero, this.record, L.FAULT_RECORD);
      f.return(w.i32(L.FAULTED));
    });
    const behind = w.add(this.rip, w.zext(w.load8u(this.record, L.REC_LENGTH)));
    f.set(this.rip, w.select(this.status, w.load64(zero, L.RIP), behind));
  }

  /** Counts, for reports, a call of the runtime for the instruction in `record`. */
  #countCall(): void {
    if (!this.#countCalls) return;
    const { f } = this;
    const handler = w.and(w.load32(this.record, L.REC_HANDLER), L.COUNTED_HANDLERS - 1);
    const place = this.tmp(w.shl(handler, 2));
    f.store32(place, w.add(w.load32(place, L.CALL_COUNTS), 1), L.CALL_COUNTS);
  }

  /** Has the runtime do an instruction that touches few registers. */
  #callRuntime(insn: Insn, effects: Effects): void {
    const { f } = this;
    const record = this.#record();
    const zero = w.i32(0);
    this.storeFlagKind();
    const reads = new Set(effects.reads);
    if (insn.mem !== undefined) {
      if (insn.mem.base >= 0) reads.add(insn.mem.base);
      if (insn.mem.index >= 0) reads.add(insn.mem.index);
    }
    const [operand] = insn.operands;
    if (operand?.kind === 'gpr' && effects.operandRead) reads.add(operand.reg);
    for (const reg of reads) this.spillGpr(reg);
    if (effects.readsFlags || effects.writesFlags) this.lendFlags();
    f.store64(zero, w.add(this.vbase, w.i64(this.page)), L.VBASE);
    f.store32(zero, zero, L.IN_REGION);
    const left = this.remaining - 1;
    if (this.#countCalls) f.set(this.record, record);
    this.#countCall();
    if (effects.io) f.store32(zero, w.add(this.budget, left), L.BUDGET);
    f.set(this.status, w.call('i32', this.#helpers(insn.def.helper!), [record]));
    f.store32(zero, w.i32(1), L.IN_REGION);
    if (effects.io) f.set(this.budget, w.sub(w.load32(zero, L.BUDGET), left));
    for (const reg of changedBy(effects, insn)) this.reloadGpr(reg);
    if (effects.writesFlags) this.takeFlags();
    if (effects.tlb) f.set(this.tlbBase, w.load32(zero, L.TLB_BASE));
    const leave = w.or(
      w.or(this.status, w.load32(zero, L.ATTENTION)),
      w.or(w.load32(zero, L.BREAK), w.load32(zero, L.SHADOW)),
    );
    f.ifRarely(leave, () => {
      f.set(this.record, record);
      f.set(this.where, this.#place(insn.length, left));
      f.br(this.helperLabel);
    });
  }

  /** From here on accesses go by the TLB at `address` (i32). */
  setTlb(address: Expr): void {
    this.f.set(this.tlbBase, address);
    this.f.store32(w.i32(0), this.tlbBase, L.TLB_BASE);
  }

  /** Leaves the rest of the block of the instruction in `failed` to the interpreter; all but its state is in memory then. */
  finishFailure(): void {
    const { f } = this;
    const zero = w.i32(0);
    const record = this.tmp(w.add(w.shl(w.shrU(this.failed, FAILED_SHIFT), 4), L.RECORDS));
    f.set(this.budget, w.add(this.budget, w.add(w.and(this.failed, (1 << FAILED_SHIFT) - 1), 1)));
    const page = this.pageLocal === undefined ? this.vbase : w.add(this.vbase, this.pageLocal);
    f.set(this.rip, w.add(page, w.zext(w.load16u(record, L.REC_OFFSET))));
    f.store32(zero, record, L.FAULT_RECORD);
    f.store32(zero, w.symbol(this.id, REGION_SYMBOL), L.LEFT_REGION);
  }

  /** For `where`: the place `offset` bytes behind the start of the present instruction. */
  #place(offset: number, remaining: number): Expr {
    return w.i64((BigInt(this.page + this.insn.offset + offset) << 16n) | BigInt(remaining));
  }

  /** Leaves the region at this instruction; the interpreter repeats it and raises what there is to raise. */
  fail(): void {
    this.noteFlagKind();
    this.#setFailed();
    this.f.br(this.failLabel);
  }

  raise(_vector: number, _error?: number): void {
    this.fail();
  }

  /** What the way out needs to know is put in place ahead, as constants: one branch is less to compile than an `if`. */
  override failIf(condition: Expr): void {
    const { f } = this;
    if (!this.flagKindIsConstant) {
      super.failIf(condition);
      return;
    }
    if (f.nesting !== this.#nesting) {
      this.noteFlagKind();
      this.#setFailed();
    } else {
      this.storeFlagKind();
      if (!this.#failedIsSet) this.#setFailed();
      this.#failedIsSet = true;
    }
    f.brIf(condition, this.failLabel, false);
  }

  override raiseIf(condition: Expr): void {
    this.failIf(condition);
  }

  #setFailed(): void {
    const behind = this.remaining - 1;
    this.f.set(
      this.failed,
      w.symbol(
        failedValue(this.records + this.#number * L.REC_BYTES, behind),
        failedSymbol(this.block, this.#number, behind),
      ),
    );
  }

  // --- control transfers -------------------------------------------------------------------------------------------

  #nextOffset(): number {
    return this.page + this.insn.offset + this.insn.length;
  }

  nextRip(): Expr {
    return w.add(this.vbase, w.i64(this.#nextOffset()));
  }

  jumpRelative(operand: Operand): void {
    assert(operand.kind === 'rel', 'branch target expected');
    this.storeFlagKind();
    this.flow.goto(this.page + operand.reg);
  }

  jumpIf(condition: Expr, operand: Operand): void {
    assert(operand.kind === 'rel', 'branch target expected');
    const test = this.tmp(condition);
    this.storeFlagKind();
    this.f.if(test, () => this.flow.goto(this.page + operand.reg));
    this.flow.goto(this.#nextOffset());
  }

  jumpTo(rip: Expr): void {
    this.storeFlagKind();
    this.flow.gotoRip(this.tmp(rip), 'jump');
  }

  jumpCall(target: Operand | Expr): void {
    if ('kind' in target) this.jumpRelative(target);
    else {
      this.storeFlagKind();
      this.flow.gotoRip(this.tmp(target), 'call');
    }
  }

  jumpReturn(rip: Expr): void {
    this.storeFlagKind();
    this.flow.gotoRip(this.tmp(rip), 'return');
  }

  callHelper(name: string): void {
    throw new Error(`${name}: instructions done by the runtime are not translated`);
  }
}
