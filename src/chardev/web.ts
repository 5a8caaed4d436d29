/**
 * A chardev for programs: what the guest writes is a `ReadableStream`, what the guest is to read goes into a
 * `WritableStream`. Both press back: a reader that stops makes the guest's writer wait, and `write` is done when
 * the guest has taken the bytes.
 */
import { CharBase } from './base.ts';

/** Bytes of the guest's output that wait for the reader before the guest has to. */
const OUTPUT_LIMIT = 65536;
/** Writes below this many bytes within one turn of the event loop come out as one chunk. */
const GATHER = 4096;

export class WebStreamChardev extends CharBase {
  readonly type = 'stream';
  /** From the guest. Ends when the chardev is closed. */
  readonly readable: ReadableStream<Uint8Array>;
  /** To the guest. Closing it says to the guest that the peer is gone. */
  readonly writable: WritableStream<Uint8Array>;
  #output!: ReadableStreamDefaultController<Uint8Array>;
  #outputEnded = false;
  #blocked = false;
  #gathered = new Uint8Array(0);
  #gatheredLength = 0;
  #room: (() => void) | undefined;

  constructor(id: string) {
    super(id);
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#output = controller;
        },
        pull: () => {
          if (!this.#blocked) return;
          this.#blocked = false;
          this.drained();
        },
        cancel: () => {
          this.#outputEnded = true;
          this.#blocked = false;
          this.drained();
        },
      },
      { highWaterMark: OUTPUT_LIMIT, size: (chunk) => chunk.length },
    );
    this.writable = new WritableStream<Uint8Array>(
      {
        write: async (chunk) => {
          this.deliver(new Uint8Array(chunk));
          if (this.waiting > 0) await new Promise<void>((resolve) => (this.#room = resolve));
        },
        close: () => this.setClosed(),
        abort: () => this.setClosed(),
      },
      { highWaterMark: 1 },
    );
    this.setOpen();
  }

  describe(): string {
    return 'stream';
  }

  /** A reader that cancelled is as good as none: what is written is dropped. */
  protected send(data: Uint8Array): number {
    if (this.#outputEnded) return data.length;
    const room = (this.#output.desiredSize ?? 0) - this.#gatheredLength;
    const count = Math.min(data.length, Math.max(0, room));
    if (count < data.length) this.#blocked = true;
    if (count >= GATHER) {
      this.#flush();
      this.#output.enqueue(data.slice(0, count));
    } else if (count > 0) this.#gather(data.subarray(0, count));
    return count;
  }

  #gather(data: Uint8Array): void {
    if (this.#gatheredLength + data.length > GATHER) this.#flush();
    if (this.#gatheredLength === 0) {
      this.#gathered = new Uint8Array(GATHER);
      queueMicrotask(this.#flush);
    }
    this.#gathered.set(data, this.#gatheredLength);
    this.#gatheredLength += data.length;
  }

  readonly #flush = (): void => {
    const length = this.#gatheredLength;
    this.#gatheredLength = 0;
    if (length > 0 && !this.#outputEnded) this.#output.enqueue(this.#gathered.slice(0, length));
  };

  /** Called when nothing waits any more: the writer goes on. */
  protected override resumeInput(): void {
    this.#room?.();
    this.#room = undefined;
  }

  protected shutdown(): Promise<void> {
    this.#flush();
    if (!this.#outputEnded) this.#output.close();
    this.#outputEnded = true;
    this.resumeInput();
    return Promise.resolve();
  }
}
