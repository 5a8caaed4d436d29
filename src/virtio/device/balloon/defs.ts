/** Numbers and offsets of the traditional memory balloon, as VIRTIO 1.4 §5.5 spells them. */

export const VIRTIO_ID_BALLOON = 5;

/** Feature bits (§5.5.3). */
export const VIRTIO_BALLOON_F_MUST_TELL_HOST = 1n << 0n;
export const VIRTIO_BALLOON_F_STATS_VQ = 1n << 1n;
export const VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 1n << 2n;
export const VIRTIO_BALLOON_F_FREE_PAGE_HINT = 1n << 3n;
export const VIRTIO_BALLOON_F_PAGE_POISON = 1n << 4n;
export const VIRTIO_BALLOON_F_PAGE_REPORTING = 1n << 5n;
/** §6: without it the driver is a legacy one. */
export const VIRTIO_F_VERSION_1 = 1n << 32n;

/** struct virtio_balloon_config (§5.5.4); little-endian over the legacy interface too. */
export const CONFIG = { NUM_PAGES: 0, ACTUAL: 4, FREE_PAGE_HINT_CMD_ID: 8, POISON_VAL: 12, END: 16 } as const;

/** The balloon's unit, whatever the guest's page size (§5.5.6). */
export const VIRTIO_BALLOON_PFN_SHIFT = 12;
export const PAGE_SIZE = 1 << VIRTIO_BALLOON_PFN_SHIFT;

/** struct virtio_balloon_stat: a le16 tag and a le64 value, packed. */
export const STAT = { TAG: 0, VAL: 2, SIZE: 10 } as const;

/** Names by tag, as QEMU's `guest-stats` has them. */
export const STAT_NAMES = [
  'stat-swap-in',
  'stat-swap-out',
  'stat-major-faults',
  'stat-minor-faults',
  'stat-free-memory',
  'stat-total-memory',
  'stat-available-memory',
  'stat-disk-caches',
  'stat-htlb-pgalloc',
  'stat-htlb-pgfail',
] as const;
export type StatName = (typeof STAT_NAMES)[number];
