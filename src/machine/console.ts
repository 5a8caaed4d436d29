/** One console of a machine as web streams, with the few things that programs do to consoles most. */
import type { WebStreamChardev } from '../chardev/web.ts';
import { HostError } from '../core/errors.ts';

/** What is kept of a console that nobody reads. */
const SCROLLBACK = 65536;

export class Console {
  readonly #chardev: WebStreamChardev;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #used = false;
  /** Read by `waitFor` and not given yet. */
  #text = '';
  readonly #decoder = new TextDecoder();
  /** A ring: byte n of the output is at n modulo its length. */
  #recent: Uint8Array | undefined;
  #dropped = 0;

  /** @internal */
  constructor(chardev: WebStreamChardev) {
    this.#chardev = chardev;
  }

  /**
   * What the guest writes. A reader that stops makes the guest's writer wait. Until this is first asked for, the
   * guest's output is read and dropped (but for its end, see `recent`).
   */
  get readable(): ReadableStream<Uint8Array> {
    this.#used = true;
    if (this.#reader !== undefined) {
      this.#reader.releaseLock();
      this.#reader = undefined;
    }
    return this.#chardev.readable;
  }

  /** What the guest reads. `write` is done when the guest has taken the bytes. */
  get writable(): WritableStream<Uint8Array> {
    return this.#chardev.writable;
  }

  /** The end of what the guest wrote while nobody read. */
  get recent(): string {
    const ring = this.#recent;
    if (ring === undefined) return '';
    const length = Math.min(this.#dropped, ring.length);
    const bytes = Uint8Array.from({ length }, (_, i) => ring[(this.#dropped - length + i) % ring.length]!);
    return new TextDecoder().decode(bytes);
  }

  /** Types `text` at the guest. */
  async write(text: string): Promise<void> {
    const writer = this.writable.getWriter();
    try {
      await writer.write(new TextEncoder().encode(text));
    } finally {
      writer.releaseLock();
    }
  }

  /**
   * Reads until `pattern` appears, and gives all text up to its end. What follows it stays for the next call.
   * @throws HostError when the console ends first
   */
  async waitFor(pattern: string | RegExp, signal?: AbortSignal): Promise<string> {
    const find = (): number => {
      if (typeof pattern === 'string') {
        const at = this.#text.indexOf(pattern);
        return at < 0 ? -1 : at + pattern.length;
      }
      const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(this.#text);
      return match === null ? -1 : match.index + match[0].length;
    };
    for (;;) {
      const end = find();
      if (end >= 0) {
        const text = this.#text.slice(0, end);
        this.#text = this.#text.slice(end);
        return text;
      }
      const reader = this.readable.getReader();
      const cancel = (): void => reader.releaseLock();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        const { value, done } = await reader.read();
        if (done) throw new HostError(`the console ended before ${String(pattern)} appeared`);
        this.#text += this.#decoder.decode(value, { stream: true });
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener('abort', cancel);
        reader.releaseLock();
      }
    }
  }

  /** @internal Reads and drops, so that the guest never waits for a reader that does not exist. */
  drainWhileUnused(): void {
    if (this.#used || this.#reader !== undefined || this.#chardev.readable.locked) return;
    const reader = this.#chardev.readable.getReader();
    this.#reader = reader;
    const next = (): void => {
      reader.read().then(
        ({ value, done }) => {
          if (done) return;
          this.#keep(value);
          if (this.#reader === reader) next();
        },
        // The lock was taken away for the program's own reader.
        () => {},
      );
    };
    next();
  }

  #keep(chunk: Uint8Array): void {
    const ring = (this.#recent ??= new Uint8Array(SCROLLBACK));
    for (const byte of chunk) ring[this.#dropped++ % SCROLLBACK] = byte;
  }
}
