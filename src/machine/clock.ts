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
  readonly #wall: () => number;
  /** Value of the source at which `now()` is 0, while running. */
  #origin: number;
  /** `now()` while stopped. */
  #stoppedAt: number | undefined = 0;
  /** Called when a timer is set that is sooner than all others: a sleeping machine must look again. */
  onSooner: (deadline: number) => void = () => {};

  /**
   * The clock starts stopped, at 0.
   * @param wall what the real-time clock shows: from the host's clock, or counted from a base
   */
  constructor(source: TimeSource, wall: WallTime = { kind: 'host', offset: 0 }) {
    this.#source = source;
    this.#origin = source.monotonic();
    this.#wall =
      wall.kind === 'host' ? () => source.wall() + wall.offset : () => wall.base + this.now() / 1e6;
  }

  get running(): boolean {
    return this.#stoppedAt === undefined;
  }

  now(): number {
    return this.#stoppedAt ?? this.#source.monotonic() - this.#origin;
  }

  wallClock(): number {
    return this.#wall();
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

/** `-rtc clock=host` follows the host's clock at an offset; `clock=vm` counts machine time from a base (ms). */
export type WallTime =
  | { readonly kind: 'host'; readonly offset: number }
  | { readonly kind: 'vm'; readonly base: number };

/** What `-rtc` asks for. `localOffset` is the host's time zone, in ms east of UTC. */
export function wallTime(
  rtc: { readonly base: 'utc' | 'localtime' | number; readonly clock: 'host' | 'rt' | 'vm' },
  source: TimeSource,
  localOffset: number,
): WallTime {
  const wall = source.wall();
  const shown = rtc.base === 'utc' ? wall : rtc.base === 'localtime' ? wall + localOffset : rtc.base;
  return rtc.clock === 'vm' ? { kind: 'vm', base: shown } : { kind: 'host', offset: shown - wall };
}
