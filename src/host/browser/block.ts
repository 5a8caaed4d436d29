/**
 * Disks in a page: images that are bytes in memory, or `Blob`s (files that the user chose, parts of downloads) read
 * as they are needed. Blobs cannot be written; `snapshot=on` keeps the guest's writes in memory.
 */
import { totalLength } from '../../block/buffers.ts';
import { BlockIoError } from '../../block/errors.ts';
import type { BlockHost, HostFile, OpenOptions } from '../../block/file.ts';
import { MemoryFile } from '../../block/memory.ts';
import { HostError } from '../../core/errors.ts';

/** A cause with an errno name, as Node's errors have it: callers look at that. */
function failure(message: string, code: string): HostError {
  return new HostError(message, { cause: { code } });
}

class BlobFile implements HostFile {
  readonly path: string;
  readonly writable = false;
  readonly kind = 'file';
  readonly direct = false;
  readonly #blob: Blob;

  constructor(path: string, blob: Blob) {
    this.path = path;
    this.#blob = blob;
  }

  size(): number {
    return this.#blob.size;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<number> {
    const part = this.#blob.slice(offset, offset + totalLength(buffers));
    let data: Uint8Array;
    try {
      data = new Uint8Array(await part.arrayBuffer());
    } catch (error) {
      // A file that was changed or removed after it was chosen.
      throw new BlockIoError('EIO', `${this.path}: read at ${offset}: ${(error as Error).message}`);
    }
    let done = 0;
    for (const buffer of buffers) {
      const piece = data.subarray(done, done + buffer.length);
      buffer.set(piece);
      done += piece.length;
    }
    return done;
  }

  write(offset: number): never {
    throw new BlockIoError('EROFS', `${this.path}: write at ${offset}: a Blob cannot be written`);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  truncate(): never {
    throw new BlockIoError('EROFS', `${this.path}: a Blob cannot be resized`);
  }

  zero(): boolean {
    return false;
  }

  lock(): boolean {
    return true;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Bytes in memory that belong to the page: what the guest writes, the page sees. */
class BytesFile extends MemoryFile {
  readonly #bytes: Uint8Array;

  constructor(path: string, bytes: Uint8Array) {
    super(bytes.length, 0, path);
    this.#bytes = bytes;
  }

  override read(offset: number, buffers: readonly Uint8Array[]): number {
    let at = offset;
    for (const buffer of buffers) {
      const piece = this.#bytes.subarray(at, at + buffer.length);
      buffer.set(piece);
      at += piece.length;
    }
    return Math.max(0, at - offset);
  }

  override write(offset: number, buffers: readonly Uint8Array[]): void {
    if (offset + totalLength(buffers) > this.#bytes.length) {
      throw new BlockIoError('ENOSPC', `${this.path}: write at ${offset}: beyond the end of the array`);
    }
    let at = offset;
    for (const buffer of buffers) {
      this.#bytes.set(buffer, at);
      at += buffer.length;
    }
  }

  override zero(offset: number, length: number): boolean {
    this.#bytes.fill(0, offset, offset + length);
    return true;
  }

  override truncate(): never {
    throw new BlockIoError('ENOSPC', `${this.path}: an array cannot be resized`);
  }
}

/** The block room's host in a page. `files` holds what `file=` may name. */
export function browserBlockHost(
  files: ReadonlyMap<string, Uint8Array | Blob>,
  warn: (message: string) => void = (message) => console.warn(message),
): BlockHost {
  return {
    open(path: string, options: OpenOptions): HostFile {
      const content = files.get(path);
      if (content === undefined)
        throw failure(`Could not open '${path}': No such file or directory`, 'ENOENT');
      if (options.direct === true) throw failure(`Could not open '${path}': Invalid argument`, 'EINVAL');
      if (content instanceof Uint8Array) return new BytesFile(path, content);
      if (options.write) {
        throw failure(
          `Could not open '${path}': a Blob cannot be written; give readonly=on or snapshot=on`,
          'EACCES',
        );
      }
      return new BlobFile(path, content);
    },
    temporary: () => undefined,
    warn,
  };
}
