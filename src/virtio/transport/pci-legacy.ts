/**
 * The legacy interface of a transitional virtio PCI device: one I/O BAR with a fixed header and, behind it, the
 * device's configuration, which moves when MSI-X is enabled. VIRTIO 1.4 §4.1.4.10 ("Legacy Interfaces: A Note on
 * PCI Device Layout"). Fields are in the guest's byte order, which here is always little-endian.
 */
import type { AccessSize, IoHandler } from '../../core/bus.ts';
import { featureWord } from '../features.ts';
import { LEGACY_ALIGN, legacyLayout } from '../queue/layout.ts';
import type { PciRegisters, VirtioPci } from './pci.ts';
import type { VirtioState } from './state.ts';

export const LEGACY_DEVICE_FEATURES = 0;
export const LEGACY_DRIVER_FEATURES = 4;
/** Guest page number of the queue. */
export const LEGACY_QUEUE_ADDRESS = 8;
export const LEGACY_QUEUE_SIZE = 12;
export const LEGACY_QUEUE_SELECT = 14;
export const LEGACY_QUEUE_NOTIFY = 16;
export const LEGACY_STATUS = 18;
export const LEGACY_ISR = 19;
// The next two exist while MSI-X is enabled.
export const LEGACY_CONFIG_VECTOR = 20;
export const LEGACY_QUEUE_VECTOR = 22;

/** Offset of the device's configuration. */
export function legacyConfigOffset(msix: boolean): number {
  return msix ? 24 : 20;
}

/** Bytes of the BAR: room for header and configuration, rounded up to a power of two. */
export function legacyBarSize(hasMsix: boolean, configSize: number): number {
  return 2 ** Math.ceil(Math.log2(legacyConfigOffset(hasMsix) + configSize));
}

export class VirtioPciLegacy implements IoHandler {
  readonly #pci: VirtioPci;
  readonly #state: VirtioState;
  readonly #r: PciRegisters;

  constructor(pci: VirtioPci, state: VirtioState, registers: PciRegisters) {
    this.#pci = pci;
    this.#state = state;
    this.#r = registers;
  }

  read(offset: number, size: AccessSize): number {
    const state = this.#state;
    const queue = this.#r.queueSelect;
    const msix = this.#pci.msix?.enabled === true;
    const start = legacyConfigOffset(msix);
    if (offset >= start) return state.readConfig(offset - start, size);
    switch (offset) {
      case LEGACY_DEVICE_FEATURES:
        return featureWord(state.legacyFeatures, 0);
      case LEGACY_DRIVER_FEATURES:
        return state.driverFeatureWord(0);
      case LEGACY_QUEUE_ADDRESS: {
        const config = state.queueConfig(queue);
        return config?.enabled === true ? Math.floor(config.desc / LEGACY_ALIGN) : 0;
      }
      case LEGACY_QUEUE_SIZE:
        return state.queues[queue]?.maxSize ?? 0;
      case LEGACY_QUEUE_SELECT:
        return queue;
      case LEGACY_STATUS:
        return state.status;
      case LEGACY_ISR:
        return this.#pci.readIsr();
      case LEGACY_CONFIG_VECTOR:
        return this.#r.configVector;
      case LEGACY_QUEUE_VECTOR:
        return this.#r.queueVectors[queue] ?? 0xffff;
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const state = this.#state;
    const queue = this.#r.queueSelect;
    const start = legacyConfigOffset(this.#pci.msix?.enabled === true);
    if (offset >= start) return state.writeConfig(offset - start, size, value);
    switch (offset) {
      case LEGACY_DRIVER_FEATURES:
        return state.writeLegacyFeatures(value);
      case LEGACY_QUEUE_ADDRESS:
        return this.#setAddress(queue, value);
      case LEGACY_QUEUE_SELECT:
        this.#r.queueSelect = value & 0xffff;
        return;
      case LEGACY_QUEUE_NOTIFY:
        return state.notify(value & 0xffff);
      case LEGACY_STATUS:
        return this.#pci.writeStatus(value & 0xff, true);
      case LEGACY_CONFIG_VECTOR:
        this.#r.configVector = this.#pci.checkVector(value & 0xffff);
        return;
      case LEGACY_QUEUE_VECTOR:
        if (queue < state.queues.length) this.#r.queueVectors[queue] = this.#pci.checkVector(value & 0xffff);
        return;
      default:
        // Read-only; real devices ignore it.
        return;
    }
  }

  /** "The driver notifies the device by writing 0 to Queue Address" that it does not use the queue any more. */
  #setAddress(queue: number, page: number): void {
    const target = this.#state.queues[queue];
    if (target === undefined) return;
    this.#state.disableQueue(queue);
    if (page === 0 || target.maxSize === 0) return;
    this.#state.setQueueAddresses(queue, legacyLayout(page * LEGACY_ALIGN, target.maxSize));
    this.#state.enableQueue(queue);
  }
}
