/**
 * What all transports share: the device status protocol, feature negotiation over 128 bits, the configuration
 * generation, and the life of the queues. A transport turns register accesses into calls here, and is told when to
 * send notifications. VIRTIO 1.4 §2.1 to §2.6, §3.1.
 */
import type { AccessSize } from '../../core/bus.ts';
import type { GuestMemory } from '../../core/memory.ts';
import type { TracePoint, Tracer } from '../../core/trace.ts';
import { CLAUSE } from '../clauses.ts';
import type { DeviceHost, VirtioDevice } from '../device.ts';
import * as f from '../features.ts';
import type { RingAddresses } from '../queue/layout.ts';
import { type QueueState, SplitQueue } from '../queue/split.ts';

// Device status (§2.1).
export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 1;
export const VIRTIO_CONFIG_S_DRIVER = 2;
export const VIRTIO_CONFIG_S_DRIVER_OK = 4;
export const VIRTIO_CONFIG_S_FEATURES_OK = 8;
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40;
export const VIRTIO_CONFIG_S_FAILED = 0x80;

const DRIVER_BITS =
  VIRTIO_CONFIG_S_ACKNOWLEDGE |
  VIRTIO_CONFIG_S_DRIVER |
  VIRTIO_CONFIG_S_DRIVER_OK |
  VIRTIO_CONFIG_S_FEATURES_OK |
  VIRTIO_CONFIG_S_FAILED;

/** Words of 32 bits that feature negotiation covers (§2.2: bits 0 to 127 are defined for use). */
export const FEATURE_WORDS = 4;

/** What a transport takes from its machine. */
export interface TransportEnvironment {
  readonly memory: GuestMemory;
  readonly tracer: Tracer;
}

/** How a transport sends notifications to the driver. */
export interface NotificationSink {
  usedBuffer(queue: number): void;
  configurationChange(): void;
}

/** Which ring features a device offers beside its own; the defaults are QEMU 7.2's. */
export interface RingOptions {
  readonly eventIdx?: boolean;
  readonly indirectDesc?: boolean;
  readonly queueReset?: boolean;
  /** Legacy interface only. */
  readonly notifyOnEmpty?: boolean;
  readonly anyLayout?: boolean;
}

/** One queue as the driver configures it. */
interface QueueConfig extends RingAddresses {
  size: number;
  desc: number;
  avail: number;
  used: number;
  enabled: boolean;
  /** queue_reset reads 1: the device still has buffers of it. */
  resetting: boolean;
}

/** What a snapshot keeps. Device state is the device's own. */
export interface VirtioStateSnapshot {
  readonly status: number;
  readonly driverFeatures: bigint;
  readonly generation: number;
  readonly configDirty: boolean;
  readonly started: boolean;
  readonly configs: readonly Readonly<QueueConfig>[];
  readonly queues: readonly QueueState[];
}

export class VirtioState implements DeviceHost {
  readonly device: VirtioDevice;
  readonly queues: readonly SplitQueue[];
  /** Offered over a modern interface, and over the legacy one (bits 0 to 31). */
  readonly modernFeatures: bigint;
  readonly legacyFeatures: bigint;
  readonly #tracer: Tracer;
  readonly #sink: NotificationSink;
  readonly #configs: QueueConfig[];
  readonly #traceNotify: TracePoint;
  readonly #traceStatus: TracePoint;
  #status = 0;
  #driverFeatures = 0n;
  #generation = 0;
  /** The configuration changed since the driver last read any of it. */
  #configDirty = false;
  #started = false;
  #needsReset = false;
  #paused = false;
  /** Counts resets, so that the end of an old one changes nothing. */
  #life = 0;
  #stopping = false;
  #serving = false;
  readonly #kicked: Uint8Array;

  constructor(
    device: VirtioDevice,
    env: TransportEnvironment,
    sink: NotificationSink,
    options: RingOptions & { readonly legacy: boolean; readonly modern: boolean },
  ) {
    this.device = device;
    this.#tracer = env.tracer;
    this.#sink = sink;
    this.#traceNotify = env.tracer.point('virtio.notify');
    this.#traceStatus = env.tracer.point('virtio.status');
    const bit = (on: boolean, n: bigint) => (on ? 1n << n : 0n);
    const ring =
      bit(options.eventIdx ?? true, f.VIRTIO_F_EVENT_IDX) |
      bit(options.indirectDesc ?? true, f.VIRTIO_F_INDIRECT_DESC);
    this.modernFeatures =
      (device.features & ~f.LEGACY_ONLY_FEATURES) |
      ring |
      // "A device MUST offer VIRTIO_F_VERSION_1" (§6.2).
      bit(options.modern, f.VIRTIO_F_VERSION_1) |
      bit(options.queueReset ?? true, f.VIRTIO_F_RING_RESET);
    this.legacyFeatures =
      (device.features & 0xffffffffn) |
      ring |
      bit(options.notifyOnEmpty ?? true, f.VIRTIO_F_NOTIFY_ON_EMPTY) |
      bit(options.anyLayout ?? true, f.VIRTIO_F_ANY_LAYOUT) |
      bit(options.legacy, f.VIRTIO_F_BAD_FEATURE);
    const queueEnv = {
      deviceName: device.name,
      memory: env.memory,
      tracer: env.tracer,
      needsReset: (message: string, clause?: string) => this.needsReset(message, clause),
      guestError: (message: string, clause?: string) => this.guestError(message, clause),
      interrupt: (index: number) => this.#interrupt(index),
    };
    this.queues = device.queues.map((spec, index) => new SplitQueue(index, spec.name, spec.size, queueEnv));
    this.#configs = this.queues.map((queue) => freshConfig(queue.maxSize));
    this.#kicked = new Uint8Array(this.queues.length);
    device.attach(this);
  }

  // -- features ----------------------------------------------------------------------------------------------

  get negotiated(): bigint {
    return this.#driverFeatures;
  }

  /** True while the driver has not accepted VIRTIO_F_VERSION_1. */
  get isLegacyDriver(): boolean {
    return !f.hasFeature(this.#driverFeatures, f.VIRTIO_F_VERSION_1);
  }

  /** Word `index` of what is offered over a modern interface; words that do not exist are 0. */
  deviceFeatureWord(index: number): number {
    return index < FEATURE_WORDS ? f.featureWord(this.modernFeatures, index) : 0;
  }

  /** Word `index` of what the driver accepted. */
  driverFeatureWord(index: number): number {
    return index < FEATURE_WORDS ? f.featureWord(this.#driverFeatures, index) : 0;
  }

  writeDriverFeatures(index: number, value: number): void {
    // "The driver MUST NOT accept new feature bits after this step" (§3.1.1, step 5).
    if ((this.#status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)) !== 0) {
      return this.guestError('features were written after FEATURES_OK', CLAUSE.noFeaturesAfterFeaturesOk);
    }
    if (index >= FEATURE_WORDS) return;
    this.#driverFeatures = f.withFeatureWord(this.#driverFeatures, index, value);
  }

  /** Features as a legacy driver writes them: unknown bits are dropped, for nothing tells it that they are. */
  writeLegacyFeatures(value: number): void {
    const wanted = BigInt(value >>> 0);
    // A driver that takes everything it sees, this bit too, has not negotiated (§6.3).
    this.#driverFeatures = f.hasFeature(wanted, f.VIRTIO_F_BAD_FEATURE) ? 0n : wanted & this.legacyFeatures;
  }

  // -- status ------------------------------------------------------------------------------------------------

  get status(): number {
    return this.#status;
  }

  /** True from DRIVER_OK (or a legacy driver's first notification) until reset. */
  get started(): boolean {
    return this.#started;
  }

  /** @param legacy written through the legacy interface, whose drivers do not wait for a reset to complete */
  writeStatus(value: number, legacy = false): void {
    if (this.#traceStatus.on) this.#traceStatus.emit({ device: this.device.name, old: this.#status, value });
    if (value === 0) return this.reset(legacy);
    if (this.#stopping)
      return this.guestError('status was written before the reset had ended', CLAUSE.resetWait);
    const old = this.#status;
    // "The driver MUST NOT clear a device status bit" (§2.1.1): they stay set.
    if ((old & DRIVER_BITS & ~value) !== 0) {
      this.guestError('the driver cleared a status bit', CLAUSE.statusNotCleared);
    }
    let added = value & DRIVER_BITS & ~old;
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) !== 0 && !this.#acceptFeatures()) {
      added &= ~(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
    }
    const ready = old | added;
    if (
      (added & VIRTIO_CONFIG_S_DRIVER_OK) !== 0 &&
      !this.isLegacyDriver &&
      (ready & VIRTIO_CONFIG_S_FEATURES_OK) === 0
    ) {
      this.guestError('DRIVER_OK without FEATURES_OK', CLAUSE.initializationOrder);
      added &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    }
    this.#status = old | added;
    if ((added & VIRTIO_CONFIG_S_DRIVER_OK) !== 0) this.#start();
  }

  /** Device reset (§2.4): by the driver, or because the machine or the bus was reset. */
  reset(immediately = true): void {
    if (this.#stopping && !immediately) return;
    const life = ++this.#life;
    // From here on nothing is sent and nothing is taken from the queues.
    this.#started = false;
    this.queues.forEach((queue, index) => {
      queue.reset();
      this.#configs[index] = freshConfig(queue.maxSize);
    });
    this.#kicked.fill(0);
    this.#driverFeatures = 0n;
    this.#needsReset = false;
    const done = this.device.stop();
    if (done === undefined || immediately) {
      if (done !== undefined) done.catch((error: unknown) => this.#hostFailed(error));
      this.#stopping = false;
      this.#status = 0;
      return;
    }
    // "...present a 0 in device_status once that is done" (§4.1.4.3.1).
    this.#stopping = true;
    this.#status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    done
      .catch((error: unknown) => this.#hostFailed(error))
      .finally(() => {
        if (life !== this.#life) return;
        this.#stopping = false;
        this.#status = 0;
      });
  }

  #acceptFeatures(): boolean {
    const accepted = this.#driverFeatures;
    // "The driver MUST NOT accept a feature which the device did not offer" (§2.2.1).
    if ((accepted & ~this.modernFeatures) !== 0n) {
      const bits = [...Array(128).keys()].filter(
        (n) => ((accepted & ~this.modernFeatures) >> BigInt(n)) & 1n,
      );
      this.guestError(`features ${bits.join(', ')} were accepted but not offered`, CLAUSE.featureNotOffered);
      return false;
    }
    // "A device MAY fail to operate further if VIRTIO_F_VERSION_1 is not accepted" (§6.2): we go on, as QEMU does.
    if (this.isLegacyDriver) this.guestError('VIRTIO_F_VERSION_1 was not accepted', CLAUSE.versionOne);
    return this.device.acceptFeatures?.(accepted) ?? true;
  }

  #start(): void {
    if (this.#started || this.#needsReset) return;
    if ((this.#status & VIRTIO_CONFIG_S_FEATURES_OK) === 0)
      this.device.acceptFeatures?.(this.#driverFeatures);
    this.#started = true;
    this.queues.forEach((_, index) => {
      if (this.#configs[index]!.enabled) this.#enableRing(index);
    });
    this.device.start();
    // Buffers that were made available before DRIVER_OK are not notified again.
    this.#kickAll();
  }

  // -- the device's side -------------------------------------------------------------------------------------

  configChanged(): void {
    this.#configDirty = true;
    if ((this.#status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0) this.#sink.configurationChange();
  }

  needsReset(message: string, clause?: string): void {
    this.guestError(message, clause);
    for (const queue of this.queues) queue.markBroken();
    if (this.#needsReset) return;
    this.#needsReset = true;
    // A legacy driver does not know the bit.
    if (this.isLegacyDriver) return;
    this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    // "If DRIVER_OK is set ... the device MUST send a device configuration change notification" (§2.1.2).
    if ((this.#status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0) this.#sink.configurationChange();
  }

  guestError(message: string, clause?: string): void {
    this.#tracer.guestError(this.device.name, message, clause);
  }

  #hostFailed(error: unknown): void {
    this.#tracer.warn(this.device.name, `stopping failed: ${String(error)}`);
  }

  #interrupt(index: number): void {
    // "The device MUST NOT ... send any used buffer notifications to the driver before DRIVER_OK" (§2.1.2).
    if (this.#started) this.#sink.usedBuffer(index);
  }

  // -- configuration space -----------------------------------------------------------------------------------

  /** Reads past the end give ones, as QEMU does. */
  readConfig(offset: number, size: AccessSize): number {
    // The generation changes when a changed value is read: so 8 bits of it never wrap unseen (§4.1.4.3.1).
    if (this.#configDirty) {
      this.#configDirty = false;
      this.#generation = (this.#generation + 1) & 0xff;
    }
    if (offset + size > this.device.configSize) return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
    return this.device.readConfig(offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (offset + size <= this.device.configSize) this.device.writeConfig(offset, size, value);
  }

  get generation(): number {
    return this.#generation;
  }

  // -- queues ------------------------------------------------------------------------------------------------

  /** The driver's view of queue `index`, or undefined where there is none. */
  queueConfig(index: number): Readonly<QueueConfig> | undefined {
    return this.#configs[index];
  }

  /** Sets the number of entries: a power of two up to the maximum, while the queue is not enabled. */
  setQueueSize(index: number, size: number): void {
    const config = this.#configs[index];
    if (config === undefined) return;
    const max = this.queues[index]!.maxSize;
    // "...the driver MUST NOT write a value which is not a power of 2 to queue_size" (§4.1.4.3.2).
    if (config.enabled || size < 1 || size > max || (size & (size - 1)) !== 0) {
      return this.guestError(`queue ${index}: size ${size} (maximum ${max})`, CLAUSE.queueSizePowerOfTwo);
    }
    config.size = size;
  }

  setQueueAddresses(index: number, addresses: Partial<RingAddresses>): void {
    const config = this.#configs[index];
    if (config === undefined) return;
    // "The driver MUST configure the other virtqueue fields before enabling the virtqueue" (§4.1.4.3.2).
    if (config.enabled) {
      return this.guestError(`queue ${index}: configured while enabled`, CLAUSE.queueConfiguredFirst);
    }
    Object.assign(config, addresses);
  }

  enableQueue(index: number): void {
    const config = this.#configs[index];
    if (config === undefined || config.enabled || config.resetting || config.size === 0) return;
    config.enabled = true;
    if (this.#started) this.#enableRing(index);
  }

  /** Takes a queue out of service without a reset: only the legacy interface can (a queue address of 0). */
  disableQueue(index: number): void {
    const config = this.#configs[index];
    if (config === undefined) return;
    this.queues[index]!.reset();
    this.#configs[index] = freshConfig(this.queues[index]!.maxSize);
  }

  /** VIRTIO_F_RING_RESET (§2.6.1). */
  resetQueue(index: number): void {
    const config = this.#configs[index];
    if (
      config === undefined ||
      config.resetting ||
      !f.hasFeature(this.#driverFeatures, f.VIRTIO_F_RING_RESET)
    )
      return;
    const fresh = freshConfig(this.queues[index]!.maxSize);
    this.queues[index]!.reset();
    if (this.#needsReset) this.queues[index]!.markBroken();
    this.#kicked[index] = 0;
    this.#configs[index] = fresh;
    const done = this.device.queueReset?.(index);
    if (done === undefined) return;
    fresh.resetting = true;
    done
      .catch((error: unknown) => this.#hostFailed(error))
      .finally(() => {
        fresh.resetting = false;
      });
  }

  /** The driver's available buffer notification for queue `index`; "the device MUST handle spurious" ones. */
  notify(index: number): void {
    if (this.#traceNotify.on) this.#traceNotify.emit({ device: this.device.name, queue: index });
    const config = this.#configs[index];
    if (config === undefined || !config.enabled || this.#needsReset) return;
    if (!this.#started) {
      // "The driver MUST NOT send any buffer available notifications before setting DRIVER_OK" (§3.1.1).
      if (!this.isLegacyDriver || this.#stopping) {
        return this.guestError('a queue was notified before DRIVER_OK', CLAUSE.noBuffersBeforeDriverOk);
      }
      // Legacy drivers did: "the device was used before DRIVER_OK" (§3.1.2).
      return this.#start();
    }
    this.#kicked[index] = 1;
    this.#serve();
  }

  /** Memory may (not) be reached: PCI bus mastering was switched. */
  setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    for (const queue of this.queues) queue.setPaused(paused);
    if (!paused && this.#started) this.#kickAll();
  }

  #kickAll(): void {
    this.queues.forEach((queue, index) => {
      if (queue.enabled && !queue.empty) this.#kicked[index] = 1;
    });
    this.#serve();
  }

  /** Serves the kicked queues. A notification that comes while the device works waits until it has done. */
  #serve(): void {
    if (this.#serving) return;
    this.#serving = true;
    try {
      for (let index = this.#kicked.indexOf(1); index >= 0; index = this.#kicked.indexOf(1)) {
        this.#kicked[index] = 0;
        if (this.queues[index]!.enabled) this.device.notify(index);
      }
    } finally {
      this.#serving = false;
    }
  }

  #enableRing(index: number): void {
    const { desc, avail, used, size } = this.#configs[index]!;
    const has = (bit: bigint) => f.hasFeature(this.#driverFeatures, bit);
    this.queues[index]!.enable({
      desc,
      avail,
      used,
      size,
      eventIdx: has(f.VIRTIO_F_EVENT_IDX),
      indirect: has(f.VIRTIO_F_INDIRECT_DESC),
      notifyOnEmpty: has(f.VIRTIO_F_NOTIFY_ON_EMPTY),
    });
  }

  // -- snapshots ---------------------------------------------------------------------------------------------

  save(): VirtioStateSnapshot {
    return {
      status: this.#status,
      driverFeatures: this.#driverFeatures,
      generation: this.#generation,
      configDirty: this.#configDirty,
      started: this.#started,
      configs: this.#configs.map((config) => ({ ...config, resetting: false })),
      queues: this.queues.map((queue) => queue.save()),
    };
  }

  /** The device's own state is restored before this; it is started here and then serves what is waiting. */
  restore(state: VirtioStateSnapshot): void {
    this.reset();
    this.#status = state.status;
    this.#driverFeatures = state.driverFeatures;
    this.#generation = state.generation;
    this.#configDirty = state.configDirty;
    state.configs.forEach((config, index) => (this.#configs[index] = { ...config }));
    state.queues.forEach((queue, index) => this.queues[index]?.restore(queue));
    this.#needsReset = (state.status & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0;
    if (this.#needsReset) for (const queue of this.queues) queue.markBroken();
    if (!state.started) return;
    this.#started = true;
    this.device.start();
    this.#kickAll();
  }
}

function freshConfig(size: number): QueueConfig {
  return { size, desc: 0, avail: 0, used: 0, enabled: false, resetting: false };
}
