/**
 * The high precision event timer: a 64-bit counter at 100 MHz and three comparators, with legacy replacement of the
 * PIT and RTC interrupts, as QEMU offers it. IA-PC HPET Specification 1.0a. 64-bit registers are bigints: software
 * reads the counter rarely where the TSC is good.
 */
import type { AccessSize, AddressSpace } from '../core/bus.ts';
import type { Clock, Timer } from '../core/clock.ts';
import type { IrqLine } from '../core/irq.ts';
import type { Tracer } from '../core/trace.ts';
import { MIN_PERIOD_NS } from './ticks.ts';

const WINDOW_SIZE = 0x400;
const TIMERS = 3;
/** Missed edges that are made up for at most. */
const MOST_OWED = 100;
/** Femtoseconds of a tick, and nanoseconds. */
const PERIOD_FS = 10_000_000;
const TICK_NS = 10;

const CAPABILITIES = 0x000;
const CONFIGURATION = 0x010;
const STATUS = 0x020;
const COUNTER = 0x0f0;
const TIMER_BASE = 0x100;
const TIMER_STRIDE = 0x20;
const TIMER_CONFIGURATION = 0x00;
const TIMER_COMPARATOR = 0x08;

const CONFIG_ENABLE = 0x1n;
const CONFIG_LEGACY = 0x2n;

const TN_LEVEL = 0x2n;
const TN_ENABLE = 0x4n;
const TN_PERIODIC = 0x8n;
const TN_PERIODIC_CAP = 0x10n;
const TN_SIZE_CAP = 0x20n;
const TN_SET_VALUE = 0x40n;
const TN_32BIT = 0x100n;
const TN_WRITABLE = 0x3f4en;
const TN_ROUTE_SHIFT = 9n;

const MASK32 = 0xffffffffn;
const MASK64 = 0xffffffffffffffffn;

export interface HpetTimerState {
  config: bigint;
  comparator: bigint;
  /** What a periodic comparator grows by. */
  period: bigint;
}

export interface HpetState {
  config: bigint;
  status: bigint;
  /** The counter while halted; while it runs, its value at nanosecond 0 of the clock (64-bit wrapping). */
  counter: bigint;
  readonly timers: HpetTimerState[];
}

export class Hpet {
  state: HpetState;
  readonly #clock: Clock;
  readonly #tracer: Tracer;
  readonly #gsi: (gsi: number) => IrqLine;
  readonly #legacy: (enabled: boolean) => void;
  readonly #routes: bigint;
  readonly #armed: (Timer | undefined)[] = [];
  /** Edges that each timer missed, and what makes up for them. */
  readonly #owed: number[] = [];
  readonly #makingUp: (Timer | undefined)[] = [];
  /**
   * When a timer that tells nobody comes to its comparator next, in the clock's nanoseconds. Linux leaves one behind that
   * ticks 250 times a second: its comparator goes on when somebody looks, so that the host may sleep.
   */
  readonly #unheard: (number | undefined)[] = [];
  /** Which line each timer last drove, so that a change of routing releases it. */
  readonly #lines: (IrqLine | undefined)[] = [];

  /**
   * @param routes bit n: timers may use I/O APIC input n
   * @param legacy called when legacy replacement goes on (PIT and RTC must let go of their lines) and off
   */
  constructor(options: {
    readonly mmio: AddressSpace;
    readonly base: number;
    readonly clock: Clock;
    readonly tracer: Tracer;
    readonly gsi: (gsi: number) => IrqLine;
    readonly routes: number;
    readonly legacy: (enabled: boolean) => void;
  }) {
    this.#clock = options.clock;
    this.#tracer = options.tracer;
    this.#gsi = options.gsi;
    this.#legacy = options.legacy;
    this.#routes = BigInt(options.routes >>> 0);
    this.state = this.#initialState();
    options.mmio.add({
      name: 'hpet',
      base: options.base,
      size: WINDOW_SIZE,
      handler: {
        read: (offset, size) => this.#readPart(offset, size),
        write: (offset, size, value) => this.#writePart(offset, size, value),
      },
    });
  }

  #initialState(): HpetState {
    const config = TN_PERIODIC_CAP | TN_SIZE_CAP | (this.#routes << 32n);
    const timers = Array.from({ length: TIMERS }, () => ({ config, comparator: MASK64, period: 0n }));
    return { config: 0n, status: 0n, counter: 0n, timers };
  }

  reset(): void {
    const legacy = (this.state.config & CONFIG_LEGACY) !== 0n;
    for (let n = 0; n < TIMERS; n++) {
      this.#armed[n]?.cancel();
      this.#unheard[n] = undefined;
      this.#forgive(n);
      this.#lines[n]?.set(false);
      this.#lines[n] = undefined;
    }
    this.state = this.#initialState();
    if (legacy) this.#legacy(false);
  }

  /** To be called after `state` was replaced by a snapshot's. */
  rearm(): void {
    for (let n = 0; n < TIMERS; n++) this.#arm(n);
  }

  /** To be called before `state` is kept: brings it up to date. */
  settle(): void {
    for (let n = 0; n < TIMERS; n++) this.#settle(n);
  }

  get counter(): bigint {
    return this.#counterAt(this.#clock.now());
  }

  #counterAt(now: number): bigint {
    const { config, counter } = this.state;
    return (config & CONFIG_ENABLE) === 0n ? counter : (counter + ticksAt(now)) & MASK64;
  }

  // -- registers -----------------------------------------------------------------------------------------------

  #read(register: number): bigint {
    const s = this.state;
    switch (register) {
      case CAPABILITIES:
        // Period, vendor 8086h, legacy replacement, 64-bit counter, three timers, revision 1 (§2.3.4).
        return (BigInt(PERIOD_FS) << 32n) | 0x8086a201n;
      case CONFIGURATION:
        return s.config;
      case STATUS:
        return s.status;
      case COUNTER:
        return this.counter;
    }
    const timer = s.timers[((register - TIMER_BASE) / TIMER_STRIDE) | 0];
    if (register < TIMER_BASE || timer === undefined) return 0n;
    switch (register & (TIMER_STRIDE - 1)) {
      case TIMER_CONFIGURATION:
        return timer.config;
      case TIMER_COMPARATOR:
        this.settle();
        return timer.comparator;
      default:
        // FSB interrupt routing: the capability bit says that there is none.
        return 0n;
    }
  }

  /** @param mask the bits of the register that the access wrote */
  #write(register: number, value: bigint, mask: bigint): void {
    const s = this.state;
    switch (register) {
      case CAPABILITIES:
        return;
      case CONFIGURATION:
        this.#configure(value & (CONFIG_ENABLE | CONFIG_LEGACY));
        return;
      case STATUS:
        // "Software writes a 1 to clear" a level-triggered timer's bit (§2.3.6).
        for (let n = 0; n < TIMERS; n++) {
          if ((value & mask & s.status & (1n << BigInt(n))) === 0n) continue;
          s.status &= ~(1n << BigInt(n));
          this.#lines[n]?.set(false);
        }
        return;
      case COUNTER:
        // "Writes to this register should only be done while the counter is halted" (§2.3.7).
        if ((s.config & CONFIG_ENABLE) === 0n) s.counter = value;
        return;
    }
    const n = ((register - TIMER_BASE) / TIMER_STRIDE) | 0;
    const timer = s.timers[n];
    if (register < TIMER_BASE || timer === undefined) return;
    this.#settle(n);
    switch (register & (TIMER_STRIDE - 1)) {
      case TIMER_CONFIGURATION:
        this.#configureTimer(n, timer, value);
        break;
      case TIMER_COMPARATOR:
        this.#writeComparator(timer, value & mask, mask);
        break;
      default:
        return;
    }
    this.#arm(n);
  }

  #configure(config: bigint): void {
    const s = this.state;
    const changed = s.config ^ config;
    this.settle();
    const now = this.#clock.now();
    const counter = this.#counterAt(now);
    s.config = config;
    if ((changed & CONFIG_ENABLE) !== 0n) {
      s.counter = (config & CONFIG_ENABLE) !== 0n ? (counter - ticksAt(now)) & MASK64 : counter;
      if ((config & CONFIG_ENABLE) === 0n) for (const line of this.#lines) line?.set(false);
    }
    if ((changed & CONFIG_LEGACY) !== 0n) {
      for (const line of this.#lines) line?.set(false);
      this.#legacy((config & CONFIG_LEGACY) !== 0n);
    }
    for (let n = 0; n < TIMERS; n++) this.#forgive(n);
    this.rearm();
  }

  #configureTimer(n: number, timer: HpetTimerState, value: bigint): void {
    const old = timer.config;
    this.#forgive(n);
    timer.config = (old & ~TN_WRITABLE) | (value & TN_WRITABLE);
    if ((timer.config & TN_32BIT) !== 0n) {
      timer.comparator &= MASK32;
      timer.period &= MASK32;
    }
    if (((old ^ timer.config) & (TN_LEVEL | TN_ENABLE | (0x1fn << TN_ROUTE_SHIFT))) !== 0n) {
      this.#lines[n]?.set(false);
      this.#lines[n] = undefined;
    }
  }

  #writeComparator(timer: HpetTimerState, value: bigint, mask: bigint): void {
    const wide = (timer.config & TN_32BIT) === 0n;
    const keep = wide ? ~mask & MASK64 : ~mask & MASK32;
    const periodic = (timer.config & TN_PERIODIC) !== 0n;
    // In periodic mode a plain write sets the period; with Tn_VAL_SET_CNF the first one sets the accumulator
    // (§2.3.9.2.2).
    if (!periodic || (timer.config & TN_SET_VALUE) !== 0n) {
      timer.comparator = ((timer.comparator & keep) | value) & (wide ? MASK64 : MASK32);
    }
    if (periodic) timer.period = ((timer.period & keep) | value) & (wide ? MASK64 : MASK32);
    // The bit clears itself after a full write: for a 64-bit comparator, with the upper half.
    if (!wide || mask >> 32n !== 0n) timer.config &= ~TN_SET_VALUE;
  }

  #readPart(offset: number, size: AccessSize): number {
    const shift = BigInt((offset & 7) * 8);
    const value = this.#read(offset & ~7) >> shift;
    return Number(value & ((1n << BigInt(size * 8)) - 1n));
  }

  #writePart(offset: number, size: AccessSize, value: number): void {
    const shift = BigInt((offset & 7) * 8);
    const register = offset & ~7;
    const mask = (((1n << BigInt(size * 8)) - 1n) << shift) & MASK64;
    const bits = (BigInt(value >>> 0) << shift) & mask;
    // Bits beside the written ones keep what they are.
    this.#write(register, (this.#read(register) & ~mask) | bits, mask);
  }

  // -- comparators ---------------------------------------------------------------------------------------------

  #arm(n: number, now = this.#clock.now()): void {
    this.#armed[n]?.cancel();
    this.#armed[n] = undefined;
    this.#unheard[n] = undefined;
    const s = this.state;
    const timer = s.timers[n]!;
    if ((s.config & CONFIG_ENABLE) === 0n) return;
    const ahead = (timer.comparator - this.#counterAt(now)) & widthOf(timer);
    // Further than 100 days is never; it also bounds what becomes a number.
    if (ahead > 10n ** 15n) return;
    const deadline = (Math.floor(now / TICK_NS) + Number(ahead)) * TICK_NS;
    // "If this bit is 0, the timer can still operate and generate appropriate status bits" (§2.3.8): only levels have one.
    if ((timer.config & (TN_ENABLE | TN_LEVEL)) === 0n) this.#unheard[n] = deadline;
    else this.#armed[n] = this.#clock.schedule(Math.max(deadline, now), () => this.#fire(n));
  }

  /** Has the comparator of a timer that tells nobody go on for the periods that have passed. */
  #settle(n: number): void {
    const due = this.#unheard[n];
    const now = this.#clock.now();
    if (due === undefined || due > now) return;
    const timer = this.state.timers[n]!;
    this.#unheard[n] = undefined;
    if ((timer.config & TN_PERIODIC) === 0n || timer.period === 0n) return;
    const length = Number(timer.period) * TICK_NS;
    const steps = Math.floor((now - due) / length) + 1;
    timer.comparator = (timer.comparator + timer.period * BigInt(steps)) & widthOf(timer);
    this.#unheard[n] = due + steps * length;
  }

  #fire(n: number): void {
    const timer = this.state.timers[n]!;
    if ((timer.config & TN_PERIODIC) !== 0n && timer.period !== 0n) {
      // The comparator skips periods that the host was too late for, and those too short to serve. All by one look at
      // the clock: a comparator that is passed meanwhile would be met again when the counter comes round.
      const now = this.#clock.now();
      const width = widthOf(timer);
      const step = timer.period;
      const late = (this.#counterAt(now) - timer.comparator) & width;
      const reached = (late + BigInt(MIN_PERIOD_NS / TICK_NS)) & width;
      const steps = step * BigInt(TICK_NS) < BigInt(MIN_PERIOD_NS) ? reached / step + 1n : late / step + 1n;
      timer.comparator = (timer.comparator + step * steps) & width;
      this.#arm(n, now);
      const length = Number(step) * TICK_NS;
      if (length >= 2 * MIN_PERIOD_NS && (timer.config & TN_LEVEL) === 0n)
        this.#owe(n, timer, Number(steps) - 1, length);
    } else if ((timer.config & TN_32BIT) !== 0n) {
      // A one-shot fires again each time that the 32-bit counter wraps (§2.3.9.2.1).
      const deadline = this.#clock.now() + 2 ** 32 * TICK_NS;
      this.#armed[n] = this.#clock.schedule(deadline, () => this.#fire(n));
    }
    this.#interrupt(n, timer);
  }

  /**
   * Edges that were missed because the host was busy follow soon, one by one, as those of the PIT do: who counts them
   * keeps its time.
   */
  #owe(n: number, timer: HpetTimerState, missed: number, length: number): void {
    this.#owed[n] = Math.min((this.#owed[n] ?? 0) + missed, MOST_OWED);
    if (this.#owed[n] === 0 || this.#makingUp[n] !== undefined) return;
    const make = (): void => {
      this.#makingUp[n] = undefined;
      this.#owed[n]!--;
      this.#interrupt(n, timer);
      if (this.#owed[n]! > 0) this.#makingUp[n] = this.#clock.schedule(this.#clock.now() + length / 8, make);
    };
    this.#makingUp[n] = this.#clock.schedule(this.#clock.now() + length / 8, make);
  }

  /** Software set the timer anew: nothing is owed any more. */
  #forgive(n: number): void {
    this.#owed[n] = 0;
    this.#makingUp[n]?.cancel();
    this.#makingUp[n] = undefined;
  }

  #interrupt(n: number, timer: HpetTimerState): void {
    if ((timer.config & TN_ENABLE) === 0n) {
      if ((timer.config & TN_LEVEL) !== 0n) this.state.status |= 1n << BigInt(n);
      return;
    }
    const line = this.#route(n, timer);
    if (line === undefined) return;
    this.#lines[n] = line;
    if ((timer.config & TN_LEVEL) !== 0n) {
      this.state.status |= 1n << BigInt(n);
      line.set(true);
    } else {
      line.set(true);
      line.set(false);
    }
  }

  #route(n: number, timer: HpetTimerState): IrqLine | undefined {
    if ((this.state.config & CONFIG_LEGACY) !== 0n && n < 2) return this.#gsi(n === 0 ? 0 : 8);
    const pin = (timer.config >> TN_ROUTE_SHIFT) & 0x1fn;
    if ((this.#routes & (1n << pin)) !== 0n) return this.#gsi(Number(pin));
    this.#tracer.warn('hpet', `timer ${n} is routed to input ${pin}, which it cannot reach`);
    return undefined;
  }
}

/** Bits of a timer's comparator. */
function widthOf({ config }: HpetTimerState): bigint {
  return (config & TN_32BIT) === 0n ? MASK64 : MASK32;
}

function ticksAt(now: number): bigint {
  return BigInt(Math.floor(now / TICK_NS));
}
