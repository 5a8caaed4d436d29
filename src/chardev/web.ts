/**
 * A chardev for programs: what the guest writes is a `ReadableStream`, what the guest is to read goes into a
 * `WritableStream`. Both press back: a reader that stops makes the guest's writer wait, and `write` is done when
 * the guest has taken the bytes.
 */
import { CharBase } from './base.ts';

/** Bytes of the guest's output that wait for the reader before the guest has to. */
const OUTPUT_LIMIT = 65536;

export class WebStreamChardev extends CharBase {
  readonly type = 'stream';
  /** From the guest. Ends when the chardev is closed. */
  readonly readable: ReadableStream<Uint8Array>;
  /** To the guest. Closing it says to the guest that the peer is gone. */
  readonly writable: WritableStream<Uint8Array>;
  #output!: ReadableStreamDefaultController<Uint8Array>;
  #outputEnded = false;
  #blocked = false;
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
          this.deliver(chunk.slice());
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
    const count = Math.min(data.length, Math.max(0, this.#output.desiredSize ?? 0));
    if (count < data.length) this.#blocked = true;
    if (count > 0) this.#output.enqueue(data.slice(0, count));
    return count;
  }

  /** Called when nothing waits any more: the writer goes on. */
  protected override resumeInput(): void {
    this.#room?.();
    this.#room = undefined;
  }

  protected shutdown(): Promise<void> {
    if (!this.#outputEnded) this.#output.close();
    this.#outputEnded = true;
    this.resumeInput();
    return Promise.resolve();
  }
}
