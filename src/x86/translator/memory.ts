/**
 * Guest memory in a region's code: the look at the TLB and the address that follows from it, alone or for a group of
 * accesses at once (groups.ts); misses, page borders and decoded code go to the runtime.
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';
import { type RuntimeImports, type Size, storeBySize } from '../semantics/emitter.ts';
import type { Member, Memberships } from './groups.ts';
import { type FlagState, RegionState } from './state.ts';

const PAGE_MASK = -4096n;
const SLOW_STORES = { 1: 'storeSlow8', 2: 'storeSlow16', 4: 'storeSlow32', 8: 'storeSlow64' } as const;

export interface MemoryOptions {
  /** Names the region to the runtime (see groupSlow). */
  readonly id: number;
  /** Accesses that could be checked together lie across pages too often. */
  readonly scattered: boolean;
  /** The runtime is called for what misses the TLB; else it leaves the region. */
  readonly patient: boolean;
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

  constructor(f: FunctionBuilder, runtime: RuntimeImports, options: MemoryOptions) {
    super(f, runtime);
    this.#options = options;
  }

  override beginBlock(page: number, flags: FlagState | undefined): void {
    super.beginBlock(page, flags);
    this.#pointersTaken = 0;
  }

  /** Another instruction begins. */
  protected beginAccesses(memberships: Memberships | undefined): void {
    this.#memberships = memberships;
    this.#operandAddress = undefined;
    this.#stackAddresses.length = 0;
  }

  /** A look at the TLB: the access may go straight to memory if `tag` is `page`. */
  #probe(va: LocalGet, size: number, tag: number): { entry: LocalGet; tag: Expr; page: Expr } {
    const shift = 12 - L.TLB_ENTRY_SHIFT;
    const mask = (L.TLB_ENTRIES - 1) << L.TLB_ENTRY_SHIFT;
    const entry = this.tmp(w.add(w.and(w.wrap(w.shrU(va, w.i64(shift))), mask), this.tlbBase));
    const last = size === 1 ? va : w.add(va, w.i64(size - 1));
    return { entry, tag: w.load64(entry, tag), page: w.and(last, w.i64(PAGE_MASK)) };
  }

  /** The address in our memory of the byte at `va`; leaves the region if the TLB does not have all of [va, va + size). */
  #find(va: LocalGet, size: number, tag: number): Expr {
    const probe = this.#probe(va, size, tag);
    this.failIf(w.ne(probe.tag, probe.page));
    return inMemory(va, probe.entry);
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

  /** The group that an access belongs to, if it has several members. */
  #memberOf(va: LocalGet): Member | undefined {
    if (this.#memberships === undefined) return undefined;
    const member =
      va === this.#operandAddress
        ? this.#memberships.operand
        : this.#stackAddresses.includes(va)
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
    let { pointer } = group;
    if (pointer === undefined) {
      const target = (this.#pointerLocals[this.#pointersTaken++] ??= f.local('i32'));
      pointer = group.pointer = target;
      const span = group.high - group.low;
      const low = group.low === offset ? va : this.tmp(w.add(va, w.i64(group.low - offset)));
      const tag = group.write ? L.TLB_WRITE : L.TLB_READ;
      if (this.#options.patient) {
        const probe = this.#probe(low, span, tag);
        f.if(
          w.eq(probe.tag, probe.page),
          () => f.set(target, inMemory(low, probe.entry)),
          () => {
            const kind = !group.write ? 0 : write ? 1 : 2;
            f.set(target, this.rt('groupSlow', low, w.i32(span), w.i32(kind), w.i32(this.#options.id)));
            if (!this.#options.scattered) this.failIf(w.eqz(target));
          },
          true,
        );
      } else f.set(target, this.#find(low, span, tag));
    }
    const address = w.displaced(pointer, offset - group.low);
    if (this.#options.scattered) f.if(pointer, () => direct(address), alone);
    else direct(address);
  }

  protected readPointer(va: LocalGet, size: number): Expr {
    const member = this.#memberOf(va);
    if (member === undefined) return this.#readAlone(va, size);
    let address: Expr = w.i32(0);
    if (this.#options.scattered) {
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

  #readAlone(va: LocalGet, size: number): Expr {
    const { f } = this;
    if (!this.#options.patient) return this.#find(va, size, L.TLB_READ);
    const { entry, tag, page } = this.#probe(va, size, L.TLB_READ);
    const address = f.temporary('i32');
    f.if(
      w.eq(tag, page),
      () => f.set(address, inMemory(va, entry)),
      () => {
        f.set(address, this.rt('loadSlow', va, w.i32(size)));
        this.failIf(w.eqz(address));
      },
      true,
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
    if (!this.#options.patient) {
      storeBySize(f, this.#find(va, size, L.TLB_WRITE), size, value);
      return;
    }
    const { entry, tag, page } = this.#probe(va, size, L.TLB_WRITE);
    f.if(
      w.eq(tag, page),
      () => storeBySize(f, inMemory(va, entry), size, value),
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
      true,
    );
  }

  protected updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void } {
    const member = this.#memberOf(va);
    if (member === undefined || !member.group.write) return this.#updateAlone(va, size);
    if (!this.#options.scattered) {
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
    return { address: any, done: () => this.f.ifRarely(isBounce, commit) };
  }

  #updateAlone(va: LocalGet, size: number): { address: LocalGet; done: () => void } {
    const { f } = this;
    if (!this.#options.patient)
      return { address: this.tmp(this.#find(va, size, L.TLB_WRITE)), done: () => undefined };
    const { entry, tag, page } = this.#probe(va, size, L.TLB_WRITE);
    const address = f.temporary('i32');
    f.if(
      w.eq(tag, page),
      () => f.set(address, inMemory(va, entry)),
      () => {
        f.set(address, this.rt('rmwSlow', va, w.i32(size)));
        this.failIf(w.eqz(address));
      },
      true,
    );
    return {
      address,
      done: () => f.ifRarely(w.eq(address, w.i32(L.BOUNCE)), () => f.drop(this.rt('rmwCommit'))),
    };
  }
}

/** Where linear address `va` is in our memory, by the entry of the TLB that has it. */
function inMemory(va: LocalGet, entry: LocalGet): Expr {
  return w.add(w.wrap(va), w.load32(entry, L.TLB_ADDEND));
}
