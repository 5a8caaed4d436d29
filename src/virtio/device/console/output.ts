/**
 * What a console writes, on its way to a chardev. Linux's hvc driver waits for each buffer with a spinlock held, so
 * a console whose chardev takes nothing would stop the whole guest; a console that just drops what does not fit
 * loses the end of every long listing. So a slow reader gets a backlog and then backpressure, as other ports have,
 * and one that has taken nothing for a second loses what is written until it reads again.
 */
import type { Chardev } from '../../../chardev/chardev.ts';
import type { Clock, Timer } from '../../../core/clock.ts';

/** Bytes that wait for the chardev before the guest has to: bounds what a guest can make the host keep. */
const BACKLOG_BYTES = 256 * 1024;

/** Nanoseconds without a byte taken after which the reader counts as gone. */
const PATIENCE_NS = 1e9;

export class ConsoleOutput {
  readonly #chardev: Chardev;
  readonly #clock: Clock | undefined;
  readonly #warn: (message: string) => void;
  /** Called when the guest need not wait any longer, though nothing was taken. */
  readonly #onGiveUp: () => void;
  #backlog: Uint8Array[] = [];
  #waiting = 0;
  #timer: Timer | undefined;
  /** Bytes taken by the chardev since the guest began to wait. */
  #progress = 0;
  #givenUp = false;

  /** @param clock without one a reader counts as gone as soon as the backlog is full */
  constructor(
    chardev: Chardev,
    clock: Clock | undefined,
    warn: (message: string) => void,
    onGiveUp: () => void,
  ) {
    this.#chardev = chardev;
    this.#clock = clock;
    this.#warn = warn;
    this.#onGiveUp = onGiveUp;
  }

  /** Bytes in the backlog. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Takes, keeps or drops bytes of `data`; returns how many. The rest has to be offered again (`drain`). */
  write(data: Uint8Array): number {
    if (!this.#chardev.open) return data.length;
    let done = this.#waiting === 0 ? this.#chardev.write(data) : 0;
    const kept = Math.min(data.length - done, BACKLOG_BYTES - this.#waiting);
    if (kept > 0) {
      this.#backlog.push(data.slice(done, done + kept));
      this.#waiting += kept;
      done += kept;
    }
    if (done === data.length) return done;
    if (this.#givenUp || this.#clock === undefined) {
      this.#warn(`${this.#chardev.id}: nobody reads the console's output; what does not fit is dropped`);
      return data.length;
    }
    this.#watch(this.#clock);
    return done;
  }

  /** The chardev has room: gives it the backlog. */
  drain(): void {
    while (this.#backlog.length > 0) {
      const first = this.#backlog[0]!;
      const taken = this.#chardev.write(first);
      this.#waiting -= taken;
      this.#progress += taken;
      if (taken > 0) this.#givenUp = false;
      if (taken < first.length) {
        this.#backlog[0] = first.subarray(taken);
        return;
      }
      this.#backlog.shift();
    }
  }

  /** The peer is gone, or the port is: forgets what waits. */
  clear(): void {
    this.#backlog = [];
    this.#waiting = 0;
    this.#givenUp = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #watch(clock: Clock): void {
    if (this.#timer !== undefined) return;
    this.#progress = 0;
    this.#timer = clock.schedule(clock.now() + PATIENCE_NS, () => {
      this.#timer = undefined;
      if (this.#waiting < BACKLOG_BYTES) return;
      if (this.#progress > 0) return this.#watch(clock);
      this.#givenUp = true;
      this.#onGiveUp();
    });
  }
}
