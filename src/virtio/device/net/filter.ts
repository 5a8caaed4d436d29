/**
 * Which received frames the guest wants: modes, addresses and VLANs that it sets through the control queue (VIRTIO
 * 1.4 §5.1.6.5.1 to .3). Without a word from the driver everything passes, as in QEMU.
 */
import { ETH_HLEN, ETH_P_8021Q, etherType } from '../../../net/headers.ts';

/** Addresses in the table, as in QEMU; a driver that gives more gets all unicast or all multicast frames. */
export const MAC_TABLE_ENTRIES = 64;

export type RxMode = 'promisc' | 'allmulti' | 'alluni' | 'nomulti' | 'nouni' | 'nobcast';

/** A MAC address as a number, to compare by. */
export function macKey(bytes: Uint8Array, at = 0): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low =
    ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
  return high * 2 ** 32 + low;
}

const BROADCAST = 0xffffffffffff;

export class RxFilter {
  readonly modes: Record<RxMode, boolean> = {
    promisc: true,
    allmulti: false,
    alluni: false,
    nomulti: false,
    nouni: false,
    nobcast: false,
  };
  readonly unicast = new Set<number>();
  readonly multicast = new Set<number>();
  unicastOverflow = false;
  multicastOverflow = false;
  /** One bit for each of 4096 VLANs; undefined while the driver does not filter them. */
  vlans: Uint32Array | undefined;

  /** @param filterVlans VIRTIO_NET_F_CTRL_VLAN: "the device starts with an empty VLAN filter table" */
  reset(filterVlans: boolean): void {
    for (const mode of Object.keys(this.modes) as RxMode[]) this.modes[mode] = mode === 'promisc';
    this.setTables([], []);
    this.vlans = filterVlans ? new Uint32Array(128) : undefined;
  }

  setTables(unicast: readonly number[], multicast: readonly number[]): void {
    this.unicast.clear();
    this.multicast.clear();
    this.unicastOverflow = unicast.length > MAC_TABLE_ENTRIES;
    if (!this.unicastOverflow) for (const key of unicast) this.unicast.add(key);
    this.multicastOverflow = this.unicast.size + multicast.length > MAC_TABLE_ENTRIES;
    if (!this.multicastOverflow) for (const key of multicast) this.multicast.add(key);
  }

  /** @param vlan 0 to 4095 */
  setVlan(vlan: number, on: boolean): void {
    if (this.vlans === undefined) return;
    if (on) this.vlans[vlan >> 5]! |= 1 << (vlan & 31);
    else this.vlans[vlan >> 5]! &= ~(1 << (vlan & 31));
  }

  /** @param mac key of the card's own address */
  accepts(frame: Uint8Array, mac: number): boolean {
    const { modes } = this;
    if (modes.promisc) return true;
    if (frame.length < ETH_HLEN || !this.#acceptsVlan(frame)) return false;
    const target = macKey(frame);
    if (target === BROADCAST) return !modes.nobcast;
    if ((frame[0]! & 1) !== 0) {
      if (modes.nomulti) return false;
      return modes.allmulti || this.multicastOverflow || this.multicast.has(target);
    }
    if (modes.nouni) return false;
    return modes.alluni || this.unicastOverflow || target === mac || this.unicast.has(target);
  }

  #acceptsVlan(frame: Uint8Array): boolean {
    if (this.vlans === undefined || etherType(frame, 12) !== ETH_P_8021Q) return true;
    const vlan = etherType(frame, 14) & 0xfff;
    return (this.vlans[vlan >> 5]! & (1 << (vlan & 31))) !== 0;
  }
}
