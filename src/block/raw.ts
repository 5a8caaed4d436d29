/**
 * The raw format: the disk's bytes are the file's bytes. Owns what the cache mode promises: a completed write is
 * in the host's page cache (or, written through, on the disk); a completed flush means that everything which
 * completed before it is on stable storage.
 */
import type { BlockBackend, Completion } from './backend.ts';
import { subBuffers, totalLength, zeroFrom } from './buffers.ts';
import type { CacheMode } from './cache.ts';
import { BlockIoError } from './errors.ts';
import type { HostFile } from './file.ts';
import { probeFormat } from './probe.ts';

export const SECTOR_SIZE = 512;

/** Zeroes are written in pieces of this many bytes where the file system cannot make them by itself. */
const ZERO_CHUNK = 1 << 20;
const ZEROES = new Uint8Array(ZERO_CHUNK);

export interface RawOptions {
  readonly readOnly: boolean;
  readonly cache: CacheMode;
  /** False: `discard` does nothing (QEMU's default for -drive). */
  readonly discard?: boolean;
  /** Writes of zeroes become `writeZeroes`; 'unmap' gives their space back. */
  readonly detectZeroes?: 'off' | 'on' | 'unmap';
  /** Sector 0 must not come to look like another format's header: the format was guessed, not said. */
  readonly probed?: boolean;
}

export class RawBackend implements BlockBackend {
  readonly #file: HostFile;
  #options: RawOptions;
  #size: number;
  /** Counts writes; a flush is needed only when it has moved since the last one. */
  #written = 0;
  #flushed = 0;
  #running: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  /** After a failed fdatasync the kernel has forgotten which pages were dirty: no later flush can promise them. */
  #broken: BlockIoError | undefined;

  constructor(file: HostFile, options: RawOptions) {
    this.#file = file;
    this.#options = options;
    this.#size = sectors(file.size());
  }

  get size(): number {
    return this.#size;
  }

  get readOnly(): boolean {
    return this.#options.readOnly;
  }

  get options(): RawOptions {
    return this.#options;
  }

  /** What may change while it is in use: all but whether the file itself can be written. */
  reconfigure(options: Partial<RawOptions>): void {
    this.#options = { ...this.#options, ...options };
  }

  /** The file has another size now, by somebody else's doing. */
  refreshSize(): void {
    this.#size = sectors(this.#file.size());
  }

  resize(size: number): void {
    if (this.readOnly) throw new BlockIoError('EROFS', 'Image is read-only');
    this.#file.truncate(size);
    this.#size = sectors(size);
  }

  read(offset: number, buffers: readonly Uint8Array[]): Completion {
    this.#check('read', offset, totalLength(buffers));
    const done = this.#file.read(offset, buffers);
    if (typeof done === 'number') zeroFrom(buffers, done);
    else return done.then((count) => zeroFrom(buffers, count));
  }

  write(offset: number, buffers: readonly Uint8Array[]): Completion {
    const length = totalLength(buffers);
    this.#check('write', offset, length);
    if (length === 0) return;
    const detect = this.#options.detectZeroes ?? 'off';
    if (detect !== 'off' && buffers.every(isZero))
      return this.writeZeroes(offset, length, detect === 'unmap');
    if (this.#options.probed === true && offset < SECTOR_SIZE) this.#checkHeader(offset, buffers);
    const done = this.#file.write(offset, buffers);
    return this.#completed(done);
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Completion {
    this.#check('write', offset, length);
    if (length === 0) return;
    const done = this.#file.zero(offset, length, unmap && this.#options.discard === true);
    if (done === true) return this.#completed(undefined);
    const rest = (worked: boolean): Completion =>
      worked ? undefined : this.#writeZeroChunks(offset, length);
    return this.#completed(done === false ? rest(false) : done.then(rest));
  }

  discard(offset: number, length: number): Completion {
    this.#check('discard', offset, length);
    if (this.#options.discard !== true || length === 0) return;
    const done = this.#file.zero(offset, length, true);
    return this.#completed(typeof done === 'boolean' ? undefined : done.then(() => {}));
  }

  flush(): Completion {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.readOnly || this.#options.cache.noFlush || this.#flushed === this.#written) return;
    return this.#sync();
  }

  async close(): Promise<void> {
    try {
      if (!this.readOnly && !this.#options.cache.noFlush && this.#broken === undefined) await this.flush();
    } finally {
      await this.#file.close();
    }
  }

  describe(): string {
    return `${this.#file.path} (raw${this.readOnly ? ', read-only' : ''})`;
  }

  /** Ends a write: from now on a flush has something to do; written through, it is done only after one. */
  #completed(done: Completion): Completion {
    if (done !== undefined) return done.then(() => this.#completed(undefined));
    this.#written++;
    if (!this.#options.cache.writeback && !this.#options.cache.noFlush) return this.#sync();
  }

  /**
   * One fdatasync at a time. Who comes while one runs shares the next, because the running one may have missed
   * what completed meanwhile.
   */
  #sync(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting;
    if (this.#running === undefined) return this.#startSync();
    const next = this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    );
    this.#waiting = next;
    return next;
  }

  #startNext(): Promise<void> {
    this.#waiting = undefined;
    return this.#startSync();
  }

  #startSync(): Promise<void> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    const upTo = this.#written;
    const run = this.#file.sync().then(
      () => {
        this.#running = undefined;
        this.#flushed = upTo;
      },
      (error: unknown) => {
        this.#running = undefined;
        this.#broken = error as BlockIoError;
        throw error;
      },
    );
    this.#running = run;
    return run;
  }

  async #writeZeroChunks(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZERO_CHUNK) {
      await this.#file.write(offset + done, [ZEROES.subarray(0, Math.min(ZERO_CHUNK, length - done))]);
    }
  }

  #check(what: string, offset: number, length: number): void {
    if (what !== 'read' && this.readOnly) {
      throw new BlockIoError('EROFS', `${this.#file.path}: ${what}: the image is read-only`);
    }
    if (offset < 0 || length < 0 || offset + length > this.size) {
      throw new BlockIoError(
        'EIO',
        `${this.#file.path}: ${what} of ${length} at ${offset} is beyond ${this.size}`,
      );
    }
  }

  /** A guest that writes another format's header into a guessed raw image could reach host files on next start. */
  #checkHeader(offset: number, buffers: readonly Uint8Array[]): void {
    // Devices write whole sectors, so the header that comes to be is all in the request.
    const start = new Uint8Array(SECTOR_SIZE);
    let at = offset;
    for (const part of subBuffers(buffers, 0, SECTOR_SIZE - offset)) {
      start.set(part, at);
      at += part.length;
    }
    const format = probeFormat(start);
    if (format !== 'raw') {
      throw new BlockIoError(
        'EPERM',
        `${this.#file.path}: a ${format} header may not be written to an image whose raw format was guessed; give format=raw`,
      );
    }
  }
}

/** A file that ends within a sector is followed by zeroes up to the sector's end, as in QEMU. */
const sectors = (bytes: number): number => Math.ceil(bytes / SECTOR_SIZE) * SECTOR_SIZE;

function isZero(buffer: Uint8Array): boolean {
  for (let i = 0; i < buffer.length; i++) if (buffer[i] !== 0) return false;
  return true;
}
