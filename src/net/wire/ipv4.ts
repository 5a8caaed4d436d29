/** IPv4 (RFC 791), ICMP (RFC 792) and UDP (RFC 768) headers. Parsers answer undefined for anything malformed. */
import { get16, get32, put16, put32 } from './bytes.ts';
import { addWords, checksum, fold, pseudoHeaderSum } from './checksum.ts';

export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17 } as const;
export const IPV4_HEADER = 20;
export const IP_FLAG = { DONT_FRAGMENT: 0x4000, MORE_FRAGMENTS: 0x2000 } as const;
const FRAGMENT_OFFSET = 0x1fff;

export interface Ipv4Packet {
  readonly tos: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** Bytes. */
  readonly fragmentOffset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly source: number;
  readonly destination: number;
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/**
 * RFC 791 §3.1: version 4, a header of at least five words, a total length that is there (what follows it is the
 * padding of a short frame), a good header checksum.
 */
export function parseIpv4(packet: Uint8Array): Ipv4Packet | undefined {
  if (packet.length < IPV4_HEADER) return undefined;
  const first = packet[0]!;
  const header = (first & 15) * 4;
  const total = get16(packet, 2);
  if (first >> 4 !== 4 || header < IPV4_HEADER || total < header || total > packet.length) return undefined;
  if (fold(addWords(packet, 0, header)) !== 0xffff) return undefined;
  const fragment = get16(packet, 6);
  return {
    tos: packet[1]!,
    id: get16(packet, 4),
    dontFragment: (fragment & IP_FLAG.DONT_FRAGMENT) !== 0,
    moreFragments: (fragment & IP_FLAG.MORE_FRAGMENTS) !== 0,
    fragmentOffset: (fragment & FRAGMENT_OFFSET) * 8,
    ttl: packet[8]!,
    protocol: packet[9]!,
    source: get32(packet, 12),
    destination: get32(packet, 16),
    options: packet.subarray(IPV4_HEADER, header),
    payload: packet.subarray(header, total),
  };
}

/** Writes a header without options at `at`; the payload of `length` bytes follows it. */
export function writeIpv4Header(
  bytes: Uint8Array,
  at: number,
  header: Omit<Ipv4Packet, 'options' | 'payload'>,
  length: number,
  headerLength = IPV4_HEADER,
): void {
  bytes[at] = 0x40 | (headerLength / 4);
  bytes[at + 1] = header.tos;
  put16(bytes, at + 2, headerLength + length);
  put16(bytes, at + 4, header.id);
  const flags =
    (header.dontFragment ? IP_FLAG.DONT_FRAGMENT : 0) | (header.moreFragments ? IP_FLAG.MORE_FRAGMENTS : 0);
  put16(bytes, at + 6, flags | (header.fragmentOffset / 8));
  bytes[at + 8] = header.ttl;
  bytes[at + 9] = header.protocol;
  put16(bytes, at + 10, 0);
  put32(bytes, at + 12, header.source);
  put32(bytes, at + 16, header.destination);
  put16(bytes, at + 10, checksum(bytes, at, at + headerLength));
}

export function serializeIpv4(packet: Ipv4Packet): Uint8Array {
  const header = IPV4_HEADER + packet.options.length;
  const bytes = new Uint8Array(header + packet.payload.length);
  bytes.set(packet.options, IPV4_HEADER);
  bytes.set(packet.payload, header);
  writeIpv4Header(bytes, 0, packet, packet.payload.length, header);
  return bytes;
}

export const ICMP_TYPE = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8, TIME_EXCEEDED: 11 } as const;
export const UNREACHABLE_CODE = { NET: 0, HOST: 1, PORT: 3, PROHIBITED: 13 } as const;

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** The four bytes whose meaning depends on the type: identifier and sequence number of an echo. */
  readonly rest: number;
  readonly payload: Uint8Array;
}

export function parseIcmp(data: Uint8Array): IcmpMessage | undefined {
  if (data.length < 8 || fold(addWords(data, 0, data.length)) !== 0xffff) return undefined;
  return { type: data[0]!, code: data[1]!, rest: get32(data, 4), payload: data.subarray(8) };
}

export function serializeIcmp(message: IcmpMessage): Uint8Array {
  const bytes = new Uint8Array(8 + message.payload.length);
  bytes[0] = message.type;
  bytes[1] = message.code;
  put32(bytes, 4, message.rest);
  bytes.set(message.payload, 8);
  put16(bytes, 2, checksum(bytes, 0, bytes.length));
  return bytes;
}

export const UDP_HEADER = 8;

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

/** @param verify false when the checksum is known to be good, or is still to be made (offloads) */
export function parseUdp(
  data: Uint8Array,
  source: number,
  destination: number,
  verify = true,
): UdpDatagram | undefined {
  if (data.length < UDP_HEADER) return undefined;
  const length = get16(data, 4);
  if (length < UDP_HEADER || length > data.length) return undefined;
  // "An all zero transmitted checksum value means that the transmitter generated no checksum" (RFC 768).
  if (verify && get16(data, 6) !== 0) {
    const sum = pseudoHeaderSum(source, destination, PROTOCOL.UDP, length);
    if (fold(addWords(data, 0, length, sum)) !== 0xffff) return undefined;
  }
  return {
    sourcePort: get16(data, 0),
    destinationPort: get16(data, 2),
    payload: data.subarray(UDP_HEADER, length),
  };
}

export function serializeUdp(datagram: UdpDatagram, source: number, destination: number): Uint8Array {
  const length = UDP_HEADER + datagram.payload.length;
  const bytes = new Uint8Array(length);
  put16(bytes, 0, datagram.sourcePort);
  put16(bytes, 2, datagram.destinationPort);
  put16(bytes, 4, length);
  bytes.set(datagram.payload, UDP_HEADER);
  const sum = checksum(bytes, 0, length, pseudoHeaderSum(source, destination, PROTOCOL.UDP, length));
  put16(bytes, 6, sum === 0 ? 0xffff : sum);
  return bytes;
}
