/**
 * The driver's MMIO transport: implements `ConfigOps` over one register window and one interrupt line, version 2 or
 * the legacy version 1. VIRTIO 1.4 §4.2.
 */
import type { AccessSize } from '../../core/bus.ts';
import * as f from '../features.ts';
import * as m from '../transport/mmio.ts';
import type { ConfigOps, QueueRequest } from './config-ops.ts';
import type { DriverMemory } from './memory.ts';
import { Vring } from './vring.ts';

/** A register window as a driver reaches it. */
export interface MmioAccess {
  readonly memory: DriverMemory;
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
  /** Called while the interrupt line is high. */
  onLine(handler: () => void): void;
  /** Lets time pass while the device finishes what it is doing. */
  pause(): Promise<void>;
}

/** The transport of a virtio MMIO window; throws when there is none, undefined for a placeholder. */
export function openVirtioMmio(access: MmioAccess): ConfigOps | undefined {
  // "The driver MUST ignore a device with MagicValue which is not 0x74726976, although it MAY report an error."
  if (access.read(m.MMIO_MAGIC_VALUE, 4) !== m.MMIO_MAGIC) throw new Error('not a virtio MMIO window');
  const version = access.read(m.MMIO_VERSION, 4);
  if (version !== 1 && version !== 2) throw new Error(`virtio MMIO version ${version} is not known`);
  if (access.read(m.MMIO_DEVICE_ID, 4) === 0) return undefined;
  return new MmioOps(access, version === 1);
}

const PAGE_SIZE = 4096;
/** Most polls of a register that has to become 0. */
const PATIENCE = 10_000;

class MmioOps implements ConfigOps {
  readonly busName = 'mmio';
  readonly deviceId: number;
  readonly vendorId: number;
  readonly legacy: boolean;
  onConfigChanged: () => void = () => {};
  readonly #access: MmioAccess;
  #vrings: (Vring | undefined)[] = [];
  /** DriverFeatures cannot be read back. */
  #features = 0n;

  constructor(access: MmioAccess, legacy: boolean) {
    this.#access = access;
    this.legacy = legacy;
    this.deviceId = access.read(m.MMIO_DEVICE_ID, 4);
    this.vendorId = access.read(m.MMIO_VENDOR_ID, 4);
    access.onLine(() => this.#interrupt());
  }

  getStatus(): number {
    return this.#access.read(m.MMIO_STATUS, 4);
  }

  setStatus(status: number): void {
    this.#access.write(m.MMIO_STATUS, 4, status);
  }

  async reset(): Promise<void> {
    this.#access.write(m.MMIO_STATUS, 4, 0);
    await this.#until(() => this.getStatus() === 0, 'reset');
    if (this.legacy) this.#access.write(m.MMIO_GUEST_PAGE_SIZE, 4, PAGE_SIZE);
  }

  getFeatures(): bigint {
    let features = 0n;
    for (let word = 0; word < 4; word++) {
      this.#access.write(m.MMIO_DEVICE_FEATURES_SEL, 4, word);
      features = f.withFeatureWord(features, word, this.#access.read(m.MMIO_DEVICE_FEATURES, 4));
    }
    return features;
  }

  setFeatures(features: bigint): void {
    this.#features = features;
    for (let word = 0; word < (this.legacy ? 1 : 4); word++) {
      this.#access.write(m.MMIO_DRIVER_FEATURES_SEL, 4, word);
      this.#access.write(m.MMIO_DRIVER_FEATURES, 4, f.featureWord(features, word));
    }
  }

  generation(): number {
    return this.legacy ? 0 : this.#access.read(m.MMIO_CONFIG_GENERATION, 4);
  }

  get(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.#access.read(m.MMIO_CONFIG + offset + i, 1));
  }

  set(offset: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => this.#access.write(m.MMIO_CONFIG + offset + i, 1, byte));
  }

  queueSize(index: number): number {
    this.#access.write(m.MMIO_QUEUE_SEL, 4, index);
    return this.#access.read(m.MMIO_QUEUE_SIZE_MAX, 4);
  }

  findVqs(requests: readonly (QueueRequest | undefined)[]): (Vring | undefined)[] {
    this.#vrings = requests.map((request, index) =>
      request === undefined ? undefined : this.#setUp(index, request),
    );
    return this.#vrings;
  }

  delVqs(): void {
    for (const vring of this.#vrings) vring?.destroy();
    this.#vrings = [];
  }

  async resetVq(index: number): Promise<void> {
    if (!f.hasFeature(this.#features, f.VIRTIO_F_RING_RESET))
      throw new Error('VIRTIO_F_RING_RESET is not negotiated');
    this.#access.write(m.MMIO_QUEUE_SEL, 4, index);
    this.#access.write(m.MMIO_QUEUE_RESET, 4, 1);
    await this.#until(() => {
      this.#access.write(m.MMIO_QUEUE_SEL, 4, index);
      return this.#access.read(m.MMIO_QUEUE_RESET, 4) === 0;
    }, `reset of queue ${index}`);
    this.#vrings[index]?.destroy();
    this.#vrings[index] = undefined;
  }

  enableVqAfterReset(index: number, request: QueueRequest): Vring {
    const ring = this.#setUp(index, request);
    this.#vrings[index] = ring;
    return ring;
  }

  #setUp(index: number, request: QueueRequest): Vring {
    const most = this.queueSize(index);
    const busy = this.#access.read(this.legacy ? m.MMIO_QUEUE_PFN : m.MMIO_QUEUE_READY, 4) !== 0;
    if (most === 0 || busy) throw new Error(`virtio queue ${index} does not exist`);
    const ring = new Vring({
      index,
      name: request.name,
      size: Math.min(request.size ?? most, most),
      memory: this.#access.memory,
      eventIdx: f.hasFeature(this.#features, f.VIRTIO_F_EVENT_IDX),
      indirect: f.hasFeature(this.#features, f.VIRTIO_F_INDIRECT_DESC),
      legacyLayout: this.legacy,
      notify: (n) => this.#access.write(m.MMIO_QUEUE_NOTIFY, 4, n),
      callback: request.callback,
    });
    this.#access.write(m.MMIO_QUEUE_SIZE, 4, ring.size);
    if (this.legacy) {
      this.#access.write(m.MMIO_QUEUE_ALIGN, 4, PAGE_SIZE);
      this.#access.write(m.MMIO_QUEUE_PFN, 4, ring.addresses.desc / PAGE_SIZE);
      return ring;
    }
    const address = (register: number, value: number) => {
      this.#access.write(register, 4, value % 2 ** 32);
      this.#access.write(register + 4, 4, Math.floor(value / 2 ** 32));
    };
    address(m.MMIO_QUEUE_DESC_LOW, ring.addresses.desc);
    address(m.MMIO_QUEUE_DRIVER_LOW, ring.addresses.avail);
    address(m.MMIO_QUEUE_DEVICE_LOW, ring.addresses.used);
    this.#access.write(m.MMIO_QUEUE_READY, 4, 1);
    return ring;
  }

  #interrupt(): void {
    const status = this.#access.read(m.MMIO_INTERRUPT_STATUS, 4) & (m.MMIO_INT_VRING | m.MMIO_INT_CONFIG);
    if (status === 0) return;
    // Acknowledged first: what happens while it is handled raises the line again.
    this.#access.write(m.MMIO_INTERRUPT_ACK, 4, status);
    if ((status & m.MMIO_INT_CONFIG) !== 0) this.onConfigChanged();
    if ((status & m.MMIO_INT_VRING) !== 0) for (const vring of this.#vrings) vring?.interrupt();
  }

  async #until(done: () => boolean, what: string): Promise<void> {
    for (let left = PATIENCE; !done(); left--) {
      if (left === 0) throw new Error(`virtio MMIO device: ${what} does not end`);
      await this.#access.pause();
    }
  }
}
