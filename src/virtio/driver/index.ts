/**
 * The driver side of virtio as a library: find a device, negotiate, set up queues, exchange buffers. It drives what
 * `PciAccess` or `MmioAccess` reaches: our own devices in tests, or a real machine's.
 */
export type { ConfigOps, QueueRequest } from './config-ops.ts';
export { DriverMemory, type Sg } from './memory.ts';
export {
  DriverDevice,
  VIRTIO_DEV_ANY_ID,
  VirtioBus,
  type VirtioDeviceId,
  type VirtioDriver,
} from './model.ts';
export { openVirtioPci, type PciAccess, pciCapabilities, type VirtioPciDriverOptions } from './pci.ts';
export { type MmioAccess, openVirtioMmio } from './mmio.ts';
export { type UsedBuffer, Vring, type VringOptions } from './vring.ts';
