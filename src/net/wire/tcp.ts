/** TCP segments (RFC 9293 §3.1) with the options that matter here: MSS (§3.7.1) and window scale (RFC 7323 §2). */
import { get16, get32, put16, put32 } from './bytes.ts';
import { addWords, checksum, fold, pseudoHeaderSum } from './checksum.ts';
import { PROTOCOL } from './ipv4.ts';

export const TCP_FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
export const TCP_HEADER = 20;

const OPTION = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3 } as const;

export interface TcpOptions {
  readonly mss?: number;
  readonly windowScale?: number;
}

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** As it stands in the header: not scaled. */
  readonly window: number;
  readonly options: TcpOptions;
  readonly payload: Uint8Array;
}

/** @param verify false when the checksum is known to be good, or is still to be made (offloads) */
export function parseTcp(
  data: Uint8Array,
  source: number,
  destination: number,
  verify = true,
): TcpSegment | undefined {
  if (data.length < TCP_HEADER) return undefined;
  const header = (data[12]! >> 4) * 4;
  if (header < TCP_HEADER || header > data.length) return undefined;
  if (verify) {
    const sum = pseudoHeaderSum(source, destination, PROTOCOL.TCP, data.length);
    if (fold(addWords(data, 0, data.length, sum)) !== 0xffff) return undefined;
  }
  return {
    sourcePort: get16(data, 0),
    destinationPort: get16(data, 2),
    seq: get32(data, 4),
    ack: get32(data, 8),
    flags: data[13]! & 0x3f,
    window: get16(data, 14),
    options: header === TCP_HEADER ? {} : parseOptions(data, TCP_HEADER, header),
    payload: data.subarray(header),
  };
}

/** RFC 9293 §3.2: unknown options are skipped by their length; one without a sane length ends the list. */
function parseOptions(data: Uint8Array, from: number, to: number): TcpOptions {
  let mss: number | undefined;
  let windowScale: number | undefined;
  for (let at = from; at < to; ) {
    const kind = data[at]!;
    if (kind === OPTION.END) break;
    if (kind === OPTION.NOP) {
      at++;
      continue;
    }
    const length = at + 1 < to ? data[at + 1]! : 0;
    if (length < 2 || at + length > to) break;
    if (kind === OPTION.MSS && length === 4) mss = get16(data, at + 2);
    // RFC 7323 §2.3: a shift above 14 is taken as 14.
    if (kind === OPTION.WINDOW_SCALE && length === 3) windowScale = Math.min(14, data[at + 2]!);
    at += length;
  }
  return {
    ...(mss === undefined ? {} : { mss }),
    ...(windowScale === undefined ? {} : { windowScale }),
  };
}

/** Bytes of the header with its options, a multiple of four. */
export function tcpHeaderLength(options: TcpOptions): number {
  return TCP_HEADER + (options.mss === undefined ? 0 : 4) + (options.windowScale === undefined ? 0 : 4);
}

/**
 * Writes the header at `at`, with a zero checksum.
 * @returns its length; the payload follows
 */
export function writeTcpHeader(bytes: Uint8Array, at: number, segment: Omit<TcpSegment, 'payload'>): number {
  const length = tcpHeaderLength(segment.options);
  put16(bytes, at, segment.sourcePort);
  put16(bytes, at + 2, segment.destinationPort);
  put32(bytes, at + 4, segment.seq);
  put32(bytes, at + 8, segment.ack);
  bytes[at + 12] = (length / 4) << 4;
  bytes[at + 13] = segment.flags;
  put16(bytes, at + 14, segment.window);
  put32(bytes, at + 16, 0);
  let option = at + TCP_HEADER;
  if (segment.options.mss !== undefined) {
    bytes[option] = OPTION.MSS;
    bytes[option + 1] = 4;
    put16(bytes, option + 2, segment.options.mss);
    option += 4;
  }
  if (segment.options.windowScale !== undefined) {
    bytes[option] = OPTION.NOP;
    bytes[option + 1] = OPTION.WINDOW_SCALE;
    bytes[option + 2] = 3;
    bytes[option + 3] = segment.options.windowScale;
  }
  return length;
}

export function serializeTcp(segment: TcpSegment, source: number, destination: number): Uint8Array {
  const bytes = new Uint8Array(tcpHeaderLength(segment.options) + segment.payload.length);
  bytes.set(segment.payload, writeTcpHeader(bytes, 0, segment));
  const sum = pseudoHeaderSum(source, destination, PROTOCOL.TCP, bytes.length);
  put16(bytes, 16, checksum(bytes, 0, bytes.length, sum));
  return bytes;
}
