/**
 * Copy on write over a back end that is never written: what `snapshot=on` means. Written blocks live in a
 * temporary sparse file at the same offsets; a bitmap says which. Everything is gone when it is closed.
 */
import type { BlockBackend, Completion } from './backend.ts';
import { subBuffers, totalLength } from './buffers.ts';
import { BlockIoError } from './errors.ts';
import type { HostFile } from './file.ts';

/** Bytes that one bit of the map stands for: a page, so that a guest file system's writes need no copying up. */
const BLOCK = 4096;
const SECTOR = 512;

export class OverlayBackend implements BlockBackend {
  readonly readOnly = false;
  readonly #base: BlockBackend;
  readonly #store: HostFile;
  /** One bit for each block of the disk: 32 MiB for a terabyte, of which the host only backs what is touched. */
  #map: Uint8Array;
  #size: number;
  /** Set while a write is under way that was not done at once: later ones wait, so that copies up cannot cross. */
  #writing: Promise<void> | undefined;

  constructor(base: BlockBackend, store: HostFile) {
    this.#base = base;
    this.#store = store;
    this.#size = base.size;
    this.#map = new Uint8Array(Math.ceil(this.size / BLOCK / 8));
  }

  get size(): number {
    return this.#size;
  }

  /** Larger only: what the base has beyond a shorter end would have to be hidden. */
  resize(size: number): Completion {
    if (size < this.#size)
      throw new BlockIoError('ENOTSUP', 'Cannot shrink a disk whose image is not written (snapshot=on)');
    return this.#inOrder(async () => {
      const end = this.#size;
      // The block in which the base ends is completed, and all behind it are the store's, which is sparse.
      if (end % BLOCK !== 0) await this.#copyBlock(end - (end % BLOCK));
      const map = new Uint8Array(Math.ceil(size / BLOCK / 8));
      map.set(this.#map);
      this.#map = map;
      this.#size = Math.ceil(size / SECTOR) * SECTOR;
      const from = Math.ceil(end / BLOCK) * BLOCK;
      if (this.#size > from) this.#mark(from, this.#size - from);
    });
  }

  read(offset: number, buffers: readonly Uint8Array[]): Completion {
    const length = totalLength(buffers);
    this.#check('read', offset, length);
    const waits: Promise<unknown>[] = [];
    for (let done = 0; done < length; ) {
      const here = this.#run(offset + done, length - done);
      const parts = subBuffers(buffers, done, here.length);
      const result = here.own ? this.#readStore(offset + done, parts) : this.#base.read(offset + done, parts);
      if (result !== undefined) waits.push(result);
      done += here.length;
    }
    if (waits.length > 0) return Promise.all(waits).then(() => {});
  }

  write(offset: number, buffers: readonly Uint8Array[]): Completion {
    this.#check('write', offset, totalLength(buffers));
    return this.#inOrder(() => this.#write(offset, buffers));
  }

  writeZeroes(offset: number, length: number): Completion {
    this.#check('write', offset, length);
    return this.#inOrder(async () => {
      const zeroes = new Uint8Array(Math.min(length, 1 << 20));
      for (let done = 0; done < length; done += zeroes.length) {
        await this.#write(offset + done, [zeroes.subarray(0, Math.min(zeroes.length, length - done))]);
      }
    });
  }

  /** Nothing: the space is temporary anyway, and the base must show through unchanged. */
  discard(): Completion {}

  /** Nothing: what is thrown away at the end need not survive a crash. */
  flush(): Completion {}

  async close(): Promise<void> {
    await this.#writing?.catch(() => {});
    await this.#store.close();
    await this.#base.close();
  }

  describe(): string {
    return `${this.#base.describe()} (snapshot)`;
  }

  /** The longest run from `offset` that is all in the store or all in the base. */
  #run(offset: number, limit: number): { own: boolean; length: number } {
    const own = this.#has(offset);
    let end = offset - (offset % BLOCK) + BLOCK;
    while (end < offset + limit && this.#has(end) === own) end += BLOCK;
    return { own, length: Math.min(limit, end - offset) };
  }

  #has(offset: number): boolean {
    const block = Math.floor(offset / BLOCK);
    return ((this.#map[Math.floor(block / 8)]! >> (block % 8)) & 1) !== 0;
  }

  #mark(offset: number, length: number): void {
    const last = Math.floor((offset + length - 1) / BLOCK);
    for (let block = Math.floor(offset / BLOCK); block <= last; block++) {
      this.#map[Math.floor(block / 8)]! |= 1 << (block % 8);
    }
  }

  #readStore(offset: number, buffers: readonly Uint8Array[]): Completion {
    const done = this.#store.read(offset, buffers);
    if (typeof done !== 'number') return done.then(() => {});
  }

  #inOrder(start: () => Completion): Completion {
    const done = this.#writing === undefined ? start() : this.#writing.then(start, start);
    if (done === undefined) return;
    const mine: Promise<void> = done.finally(() => {
      if (this.#writing === mine) this.#writing = undefined;
    });
    this.#writing = mine;
    return mine;
  }

  #write(offset: number, buffers: readonly Uint8Array[]): Completion {
    const length = totalLength(buffers);
    if (length === 0) return;
    const finish = (): Completion => {
      const done = this.#store.write(offset, buffers);
      if (done !== undefined) return done.then(() => this.#mark(offset, length));
      this.#mark(offset, length);
    };
    const head = this.#copyUp(offset);
    const tail = this.#copyUp(offset + length);
    if (head === undefined && tail === undefined) return finish();
    return Promise.all([head, tail]).then(finish);
  }

  /** Copies the block that the boundary `at` cuts in two from the base, unless it is in the store already. */
  #copyUp(at: number): Completion {
    const from = at - (at % BLOCK);
    if (from === at || at >= this.size) return;
    return this.#copyBlock(from);
  }

  #copyBlock(from: number): Completion {
    if (this.#has(from)) return;
    const block = new Uint8Array(Math.min(BLOCK, this.size - from));
    const store = (): Completion => {
      const done = this.#store.write(from, [block]);
      if (done !== undefined) return done.then(() => this.#mark(from, 1));
      this.#mark(from, 1);
    };
    const done = this.#base.read(from, [block]);
    return done === undefined ? store() : done.then(store);
  }

  #check(what: string, offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      throw new BlockIoError(
        'EIO',
        `${this.describe()}: ${what} of ${length} at ${offset} is beyond ${this.size}`,
      );
    }
  }
}
