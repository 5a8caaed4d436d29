/**
 * Limits on what a disk does in a second, by leaky buckets: bytes and requests, in total or for reads and writes
 * apart, with bursts. Several disks may share a group. Names, bounds and error texts are QEMU's (docs/throttle.txt
 * of its sources describes the behaviour).
 */
import { UsageError } from '../core/errors.ts';
import type { BlockBackend, Completion } from './backend.ts';
import { totalLength } from './buffers.ts';
import { BlockIoError } from './errors.ts';

/** What is limited, as QMP's members are called. */
export const LIMITS = ['bps', 'bps_rd', 'bps_wr', 'iops', 'iops_rd', 'iops_wr'] as const;
export type LimitName = (typeof LIMITS)[number];

/** One limit. */
export interface Limit {
  /** Units a second; 0: no limit. */
  readonly average: number;
  /** Units a second in a burst; 0: a tenth of a second's worth may be taken at once, and no more. */
  readonly max: number;
  /** Seconds that a burst may last. */
  readonly length: number;
}

export interface ThrottleConfig {
  readonly limits: Readonly<Record<LimitName, Limit>>;
  /** Bytes that count as one request; 0: requests of all sizes count one. */
  readonly iopsSize: number;
}

const NO_LIMIT: Limit = { average: 0, max: 0, length: 1 };
export const NO_LIMITS: ThrottleConfig = {
  limits: Object.fromEntries(LIMITS.map((name) => [name, NO_LIMIT])) as Record<LimitName, Limit>,
  iopsSize: 0,
};

/** Beyond this, sums of time and bytes would lose precision: QEMU's bound. */
const VALUE_MAX = 1e15;

/** True where any limit is set. */
export const isLimited = ({ limits }: ThrottleConfig): boolean =>
  LIMITS.some((name) => limits[name].average > 0);

/**
 * A configuration from numbers by QMP's names: `bps`, `bps_max`, `bps_max_length`, …, `iops_size`.
 * @throws UsageError in QEMU's words
 */
export function throttleConfig(given: Readonly<Record<string, number | undefined>>): ThrottleConfig {
  const limits = Object.fromEntries(
    LIMITS.map((name): [LimitName, Limit] => [
      name,
      {
        average: given[name] ?? 0,
        max: given[`${name}_max`] ?? 0,
        length: given[`${name}_max_length`] ?? 1,
      },
    ]),
  ) as Record<LimitName, Limit>;
  const config = { limits, iopsSize: given.iops_size ?? 0 };
  check(config);
  return config;
}

function check({ limits, iopsSize }: ThrottleConfig): void {
  const clash = (field: 'average' | 'max', unit: 'bps' | 'iops'): boolean =>
    limits[unit][field] > 0 && (limits[`${unit}_rd`][field] > 0 || limits[`${unit}_wr`][field] > 0);
  if (clash('average', 'bps') || clash('average', 'iops') || clash('max', 'bps') || clash('max', 'iops'))
    throw new UsageError('bps/iops/max total values and read/write values cannot be used at the same time');
  if (iopsSize > 0 && !['iops', 'iops_rd', 'iops_wr'].some((name) => limits[name as LimitName].average > 0))
    throw new UsageError('iops size requires an iops value to be set');
  for (const name of LIMITS) {
    const { average, max, length } = limits[name];
    if (average < 0 || max < 0 || average > VALUE_MAX || max > VALUE_MAX)
      throw new UsageError(`bps/iops/max values must be within [0, ${VALUE_MAX}]`);
    if (length <= 0) throw new UsageError('the burst length cannot be 0');
    if (length > 1 && max === 0) throw new UsageError('burst length set without burst rate');
    if (max > 0 && average === 0)
      throw new UsageError('bps_max/iops_max require corresponding bps/iops values');
    if (max > 0 && max < average) throw new UsageError('bps_max/iops_max cannot be lower than bps/iops');
    if (max > 0 && max > VALUE_MAX / length)
      throw new UsageError('burst length too high for this burst rate');
  }
}

/** What has been taken and has not leaked away yet. */
class Bucket {
  #level = 0;
  #burst = 0;

  leak(limit: Limit, seconds: number): void {
    this.#level = Math.max(0, this.#level - limit.average * seconds);
    if (limit.length > 1) this.#burst = Math.max(0, this.#burst - limit.max * seconds);
  }

  add(units: number): void {
    this.#level += units;
    this.#burst += units;
  }

  /** Seconds until the next request may start. */
  wait({ average, max, length }: Limit): number {
    if (average === 0) return 0;
    const room = max === 0 ? average / 10 : max * length;
    if (this.#level > room) return (this.#level - room) / average;
    // In a burst, too, no more than a tenth of a second's worth at once.
    const burstRoom = max / 10;
    if (length > 1 && this.#burst > burstRoom) return (this.#burst - burstRoom) / max;
    return 0;
  }
}

/** The time that throttling goes by. */
export interface ThrottleClock {
  /** Nanoseconds. */
  now(): number;
  /** Calls back after so many milliseconds; the result calls it off. */
  delay(milliseconds: number, call: () => void): () => void;
}

interface Waiting {
  readonly bytes: number;
  readonly start: () => void;
}

/** The direction of a request: each has a queue of its own, so that slow writes do not hold up reads. */
type Direction = 'read' | 'write';

const COUNTED: Readonly<Record<Direction, readonly LimitName[]>> = {
  read: ['bps', 'bps_rd', 'iops', 'iops_rd'],
  write: ['bps', 'bps_wr', 'iops', 'iops_wr'],
};

/** Disks that share their limits. */
export class ThrottleGroup {
  readonly name: string;
  readonly members = new Set<unknown>();
  readonly #clock: ThrottleClock;
  readonly #buckets = Object.fromEntries(LIMITS.map((name) => [name, new Bucket()])) as Record<
    LimitName,
    Bucket
  >;
  readonly #queues: Record<Direction, Waiting[]> = { read: [], write: [] };
  readonly #timers: Partial<Record<Direction, () => void>> = {};
  #config = NO_LIMITS;
  #leaked: number;

  constructor(name: string, clock: ThrottleClock) {
    this.name = name;
    this.#clock = clock;
    this.#leaked = clock.now();
  }

  get config(): ThrottleConfig {
    return this.#config;
  }

  /** New limits; what waits is looked at again under them. */
  set config(config: ThrottleConfig) {
    this.#config = config;
    for (const name of LIMITS) this.#buckets[name] = new Bucket();
    for (const direction of ['read', 'write'] as const) this.#serve(direction);
  }

  /** Undefined when the request may start now, else a promise of when it may. */
  admit(direction: Direction, bytes: number): Promise<void> | undefined {
    if (this.#queues[direction].length === 0 && this.#wait(direction) === 0) {
      this.#account(direction, bytes);
      return undefined;
    }
    return new Promise((start) => {
      this.#queues[direction].push({ bytes, start });
      if (this.#timers[direction] === undefined) this.#serve(direction);
    });
  }

  /** Lets everything go that waits: the machine ends. */
  release(): void {
    this.config = NO_LIMITS;
  }

  #wait(direction: Direction): number {
    const now = this.#clock.now();
    const seconds = (now - this.#leaked) / 1e9;
    this.#leaked = now;
    let wait = 0;
    for (const name of LIMITS) this.#buckets[name].leak(this.#config.limits[name], seconds);
    for (const name of COUNTED[direction])
      wait = Math.max(wait, this.#buckets[name].wait(this.#config.limits[name]));
    return wait;
  }

  #account(direction: Direction, bytes: number): void {
    const { iopsSize } = this.#config;
    const requests = iopsSize > 0 ? Math.max(1, bytes / iopsSize) : 1;
    for (const name of COUNTED[direction]) this.#buckets[name].add(name.startsWith('bps') ? bytes : requests);
  }

  /** Starts what may start, and comes again when the next one may. */
  #serve(direction: Direction): void {
    this.#timers[direction]?.();
    delete this.#timers[direction];
    const queue = this.#queues[direction];
    while (queue.length > 0) {
      const wait = this.#wait(direction);
      if (wait > 0) {
        this.#timers[direction] = this.#clock.delay(Math.ceil(wait * 1000), () => this.#serve(direction));
        return;
      }
      const { bytes, start } = queue.shift()!;
      this.#account(direction, bytes);
      start();
    }
  }
}

/** A back end whose requests wait for their group, when it is in one. Flushes and discards never wait, as in QEMU. */
export class ThrottledBackend implements BlockBackend {
  group: ThrottleGroup | undefined;
  #inner: BlockBackend;

  constructor(inner: BlockBackend) {
    this.#inner = inner;
  }

  /** What is asked from now on fails: the medium was taken from under a device. */
  cut(): void {
    const { size, readOnly } = this.#inner;
    const fail = (): never => {
      throw new BlockIoError('ENOMEDIUM', 'No medium found');
    };
    this.#inner = {
      size,
      readOnly,
      read: fail,
      write: fail,
      flush: fail,
      discard: fail,
      writeZeroes: fail,
      close: () => Promise.resolve(),
      describe: () => '[not inserted]',
    };
  }

  get size(): number {
    return this.#inner.size;
  }

  get readOnly(): boolean {
    return this.#inner.readOnly;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#when('read', totalLength(buffers), () => this.#inner.read(offset, buffers));
  }

  write(offset: number, buffers: readonly Uint8Array[]): Completion {
    return this.#when('write', totalLength(buffers), () => this.#inner.write(offset, buffers));
  }

  flush(): Completion {
    return this.#inner.flush();
  }

  discard(offset: number, length: number): Completion {
    return this.#inner.discard(offset, length);
  }

  writeZeroes(offset: number, length: number, unmap: boolean): Completion {
    return this.#when('write', length, () => this.#inner.writeZeroes(offset, length, unmap));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  describe(): string {
    return this.#inner.describe();
  }

  #when(direction: Direction, bytes: number, run: () => Completion): Completion {
    const wait = this.group?.admit(direction, bytes);
    return wait === undefined ? run() : wait.then(run);
  }
}
