/** struct virtio_net_hdr: between its bytes and the `Offload` that back ends know. VIRTIO 1.4 §5.1.6. */
import { findHeaders, IPPROTO_TCP, TCP } from '../../../net/headers.ts';
import type { Offload } from '../../../net/netdev.ts';
import { FINISHED } from '../../../net/offload.ts';
import * as d from './defs.ts';

const GSO: Readonly<Record<number, Offload['gso']>> = {
  [d.VIRTIO_NET_HDR_GSO_NONE]: 'none',
  [d.VIRTIO_NET_HDR_GSO_TCPV4]: 'tcp4',
  [d.VIRTIO_NET_HDR_GSO_UDP]: 'udp',
  [d.VIRTIO_NET_HDR_GSO_TCPV6]: 'tcp6',
};
const GSO_TYPE: Readonly<Record<Offload['gso'], number>> = {
  none: d.VIRTIO_NET_HDR_GSO_NONE,
  tcp4: d.VIRTIO_NET_HDR_GSO_TCPV4,
  udp: d.VIRTIO_NET_HDR_GSO_UDP,
  tcp6: d.VIRTIO_NET_HDR_GSO_TCPV6,
};

/** Nothing left to do, and nobody has verified the checksums. */
export const PLAIN: Offload = { ...FINISHED, dataValid: false };

/**
 * What the header of a transmitted packet asks for.
 * @returns undefined when it is nothing that VIRTIO knows
 */
export function parseHeader(bytes: Uint8Array): Offload | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const gsoType = view.getUint8(d.HDR.GSO_TYPE);
  // "The device MUST ignore flag bits that it does not recognize." (§5.1.6.2.2)
  const needsCsum = (view.getUint8(d.HDR.FLAGS) & d.VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
  if (gsoType === d.VIRTIO_NET_HDR_GSO_NONE && !needsCsum) return PLAIN;
  const gso = GSO[gsoType & ~d.VIRTIO_NET_HDR_GSO_ECN];
  if (gso === undefined) return undefined;
  return {
    needsCsum,
    // "If VIRTIO_NET_HDR_F_NEEDS_CSUM bit in flags is not set, the device MUST NOT use the csum_start and
    // csum_offset." (§5.1.6.2.2)
    csumStart: needsCsum ? view.getUint16(d.HDR.CSUM_START, true) : 0,
    csumOffset: needsCsum ? view.getUint16(d.HDR.CSUM_OFFSET, true) : 0,
    gso,
    gsoSize: gso === 'none' ? 0 : view.getUint16(d.HDR.GSO_SIZE, true),
    hdrLen: view.getUint16(d.HDR.HDR_LEN, true),
    dataValid: false,
  };
}

/**
 * Writes the header of a received packet into `bytes`, all of HDR.SIZE.
 * @param offload something that the driver takes, or undefined for a frame without
 * @param csum whether VIRTIO_NET_F_GUEST_CSUM is in force
 */
export function writeHeader(
  bytes: Uint8Array,
  frame: Uint8Array,
  offload: Offload | undefined,
  csum: boolean,
  numBuffers: number,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  bytes.fill(0);
  view.setUint16(d.HDR.NUM_BUFFERS, numBuffers, true);
  // "If VIRTIO_NET_F_GUEST_CSUM is not negotiated, the device MUST set flags to zero" (§5.1.6.4.1)
  if (offload === undefined || !csum) return;
  if (offload.needsCsum) {
    view.setUint8(d.HDR.FLAGS, d.VIRTIO_NET_HDR_F_NEEDS_CSUM);
    view.setUint16(d.HDR.CSUM_START, offload.csumStart, true);
    view.setUint16(d.HDR.CSUM_OFFSET, offload.csumOffset, true);
  } else if (offload.dataValid) view.setUint8(d.HDR.FLAGS, d.VIRTIO_NET_HDR_F_DATA_VALID);
  if (offload.gso === 'none') return;
  const headers = findHeaders(frame);
  const ecn = offload.gso !== 'udp' && hasCwr(frame) ? d.VIRTIO_NET_HDR_GSO_ECN : 0;
  view.setUint8(d.HDR.GSO_TYPE, GSO_TYPE[offload.gso] | ecn);
  view.setUint16(d.HDR.GSO_SIZE, offload.gsoSize, true);
  // "the device SHOULD set hdr_len to a value not less than the length of the headers" (§5.1.6.4.1)
  view.setUint16(d.HDR.HDR_LEN, Math.max(offload.hdrLen, headers?.payload ?? 0), true);
}

/** True for a TCP packet that says it has reduced its window: those cannot be cut without care (GSO_ECN). */
export function hasCwr(frame: Uint8Array): boolean {
  const headers = findHeaders(frame);
  return headers?.protocol === IPPROTO_TCP && (frame[headers.l4 + TCP.FLAGS]! & TCP.CWR) !== 0;
}
