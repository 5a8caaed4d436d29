/**
 * Conversion between nanoseconds and ticks of a fixed-frequency counter, exact for as long as the clock is (104
 * days): the product of a time and a frequency does not fit a double's 53 bits, so whole seconds go separately.
 */

const NS = 1_000_000_000;

/** Ticks of an `hz` counter that have passed at `ns`: the largest n with n / hz <= ns. */
export function ticksAt(ns: number, hz: number): number {
  const seconds = Math.floor(ns / NS);
  return seconds * hz + Math.floor(((ns - seconds * NS) * hz) / NS);
}

/** The first nanosecond at which `ticks` ticks have passed: `ticksAt(nsOfTick(n)) === n`. */
export function nsOfTick(ticks: number, hz: number): number {
  const seconds = Math.floor(ticks / hz);
  return seconds * NS + Math.ceil(((ticks - seconds * hz) * NS) / hz);
}

/**
 * Least distance between two interrupts of a periodic timer, nanoseconds. A guest may program a period of a tick or
 * two; delivering each would leave the host no time for anything else, and no guest can serve them.
 */
export const MIN_PERIOD_NS = 10_000;
