/**
 * Ids of the normative statements of VIRTIO 1.4 that the rings and transports name in messages when a guest breaks
 * them. The full list is docs/virtio-clauses.tsv; the number counts statements within the section of that name.
 */
const BASIC = 'Basic Facilities of a Virtio Device';
const PCI = 'Virtio Transport Options / Virtio Over PCI Bus';
const COMMON = `${PCI} / PCI Device Layout / Common configuration structure layout`;

export const CLAUSE = {
  statusNotCleared: `drv:${BASIC} / Device Status Field#2`,
  statusFailedThenReset: `drv:${BASIC} / Device Status Field#3`,
  noBuffersBeforeDriverOk: `drv:General Initialization And Device Operation / Device Initialization#6`,
  initializationOrder: `drv:General Initialization And Device Operation / Device Initialization#1`,
  noFeaturesAfterFeaturesOk: `drv:General Initialization And Device Operation / Device Initialization#3`,
  featureNotOffered: `drv:${BASIC} / Feature Bits#1`,
  needsReset: `dev:${BASIC} / Device Status Field#2`,
  ringAligned: `drv:${BASIC} / Virtqueues#1`,
  writableAfterReadable: `drv:${BASIC} / Message Framing#1`,
  descriptorLoop: `drv:${BASIC} / Virtqueues / The Virtqueue Descriptor Table#1`,
  indirectNotNegotiated: `drv:${BASIC} / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors#1`,
  indirectInIndirect: `drv:${BASIC} / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors#2`,
  chainLongerThanQueue: `drv:${BASIC} / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors#3`,
  indirectWithNext: `drv:${BASIC} / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors#4`,
  /** Without VIRTIO_F_ACCESS_PLATFORM "a driver MUST pass only physical addresses to the device" (§6.1). */
  bufferNotRam: 'drv:Reserved Feature Bits#4',
  exposedAltered: 'drv:General Initialization And Device Operation / Device Cleanup#1',
  versionOne: 'drv:Reserved Feature Bits#1',
  availIdxDecremented: `drv:${BASIC} / Virtqueues / The Virtqueue Available Ring#1`,
  readOnlyCommon: `drv:${COMMON}#1`,
  queueConfiguredFirst: `drv:${COMMON}#4`,
  resetWait: `drv:${COMMON}#5`,
  queueSizePowerOfTwo: `drv:${COMMON}#3`,
  queueEnableZero: `drv:${COMMON}#6`,
  mmioReadOnly: 'drv:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#1',
  mmioWidth: 'drv:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#2',
} as const;
