/**
 * Machine time on Node.js: the host's monotonic clock while the machine runs, standing still while it is stopped.
 * Timers fire from the event loop; a machine that keeps the loop busy calls `poll` between its slices.
 */
import { type Clock, type Timer, TimerQueue } from '../../core/clock.ts';

/** Node's timers count in whole milliseconds and take at most 2^31 - 1 of them. */
const MAX_SLEEP = 2 ** 31 - 1;

export interface NodeClockOptions {
  /** What `wallClock` shows when the machine starts, milliseconds since 1970; the host's time when absent. */
  readonly epoch?: number;
  /** Timers wake the process by themselves. False: only `poll` fires them. */
  readonly wake?: boolean;
}

export class NodeClock implements Clock {
  readonly timers = new TimerQueue();
  readonly #wake: boolean;
  /** `hrtime` at machine time 0, moved forward by every stop. */
  #origin = process.hrtime.bigint();
  /** Machine time at which it was stopped. */
  #stoppedAt: number | undefined;
  /** Wall clock minus machine time, in milliseconds, when it does not follow the host's. */
  readonly #epoch: number | undefined;
  #sleep: NodeJS.Timeout | undefined;
  #sleepUntil = Number.POSITIVE_INFINITY;

  constructor(options: NodeClockOptions = {}) {
    this.#epoch = options.epoch;
    this.#wake = options.wake ?? true;
  }

  now(): number {
    return this.#stoppedAt ?? Number(process.hrtime.bigint() - this.#origin);
  }

  wallClock(): number {
    return this.#epoch === undefined ? Date.now() : this.#epoch + this.now() / 1e6;
  }

  schedule(deadline: number, fire: () => void): Timer {
    const timer = this.timers.schedule(deadline, fire);
    this.#arm();
    return timer;
  }

  /** Fires what is due. Returns nanoseconds until the next deadline (Infinity: none). */
  poll(): number {
    if (this.#stoppedAt !== undefined) return Number.POSITIVE_INFINITY;
    this.timers.run(this.now());
    this.#arm();
    return Math.max(0, this.timers.next() - this.now());
  }

  /** Time stands still until `resume`. */
  stop(): void {
    this.#stoppedAt ??= this.now();
    this.#disarm();
  }

  resume(): void {
    if (this.#stoppedAt === undefined) return;
    this.#origin = process.hrtime.bigint() - BigInt(Math.round(this.#stoppedAt));
    this.#stoppedAt = undefined;
    this.#arm();
  }

  close(): void {
    this.stop();
  }

  #arm(): void {
    if (!this.#wake || this.#stoppedAt !== undefined) return;
    const next = this.timers.next();
    if (next === this.#sleepUntil) return;
    this.#disarm();
    if (next === Number.POSITIVE_INFINITY) return;
    this.#sleepUntil = next;
    const milliseconds = Math.min(MAX_SLEEP, Math.max(0, Math.ceil((next - this.now()) / 1e6)));
    this.#sleep = setTimeout(() => {
      this.#sleepUntil = Number.POSITIVE_INFINITY;
      this.poll();
    }, milliseconds);
  }

  #disarm(): void {
    clearTimeout(this.#sleep);
    this.#sleepUntil = Number.POSITIVE_INFINITY;
  }
}
