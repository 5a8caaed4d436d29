/**
 * A back end that fails, waits or answers out of order when told to: what blkdebug is to QEMU. It lies over
 * another back end; device tests drive it.
 */
import type { BlockBackend, Completion } from './backend.ts';
import { totalLength } from './buffers.ts';
import { BlockIoError } from './errors.ts';

export type BlockOperation = 'read' | 'write' | 'flush' | 'discard' | 'writeZeroes';

export interface Fault {
  readonly on: BlockOperation;
  /** Only requests that touch this byte; any when absent. */
  readonly offset?: number;
  /** The errno name that the request fails with. */
  readonly code: string;
  /** How many requests it hits before it is used up; 1 when absent. */
  readonly times?: number;
}

export class FaultyBackend implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  /** Every request that came, for tests to look at. */
  readonly log: { operation: BlockOperation; offset: number; length: number }[] = [];
  readonly #base: BlockBackend;
  readonly #faults: { fault: Fault; left: number }[] = [];
  #held: (() => void)[] | undefined;

  constructor(base: BlockBackend) {
    this.#base = base;
    this.size = base.size;
    this.readOnly = base.readOnly;
  }

  inject(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  /** From now on requests wait until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  /** How many requests wait. */
  get held(): number {
    return this.#held?.length ?? 0;
  }

  /** Lets one waiting request go (the oldest, or number `index`), or all of them and those to come. */
  release(index?: number): void {
    if (index !== undefined) {
      this.#held?.splice(index, 1)[0]?.();
      return;
    }
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const go of held) go();
  }

  read(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#go('read', offset, totalLength(buffers), () => this.#base.read(offset, buffers));
  }

  write(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#go('write', offset, totalLength(buffers), () => this.#base.write(offset, buffers));
  }

  flush(): Completion {
    return this.#go('flush', 0, 0, () => this.#base.flush());
  }

  discard(offset: number, length: number): Completion {
    return this.#go('discard', offset, length, () => this.#base.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Completion {
    return this.#go('writeZeroes', offset, length, () => this.#base.writeZeroes(offset, length, unmap));
  }

  close(): Promise<void> {
    return this.#base.close();
  }

  describe(): string {
    return `blkdebug:${this.#base.describe()}`;
  }

  #go(operation: BlockOperation, offset: number, length: number, run: () => Completion): Completion {
    this.log.push({ operation, offset, length });
    const hit = this.#faults.find(
      ({ fault, left }) =>
        left > 0 &&
        fault.on === operation &&
        (fault.offset === undefined || (fault.offset >= offset && fault.offset < offset + length)),
    );
    const act = (): Completion => {
      if (hit === undefined) return run();
      throw new BlockIoError(hit.fault.code, `injected ${hit.fault.code} on ${operation} at ${offset}`);
    };
    if (hit !== undefined) hit.left--;
    if (this.#held === undefined) return act();
    const held = this.#held;
    return new Promise<void>((resolve) => held.push(resolve)).then(act);
  }
}
