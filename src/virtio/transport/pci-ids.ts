/** PCI ids and class codes of virtio devices, as QEMU 7.2 gives them (VIRTIO 1.4 §4.1.2; PCI Code and ID list). */

export const PCI_VENDOR_ID_REDHAT_QUMRANET = 0x1af4;
/** Subsystem id of functions that have none of their own. */
export const PCI_SUBDEVICE_ID_QEMU = 0x1100;
/** Modern device ids are this plus the virtio device id. */
export const PCI_DEVICE_ID_VIRTIO_10_BASE = 0x1040;

interface PciIds {
  /** Transitional device id, where there was a legacy device. */
  readonly transitional?: number;
  /** Base class and sub-class. */
  readonly classCode: number;
}

/** By virtio device id (§5). */
const BY_DEVICE: Readonly<Record<number, PciIds>> = {
  1: { transitional: 0x1000, classCode: 0x0200 },
  2: { transitional: 0x1001, classCode: 0x0100 },
  3: { transitional: 0x1003, classCode: 0x0780 },
  4: { transitional: 0x1005, classCode: 0x00ff },
  5: { transitional: 0x1002, classCode: 0x00ff },
  8: { transitional: 0x1004, classCode: 0x0100 },
  9: { transitional: 0x1009, classCode: 0x0002 },
  16: { classCode: 0x0380 },
  18: { classCode: 0x0980 },
  19: { classCode: 0x0780 },
};

const OTHER: PciIds = { classCode: 0x00ff };

export function pciIds(deviceId: number): PciIds {
  return BY_DEVICE[deviceId] ?? OTHER;
}
