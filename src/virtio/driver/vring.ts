/**
 * Driver side of the split virtqueue: add buffers, kick, get them back, and ask for or refuse callbacks. It may be
 * used against any device that reads the ring from guest memory. VIRTIO 1.4 §2.7.13 and §2.7.14.
 */
import * as l from '../queue/layout.ts';
import type { DriverMemory, Sg } from './memory.ts';

export interface VringOptions {
  readonly index: number;
  readonly name: string;
  readonly size: number;
  readonly memory: DriverMemory;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  /** Allocate the ring in one piece, as the legacy interface wants it. */
  readonly legacyLayout?: boolean;
  /** Tells the device that buffers are available. */
  readonly notify: (index: number) => void;
  /** Called on a used buffer notification; take the buffers with `getBuf`. */
  readonly callback?: ((queue: Vring) => void) | undefined;
}

/** A buffer that the device has used. */
export interface UsedBuffer<T> {
  readonly token: T;
  /** Bytes that the device says it wrote. */
  readonly length: number;
}

interface Slot {
  readonly token: unknown;
  /** Descriptors of the table that it takes. */
  readonly descriptors: number;
  readonly indirect: number | undefined;
}

export class Vring<T = unknown> {
  readonly index: number;
  readonly name: string;
  readonly size: number;
  readonly addresses: l.RingAddresses;
  callback: ((queue: Vring) => void) | undefined;
  /** The device wrote something into the used ring that it never got: nothing works until a reset. */
  broken = false;
  readonly #o: VringOptions;
  readonly #view: DataView;
  readonly #memory: DriverMemory;
  readonly #allocations: number[];
  // Offsets of the parts in the memory's buffer.
  readonly #desc: number;
  readonly #avail: number;
  readonly #used: number;
  readonly #slots: (Slot | undefined)[];
  #freeHead = 0;
  #numFree: number;
  #availIdx = 0;
  #lastUsed = 0;
  /** Buffers added since the last kick. */
  #added = 0;
  #callbackOff = false;

  constructor(options: VringOptions) {
    this.#o = options;
    this.index = options.index;
    this.name = options.name;
    this.size = options.size;
    this.callback = options.callback;
    this.#memory = options.memory;
    this.#view = options.memory.ram.view;
    const { size, memory } = options;
    if (options.legacyLayout === true) {
      const base = memory.allocate(l.legacyBytes(size), l.LEGACY_ALIGN);
      this.#allocations = [base];
      this.addresses = l.legacyLayout(base, size);
    } else {
      this.addresses = {
        desc: memory.allocate(l.descBytes(size), l.DESC_ALIGN),
        avail: memory.allocate(l.availBytes(size, true), l.AVAIL_ALIGN),
        used: memory.allocate(l.usedBytes(size, true), l.USED_ALIGN),
      };
      this.#allocations = [this.addresses.desc, this.addresses.avail, this.addresses.used];
    }
    this.#desc = memory.ram.locate(this.addresses.desc, l.descBytes(size));
    this.#avail = memory.ram.locate(this.addresses.avail, l.availBytes(size, true));
    this.#used = memory.ram.locate(this.addresses.used, l.usedBytes(size, true));
    this.#slots = Array.from({ length: size }, () => undefined);
    this.#numFree = size;
    for (let i = 0; i < size; i++)
      this.#view.setUint16(this.#desc + i * l.DESC_SIZE + l.DESC_NEXT, i + 1, true);
    if (options.callback === undefined) this.disableCb();
  }

  /** Descriptors that are free. */
  get numFree(): number {
    return this.#numFree;
  }

  /** Buffers that the device has and has not given back. */
  get inFlight(): number {
    return this.#slots.filter((slot) => slot !== undefined).length;
  }

  /**
   * Makes one buffer available: pieces that the device reads, then pieces that it writes (§2.7.4.2). `token` comes
   * back from `getBuf`. False, and nothing changed, when there are not enough descriptors.
   */
  addBuf(out: readonly Sg[], into: readonly Sg[], token: T): boolean {
    const total = out.length + into.length;
    if (this.broken || total === 0) return false;
    // "A driver MUST NOT create a descriptor chain longer than the Queue Size" (§2.7.5.3.1).
    if (total > this.size) return false;
    const indirect = this.#o.indirect && total > 1 && this.#numFree > 0;
    const needed = indirect ? 1 : total;
    if (needed > this.#numFree) return false;
    const head = this.#freeHead;
    let table: number | undefined;
    if (indirect) {
      table = this.#memory.allocate(total * l.DESC_SIZE);
      const at = this.#memory.ram.locate(table, total * l.DESC_SIZE);
      this.#fill(out, into, at, 0, (i) => i + 1);
      const next = this.#next(head);
      this.#describe(
        this.#desc + head * l.DESC_SIZE,
        table,
        total * l.DESC_SIZE,
        l.VIRTQ_DESC_F_INDIRECT,
        next,
      );
      this.#freeHead = next;
    } else {
      this.#freeHead = this.#fill(out, into, this.#desc, head, (i) => this.#next(i));
    }
    this.#numFree -= needed;
    this.#slots[head] = { token, descriptors: needed, indirect: table };
    this.#view.setUint16(this.#avail + l.AVAIL_RING + (this.#availIdx % this.size) * 2, head, true);
    // The entry is written before idx: on one thread this order is the barrier that §2.7.13.3.1 asks for.
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.#view.setUint16(this.#avail + l.AVAIL_IDX, this.#availIdx, true);
    this.#added++;
    return true;
  }

  addOutbuf(out: readonly Sg[], token: T): boolean {
    return this.addBuf(out, [], token);
  }

  addInbuf(into: readonly Sg[], token: T): boolean {
    return this.addBuf([], into, token);
  }

  /** As `addBuf`, from lists of lists: the first `outCount` are for the device to read. */
  addSgs(lists: readonly (readonly Sg[])[], outCount: number, token: T): boolean {
    return this.addBuf(lists.slice(0, outCount).flat(), lists.slice(outCount).flat(), token);
  }

  /** Does the device want to hear of what was added since the last kick? Call `notify` when it does. */
  kickPrepare(): boolean {
    const added = this.#added;
    this.#added = 0;
    if (added === 0) return false;
    if (!this.#o.eventIdx) {
      // "If flags is 1, the driver SHOULD NOT send a notification" (§2.7.10.1).
      return (this.#view.getUint16(this.#used + l.USED_FLAGS, true) & l.VIRTQ_USED_F_NO_NOTIFY) === 0;
    }
    const event = this.#view.getUint16(this.#used + l.USED_RING + l.USED_ELEM_SIZE * this.size, true);
    return added >= 0x10000 || l.needEvent(event, this.#availIdx, (this.#availIdx - added) & 0xffff);
  }

  notify(): void {
    this.#o.notify(this.index);
  }

  /** Tells the device, if it wants to be told; returns whether it was. */
  kick(): boolean {
    if (!this.kickPrepare()) return false;
    this.notify();
    return true;
  }

  /** True when the device has used a buffer that was not taken yet. */
  get moreUsed(): boolean {
    return this.#view.getUint16(this.#used + l.USED_IDX, true) !== this.#lastUsed;
  }

  /** Token of the buffer that `getBuf` would give. */
  peek(): T | undefined {
    if (this.broken || !this.moreUsed) return undefined;
    const at = this.#used + l.USED_RING + (this.#lastUsed % this.size) * l.USED_ELEM_SIZE;
    return this.#slots[this.#view.getUint32(at, true)]?.token as T | undefined;
  }

  /** The next buffer that the device has used, in the device's order; undefined when there is none. */
  getBuf(): UsedBuffer<T> | undefined {
    if (this.broken || !this.moreUsed) return undefined;
    const at = this.#used + l.USED_RING + (this.#lastUsed % this.size) * l.USED_ELEM_SIZE;
    const id = this.#view.getUint32(at, true);
    const length = this.#view.getUint32(at + 4, true);
    const slot = this.#slots[id];
    if (slot === undefined) {
      this.broken = true;
      return undefined;
    }
    this.#release(id, slot);
    this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
    if (this.#o.eventIdx && !this.#callbackOff) this.#setUsedEvent(this.#lastUsed);
    return { token: slot.token as T, length };
  }

  /** Asks the device not to notify. It still may: callers handle spurious callbacks. */
  disableCb(): void {
    this.#callbackOff = true;
    // With EVENT_IDX used_event just stays behind: "the driver MUST set flags to 0" then (§2.7.7.1).
    if (!this.#o.eventIdx)
      this.#view.setUint16(this.#avail + l.AVAIL_FLAGS, l.VIRTQ_AVAIL_F_NO_INTERRUPT, true);
    else this.#setUsedEvent((this.#lastUsed - 1) & 0xffff);
  }

  /** Asks for callbacks again; false when buffers were used meanwhile: take them, nobody calls for those. */
  enableCb(): boolean {
    this.#callbackOff = false;
    if (this.#o.eventIdx) this.#setUsedEvent(this.#lastUsed);
    else this.#view.setUint16(this.#avail + l.AVAIL_FLAGS, 0, true);
    return !this.moreUsed;
  }

  /** As `enableCb`, but the device may wait until three quarters of what it has are used. */
  enableCbDelayed(): boolean {
    if (!this.#o.eventIdx) return this.enableCb();
    this.#callbackOff = false;
    const pending = (this.#availIdx - this.#lastUsed) & 0xffff;
    const wait = Math.floor((pending * 3) / 4);
    this.#setUsedEvent((this.#lastUsed + wait) & 0xffff);
    const used = this.#view.getUint16(this.#used + l.USED_IDX, true);
    return ((used - this.#lastUsed) & 0xffff) <= wait;
  }

  /** Called by the transport on a used buffer notification. */
  interrupt(): void {
    if (!this.broken) this.callback?.(this as Vring);
  }

  /** Takes back a buffer that the device never used: only after a reset of the queue or the device (§3.3.1). */
  detachUnused(): T | undefined {
    const id = this.#slots.findIndex((slot) => slot !== undefined);
    if (id < 0) return undefined;
    const slot = this.#slots[id]!;
    this.#release(id, slot);
    return slot.token as T;
  }

  /** Frees the ring's memory. */
  destroy(): void {
    while (this.inFlight > 0) this.detachUnused();
    for (const address of this.#allocations) this.#memory.free(address);
  }

  #next(index: number): number {
    return this.#view.getUint16(this.#desc + index * l.DESC_SIZE + l.DESC_NEXT, true);
  }

  #setUsedEvent(index: number): void {
    this.#view.setUint16(this.#avail + l.AVAIL_RING + 2 * this.size, index, true);
  }

  #describe(at: number, address: number, length: number, flags: number, next: number): void {
    this.#view.setUint32(at, address % 2 ** 32, true);
    this.#view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
    this.#view.setUint32(at + l.DESC_LEN, length, true);
    this.#view.setUint16(at + l.DESC_FLAGS, flags, true);
    this.#view.setUint16(at + l.DESC_NEXT, next, true);
  }

  /** Writes a chain into the table at `table`, from `first` on; returns the index behind its last descriptor. */
  #fill(
    out: readonly Sg[],
    into: readonly Sg[],
    table: number,
    first: number,
    after: (i: number) => number,
  ): number {
    const total = out.length + into.length;
    let index = first;
    [...out, ...into].forEach((sg, i) => {
      const next = after(index);
      const flags = (i < out.length ? 0 : l.VIRTQ_DESC_F_WRITE) | (i + 1 < total ? l.VIRTQ_DESC_F_NEXT : 0);
      this.#describe(table + index * l.DESC_SIZE, sg.address, sg.length, flags, next);
      index = next;
    });
    return index;
  }

  #release(head: number, slot: Slot): void {
    let last = head;
    for (let i = 1; i < slot.descriptors; i++) last = this.#next(last);
    this.#view.setUint16(this.#desc + last * l.DESC_SIZE + l.DESC_NEXT, this.#freeHead, true);
    this.#freeHead = head;
    this.#numFree += slot.descriptors;
    if (slot.indirect !== undefined) this.#memory.free(slot.indirect);
    this.#slots[head] = undefined;
  }
}
