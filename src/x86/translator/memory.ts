/**
 * Guest memory in a region's code: the look at the TLB and the address that follows from it, alone or for a group of
 * accesses at once (groups.ts); misses, page borders and decoded code go to the runtime.
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';
import { type RuntimeImports, type Size, storeBySize } from '../semantics/emitter.ts';
import type { Group, Member, Memberships } from './groups.ts';
import { type FlagState, RegionState } from './state.ts';
import type { Steadiness } from './steadiness.ts';
import { REGION_SYMBOL } from './symbols.ts';

const PAGE_OFFSET = 0xfff;
const PAGE_MASK = w.i64(-4096);
const ENTRY_SHIFT = 12 - L.TLB_ENTRY_SHIFT;
const ENTRY_MASK = w.i32((L.TLB_ENTRIES - 1) << L.TLB_ENTRY_SHIFT);
const SLOW_STORES = { 1: 'storeSlow8', 2: 'storeSlow16', 4: 'storeSlow32', 8: 'storeSlow64' } as const;

export interface MemoryOptions {
  /** Names the region to the runtime (see groupSlow). */
  readonly id: number;
  /** Accesses that could be checked together lie across pages too often. */
  readonly scattered: boolean;
  /** The runtime is called for what misses the TLB; else it leaves the region. */
  readonly patient: boolean;
}

/**
 * The page that an access or group in a loop was in last time, as the TLB had it. Good for as long as the region runs
 * on: while nothing but RAM is accessed no mapping changes, and loops that call the runtime for more have no memos.
 * Kept in memory: locals would take registers from the loop.
 */
interface Memo {
  /** Address of the entry in MEMOS. */
  readonly at: number;
  /** What is compared is the address of the page's last operand; else the page, and a bound on the offset in it. */
  readonly aligned: boolean;
}

export abstract class RegionMemory extends RegionState {
  readonly #options: MemoryOptions;
  /** The present instruction's accesses that are checked together with others, and where their addresses are. */
  #memberships: Memberships | undefined;
  #operandAddress: LocalGet | undefined;
  readonly #stackAddresses: LocalGet[] = [];
  /** Locals for the pointers of the block's groups, and how many of them are taken. */
  readonly #pointerLocals: LocalGet[] = [];
  #pointersTaken = 0;
  /** Of the innermost loop around the block. */
  #steadiness: Steadiness | undefined;
  #memos = 0;

  constructor(f: FunctionBuilder, runtime: RuntimeImports, options: MemoryOptions) {
    super(f, runtime);
    this.#options = options;
  }

  override beginBlock(
    page: number,
    flags: FlagState | undefined,
    available = 0,
    steadiness?: Steadiness,
  ): void {
    super.beginBlock(page, flags, available);
    this.#pointersTaken = 0;
    this.#steadiness = steadiness;
  }

  /** Another instruction begins. */
  protected beginAccesses(memberships: Memberships | undefined): void {
    this.#memberships = memberships;
    this.#operandAddress = undefined;
    // setting the length of an array takes V8 long
    if (this.#stackAddresses.length > 0) this.#stackAddresses.length = 0;
  }

  /** The TLB's entry for `va`. */
  #entryOf(va: LocalGet): LocalGet {
    return this.tmp(w.add(w.and(w.shrU(w.wrap(va), ENTRY_SHIFT), ENTRY_MASK), this.tlbBase));
  }

  /** The entry for [va, va + size); leaves the region if the TLB does not have all of it. */
  #present(va: LocalGet, size: number, tag: number): LocalGet {
    const entry = this.#entryOf(va);
    this.failIf(w.ne(w.load64(entry, tag), pageOfLast(va, size)));
    return entry;
  }

  /** The address in our memory of the byte at `va`; leaves the region if the TLB does not have all of [va, va + size). */
  #find(va: LocalGet, size: number, tag: number, member: Member | undefined): Expr {
    const memo = member === undefined ? undefined : this.#memoOf(member.group, size);
    if (memo === undefined) return inMemory(va, this.#present(va, size, tag));
    this.f.ifRarely(w.eqz(inMemo(memo, va, size)), () => {
      this.#remember(memo, va, size, w.load32(this.#present(va, size, tag), L.TLB_ADDEND));
    });
    return w.add(w.wrap(va), w.load32(w.i32(0), memo.at + L.MEMO_ADDEND));
  }

  /** A memo for a group that is likely to stay in its page while the loop goes round. */
  #memoOf({ base, index, narrow }: Group, size: number): Memo | undefined {
    const steady = this.#steadiness;
    if (steady === undefined || this.#memos === L.MAX_MEMOS) return undefined;
    if (base >= 0 && steady[base] !== true) return undefined;
    if (index >= 0 && !narrow && steady[index] !== true) return undefined;
    // what is aligned to its own size does not cross the border of a page
    return { at: L.MEMOS + 32 * this.#memos++, aligned: size <= 16 && (size & (size - 1)) === 0 };
  }

  /** Code that forgets the pages that another region has left behind; runs before all other code. */
  #clearMemos(): void {
    for (let i = 0; i < this.#memos; i++) this.f.store64(w.i32(0), w.i64(0), L.MEMOS + 32 * i);
  }

  /**
   * Looks `size` bytes at `va` up: runs `found` with their address in our memory, or `missed` when the TLB does not have
   * them in one page (only in a patient region: others leave then).
   */
  #locate(
    va: LocalGet,
    size: number,
    tag: number,
    member: Member | undefined,
    found: (address: Expr) => void,
    missed: () => void,
  ): void {
    const { f } = this;
    if (!this.#options.patient) return found(this.#find(va, size, tag, member));
    const memo = member === undefined ? undefined : this.#memoOf(member.group, size);
    const lookUp = (): void => {
      const entry = this.#entryOf(va);
      f.if(
        w.eq(w.load64(entry, tag), pageOfLast(va, size)),
        () => {
          const addend = this.tmp(w.load32(entry, L.TLB_ADDEND));
          if (memo !== undefined) this.#remember(memo, va, size, addend);
          found(w.add(w.wrap(va), addend));
        },
        missed,
        true,
      );
    };
    if (memo === undefined) return lookUp();
    const direct = w.add(w.wrap(va), w.load32(w.i32(0), memo.at + L.MEMO_ADDEND));
    f.if(inMemo(memo, va, size), () => found(direct), lookUp, true);
  }

  /** Makes a memo of the page of `va`. */
  #remember({ at, aligned }: Memo, va: LocalGet, size: number, addend: Expr): void {
    const { f } = this;
    const zero = w.i32(0);
    f.store32(zero, addend, at + L.MEMO_ADDEND);
    if (aligned) f.store64(zero, w.xor(w.or(va, w.i64(PAGE_OFFSET)), w.i64(size - 1)), at);
    else {
      f.store64(zero, w.and(va, PAGE_MASK), at + L.MEMO_PAGE);
      f.store64(zero, w.i64(PAGE_OFFSET + 2 - size), at);
    }
  }

  override loadState(): void {
    super.loadState();
    this.#clearMemos();
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
        this.#stackAddresses.push(va);
        return va;
      },
      commit,
    };
  }

  /** The group that an access belongs to. */
  #memberOf(va: LocalGet): Member | undefined {
    if (this.#memberships === undefined) return undefined;
    if (va === this.#operandAddress) return this.#memberships.operand;
    return this.#stackAddresses.includes(va) ? this.#memberships.stack : undefined;
  }

  /** Where the group of the access at `va` begins in our memory; 0 in a scattered region where its check has failed. */
  #pointerOf(va: LocalGet, member: Member, write: boolean): LocalGet {
    const { f } = this;
    const { group, offset } = member;
    if (group.pointer !== undefined) return group.pointer;
    const pointer = (this.#pointerLocals[this.#pointersTaken++] ??= f.local('i32'));
    group.pointer = pointer;
    const span = group.high - group.low;
    const low = group.low === offset ? va : this.tmp(w.add(va, w.i64(group.low - offset)));
    this.#locate(
      low,
      span,
      group.write ? L.TLB_WRITE : L.TLB_READ,
      member,
      (address) => f.set(pointer, address),
      () => {
        const kind = !group.write ? 0 : write ? 1 : 2;
        const region = w.symbol(this.#options.id, REGION_SYMBOL);
        f.set(pointer, narrow(this.rt('groupSlow', low, w.i32(span), w.i32(kind), region)));
        if (!this.#options.scattered) this.failIf(w.eqz(pointer));
      },
    );
    return pointer;
  }

  /**
   * The access at `va` as one of a group: runs `direct` with the group's pointer and the distance from there where the
   * group's check has succeeded, and else `alone` (only in a scattered region: in others the failed check leaves).
   */
  #grouped(
    va: LocalGet,
    member: Member,
    write: boolean,
    direct: (pointer: LocalGet, distance: number) => void,
    alone: (distance: number) => void,
  ): void {
    const pointer = this.#pointerOf(va, member, write);
    const distance = member.offset - member.group.low;
    if (this.#options.scattered)
      this.f.if(
        pointer,
        () => direct(pointer, distance),
        () => alone(distance),
      );
    else direct(pointer, distance);
  }

  protected readPointer(va: LocalGet, size: number): Expr {
    const member = this.#memberOf(va);
    if (member === undefined || member.group.accesses === 1) return this.#readAlone(va, size, member);
    if (!this.#options.scattered) return this.#groupedAddress(va, member, false);
    // The distance is taken off the rare address (all are beyond MAX_SPAN), and so is part of the load itself.
    const pointer = this.f.temporary('i32');
    this.#grouped(
      va,
      member,
      false,
      (found) => this.f.set(pointer, found),
      (distance) => this.f.set(pointer, w.sub(this.#readAlone(va, size, undefined), distance)),
    );
    return w.displaced(pointer, member.offset - member.group.low);
  }

  /** Where the region is not scattered: the address of an access of a group. */
  #groupedAddress(va: LocalGet, member: Member, write: boolean): Expr {
    let address: Expr = w.i32(0);
    this.#grouped(
      va,
      member,
      write,
      (pointer, distance) => (address = w.displaced(pointer, distance)),
      () => undefined,
    );
    return address;
  }

  #readAlone(va: LocalGet, size: number, member: Member | undefined): Expr {
    if (!this.#options.patient) return this.#find(va, size, L.TLB_READ, member);
    return this.#addressOf(va, size, L.TLB_READ, member, 'loadSlow');
  }

  /** In a patient region: the address that the TLB or else `slow` says, which fails with 0. */
  #addressOf(
    va: LocalGet,
    size: number,
    tag: number,
    member: Member | undefined,
    slow: 'loadSlow' | 'rmwSlow',
  ): LocalGet {
    const { f } = this;
    const address = f.temporary('i32');
    this.#locate(
      va,
      size,
      tag,
      member,
      (found) => f.set(address, found),
      () => {
        f.set(address, narrow(this.rt(slow, va, w.i32(size))));
        this.failIf(w.eqz(address));
      },
    );
    return address;
  }

  protected writeMemory(va: LocalGet, size: number, x: Expr): void {
    const value = this.tmp(x);
    const member = this.#memberOf(va);
    if (member === undefined || member.group.accesses === 1 || !member.group.write) {
      this.#writeAlone(va, size, value, member?.group.accesses === 1 ? member : undefined);
      return;
    }
    this.#grouped(
      va,
      member,
      true,
      (pointer, distance) => storeBySize(this.f, w.displaced(pointer, distance), size, value),
      () => this.#writeAlone(va, size, value, undefined),
    );
  }

  #writeAlone(va: LocalGet, size: number, value: LocalGet, member: Member | undefined): void {
    const { f } = this;
    this.#locate(
      va,
      size,
      L.TLB_WRITE,
      member,
      (address) => storeBySize(f, address, size, value),
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
        this.failIf(w.eqz(done));
      },
    );
  }

  protected updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void } {
    const member = this.#memberOf(va);
    if (member === undefined || !member.group.write) return this.#updateAlone(va, size, undefined);
    if (member.group.accesses === 1) return this.#updateAlone(va, size, member);
    if (!this.#options.scattered)
      return { address: this.#groupedAddress(va, member, true), done: () => undefined };
    const any = this.f.temporary('i32');
    let commit = (): void => undefined;
    this.#grouped(
      va,
      member,
      true,
      (pointer, distance) => this.f.set(any, w.displaced(pointer, distance)),
      () => {
        const { address, done } = this.#updateAlone(va, size, undefined);
        this.f.set(any, address);
        commit = done;
      },
    );
    const isBounce = w.eq(any, w.i32(L.BOUNCE));
    return { address: any, done: () => this.f.ifRarely(isBounce, commit) };
  }

  #updateAlone(
    va: LocalGet,
    size: number,
    member: Member | undefined,
  ): { address: LocalGet; done: () => void } {
    const { f } = this;
    if (!this.#options.patient)
      return { address: this.tmp(this.#find(va, size, L.TLB_WRITE, member)), done: () => undefined };
    const address = this.#addressOf(va, size, L.TLB_WRITE, member, 'rmwSlow');
    return {
      address,
      done: () => f.ifRarely(w.eq(address, w.i32(L.BOUNCE)), () => f.drop(this.rt('rmwCommit'))),
    };
  }
}

/**
 * The address that a call has returned. V8 takes the upper half of the host's register for unknown behind a call, and
 * would clear it at each access through a local that may hold the result, also where it does not.
 */
function narrow(called: Expr): Expr {
  return w.or(called, w.load32(w.i32(0), L.ZERO));
}

/** The page of the last byte of [va, va + size), as tags of the TLB have it. */
function pageOfLast(va: LocalGet, size: number): Expr {
  return w.and(size === 1 ? va : w.add(va, w.i64(size - 1)), PAGE_MASK);
}

/** Where linear address `va` is in our memory, by the entry of the TLB that has it. */
function inMemory(va: LocalGet, entry: LocalGet): Expr {
  return w.add(w.wrap(va), w.load32(entry, L.TLB_ADDEND));
}

/** Whether all of [va, va + size) lies in the page of a memo; while nothing is remembered it never does. */
function inMemo({ at, aligned }: Memo, va: LocalGet, size: number): Expr {
  const zero = w.i32(0);
  if (aligned) return w.eq(w.or(va, w.i64(PAGE_OFFSET ^ (size - 1))), w.load64(zero, at));
  return w.ltU(w.sub(va, w.load64(zero, at + L.MEMO_PAGE)), w.load64(zero, at));
}
