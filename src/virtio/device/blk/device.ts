/**
 * The block device (VIRTIO 1.4 §5.2): takes requests from its queues, checks them (request.ts), hands the back
 * end views of guest memory, and completes in whatever order the back end does. Features, configuration space and
 * error policy are QEMU 7.2's. Zones, secure erase and lifetime metrics are not offered.
 */
import type { BlockBackend, BlockError, Completion } from '../../../block/backend.ts';
import { BugError } from '../../../core/errors.ts';
import type { TracePoint, Tracer } from '../../../core/trace.ts';
import type { DeviceHost, VirtioDevice } from '../../device.ts';
import type { Chain } from '../../queue/queue.ts';
import { ConfigSpace } from '../config.ts';
import { fill, scatter } from '../iov.ts';
import * as d from './defs.ts';
import { type Geometry, guessGeometry } from './geometry.ts';
import type { BlkSettings, OnError } from './properties.ts';
import { BlkRequest, type DiskLimits } from './request.ts';

/** What became of a request that the host could not do. */
export interface BlkErrorEvent {
  readonly operation: 'read' | 'write';
  /** `stop`: the request is kept; stop the machine, and call `VirtioBlk.retry` when it goes on. */
  readonly action: 'report' | 'ignore' | 'stop';
  readonly nospace: boolean;
  /** The host's errno name: `EIO`, `ENOSPC`, … */
  readonly code: string;
  readonly reason: string;
}

export interface VirtioBlkOptions {
  readonly backend: BlockBackend;
  readonly tracer: Tracer;
  readonly settings: BlkSettings;
  /** What `write-cache=auto` means: false under `cache=writethrough` and `cache=directsync`. */
  readonly writeCache?: boolean;
  readonly onError?: (event: BlkErrorEvent) => void;
}

/** Counters for `query-blockstats`; bytes and operations since the machine started. */
export interface BlkStats {
  readBytes: number;
  readOperations: number;
  writtenBytes: number;
  writeOperations: number;
  flushOperations: number;
  unmapBytes: number;
  unmapOperations: number;
  failedOperations: number;
  invalidOperations: number;
}

export class VirtioBlk implements VirtioDevice {
  readonly deviceId = d.VIRTIO_ID_BLOCK;
  readonly name = 'virtio-blk';
  readonly features: bigint;
  readonly queues: readonly { name: string; size: number }[];
  readonly configSize = d.CONFIG.END;
  readonly stats: BlkStats = {
    readBytes: 0,
    readOperations: 0,
    writtenBytes: 0,
    writeOperations: 0,
    flushOperations: 0,
    unmapBytes: 0,
    unmapOperations: 0,
    failedOperations: 0,
    invalidOperations: 0,
  };

  readonly #backend: BlockBackend;
  readonly #tracer: Tracer;
  readonly #settings: BlkSettings;
  readonly #onError: ((event: BlkErrorEvent) => void) | undefined;
  readonly #config = new ConfigSpace(d.CONFIG.END);
  readonly #initialWriteback: boolean;
  readonly #id = new Uint8Array(d.VIRTIO_BLK_ID_BYTES);
  readonly #limits: DiskLimits;
  readonly #traceRequest: TracePoint;
  readonly #traceComplete: TracePoint;

  #host!: DeviceHost;
  #running = false;
  /** Resets of each queue: a completion from an earlier era is dropped. */
  readonly #eras: number[];
  /** Queues with completions that `flush` has yet to publish. */
  readonly #toFlush = new Set<number>();
  /** Requests that wait for `retry`, oldest first. */
  #held: BlkRequest[] = [];
  /** Operations inside the back end by queue, of whatever era. */
  readonly #inside: Set<Promise<void>>[];

  constructor(options: VirtioBlkOptions) {
    const { settings, backend, tracer } = options;
    this.#backend = backend;
    this.#tracer = tracer;
    this.#settings = settings;
    this.#onError = options.onError;
    this.#initialWriteback =
      settings.writeCache === 'auto' ? (options.writeCache ?? true) : settings.writeCache;
    this.features = offeredFeatures(settings, backend.readOnly, this.#initialWriteback);
    this.queues = Array.from({ length: settings.numQueues }, (_, index) => ({
      name: `requestq${index + 1}`,
      size: settings.queueSize,
    }));
    this.#eras = this.queues.map(() => 0);
    this.#inside = this.queues.map(() => new Set());
    this.#limits = {
      get capacity() {
        return Math.floor(backend.size / d.SECTOR_SIZE);
      },
      readOnly: backend.readOnly,
      logicalBlockSize: settings.logicalBlockSize,
      maxDiscardSectors: settings.discard ? settings.maxDiscardSectors : 0,
      maxWriteZeroesSectors: settings.writeZeroes ? settings.maxWriteZeroesSectors : 0,
    };
    this.#traceRequest = tracer.point('virtio.blk.request');
    this.#traceComplete = tracer.point('virtio.blk.complete');
    // "NUL-padded ASCII string up to 20 bytes long. If the string is 20 bytes long then there is no NUL" (§5.2.6)
    this.#id.set(new TextEncoder().encode(settings.serial).subarray(0, d.VIRTIO_BLK_ID_BYTES));
    this.#fillConfig(settings.geometry ?? guessGeometry(backend.size, firstSector(backend)));
  }

  /** True while the back end works on a request, even one of before a reset, whose buffers it may still use. */
  get busy(): boolean {
    return this.#inside.some((operations) => operations.size > 0);
  }

  /** Resolves when nothing is inside the back end: before RAM goes away, is saved, or is used anew. */
  async idle(): Promise<void> {
    while (this.busy) await Promise.all(this.#inside.flatMap((operations) => [...operations]));
  }

  /** Whether completed writes may still be in a volatile cache (the `writeback` field). */
  get writeback(): boolean {
    return this.#config.bytes[d.CONFIG.WRITEBACK] !== 0;
  }

  /** The back end has grown or shrunk. */
  sizeChanged(): void {
    this.#config.u64(d.CONFIG.CAPACITY, this.#limits.capacity);
    // "The device MAY change the content of the capacity field during operation of the device. When this
    // happens, the device SHOULD trigger a configuration change notification." (§5.2.6.2)
    this.#host.configChanged();
  }

  /** Does again what `stop` policies kept: to be called when the machine goes on. */
  retry(): void {
    const held = this.#held;
    this.#held = [];
    for (const request of held) this.#perform(request);
    this.#publish();
  }

  // --- the transport's side

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    return this.#config.read(offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    // All else is read-only to the driver.
    if ((this.features & d.VIRTIO_BLK_F_CONFIG_WCE) === 0n) return;
    const written = ConfigSpace.byteOf(d.CONFIG.WRITEBACK, offset, size, value);
    if (written >= 0) this.#setWriteback(written !== 0);
  }

  acceptFeatures(features: bigint): boolean {
    const flush = (features & d.VIRTIO_BLK_F_FLUSH) !== 0n;
    if ((features & d.VIRTIO_BLK_F_CONFIG_WCE) === 0n) this.#setWriteback(flush && this.#initialWriteback);
    // "If VIRTIO_BLK_F_CONFIG_WCE is negotiated but VIRTIO_BLK_F_FLUSH is not, the device MUST initialize
    // writeback to 0." (§5.2.5.2)
    else if (!flush) this.#setWriteback(false);
    return true;
  }

  start(): void {
    this.#running = true;
    // The legacy interface has no FEATURES_OK: "the device MUST NOT modify the cache mode ... unless the DRIVER_OK
    // bit is being set and the driver has not set the VIRTIO_BLK_F_CONFIG_WCE driver feature bit." (§5.2.5.3)
    const negotiated = this.#host.negotiated;
    if ((negotiated & d.VIRTIO_BLK_F_CONFIG_WCE) === 0n) {
      this.#setWriteback((negotiated & d.VIRTIO_BLK_F_FLUSH) !== 0n && this.#initialWriteback);
    }
    for (let index = 0; index < this.queues.length; index++) this.notify(index);
  }

  stop(): void | Promise<void> {
    this.#running = false;
    for (let index = 0; index < this.#eras.length; index++) this.#eras[index]!++;
    this.#held = [];
    this.#toFlush.clear();
    this.#setWriteback(this.#initialWriteback);
    if (this.busy) return this.idle();
  }

  queueReset(index: number): void | Promise<void> {
    this.#eras[index]!++;
    this.#held = this.#held.filter((request) => request.queue !== index);
    this.#toFlush.delete(index);
    const operations = this.#inside[index]!;
    if (operations.size > 0) return Promise.all(operations).then(() => {});
  }

  notify(index: number): void {
    const queue = this.#host.queues[index];
    if (!this.#running || queue === undefined || !queue.enabled) return;
    for (const chain of queue) {
      if (!this.#take(chain, index)) break;
    }
    this.#publish();
  }

  // --- requests

  /** Starts one request; false when the queue is of no use any more. */
  #take(chain: Chain, index: number): boolean {
    if (chain.writableLength === 0) {
      this.#host.needsReset('request without room for its status byte');
      return false;
    }
    const request = new BlkRequest(chain, index, this.#eras[index]!);
    const status = request.prepare(this.#limits);
    if (this.#traceRequest.on) {
      this.#traceRequest.emit({
        queue: index,
        type: request.type,
        sector: request.sector,
        bytes: request.length,
      });
    }
    if (status !== d.VIRTIO_BLK_S_OK) {
      this.stats.invalidOperations++;
      if (!request.complete) this.#host.guestError('request shorter than its 16-byte header');
      this.#finish(request, status);
    } else if (request.type === d.VIRTIO_BLK_T_GET_ID) {
      // Room beyond the 20 bytes is padding.
      const copied = scatter(
        chain.writable,
        0,
        this.#id.subarray(0, Math.min(request.room, this.#id.length)),
      );
      fill(chain.writable, copied, request.room, 0);
      this.#finish(request, d.VIRTIO_BLK_S_OK, true);
    } else {
      this.#perform(request);
    }
    return true;
  }

  #perform(request: BlkRequest): void {
    let completion: Completion;
    try {
      completion = this.#ask(request);
    } catch (error) {
      this.#failed(request, error);
      return;
    }
    if (completion === undefined) this.#succeeded(request);
    else {
      const operations = this.#inside[request.queue]!;
      const operation = this.#later(request, completion).finally(() => operations.delete(operation));
      operations.add(operation);
    }
  }

  async #later(request: BlkRequest, completion: Promise<void>): Promise<void> {
    let failure: { error: unknown } | undefined;
    try {
      await completion;
    } catch (error) {
      failure = { error };
    }
    if (request.era !== this.#eras[request.queue]) return;
    if (failure === undefined) this.#succeeded(request);
    else this.#failed(request, failure.error);
    // Completions of one turn of the event loop are published together.
    queueMicrotask(() => this.#publish());
  }

  #ask(request: BlkRequest): Completion {
    const backend = this.#backend;
    switch (request.type) {
      case d.VIRTIO_BLK_T_IN:
        return backend.read(request.offset, request.data);
      case d.VIRTIO_BLK_T_OUT:
        return this.#stable(backend.write(request.offset, request.data));
      case d.VIRTIO_BLK_T_FLUSH:
        return backend.flush();
      case d.VIRTIO_BLK_T_DISCARD:
        return this.#stable(backend.discard(request.offset, request.length));
      case d.VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#stable(backend.writeZeroes(request.offset, request.length, request.unmap));
      default:
        throw new BugError('a request type that prepare() refuses', { type: request.type });
    }
  }

  /**
   * "The device MUST ensure that stable writes are committed to it, before reporting completion of the write"
   * (§5.2.6.2): without a volatile cache, each write is flushed.
   */
  #stable(written: Completion): Completion {
    if (this.writeback) return written;
    return written === undefined ? this.#backend.flush() : written.then(() => this.#backend.flush());
  }

  #succeeded(request: BlkRequest): void {
    const { stats } = this;
    switch (request.type) {
      case d.VIRTIO_BLK_T_IN:
        stats.readOperations++;
        stats.readBytes += request.length;
        break;
      case d.VIRTIO_BLK_T_FLUSH:
        stats.flushOperations++;
        break;
      case d.VIRTIO_BLK_T_DISCARD:
        stats.unmapOperations++;
        stats.unmapBytes += request.length;
        break;
      default:
        stats.writeOperations++;
        stats.writtenBytes += request.length;
    }
    this.#finish(request, d.VIRTIO_BLK_S_OK, request.type === d.VIRTIO_BLK_T_IN);
  }

  #failed(request: BlkRequest, error: unknown): void {
    if (error instanceof BugError) throw error;
    const code = (error as Partial<BlockError> | null)?.code ?? 'EIO';
    const reason = error instanceof Error ? error.message : String(error);
    const operation = request.isWrite ? 'write' : 'read';
    const action = decide(request.isWrite ? this.#settings.werror : this.#settings.rerror, code);
    this.stats.failedOperations++;
    // Told once for each kind of failure: the listener of `onError` hears of every one.
    this.#tracer.warn(this.name, `${this.#backend.describe()}: ${operation} failed (${action}): ${code}`);
    if (action === 'stop') this.#held.push(request);
    else {
      // A failed read leaves zeroes, so that the used length is true and nothing half-done looks like data.
      if (request.type === d.VIRTIO_BLK_T_IN) fill(request.chain.writable, 0, request.room, 0);
      const status = action === 'ignore' ? d.VIRTIO_BLK_S_OK : d.VIRTIO_BLK_S_IOERR;
      this.#finish(request, status, request.type === d.VIRTIO_BLK_T_IN);
    }
    this.#onError?.({ operation, action, nospace: code === 'ENOSPC', code, reason });
  }

  /** @param filled whether all of the room in front of the status byte was written */
  #finish(request: BlkRequest, status: number, filled = false): void {
    request.setStatus(status);
    if (this.#traceComplete.on) {
      this.#traceComplete.emit({ queue: request.queue, type: request.type, sector: request.sector, status });
    }
    // The used length counts from the start of the writable part (§2.7.8.2): a status byte behind bytes that
    // nobody wrote does not count.
    const written = filled || request.room === 0 ? request.chain.writableLength : 0;
    this.#host.queues[request.queue]!.push(request.chain, written);
    this.#toFlush.add(request.queue);
  }

  #publish(): void {
    for (const index of this.#toFlush) {
      this.#toFlush.delete(index);
      this.#host.queues[index]!.flush();
    }
  }

  // --- what the guest sees of the disk

  #setWriteback(on: boolean): void {
    this.#config.bytes[d.CONFIG.WRITEBACK] = on ? 1 : 0;
  }

  #fillConfig(geometry: Geometry): void {
    const c = this.#config;
    const s = this.#settings;
    c.u64(d.CONFIG.CAPACITY, this.#limits.capacity);
    // Header and status take a descriptor each.
    c.u32(d.CONFIG.SEG_MAX, s.segMaxAdjust ? s.queueSize - 2 : 126);
    c.u16(d.CONFIG.CYLINDERS, geometry.cylinders);
    c.bytes[d.CONFIG.HEADS] = geometry.heads;
    c.bytes[d.CONFIG.SECTORS] = geometry.sectors;
    c.u32(d.CONFIG.BLK_SIZE, s.logicalBlockSize);
    c.bytes[d.CONFIG.PHYSICAL_BLOCK_EXP] = Math.log2(s.physicalBlockSize / s.logicalBlockSize);
    c.u16(d.CONFIG.MIN_IO_SIZE, s.minIoSize / s.logicalBlockSize);
    c.u32(d.CONFIG.OPT_IO_SIZE, s.optIoSize / s.logicalBlockSize);
    c.u16(d.CONFIG.NUM_QUEUES, s.numQueues);
    if (s.discard) {
      c.u32(d.CONFIG.MAX_DISCARD_SECTORS, s.maxDiscardSectors);
      c.u32(d.CONFIG.MAX_DISCARD_SEG, 1);
      c.u32(d.CONFIG.DISCARD_SECTOR_ALIGNMENT, s.discardGranularity / d.SECTOR_SIZE);
    }
    if (s.writeZeroes) {
      c.u32(d.CONFIG.MAX_WRITE_ZEROES_SECTORS, s.maxWriteZeroesSectors);
      c.u32(d.CONFIG.MAX_WRITE_ZEROES_SEG, 1);
      c.bytes[d.CONFIG.WRITE_ZEROES_MAY_UNMAP] = 1;
    }
    this.#setWriteback(this.#initialWriteback);
  }
}

function offeredFeatures(settings: BlkSettings, readOnly: boolean, writeback: boolean): bigint {
  let features =
    d.VIRTIO_BLK_F_SEG_MAX | d.VIRTIO_BLK_F_GEOMETRY | d.VIRTIO_BLK_F_BLK_SIZE | d.VIRTIO_BLK_F_TOPOLOGY;
  if (readOnly) features |= d.VIRTIO_BLK_F_RO;
  if (settings.configWce) features |= d.VIRTIO_BLK_F_CONFIG_WCE;
  // "Devices SHOULD always offer VIRTIO_BLK_F_FLUSH, and MUST offer it if they offer VIRTIO_BLK_F_CONFIG_WCE."
  // QEMU leaves it out for a write-through disk whose cache cannot be switched: there is nothing to flush.
  if (settings.configWce || writeback) features |= d.VIRTIO_BLK_F_FLUSH;
  if (settings.numQueues > 1) features |= d.VIRTIO_BLK_F_MQ;
  if (settings.discard) features |= d.VIRTIO_BLK_F_DISCARD;
  if (settings.writeZeroes) features |= d.VIRTIO_BLK_F_WRITE_ZEROES;
  return features;
}

/**
 * `auto` is `report`: a full host disk gives the guest an I/O error and the machine goes on (QEMU's own default
 * for writes is to stop the machine on ENOSPC, which `werror=enospc` asks for).
 */
function decide(policy: OnError, code: string): 'report' | 'ignore' | 'stop' {
  switch (policy) {
    case 'ignore':
    case 'stop':
      return policy;
    case 'enospc':
      return code === 'ENOSPC' ? 'stop' : 'report';
    default:
      return 'report';
  }
}

/** The partition table's sector, where the back end can answer at once. */
function firstSector(backend: BlockBackend): Uint8Array | undefined {
  if (backend.size < d.SECTOR_SIZE) return undefined;
  const sector = new Uint8Array(d.SECTOR_SIZE);
  try {
    const completion = backend.read(0, [sector]);
    if (completion === undefined) return sector;
    completion.catch(() => {});
    return undefined;
  } catch {
    return undefined;
  }
}
