/** The chardevs that talk to nobody: `null`, `file`, and `ringbuf` (which only the monitor reads). */
import { UsageError } from '../core/errors.ts';
import { CharBase } from './base.ts';
import type { CharHost, HostSink } from './host.ts';

/** Takes everything, gives nothing. */
export class NullChardev extends CharBase {
  readonly type: string = 'null';

  constructor(id: string) {
    super(id);
    this.setOpen();
  }

  protected send(data: Uint8Array): number {
    return data.length;
  }

  protected shutdown(): Promise<void> {
    return Promise.resolve();
  }

  describe(): string {
    return this.type;
  }
}

/** Writes to a file. A file that cannot be written any more (full disk) is told once; the guest goes on. */
export class FileChardev extends NullChardev {
  override readonly type = 'file';
  readonly #path: string;
  readonly #host: CharHost;
  #sink: HostSink | undefined;
  #failed = false;

  /** @param append keep what the file holds; otherwise it is emptied */
  constructor(id: string, path: string, append: boolean, host: CharHost) {
    super(id);
    this.#path = path;
    this.#host = host;
    this.#sink = host.openSink(path, append);
  }

  protected override send(data: Uint8Array): number {
    try {
      this.#sink?.write(data);
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#host.warn(`chardev '${this.id}': ${this.#path}: ${(error as Error).message}`);
      this.#failed = true;
    }
    return data.length;
  }

  protected override shutdown(): Promise<void> {
    this.#sink?.close();
    this.#sink = undefined;
    return Promise.resolve();
  }
}

/** Keeps the last `size` bytes that were written. */
export class RingbufChardev extends NullChardev {
  override readonly type = 'ringbuf';
  readonly #data: Uint8Array;
  /** Counts of bytes ever written and read; their difference is at most the size. */
  #produced = 0;
  #consumed = 0;

  /** @param size bytes, a power of two */
  constructor(id: string, size = 65536) {
    super(id);
    if (!Number.isInteger(size) || size < 1 || Math.log2(size) % 1 !== 0) {
      throw new UsageError('size of ringbuf chardev must be power of two');
    }
    this.#data = new Uint8Array(size);
  }

  /** Bytes that can be read. */
  get length(): number {
    return this.#produced - this.#consumed;
  }

  protected override send(data: Uint8Array): number {
    const size = this.#data.length;
    const kept = data.length > size ? data.subarray(data.length - size) : data;
    this.#produced += data.length - kept.length;
    for (const byte of kept) this.#data[this.#produced++ % size] = byte;
    this.#consumed = Math.max(this.#consumed, this.#produced - size);
    return data.length;
  }

  /** Takes out the oldest bytes, at most `limit`. */
  read(limit: number): Uint8Array {
    const count = Math.min(limit, this.length);
    return Uint8Array.from({ length: count }, () => this.#data[this.#consumed++ % this.#data.length]!);
  }
}
