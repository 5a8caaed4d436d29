/** Feature bits that belong to no device type: ring, transport and legacy ones (VIRTIO 1.4 §6, §6.3). */

export const VIRTIO_F_NOTIFY_ON_EMPTY = 24n;
export const VIRTIO_F_ANY_LAYOUT = 27n;
export const VIRTIO_F_INDIRECT_DESC = 28n;
export const VIRTIO_F_EVENT_IDX = 29n;
/** Offered over the legacy interface only; a driver that accepts it does not negotiate at all (§6.3). */
export const VIRTIO_F_BAD_FEATURE = 30n;
export const VIRTIO_F_VERSION_1 = 32n;
export const VIRTIO_F_ACCESS_PLATFORM = 33n;
export const VIRTIO_F_RING_PACKED = 34n;
export const VIRTIO_F_IN_ORDER = 35n;
export const VIRTIO_F_ORDER_PLATFORM = 36n;
export const VIRTIO_F_SR_IOV = 37n;
export const VIRTIO_F_NOTIFICATION_DATA = 38n;
export const VIRTIO_F_NOTIF_CONFIG_DATA = 39n;
export const VIRTIO_F_RING_RESET = 40n;
export const VIRTIO_F_ADMIN_VQ = 41n;

/** Bits of the legacy interface that the modern one must not offer. */
export const LEGACY_ONLY_FEATURES =
  (1n << VIRTIO_F_NOTIFY_ON_EMPTY) | (1n << VIRTIO_F_ANY_LAYOUT) | (1n << VIRTIO_F_BAD_FEATURE);

export function hasFeature(features: bigint, bit: bigint): boolean {
  return ((features >> bit) & 1n) !== 0n;
}

/** 32-bit word `index` of a feature set, as transports show it: 0 is bits 0 to 31. */
export function featureWord(features: bigint, index: number): number {
  return Number((features >> BigInt(index * 32)) & 0xffffffffn);
}

/** `features` with word `index` replaced. */
export function withFeatureWord(features: bigint, index: number, value: number): bigint {
  const shift = BigInt(index * 32);
  return (features & ~(0xffffffffn << shift)) | (BigInt(value >>> 0) << shift);
}
