/**
 * The clock of a running machine: the host's monotonic time since the start, minus the time that the machine stood
 * still. Timers are kept here and fired by the run loop, never by the host's own timers.
 */
import type { Clock, Timer } from '../core/clock.ts';
import { TimerQueue } from '../core/clock.ts';

/** Where time comes from. */
export interface TimeSource {
  /** Nanoseconds of a clock that never goes back. */
  monotonic(): number;
  /** Milliseconds since 1970, UTC. */
  wall(): number;
}

export class MachineClock implements Clock {
  readonly timers = new TimerQueue();
  readonly #source: TimeSource;
  /** Value of the source at which `now()` is 0, while running. */
  #origin: number;
  /** `now()` while stopped. */
  #stoppedAt: number | undefined = 0;
  /** Called when a timer is set that is sooner than all others: a sleeping machine must look again. */
  onSooner: (deadline: number) => void = () => {};

  /** The clock starts stopped, at 0. */
  constructor(source: TimeSource) {
    this.#source = source;
    this.#origin = source.monotonic();
  }

  get running(): boolean {
    return this.#stoppedAt === undefined;
  }

  now(): number {
    return this.#stoppedAt ?? this.#source.monotonic() - this.#origin;
  }

  wallClock(): number {
    return this.#source.wall();
  }

  schedule(deadline: number, fire: () => void): Timer {
    const sooner = deadline < this.timers.next();
    const timer = this.timers.schedule(deadline, fire);
    if (sooner) this.onSooner(deadline);
    return timer;
  }

  /** Time stands still until `cont`. */
  stop(): void {
    this.#stoppedAt ??= this.now();
  }

  cont(): void {
    if (this.#stoppedAt === undefined) return;
    this.#origin = this.#source.monotonic() - this.#stoppedAt;
    this.#stoppedAt = undefined;
  }

  /** Fires what is due. */
  runTimers(): void {
    this.timers.run(this.now());
  }
}
