/** Names of virtio's status and feature bits with what they mean, for `x-query-virtio-status` and `info virtio-status`. */

/** VIRTIO 1.4 §2.1. */
export const STATUS_BITS: readonly (readonly [number, string])[] = [
  [1, 'VIRTIO_CONFIG_S_ACKNOWLEDGE: the guest has seen the device'],
  [2, 'VIRTIO_CONFIG_S_DRIVER: the guest has a driver for it'],
  [8, 'VIRTIO_CONFIG_S_FEATURES_OK: features are agreed upon'],
  [4, 'VIRTIO_CONFIG_S_DRIVER_OK: the driver is ready'],
  [0x40, 'VIRTIO_CONFIG_S_NEEDS_RESET: the device cannot go on'],
  [0x80, 'VIRTIO_CONFIG_S_FAILED: the driver has given up'],
];

type Names = Readonly<Record<number, string>>;

/** Ring and transport, VIRTIO 1.4 §6. */
const TRANSPORT: Names = {
  24: 'VIRTIO_F_NOTIFY_ON_EMPTY: interrupt when the queue runs empty (legacy)',
  27: 'VIRTIO_F_ANY_LAYOUT: any split into descriptors (legacy)',
  28: 'VIRTIO_RING_F_INDIRECT_DESC: indirect descriptors',
  29: 'VIRTIO_RING_F_EVENT_IDX: notifications by index',
  32: 'VIRTIO_F_VERSION_1: virtio 1.0 or later',
  33: 'VIRTIO_F_IOMMU_PLATFORM: memory access as the platform has it',
  34: 'VIRTIO_F_RING_PACKED: packed ring',
  35: 'VIRTIO_F_IN_ORDER: buffers are used in order',
  36: 'VIRTIO_F_ORDER_PLATFORM: memory ordering as the platform has it',
  37: 'VIRTIO_F_SR_IOV: single root I/O virtualization',
  38: 'VIRTIO_F_NOTIFICATION_DATA: notifications carry data',
  40: 'VIRTIO_F_RING_RESET: single queues can be reset',
};

/** By device id (§5), then bit. */
const DEVICE: Readonly<Record<number, Names>> = {
  // Network card, §5.1.3.
  1: {
    0: 'VIRTIO_NET_F_CSUM: takes partial checksums',
    1: 'VIRTIO_NET_F_GUEST_CSUM: the driver takes partial checksums',
    2: 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: offloads can be switched',
    3: 'VIRTIO_NET_F_MTU: says the largest frame',
    5: 'VIRTIO_NET_F_MAC: has an address',
    7: 'VIRTIO_NET_F_GUEST_TSO4: the driver takes large TCP segments over IPv4',
    8: 'VIRTIO_NET_F_GUEST_TSO6: the driver takes large TCP segments over IPv6',
    9: 'VIRTIO_NET_F_GUEST_ECN: the same with ECN',
    10: 'VIRTIO_NET_F_GUEST_UFO: the driver takes large UDP datagrams',
    11: 'VIRTIO_NET_F_HOST_TSO4: takes large TCP segments over IPv4',
    12: 'VIRTIO_NET_F_HOST_TSO6: takes large TCP segments over IPv6',
    13: 'VIRTIO_NET_F_HOST_ECN: the same with ECN',
    14: 'VIRTIO_NET_F_HOST_UFO: takes large UDP datagrams',
    15: 'VIRTIO_NET_F_MRG_RXBUF: a frame may fill several buffers',
    16: 'VIRTIO_NET_F_STATUS: says whether the link is up',
    17: 'VIRTIO_NET_F_CTRL_VQ: control queue',
    18: 'VIRTIO_NET_F_CTRL_RX: receive modes',
    19: 'VIRTIO_NET_F_CTRL_VLAN: VLAN filter',
    20: 'VIRTIO_NET_F_CTRL_RX_EXTRA: more receive modes',
    21: 'VIRTIO_NET_F_GUEST_ANNOUNCE: may ask for announcements',
    22: 'VIRTIO_NET_F_MQ: several pairs of queues',
    23: 'VIRTIO_NET_F_CTRL_MAC_ADDR: the address can be changed',
    57: 'VIRTIO_NET_F_HASH_REPORT: tells hashes',
    60: 'VIRTIO_NET_F_RSS: steers by hash',
    61: 'VIRTIO_NET_F_RSC_EXT: tells of coalesced segments',
    62: 'VIRTIO_NET_F_STANDBY: stands in for another card',
    63: 'VIRTIO_NET_F_SPEED_DUPLEX: says its speed',
  },
  // Block device, §5.2.3.
  2: {
    0: 'VIRTIO_BLK_F_BARRIER: barriers (legacy)',
    1: 'VIRTIO_BLK_F_SIZE_MAX: largest segment',
    2: 'VIRTIO_BLK_F_SEG_MAX: most segments',
    4: 'VIRTIO_BLK_F_GEOMETRY: cylinders, heads and sectors',
    5: 'VIRTIO_BLK_F_RO: read-only',
    6: 'VIRTIO_BLK_F_BLK_SIZE: block size',
    7: 'VIRTIO_BLK_F_SCSI: SCSI commands (legacy)',
    9: 'VIRTIO_BLK_F_FLUSH: flush command',
    10: 'VIRTIO_BLK_F_TOPOLOGY: best sizes and alignment',
    11: 'VIRTIO_BLK_F_CONFIG_WCE: the write cache can be switched',
    12: 'VIRTIO_BLK_F_MQ: several queues',
    13: 'VIRTIO_BLK_F_DISCARD: discard command',
    14: 'VIRTIO_BLK_F_WRITE_ZEROES: command that writes zeroes',
    16: 'VIRTIO_BLK_F_SECURE_ERASE: secure erase command',
  },
  // Console, §5.3.3.
  3: {
    0: 'VIRTIO_CONSOLE_F_SIZE: says the size of the terminal',
    1: 'VIRTIO_CONSOLE_F_MULTIPORT: several ports',
    2: 'VIRTIO_CONSOLE_F_EMERG_WRITE: output before the queues work',
  },
  // Memory balloon, §5.5.3.
  5: {
    0: 'VIRTIO_BALLOON_F_MUST_TELL_HOST: pages are taken back only when told',
    1: 'VIRTIO_BALLOON_F_STATS_VQ: statistics',
    2: 'VIRTIO_BALLOON_F_DEFLATE_ON_OOM: deflates when memory is short',
    3: 'VIRTIO_BALLOON_F_FREE_PAGE_HINT: hints of free pages',
    4: 'VIRTIO_BALLOON_F_PAGE_POISON: says what free pages hold',
    5: 'VIRTIO_BALLOON_F_REPORTING: reports free pages',
  },
};

/** The name of feature `bit` of a device type, with its meaning; undefined where it has none. */
export function featureNames(deviceId: number, bit: number): string | undefined {
  return bit >= 24 && bit < 50 ? TRANSPORT[bit] : DEVICE[deviceId]?.[bit];
}
