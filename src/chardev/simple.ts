/** The chardevs that talk to nobody: `null`, `file`, and `ringbuf` (which only the monitor reads). */
import { UsageError } from '../core/errors.ts';
import { CharBase } from './base.ts';
import type { CharHost, HostOutput, HostStream } from './host.ts';

/** Bytes of a ring buffer: what one array can hold everywhere. */
const MAX_RINGBUF = 1 << 30;

/**
 * Takes everything, gives nothing: there is nobody at the other end, which a virtio port tells its guest, as with QEMU.
 * A virtual console without a display (`vc`) is no different, but that it counts as somebody.
 */
export class NullChardev extends CharBase {
  readonly type: string;

  constructor(id: string, type = 'null') {
    super(id);
    this.type = type;
    if (type !== 'null') this.setOpen();
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

/**
 * Writes to a file, and may read from another; at that one's end the front end sees 'closed', as with QEMU, and can
 * still write. A file that cannot be written any more (full disk) is told once; the guest goes on.
 */
export class FileChardev extends CharBase {
  readonly type = 'file';
  readonly #path: string;
  readonly #host: CharHost;
  #output: HostOutput | undefined;
  #input: HostStream | undefined;
  #failed = false;

  /** @param append keep what the file holds; otherwise it is emptied */
  constructor(id: string, path: string, append: boolean, inputPath: string | undefined, host: CharHost) {
    super(id);
    this.#path = path;
    this.#host = host;
    this.#input = inputPath === undefined ? undefined : host.openInput(inputPath);
    try {
      this.#output = host.openOutput(path, append);
    } catch (error) {
      void this.#input?.close();
      throw error;
    }
    this.#output.onDrain = () => this.drained();
    if (this.#input !== undefined) {
      this.#input.onData = (data) => this.deliver(data);
      this.#input.onClose = () => this.setClosed();
    }
    this.setOpen();
  }

  describe(): string {
    return this.type;
  }

  protected send(data: Uint8Array): number {
    try {
      const count = this.#output?.write(data) ?? data.length;
      this.#failed = false;
      return count;
    } catch (error) {
      if (!this.#failed) this.#host.warn(`chardev '${this.id}': ${this.#path}: ${(error as Error).message}`);
      this.#failed = true;
      return data.length;
    }
  }

  protected override pauseInput(): void {
    this.#input?.pause();
  }

  protected override resumeInput(): void {
    this.#input?.resume();
  }

  protected async shutdown(): Promise<void> {
    const [input, output] = [this.#input, this.#output];
    this.#input = this.#output = undefined;
    await input?.close();
    await output?.close();
  }
}

/** Keeps the last `size` bytes that were written. */
export class RingbufChardev extends NullChardev {
  readonly #data: Uint8Array;
  /** Counts of bytes ever written and read; their difference is at most the size. */
  #produced = 0;
  #consumed = 0;

  /**
   * @param size bytes, a power of two; 0 stands for 64 KiB, as with QEMU
   * @param type `memory` is the old name
   */
  constructor(id: string, size = 0, type = 'ringbuf') {
    super(id, type);
    if (!Number.isInteger(size) || size < 0 || (size > 0 && Math.log2(size) % 1 !== 0)) {
      throw new UsageError('size of ringbuf chardev must be power of two');
    }
    if (size > MAX_RINGBUF) throw new UsageError(`size of ringbuf chardev must be at most ${MAX_RINGBUF}`);
    this.#data = new Uint8Array(size === 0 ? 65536 : size);
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
