/**
 * Finishing in software what a sender left to be done: checksums (RFC 1071) and cutting large TCP and UDP packets
 * into frames that fit the wire. Network cards and back ends use it where the other side cannot take an unfinished
 * frame (`Offload` in netdev.ts). Everything in a frame may be a guest's lie: lengths are checked, nothing throws.
 */
import { findHeaders, type Headers, IPPROTO_TCP, IPPROTO_UDP, TCP } from './headers.ts';
import type { Offload, OffloadCaps } from './netdev.ts';

export const NO_CAPS: OffloadCaps = { csum: false, tso4: false, tso6: false, ufo: false };
export const ALL_CAPS: OffloadCaps = { csum: true, tso4: true, tso6: true, ufo: true };

/** A frame with nothing left to do, whose checksums are known to be right. */
export const FINISHED: Offload = {
  needsCsum: false,
  csumStart: 0,
  csumOffset: 0,
  gso: 'none',
  gsoSize: 0,
  hdrLen: 0,
  dataValid: true,
};

/**
 * Frames that one packet may be cut into. 64 KiB in pieces of 48 bytes, the smallest that Linux ever sends, are
 * 1366; a driver that asks for more wants to keep the host busy.
 */
const MAX_SEGMENTS = 2048;

export type Emit = (frame: Uint8Array, offload: Offload) => void;

/** The ones' complement sum of big-endian 16-bit words in [start, end), added to `sum`; not folded to the end. */
export function addSum(data: Uint8Array, start: number, end: number, sum = 0): number {
  let total = sum;
  let i = start;
  for (; i + 3 < end; i += 4) {
    total += (data[i]! << 8) + data[i + 1]! + (data[i + 2]! << 8) + data[i + 3]!;
    // Stays a small integer: 64 KiB of ones would not overflow 2^31 by much, larger buffers would.
    if (total > 0x3fff0000) total = (total & 0xffff) + (total >>> 16);
  }
  for (; i < end; i++) total += (i - start) % 2 === 0 ? data[i]! << 8 : data[i]!;
  return total;
}

/** The checksum that a sum makes: folded to 16 bits and complemented. */
export function foldSum(sum: number): number {
  let total = sum;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

/** The sum of the TCP or UDP pseudo header of the packet at `headers`, whose transport part has `length` bytes. */
export function pseudoSum(frame: Uint8Array, headers: Headers, length: number): number {
  const { l3 } = headers;
  const sum = headers.version === 4 ? addSum(frame, l3 + 12, l3 + 20) : addSum(frame, l3 + 8, l3 + 40);
  return sum + headers.protocol + (length >>> 16) + (length & 0xffff);
}

/** Whether a party with `caps` takes the frame as it is. */
export function takes(caps: OffloadCaps, offload: Offload): boolean {
  switch (offload.gso) {
    case 'tcp4':
      return caps.tso4 && caps.csum;
    case 'tcp6':
      return caps.tso6 && caps.csum;
    case 'udp':
      return caps.ufo && caps.csum;
    default:
      return caps.csum || !offload.needsCsum;
  }
}

/**
 * Completes the checksum of a frame in place.
 * @returns false, and nothing is changed, when it lies outside the frame
 */
export function completeChecksum(frame: Uint8Array, offload: Offload): boolean {
  const at = offload.csumStart + offload.csumOffset;
  if (at + 2 > frame.length) return false;
  // The field holds the pseudo header's sum, so it is summed with the rest.
  put16(frame, at, foldSum(addSum(frame, offload.csumStart, frame.length)) || 0xffff);
  return true;
}

/**
 * Does what `caps` cannot and passes the frame, or the frames that it becomes, to `emit`. The given frame is never
 * written; what is emitted may be it, or memory of its own.
 * @returns false, and nothing is emitted, when the frame is not what its offload says
 */
export function finish(frame: Uint8Array, offload: Offload, caps: OffloadCaps, emit: Emit): boolean {
  if (takes(caps, offload)) {
    emit(frame, offload);
    return true;
  }
  if (offload.gso !== 'none') return segment(frame, offload, emit);
  const copy = frame.slice();
  if (!completeChecksum(copy, offload)) return false;
  emit(copy, { ...FINISHED, dataValid: false });
  return true;
}

/** Cuts a large packet into complete frames; false when it cannot be cut. */
export function segment(frame: Uint8Array, offload: Offload, emit: Emit): boolean {
  const headers = findHeaders(frame);
  if (headers === undefined || offload.gsoSize === 0) return false;
  switch (offload.gso) {
    case 'tcp4':
    case 'tcp6':
      if (headers.protocol !== IPPROTO_TCP || headers.version !== (offload.gso === 'tcp4' ? 4 : 6))
        return false;
      return segmentTcp(frame, headers, offload.gsoSize, emit);
    case 'udp':
      return headers.protocol === IPPROTO_UDP && fragmentUdp(frame, headers, offload.gsoSize, emit);
    default:
      return false;
  }
}

function segmentTcp(frame: Uint8Array, headers: Headers, size: number, emit: Emit): boolean {
  const { l4, payload } = headers;
  const length = frame.length - payload;
  const count = Math.max(Math.ceil(length / size), 1);
  if (count > MAX_SEGMENTS) return false;
  const sequence = get32(frame, l4 + TCP.SEQUENCE);
  const flags = frame[l4 + TCP.FLAGS]!;
  for (let i = 0; i < count; i++) {
    const from = payload + i * size;
    const to = Math.min(from + size, frame.length);
    const part = new Uint8Array(payload + to - from);
    part.set(frame.subarray(0, payload));
    part.set(frame.subarray(from, to), payload);
    put32(part, l4 + TCP.SEQUENCE, sequence + i * size);
    // FIN and PSH belong to the end of the data, CWR to its beginning (RFC 3168 §6.1.2).
    let own = flags;
    if (i < count - 1) own &= ~(TCP.FIN | TCP.PSH);
    if (i > 0) own &= ~TCP.CWR;
    part[l4 + TCP.FLAGS] = own;
    setIpLength(part, headers, i);
    put16(part, l4 + TCP.CHECKSUM, 0);
    const sum = addSum(part, l4, part.length, pseudoSum(part, headers, part.length - l4));
    put16(part, l4 + TCP.CHECKSUM, foldSum(sum));
    emit(part, FINISHED);
  }
  return true;
}

/** UDP is not segmented but fragmented: one datagram, one checksum, IP fragments. */
function fragmentUdp(frame: Uint8Array, headers: Headers, size: number, emit: Emit): boolean {
  const { l3, l4, version } = headers;
  // Fragments but the last are multiples of 8 bytes (RFC 791 §3.2, RFC 8200 §4.5).
  const step = size & ~7;
  const length = frame.length - l4;
  if (step === 0 || Math.ceil(length / step) > MAX_SEGMENTS || l4 + 8 > frame.length) return false;
  // An extension header in front of UDP would have to be sorted into what is and is not fragmented.
  if (version === 6 && l4 !== l3 + 40) return false;
  const whole = frame.slice();
  put16(whole, l4 + 4, length);
  put16(whole, l4 + 6, 0);
  put16(whole, l4 + 6, foldSum(addSum(whole, l4, whole.length, pseudoSum(whole, headers, length))) || 0xffff);
  const extra = version === 6 ? 8 : 0;
  for (let at = 0; at < length; at += step) {
    const piece = whole.subarray(l4 + at, l4 + Math.min(at + step, length));
    const more = at + step < length;
    const part = new Uint8Array(l4 + extra + piece.length);
    part.set(whole.subarray(0, l4));
    part.set(piece, l4 + extra);
    if (version === 4) {
      put16(part, l3 + 6, (more ? 0x2000 : 0) | (at >> 3));
      setIpLength(part, headers, 0);
    } else {
      part[l3 + 6] = 44;
      put16(part, l3 + 4, piece.length + 8);
      part[l4] = IPPROTO_UDP;
      put16(part, l4 + 2, at | (more ? 1 : 0));
      // Any number will do that differs between datagrams: the checksum does, mostly, and needs no state.
      put32(part, l4 + 4, get32(whole, l4 + 4));
    }
    emit(part, FINISHED);
  }
  return true;
}

/** Sets the IP length of `part` from its size, and for IPv4 its id (counted up by `step`) and header checksum. */
function setIpLength(part: Uint8Array, headers: Headers, step: number): void {
  const { l3, l4 } = headers;
  if (headers.version === 6) {
    put16(part, l3 + 4, part.length - l3 - 40);
    return;
  }
  put16(part, l3 + 2, part.length - l3);
  put16(part, l3 + 4, ((part[l3 + 4]! << 8) | part[l3 + 5]!) + step);
  put16(part, l3 + 10, 0);
  put16(part, l3 + 10, foldSum(addSum(part, l3, l4)));
}

function put16(data: Uint8Array, at: number, value: number): void {
  data[at] = value >> 8;
  data[at + 1] = value;
}

function put32(data: Uint8Array, at: number, value: number): void {
  put16(data, at, value >>> 16);
  put16(data, at + 2, value & 0xffff);
}

function get32(data: Uint8Array, at: number): number {
  return ((data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!) >>> 0;
}
