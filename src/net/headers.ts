/**
 * Finds the headers of an Ethernet frame: VLAN tags, IPv4 with options or IPv6 with extension headers, TCP or UDP.
 * Only offsets are found; whoever reads on does so within the frame's length, which is checked here.
 */

export const ETH_HLEN = 14;
export const ETH_P_IP = 0x0800;
export const ETH_P_IPV6 = 0x86dd;
export const ETH_P_8021Q = 0x8100;
export const ETH_P_8021AD = 0x88a8;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;

/** Offsets in a TCP header (RFC 9293 §3.1) and bits of its flags. */
export const TCP = {
  SEQUENCE: 4,
  DATA_OFFSET: 12,
  FLAGS: 13,
  CHECKSUM: 16,
  SIZE: 20,
  FIN: 0x01,
  PSH: 0x08,
  CWR: 0x80,
} as const;

export interface Headers {
  readonly version: 4 | 6;
  /** Offset of the IP header. */
  readonly l3: number;
  /** Offset of the TCP or UDP header. */
  readonly l4: number;
  /** IPPROTO_TCP or IPPROTO_UDP. */
  readonly protocol: number;
  /** Offset of the data behind it. */
  readonly payload: number;
}

/** IPv6 extension headers that may stand in front of TCP or UDP: hop-by-hop, routing, destination options. */
const EXTENSIONS: readonly number[] = [0, 43, 60];
/** More extension headers in one packet mean nothing good. */
const MAX_EXTENSIONS = 8;

/** Undefined for anything but a whole (not fragmented) TCP or UDP packet whose headers are inside the frame. */
export function findHeaders(frame: Uint8Array): Headers | undefined {
  let l3 = ETH_HLEN;
  let type = etherType(frame, 12);
  for (let tags = 0; tags < 2 && (type === ETH_P_8021Q || type === ETH_P_8021AD); tags++) {
    type = etherType(frame, l3 + 2);
    l3 += 4;
  }
  if (type === ETH_P_IP) return findIpv4(frame, l3);
  return type === ETH_P_IPV6 ? findIpv6(frame, l3) : undefined;
}

/** The big-endian type at `at`, or -1 past the end. */
export function etherType(frame: Uint8Array, at: number): number {
  return at + 2 > frame.length ? -1 : (frame[at]! << 8) | frame[at + 1]!;
}

function findIpv4(frame: Uint8Array, l3: number): Headers | undefined {
  if (l3 + 20 > frame.length || frame[l3]! >> 4 !== 4) return undefined;
  const length = (frame[l3]! & 15) * 4;
  // More fragments, or not the first one: the transport header belongs to more than this frame.
  const fragment = ((frame[l3 + 6]! << 8) | frame[l3 + 7]!) & 0x3fff;
  if (length < 20 || fragment !== 0) return undefined;
  return findTransport(frame, 4, l3, l3 + length, frame[l3 + 9]!);
}

function findIpv6(frame: Uint8Array, l3: number): Headers | undefined {
  if (l3 + 40 > frame.length || frame[l3]! >> 4 !== 6) return undefined;
  let next = frame[l3 + 6]!;
  let at = l3 + 40;
  for (let i = 0; EXTENSIONS.includes(next); i++) {
    if (i === MAX_EXTENSIONS || at + 8 > frame.length) return undefined;
    next = frame[at]!;
    at += (frame[at + 1]! + 1) * 8;
  }
  return findTransport(frame, 6, l3, at, next);
}

function findTransport(
  frame: Uint8Array,
  version: 4 | 6,
  l3: number,
  l4: number,
  protocol: number,
): Headers | undefined {
  let size = 8;
  if (protocol === IPPROTO_TCP) {
    if (l4 + TCP.SIZE > frame.length) return undefined;
    size = (frame[l4 + TCP.DATA_OFFSET]! >> 4) * 4;
    if (size < TCP.SIZE) return undefined;
  } else if (protocol !== IPPROTO_UDP) return undefined;
  const payload = l4 + size;
  return payload > frame.length ? undefined : { version, l3, l4, protocol, payload };
}
