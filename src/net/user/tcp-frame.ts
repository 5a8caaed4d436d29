/**
 * One TCP segment as a frame on its way to the guest. What the card can do itself (checksum, cutting into segments)
 * is left to it.
 */
import type { Offload } from '../netdev.ts';
import { put16 } from '../wire/bytes.ts';
import { checksum, fold, pseudoHeaderSum } from '../wire/checksum.ts';
import { ETHERNET_HEADER } from '../wire/ethernet.ts';
import { IPV4_HEADER, PROTOCOL } from '../wire/ipv4.ts';
import { tcpHeaderLength, type TcpSegment, writeTcpHeader } from '../wire/tcp.ts';
import type { GuestOutput } from './output.ts';

/** Where the checksum lies in a TCP header. */
const CHECKSUM_OFFSET = 16;

export interface TcpTuple {
  readonly guestAddress: number;
  readonly guestPort: number;
  /** Our side, as the guest sees it. */
  readonly address: number;
  readonly port: number;
}

/**
 * Makes the frame and gives it to the card.
 * @param length bytes of data, which `fill` writes at the place that it is given
 * @param mss data beyond this is for the card to cut; only asked for of cards that can
 * @returns 'full': the card has no room, nothing was sent; 'nobody': no card is known at the guest's address
 */
export function sendTcp(
  output: GuestOutput,
  tuple: TcpTuple,
  segment: Omit<TcpSegment, 'payload' | 'sourcePort' | 'destinationPort'>,
  length: number,
  fill: (bytes: Uint8Array, at: number) => void,
  mss: number,
): 'sent' | 'full' | 'nobody' {
  const { guestAddress, guestPort, address, port } = tuple;
  const header = tcpHeaderLength(segment.options);
  const at = output.begin(
    { protocol: PROTOCOL.TCP, source: address, destination: guestAddress },
    header + length,
  );
  if (at < 0) return 'nobody';
  const bytes = output.scratch;
  writeTcpHeader(bytes, at, { ...segment, sourcePort: port, destinationPort: guestPort });
  if (length > 0) fill(bytes, at + header);
  const end = at + header + length;
  const sum = pseudoHeaderSum(address, guestAddress, PROTOCOL.TCP, header + length);
  let offload: Offload | undefined;
  if (output.frontend?.rxCaps.csum === true) {
    put16(bytes, at + CHECKSUM_OFFSET, fold(sum));
    offload = {
      needsCsum: true,
      csumStart: at,
      csumOffset: CHECKSUM_OFFSET,
      gso: length > mss ? 'tcp4' : 'none',
      gsoSize: length > mss ? mss : 0,
      hdrLen: ETHERNET_HEADER + IPV4_HEADER + header,
      dataValid: false,
    };
  } else put16(bytes, at + CHECKSUM_OFFSET, checksum(bytes, at, end, sum));
  return output.commit(end, offload) ? 'sent' : 'full';
}
