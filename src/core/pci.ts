/**
 * PCI as both sides need it: a device builds a `PciFunction` (configuration space, BARs, capabilities, MSI-X); a bus
 * `connect`s it, forwards configuration accesses, and maps its BARs into address spaces when `mappingChanged` says
 * so. The buses and host bridges themselves are in src/pc/pci. PCI Local Bus Specification 3.0.
 */
export { MSIX_NO_VECTOR, Msix } from './pci/msix.ts';
export type { MsixState } from './pci/msix.ts';
export { PciFunction } from './pci/function.ts';
export type { BarMapping, BarSpec, PciFunctionState, PciHost, PciIdentity } from './pci/function.ts';
export * from './pci/regs.ts';
