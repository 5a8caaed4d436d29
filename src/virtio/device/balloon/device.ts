/**
 * The traditional memory balloon (VIRTIO 1.4 §5.5): asks the guest for pages, tells the host of pages that it need not
 * keep, and reads the guest's memory statistics. What giving a page back means is the host's business (`release`);
 * without it the balloon works, and only counts.
 */
import type { Clock, Timer } from '../../../core/clock.ts';
import type { GuestMemory } from '../../../core/memory.ts';
import type { TracePoint, Tracer } from '../../../core/trace.ts';
import type { DeviceHost, QueueSpec, VirtioDevice } from '../../device.ts';
import type { Chain, Queue } from '../../queue/queue.ts';
import { ConfigSpace } from '../config.ts';
import { gather } from '../iov.ts';
import * as d from './defs.ts';
import type { BalloonSettings } from './properties.ts';

const INFLATEQ = 0;
const DEFLATEQ = 1;
const STATSQ = 2;
const QUEUE_SIZE = 128;

/** Page numbers in one request: Linux gives 256; more than this is ignored rather than worked on for long. */
const MAX_PAGES = 65536;

/** Statistics in one buffer: there are ten, and a driver of the future may have more. */
const MAX_STATS = 64;

export interface VirtioBalloonOptions {
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly memory: GuestMemory;
  readonly settings: BalloonSettings;
  /** The guest does not need the content of these bytes any more: they may read as zeroes from now on. */
  readonly release?: (pages: Uint8Array) => void;
  /** The guest has now `actual` bytes (QMP's BALLOON_CHANGE). */
  readonly onChange?: (actual: number) => void;
}

export class VirtioBalloon implements VirtioDevice {
  readonly deviceId = d.VIRTIO_ID_BALLOON;
  readonly name = 'virtio-balloon';
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  readonly configSize: number;
  /** The guest's last statistics, by QEMU's names. */
  readonly stats = new Map<d.StatName, bigint>();
  /** Seconds since 1970 of the last statistics; 0 before the first. */
  lastUpdate = 0;

  readonly #clock: Clock;
  readonly #memory: GuestMemory;
  readonly #release: ((pages: Uint8Array) => void) | undefined;
  readonly #onChange: (actual: number) => void;
  readonly #config = new ConfigSpace(d.CONFIG.END);
  readonly #traceInflate: TracePoint;
  #host!: DeviceHost;
  #running = false;
  /** Pages in the balloon, as the driver said last. */
  #pages = 0;
  /** The buffer that the next request for statistics gives back. */
  #statsBuffer: Chain | undefined;
  #firstStats = true;
  #statsSeconds = 0;
  #timer: Timer | undefined;

  constructor(options: VirtioBalloonOptions) {
    const { settings } = options;
    this.#clock = options.clock;
    this.#memory = options.memory;
    this.#release = options.release;
    this.#onChange = options.onChange ?? (() => {});
    this.#traceInflate = options.tracer.point('virtio.balloon.pages');
    this.features =
      d.VIRTIO_BALLOON_F_STATS_VQ |
      (settings.deflateOnOom ? d.VIRTIO_BALLOON_F_DEFLATE_ON_OOM : 0n) |
      (settings.pagePoison ? d.VIRTIO_BALLOON_F_PAGE_POISON : 0n) |
      (settings.freePageReporting ? d.VIRTIO_BALLOON_F_PAGE_REPORTING : 0n);
    const names = ['inflateq', 'deflateq', 'statsq'];
    if (settings.freePageReporting) names.push('reporting_vq');
    this.queues = names.map((name) => ({ name, size: QUEUE_SIZE }));
    this.configSize = settings.pagePoison ? d.CONFIG.END : d.CONFIG.FREE_PAGE_HINT_CMD_ID;
  }

  /** Bytes that the guest has: all RAM less what is in the balloon. */
  get actual(): number {
    return Math.max(this.#memory.size - this.#pages * d.PAGE_SIZE, 0);
  }

  /** `balloon VALUE`: the guest should have `bytes`, at most all of RAM. */
  setTarget(bytes: number): void {
    const kept = Math.min(Math.max(bytes, 0), this.#memory.size);
    this.#config.u32(d.CONFIG.NUM_PAGES, Math.floor((this.#memory.size - kept) / d.PAGE_SIZE));
    if (this.#running) this.#host.configChanged();
  }

  /** Asks for statistics every `seconds` (`guest-stats-polling-interval`); 0 stops asking. */
  setStatsInterval(seconds: number): void {
    this.#statsSeconds = seconds;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#scheduleStats();
  }

  // --- the transport's side

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    return this.#config.read(offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    for (const field of [d.CONFIG.ACTUAL, d.CONFIG.POISON_VAL]) {
      for (let at: number = field; at < field + 4; at++) {
        const byte = ConfigSpace.byteOf(at, offset, size, value);
        if (byte >= 0) this.#config.bytes[at] = byte;
      }
    }
    // "the device SHOULD NOT use the actual value ... until the last, most-significant byte of the value has been
    // written." (§5.5.6.3)
    const last = ConfigSpace.byteOf(d.CONFIG.ACTUAL + 3, offset, size, value) >= 0;
    const pages = this.#config.view.getUint32(d.CONFIG.ACTUAL, true);
    if (!last || pages === this.#pages) return;
    this.#pages = pages;
    this.#onChange(this.actual);
  }

  start(): void {
    this.#running = true;
    for (let index = 0; index < this.queues.length; index++) this.notify(index);
    this.#scheduleStats();
  }

  stop(): void {
    this.#running = false;
    this.#statsBuffer = undefined;
    this.#firstStats = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    // What the guest had given, it takes back with its next life.
    this.#pages = 0;
    this.#config.u32(d.CONFIG.ACTUAL, 0);
    this.#config.u32(d.CONFIG.POISON_VAL, 0);
    this.stats.clear();
  }

  queueReset(index: number): void {
    if (index === STATSQ) this.#statsBuffer = undefined;
  }

  notify(index: number): void {
    const queue = this.#host.queues[index];
    if (!this.#running || queue === undefined || !queue.enabled) return;
    if (index === this.#reportingIndex) this.#serveReports(queue);
    else if (index === this.#statsIndex) this.#serveStats(queue);
    else if (index <= DEFLATEQ) this.#servePages(queue, index === INFLATEQ);
  }

  // --- pages

  #servePages(queue: Queue, inflate: boolean): void {
    for (const chain of queue) {
      const pages = Math.floor(chain.readableLength / 4);
      if (pages > MAX_PAGES) this.#host.guestError(`${queue.name}: ${pages} pages in one request`);
      else if (inflate) this.#inflate(chain, pages);
      // Pages that leave the balloon need nothing done: they are RAM all the time.
      if (this.#traceInflate.on) this.#traceInflate.emit({ queue: queue.name, pages });
      queue.push(chain, 0);
    }
    queue.flush();
  }

  #inflate(chain: Chain, pages: number): void {
    if (this.#release === undefined) return;
    const bytes = new Uint8Array(pages * 4);
    gather(chain.readable, 0, bytes);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < pages; ) {
      // Neighbours are released together; Linux gives them in either direction.
      const first = view.getUint32(i * 4, true);
      let low = first;
      let high = first + 1;
      for (i++; i < pages; i++) {
        const next = view.getUint32(i * 4, true);
        if (next === high) high++;
        else if (next === low - 1) low--;
        else break;
      }
      const gpa = low * d.PAGE_SIZE;
      const length = (high - low) * d.PAGE_SIZE;
      const run = this.#memory.slice(gpa, length);
      if (run === undefined) {
        this.#host.guestError(`${length} bytes at 0x${gpa.toString(16)} are not RAM`);
        continue;
      }
      this.#release(run);
      this.#memory.noteWritten(gpa, length);
    }
  }

  #serveReports(queue: Queue): void {
    // "If the VIRTIO_BALLOON_F_PAGE_POISON feature has been negotiated, the device MUST NOT modify the content of a
    // reported page to a value other than poison_val." (§5.5.6.7) Released pages read as zeroes.
    const poison = (this.#host.negotiated & d.VIRTIO_BALLOON_F_PAGE_POISON) !== 0n;
    const keep = poison && this.#config.view.getUint32(d.CONFIG.POISON_VAL, true) !== 0;
    for (const chain of queue) {
      if (!keep) for (const pages of chain.writable) this.#release?.(pages);
      queue.push(chain, 0);
    }
    queue.flush();
  }

  // --- statistics

  #serveStats(queue: Queue): void {
    for (const chain of queue) {
      // "The driver MUST make at most one buffer available to the device in the statsq, at all times." (§5.5.6.4.1)
      if (this.#statsBuffer !== undefined) {
        this.#host.guestError(
          'more than one buffer in statsq',
          'drv:Device Types / Memory Balloon Device / Device Operation / Memory Statistics#1',
        );
        queue.push(this.#statsBuffer, 0);
      }
      this.#statsBuffer = chain;
      this.#readStats(chain);
    }
    queue.flush();
    this.#scheduleStats();
  }

  #readStats(chain: Chain): void {
    // "the device SHOULD ignore all values in the first buffer in the statsq supplied by the driver after device
    // initialization" over the legacy interface (§5.5.6.4.3).
    const legacy = (this.#host.negotiated & d.VIRTIO_F_VERSION_1) === 0n;
    const ignore = legacy && this.#firstStats;
    this.#firstStats = false;
    if (ignore) return;
    const entry = new Uint8Array(d.STAT.SIZE);
    const view = new DataView(entry.buffer);
    for (let i = 0; i < MAX_STATS; i++) {
      if (gather(chain.readable, i * d.STAT.SIZE, entry) < d.STAT.SIZE) break;
      // "the device MUST ignore entries with tag values that it does not recognize." (§5.5.6.4.2)
      const name = d.STAT_NAMES[view.getUint16(d.STAT.TAG, true)];
      if (name !== undefined) this.stats.set(name, view.getBigUint64(d.STAT.VAL, true));
    }
    this.lastUpdate = Math.floor(this.#clock.wallClock() / 1000);
  }

  /** In `#statsSeconds` the buffer goes back, which asks the driver for the next one. */
  #scheduleStats(): void {
    if (this.#timer !== undefined || this.#statsSeconds === 0 || this.#statsBuffer === undefined) return;
    this.#timer = this.#clock.schedule(this.#clock.now() + this.#statsSeconds * 1e9, () => {
      this.#timer = undefined;
      const buffer = this.#statsBuffer;
      if (buffer === undefined) return;
      this.#statsBuffer = undefined;
      const queue = this.#host.queues[STATSQ]!;
      queue.push(buffer, 0);
      queue.flush();
    });
  }

  // "statsq only exists if VIRTIO_BALLOON_F_STATS_VQ is set", and so on (§5.5.2): what does not exist has no number,
  // for Linux and QEMU at least, and those behind it move up.

  get #statsIndex(): number {
    return (this.#host.negotiated & d.VIRTIO_BALLOON_F_STATS_VQ) !== 0n ? STATSQ : -1;
  }

  get #reportingIndex(): number {
    if ((this.#host.negotiated & d.VIRTIO_BALLOON_F_PAGE_REPORTING) === 0n) return -1;
    return this.#statsIndex < 0 ? STATSQ : STATSQ + 1;
  }
}
