/**
 * The way to the guest. Small packets that cannot wait for their maker (ARP, DHCP, UDP, ICMP) are queued within a
 * bound while the card has no room; TCP keeps its data itself and is called when there is room again.
 */
import type { NetFrontend, Offload } from '../netdev.ts';
import { put16, put32 } from '../wire/bytes.ts';
import { ETHERNET_HEADER, ETHERTYPE } from '../wire/ethernet.ts';
import { IPV4_HEADER, writeIpv4Header } from '../wire/ipv4.ts';

/** Frames that wait for room. More are dropped, as a switch would: UDP and ARP are made for that. */
const MAX_QUEUED = 256;
/** Ethernet's payload. */
export const MTU = 1500;

export interface IpOut {
  readonly protocol: number;
  readonly source: number;
  readonly destination: number;
}

/** Something that has more to send than the card took. */
export interface Waiter {
  /** False when the card is full again. */
  resume(): boolean;
}

export class GuestOutput {
  frontend: NetFrontend | undefined;
  /** The address that frames come from. */
  readonly mac: Uint8Array;
  readonly #macOf: (address: number) => Uint8Array | undefined;
  readonly #queue: Uint8Array[] = [];
  readonly #waiters = new Set<Waiter>();
  #id = 0;
  /** One frame is under construction at a time, and the card copies it before it returns. */
  readonly scratch = new Uint8Array(ETHERNET_HEADER + 65535);

  /** @param macOf Ethernet address of a guest's IP address, when it is known (or asked for meanwhile) */
  constructor(mac: Uint8Array, macOf: (address: number) => Uint8Array | undefined) {
    this.mac = mac;
    this.#macOf = macOf;
  }

  /** A frame of its own; queued when the card has no room. */
  frame(frame: Uint8Array): void {
    if (this.#queue.length === 0 && this.#receive(frame)) return;
    if (this.#queue.length < MAX_QUEUED) this.#queue.push(frame);
  }

  /** An IP payload, in fragments where it is larger than a frame. Dropped when nobody is known at its address. */
  packet(ip: IpOut, payload: Uint8Array, mac = this.#macOf(ip.destination)): void {
    if (mac === undefined) return;
    this.#id = (this.#id + 1) & 0xffff;
    const most = (MTU - IPV4_HEADER) & ~7;
    for (let at = 0; at === 0 || at < payload.length; at += most) {
      const part = payload.subarray(at, at + most);
      const frame = new Uint8Array(ETHERNET_HEADER + IPV4_HEADER + part.length);
      this.#header(frame, mac);
      const more = at + most < payload.length;
      writeIpv4Header(
        frame,
        ETHERNET_HEADER,
        {
          ...ip,
          tos: 0,
          ttl: 64,
          id: this.#id,
          dontFragment: false,
          moreFragments: more,
          fragmentOffset: at,
        },
        part.length,
      );
      frame.set(part, ETHERNET_HEADER + IPV4_HEADER);
      this.frame(frame);
    }
  }

  /**
   * Starts a TCP frame in `scratch`; returns where the TCP header goes, or -1 while nobody is known at the
   * address. `length` counts TCP header and data.
   */
  begin(ip: IpOut, length: number): number {
    const mac = this.#macOf(ip.destination);
    if (mac === undefined) return -1;
    this.#header(this.scratch, mac);
    // RFC 6864 §4.1: packets that are never fragmented need no id.
    writeIpv4Header(
      this.scratch,
      ETHERNET_HEADER,
      { ...ip, tos: 0, ttl: 64, id: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0 },
      length,
    );
    return ETHERNET_HEADER + IPV4_HEADER;
  }

  /** Sends the first `length` bytes of `scratch`; false when the card has no room (nothing is kept). */
  commit(length: number, offload?: Offload): boolean {
    return this.#queue.length === 0 && this.#receive(this.scratch.subarray(0, length), offload);
  }

  /** Calls `waiter.resume` when there is room. */
  whenRoom(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }

  forget(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** The card has room: first what is queued, then everyone who waits, in turn. */
  drain(): void {
    while (this.#queue.length > 0) {
      if (!this.#receive(this.#queue[0]!)) return;
      this.#queue.shift();
    }
    const waiters = [...this.#waiters];
    for (const waiter of waiters) {
      this.#waiters.delete(waiter);
      if (waiter.resume()) continue;
      // Full again: this one goes to the end of the line (`resume` has put it back there).
      this.#waiters.add(waiter);
      return;
    }
  }

  #receive(frame: Uint8Array, offload?: Offload): boolean {
    const frontend = this.frontend;
    // Without a card the frame is lost, as without a cable.
    return frontend === undefined ? true : frontend.receive(frame, offload);
  }

  #header(frame: Uint8Array, mac: Uint8Array): void {
    frame.set(mac, 0);
    frame.set(this.mac, 6);
    put16(frame, 12, ETHERTYPE.IPV4);
  }
}

/** The gateway's Ethernet address: 52:55 and its IP address, as QEMU's. */
export function gatewayMac(address: number): Uint8Array {
  const mac = new Uint8Array(6);
  mac[0] = 0x52;
  mac[1] = 0x55;
  put32(mac, 2, address);
  return mac;
}
