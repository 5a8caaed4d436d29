/** What the tests of the network device's clauses share: a started card, frames, and commands. */
import { Tracer } from '../../../core/trace.ts';
import { assert } from '../../../core/errors.ts';
import type { Offload, OffloadCaps } from '../../../net/netdev.ts';
import { ALL_CAPS } from '../../../net/offload.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { FakeTransport, type Sent } from '../fake-transport.ts';
import * as d from './defs.ts';
import { VirtioNet } from './device.ts';
import { FakeNetdev } from './fake-netdev.ts';
import { netSettings } from './properties.ts';

export const MODERN = d.VIRTIO_F_VERSION_1;
export const GUEST = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
export const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
export const MULTICAST = [0x01, 0x00, 0x5e, 0, 0, 1];
export const OTHER = [0x02, 0, 0, 0, 0, 9];

export class Bench {
  readonly netdev: FakeNetdev;
  readonly rig: FakeTransport<VirtioNet>;
  readonly control: number;

  constructor(
    options: { values?: PropertyValues; caps?: OffloadCaps; pairs?: number; without?: bigint } = {},
  ) {
    this.netdev = new FakeNetdev(options.caps ?? ALL_CAPS);
    const settings = netSettings(options.values ?? {}, options.pairs ?? 1);
    this.rig = new FakeTransport(new VirtioNet({ netdev: this.netdev, tracer: new Tracer(), settings }));
    this.start(options.without);
    this.control = (this.rig.negotiated & d.VIRTIO_NET_F_MQ) !== 0n ? settings.queuePairs * 2 : 2;
  }

  start(without = 0n): void {
    this.rig.start((this.rig.device.features & ~without) | MODERN);
  }

  /** Sends a command; true when it was done. */
  command(kind: number, command: number, ...data: number[]): boolean {
    const sent = this.rig.send(this.control, [Uint8Array.of(kind, command), Uint8Array.from(data)], [1]);
    assert(sent.written === 1, 'a command is answered with one byte', { written: sent.written });
    return sent.answer[0] === d.VIRTIO_NET_OK;
  }

  /** Whether a frame reaches the guest. */
  gets(frame: Uint8Array): boolean {
    const room = this.rig.send(0, [], [2000]);
    this.netdev.deliver(frame);
    const got = room.used;
    if (!got) this.rig.queues[0]!.available.pop();
    return got;
  }

  receive(frame: Uint8Array, offload?: Offload, length = 70000): Sent {
    const room = this.rig.send(0, [], [length]);
    this.netdev.deliver(frame, offload);
    return room;
  }

  config(offset: number, size: 1 | 2 | 4): number {
    return this.rig.device.readConfig(offset, size);
  }
}

export function frame(length = 100, target: number[] = GUEST, vlan?: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0x5a);
  bytes.set([...target, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
  if (vlan !== undefined) bytes.set([0x81, 0, vlan >> 8, vlan & 0xff, 8, 0], 12);
  return bytes;
}

export function tcp(payload: number, flags = 0x10, version: 4 | 6 = 4): Uint8Array {
  const l4 = version === 4 ? 34 : 54;
  const bytes = frame(l4 + 20 + payload);
  bytes.fill(0, 14, l4 + 20);
  bytes.set(version === 4 ? [0x08, 0, 0x45] : [0x86, 0xdd, 0x60], 12);
  if (version === 4) bytes[23] = 6;
  else bytes[20] = 6;
  bytes.set([0x50, flags], l4 + 12);
  return bytes;
}

export function large(version: 4 | 6 = 4, gsoSize = 1000): Offload {
  const csumStart = version === 4 ? 34 : 54;
  return {
    needsCsum: true,
    csumStart,
    csumOffset: 16,
    gso: version === 4 ? 'tcp4' : 'tcp6',
    gsoSize,
    hdrLen: 0,
    dataValid: false,
  };
}

export const u16 = (sent: Sent, at: number) => sent.room[at]! | (sent.room[at + 1]! << 8);
export const flags = (sent: Sent) => sent.room[d.HDR.FLAGS];
export const gsoType = (sent: Sent) => sent.room[d.HDR.GSO_TYPE];
