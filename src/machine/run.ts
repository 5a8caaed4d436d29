/**
 * The run loop: the processor in slices, timers between them, the host's event loop after each few milliseconds, and
 * real sleep while the guest has nothing to do. It knows the processor, the clock and a way to wait; no devices.
 */
import type { CpuInterface } from '../x86/cpu.ts';
import type { MachineClock } from './clock.ts';
import type { InstructionTime } from './icount.ts';
import { Pauses } from './pauses.ts';

/** How the loop lets the host go on. */
export interface Yielder {
  /** Resolves after the host's event loop has had one turn. */
  yieldToHost(): Promise<void>;
  /** Resolves after `milliseconds` (Infinity: never by itself), or at `wake`. */
  sleep(milliseconds: number, wake: WakeUp): Promise<void>;
  /** Blocks for a time shorter than the host's timers can measure; absent where that is not possible. */
  nap?(milliseconds: number): void;
  /** Nanoseconds that this thread was on a processor; absent or undefined where the host does not say. */
  processorTime?(): number | undefined;
}

/** Ends a sleep early. A wake before the sleep makes the next sleep end at once. */
export class WakeUp {
  #resolve: (() => void) | undefined;
  #pending = false;

  wake(): void {
    this.#pending = true;
    this.#resolve?.();
  }

  /** Calls back at the next `wake` (or now); returns the way to call it off. */
  listen(resolve: () => void): () => void {
    if (this.#pending) resolve();
    else this.#resolve = resolve;
    return () => {
      this.#resolve = undefined;
    };
  }

  get pending(): boolean {
    return this.#pending;
  }

  clear(): void {
    this.#pending = false;
  }
}

/** Nanoseconds between looks at the timers: the error of a timer that fires while the guest computes. */
const QUANTUM = 200_000;
/** Nanoseconds between turns of the host's event loop: the delay of input while the guest computes. */
const SLICE = 2_000_000;
/** Instructions in the first quantum, before the speed is known. */
const FIRST_BUDGET = 20_000;
const LEAST_BUDGET = 1_000;
/** What takes 5 ms where the guest is slowest, in code that it runs for the first time. */
const MOST_BUDGET = 250_000;
/** How much faster than the last quantum the next may be expected to be. */
const MOST_GROWTH = 2;
/** Sleeps shorter than this (ms) are naps: the host's timers count whole milliseconds. */
const NAP = 1;
/** Nanoseconds after input during which more is likely: a nap, which is deaf to it, is spent listening instead. */
const TALK = 2_000_000;
/** Nanoseconds that a guest which has just had input is waited for before the thread sleeps: waking it takes as long. */
const LISTEN = 50_000;

export interface RunLoopHooks {
  /** The processor shut down (triple fault). The loop goes on if the hook resets it. */
  onShutdown(): void;
  /** Called between slices, when `request` asked for it. */
  onRequest(): void | Promise<void>;
}

export class RunLoop {
  readonly #cpu: CpuInterface;
  readonly #clock: MachineClock;
  readonly #host: Yielder;
  readonly #hooks: RunLoopHooks;
  readonly #wake = new WakeUp();
  #running = false;
  #ended = false;
  #requested = false;
  #halted = false;
  /** The interrupt line was raised since the processor halted. With interrupts disabled it stays halted anyway. */
  #attention = false;
  /** Instructions a nanosecond, measured. */
  #speed = FIRST_BUDGET / QUANTUM;
  /** The loop waits for something to happen: an interrupt that comes now comes from the host's side. */
  #waiting = false;
  /** When the last such interrupt came, in the clock's nanoseconds. */
  #inputAt = Number.NEGATIVE_INFINITY;
  /** Nanoseconds of the clock that the loop slept. */
  slept = 0;
  readonly pauses: Pauses;

  readonly #icount: InstructionTime | undefined;

  constructor(
    cpu: CpuInterface,
    clock: MachineClock,
    host: Yielder,
    hooks: RunLoopHooks,
    icount?: InstructionTime,
    pauses = new Pauses(),
  ) {
    this.#icount = icount;
    this.pauses = pauses;
    this.#cpu = cpu;
    this.#clock = clock;
    this.#host = host;
    this.#hooks = hooks;
    clock.onSooner = () => this.#wake.wake();
  }

  get running(): boolean {
    return this.#running;
  }

  /** The processor may run from now on. */
  resume(): void {
    if (this.#running || this.#ended) return;
    this.#running = true;
    this.#clock.cont();
    this.#icount?.resumed();
    this.#wake.wake();
  }

  /** The processor stops before its next slice; when called between slices, at once. */
  pause(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#clock.stop();
    this.#cpu.stop();
    this.#wake.wake();
  }

  /** `run` returns soon. */
  end(): void {
    this.#ended = true;
    this.#running = false;
    this.#cpu.stop();
    this.#wake.wake();
  }

  /** The interrupt line of the processor: a raised line ends its sleep. */
  setInterrupt(level: boolean): void {
    this.#cpu.setInterrupt(level);
    if (!level) return;
    this.#attention = true;
    if (this.#waiting) this.#inputAt = this.#clock.now();
    this.#wake.wake();
  }

  nmi(): void {
    this.#cpu.nmi();
    this.#halted = false;
    this.#wake.wake();
  }

  /** Has `onRequest` called outside the processor's run: for resets that a guest's own write asks for. */
  request(): void {
    this.#requested = true;
    this.#cpu.stop();
    this.#wake.wake();
  }

  /** The processor was reset: it is not halted any more. */
  noteReset(): void {
    this.#halted = false;
  }

  /** Runs until `end`. */
  async run(): Promise<void> {
    while (!this.#ended) {
      this.#wake.clear();
      if (this.#requested) {
        this.#requested = false;
        await this.#hooks.onRequest();
        continue;
      }
      if (!this.#running) {
        this.pauses.rests();
        await this.#host.sleep(Number.POSITIVE_INFINITY, this.#wake);
        continue;
      }
      if (this.#icount?.files?.busy) {
        await this.#icount.files.settled();
        // what waits for the requests in several steps has its turn, too
        await this.#host.yieldToHost();
        continue;
      }
      this.#clock.runTimers();
      if (this.#halted && !this.#attention) {
        this.#waiting = true;
        this.pauses.rests();
        await (this.#icount === undefined ? this.#idle() : this.#idleCounting(this.#icount));
        this.#waiting = false;
        continue;
      }
      this.pauses.sliceBegins(this.#realTime());
      if (this.#icount === undefined) this.#slice();
      else this.#sliceCounting(this.#icount);
      this.pauses.sliceEnds(this.#realTime());
      const ahead = this.#icount?.keepPace() ?? 0;
      if (ahead > 0) {
        this.pauses.rests();
        await this.#host.sleep(ahead / 1e6, this.#wake);
      } else await this.#host.yieldToHost();
    }
  }

  /** Nanoseconds of the host's clock, also where the guest's is another. */
  #realTime(): number {
    return this.#icount?.real() ?? this.#clock.now();
  }

  /** Sleeps until the next timer or a wake. */
  async #idle(): Promise<void> {
    const start = this.#clock.now();
    const wait = (this.#clock.timers.next() - start) / 1e6;
    if (wait <= 0 || this.#wake.pending) return;
    const talking = start - this.#inputAt < TALK;
    if (talking) await this.#listen(start + (wait < NAP ? wait * 1e6 : LISTEN));
    if (this.#wake.pending || !this.#running) {
      // Something came while it was listened for.
    } else if (wait >= NAP) await this.#host.sleep(wait, this.#wake);
    else if (!talking) {
      // Input first, then the rest of the millisecond without the event loop.
      await this.#host.yieldToHost();
      if (this.#wake.pending || !this.#running) return;
      const rest = (this.#clock.timers.next() - this.#clock.now()) / 1e6;
      if (rest > 0) this.#host.nap?.(Math.min(rest, NAP));
    }
    this.slept += this.#clock.now() - start;
  }

  /** Turns of the host's event loop until `end`, or until something happens. */
  async #listen(end: number): Promise<void> {
    do await this.#host.yieldToHost();
    while (!this.#wake.pending && this.#running && this.#clock.now() < end);
  }

  /**
   * The same where time is made of instructions: it goes on to exactly the next timer, however long the host slept. Only
   * what comes from outside ends the sleep at a time that the host decides.
   */
  async #idleCounting(icount: InstructionTime): Promise<void> {
    const wait = this.#clock.timers.next() - this.#clock.now();
    if (wait <= 0 || this.#wake.pending) return;
    const start = icount.real();
    const sleep = icount.config.sleep || wait === Number.POSITIVE_INFINITY;
    if (sleep && wait / 1e6 >= NAP) await this.#host.sleep(wait / 1e6, this.#wake);
    else await this.#host.yieldToHost();
    if (!this.#running || this.#ended || icount.files?.busy) return;
    const slept = this.#wake.pending ? Math.min(wait, sleep ? icount.real() - start : 0) : wait;
    icount.warp(slept);
    this.slept += slept;
  }

  /** Quanta until the slice is over or the guest has nothing to do. */
  #sliceCounting(icount: InstructionTime): void {
    const clock = this.#clock;
    const end = icount.real() + SLICE;
    while (icount.real() < end && this.#running && !this.#requested) {
      this.#halted = false;
      const result = this.#cpu.run(icount.budget(clock.timers.next() - clock.now()));
      this.#halted = result === 'halted';
      if (this.#halted) this.#attention = false;
      if (result === 'shutdown') {
        this.#hooks.onShutdown();
        return;
      }
      clock.runTimers();
      if ((this.#halted && !this.#attention) || icount.files?.busy) return;
    }
  }

  /** Quanta until the slice is over or the guest has nothing to do. */
  #slice(): void {
    const clock = this.#clock;
    let now = clock.now();
    const end = now + SLICE;
    while (now < end && this.#running && !this.#requested) {
      const until = Math.min(now + QUANTUM, clock.timers.next());
      const budget = Math.max(LEAST_BUDGET, Math.min(MOST_BUDGET, (until - now) * this.#speed));
      const before = this.#cpu.instructionCount;
      const result = this.#cpu.run(Math.floor(budget), until);
      const after = clock.now();
      this.#measure(this.#cpu.instructionCount - before, after - now);
      now = after;
      this.#halted = result === 'halted';
      if (this.#halted) this.#attention = false;
      if (result === 'shutdown') {
        this.#hooks.onShutdown();
        return;
      }
      clock.runTimers();
      if (this.#halted && !this.#attention) return;
    }
  }

  /**
   * Down at once and up in steps: copying and filling is a hundred times as fast as what comes after it, which would then
   * run for as many times as long as it should. Few instructions in a short time say little about speed.
   */
  #measure(instructions: number, nanoseconds: number): void {
    if (nanoseconds <= 0 || (instructions < LEAST_BUDGET && nanoseconds < QUANTUM)) return;
    const speed = Math.min(instructions / nanoseconds, this.#speed * MOST_GROWTH);
    this.#speed = Math.max(speed, LEAST_BUDGET / QUANTUM);
  }
}
