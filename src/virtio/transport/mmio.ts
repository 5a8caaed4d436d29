/**
 * virtio over MMIO: one window of registers and one interrupt line, for machines without PCI and for
 * `virtio_mmio.device=` on a Linux command line. Version 2, or the legacy version 1. VIRTIO 1.4 §4.2.
 */
import type { AccessSize, IoHandler } from '../../core/bus.ts';
import type { IrqLine } from '../../core/irq.ts';
import { CLAUSE } from '../clauses.ts';
import type { VirtioDevice } from '../device.ts';
import { featureWord } from '../features.ts';
import { legacyLayout } from '../queue/layout.ts';
import { withHigh32, withLow32 } from './address.ts';
import {
  type RingOptions,
  type TransportEnvironment,
  VirtioState,
  type VirtioStateSnapshot,
} from './state.ts';

export const MMIO_MAGIC_VALUE = 0x000;
export const MMIO_VERSION = 0x004;
export const MMIO_DEVICE_ID = 0x008;
export const MMIO_VENDOR_ID = 0x00c;
export const MMIO_DEVICE_FEATURES = 0x010;
export const MMIO_DEVICE_FEATURES_SEL = 0x014;
export const MMIO_DRIVER_FEATURES = 0x020;
export const MMIO_DRIVER_FEATURES_SEL = 0x024;
/** Version 1 only. */
export const MMIO_GUEST_PAGE_SIZE = 0x028;
export const MMIO_QUEUE_SEL = 0x030;
export const MMIO_QUEUE_SIZE_MAX = 0x034;
export const MMIO_QUEUE_SIZE = 0x038;
/** Version 1 only. */
export const MMIO_QUEUE_ALIGN = 0x03c;
/** Version 1 only. */
export const MMIO_QUEUE_PFN = 0x040;
export const MMIO_QUEUE_READY = 0x044;
export const MMIO_QUEUE_NOTIFY = 0x050;
export const MMIO_INTERRUPT_STATUS = 0x060;
export const MMIO_INTERRUPT_ACK = 0x064;
export const MMIO_STATUS = 0x070;
export const MMIO_QUEUE_DESC_LOW = 0x080;
export const MMIO_QUEUE_DESC_HIGH = 0x084;
export const MMIO_QUEUE_DRIVER_LOW = 0x090;
export const MMIO_QUEUE_DRIVER_HIGH = 0x094;
export const MMIO_QUEUE_DEVICE_LOW = 0x0a0;
export const MMIO_QUEUE_DEVICE_HIGH = 0x0a4;
export const MMIO_SHM_LEN_LOW = 0x0b0;
export const MMIO_SHM_BASE_HIGH = 0x0bc;
export const MMIO_QUEUE_RESET = 0x0c0;
export const MMIO_CONFIG_GENERATION = 0x0fc;
export const MMIO_CONFIG = 0x100;

/** `virt` */
export const MMIO_MAGIC = 0x74726976;
/** QEMU's, which is what drivers print. */
const VENDOR = 0x554d4551;
/** Bytes of the window, as QEMU's. */
export const MMIO_SIZE = 0x200;

export const MMIO_INT_VRING = 1;
export const MMIO_INT_CONFIG = 2;

export interface VirtioMmioOptions extends RingOptions {
  /** Version 1 instead of 2 (QEMU's `force-legacy`). */
  readonly legacy?: boolean;
}

export interface VirtioMmioSnapshot {
  readonly state: VirtioStateSnapshot;
  readonly registers: readonly number[];
}

export class VirtioMmio implements IoHandler {
  readonly device: VirtioDevice;
  readonly state: VirtioState;
  readonly legacy: boolean;
  readonly #line: IrqLine;
  #interruptStatus = 0;
  #queueSelect = 0;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #pageSize = 0;
  /** Version 1: alignment of the used ring, by queue. */
  readonly #align: number[];

  constructor(
    device: VirtioDevice,
    env: TransportEnvironment,
    line: IrqLine,
    options: VirtioMmioOptions = {},
  ) {
    this.device = device;
    this.legacy = options.legacy ?? false;
    this.#line = line;
    this.#align = device.queues.map(() => 0);
    this.state = new VirtioState(
      device,
      env,
      {
        usedBuffer: () => this.#raise(MMIO_INT_VRING),
        configurationChange: () => this.#raise(MMIO_INT_CONFIG),
      },
      { ...options, legacy: this.legacy, modern: !this.legacy },
    );
  }

  #raise(bit: number): void {
    this.#interruptStatus |= bit;
    this.#line.set(true);
  }

  /** The machine was reset. */
  reset(): void {
    this.state.reset();
    this.#resetRegisters();
  }

  #resetRegisters(): void {
    // "Upon reset, the device MUST clear all bits in InterruptStatus" (§4.2.2.1).
    this.#interruptStatus = 0;
    this.#queueSelect = 0;
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
    this.#pageSize = 0;
    this.#align.fill(0);
    this.#line.set(false);
  }

  read(offset: number, size: AccessSize): number {
    if (offset >= MMIO_CONFIG) return this.state.readConfig(offset - MMIO_CONFIG, size);
    // "The driver MUST only use 32 bit wide and aligned reads and writes to access the control registers".
    if (size !== 4 || offset % 4 !== 0) {
      this.state.guestError(
        `a read of ${size} bytes at control register 0x${offset.toString(16)}`,
        CLAUSE.mmioWidth,
      );
      return 0;
    }
    const config = this.state.queueConfig(this.#queueSelect);
    switch (offset) {
      case MMIO_MAGIC_VALUE:
        return MMIO_MAGIC;
      case MMIO_VERSION:
        return this.legacy ? 1 : 2;
      case MMIO_DEVICE_ID:
        return this.device.deviceId;
      case MMIO_VENDOR_ID:
        return VENDOR;
      case MMIO_DEVICE_FEATURES:
        if (!this.legacy) return this.state.deviceFeatureWord(this.#deviceFeatureSelect);
        return this.#deviceFeatureSelect === 0 ? featureWord(this.state.legacyFeatures, 0) : 0;
      case MMIO_QUEUE_SIZE_MAX:
        return this.state.queues[this.#queueSelect]?.maxSize ?? 0;
      case MMIO_QUEUE_PFN:
        if (!this.legacy || config?.enabled !== true || this.#pageSize === 0) return 0;
        return Math.floor(config.desc / this.#pageSize);
      case MMIO_QUEUE_READY:
        return !this.legacy && config?.enabled === true ? 1 : 0;
      case MMIO_INTERRUPT_STATUS:
        return this.#interruptStatus;
      case MMIO_STATUS:
        return this.state.status;
      case MMIO_QUEUE_RESET:
        return config?.resetting === true ? 1 : 0;
      case MMIO_CONFIG_GENERATION:
        return this.legacy ? 0 : this.state.generation;
      default:
        // "Reading from a non-existent [shared memory] region results in a length of -1" (§4.2.2).
        return offset >= MMIO_SHM_LEN_LOW && offset <= MMIO_SHM_BASE_HIGH ? 0xffffffff : 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const state = this.state;
    if (offset >= MMIO_CONFIG) return state.writeConfig(offset - MMIO_CONFIG, size, value);
    if (size !== 4 || offset % 4 !== 0) {
      const where = offset.toString(16);
      return state.guestError(`a write of ${size} bytes at control register 0x${where}`, CLAUSE.mmioWidth);
    }
    switch (offset) {
      case MMIO_DEVICE_FEATURES_SEL:
        this.#deviceFeatureSelect = value;
        return;
      case MMIO_DRIVER_FEATURES_SEL:
        this.#driverFeatureSelect = value;
        return;
      case MMIO_DRIVER_FEATURES:
        if (!this.legacy) state.writeDriverFeatures(this.#driverFeatureSelect, value);
        else if (this.#driverFeatureSelect === 0) state.writeLegacyFeatures(value);
        return;
      case MMIO_QUEUE_SEL:
        this.#queueSelect = value;
        return;
      case MMIO_QUEUE_SIZE:
        return state.setQueueSize(this.#queueSelect, value);
      case MMIO_QUEUE_NOTIFY:
        return state.notify(value);
      case MMIO_INTERRUPT_ACK:
        this.#interruptStatus &= ~value;
        this.#line.set(this.#interruptStatus !== 0);
        return;
      case MMIO_STATUS:
        if ((value & 0xff) === 0) this.#resetRegisters();
        return state.writeStatus(value & 0xff, this.legacy);
      default:
        if (this.legacy) this.#writeLegacy(offset, value);
        else this.#writeModern(offset, value);
    }
  }

  #writeModern(offset: number, value: number): void {
    const state = this.state;
    const queue = this.#queueSelect;
    const config = state.queueConfig(queue);
    switch (offset) {
      case MMIO_QUEUE_READY:
        // "To stop using the queue the driver MUST write zero (0x0) to this QueueReady" (§4.2.2.2).
        if (value === 1) state.enableQueue(queue);
        else if (config?.enabled === true) state.disableQueue(queue);
        return;
      case MMIO_QUEUE_DESC_LOW:
        return state.setQueueAddresses(queue, { desc: withLow32(config?.desc ?? 0, value) });
      case MMIO_QUEUE_DESC_HIGH:
        return state.setQueueAddresses(queue, { desc: withHigh32(config?.desc ?? 0, value) });
      case MMIO_QUEUE_DRIVER_LOW:
        return state.setQueueAddresses(queue, { avail: withLow32(config?.avail ?? 0, value) });
      case MMIO_QUEUE_DRIVER_HIGH:
        return state.setQueueAddresses(queue, { avail: withHigh32(config?.avail ?? 0, value) });
      case MMIO_QUEUE_DEVICE_LOW:
        return state.setQueueAddresses(queue, { used: withLow32(config?.used ?? 0, value) });
      case MMIO_QUEUE_DEVICE_HIGH:
        return state.setQueueAddresses(queue, { used: withHigh32(config?.used ?? 0, value) });
      case MMIO_QUEUE_RESET:
        if (value === 1) state.resetQueue(queue);
        return;
      default:
        // "The driver ... MUST NOT write to the read-only registers" (§4.2.2.2).
        state.guestError(`a write to register 0x${offset.toString(16)}`, CLAUSE.mmioReadOnly);
    }
  }

  /** §4.2.4: page size, alignment and page number instead of three addresses. */
  #writeLegacy(offset: number, value: number): void {
    const state = this.state;
    const queue = this.#queueSelect;
    switch (offset) {
      case MMIO_GUEST_PAGE_SIZE:
        this.#pageSize = powerOfTwo(value) ? value : 0;
        return;
      case MMIO_QUEUE_ALIGN:
        if (queue < this.#align.length) this.#align[queue] = powerOfTwo(value) ? value : 0;
        return;
      case MMIO_QUEUE_PFN: {
        const target = state.queueConfig(queue);
        if (target === undefined) return;
        const { size } = target;
        state.disableQueue(queue);
        if (value === 0 || size === 0) return;
        if (this.#pageSize === 0)
          return state.guestError('QueuePFN before GuestPageSize', CLAUSE.initializationOrder);
        state.setQueueSize(queue, size);
        state.setQueueAddresses(
          queue,
          legacyLayout(value * this.#pageSize, size, this.#align[queue] || this.#pageSize),
        );
        return state.enableQueue(queue);
      }
      default:
        state.guestError(`a write to register 0x${offset.toString(16)}`, CLAUSE.mmioReadOnly);
    }
  }

  save(): VirtioMmioSnapshot {
    const selected = [this.#queueSelect, this.#deviceFeatureSelect, this.#driverFeatureSelect];
    return {
      state: this.state.save(),
      registers: [this.#interruptStatus, ...selected, this.#pageSize, ...this.#align],
    };
  }

  restore(snapshot: VirtioMmioSnapshot): void {
    const [status, queue, device, driver, page, ...align] = snapshot.registers;
    this.#interruptStatus = status!;
    this.#queueSelect = queue!;
    this.#deviceFeatureSelect = device!;
    this.#driverFeatureSelect = driver!;
    this.#pageSize = page!;
    align.forEach((bytes, index) => (this.#align[index] = bytes));
    this.#line.set(this.#interruptStatus !== 0);
    this.state.restore(snapshot.state);
  }
}

function powerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
