/** A back end that counts what is asked of it, for `query-blockstats`: requests, bytes, failures and nanoseconds. */
import type { BlockBackend, Completion } from './backend.ts';
import { totalLength } from './buffers.ts';

export type CountedOperation = 'rd' | 'wr' | 'flush' | 'unmap';

export interface Counts {
  operations: number;
  bytes: number;
  failed: number;
  /** Nanoseconds from request to completion, summed. */
  time: number;
}

const none = (): Counts => ({ operations: 0, bytes: 0, failed: 0, time: 0 });

export class AccountedBackend implements BlockBackend {
  readonly counts: Readonly<Record<CountedOperation, Counts>> = {
    rd: none(),
    wr: none(),
    flush: none(),
    unmap: none(),
  };
  /** The end of the highest write. */
  highestWrite = 0;
  /** When a request last ended, in nanoseconds; undefined when none has. */
  lastAccess: number | undefined;
  readonly #inner: BlockBackend;
  readonly #now: () => number;

  /** @param now nanoseconds */
  constructor(inner: BlockBackend, now: () => number) {
    this.#inner = inner;
    this.#now = now;
  }

  /** Counts from nothing: what was asked so far was not the guest's doing. */
  forget(): void {
    for (const counts of Object.values(this.counts)) Object.assign(counts, none());
    this.lastAccess = undefined;
  }

  get size(): number {
    return this.#inner.size;
  }

  get readOnly(): boolean {
    return this.#inner.readOnly;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#count('rd', totalLength(buffers), () => this.#inner.read(offset, buffers));
  }

  write(offset: number, buffers: readonly Uint8Array[]): Completion {
    const length = totalLength(buffers);
    this.highestWrite = Math.max(this.highestWrite, offset + length);
    return this.#count('wr', length, () => this.#inner.write(offset, buffers));
  }

  flush(): Completion {
    return this.#count('flush', 0, () => this.#inner.flush());
  }

  discard(offset: number, length: number): Completion {
    return this.#count('unmap', length, () => this.#inner.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Completion {
    this.highestWrite = Math.max(this.highestWrite, offset + length);
    return this.#count('wr', length, () => this.#inner.writeZeroes(offset, length, unmap));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  describe(): string {
    return this.#inner.describe();
  }

  #count(operation: CountedOperation, bytes: number, run: () => Completion): Completion {
    const counts = this.counts[operation];
    const start = this.#now();
    const end = (): void => {
      this.lastAccess = this.#now();
      counts.time += this.lastAccess - start;
    };
    const done = (): void => {
      end();
      counts.operations++;
      counts.bytes += bytes;
    };
    const failed = (error: unknown): never => {
      end();
      counts.failed++;
      throw error;
    };
    try {
      const completion = run();
      if (completion !== undefined) return completion.then(done, failed);
    } catch (error) {
      return failed(error);
    }
    done();
  }
}
