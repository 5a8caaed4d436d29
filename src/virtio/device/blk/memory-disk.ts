/**
 * A disk in memory for the tests of the block device: it answers at once or when told, keeps apart what is stable
 * from what a crash would lose, and fails on demand.
 */
import type { BlockBackend, BlockError, Completion } from '../../../block/backend.ts';

export function blockError(code: string): BlockError {
  return Object.assign(new Error(`${code}: made to fail`), { code });
}

export class MemoryDisk implements BlockBackend {
  data: Uint8Array;
  /** What would be there after a crash. */
  stable: Uint8Array;
  readonly readOnly: boolean;
  /** With true, operations wait for `finish`. */
  readonly #later: boolean;
  readonly waiting: { operation: string; finish: () => void; fail: (code: string) => void }[] = [];
  readonly log: string[] = [];
  /** Thrown (or rejected with) by the next operation of that name. */
  readonly failures = new Map<string, string>();

  constructor(sectors: number, options: { readOnly?: boolean; later?: boolean } = {}) {
    this.data = new Uint8Array(sectors * 512);
    this.stable = new Uint8Array(sectors * 512);
    this.readOnly = options.readOnly ?? false;
    this.#later = options.later ?? false;
  }

  get size(): number {
    return this.data.length;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#do('read', () => {
      let at = offset;
      for (const buffer of buffers) {
        buffer.set(this.data.subarray(at, at + buffer.length));
        at += buffer.length;
      }
    });
  }

  write(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#do('write', () => {
      let at = offset;
      for (const buffer of buffers) {
        this.data.set(buffer, at);
        at += buffer.length;
      }
    });
  }

  flush(): Completion {
    return this.#do('flush', () => {
      this.stable = this.data.slice();
    });
  }

  discard(offset: number, length: number): Completion {
    return this.#do(`discard ${offset} ${length}`, () => {});
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Completion {
    return this.#do(`zero ${offset} ${length} ${unmap}`, () => {
      this.data.fill(0, offset, offset + length);
    });
  }

  async close(): Promise<void> {}

  describe(): string {
    return 'memory (test)';
  }

  #do(operation: string, action: () => void): Completion {
    this.log.push(operation);
    const code = this.failures.get(operation);
    this.failures.delete(operation);
    if (!this.#later) {
      if (code !== undefined) throw blockError(code);
      return action();
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({
        operation,
        finish: () => {
          action();
          resolve();
        },
        fail: (reason) => reject(blockError(reason)),
      });
    });
  }
}
