/** Text on its way to a chardev that may take it in pieces, or not at all for a while. */
import type { Chardev } from '../chardev/chardev.ts';

/** Bytes beyond which what can be done without (events) is dropped: a client that never reads. */
const LIMIT = 2 ** 20;

const encoder = new TextEncoder();

export class Output {
  readonly #chardev: Chardev;
  readonly #drained: () => void;
  #queue: Uint8Array[] = [];
  #waiting = 0;
  #sending = false;

  /** @param drained everything has been taken */
  constructor(chardev: Chardev, drained: () => void = () => {}) {
    this.#chardev = chardev;
    this.#drained = drained;
  }

  /** Bytes that have not been taken. */
  get waiting(): number {
    return this.#waiting;
  }

  /** @param optional may be dropped when too much waits already; returns whether it was kept */
  write(text: string, optional = false): boolean {
    if (optional && this.#waiting > LIMIT) return false;
    const data = encoder.encode(text);
    this.#queue.push(data);
    this.#waiting += data.length;
    this.#pump();
    return true;
  }

  /** The chardev has room. */
  drain(): void {
    if (this.#waiting === 0) return;
    this.#pump();
    if (this.#waiting === 0) this.#drained();
  }

  /** The reader is gone, and what was for it too. */
  clear(): void {
    this.#queue = [];
    this.#waiting = 0;
  }

  #pump(): void {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
        const taken = this.#chardev.write(first);
        this.#waiting -= taken;
        if (taken < first.length) {
          this.#queue[0] = first.subarray(taken);
          return;
        }
        this.#queue.shift();
      }
    } finally {
      this.#sending = false;
    }
  }
}
