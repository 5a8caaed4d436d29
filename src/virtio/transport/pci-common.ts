/**
 * The common configuration structure of virtio over PCI: about the whole device, and about the queue that the driver
 * selected. Registers that do not exist read 0. VIRTIO 1.4 §4.1.4.3.
 */
import type { AccessSize, IoHandler } from '../../core/bus.ts';
import { CLAUSE } from '../clauses.ts';
import * as f from '../features.ts';
import { high32, low32, withHigh32, withLow32 } from './address.ts';
import type { PciRegisters, VirtioPci } from './pci.ts';
import type { VirtioState } from './state.ts';

// struct virtio_pci_common_cfg
export const DEVICE_FEATURE_SELECT = 0x00;
export const DEVICE_FEATURE = 0x04;
export const DRIVER_FEATURE_SELECT = 0x08;
export const DRIVER_FEATURE = 0x0c;
export const CONFIG_MSIX_VECTOR = 0x10;
export const NUM_QUEUES = 0x12;
export const DEVICE_STATUS = 0x14;
export const CONFIG_GENERATION = 0x15;
export const QUEUE_SELECT = 0x16;
export const QUEUE_SIZE = 0x18;
export const QUEUE_MSIX_VECTOR = 0x1a;
export const QUEUE_ENABLE = 0x1c;
export const QUEUE_NOTIFY_OFF = 0x1e;
export const QUEUE_DESC_LO = 0x20;
export const QUEUE_DESC_HI = 0x24;
export const QUEUE_DRIVER_LO = 0x28;
export const QUEUE_DRIVER_HI = 0x2c;
export const QUEUE_DEVICE_LO = 0x30;
export const QUEUE_DEVICE_HI = 0x34;
export const QUEUE_NOTIF_CONFIG_DATA = 0x38;
export const QUEUE_RESET = 0x3a;

export class VirtioPciCommon implements IoHandler {
  readonly #pci: VirtioPci;
  readonly #state: VirtioState;
  readonly #r: PciRegisters;

  constructor(pci: VirtioPci, state: VirtioState, registers: PciRegisters) {
    this.#pci = pci;
    this.#state = state;
    this.#r = registers;
  }

  read(offset: number, _size: AccessSize): number {
    const r = this.#r;
    const state = this.#state;
    const config = state.queueConfig(r.queueSelect);
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        return r.deviceFeatureSelect;
      case DEVICE_FEATURE:
        return state.deviceFeatureWord(r.deviceFeatureSelect);
      case DRIVER_FEATURE_SELECT:
        return r.driverFeatureSelect;
      case DRIVER_FEATURE:
        return state.driverFeatureWord(r.driverFeatureSelect);
      case CONFIG_MSIX_VECTOR:
        return r.configVector;
      case NUM_QUEUES:
        return state.queues.length;
      case DEVICE_STATUS:
        return state.status;
      case CONFIG_GENERATION:
        return state.generation;
      case QUEUE_SELECT:
        return r.queueSelect;
      case QUEUE_SIZE:
        // "The device MUST present a 0 in queue_size if the virtqueue ... is unavailable" (§4.1.4.3.1).
        return config?.size ?? 0;
      case QUEUE_MSIX_VECTOR:
        return r.queueVectors[r.queueSelect] ?? 0xffff;
      case QUEUE_ENABLE:
        return config?.enabled === true ? 1 : 0;
      case QUEUE_NOTIFY_OFF:
        // Queues in order. A queue that does not exist has no place in the notification region.
        return config === undefined ? 0 : r.queueSelect;
      case QUEUE_DESC_LO:
        return low32(config?.desc ?? 0);
      case QUEUE_DESC_HI:
        return high32(config?.desc ?? 0);
      case QUEUE_DRIVER_LO:
        return low32(config?.avail ?? 0);
      case QUEUE_DRIVER_HI:
        return high32(config?.avail ?? 0);
      case QUEUE_DEVICE_LO:
        return low32(config?.used ?? 0);
      case QUEUE_DEVICE_HI:
        return high32(config?.used ?? 0);
      case QUEUE_RESET:
        return config?.resetting === true ? 1 : 0;
      // QUEUE_NOTIF_CONFIG_DATA and the admin queue's fields exist only with features that are not offered.
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, written: number): void {
    const r = this.#r;
    const state = this.#state;
    const queue = r.queueSelect;
    const config = state.queueConfig(queue);
    const value = size === 4 ? written : written & ((1 << (size * 8)) - 1);
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        r.deviceFeatureSelect = value;
        return;
      case DRIVER_FEATURE_SELECT:
        r.driverFeatureSelect = value;
        return;
      case DRIVER_FEATURE:
        return state.writeDriverFeatures(r.driverFeatureSelect, value);
      case CONFIG_MSIX_VECTOR:
        // "Devices MUST report mapping failures by returning the NO_VECTOR value" (§4.1.5.1.2.1).
        r.configVector = this.#pci.checkVector(value);
        return;
      case DEVICE_STATUS:
        return this.#pci.writeStatus(value & 0xff, false);
      case QUEUE_SELECT:
        r.queueSelect = value & 0xffff;
        return;
      case QUEUE_SIZE:
        return state.setQueueSize(queue, value);
      case QUEUE_MSIX_VECTOR:
        if (config !== undefined) r.queueVectors[queue] = this.#pci.checkVector(value);
        return;
      case QUEUE_ENABLE:
        if (value === 1) state.enableQueue(queue);
        // "The driver MUST NOT write a 0 to queue_enable" (§4.1.4.3.2): a queue stops by a reset only.
        else state.guestError(`queue ${queue}: ${value} was written to queue_enable`, CLAUSE.queueEnableZero);
        return;
      case QUEUE_DESC_LO:
        return state.setQueueAddresses(queue, { desc: withLow32(config?.desc ?? 0, value) });
      case QUEUE_DESC_HI:
        return state.setQueueAddresses(queue, { desc: withHigh32(config?.desc ?? 0, value) });
      case QUEUE_DRIVER_LO:
        return state.setQueueAddresses(queue, { avail: withLow32(config?.avail ?? 0, value) });
      case QUEUE_DRIVER_HI:
        return state.setQueueAddresses(queue, { avail: withHigh32(config?.avail ?? 0, value) });
      case QUEUE_DEVICE_LO:
        return state.setQueueAddresses(queue, { used: withLow32(config?.used ?? 0, value) });
      case QUEUE_DEVICE_HI:
        return state.setQueueAddresses(queue, { used: withHigh32(config?.used ?? 0, value) });
      case QUEUE_RESET:
        if (value === 1 && f.hasFeature(state.negotiated, f.VIRTIO_F_RING_RESET)) {
          r.queueVectors[queue] = 0xffff;
          state.resetQueue(queue);
        }
        return;
      // The rest is read-only: "The driver MUST NOT write to device_feature, num_queues, ..." (§4.1.4.3.2).
      default:
        state.guestError(
          `a write to read-only offset ${offset} of the common configuration`,
          CLAUSE.readOnlyCommon,
        );
    }
  }
}
