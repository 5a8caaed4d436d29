/**
 * The driver model: drivers with tables of what they drive, devices found by a transport, and a bus that brings them
 * together: reset, negotiate, validate, probe, scan; remove; freeze and restore. Its names are those of Linux's
 * virtio API. VIRTIO 1.4 §3.1.1.
 */
import * as f from '../features.ts';
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
} from '../transport/state.ts';
import type { ConfigOps, QueueRequest } from './config-ops.ts';
import type { Vring } from './vring.ts';

export const VIRTIO_DEV_ANY_ID = 0xffffffff;

export interface VirtioDeviceId {
  readonly device: number;
  readonly vendor: number;
}

export interface VirtioDriver {
  readonly name: string;
  readonly idTable: readonly VirtioDeviceId[];
  /** Device-specific feature bits (their numbers) that it understands. */
  readonly featureTable: readonly bigint[];
  /** The same for devices without VIRTIO_F_VERSION_1; `featureTable` where absent. */
  readonly featureTableLegacy?: readonly bigint[];
  /** May refuse a device by throwing, or drop features with `device.clearFeature`, before they are final. */
  validate?(device: DriverDevice): void;
  probe(device: DriverDevice): void | Promise<void>;
  /** After a successful probe, when the device is live. */
  scan?(device: DriverDevice): void;
  remove(device: DriverDevice): void | Promise<void>;
  configChanged?(device: DriverDevice): void;
  freeze?(device: DriverDevice): void | Promise<void>;
  restore?(device: DriverDevice): void | Promise<void>;
}

/** Ring and transport features that this library can use. */
const SUPPORTED =
  (1n << f.VIRTIO_F_INDIRECT_DESC) |
  (1n << f.VIRTIO_F_EVENT_IDX) |
  (1n << f.VIRTIO_F_VERSION_1) |
  (1n << f.VIRTIO_F_ACCESS_PLATFORM) |
  (1n << f.VIRTIO_F_RING_RESET);

/** A device as drivers see it. */
export class DriverDevice {
  readonly ops: ConfigOps;
  driver: VirtioDriver | undefined;
  /** The driver's own. */
  priv: unknown;
  #features = 0n;
  #live = false;
  #changed = false;

  constructor(ops: ConfigOps) {
    this.ops = ops;
    ops.onConfigChanged = () => this.#configChanged();
  }

  get id(): VirtioDeviceId {
    return { device: this.ops.deviceId, vendor: this.ops.vendorId };
  }

  /** What was negotiated. */
  get features(): bigint {
    return this.#features;
  }

  hasFeature(bit: bigint): boolean {
    return f.hasFeature(this.#features, bit);
  }

  clearFeature(bit: bigint): void {
    this.#features &= ~(1n << bit);
  }

  get status(): number {
    return this.ops.getStatus();
  }

  addStatus(bits: number): void {
    this.ops.setStatus(this.ops.getStatus() | bits);
  }

  /** Reads configuration that belongs together: again while the generation changes (§2.5.1). */
  readConfig(offset: number, length: number): Uint8Array {
    for (;;) {
      const before = this.ops.generation();
      const bytes = this.ops.get(offset, length);
      if (this.ops.generation() === before) return bytes;
    }
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.ops.set(offset, bytes);
  }

  findVqs(requests: readonly (QueueRequest | undefined)[]): (Vring | undefined)[] {
    return this.ops.findVqs(requests);
  }

  /** Sets DRIVER_OK, in probe, when the driver wants to use its queues there. */
  ready(): void {
    this.addStatus(VIRTIO_CONFIG_S_DRIVER_OK);
    this.#live = true;
    if (this.#changed) this.#configChanged();
  }

  reset(): Promise<void> {
    this.#live = false;
    return this.ops.reset();
  }

  /** The steps of §3.1.1 up to and including FEATURES_OK; throws, with FAILED set, when they go wrong. */
  async negotiate(driver: VirtioDriver): Promise<void> {
    this.driver = driver;
    this.#changed = false;
    await this.reset();
    this.addStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE);
    this.addStatus(VIRTIO_CONFIG_S_DRIVER);
    const offered = this.ops.getFeatures();
    const modern = f.hasFeature(offered, f.VIRTIO_F_VERSION_1);
    const table = modern ? driver.featureTable : (driver.featureTableLegacy ?? driver.featureTable);
    const understood = table.reduce((bits, bit) => bits | (1n << bit), SUPPORTED);
    // "The driver MUST NOT accept a feature which the device did not offer" (§2.2.1).
    this.#features = offered & understood;
    try {
      driver.validate?.(this);
      this.ops.setFeatures(this.#features);
      if (this.ops.legacy) return;
      this.addStatus(VIRTIO_CONFIG_S_FEATURES_OK);
      if ((this.status & VIRTIO_CONFIG_S_FEATURES_OK) === 0) {
        throw new Error(
          `virtio device ${this.ops.deviceId}: it refuses features 0x${this.#features.toString(16)}`,
        );
      }
    } catch (error) {
      this.addStatus(VIRTIO_CONFIG_S_FAILED);
      throw error;
    }
  }

  #configChanged(): void {
    // Changes before the driver is ready are told when it is.
    this.#changed = !this.#live;
    if (this.#live) this.driver?.configChanged?.(this);
  }
}

/** Brings drivers and devices together. */
export class VirtioBus {
  readonly #drivers: VirtioDriver[] = [];
  readonly #devices: DriverDevice[] = [];

  get devices(): readonly DriverDevice[] {
    return this.#devices;
  }

  /** Adds a driver and probes the devices that wait for one. */
  async registerDriver(driver: VirtioDriver): Promise<void> {
    this.#drivers.push(driver);
    for (const device of this.#devices) {
      if (device.driver === undefined && matches(driver, device)) await this.#probe(device, driver);
    }
  }

  async unregisterDriver(driver: VirtioDriver): Promise<void> {
    for (const device of this.#devices) if (device.driver === driver) await this.#remove(device);
    this.#drivers.splice(this.#drivers.indexOf(driver), 1);
  }

  /** Adds a device: reset, acknowledged, and probed by the first driver whose table names it. */
  async registerDevice(device: DriverDevice): Promise<void> {
    this.#devices.push(device);
    await device.reset();
    device.addStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE);
    const driver = this.#drivers.find((candidate) => matches(candidate, device));
    if (driver !== undefined) await this.#probe(device, driver);
  }

  async unregisterDevice(device: DriverDevice): Promise<void> {
    if (device.driver !== undefined) await this.#remove(device);
    this.#devices.splice(this.#devices.indexOf(device), 1);
  }

  /** Suspend: the driver gives up its queues, the device is reset. */
  async freeze(device: DriverDevice): Promise<void> {
    await device.driver?.freeze?.(device);
    await device.reset();
    device.ops.delVqs();
  }

  /** Resume: negotiated as before, then handed to the driver's `restore`. */
  async restore(device: DriverDevice): Promise<void> {
    const driver = device.driver;
    if (driver === undefined) return;
    await device.negotiate(driver);
    await driver.restore?.(device);
    if ((device.status & VIRTIO_CONFIG_S_DRIVER_OK) === 0) device.ready();
  }

  async #probe(device: DriverDevice, driver: VirtioDriver): Promise<void> {
    try {
      await device.negotiate(driver);
      await driver.probe(device);
      if ((device.status & VIRTIO_CONFIG_S_DRIVER_OK) === 0) device.ready();
      driver.scan?.(device);
    } catch (error) {
      device.addStatus(VIRTIO_CONFIG_S_FAILED);
      device.driver = undefined;
      throw error;
    }
  }

  async #remove(device: DriverDevice): Promise<void> {
    await device.driver!.remove(device);
    // "...a driver MUST ensure a virtqueue isn't live (by device reset) before removing exposed buffers" (§3.3.1).
    await device.reset();
    device.ops.delVqs();
    device.driver = undefined;
    device.addStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE);
  }
}

function matches(driver: VirtioDriver, device: DriverDevice): boolean {
  return driver.idTable.some(
    (id) =>
      (id.device === VIRTIO_DEV_ANY_ID || id.device === device.id.device) &&
      (id.vendor === VIRTIO_DEV_ANY_ID || id.vendor === device.id.vendor),
  );
}
