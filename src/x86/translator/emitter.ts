/**
 * The translator's reading of the instruction definitions: registers live in locals of one WebAssembly function for
 * the whole region, operands are constants, flags are lazy in locals and their kind is mostly known. At every
 * instruction boundary the locals are the architectural state, so that a fault or a device access leaves the region
 * at its instruction without any spill code: the interpreter does that instruction again.
 */
import { assert } from '../../core/errors.ts';
import { Call, Displaced, type Expr, type LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder, Label } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import type { ImmOperand, Insn, Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import { Emitter, type RuntimeImports, type Size, storeBySize } from '../semantics/emitter.ts';
import type { FlagSource } from '../semantics/flags.ts';
import { type Effects, effectsOf } from './effects.ts';
import type { Group, Member, Memberships } from './groups.ts';

/** How a region's code leaves a block; provided by the region builder, which knows the blocks. */
export interface RegionFlow {
  /** Continues at an offset from the region's first page: inside the region if a block starts there. */
  goto(offset: number): void;
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
}

/** What is known of the flags at a place, beside the values in the locals. */
export interface FlagState {
  readonly known: number | undefined;
  readonly carryOverridden: boolean;
  readonly overflowOverridden: boolean;
}

const PAGE_MASK = -4096n;
const SLOW_STORES = { 1: 'storeSlow8', 2: 'storeSlow16', 4: 'storeSlow32', 8: 'storeSlow64' } as const;

export class RegionEmitter extends Emitter {
  readonly constantOperands = true;
  readonly #gpr: (LocalGet | undefined)[] = [];
  readonly #xmm: (LocalGet | undefined)[] = [];
  readonly #gprWritten = new Set<number>();
  readonly #xmmWritten = new Set<number>();
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
  /** Where a failing instruction is: offset << 16 | instructions of the block that have not run. */
  readonly where: LocalGet;
  readonly rip: LocalGet;
  /** Of an instruction that the runtime does: its status and its record. */
  readonly status: LocalGet;
  readonly record: LocalGet;
  /** Leaves at the instruction in `where`. */
  failLabel!: Label;
  /** Leaves after the runtime's function for an instruction; `where` is behind it. */
  helperLabel!: Label;
  /** Leaves at the instruction in `where`, which the interpreter does from its record. */
  recordLabel!: Label;
  exitLabel!: Label;
  flow!: RegionFlow;
  /** The low byte of CC_OP where it is known here; `#stored` when the local ccOp holds all of it, too. */
  #known: number | undefined;
  /** With `#known`: CF is in #ccCarry, OF in #ccOverflow. */
  #carryOverridden = false;
  #overflowOverridden = false;
  #stored = true;
  /** Offset of the page of the present block from the region's first page; offsets in an `Insn` count from there. */
  #page = 0;
  /** Instructions of the block that come after the present one, plus one. */
  remaining = 0;
  #flagsUsed = false;

  readonly #helpers: (name: string) => number;
  /** Group accesses one by one: in this region they cross pages too often. */
  readonly #scattered: boolean;
  /** Names the region to the runtime. */
  readonly #id: number;
  /** The present instruction's accesses that are checked together with others, and where their addresses are. */
  #memberships: Memberships | undefined;
  #operandAddress: LocalGet | undefined;
  #stackAddresses = new Map<LocalGet, number>();
  /** Of groups whose check has been written: the address in our memory of their lowest byte (scattered: or 0). */
  readonly #pointers = new Map<Group, LocalGet>();
  readonly #pointerLocals: LocalGet[] = [];

  readonly #countCalls: boolean;

  /**
   * @param helpers makes a runtime function with the signature of a handler callable
   */
  constructor(
    f: FunctionBuilder,
    runtime: RuntimeImports,
    helpers: (name: string) => number,
    { countCalls = false, id = 0, scattered = false }: RegionOptions = {},
  ) {
    super(f, true, runtime);
    this.#helpers = helpers;
    this.#countCalls = countCalls;
    this.#id = id;
    this.#scattered = scattered;
    this.vbase = f.param(1);
    this.tlbBase = f.local('i32');
    this.budget = f.local('i32');
    this.where = f.local('i64');
    this.rip = f.local('i64');
    this.status = f.local('i32');
    this.record = f.local('i32');
    this.ccOp = f.local('i32');
    this.ccDst = f.local('i64');
    this.ccSrc = f.local('i64');
    this.ccSrc2 = f.local('i64');
    this.#ccCarry = f.local('i32');
    this.#ccOverflow = f.local('i32');
  }

  /**
   * Writes the code of one instruction.
   * @param record address of its decoded record
   * @param memberships its accesses that are checked together with others of the block
   */
  translate(insn: Insn, remaining: number, record: number, memberships?: Memberships): void {
    this.insn = insn;
    this.remaining = remaining;
    this.#memberships = memberships;
    this.#operandAddress = undefined;
    this.#stackAddresses.clear();
    this.f.mark(insn);
    if (insn.def.semantics !== undefined) insn.def.semantics(this, ...(insn.operands as Operand[]));
    else {
      const effects = effectsOf(insn);
      if (effects === undefined) this.#runRecord(record);
      else this.#callRuntime(insn, effects, record);
    }
    this.f.releaseTemporaries();
  }

  /** Leaves the region for an instruction that may read and change any state. */
  #runRecord(record: number): void {
    const { f } = this;
    this.storeFlagKind();
    f.set(this.record, w.i32(record));
    f.set(this.where, this.#place(0, this.remaining));
    f.br(this.recordLabel);
  }

  /** Has the runtime do an instruction that touches few registers. */
  #callRuntime(insn: Insn, effects: Effects, record: number): void {
    const { f } = this;
    const zero = w.i32(0);
    this.storeFlagKind();
    const reads = new Set(effects.reads);
    const writes = new Set(effects.writes);
    if (insn.mem !== undefined) {
      if (insn.mem.base >= 0) reads.add(insn.mem.base);
      if (insn.mem.index >= 0) reads.add(insn.mem.index);
    }
    const [operand] = insn.operands;
    if (operand?.kind === 'gpr') {
      if (effects.operandRead) reads.add(operand.reg);
      if (effects.operandWritten) writes.add(operand.reg);
    }
    for (const reg of reads) f.store64(zero, this.#gprLocal(reg), L.GPR + 8 * reg);
    if (effects.readsFlags || effects.writesFlags) {
      this.#flagsUsed = true;
      f.store32(zero, this.ccOp, L.CC_OP);
      f.store64(zero, this.ccDst, L.CC_DST);
      f.store64(zero, this.ccSrc, L.CC_SRC);
      f.store64(zero, this.ccSrc2, L.CC_SRC2);
    }
    f.store64(zero, w.add(this.vbase, w.i64(this.#page)), L.VBASE);
    f.store32(zero, zero, L.IN_REGION);
    const left = this.remaining - 1;
    if (this.#countCalls) {
      const handler = w.and(w.load32(w.i32(record), L.REC_HANDLER), L.COUNTED_HANDLERS - 1);
      const place = this.tmp(w.shl(handler, 2));
      f.store32(place, w.add(w.load32(place, L.CALL_COUNTS), 1), L.CALL_COUNTS);
    }
    if (effects.io) f.store32(zero, w.add(this.budget, left), L.BUDGET);
    f.set(this.status, new Call('i32', this.#helpers(insn.def.helper!), [w.i32(record)]));
    f.store32(zero, w.i32(1), L.IN_REGION);
    if (effects.io) f.set(this.budget, w.sub(w.load32(zero, L.BUDGET), left));
    for (const reg of writes) {
      this.#gprWritten.add(reg);
      f.set(this.#gprLocal(reg), w.load64(zero, L.GPR + 8 * reg));
    }
    if (effects.writesFlags) {
      f.set(this.ccOp, w.load32(zero, L.CC_OP));
      f.set(this.ccDst, w.load64(zero, L.CC_DST));
      f.set(this.ccSrc, w.load64(zero, L.CC_SRC));
      f.set(this.ccSrc2, w.load64(zero, L.CC_SRC2));
      this.#forgetFlags();
    }
    if (effects.tlb) f.set(this.tlbBase, w.load32(zero, L.TLB_BASE));
    const leave = w.or(
      w.or(this.status, w.load32(zero, L.ATTENTION)),
      w.or(w.load32(zero, L.BREAK), w.load32(zero, L.SHADOW)),
    );
    f.if(leave, () => {
      f.set(this.record, w.i32(record));
      f.set(this.where, this.#place(insn.length, left));
      f.br(this.helperLabel);
    });
  }

  /** For `where`: the place `offset` bytes behind the start of the present instruction. */
  #place(offset: number, remaining: number): Expr {
    return w.i64((BigInt(this.#page + this.insn.offset + offset) << 16n) | BigInt(remaining));
  }

  /**
   * A block begins.
   * @param flags what is known of them on all ways into the block; undefined: nothing
   */
  beginBlock(page: number, flags: FlagState | undefined): void {
    this.#page = page;
    this.#pointers.clear();
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

  #gprLocal(reg: number): LocalGet {
    return (this.#gpr[reg] ??= this.f.local('i64'));
  }

  #xmmLocal(reg: number): LocalGet {
    return (this.#xmm[reg] ??= this.f.local('v128'));
  }

  /** Code that loads the state; runs before all other code. */
  loadState(): void {
    const { f } = this;
    const zero = w.i32(0);
    f.set(this.tlbBase, w.load32(zero, L.TLB_BASE));
    f.set(this.budget, w.load32(zero, L.BUDGET));
    for (const [reg, local] of this.#gpr.entries())
      if (local !== undefined) f.set(local, w.load64(zero, L.GPR + 8 * reg));
    for (const [reg, local] of this.#xmm.entries())
      if (local !== undefined) f.set(local, w.load128(zero, L.XMM + 16 * reg));
    if (this.#flagsUsed) {
      f.set(this.ccOp, w.load32(zero, L.CC_OP));
      f.set(this.ccDst, w.load64(zero, L.CC_DST));
      f.set(this.ccSrc, w.load64(zero, L.CC_SRC));
      f.set(this.ccSrc2, w.load64(zero, L.CC_SRC2));
    }
  }

  /** Code that stores what was changed. */
  storeState(): void {
    const { f } = this;
    const zero = w.i32(0);
    for (const reg of this.#gprWritten) f.store64(zero, this.#gpr[reg]!, L.GPR + 8 * reg);
    for (const reg of this.#xmmWritten) f.store128(zero, this.#xmm[reg]!, L.XMM + 16 * reg);
    if (this.#flagsUsed) {
      f.store32(zero, this.ccOp, L.CC_OP);
      f.store64(zero, this.ccDst, L.CC_DST);
      f.store64(zero, this.ccSrc, L.CC_SRC);
      f.store64(zero, this.ccSrc2, L.CC_SRC2);
    }
    f.store32(zero, this.budget, L.BUDGET);
    f.store64(zero, this.rip, L.RIP);
  }

  gpr(reg: number, size: Size): Expr {
    return this.#readGpr(reg, size, false);
  }
  #readGpr(reg: number, size: Size, high: boolean): Expr {
    const full = this.#gprLocal(reg);
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
    const local = this.#gprLocal(reg);
    this.#gprWritten.add(reg);
    const merge = (mask: bigint, shift: number, valueMask: number): Expr => {
      const value = w.zext(w.and(x, valueMask));
      return w.or(w.and(local, w.i64(mask)), shift === 0 ? value : w.shl(value, w.i64(shift)));
    };
    switch (size) {
      case 8:
        return this.f.set(local, x);
      case 4:
        return this.f.set(local, w.zext(x));
      case 2:
        return this.f.set(local, merge(~0xffffn, 0, 0xffff));
      default:
        return this.f.set(local, high ? merge(~0xff00n, 8, 0xff) : merge(~0xffn, 0, 0xff));
    }
  }
  protected readRegister(operand: Operand & { kind: 'gpr' }): Expr {
    return this.#readGpr(operand.reg, operand.size, operand.high);
  }
  protected writeRegister(operand: Operand & { kind: 'gpr' }, x: Expr): void {
    this.#writeGpr(operand.reg, operand.size, x, operand.high);
  }
  xmm(reg: number): Expr {
    return this.#xmmLocal(reg);
  }
  setXmm(reg: number, x: Expr): void {
    const local = this.#xmmLocal(reg);
    this.#xmmWritten.add(reg);
    this.f.set(local, x);
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

  // --- operands and memory --------------------------------------------------------------------------------------

  effectiveAddress(): Expr {
    const { mem, addrsize } = this.insn;
    assert(mem !== undefined, 'instruction without a memory operand');
    let sum: Expr | undefined = mem.ripRelative
      ? this.vbase
      : mem.base >= 0
        ? this.#gprLocal(mem.base)
        : undefined;
    if (mem.index >= 0) {
      const index = w.shl(this.#gprLocal(mem.index), w.i64(mem.scale));
      sum = sum === undefined ? index : w.add(sum, index);
    }
    const disp = w.i64(BigInt.asIntN(64, BigInt(mem.disp)) + BigInt(mem.ripRelative ? this.#page : 0));
    sum = sum === undefined ? disp : w.add(sum, disp);
    return addrsize === 8 ? sum : w.and(sum, w.i64(0xffffffff));
  }

  protected segmentBase(): Expr | undefined {
    const { seg } = this.insn.mem!;
    return seg < 4 ? undefined : w.load64(w.i32(0), L.SEG_BASE + 8 * seg);
  }

  protected immediate(operand: ImmOperand, size: Size): Expr {
    const value = BigInt(operand.value);
    if (size === 8) return w.i64(value);
    return w.i32(Number(BigInt.asUintN(8 * size, value)));
  }

  #probe(va: LocalGet, size: number, tag: number): { entry: LocalGet; hit: Expr } {
    const shift = 12 - L.TLB_ENTRY_SHIFT;
    const mask = (L.TLB_ENTRIES - 1) << L.TLB_ENTRY_SHIFT;
    const entry = this.tmp(w.add(w.and(w.wrap(w.shrU(va, w.i64(shift))), mask), this.tlbBase));
    const last = size === 1 ? va : w.add(va, w.i64(size - 1));
    return { entry, hit: w.eq(w.load64(entry, tag), w.and(last, w.i64(PAGE_MASK))) };
  }

  override linear(size: number, write: boolean, ea?: Expr): LocalGet {
    if (ea !== undefined) return super.linear(size, write, ea);
    const va = super.linear(size, write);
    this.#operandAddress = va;
    return va;
  }

  override stackTop(delta: number): {
    linear: (size: number, write: boolean) => LocalGet;
    commit: () => void;
  } {
    const { linear, commit } = super.stackTop(delta);
    return {
      linear: (size, write) => {
        const va = linear(size, write);
        this.#stackAddresses.set(va, delta);
        return va;
      },
      commit,
    };
  }

  /** The group that an access belongs to, if it has several members. */
  #memberOf(va: LocalGet): Member | undefined {
    if (this.#memberships === undefined) return undefined;
    const member =
      va === this.#operandAddress
        ? this.#memberships.operand
        : this.#stackAddresses.has(va)
          ? this.#memberships.stack
          : undefined;
    return member !== undefined && member.group.accesses > 1 ? member : undefined;
  }

  /**
   * The access at `va` as one of a group: runs `direct` with its address where the group's check has succeeded, and
   * else `alone` (only in a scattered region: in others the failed check leaves).
   */
  #grouped(
    va: LocalGet,
    { group, offset }: Member,
    write: boolean,
    direct: (address: Expr) => void,
    alone: () => void,
  ): void {
    const { f } = this;
    let pointer = this.#pointers.get(group);
    if (pointer === undefined) {
      const taken = this.#pointers.size;
      pointer = this.#pointerLocals[taken] ??= f.local('i32');
      this.#pointers.set(group, pointer);
      const target = pointer;
      const span = group.high - group.low;
      const low = group.low === offset ? va : this.tmp(w.add(va, w.i64(group.low - offset)));
      const { entry, hit } = this.#probe(low, span, group.write ? L.TLB_WRITE : L.TLB_READ);
      f.if(
        hit,
        () => f.set(target, w.add(w.wrap(low), w.load32(entry, L.TLB_ADDEND))),
        () => {
          const kind = !group.write ? 0 : write ? 1 : 2;
          f.set(target, this.rt('groupSlow', low, w.i32(span), w.i32(kind), w.i32(this.#id)));
          if (!this.#scattered) f.if(w.eqz(target), () => this.fail());
        },
      );
    }
    const address = new Displaced(pointer, offset - group.low);
    if (this.#scattered) f.if(pointer, () => direct(address), alone);
    else direct(address);
  }

  protected readPointer(va: LocalGet, size: number): Expr {
    const member = this.#memberOf(va);
    if (member === undefined) return this.#readAlone(va, size);
    let address: Expr = w.i32(0);
    if (this.#scattered) {
      const any = this.f.temporary('i32');
      this.#grouped(
        va,
        member,
        false,
        (direct) => this.f.set(any, direct),
        () => this.f.set(any, this.#readAlone(va, size)),
      );
      address = any;
    } else
      this.#grouped(
        va,
        member,
        false,
        (direct) => (address = direct),
        () => undefined,
      );
    return address;
  }

  #readAlone(va: LocalGet, size: number): LocalGet {
    const { f } = this;
    const { entry, hit } = this.#probe(va, size, L.TLB_READ);
    const address = f.temporary('i32');
    f.if(
      hit,
      () => f.set(address, w.add(w.wrap(va), w.load32(entry, L.TLB_ADDEND))),
      () => {
        f.set(address, this.rt('loadSlow', va, w.i32(size)));
        f.if(w.eqz(address), () => this.fail());
      },
    );
    return address;
  }

  protected writeMemory(va: LocalGet, size: number, x: Expr): void {
    const value = this.tmp(x);
    const member = this.#memberOf(va);
    if (member === undefined || !member.group.write) {
      this.#writeAlone(va, size, value);
      return;
    }
    this.#grouped(
      va,
      member,
      true,
      (address) => storeBySize(this.f, address, size, value),
      () => this.#writeAlone(va, size, value),
    );
  }

  #writeAlone(va: LocalGet, size: number, value: LocalGet): void {
    const { f } = this;
    const { entry, hit } = this.#probe(va, size, L.TLB_WRITE);
    f.if(
      hit,
      () => storeBySize(f, w.add(w.wrap(va), w.load32(entry, L.TLB_ADDEND)), size, value),
      () => {
        const done =
          size === 16
            ? this.rt(
                'storeSlow128',
                va,
                w.simd('i64', 0x1d, [value], [0]),
                w.simd('i64', 0x1d, [value], [1]),
              )
            : this.rt(SLOW_STORES[size as Size], va, value);
        f.if(w.eqz(done), () => this.fail());
      },
    );
  }

  protected updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void } {
    const member = this.#memberOf(va);
    if (member === undefined || !member.group.write) return this.#updateAlone(va, size);
    if (!this.#scattered) {
      let address: Expr = w.i32(0);
      this.#grouped(
        va,
        member,
        true,
        (direct) => (address = direct),
        () => undefined,
      );
      return { address, done: () => undefined };
    }
    const any = this.f.temporary('i32');
    let commit = (): void => undefined;
    this.#grouped(
      va,
      member,
      true,
      (direct) => this.f.set(any, direct),
      () => {
        const { address, done } = this.#updateAlone(va, size);
        this.f.set(any, address);
        commit = done;
      },
    );
    const isBounce = w.eq(any, w.i32(L.BOUNCE));
    return { address: any, done: () => this.f.if(isBounce, commit) };
  }

  #updateAlone(va: LocalGet, size: number): { address: LocalGet; done: () => void } {
    const { f } = this;
    const { entry, hit } = this.#probe(va, size, L.TLB_WRITE);
    const address = f.temporary('i32');
    f.if(
      hit,
      () => f.set(address, w.add(w.wrap(va), w.load32(entry, L.TLB_ADDEND))),
      () => {
        f.set(address, this.rt('rmwSlow', va, w.i32(size)));
        f.if(w.eqz(address), () => this.fail());
      },
    );
    return {
      address,
      done: () => f.if(w.eq(address, w.i32(L.BOUNCE)), () => f.drop(this.rt('rmwCommit'))),
    };
  }

  /** Leaves the region at this instruction; the interpreter repeats it and raises what there is to raise. */
  fail(): void {
    if (!this.#stored) this.f.set(this.ccOp, this.#op());
    this.f.set(this.where, this.#place(0, this.remaining));
    this.f.br(this.failLabel);
  }

  raise(_vector: number, _error?: number): void {
    this.fail();
  }

  // --- flags ----------------------------------------------------------------------------------------------------

  protected setLazyFlags(op: number, dst: Expr, src?: Expr, src2?: Expr): void {
    const { f } = this;
    this.#flagsUsed = true;
    const values = [dst, src, src2].map((x) => (x === undefined ? undefined : this.tmp(x)));
    f.set(this.ccDst, values[0]!);
    if (values[1] !== undefined) f.set(this.ccSrc, values[1]);
    if (values[2] !== undefined) f.set(this.ccSrc2, values[2]);
    this.#known = op;
    this.#stored = false;
    this.#carryOverridden = false;
    this.#overflowOverridden = false;
  }

  overrideCarry(carry: Expr, overflow?: Expr): void {
    const { f } = this;
    this.#flagsUsed = true;
    if (this.#known === undefined) {
      const cf = w.or(w.shl(carry, L.CC_CARRY_SHIFT), L.CC_OVER_CF);
      const kept = w.and(this.ccOp, overflow === undefined ? ~L.CC_CARRY : 0xff);
      const of = overflow === undefined ? w.i32(0) : w.or(w.shl(overflow, L.CC_OVERFLOW_SHIFT), L.CC_OVER_OF);
      f.set(this.ccOp, w.or(w.or(kept, cf), of));
      return;
    }
    const values = [carry, overflow].map((x) => (x === undefined ? undefined : this.tmp(x)));
    f.set(this.#ccCarry, values[0]!);
    this.#carryOverridden = true;
    if (values[1] !== undefined) {
      f.set(this.#ccOverflow, values[1]);
      this.#overflowOverridden = true;
    }
    this.#stored = false;
  }

  /** CC_OP as it is now. */
  #op(): Expr {
    if (this.#known === undefined) return this.ccOp;
    let op: Expr = w.i32(this.#known);
    if (this.#carryOverridden) op = w.or(w.shl(this.#ccCarry, L.CC_CARRY_SHIFT), this.#known | L.CC_OVER_CF);
    if (this.#overflowOverridden)
      op = w.or(op, w.or(w.shl(this.#ccOverflow, L.CC_OVERFLOW_SHIFT), L.CC_OVER_OF));
    return op;
  }

  protected flagSource(): FlagSource {
    this.#flagsUsed = true;
    return {
      known: this.#known,
      op: this.#op(),
      dst: this.ccDst,
      src: this.ccSrc,
      src2: this.ccSrc2,
      ...(this.#carryOverridden ? { carry: this.#ccCarry } : {}),
      ...(this.#overflowOverridden ? { overflow: this.#ccOverflow } : {}),
    };
  }

  /** Makes the local ccOp hold what is known; to be done before control flow joins. */
  storeFlagKind(): void {
    if (this.#stored) return;
    this.f.set(this.ccOp, this.#op());
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

  // --- control transfers -------------------------------------------------------------------------------------------

  #nextOffset(): number {
    return this.#page + this.insn.offset + this.insn.length;
  }

  nextRip(): Expr {
    return w.add(this.vbase, w.i64(this.#nextOffset()));
  }

  jumpRelative(operand: Operand): void {
    assert(operand.kind === 'rel', 'branch target expected');
    this.storeFlagKind();
    this.flow.goto(this.#page + operand.reg);
  }

  jumpIf(condition: Expr, operand: Operand): void {
    assert(operand.kind === 'rel', 'branch target expected');
    const test = this.tmp(condition);
    this.storeFlagKind();
    this.f.if(test, () => this.flow.goto(this.#page + operand.reg));
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
