/**
 * Commands of the network device's control queue (VIRTIO 1.4 §5.1.6.5). Each is checked for its feature, its length
 * and its values, takes effect, and only then is acknowledged.
 */
import * as d from './defs.ts';
import { macKey, type RxFilter, type RxMode } from './filter.ts';

/** What commands change. */
export interface ControlTarget {
  readonly negotiated: bigint;
  readonly filter: RxFilter;
  readonly maxPairs: number;
  setMac(mac: Uint8Array): void;
  setPairs(pairs: number): void;
  /** @param bits a subset of the GUEST_* features that were negotiated */
  setGuestOffloads(bits: bigint): void;
  /** False when no announcement was asked for. */
  announced(): boolean;
}

const RX_MODES: Readonly<Record<number, RxMode>> = {
  [d.VIRTIO_NET_CTRL_RX_PROMISC]: 'promisc',
  [d.VIRTIO_NET_CTRL_RX_ALLMULTI]: 'allmulti',
  [d.VIRTIO_NET_CTRL_RX_ALLUNI]: 'alluni',
  [d.VIRTIO_NET_CTRL_RX_NOMULTI]: 'nomulti',
  [d.VIRTIO_NET_CTRL_RX_NOUNI]: 'nouni',
  [d.VIRTIO_NET_CTRL_RX_NOBCAST]: 'nobcast',
};

/**
 * @param data the command-specific data
 * @returns whether it was done: VIRTIO_NET_OK or VIRTIO_NET_ERR
 */
export function runCommand(target: ControlTarget, kind: number, command: number, data: Uint8Array): number {
  return dispatch(target, kind, command, data) ? d.VIRTIO_NET_OK : d.VIRTIO_NET_ERR;
}

function dispatch(target: ControlTarget, kind: number, command: number, data: Uint8Array): boolean {
  const has = (feature: bigint) => (target.negotiated & feature) !== 0n;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (kind) {
    case d.VIRTIO_NET_CTRL_RX: {
      const mode = RX_MODES[command];
      const extra = command >= d.VIRTIO_NET_CTRL_RX_ALLUNI;
      if (!has(extra ? d.VIRTIO_NET_F_CTRL_RX_EXTRA : d.VIRTIO_NET_F_CTRL_RX)) return false;
      if (mode === undefined || data.length !== 1) return false;
      target.filter.modes[mode] = data[0] !== 0;
      return true;
    }
    case d.VIRTIO_NET_CTRL_MAC:
      if (command === d.VIRTIO_NET_CTRL_MAC_ADDR_SET) {
        if (!has(d.VIRTIO_NET_F_CTRL_MAC_ADDR) || data.length !== 6) return false;
        target.setMac(data);
        return true;
      }
      return (
        command === d.VIRTIO_NET_CTRL_MAC_TABLE_SET &&
        has(d.VIRTIO_NET_F_CTRL_RX) &&
        setTables(target.filter, data, view)
      );
    case d.VIRTIO_NET_CTRL_VLAN: {
      if (!has(d.VIRTIO_NET_F_CTRL_VLAN) || data.length !== 2) return false;
      const vlan = view.getUint16(0, true);
      // A VLAN id has 12 bits (IEEE 802.1Q §9.6).
      if (vlan > 4095 || command > d.VIRTIO_NET_CTRL_VLAN_DEL) return false;
      target.filter.setVlan(vlan, command === d.VIRTIO_NET_CTRL_VLAN_ADD);
      return true;
    }
    case d.VIRTIO_NET_CTRL_ANNOUNCE:
      return (
        has(d.VIRTIO_NET_F_GUEST_ANNOUNCE) && command === d.VIRTIO_NET_CTRL_ANNOUNCE_ACK && target.announced()
      );
    case d.VIRTIO_NET_CTRL_MQ: {
      if (!has(d.VIRTIO_NET_F_MQ) || command !== d.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET) return false;
      if (data.length !== 2) return false;
      // "The driver MUST NOT request a virtqueue_pairs of 0 or greater than max_virtqueue_pairs" (§5.1.6.5.6.1)
      const pairs = view.getUint16(0, true);
      if (pairs < 1 || pairs > target.maxPairs) return false;
      target.setPairs(pairs);
      return true;
    }
    case d.VIRTIO_NET_CTRL_GUEST_OFFLOADS: {
      if (!has(d.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || data.length !== 8) return false;
      if (command !== d.VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET) return false;
      const bits = view.getBigUint64(0, true);
      if ((bits & ~(target.negotiated & d.GUEST_OFFLOADS)) !== 0n) return false;
      target.setGuestOffloads(bits);
      return true;
    }
    default:
      return false;
  }
}

/** Two tables, each a le32 count and so many addresses; nothing is changed unless both are whole. */
function setTables(filter: RxFilter, data: Uint8Array, view: DataView): boolean {
  const tables: number[][] = [];
  let at = 0;
  for (let table = 0; table < 2; table++) {
    if (at + 4 > data.length) return false;
    const entries = view.getUint32(at, true);
    at += 4;
    if (entries > (data.length - at) / 6) return false;
    tables.push(Array.from({ length: entries }, (_, i) => macKey(data, at + i * 6)));
    at += entries * 6;
  }
  if (at !== data.length) return false;
  filter.setTables(tables[0]!, tables[1]!);
  return true;
}
