/**
 * Stands in for a transport in device tests: no ring, no memory, no registers. It keeps each queue as a plain list,
 * with the rules that a device relies on: pop in order, complete in any order, and notifications only where the
 * device asked for them. The whole way is tested in ring.test.ts.
 */
import { assert } from '../../core/errors.ts';
import type { DeviceHost, VirtioDevice } from '../device.ts';
import type { Chain, Queue } from '../queue/queue.ts';

/** A buffer that the driver made available, and what became of it. */
export class Sent implements Chain {
  readonly head: number;
  readonly readable: readonly Uint8Array[];
  readonly writable: readonly Uint8Array[];
  /** True once the used ring shows it. */
  used = false;
  /** The used length. */
  written = -1;

  constructor(head: number, readable: readonly Uint8Array[], writable: readonly Uint8Array[]) {
    this.head = head;
    this.readable = readable;
    this.writable = writable;
  }

  get readableLength(): number {
    return this.readable.reduce((sum, piece) => sum + piece.length, 0);
  }

  get writableLength(): number {
    return this.writable.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** All of the writable part. */
  get room(): Uint8Array {
    const bytes = new Uint8Array(this.writableLength);
    let at = 0;
    for (const piece of this.writable) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** The writable part, as far as the used length says that it was written. */
  get answer(): Uint8Array {
    return this.room.subarray(0, this.written);
  }
}

export class FakeQueue implements Queue {
  readonly index: number;
  readonly name: string;
  readonly size: number;
  enabled = true;
  readonly available: Sent[] = [];
  readonly popped = new Set<Chain>();
  #pushed: { sent: Sent; written: number }[] = [];
  notify = true;
  /** How often the driver was interrupted. */
  interrupts = 0;

  constructor(index: number, name: string, size: number) {
    this.index = index;
    this.name = name;
    this.size = size;
  }

  pop(): Chain | undefined {
    const sent = this.available.shift();
    if (sent !== undefined) this.popped.add(sent);
    return sent;
  }

  unpop(chain: Chain): void {
    assert(this.popped.delete(chain), 'unpop of a chain that was not popped', { head: chain.head });
    this.available.unshift(chain as Sent);
  }

  *[Symbol.iterator](): Iterator<Chain> {
    for (;;) {
      const chain = this.pop();
      if (chain !== undefined) yield chain;
      else {
        this.setNotification(true);
        if (this.empty) return;
      }
    }
  }

  get empty(): boolean {
    return this.available.length === 0;
  }

  push(chain: Chain, written: number): void {
    assert(this.popped.delete(chain), 'push of a chain that was not popped', { head: chain.head });
    assert(written >= 0 && written <= chain.writableLength, 'used length is impossible', { written });
    this.#pushed.push({ sent: chain as Sent, written });
  }

  flush(): void {
    if (this.#pushed.length === 0) return;
    for (const { sent, written } of this.#pushed) {
      sent.used = true;
      sent.written = written;
    }
    this.#pushed = [];
    this.interrupts++;
  }

  setNotification(enabled: boolean): void {
    this.notify = enabled;
  }

  clear(): void {
    this.available.length = 0;
    this.popped.clear();
    this.#pushed = [];
    this.notify = true;
  }
}

export class FakeTransport<D extends VirtioDevice> implements DeviceHost {
  readonly device: D;
  readonly queues: FakeQueue[];
  negotiated = 0n;
  configChanges = 0;
  readonly resets: string[] = [];
  readonly errors: string[] = [];
  #head = 0;

  constructor(device: D) {
    this.device = device;
    this.queues = device.queues.map(({ name, size }, index) => new FakeQueue(index, name, size));
    device.attach(this);
  }

  configChanged(): void {
    this.configChanges++;
  }

  needsReset(message: string, clause?: string): void {
    this.resets.push(clause === undefined ? message : `${message} [${clause}]`);
  }

  guestError(message: string, clause?: string): void {
    this.errors.push(clause === undefined ? message : `${message} [${clause}]`);
  }

  /** Negotiates `features` (all that are offered, without the argument) and starts the device. */
  start(features: bigint = this.device.features): this {
    assert((features & ~(this.device.features | (1n << 32n))) === 0n, 'feature was not offered');
    this.negotiated = features;
    assert(this.device.acceptFeatures?.(features) !== false, 'the device refused the features');
    this.device.start();
    return this;
  }

  reset(): void {
    this.device.stop();
    this.negotiated = 0n;
    for (const queue of this.queues) queue.clear();
  }

  /** Makes a chain available and notifies. `writable` gives the lengths of the writable pieces. */
  send(queue: number, readable: readonly Uint8Array[], writable: readonly number[] = [], kick = true): Sent {
    const sent = new Sent(
      this.#head++,
      readable,
      writable.map((length) => new Uint8Array(length).fill(0xee)),
    );
    this.queues[queue]!.available.push(sent);
    if (kick && this.queues[queue]!.notify) this.device.notify(queue);
    return sent;
  }
}
