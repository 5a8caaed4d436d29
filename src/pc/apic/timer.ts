/**
 * The local APIC's timer: one-shot, periodic, and TSC-deadline. It counts at 1 GHz before the divider (the "bus
 * frequency" that CPUID tells Linux), so a tick is a nanosecond. Intel SDM volume 3, "APIC Timer".
 */
import type { Clock, Timer } from '../../core/clock.ts';
import { MIN_PERIOD_NS } from '../ticks.ts';

export type TimerMode = 'one-shot' | 'periodic' | 'deadline';

export interface ApicTimerState {
  mode: TimerMode;
  initialCount: number;
  /** The divide configuration register as written. */
  divide: number;
  /** When the count was loaded, nanoseconds. */
  loadTime: number;
  /** IA32_TSC_DEADLINE as two halves; zero when not armed. */
  deadlineLow: number;
  deadlineHigh: number;
}

export function initialTimer(): ApicTimerState {
  return { mode: 'one-shot', initialCount: 0, divide: 0, loadTime: 0, deadlineLow: 0, deadlineHigh: 0 };
}

export class ApicTimer {
  state: ApicTimerState = initialTimer();
  readonly #clock: Clock;
  readonly #readTsc: () => number;
  readonly #fire: () => void;
  #timer: Timer | undefined;

  /**
   * @param readTsc the processor's time stamp counter, ticks of a nanosecond
   * @param fire the timer has run out: deliver its LVT entry
   */
  constructor(clock: Clock, readTsc: () => number, fire: () => void) {
    this.#clock = clock;
    this.#readTsc = readTsc;
    this.#fire = fire;
  }

  reset(): void {
    this.state = initialTimer();
    this.rearm();
  }

  set mode(mode: TimerMode) {
    const s = this.state;
    if (mode === s.mode) return;
    // "Transitioning between TSC-deadline mode and other timer modes also disarms the timer."
    if (mode === 'deadline' || s.mode === 'deadline') {
      s.initialCount = s.deadlineLow = s.deadlineHigh = 0;
    }
    s.mode = mode;
    this.rearm();
  }

  set divide(value: number) {
    const current = this.currentCount;
    this.state.divide = value & 0x0b;
    // The count goes on from where it stands, at the new rate.
    const passed = this.state.initialCount - current;
    this.state.loadTime = this.#clock.now() - passed * this.#tick;
    this.rearm();
  }

  set initialCount(value: number) {
    // "In TSC-deadline mode, writes to the initial-count register are ignored."
    if (this.state.mode === 'deadline') return;
    this.state.initialCount = value;
    this.state.loadTime = this.#clock.now();
    this.rearm();
  }

  get currentCount(): number {
    const { mode, initialCount, loadTime } = this.state;
    if (mode === 'deadline' || initialCount === 0) return 0;
    const ticks = Math.floor((this.#clock.now() - loadTime) / this.#tick);
    if (mode === 'periodic') return initialCount - (ticks % initialCount);
    return Math.max(0, initialCount - ticks);
  }

  /** "In other timer modes, the IA32_TSC_DEADLINE MSR reads zero and writes are ignored." */
  setDeadline(low: number, high: number): void {
    if (this.state.mode !== 'deadline') return;
    this.state.deadlineLow = low;
    this.state.deadlineHigh = high;
    this.rearm();
  }

  /** Sets the host timer from `state`. */
  rearm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const s = this.state;
    const now = this.#clock.now();
    if (s.mode === 'deadline') {
      const deadline = s.deadlineHigh * 2 ** 32 + s.deadlineLow;
      if (deadline === 0) return;
      const at = now + (deadline - this.#readTsc());
      // A deadline that has passed fires at once; through the clock, so that nothing is delivered inside a WRMSR.
      this.#arm(Math.max(now, at));
      return;
    }
    if (s.initialCount === 0) return;
    const period = s.initialCount * this.#tick;
    const passed = now - s.loadTime;
    if (s.mode === 'one-shot') {
      if (passed < period) this.#arm(s.loadTime + period);
      return;
    }
    const next = s.loadTime + (Math.floor(passed / period) + 1) * period;
    this.#arm(period < MIN_PERIOD_NS ? Math.max(next, now + MIN_PERIOD_NS) : next);
  }

  #arm(at: number): void {
    this.#timer = this.#clock.schedule(at, () => {
      const s = this.state;
      if (s.mode === 'deadline') s.deadlineLow = s.deadlineHigh = 0;
      // Periods that the host was too late for are not made up: the vector could only be pending once.
      else if (s.mode === 'periodic') this.rearm();
      this.#fire();
    });
  }

  /** Nanoseconds of a tick: bits 3, 1, 0 of the divide register say 2, 4 … 128, 1. */
  get #tick(): number {
    const { divide } = this.state;
    return 1 << ((((divide & 3) | ((divide >> 1) & 4)) + 1) & 7);
  }
}
