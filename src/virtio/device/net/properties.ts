/**
 * Properties of virtio-net (device part) with QEMU 7.2's names, defaults and error texts, and their translation into
 * what the device works with. What is declared with `ignored` is accepted for the sake of command lines.
 */
import { UsageError } from '../../../core/errors.ts';
import type { Property, PropertyValues } from '../../../qapi/property.ts';
import * as d from './defs.ts';

/** Properties that switch one feature each, on by default unless it says otherwise. */
const FEATURE_OF: Readonly<Record<string, bigint>> = {
  csum: d.VIRTIO_NET_F_CSUM,
  guest_csum: d.VIRTIO_NET_F_GUEST_CSUM,
  ctrl_guest_offloads: d.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  guest_tso4: d.VIRTIO_NET_F_GUEST_TSO4,
  guest_tso6: d.VIRTIO_NET_F_GUEST_TSO6,
  guest_ecn: d.VIRTIO_NET_F_GUEST_ECN,
  guest_ufo: d.VIRTIO_NET_F_GUEST_UFO,
  host_tso4: d.VIRTIO_NET_F_HOST_TSO4,
  host_tso6: d.VIRTIO_NET_F_HOST_TSO6,
  host_ecn: d.VIRTIO_NET_F_HOST_ECN,
  host_ufo: d.VIRTIO_NET_F_HOST_UFO,
  mrg_rxbuf: d.VIRTIO_NET_F_MRG_RXBUF,
  status: d.VIRTIO_NET_F_STATUS,
  ctrl_vq: d.VIRTIO_NET_F_CTRL_VQ,
  ctrl_rx: d.VIRTIO_NET_F_CTRL_RX,
  ctrl_vlan: d.VIRTIO_NET_F_CTRL_VLAN,
  ctrl_rx_extra: d.VIRTIO_NET_F_CTRL_RX_EXTRA,
  ctrl_mac_addr: d.VIRTIO_NET_F_CTRL_MAC_ADDR,
  guest_announce: d.VIRTIO_NET_F_GUEST_ANNOUNCE,
};

/** Features that need the control queue. */
const NEEDS_CTRL_VQ =
  d.VIRTIO_NET_F_CTRL_RX |
  d.VIRTIO_NET_F_CTRL_VLAN |
  d.VIRTIO_NET_F_CTRL_RX_EXTRA |
  d.VIRTIO_NET_F_CTRL_MAC_ADDR |
  d.VIRTIO_NET_F_GUEST_ANNOUNCE |
  d.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS |
  d.VIRTIO_NET_F_MQ;

/** What QEMU has and we have not: refused when switched on. */
const NOT_HERE: Readonly<Record<string, string>> = {
  rss: 'receive-side scaling',
  hash: 'hash reports',
  guest_rsc_ext: 'receive segment coalescing',
  failover: 'failover',
};

const feature = (name: string, help: string): Property => ({ name, type: 'bool', default: true, help });

export const netProperties: readonly Property[] = [
  { name: 'netdev', type: 'netdev', help: 'id of the network back end' },
  { name: 'mac', type: 'mac', help: 'Ethernet address, example: 52:54:00:12:34:56' },
  { name: 'bootindex', type: 'int32', help: 'position in the boot order' },
  feature('csum', 'take packets whose checksum is not complete'),
  feature('guest_csum', 'give the guest packets whose checksum is not complete'),
  feature('ctrl_guest_offloads', 'let the guest switch its receive offloads'),
  feature('guest_tso4', 'give the guest large TCP packets over IPv4'),
  feature('guest_tso6', 'give the guest large TCP packets over IPv6'),
  feature('guest_ecn', 'give the guest large TCP packets with ECN'),
  feature('guest_ufo', 'give the guest large UDP packets'),
  feature('host_tso4', 'take large TCP packets over IPv4'),
  feature('host_tso6', 'take large TCP packets over IPv6'),
  feature('host_ecn', 'take large TCP packets with ECN'),
  feature('host_ufo', 'take large UDP packets'),
  feature('mrg_rxbuf', 'spread large packets over several receive buffers'),
  feature('status', 'tell the guest of the link'),
  feature('ctrl_vq', 'offer the control queue'),
  feature('ctrl_rx', 'let the guest choose receive modes'),
  feature('ctrl_vlan', 'let the guest filter VLANs'),
  feature('ctrl_rx_extra', 'let the guest choose more receive modes'),
  feature('ctrl_mac_addr', 'let the guest set its address'),
  feature('guest_announce', 'ask the guest to announce itself'),
  { name: 'mq', type: 'bool', default: false, help: 'several pairs of queues' },
  { name: 'rx_queue_size', type: 'uint16', default: 256, help: 'entries of a receive queue, 256 to 1024' },
  { name: 'tx_queue_size', type: 'uint16', default: 256, help: 'entries of a transmit queue, 256 to 1024' },
  { name: 'host_mtu', type: 'uint16', default: 0, help: 'largest MTU that the guest should use' },
  { name: 'speed', type: 'int32', default: -1, help: 'speed shown to the guest in Mbit/s' },
  { name: 'duplex', type: 'str', help: 'half or full, as shown to the guest' },
  { name: 'tx', type: 'str', ignored: 'packets are sent at once', help: 'timer or bh' },
  { name: 'x-txtimer', type: 'uint32', default: 150000, ignored: 'packets are sent at once', help: 'ns' },
  { name: 'x-txburst', type: 'int32', default: 256, ignored: 'packets are sent at once', help: 'packets' },
  {
    name: 'gso',
    type: 'bool',
    default: true,
    ignored: 'the legacy feature is never offered; host_tso4 and host_tso6 do its work',
    help: 'legacy feature bit 6',
  },
  {
    name: 'x-mtu-bypass-backend',
    type: 'bool',
    default: true,
    ignored: 'back ends here have no MTU of their own',
    help: 'offer host_mtu whatever the back end says',
  },
  { name: 'rss', type: 'bool', default: false, help: 'receive-side scaling (not implemented)' },
  { name: 'hash', type: 'bool', default: false, help: 'hash reports (not implemented)' },
  { name: 'guest_rsc_ext', type: 'bool', default: false, help: 'segment coalescing (not implemented)' },
  {
    name: 'rsc_interval',
    type: 'uint32',
    default: 300000,
    ignored: 'segments are not coalesced',
    help: 'ns',
  },
  { name: 'failover', type: 'bool', default: false, help: 'stand by for another card (not implemented)' },
];

export interface NetSettings {
  readonly mac: Uint8Array;
  /** Wanted features; what the back end cannot is taken off by the device. */
  readonly features: bigint;
  /** Pairs of queues. */
  readonly queuePairs: number;
  readonly rxQueueSize: number;
  readonly txQueueSize: number;
  /** 0 when none is advised. */
  readonly mtu: number;
  /** Mbit/s, -1 when unknown. */
  readonly speed: number;
  readonly duplex: 'half' | 'full' | undefined;
}

/** QEMU's first address; a machine with several cards gives each its own. */
const DEFAULT_MAC = '52:54:00:12:34:56';

/**
 * Checks parsed properties and fills in defaults.
 * @param queuePairs what the netdev has (`queues=`); they are used with `mq=on`
 * @throws UsageError, with QEMU's text where QEMU refuses the value too
 */
export function netSettings(values: PropertyValues, queuePairs = 1): NetSettings {
  for (const [name, what] of Object.entries(NOT_HERE)) {
    if (values[name] === true) throw new UsageError(`${name}=on: ${what} is not implemented`);
  }
  let features = d.VIRTIO_NET_F_MAC;
  for (const [name, bit] of Object.entries(FEATURE_OF)) {
    if (values[name] ?? true) features |= bit;
  }
  const mq = Boolean(values['mq'] ?? false);
  if (mq) features |= d.VIRTIO_NET_F_MQ;
  const mtu = Number(values['host_mtu'] ?? 0);
  if (mtu !== 0) {
    // "The device MUST set mtu to between 68 and 65535 inclusive" (§5.1.4.2)
    if (mtu < 68 || mtu > 65535) {
      throw new UsageError(`host_mtu=${mtu}: an MTU is between 68 and 65535 (VIRTIO 1.4, 5.1.4.2)`);
    }
    features |= d.VIRTIO_NET_F_MTU;
  }
  const speed = Number(values['speed'] ?? -1);
  if (speed < -1) throw new UsageError("'speed' must be between 0 and INT_MAX");
  const duplex = values['duplex'];
  if (duplex !== undefined && duplex !== 'half' && duplex !== 'full') {
    throw new UsageError("'duplex' must be 'half' or 'full'");
  }
  if (speed >= 0 || duplex !== undefined) features |= d.VIRTIO_NET_F_SPEED_DUPLEX;
  if ((features & d.VIRTIO_NET_F_CTRL_VQ) === 0n) features &= ~NEEDS_CTRL_VQ;
  return {
    mac: parseMac(String(values['mac'] ?? DEFAULT_MAC)),
    features,
    queuePairs: mq ? queuePairs : 1,
    rxQueueSize: queueSize('rx_queue_size', values['rx_queue_size'], '.'),
    txQueueSize: queueSize('tx_queue_size', values['tx_queue_size'], ''),
    mtu,
    speed,
    duplex,
  };
}

/** The two texts differ in QEMU by a full stop. */
function queueSize(name: string, value: PropertyValues[string], end: string): number {
  const size = Number(value ?? 256);
  if (size < 256 || size > 1024 || (size & (size - 1)) !== 0) {
    throw new UsageError(`Invalid ${name} (= ${size}), must be a power of 2 between 256 and 1024${end}`);
  }
  return size;
}

/** `52:54:00:12:34:56`, or with hyphens. */
export function parseMac(text: string): Uint8Array {
  const parts = text.split(/[:-]/);
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-fA-F]{2}$/.test(part))) {
    throw new UsageError(`Property 'virtio-net-device.mac' doesn't take value '${text}'`);
  }
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
