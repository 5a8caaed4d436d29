/**
 * A ring written byte by byte, for tests of the device side: right or wrong as the test likes. (The driver that
 * keeps the rules is ../driver/vring.ts.)
 */
import { GuestMemory } from '../../core/memory.ts';
import { Tracer } from '../../core/trace.ts';
import * as l from './layout.ts';
import { SplitQueue } from './split.ts';

export interface TestRingOptions {
  readonly size?: number;
  readonly eventIdx?: boolean;
  readonly indirect?: boolean;
  readonly notifyOnEmpty?: boolean;
  readonly memory?: GuestMemory;
}

export const RING = { desc: 0x1000, avail: 0x9000, used: 0xa000 } as const;
/** Where buffers may lie. */
export const DATA = 0x10000;

export class TestRing {
  readonly memory: GuestMemory;
  readonly queue: SplitQueue;
  readonly size: number;
  readonly eventIdx: boolean;
  /** Messages of needsReset, with their clauses. */
  readonly broken: string[] = [];
  readonly errors: string[] = [];
  readonly written: { gpa: number; length: number }[] = [];
  interrupts = 0;

  constructor(options: TestRingOptions = {}) {
    this.size = options.size ?? 8;
    this.eventIdx = options.eventIdx ?? false;
    this.memory = options.memory ?? GuestMemory.create(0x20000);
    this.memory.onWrite((gpa, length) => this.written.push({ gpa, length }));
    this.queue = new SplitQueue(0, 'testq', this.size, {
      deviceName: 'test',
      memory: this.memory,
      tracer: new Tracer(),
      needsReset: (message, clause) => this.broken.push(`${message} [${clause}]`),
      guestError: (message, clause) => this.errors.push(`${message} [${clause}]`),
      interrupt: () => this.interrupts++,
    });
    this.queue.enable({
      ...RING,
      size: this.size,
      eventIdx: this.eventIdx,
      indirect: options.indirect ?? true,
      notifyOnEmpty: options.notifyOnEmpty ?? false,
    });
  }

  get #view(): DataView {
    return this.memory.view;
  }

  /** Writes descriptor `index` of the table at `table`. */
  desc(
    index: number,
    address: number | bigint,
    length: number,
    flags = 0,
    next = 0,
    table: number = RING.desc,
  ): this {
    const at = table + index * l.DESC_SIZE;
    this.#view.setBigUint64(at, BigInt(address), true);
    this.#view.setUint32(at + l.DESC_LEN, length, true);
    this.#view.setUint16(at + l.DESC_FLAGS, flags, true);
    this.#view.setUint16(at + l.DESC_NEXT, next, true);
    return this;
  }

  get availIdx(): number {
    return this.#view.getUint16(RING.avail + l.AVAIL_IDX, true);
  }

  set availIdx(value: number) {
    this.#view.setUint16(RING.avail + l.AVAIL_IDX, value, true);
  }

  set availFlags(value: number) {
    this.#view.setUint16(RING.avail + l.AVAIL_FLAGS, value, true);
  }

  set usedEvent(value: number) {
    this.#view.setUint16(RING.avail + l.AVAIL_RING + 2 * this.size, value, true);
  }

  /** Makes chains available. */
  offer(...heads: number[]): this {
    for (const head of heads) {
      this.#view.setUint16(RING.avail + l.AVAIL_RING + (this.availIdx % this.size) * 2, head, true);
      this.availIdx = (this.availIdx + 1) & 0xffff;
    }
    return this;
  }

  get usedIdx(): number {
    return this.#view.getUint16(RING.used + l.USED_IDX, true);
  }

  get usedFlags(): number {
    return this.#view.getUint16(RING.used + l.USED_FLAGS, true);
  }

  get availEvent(): number {
    return this.#view.getUint16(RING.used + l.USED_RING + l.USED_ELEM_SIZE * this.size, true);
  }

  /** Entry `n` of the used ring. */
  used(n: number): { id: number; len: number } {
    const at = RING.used + l.USED_RING + (n % this.size) * l.USED_ELEM_SIZE;
    return { id: this.#view.getUint32(at, true), len: this.#view.getUint32(at + 4, true) };
  }

  get descTable(): Uint8Array {
    return this.memory.slice(RING.desc, l.descBytes(this.size))!.slice();
  }

  /** Takes everything that is available and gives it back with `written` bytes. */
  drain(written = 0): number {
    let taken = 0;
    for (const chain of this.queue) {
      taken++;
      this.queue.push(chain, Math.min(written, chain.writableLength));
    }
    this.queue.flush();
    return taken;
  }
}
