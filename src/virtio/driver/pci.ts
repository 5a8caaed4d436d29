/**
 * The driver's PCI transport: finds the virtio structures in configuration space (modern) or BAR 0 (legacy), sets up
 * MSI-X or INTx, and implements `ConfigOps`. It touches the device through `PciAccess` only, which the test rig
 * implements and a real machine can. VIRTIO 1.4 §4.1.
 */
import type { AccessSize } from '../../core/bus.ts';
import { PCI_CAP_ID_MSIX, PCI_CAP_ID_VNDR } from '../../core/pci/regs.ts';
import * as r from '../../core/pci/regs.ts';
import * as f from '../features.ts';
import * as c from '../transport/pci-common.ts';
import * as lg from '../transport/pci-legacy.ts';
import {
  CAP_BAR,
  CAP_CFG_TYPE,
  CAP_EXTRA,
  CAP_LENGTH,
  CAP_OFFSET,
  ISR_CONFIG,
  ISR_QUEUE,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
} from '../transport/pci.ts';
import type { ConfigOps, QueueRequest } from './config-ops.ts';
import type { DriverMemory } from './memory.ts';
import { Vring } from './vring.ts';

/** A PCI function as a driver reaches it. */
export interface PciAccess {
  readonly memory: DriverMemory;
  readConfig(offset: number, size: AccessSize): number;
  writeConfig(offset: number, size: AccessSize, value: number): void;
  readBar(bar: number, offset: number, size: AccessSize): number;
  writeBar(bar: number, offset: number, size: AccessSize, value: number): void;
  /** `count` messages of the platform's, `handler` called with 0 … count-1; undefined where it has none to give. */
  allocateMessages(
    count: number,
    handler: (n: number) => void,
  ): readonly { address: number; data: number }[] | undefined;
  /** Called while the function's INTx line is high. */
  onLine(handler: () => void): void;
  /** Lets time pass while the device finishes what it is doing. */
  pause(): Promise<void>;
}

export interface VirtioPciDriverOptions {
  /** `auto`: modern where the device has it. */
  readonly interface?: 'auto' | 'modern' | 'legacy';
  /** `msix`: one vector each where there are enough, else two; `shared`: two; `intx`: none. */
  readonly interrupts?: 'msix' | 'shared' | 'intx';
  /** Most polls of a register that has to become 0. */
  readonly patience?: number;
}

interface Region {
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
}

const NO_VECTOR = 0xffff;

/** Offsets of the capabilities with this id, first to last; stops at a list that loops. */
export function pciCapabilities(access: PciAccess, id: number): number[] {
  const found: number[] = [];
  if ((access.readConfig(r.PCI_STATUS, 2) & r.PCI_STATUS_CAP_LIST) === 0) return found;
  let at = access.readConfig(r.PCI_CAPABILITY_LIST, 1) & ~3;
  for (let left = 48; at >= 0x40 && left > 0; left--) {
    if (access.readConfig(at, 1) === id) found.push(at);
    at = access.readConfig(at + 1, 1) & ~3;
  }
  return found;
}

/** The transport of a virtio PCI function; throws when it is none. */
export function openVirtioPci(access: PciAccess, options: VirtioPciDriverOptions = {}): ConfigOps {
  const vendor = access.readConfig(r.PCI_VENDOR_ID, 2);
  const device = access.readConfig(r.PCI_DEVICE_ID, 2);
  // "Drivers MUST match devices with the PCI Vendor ID 0x1AF4 and the PCI Device ID in the range 0x1040 to 0x107f"
  // or a transitional one (§4.1.2.2).
  if (vendor !== 0x1af4 || device < 0x1000 || device > 0x107f) throw new Error('not a virtio PCI function');
  access.writeConfig(r.PCI_COMMAND, 2, r.PCI_COMMAND_IO | r.PCI_COMMAND_MEMORY | r.PCI_COMMAND_MASTER);
  const wanted = options.interface ?? 'auto';
  const common = findRegion(access, VIRTIO_PCI_CAP_COMMON_CFG);
  if (wanted === 'modern' || (wanted === 'auto' && common !== undefined))
    return new ModernPci(access, options);
  if (device >= 0x1040) throw new Error('a non-transitional virtio PCI function has no legacy interface');
  return new LegacyPci(access, options);
}

/** The first structure of a type: devices list the one they like best first (§4.1.4.1). */
function findRegion(access: PciAccess, type: number): (Region & { readonly capability: number }) | undefined {
  for (const at of pciCapabilities(access, PCI_CAP_ID_VNDR)) {
    const bar = access.readConfig(at + CAP_BAR, 1);
    // "Values 0x0 to 0x5 specify a BAR ... any other value is reserved for future use" (§4.1.4).
    if (access.readConfig(at + CAP_CFG_TYPE, 1) !== type || bar > 5) continue;
    const offset = access.readConfig(at + CAP_OFFSET, 4);
    return { bar, offset, length: access.readConfig(at + CAP_LENGTH, 4), capability: at };
  }
  return undefined;
}

abstract class BasePci implements ConfigOps {
  abstract readonly busName: string;
  abstract readonly legacy: boolean;
  readonly deviceId: number;
  readonly vendorId: number;
  onConfigChanged: () => void = () => {};
  protected readonly access: PciAccess;
  protected readonly options: VirtioPciDriverOptions;
  protected vrings: (Vring | undefined)[] = [];
  /** Vector of configuration changes, and of each queue. */
  protected configVector = NO_VECTOR;
  protected queueVectors: number[] = [];

  constructor(access: PciAccess, options: VirtioPciDriverOptions) {
    this.access = access;
    this.options = options;
    const device = access.readConfig(r.PCI_DEVICE_ID, 2);
    this.deviceId = device >= 0x1040 ? device - 0x1040 : access.readConfig(r.PCI_SUBSYSTEM_ID, 2);
    this.vendorId = access.readConfig(r.PCI_SUBSYSTEM_VENDOR_ID, 2);
    access.onLine(() => this.#line());
  }

  abstract getStatus(): number;
  abstract setStatus(status: number): void;
  abstract getFeatures(): bigint;
  abstract setFeatures(features: bigint): void;
  abstract generation(): number;
  abstract get(offset: number, length: number): Uint8Array;
  abstract set(offset: number, bytes: Uint8Array): void;
  abstract queueSize(index: number): number;
  protected abstract readIsr(): number;
  protected abstract writeReset(): void;
  protected abstract negotiated(): bigint;
  /** Configures and enables queue `index`; returns its ring. */
  protected abstract setUp(index: number, request: QueueRequest): Vring;
  protected abstract setConfigVector(vector: number): number;

  async reset(): Promise<void> {
    this.writeReset();
    // "The driver SHOULD consider a driver-initiated reset complete when it reads device status as 0" (§2.4.2).
    await this.until(() => this.getStatus() === 0, 'reset');
  }

  findVqs(requests: readonly (QueueRequest | undefined)[]): (Vring | undefined)[] {
    this.#setUpInterrupts(requests);
    this.vrings = requests.map((request, index) =>
      request === undefined ? undefined : this.setUp(index, request),
    );
    return this.vrings;
  }

  delVqs(): void {
    for (const vring of this.vrings) vring?.destroy();
    this.vrings = [];
  }

  protected async until(done: () => boolean, what: string): Promise<void> {
    for (let left = this.options.patience ?? 10_000; !done(); left--) {
      if (left === 0) throw new Error(`virtio PCI function: ${what} does not end`);
      await this.access.pause();
    }
  }

  protected ring(index: number, request: QueueRequest, size: number, notify: (index: number) => void): Vring {
    const features = this.negotiated();
    return new Vring({
      index,
      name: request.name,
      size,
      memory: this.access.memory,
      eventIdx: f.hasFeature(features, f.VIRTIO_F_EVENT_IDX),
      indirect: f.hasFeature(features, f.VIRTIO_F_INDIRECT_DESC),
      legacyLayout: this.legacy,
      notify,
      callback: request.callback,
    });
  }

  /** "simply reading this register resets it to 0 and causes the device to de-assert the interrupt" (§4.1.4.5). */
  #line(): void {
    const isr = this.readIsr();
    if ((isr & ISR_CONFIG) !== 0) this.onConfigChanged();
    if ((isr & ISR_QUEUE) !== 0) for (const vring of this.vrings) vring?.interrupt();
  }

  #setUpInterrupts(requests: readonly (QueueRequest | undefined)[]): void {
    this.queueVectors = requests.map(() => NO_VECTOR);
    this.configVector = NO_VECTOR;
    const capability = pciCapabilities(this.access, PCI_CAP_ID_MSIX)[0];
    if (this.options.interrupts === 'intx' || capability === undefined) return;
    const vectors = (this.access.readConfig(capability + 2, 2) & 0x7ff) + 1;
    const withCallback = requests.flatMap((request, index) =>
      request?.callback === undefined ? [] : [index],
    );
    const each = this.options.interrupts !== 'shared' && vectors >= withCallback.length + 1;
    const count = each ? withCallback.length + 1 : 2;
    if (vectors < count) return;
    const messages = this.access.allocateMessages(count, (n) => this.#message(n, each, withCallback));
    if (messages === undefined) return;
    const table = this.access.readConfig(capability + 4, 4);
    messages.forEach(({ address, data }, vector) => {
      const at = (table & ~7) + vector * 16;
      this.access.writeBar(table & 7, at, 4, address % 2 ** 32);
      this.access.writeBar(table & 7, at + 4, 4, Math.floor(address / 2 ** 32));
      this.access.writeBar(table & 7, at + 8, 4, data);
      this.access.writeBar(table & 7, at + 12, 4, 0);
    });
    this.access.writeConfig(capability + 2, 2, 0x8000);
    this.configVector = 0;
    // "The driver ... MUST verify that mapping of the event to a vector succeeded" by reading it back (§4.1.5.1.2.2).
    if (this.setConfigVector(0) !== 0)
      throw new Error('virtio PCI function: no vector for configuration changes');
    withCallback.forEach((queue, n) => (this.queueVectors[queue] = each ? n + 1 : 1));
  }

  #message(n: number, each: boolean, withCallback: readonly number[]): void {
    if (n === 0) this.onConfigChanged();
    else if (each) this.vrings[withCallback[n - 1]!]?.interrupt();
    else for (const queue of withCallback) this.vrings[queue]?.interrupt();
  }
}

/** The modern interface (§4.1.4). */
class ModernPci extends BasePci {
  readonly busName = 'pci';
  readonly legacy = false;
  readonly #common: Region;
  readonly #isr: Region;
  readonly #device: Region | undefined;
  readonly #notify: Region;
  readonly #multiplier: number;

  constructor(access: PciAccess, options: VirtioPciDriverOptions) {
    super(access, options);
    const common = findRegion(access, VIRTIO_PCI_CAP_COMMON_CFG);
    const isr = findRegion(access, VIRTIO_PCI_CAP_ISR_CFG);
    const notify = findRegion(access, VIRTIO_PCI_CAP_NOTIFY_CFG);
    if (common === undefined || isr === undefined || notify === undefined) {
      throw new Error('virtio PCI function: a structure of the modern interface is missing');
    }
    this.#common = common;
    this.#isr = isr;
    this.#notify = notify;
    this.#multiplier = access.readConfig(notify.capability + CAP_EXTRA, 4);
    this.#device = findRegion(access, VIRTIO_PCI_CAP_DEVICE_CFG);
  }

  #read(register: number, size: AccessSize): number {
    return this.access.readBar(this.#common.bar, this.#common.offset + register, size);
  }

  #write(register: number, size: AccessSize, value: number): void {
    this.access.writeBar(this.#common.bar, this.#common.offset + register, size, value);
  }

  getStatus(): number {
    return this.#read(c.DEVICE_STATUS, 1);
  }

  setStatus(status: number): void {
    this.#write(c.DEVICE_STATUS, 1, status);
  }

  protected writeReset(): void {
    this.#write(c.DEVICE_STATUS, 1, 0);
  }

  protected readIsr(): number {
    return this.access.readBar(this.#isr.bar, this.#isr.offset, 1);
  }

  #features(select: number, register: number): bigint {
    let features = 0n;
    for (let word = 0; word < 4; word++) {
      this.#write(select, 4, word);
      features = f.withFeatureWord(features, word, this.#read(register, 4));
    }
    return features;
  }

  getFeatures(): bigint {
    return this.#features(c.DEVICE_FEATURE_SELECT, c.DEVICE_FEATURE);
  }

  protected negotiated(): bigint {
    return this.#features(c.DRIVER_FEATURE_SELECT, c.DRIVER_FEATURE);
  }

  setFeatures(features: bigint): void {
    for (let word = 0; word < 4; word++) {
      this.#write(c.DRIVER_FEATURE_SELECT, 4, word);
      this.#write(c.DRIVER_FEATURE, 4, f.featureWord(features, word));
    }
  }

  generation(): number {
    return this.#read(c.CONFIG_GENERATION, 1);
  }

  get(offset: number, length: number): Uint8Array {
    const region = this.#device;
    if (region === undefined) throw new Error('virtio PCI function: it has no device configuration');
    return Uint8Array.from({ length }, (_, i) =>
      this.access.readBar(region.bar, region.offset + offset + i, 1),
    );
  }

  set(offset: number, bytes: Uint8Array): void {
    const region = this.#device;
    if (region === undefined) throw new Error('virtio PCI function: it has no device configuration');
    bytes.forEach((byte, i) => this.access.writeBar(region.bar, region.offset + offset + i, 1, byte));
  }

  queueSize(index: number): number {
    this.#write(c.QUEUE_SELECT, 2, index);
    return this.#read(c.QUEUE_SIZE, 2);
  }

  protected setConfigVector(vector: number): number {
    this.#write(c.CONFIG_MSIX_VECTOR, 2, vector);
    return this.#read(c.CONFIG_MSIX_VECTOR, 2);
  }

  protected setUp(index: number, request: QueueRequest): Vring {
    const most = this.queueSize(index);
    if (index >= this.#read(c.NUM_QUEUES, 2) || most === 0)
      throw new Error(`virtio queue ${index} does not exist`);
    const size = Math.min(request.size ?? most, most);
    const where = this.#notify.offset + this.#read(c.QUEUE_NOTIFY_OFF, 2) * this.#multiplier;
    const ring = this.ring(index, request, size, (n) => this.access.writeBar(this.#notify.bar, where, 2, n));
    this.#write(c.QUEUE_SIZE, 2, size);
    const address = (register: number, value: number) => {
      this.#write(register, 4, value % 2 ** 32);
      this.#write(register + 4, 4, Math.floor(value / 2 ** 32));
    };
    address(c.QUEUE_DESC_LO, ring.addresses.desc);
    address(c.QUEUE_DRIVER_LO, ring.addresses.avail);
    address(c.QUEUE_DEVICE_LO, ring.addresses.used);
    const vector = this.queueVectors[index] ?? NO_VECTOR;
    if (vector !== NO_VECTOR) {
      this.#write(c.QUEUE_MSIX_VECTOR, 2, vector);
      if (this.#read(c.QUEUE_MSIX_VECTOR, 2) !== vector) throw new Error(`virtio queue ${index}: no vector`);
    }
    this.#write(c.QUEUE_ENABLE, 2, 1);
    return ring;
  }

  async resetVq(index: number): Promise<void> {
    if (!f.hasFeature(this.negotiated(), f.VIRTIO_F_RING_RESET))
      throw new Error('VIRTIO_F_RING_RESET is not negotiated');
    this.#write(c.QUEUE_SELECT, 2, index);
    this.#write(c.QUEUE_RESET, 2, 1);
    // "After the driver tells the device to reset a queue, the driver MUST verify that the queue has actually been
    // reset" (§2.6.1.2).
    await this.until(() => {
      this.#write(c.QUEUE_SELECT, 2, index);
      return this.#read(c.QUEUE_RESET, 2) === 0;
    }, `reset of queue ${index}`);
    this.vrings[index]?.destroy();
    this.vrings[index] = undefined;
  }

  enableVqAfterReset(index: number, request: QueueRequest): Vring {
    const ring = this.setUp(index, request);
    this.vrings[index] = ring;
    return ring;
  }
}

/** The legacy interface in BAR 0 (§4.1.4.10). */
class LegacyPci extends BasePci {
  readonly busName = 'pci-legacy';
  readonly legacy = true;

  #read(register: number, size: AccessSize): number {
    return this.access.readBar(0, register, size);
  }

  #write(register: number, size: AccessSize, value: number): void {
    this.access.writeBar(0, register, size, value);
  }

  getStatus(): number {
    return this.#read(lg.LEGACY_STATUS, 1);
  }

  setStatus(status: number): void {
    this.#write(lg.LEGACY_STATUS, 1, status);
  }

  protected writeReset(): void {
    this.#write(lg.LEGACY_STATUS, 1, 0);
  }

  protected readIsr(): number {
    return this.#read(lg.LEGACY_ISR, 1);
  }

  getFeatures(): bigint {
    return BigInt(this.#read(lg.LEGACY_DEVICE_FEATURES, 4));
  }

  setFeatures(features: bigint): void {
    this.#write(lg.LEGACY_DRIVER_FEATURES, 4, f.featureWord(features, 0));
  }

  protected negotiated(): bigint {
    return BigInt(this.#read(lg.LEGACY_DRIVER_FEATURES, 4));
  }

  generation(): number {
    return 0;
  }

  get #config(): number {
    const capability = pciCapabilities(this.access, PCI_CAP_ID_MSIX)[0];
    return lg.legacyConfigOffset(
      capability !== undefined && (this.access.readConfig(capability + 2, 2) & 0x8000) !== 0,
    );
  }

  get(offset: number, length: number): Uint8Array {
    const start = this.#config + offset;
    return Uint8Array.from({ length }, (_, i) => this.#read(start + i, 1));
  }

  set(offset: number, bytes: Uint8Array): void {
    const start = this.#config + offset;
    bytes.forEach((byte, i) => this.#write(start + i, 1, byte));
  }

  queueSize(index: number): number {
    this.#write(lg.LEGACY_QUEUE_SELECT, 2, index);
    return this.#read(lg.LEGACY_QUEUE_SIZE, 2);
  }

  protected setConfigVector(vector: number): number {
    this.#write(lg.LEGACY_CONFIG_VECTOR, 2, vector);
    return this.#read(lg.LEGACY_CONFIG_VECTOR, 2);
  }

  protected setUp(index: number, request: QueueRequest): Vring {
    const size = this.queueSize(index);
    if (size === 0 || this.#read(lg.LEGACY_QUEUE_ADDRESS, 4) !== 0)
      throw new Error(`virtio queue ${index} does not exist`);
    const ring = this.ring(index, request, size, (n) => this.#write(lg.LEGACY_QUEUE_NOTIFY, 2, n));
    this.#write(lg.LEGACY_QUEUE_ADDRESS, 4, ring.addresses.desc / 4096);
    const vector = this.queueVectors[index] ?? NO_VECTOR;
    if (vector !== NO_VECTOR) {
      this.#write(lg.LEGACY_QUEUE_VECTOR, 2, vector);
      if (this.#read(lg.LEGACY_QUEUE_VECTOR, 2) !== vector)
        throw new Error(`virtio queue ${index}: no vector`);
    }
    return ring;
  }
}
