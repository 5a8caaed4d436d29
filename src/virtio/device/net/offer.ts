/**
 * What the network device offers: features out of settings and back end, the queues, and the constant part of the
 * configuration space. VIRTIO 1.4 §5.1.2 to §5.1.4.
 */
import type { OffloadCaps } from '../../../net/netdev.ts';
import type { QueueSpec } from '../../device.ts';
import type { ConfigSpace } from '../config.ts';
import * as d from './defs.ts';
import type { NetSettings } from './properties.ts';

/** QEMU's size of the control queue. */
const CTRL_QUEUE_SIZE = 64;

/** What the back end cannot take the guest is not offered, in either direction: QEMU goes by the peer as well. */
export function offeredFeatures(wanted: bigint, caps: OffloadCaps): bigint {
  let features = wanted;
  if (!caps.csum) features &= ~(d.HOST_OFFLOADS | d.GUEST_OFFLOADS);
  if (!caps.tso4) features &= ~(d.VIRTIO_NET_F_HOST_TSO4 | d.VIRTIO_NET_F_GUEST_TSO4);
  if (!caps.tso6) features &= ~(d.VIRTIO_NET_F_HOST_TSO6 | d.VIRTIO_NET_F_GUEST_TSO6);
  if (!caps.ufo) features &= ~(d.VIRTIO_NET_F_HOST_UFO | d.VIRTIO_NET_F_GUEST_UFO);
  // What needs another feature goes with it (§5.1.3.1).
  const needs = (feature: bigint, ...oneOf: bigint[]) => {
    if (oneOf.every((other) => (features & other) === 0n)) features &= ~feature;
  };
  needs(d.VIRTIO_NET_F_GUEST_TSO4 | d.VIRTIO_NET_F_GUEST_TSO6, d.VIRTIO_NET_F_GUEST_CSUM);
  needs(d.VIRTIO_NET_F_GUEST_UFO, d.VIRTIO_NET_F_GUEST_CSUM);
  needs(d.VIRTIO_NET_F_HOST_TSO4 | d.VIRTIO_NET_F_HOST_TSO6, d.VIRTIO_NET_F_CSUM);
  needs(d.VIRTIO_NET_F_HOST_UFO, d.VIRTIO_NET_F_CSUM);
  needs(d.VIRTIO_NET_F_GUEST_ECN, d.VIRTIO_NET_F_GUEST_TSO4, d.VIRTIO_NET_F_GUEST_TSO6);
  needs(d.VIRTIO_NET_F_HOST_ECN, d.VIRTIO_NET_F_HOST_TSO4, d.VIRTIO_NET_F_HOST_TSO6);
  return features;
}

/** As long as the offered features reach, as in QEMU. */
export function configSize(features: bigint): number {
  if ((features & d.VIRTIO_NET_F_SPEED_DUPLEX) !== 0n) return d.CONFIG.END;
  if ((features & d.VIRTIO_NET_F_MTU) !== 0n) return d.CONFIG.SPEED;
  if ((features & d.VIRTIO_NET_F_MQ) !== 0n) return d.CONFIG.MTU;
  return (features & d.VIRTIO_NET_F_STATUS) !== 0n ? d.CONFIG.MAX_VIRTQUEUE_PAIRS : d.CONFIG.STATUS;
}

export function queueSpecs(settings: NetSettings, control: boolean): QueueSpec[] {
  const specs: QueueSpec[] = [];
  for (let pair = 1; pair <= settings.queuePairs; pair++) {
    specs.push({ name: `receiveq${pair}`, size: settings.rxQueueSize });
    specs.push({ name: `transmitq${pair}`, size: settings.txQueueSize });
  }
  if (control) specs.push({ name: 'controlq', size: CTRL_QUEUE_SIZE });
  return specs;
}

/** Writes what does not change; address and link are the device's. */
export function fillConfig(c: ConfigSpace, s: NetSettings): void {
  c.u16(d.CONFIG.MAX_VIRTQUEUE_PAIRS, s.queuePairs);
  c.u16(d.CONFIG.MTU, s.mtu);
  c.u32(d.CONFIG.SPEED, s.speed >= 0 ? s.speed : 0xffffffff);
  // 0x01 is full duplex where the field is defined (§5.1.4) and in every driver; §5.1.4.2 has it the other way.
  c.bytes[d.CONFIG.DUPLEX] = s.duplex === 'full' ? 1 : s.duplex === 'half' ? 0 : 0xff;
}
