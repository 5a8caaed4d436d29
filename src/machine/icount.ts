/**
 * Time made of instructions (`-icount`): each takes 2^shift nanoseconds, and time that the guest sleeps is added when
 * it wakes. A guest whose input is the same then takes the same path every time. This file counts; the run loop asks.
 */
import type { BlockHost, HostFile, OpenOptions } from '../block/file.ts';
import type { TimeSource } from './clock.ts';
import type { IcountConfig } from './config.ts';

/** Instructions in one turn of the processor at most. Part of the path: it decides when waiting code is translated. */
const MOST_BUDGET = 100_000;
const FIRST_SHIFT = 3;
const MAX_SHIFT = 10;
/** With `shift=auto`: real nanoseconds between looks, and how far the two clocks may be apart. */
const ADJUST_EVERY = 100e6;
const WOBBLE = 100e6;
/** With `align`: the guest may be this far ahead (ns) before it waits, and this late before the user hears of it. */
const AHEAD = 3e6;
const LATE_STEP = 1e9;
const MOST_WARNINGS = 20;

/** What counts. */
export interface InstructionCounter {
  readonly instructionCount: number;
}

export class InstructionTime implements TimeSource {
  readonly config: IcountConfig;
  readonly #real: TimeSource;
  readonly #warn: (message: string) => void;
  #counter: InstructionCounter = { instructionCount: 0 };
  #shift: number;
  /** Time that did not come of instructions. */
  #bias = 0;
  /** Real time at which a machine that keeps pace would have started. */
  #anchor: number;
  #adjusted: number;
  #lastAhead = 0;
  #late = LATE_STEP;
  #warnings = 0;

  constructor(config: IcountConfig, real: TimeSource, warn: (message: string) => void) {
    this.config = config;
    this.#real = real;
    this.#warn = warn;
    this.#shift = config.shift === 'auto' ? FIRST_SHIFT : config.shift;
    this.#anchor = real.monotonic();
    this.#adjusted = this.#anchor;
  }

  /** The processor, once there is one. */
  attach(counter: InstructionCounter): void {
    this.#counter = counter;
  }

  get shift(): number {
    return this.#shift;
  }

  monotonic(): number {
    return this.#bias + this.#counter.instructionCount * 2 ** this.#shift;
  }

  wall(): number {
    return this.#real.wall();
  }

  /** Nanoseconds of the host, for what must not depend on the guest's pace. */
  real(): number {
    return this.#real.monotonic();
  }

  /** Set when there are disks: whose requests the machine waits for. */
  files: CountedFiles | undefined;

  /** Instructions until `nanoseconds` from now, at least one. */
  budget(nanoseconds: number): number {
    return Math.max(1, Math.min(MOST_BUDGET, Math.ceil(nanoseconds / 2 ** this.#shift)));
  }

  /** The guest slept this long. */
  warp(nanoseconds: number): void {
    if (nanoseconds > 0) this.#bias += nanoseconds;
  }

  /** The machine stood still until now: what it missed is not made up for. */
  resumed(): void {
    this.#anchor = this.real() - this.monotonic();
    this.#adjusted = this.real();
    this.#lastAhead = 0;
  }

  /**
   * Between slices. With `shift=auto` brings the pace of the two clocks together.
   * @returns nanoseconds to wait, with `align`
   */
  keepPace(): number {
    const now = this.real();
    const ahead = this.monotonic() - (now - this.#anchor);
    if (this.config.shift === 'auto' && now - this.#adjusted >= ADJUST_EVERY) {
      this.#adjusted = now;
      this.#adjust(ahead);
    }
    if (!this.config.align) return 0;
    if (-ahead > this.#late && this.#warnings < MOST_WARNINGS) {
      this.#warnings++;
      this.#warn(`the guest is now late by ${(-ahead / 1e9).toFixed(1)} seconds`);
      this.#late = -ahead + LATE_STEP;
    }
    return ahead > AHEAD ? ahead : 0;
  }

  /** One step of the shift when the distance is large and grows. */
  #adjust(ahead: number): void {
    const before = this.monotonic();
    if (ahead > 0 && this.#lastAhead + WOBBLE < 2 * ahead && this.#shift > 0) this.#shift--;
    else if (ahead < 0 && this.#lastAhead - WOBBLE > 2 * ahead && this.#shift < MAX_SHIFT) this.#shift++;
    this.#lastAhead = ahead;
    // the new pace counts from here on
    this.#bias += before - this.monotonic();
  }
}

/**
 * The host's files, and how many requests to them are under way. A machine that counts instructions waits for them
 * before it goes on, so that a disk takes no time and always the same.
 */
export class CountedFiles implements BlockHost {
  readonly #host: BlockHost;
  #underWay = 0;
  #idle: (() => void)[] = [];

  constructor(host: BlockHost) {
    this.#host = host;
  }

  get busy(): boolean {
    return this.#underWay > 0;
  }

  /** Resolves when no request is under way. */
  async settled(): Promise<void> {
    while (this.#underWay > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #count<T>(result: T): T {
    if (!(result instanceof Promise)) return result;
    this.#underWay++;
    const done = (): void => {
      this.#underWay--;
      if (this.#underWay > 0) return;
      const waiting = this.#idle;
      this.#idle = [];
      for (const resolve of waiting) resolve();
    };
    result.then(done, done);
    return result;
  }

  #file(file: HostFile): HostFile {
    const counted: Partial<HostFile> = {
      read: (offset, buffers) => this.#count(file.read(offset, buffers)),
      write: (offset, buffers) => this.#count(file.write(offset, buffers)),
      sync: () => this.#count(file.sync()),
      zero: (offset, length, unmap) => this.#count(file.zero(offset, length, unmap)),
    };
    return new Proxy(file, {
      get: (target, name) => {
        const own = counted[name as keyof HostFile];
        if (own !== undefined) return own;
        const value = target[name as keyof HostFile] as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  open(path: string, options: OpenOptions): HostFile | Promise<HostFile> {
    const file = this.#host.open(path, options);
    return file instanceof Promise ? file.then((opened) => this.#file(opened)) : this.#file(file);
  }

  temporary(): HostFile | undefined {
    const file = this.#host.temporary();
    return file === undefined ? undefined : this.#file(file);
  }

  warn(message: string): void {
    this.#host.warn(message);
  }
}

/** A repeatable source of bytes for a guest, from a seed (SplitMix64, Steele and others 2014). Not fit for keys. */
export function seededRandom(seed: bigint): (view: Uint8Array) => void {
  let state = BigInt.asUintN(64, seed);
  let word = 0n;
  let left = 0;
  return (view) => {
    for (let i = 0; i < view.length; i++) {
      if (left === 0) {
        state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
        let z = state;
        z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
        z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
        word = z ^ (z >> 31n);
        left = 8;
      }
      view[i] = Number(word & 0xffn);
      word >>= 8n;
      left--;
    }
  };
}
