/**
 * A sparse file in memory: for overlays where there is no file system (a page), and for tests. It grows in
 * chunks up to a limit that its maker sets, and says ENOSPC beyond it.
 */
import { subBuffers, totalLength } from './buffers.ts';
import { BlockIoError } from './errors.ts';
import type { HostFile } from './file.ts';

const CHUNK = 65536;

export class MemoryFile implements HostFile {
  readonly path: string;
  readonly writable = true;
  readonly kind = 'file';
  readonly direct = false;
  readonly #chunks = new Map<number, Uint8Array>();
  readonly #limit: number;
  #size: number;

  /** @param limit bytes of memory that it may take */
  constructor(size = 0, limit = 1 << 30, path = '(memory)') {
    this.#size = size;
    this.#limit = limit;
    this.path = path;
  }

  static from(data: Uint8Array, path?: string): MemoryFile {
    const file = new MemoryFile(data.length, Math.max(data.length + CHUNK, 1 << 20), path);
    file.write(0, [data]);
    return file;
  }

  /** Bytes of memory that it takes now. */
  get allocated(): number {
    return this.#chunks.size * CHUNK;
  }

  size(): number {
    return this.#size;
  }

  read(offset: number, buffers: readonly Uint8Array[]): number {
    const length = Math.max(0, Math.min(totalLength(buffers), this.#size - offset));
    this.#walk(offset, subBuffers(buffers, 0, length), (index, at, part) => {
      const chunk = this.#chunks.get(index);
      if (chunk === undefined) part.fill(0);
      else part.set(chunk.subarray(at, at + part.length));
    });
    return length;
  }

  write(offset: number, buffers: readonly Uint8Array[]): void {
    this.#walk(offset, buffers, (index, at, part) => {
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        if (this.allocated + CHUNK > this.#limit) {
          throw new BlockIoError('ENOSPC', `${this.path}: more than ${this.#limit} bytes written`);
        }
        chunk = new Uint8Array(CHUNK);
        this.#chunks.set(index, chunk);
      }
      chunk.set(part, at);
    });
    this.#size = Math.max(this.#size, offset + totalLength(buffers));
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  truncate(size: number): void {
    for (const [index, chunk] of this.#chunks) {
      if (index * CHUNK >= size) this.#chunks.delete(index);
      else if ((index + 1) * CHUNK > size) chunk.fill(0, size - index * CHUNK);
    }
    this.#size = size;
  }

  zero(offset: number, length: number): boolean {
    const end = offset + length;
    for (const [index, chunk] of this.#chunks) {
      const from = Math.max(offset - index * CHUNK, 0);
      const to = Math.min(end - index * CHUNK, CHUNK);
      if (from >= to) continue;
      if (to - from === CHUNK) this.#chunks.delete(index);
      else chunk.fill(0, from, to);
    }
    return true;
  }

  lock(): boolean {
    return true;
  }

  close(): Promise<void> {
    this.#chunks.clear();
    return Promise.resolve();
  }

  #walk(
    offset: number,
    buffers: readonly Uint8Array[],
    visit: (index: number, at: number, part: Uint8Array) => void,
  ): void {
    let position = offset;
    for (const buffer of buffers) {
      for (let done = 0; done < buffer.length; ) {
        const at = position % CHUNK;
        const count = Math.min(CHUNK - at, buffer.length - done);
        visit(Math.floor(position / CHUNK), at, buffer.subarray(done, done + count));
        done += count;
        position += count;
      }
    }
  }
}
