/** Ethernet II frames without their check sequence (IEEE 802.3 §3), and ARP for IPv4 (RFC 826). */
import { get16, get32, put16, put32 } from './bytes.ts';

export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;
export const ETHERNET_HEADER = 14;
export const BROADCAST_MAC: Uint8Array = new Uint8Array(6).fill(0xff);

export interface EthernetFrame {
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
  readonly type: number;
  readonly payload: Uint8Array;
}

/** Views of the frame's parts; undefined when it is shorter than its header. */
export function parseEthernet(frame: Uint8Array): EthernetFrame | undefined {
  if (frame.length < ETHERNET_HEADER) return undefined;
  return {
    destination: frame.subarray(0, 6),
    source: frame.subarray(6, 12),
    type: get16(frame, 12),
    payload: frame.subarray(ETHERNET_HEADER),
  };
}

export function serializeEthernet(frame: EthernetFrame): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_HEADER + frame.payload.length);
  bytes.set(frame.destination, 0);
  bytes.set(frame.source, 6);
  put16(bytes, 12, frame.type);
  bytes.set(frame.payload, ETHERNET_HEADER);
  return bytes;
}

export const ARP_OPERATION = { REQUEST: 1, REPLY: 2 } as const;
const ARP_LENGTH = 28;
const HARDWARE_ETHERNET = 1;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Uint8Array;
  readonly senderAddress: number;
  readonly targetMac: Uint8Array;
  readonly targetAddress: number;
}

/** Undefined when it is not ARP for IPv4 over Ethernet. */
export function parseArp(packet: Uint8Array): ArpPacket | undefined {
  if (packet.length < ARP_LENGTH) return undefined;
  if (get16(packet, 0) !== HARDWARE_ETHERNET || get16(packet, 2) !== ETHERTYPE.IPV4) return undefined;
  if (packet[4] !== 6 || packet[5] !== 4) return undefined;
  return {
    operation: get16(packet, 6),
    senderMac: packet.subarray(8, 14),
    senderAddress: get32(packet, 14),
    targetMac: packet.subarray(18, 24),
    targetAddress: get32(packet, 24),
  };
}

export function serializeArp(arp: ArpPacket): Uint8Array {
  const bytes = new Uint8Array(ARP_LENGTH);
  put16(bytes, 0, HARDWARE_ETHERNET);
  put16(bytes, 2, ETHERTYPE.IPV4);
  bytes[4] = 6;
  bytes[5] = 4;
  put16(bytes, 6, arp.operation);
  bytes.set(arp.senderMac, 8);
  put32(bytes, 14, arp.senderAddress);
  bytes.set(arp.targetMac, 18);
  put32(bytes, 24, arp.targetAddress);
  return bytes;
}
