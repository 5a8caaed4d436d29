/**
 * Device side of the split virtqueue: takes descriptor chains from the available ring, checks them once, hands out
 * views of guest memory, and publishes used buffers. Whatever the driver writes, nothing here throws or leaves RAM:
 * a ring that breaks the rules stops and DEVICE_NEEDS_RESET is set. VIRTIO 1.4 §2.7. (The packed ring, §2.8, will
 * stand beside this file as packed.ts and implement the same `Queue`.)
 */
import { assert } from '../../core/errors.ts';
import type { GuestMemory } from '../../core/memory.ts';
import type { TracePoint, Tracer } from '../../core/trace.ts';
import { CLAUSE } from '../clauses.ts';
import * as l from './layout.ts';
import type { Chain, Queue } from './queue.ts';

/** What a queue needs from the transport that owns it. */
export interface QueueEnvironment {
  /** For messages: `virtio-blk`. */
  readonly deviceName: string;
  readonly memory: GuestMemory;
  readonly tracer: Tracer;
  needsReset(message: string, clause?: string): void;
  guestError(message: string, clause?: string): void;
  /** A used buffer notification for queue `index`. */
  interrupt(index: number): void;
}

/** What the driver chose, and what was negotiated, when the queue is enabled. */
export interface RingSetup extends l.RingAddresses {
  readonly size: number;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  /** VIRTIO_F_NOTIFY_ON_EMPTY, which only the legacy interface knows. */
  readonly notifyOnEmpty?: boolean;
}

/** What a snapshot keeps of a queue. */
export interface QueueState {
  readonly setup: RingSetup | undefined;
  readonly lastAvail: number;
  readonly usedIdx: number;
  readonly notification: boolean;
  /** Heads of the chains that the device had taken and not completed, oldest first: `pop` gives them again. */
  readonly inFlight: readonly number[];
}

/**
 * Buffers that one chain may have, indirect ones included, unless the queue itself is larger. A driver must not
 * exceed the queue's size (§2.7.5.3.1), but Linux builds longer indirect tables for small queues and QEMU takes up
 * to 1024: so do we, and say so once. It bounds the work that one chain can cause.
 */
const CHAIN_LIMIT = 1024;

/**
 * Chains that one loop over the queue serves. A guest can have a device write into the ring that it serves (a disk
 * read into the available ring, say) and so make it endless; a driver that keeps the rules cannot come this far.
 */
const SERVE_LIMIT = 65536;

/** Reused from chain to chain: valid from `pop` until `push` or `unpop`. */
class SplitChain implements Chain {
  head = 0;
  readonly readable: Uint8Array[] = [];
  readonly writable: Uint8Array[] = [];
  /** Guest-physical addresses of `writable`, to say what was written. */
  readonly writableAt: number[] = [];
  readableLength = 0;
  writableLength = 0;
  /** The queue's epoch while the chain is in flight, -1 otherwise. */
  epoch = -1;
  /** Position in the order in which chains were taken, not counting those that were put back. */
  order = 0;
  /** True when it was taken before a snapshot, so that `unpop` does not move the ring's position. */
  replayed = false;
}

export class SplitQueue implements Queue {
  readonly index: number;
  readonly name: string;
  readonly maxSize: number;
  readonly #env: QueueEnvironment;
  readonly #memory: GuestMemory;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #pool: SplitChain[] = [];
  readonly #tracePop: TracePoint;
  readonly #tracePush: TracePoint;
  readonly #traceInterrupt: TracePoint;
  #setup: RingSetup | undefined;
  #broken = false;
  #paused = false;
  #size: number;
  // Offsets into memory: descriptors in bytes, the rest in 16-bit (or, for used elements, 32-bit) units.
  #desc = 0;
  #availIdxAt = 0;
  #availRingAt = 0;
  #usedEventAt = 0;
  #usedIdxAt = 0;
  #usedRingAt = 0;
  #availEventAt = 0;
  // Free-running 16-bit positions.
  #lastAvail = 0;
  #usedIdx = 0;
  #published = 0;
  #notification = true;
  /** The chain in flight of each head, and their number. */
  #byHead: (SplitChain | undefined)[] = [];
  #inFlight = 0;
  #order = 0;
  /** Heads to give before those of the available ring: what a snapshot found in flight. */
  #replay: number[] = [];
  /** Counts resets: chains of an earlier life are dropped when they come back. */
  #epoch = 0;

  constructor(index: number, name: string, maxSize: number, env: QueueEnvironment) {
    assert(maxSize <= l.MAX_QUEUE_SIZE && Number.isInteger(Math.log2(maxSize || 1)), `queue size ${maxSize}`);
    this.index = index;
    this.name = name;
    this.maxSize = maxSize;
    this.#size = maxSize;
    this.#env = env;
    this.#memory = env.memory;
    this.#u16 = new Uint16Array(env.memory.buffer, 0, env.memory.buffer.byteLength >> 1);
    this.#u32 = new Uint32Array(env.memory.buffer, 0, env.memory.buffer.byteLength >> 2);
    this.#tracePop = env.tracer.point('virtio.queue.pop');
    this.#tracePush = env.tracer.point('virtio.queue.push');
    this.#traceInterrupt = env.tracer.point('virtio.queue.interrupt');
  }

  // -- the transport's side ----------------------------------------------------------------------------------

  /** Starts the queue where the driver put it; false (and DEVICE_NEEDS_RESET) when it cannot be there. */
  enable(setup: RingSetup): boolean {
    const { size, eventIdx } = setup;
    assert(
      size > 0 && size <= this.maxSize && Number.isInteger(Math.log2(size)),
      'ring size unchecked',
      setup,
    );
    // "The driver MUST ensure that the physical address of the first byte of each virtqueue part is a multiple of
    // the specified alignment value" (§2.7).
    const aligned = (gpa: number, align: number) => gpa % align === 0;
    if (
      !aligned(setup.desc, l.DESC_ALIGN) ||
      !aligned(setup.avail, l.AVAIL_ALIGN) ||
      !aligned(setup.used, l.USED_ALIGN)
    ) {
      this.#break('a part of the ring is not aligned', CLAUSE.ringAligned);
      return false;
    }
    const desc = this.#memory.locate(setup.desc, l.descBytes(size));
    const avail = this.#memory.locate(setup.avail, l.availBytes(size, eventIdx));
    const used = this.#memory.locate(setup.used, l.usedBytes(size, eventIdx));
    if (desc < 0 || avail < 0 || used < 0) {
      this.#break('a part of the ring is not in RAM', CLAUSE.bufferNotRam);
      return false;
    }
    assert(avail % 2 === 0 && used % 4 === 0, 'RAM regions lie at odd offsets in the buffer');
    this.#setup = setup;
    this.#broken = false;
    this.#size = size;
    this.#desc = desc;
    this.#availIdxAt = (avail + l.AVAIL_IDX) >>> 1;
    this.#availRingAt = (avail + l.AVAIL_RING) >>> 1;
    this.#usedEventAt = this.#availRingAt + size;
    this.#usedIdxAt = (used + l.USED_IDX) >>> 1;
    this.#usedRingAt = (used + l.USED_RING) >>> 2;
    this.#availEventAt = (used + l.USED_RING + l.USED_ELEM_SIZE * size) >>> 1;
    this.#byHead = Array.from({ length: size }, () => undefined);
    return true;
  }

  /** "The device MUST reset any state of a virtqueue to the default state" (§2.6.1). */
  reset(): void {
    this.#setup = undefined;
    this.#broken = false;
    this.#size = this.maxSize;
    this.#lastAvail = 0;
    this.#usedIdx = 0;
    this.#published = 0;
    this.#notification = true;
    this.#byHead = [];
    this.#inFlight = 0;
    this.#replay = [];
    this.#epoch++;
  }

  /** Stops the queue for good (until reset): the device is in need of a reset. */
  markBroken(): void {
    this.#broken = true;
  }

  /** Keeps the device from the ring while it may not reach memory (PCI bus mastering is off). */
  setPaused(paused: boolean): void {
    this.#paused = paused;
  }

  save(): QueueState {
    // Chains that were pushed and not published would be lost.
    this.flush();
    const taken = this.#byHead.filter((chain) => chain !== undefined);
    taken.sort((x, y) => x.order - y.order);
    return {
      setup: this.#setup,
      lastAvail: this.#lastAvail,
      usedIdx: this.#published,
      notification: this.#notification,
      inFlight: [...taken.map((chain) => chain.head), ...this.#replay],
    };
  }

  restore(state: QueueState): void {
    this.reset();
    if (state.setup === undefined || !this.enable(state.setup)) return;
    this.#lastAvail = state.lastAvail;
    this.#usedIdx = state.usedIdx;
    this.#published = state.usedIdx;
    this.#notification = state.notification;
    this.#replay = state.inFlight.filter((head) => head < this.#size);
  }

  /** Entries that the driver made available and the device has not taken: for tracing, inspection and lint. */
  get available(): number {
    if (!this.enabled) return 0;
    return this.#waiting() + this.#replay.length;
  }

  get setup(): RingSetup | undefined {
    return this.#setup;
  }

  /** Chains that the device holds. */
  get inFlight(): number {
    return this.#inFlight;
  }

  // -- the device's side -------------------------------------------------------------------------------------

  get size(): number {
    return this.#size;
  }

  get enabled(): boolean {
    return this.#setup !== undefined && !this.#broken && !this.#paused;
  }

  get empty(): boolean {
    return this.available === 0;
  }

  pop(): Chain | undefined {
    if (!this.enabled) return undefined;
    const replayed = this.#replay.length > 0;
    const head = replayed ? this.#replay[0]! : this.#nextHead();
    if (head < 0) return undefined;
    if (this.#byHead[head] !== undefined) {
      this.#env.guestError(
        `${this.name}: a buffer in flight was made available again`,
        CLAUSE.exposedAltered,
      );
    }
    const chain = this.#pool.pop() ?? new SplitChain();
    chain.head = head;
    if (!this.#walk(chain, head)) {
      this.#recycle(chain);
      return undefined;
    }
    chain.epoch = this.#epoch;
    chain.order = this.#order++;
    chain.replayed = replayed;
    this.#byHead[head] = chain;
    this.#inFlight++;
    if (replayed) this.#replay.shift();
    else this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    if (this.#notification) this.#askForNotification();
    if (this.#tracePop.on) {
      this.#tracePop.emit({
        device: this.#env.deviceName,
        queue: this.index,
        head,
        readable: chain.readableLength,
        writable: chain.writableLength,
      });
    }
    return chain;
  }

  unpop(chain: Chain): void {
    const own = chain as SplitChain;
    if (own.epoch !== this.#epoch) return;
    // Out of turn, the ring's position would give another chain, one that the device has or has used.
    assert(own.order === this.#order - 1, `${this.name}: put back, but not taken last`, { head: own.head });
    this.#order--;
    if (own.replayed) this.#replay.unshift(own.head);
    else this.#lastAvail = (this.#lastAvail - 1) & 0xffff;
    this.#leave(own);
  }

  push(chain: Chain, written: number): void {
    const own = chain as SplitChain;
    // A completion for a ring that was reset, or that broke, meanwhile: nobody waits for it.
    if (own.epoch !== this.#epoch || this.#broken) return;
    assert(written >= 0 && written <= own.writableLength, `${this.name}: used length`, { written });
    let left = written;
    for (let i = 0; left > 0; i++) {
      const part = Math.min(left, own.writable[i]!.length);
      this.#memory.noteWritten(own.writableAt[i]!, part);
      left -= part;
    }
    // "The device MUST set len prior to updating the used idx" (§2.7.8.2): `flush` updates idx.
    const at = this.#usedRingAt + (this.#usedIdx & (this.#size - 1)) * 2;
    this.#u32[at] = own.head;
    this.#u32[at + 1] = written;
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    if (this.#tracePush.on) {
      this.#tracePush.emit({ device: this.#env.deviceName, queue: this.index, head: own.head, written });
    }
    this.#leave(own);
  }

  flush(): void {
    if (this.#broken || this.#published === this.#usedIdx) return;
    const old = this.#published;
    this.#published = this.#usedIdx;
    Atomics.store(this.#u16, this.#usedIdxAt, this.#usedIdx);
    if (!this.#driverWantsInterrupt(old)) return;
    if (this.#traceInterrupt.on) {
      this.#traceInterrupt.emit({ device: this.#env.deviceName, queue: this.index, used: this.#usedIdx });
    }
    this.#env.interrupt(this.index);
  }

  setNotification(enabled: boolean): void {
    this.#notification = enabled;
    if (!this.enabled) return;
    if (!this.#setup!.eventIdx) {
      Atomics.store(this.#u16, this.#usedIdxAt - 1, enabled ? 0 : l.VIRTQ_USED_F_NO_NOTIFY);
    } else if (enabled) {
      this.#askForNotification();
    } else {
      // "The device MUST set flags to 0" (§2.7.10.1): an entry that is long past never comes.
      Atomics.store(this.#u16, this.#availEventAt, (this.#lastAvail - 1) & 0xffff);
    }
  }

  [Symbol.iterator](): Iterator<Chain> {
    const result: { done: boolean; value: Chain | undefined } = { done: false, value: undefined };
    const finish = () => {
      result.done = true;
      result.value = undefined;
      return result as IteratorResult<Chain>;
    };
    let left = SERVE_LIMIT;
    this.setNotification(false);
    return {
      next: () => {
        let chain = left-- > 0 ? this.pop() : undefined;
        if (chain === undefined) {
          this.setNotification(true);
          // The driver may have added one after the last look and before it could see the request.
          chain = left > 0 ? this.pop() : undefined;
          if (chain === undefined) return finish();
          this.setNotification(false);
        }
        result.value = chain;
        return result as IteratorResult<Chain>;
      },
      return: () => {
        this.setNotification(true);
        return finish();
      },
    };
  }

  // -- inside ------------------------------------------------------------------------------------------------

  /** Entries of the available ring that were not taken yet; more than the ring has, where the driver is wrong. */
  #waiting(): number {
    return (Atomics.load(this.#u16, this.#availIdxAt) - this.#lastAvail) & 0xffff;
  }

  /** Head of the next chain in the available ring, checked; -1 when there is none or the ring is broken. */
  #nextHead(): number {
    const waiting = this.#waiting();
    if (waiting === 0) return -1;
    // "A driver MUST NOT decrement the available idx" (§2.7.6.1): more entries than the ring has cannot be meant.
    if (waiting > this.#size) {
      this.#break(`avail idx is ${waiting} ahead of a ring of ${this.#size}`, CLAUSE.availIdxDecremented);
      return -1;
    }
    if (this.#inFlight >= this.#size) {
      this.#break('more buffers are in flight than the ring has entries', CLAUSE.exposedAltered);
      return -1;
    }
    const head = this.#u16[this.#availRingAt + (this.#lastAvail & (this.#size - 1))]!;
    if (head >= this.#size) {
      this.#break(`descriptor ${head} is not in a table of ${this.#size}`, CLAUSE.descriptorLoop);
      return -1;
    }
    return head;
  }

  /** Follows a chain from `head`, filling `chain`; false when it breaks the rules (and the queue is broken). */
  #walk(chain: SplitChain, head: number): boolean {
    const view = this.#memory.view;
    let table = this.#desc;
    let entries = this.#size;
    // A chain of the ring never has more descriptors than the table: one more means that it loops.
    let left = this.#size;
    let inIndirect = false;
    let index = head;
    let buffers = 0;
    const limit = Math.max(CHAIN_LIMIT, this.#size);
    for (;;) {
      // "...loops in the descriptor chain are forbidden!" (§2.7.5.2)
      if (left-- === 0) return this.#fail('a descriptor chain loops', CLAUSE.descriptorLoop);
      const at = table + index * l.DESC_SIZE;
      const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
      const length = view.getUint32(at + l.DESC_LEN, true);
      const flags = view.getUint16(at + l.DESC_FLAGS, true);
      const next = view.getUint16(at + l.DESC_NEXT, true);
      if ((flags & l.VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!this.#setup!.indirect) {
          return this.#fail('INDIRECT without VIRTIO_F_INDIRECT_DESC', CLAUSE.indirectNotNegotiated);
        }
        if (inIndirect) return this.#fail('INDIRECT inside an indirect table', CLAUSE.indirectInIndirect);
        if ((flags & l.VIRTQ_DESC_F_NEXT) !== 0) {
          return this.#fail('INDIRECT together with NEXT', CLAUSE.indirectWithNext);
        }
        if (length === 0 || length % l.DESC_SIZE !== 0) {
          return this.#fail(`an indirect table of ${length} bytes`);
        }
        table = this.#memory.locate(address, length);
        if (table < 0) return this.#fail('an indirect table is not in RAM', CLAUSE.bufferNotRam);
        entries = length / l.DESC_SIZE;
        left = Math.min(entries, limit + 1);
        inIndirect = true;
        index = 0;
        continue;
      }
      if (++buffers > limit)
        return this.#fail(`a chain of more than ${limit} buffers`, CLAUSE.chainLongerThanQueue);
      if (!this.#add(chain, address, length, (flags & l.VIRTQ_DESC_F_WRITE) !== 0)) return false;
      if ((flags & l.VIRTQ_DESC_F_NEXT) === 0) break;
      if (next >= entries) {
        return this.#fail(`descriptor ${next} is not in a table of ${entries}`, CLAUSE.descriptorLoop);
      }
      index = next;
    }
    if (buffers > this.#size) {
      this.#env.guestError(
        `${this.name}: a chain is longer than the queue size`,
        CLAUSE.chainLongerThanQueue,
      );
    }
    return true;
  }

  #add(chain: SplitChain, address: number, length: number, writable: boolean): boolean {
    if (!writable && chain.writable.length > 0) {
      // "The driver MUST place any device-writable descriptor elements after any device-readable" (§2.7.4.2).
      return this.#fail('a device-readable buffer after a writable one', CLAUSE.writableAfterReadable);
    }
    // No sentence forbids it, but no device can use it, and QEMU refuses it as well.
    if (length === 0) return this.#fail('a buffer of no bytes');
    // "Drivers MUST NOT add a descriptor chain longer than 2^32 bytes in total" (§2.7.5.2).
    if (chain.readableLength + chain.writableLength + length > 2 ** 32) {
      return this.#fail('a chain of more than 2^32 bytes', CLAUSE.descriptorLoop);
    }
    let gpa = address;
    let left = length;
    while (left > 0) {
      // Nearly always one view; two where a buffer crosses from one RAM region into the next.
      let part = left;
      let offset = this.#memory.locate(gpa, part);
      if (offset < 0) {
        part = this.#contiguous(gpa, left);
        offset = part === 0 ? -1 : this.#memory.locate(gpa, part);
        if (offset < 0) return this.#fail('a buffer is not in RAM', CLAUSE.bufferNotRam);
      }
      const bytes = this.#memory.bytes.subarray(offset, offset + part);
      if (writable) {
        chain.writable.push(bytes);
        chain.writableAt.push(gpa);
      } else {
        chain.readable.push(bytes);
      }
      gpa += part;
      left -= part;
    }
    if (writable) chain.writableLength += length;
    else chain.readableLength += length;
    return true;
  }

  /** Bytes from `gpa` on, at most `length`, that lie in one region. */
  #contiguous(gpa: number, length: number): number {
    for (const region of this.#memory.regions) {
      const at = gpa - region.gpa;
      if (at >= 0 && at < region.size) return Math.min(length, region.size - at);
    }
    return 0;
  }

  /** avail_event: "notifications are unnecessary until the driver writes the entry with this index" (§2.7.10). */
  #askForNotification(): void {
    if (this.#setup!.eventIdx) Atomics.store(this.#u16, this.#availEventAt, this.#lastAvail);
  }

  #driverWantsInterrupt(old: number): boolean {
    const setup = this.#setup!;
    if (setup.notifyOnEmpty === true && this.#inFlight === 0 && this.empty) return true;
    if (!setup.eventIdx) {
      // "If flags is 1, the device SHOULD NOT send a notification" (§2.7.7.2).
      return (Atomics.load(this.#u16, this.#availIdxAt - 1) & l.VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    }
    // "If the idx field in the used ring was equal to used_event, the device MUST send a notification."
    return l.needEvent(Atomics.load(this.#u16, this.#usedEventAt), this.#usedIdx, old);
  }

  #leave(chain: SplitChain): void {
    this.#inFlight--;
    if (this.#byHead[chain.head] === chain) this.#byHead[chain.head] = undefined;
    this.#recycle(chain);
  }

  #recycle(chain: SplitChain): void {
    chain.epoch = -1;
    chain.readable.length = 0;
    chain.writable.length = 0;
    chain.writableAt.length = 0;
    chain.readableLength = 0;
    chain.writableLength = 0;
    this.#pool.push(chain);
  }

  #fail(message: string, clause?: string): false {
    this.#break(message, clause);
    return false;
  }

  #break(message: string, clause?: string): void {
    this.#broken = true;
    this.#env.needsReset(`${this.name}: ${message}`, clause);
  }
}
