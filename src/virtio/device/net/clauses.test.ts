/** Device-side normative statements of VIRTIO 1.4 §5.1 for what is implemented, one test each, by their ids. */
import { describe, expect, test } from 'vitest';
import { Tracer } from '../../../core/trace.ts';
import type { Offload, OffloadCaps } from '../../../net/netdev.ts';
import { ALL_CAPS, FINISHED, NO_CAPS } from '../../../net/offload.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { FakeTransport, type Sent } from '../fake-transport.ts';
import * as d from './defs.ts';
import { VirtioNet } from './device.ts';
import { FakeNetdev } from './fake-netdev.ts';
import { netSettings } from './properties.ts';

const MODERN = d.VIRTIO_F_VERSION_1;
const GUEST = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const MULTICAST = [0x01, 0x00, 0x5e, 0, 0, 1];
const OTHER = [0x02, 0, 0, 0, 0, 9];

class Bench {
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
    expect(sent.written).toBe(1);
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

function frame(length = 100, target: number[] = GUEST, vlan?: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0x5a);
  bytes.set([...target, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
  if (vlan !== undefined) bytes.set([0x81, 0, vlan >> 8, vlan & 0xff, 8, 0], 12);
  return bytes;
}

function tcp(payload: number, flags = 0x10, version: 4 | 6 = 4): Uint8Array {
  const l4 = version === 4 ? 34 : 54;
  const bytes = frame(l4 + 20 + payload);
  bytes.fill(0, 14, l4 + 20);
  bytes.set(version === 4 ? [0x08, 0, 0x45] : [0x86, 0xdd, 0x60], 12);
  if (version === 4) bytes[23] = 6;
  else bytes[20] = 6;
  bytes.set([0x50, flags], l4 + 12);
  return bytes;
}

function large(version: 4 | 6 = 4, gsoSize = 1000): Offload {
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

const u16 = (sent: Sent, at: number) => sent.room[at]! | (sent.room[at + 1]! << 8);
const flags = (sent: Sent) => sent.room[d.HDR.FLAGS];
const gsoType = (sent: Sent) => sent.room[d.HDR.GSO_TYPE];

describe('network device configuration layout', () => {
  test('dev:Device Types / Network Device / Device configuration layout#1 max_virtqueue_pairs is between 1 and 0x8000', () => {
    for (const pairs of [1, 2, 8]) {
      const b = new Bench({ values: { mq: true }, pairs });
      expect(b.config(d.CONFIG.MAX_VIRTQUEUE_PAIRS, 2)).toBe(pairs);
    }
  });

  test('dev:Device Types / Network Device / Device configuration layout#2 mtu is between 68 and 65535', () => {
    expect(() => netSettings({ host_mtu: 67 })).toThrow();
    for (const mtu of [68, 1500, 65535]) {
      expect(new Bench({ values: { host_mtu: mtu } }).config(d.CONFIG.MTU, 2)).toBe(mtu);
    }
  });

  test('dev:Device Types / Network Device / Device configuration layout#4 mtu never changes', () => {
    const b = new Bench({ values: { host_mtu: 1400 } });
    b.rig.device.writeConfig(d.CONFIG.MTU, 2, 9000);
    b.rig.reset();
    b.start();
    expect(b.config(d.CONFIG.MTU, 2)).toBe(1400);
  });

  test('dev:Device Types / Network Device / Device configuration layout#5 frames beyond mtu are not passed on', () => {
    const b = new Bench({ values: { host_mtu: 1000 } });
    expect(b.gets(frame(1014))).toBe(true);
    expect(b.gets(frame(1015))).toBe(false);
    expect(b.gets(frame(1018, GUEST, 5))).toBe(true);
    expect(b.receive(tcp(3000), large()).used).toBe(true);
    const without = new Bench({ values: { host_mtu: 1000 }, without: d.VIRTIO_NET_F_MTU });
    expect(without.gets(frame(1015))).toBe(true);
  });

  test('dev:Device Types / Network Device / Device configuration layout#6 frames up to mtu are sent whole', () => {
    const b = new Bench({ values: { host_mtu: 9000 } });
    b.rig.send(1, [new Uint8Array(12), frame(9014)]);
    expect(b.netdev.sent.map((sent) => sent.frame.length)).toEqual([9014]);
  });

  test('dev:Device Types / Network Device / Device configuration layout#10 speed is a speed or unknown', () => {
    expect(new Bench({ values: { speed: 1000 } }).config(d.CONFIG.SPEED, 4)).toBe(1000);
    expect(new Bench({ values: { duplex: 'full' } }).config(d.CONFIG.SPEED, 4)).toBe(0xffffffff);
  });

  test('dev:Device Types / Network Device / Device configuration layout#11 duplex is 0, 1 or 0xff', () => {
    expect(new Bench({ values: { duplex: 'half' } }).config(d.CONFIG.DUPLEX, 1)).toBe(0);
    expect(new Bench({ values: { duplex: 'full' } }).config(d.CONFIG.DUPLEX, 1)).toBe(1);
    expect(new Bench({ values: { speed: 10 } }).config(d.CONFIG.DUPLEX, 1)).toBe(0xff);
  });

  test('dev:Device Types / Network Device / Device configuration layout#12 speed and duplex stay while the link is up', () => {
    const b = new Bench({ values: { speed: 1000, duplex: 'full' } });
    for (const up of [false, true]) {
      b.rig.device.setLink(up);
      expect(b.config(d.CONFIG.SPEED, 4)).toBe(1000);
      expect(b.config(d.CONFIG.DUPLEX, 1)).toBe(1);
    }
  });

  test('dev:Device Types / Network Device / Device configuration layout#13 HASH_REPORT is not offered', () => {
    const { features } = new Bench({ values: { ctrl_vq: false } }).rig.device;
    expect(features & d.VIRTIO_NET_F_HASH_REPORT).toBe(0n);
  });

  test('dev:Device Types / Network Device / Device configuration layout#14 CTRL_RX_EXTRA goes with CTRL_VQ', () => {
    const { features } = new Bench({ values: { ctrl_vq: false } }).rig.device;
    expect(features & d.VIRTIO_NET_F_CTRL_RX_EXTRA).toBe(0n);
  });
});

describe('network device packet transmission', () => {
  const send = (b: Bench, header: number[], packet: Uint8Array) => {
    const bytes = new Uint8Array(12);
    bytes.set(header);
    b.rig.send(1, [bytes, packet]);
  };

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#1 unknown flags are ignored', () => {
    const b = new Bench();
    send(b, [0xfe], frame());
    expect(b.netdev.sent[0]!.frame).toEqual(frame());
    expect(b.netdev.sent[0]!.offload).toMatchObject({ needsCsum: false, gso: 'none' });
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#2 csum_start counts only with NEEDS_CSUM', () => {
    const b = new Bench({ caps: { ...NO_CAPS, csum: true } });
    send(b, [0, 0, 0, 0, 0, 0, 34, 0, 16, 0], frame());
    expect(b.netdev.sent[0]!.frame).toEqual(frame());
    expect(b.netdev.sent[0]!.offload).toMatchObject({ needsCsum: false, csumStart: 0, csumOffset: 0 });
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#6 hdr_len is passed on as a hint', () => {
    const b = new Bench();
    send(b, [1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0], tcp(3000));
    expect(b.netdev.sent[0]!.offload!.hdrLen).toBe(54);
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#7 a wrong hdr_len changes nothing', () => {
    // The back end loses its abilities after they were offered, so that the card has to cut the packets.
    for (const hdrLen of [0, 1, 54, 255]) {
      const b = new Bench();
      b.netdev.txCaps = NO_CAPS;
      send(b, [1, 1, hdrLen, 0, 0xe8, 3, 34, 0, 16, 0], tcp(2500));
      expect(b.netdev.sent.map((sent) => sent.frame.length)).toEqual([1054, 1054, 554]);
    }
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#8 a packet in both tunnels is refused', () => {
    const b = new Bench();
    send(b, [1, 0x61, 54, 0, 0xe8, 3, 34, 0, 16, 0], tcp(2500));
    expect(b.netdev.sent).toEqual([]);
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#9 there are no tunnel offsets in front of the frame', () => {
    const b = new Bench();
    send(b, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], frame(64));
    expect(b.netdev.sent[0]!.frame).toEqual(frame(64));
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#10 a tunnel without checksum, or with nothing to cut, is refused', () => {
    const b = new Bench();
    for (const header of [
      [0, 0x21],
      [2, 0x41],
      [1, 0x20],
      [1, 0x40],
    ]) {
      send(b, [...header, 54, 0, 0xe8, 3, 34, 0, 16, 0], tcp(2500));
    }
    expect(b.netdev.sent).toEqual([]);
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#11 without NEEDS_CSUM nothing is claimed of checksums', () => {
    const b = new Bench();
    send(b, [0], tcp(10));
    expect(b.netdev.sent[0]!.offload!.dataValid).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Packet Transmission#12 F_SECURITY is a flag that is not recognized', () => {
    const b = new Bench();
    send(b, [0x10], frame(64));
    expect(b.netdev.sent[0]!.frame).toEqual(frame(64));
  });
});

describe('network device receive buffers', () => {
  test('dev:Device Types / Network Device / Device Operation / Setting Up Receive Buffers#1 num_buffers counts the buffers', () => {
    const b = new Bench();
    const rooms = [1, 2, 3, 4].map(() => b.rig.send(0, [], [500]));
    b.netdev.deliver(frame(1200));
    expect(rooms.map((room) => room.used)).toEqual([true, true, true, false]);
    expect(u16(rooms[0]!, d.HDR.NUM_BUFFERS)).toBe(3);
  });

  test('dev:Device Types / Network Device / Device Operation / Setting Up Receive Buffers#2 one buffer without MRG_RXBUF', () => {
    const b = new Bench({ without: d.VIRTIO_NET_F_MRG_RXBUF });
    const rooms = [1, 2].map(() => b.rig.send(0, [], [500]));
    b.netdev.deliver(frame(600));
    expect(rooms.map((room) => room.used)).toEqual([false, false]);
    b.netdev.deliver(frame(400));
    expect(rooms.map((room) => room.used)).toEqual([true, false]);
  });
});

describe('network device incoming packets', () => {
  const id = 'Processing of Incoming Packets';

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#1 num_buffers is 1 without MRG_RXBUF', () => {
    const b = new Bench({ without: d.VIRTIO_NET_F_MRG_RXBUF });
    expect(u16(b.receive(frame()), d.HDR.NUM_BUFFERS), id).toBe(1);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#2 num_buffers includes the header', () => {
    const b = new Bench();
    const rooms = [1, 2].map(() => b.rig.send(0, [], [100]));
    b.netdev.deliver(frame(89));
    expect(u16(rooms[0]!, d.HDR.NUM_BUFFERS)).toBe(2);
    expect(rooms[1]!.written).toBe(1);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#3 all buffers but the last are full', () => {
    const b = new Bench();
    const lengths = [20, 33, 100, 47];
    const rooms = lengths.map((length) => b.rig.send(0, [], [length]));
    b.netdev.deliver(frame(150));
    expect(rooms.map((room) => room.written)).toEqual([20, 33, 100, 9]);
    const joined = rooms.flatMap((room) => [...room.answer]);
    expect(Uint8Array.from(joined.slice(12))).toEqual(frame(150));
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#4 the buffers of a packet are used together', () => {
    const b = new Bench();
    const rooms = [1, 2, 3].map(() => b.rig.send(0, [], [500]));
    b.netdev.deliver(frame(1200));
    expect(b.rig.queues[0]!.interrupts).toBe(1);
    expect(rooms.every((room) => room.used)).toBe(true);
    // Never a part of a packet while the rest has no room.
    const alone = b.rig.send(0, [], [500]);
    b.netdev.deliver(frame(1200));
    expect(alone.used).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#5 without GUEST_CSUM flags are 0 and checksums complete', () => {
    const b = new Bench({ without: d.GUEST_OFFLOADS });
    const packet = tcp(100);
    const sent = b.receive(packet, { ...large(), gso: 'none', gsoSize: 0 });
    expect(flags(sent)).toBe(0);
    expect(sent.answer.subarray(12 + 50, 12 + 52)).not.toEqual(packet.subarray(50, 52));
    expect(flags(b.receive(frame(), FINISHED))).toBe(0);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#6 no TCPV4 without GUEST_TSO4', () => {
    const b = new Bench({ without: d.VIRTIO_NET_F_GUEST_TSO4 });
    expect(gsoType(b.receive(tcp(1500), large()))).toBe(0);
    expect(gsoType(new Bench().receive(tcp(1500), large()))).toBe(1);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#7 no UDP without GUEST_UFO', () => {
    const packet = tcp(1500);
    packet[23] = 17;
    const udp: Offload = { ...large(), gso: 'udp', csumOffset: 6 };
    const b = new Bench({ without: d.VIRTIO_NET_F_GUEST_UFO });
    expect(gsoType(b.receive(packet, udp))).toBe(0);
    expect(gsoType(new Bench().receive(packet, udp))).toBe(3);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#8 no TCPV6 without GUEST_TSO6', () => {
    const b = new Bench({ without: d.VIRTIO_NET_F_GUEST_TSO6 });
    expect(gsoType(b.receive(tcp(1500, 0x10, 6), large(6)))).toBe(0);
    expect(gsoType(new Bench().receive(tcp(1500, 0x10, 6), large(6)))).toBe(4);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#9 never UDP_L4', () => {
    for (const gso of ['none', 'tcp4', 'tcp6', 'udp'] as const) {
      expect(gsoType(new Bench().receive(tcp(1500), { ...large(), gso }))).not.toBe(5);
    }
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#10 never a tunnel in gso_type', () => {
    expect(gsoType(new Bench().receive(tcp(1500), large()))! & 0x60).toBe(0);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#11 never UDP_TUNNEL_CSUM', () => {
    expect(flags(new Bench().receive(tcp(1500), large()))! & 8).toBe(0);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#12 ECN is marked, or cut where the guest has not negotiated it', () => {
    expect(gsoType(new Bench().receive(tcp(1500, 0x90), large()))).toBe(1 | d.VIRTIO_NET_HDR_GSO_ECN);
    const without = new Bench({ without: d.VIRTIO_NET_F_GUEST_ECN });
    const rooms = [1, 2].map(() => without.rig.send(0, [], [2000]));
    without.netdev.deliver(tcp(1500, 0x90), large());
    expect(rooms.map((room) => [gsoType(room), room.written])).toEqual([
      [0, 1066],
      [0, 566],
    ]);
    expect(gsoType(without.receive(tcp(1500, 0x10), large()))).toBe(1);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#15 NEEDS_CSUM may be set', () => {
    expect(flags(new Bench().receive(tcp(10), { ...large(), gso: 'none', gsoSize: 0 }))).toBe(1);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#17 the partial checksum is left as it came', () => {
    const packet = tcp(100);
    packet.set([0x12, 0x34], 50);
    const sent = new Bench().receive(packet, { ...large(), gso: 'none', gsoSize: 0 });
    expect([...sent.answer.subarray(62, 64)]).toEqual([0x12, 0x34]);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#18 csum_start and csum_offset are set', () => {
    const sent = new Bench().receive(tcp(10), { ...large(), gso: 'none', gsoSize: 0 });
    expect(u16(sent, d.HDR.CSUM_START)).toBe(34);
    expect(u16(sent, d.HDR.CSUM_OFFSET)).toBe(16);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#21 no offloads, no gso_type', () => {
    const none =
      d.VIRTIO_NET_F_GUEST_TSO4 |
      d.VIRTIO_NET_F_GUEST_TSO6 |
      d.VIRTIO_NET_F_GUEST_UFO |
      d.VIRTIO_NET_F_GUEST_ECN;
    const b = new Bench({ without: none });
    expect(gsoType(b.receive(tcp(900), large()))).toBe(0);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#22 gso_type comes with NEEDS_CSUM and gso_size', () => {
    const sent = new Bench().receive(tcp(3000), large(4, 1448));
    expect(flags(sent)).toBe(1);
    expect(u16(sent, d.HDR.GSO_SIZE)).toBe(1448);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#24 RSC_INFO is never set', () => {
    expect(flags(new Bench().receive(tcp(3000), large()))! & 4).toBe(0);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#25 hdr_len covers the headers', () => {
    expect(u16(new Bench().receive(tcp(3000), large()), d.HDR.HDR_LEN)).toBe(54);
    expect(u16(new Bench().receive(tcp(3000, 0x10, 6), large(6)), d.HDR.HDR_LEN)).toBe(74);
  });

  test('dev:Device Types / Network Device / Device Operation / Processing of Incoming Packets#26 DATA_VALID only where somebody validated', () => {
    expect(flags(new Bench().receive(tcp(10), FINISHED))).toBe(2);
    expect(flags(new Bench().receive(tcp(10)))).toBe(0);
  });
});

describe('network device receive filtering', () => {
  const RX = d.VIRTIO_NET_CTRL_RX;

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#1 PROMISC and ALLMULTI are supported', () => {
    const b = new Bench();
    expect(b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0)).toBe(true);
    expect(b.command(RX, d.VIRTIO_NET_CTRL_RX_ALLMULTI, 1)).toBe(true);
    expect(b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC)).toBe(false);
    expect(b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0, 0)).toBe(false);
    const without = new Bench({ without: d.VIRTIO_NET_F_CTRL_RX });
    expect(without.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0)).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#2 promiscuous mode takes all', () => {
    const b = new Bench();
    for (const target of [OTHER, MULTICAST, BROADCAST, GUEST]) expect(b.gets(frame(60, target))).toBe(true);
    b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    expect(b.gets(frame(60, OTHER))).toBe(false);
    expect(b.gets(frame(60, MULTICAST))).toBe(false);
    expect(b.gets(frame(60, BROADCAST))).toBe(true);
    expect(b.gets(frame(60, GUEST))).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#3 promiscuous mode wins', () => {
    const b = new Bench();
    for (const mode of [3, 4, 5]) b.command(RX, mode, 1);
    for (const target of [OTHER, MULTICAST, BROADCAST]) expect(b.gets(frame(60, target))).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#4 ALLMULTI takes all multicast', () => {
    const b = new Bench();
    b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    b.command(RX, d.VIRTIO_NET_CTRL_RX_ALLMULTI, 1);
    expect(b.gets(frame(60, MULTICAST))).toBe(true);
    expect(b.gets(frame(60, OTHER))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#5 the extra modes are supported', () => {
    const b = new Bench();
    for (const mode of [2, 3, 4, 5]) {
      expect(b.command(RX, mode, 1)).toBe(true);
      expect(b.command(RX, mode, 0)).toBe(true);
    }
    expect(b.command(RX, 6, 1)).toBe(false);
    const without = new Bench({ without: d.VIRTIO_NET_F_CTRL_RX_EXTRA });
    expect(without.command(RX, d.VIRTIO_NET_CTRL_RX_NOUNI, 1)).toBe(false);
  });

  /** Not promiscuous, with the given modes on. */
  const filtered = (...modes: number[]) => {
    const b = new Bench();
    b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    for (const mode of modes) b.command(RX, mode, 1);
    return b;
  };

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#6 ALLUNI takes all unicast', () => {
    expect(filtered(d.VIRTIO_NET_CTRL_RX_ALLUNI).gets(frame(60, OTHER))).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#7 NOMULTI suppresses multicast', () => {
    const b = filtered(d.VIRTIO_NET_CTRL_RX_NOMULTI);
    b.command(d.VIRTIO_NET_CTRL_MAC, 0, 0, 0, 0, 0, 1, 0, 0, 0, ...MULTICAST);
    expect(b.gets(frame(60, MULTICAST))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#8 NOMULTI wins over ALLMULTI', () => {
    const b = filtered(d.VIRTIO_NET_CTRL_RX_NOMULTI, d.VIRTIO_NET_CTRL_RX_ALLMULTI);
    expect(b.gets(frame(60, MULTICAST))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#9 NOMULTI leaves broadcast', () => {
    expect(filtered(d.VIRTIO_NET_CTRL_RX_NOMULTI).gets(frame(60, BROADCAST))).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#10 NOUNI suppresses unicast', () => {
    expect(filtered(d.VIRTIO_NET_CTRL_RX_NOUNI).gets(frame(60, GUEST))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#11 NOUNI wins over ALLUNI', () => {
    const b = filtered(d.VIRTIO_NET_CTRL_RX_NOUNI, d.VIRTIO_NET_CTRL_RX_ALLUNI);
    expect(b.gets(frame(60, OTHER))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#12 NOBCAST suppresses broadcast', () => {
    expect(filtered(d.VIRTIO_NET_CTRL_RX_NOBCAST).gets(frame(60, BROADCAST))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering#13 NOBCAST wins over ALLMULTI', () => {
    const b = filtered(d.VIRTIO_NET_CTRL_RX_NOBCAST, d.VIRTIO_NET_CTRL_RX_ALLMULTI);
    expect(b.gets(frame(60, BROADCAST))).toBe(false);
  });

  const MAC = d.VIRTIO_NET_CTRL_MAC;

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering#1 the table is empty after a reset', () => {
    const b = filtered();
    b.command(MAC, 0, 1, 0, 0, 0, ...OTHER, 0, 0, 0, 0);
    expect(b.gets(frame(60, OTHER))).toBe(true);
    b.rig.reset();
    b.start();
    b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    expect(b.gets(frame(60, OTHER))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering#2 the table counts as soon as the command is used', () => {
    const b = filtered();
    expect(b.command(MAC, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...MULTICAST)).toBe(true);
    expect(b.gets(frame(60, OTHER))).toBe(true);
    expect(b.gets(frame(60, MULTICAST))).toBe(true);
    expect(b.command(MAC, 0, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(true);
    expect(b.gets(frame(60, OTHER))).toBe(false);
    // Broken tables change nothing.
    for (const bad of [[], [1, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0, 0, 0, 0, 0, 1]]) {
      expect(b.command(MAC, 0, ...bad)).toBe(false);
    }
    // More than it holds: all unicast, rather than too little.
    const many = Array.from({ length: 65 }, (_, i) => [2, 0, 0, 0, 1, i]).flat();
    expect(b.command(MAC, 0, 65, 0, 0, 0, ...many, 0, 0, 0, 0)).toBe(true);
    expect(b.gets(frame(60, OTHER))).toBe(true);
    expect(b.gets(frame(60, MULTICAST))).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering#3 MAC_ADDR_SET shows in the configuration', () => {
    const b = filtered();
    expect(b.command(MAC, 1, ...OTHER)).toBe(true);
    expect([0, 1, 2, 3, 4, 5].map((i) => b.config(i, 1))).toEqual(OTHER);
    expect(b.gets(frame(60, OTHER))).toBe(true);
    expect(b.gets(frame(60, GUEST))).toBe(false);
    expect(b.command(MAC, 1, 1, 2, 3)).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering#4 other addresses are dropped', () => {
    const b = filtered();
    expect(b.gets(frame(60, OTHER))).toBe(false);
    expect(b.rig.device.stats.rxDropped).toBe(1);
  });

  const VLAN = d.VIRTIO_NET_CTRL_VLAN;

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / VLAN Filtering#1 without CTRL_VLAN all tags pass', () => {
    const b = new Bench({ without: d.VIRTIO_NET_F_CTRL_VLAN });
    b.command(RX, d.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    expect(b.gets(frame(60, GUEST, 7))).toBe(true);
    expect(b.command(VLAN, 0, 7, 0)).toBe(false);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / VLAN Filtering#2 only tags of the table pass', () => {
    const b = filtered();
    expect(b.gets(frame(60, GUEST, 7))).toBe(false);
    expect(b.command(VLAN, d.VIRTIO_NET_CTRL_VLAN_ADD, 7, 0)).toBe(true);
    expect(b.gets(frame(60, GUEST, 7))).toBe(true);
    // The priority bits are no part of the id.
    expect(b.gets(frame(60, GUEST, 0xe007))).toBe(true);
    expect(b.gets(frame(60, GUEST, 8))).toBe(false);
    expect(b.gets(frame(60, GUEST))).toBe(true);
    expect(b.command(VLAN, d.VIRTIO_NET_CTRL_VLAN_DEL, 7, 0)).toBe(true);
    expect(b.gets(frame(60, GUEST, 7))).toBe(false);
    expect(b.command(VLAN, 0, 0, 0x10)).toBe(false);
  });
});

describe('network device control queue', () => {
  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Gratuitous Packet Sending#1 ANNOUNCE_ACK clears the bit', () => {
    const b = new Bench();
    expect(b.command(d.VIRTIO_NET_CTRL_ANNOUNCE, 0)).toBe(false);
    b.rig.device.announce();
    expect(b.config(d.CONFIG.STATUS, 2)).toBe(3);
    expect(b.rig.configChanges).toBe(1);
    expect(b.command(d.VIRTIO_NET_CTRL_ANNOUNCE, 0)).toBe(true);
    expect(b.config(d.CONFIG.STATUS, 2)).toBe(1);
    const without = new Bench({ without: d.VIRTIO_NET_F_GUEST_ANNOUNCE });
    without.rig.device.announce();
    expect(without.config(d.CONFIG.STATUS, 2)).toBe(1);
  });

  const many = (values: PropertyValues = { mq: true }) => new Bench({ values, pairs: 4 });
  const pairs = (b: Bench, count: number) => b.command(d.VIRTIO_NET_CTRL_MQ, 0, count & 0xff, count >> 8);
  const MQ = 'Automatic receive steering in multiqueue mode';

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode#1 only receiveq1 after a reset', () => {
    const b = many();
    pairs(b, 4);
    b.rig.reset();
    b.start();
    const rooms = [2, 4, 6].map((queue) => b.rig.send(queue, [], [2000]));
    b.rig.queues[0]!.enabled = true;
    for (let port = 0; port < 20; port++) b.netdev.deliver(tcp(port));
    expect(
      rooms.every((room) => !room.used),
      MQ,
    ).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode#2 no queue beyond virtqueue_pairs is used', () => {
    const b = many();
    expect(pairs(b, 2)).toBe(true);
    expect(pairs(b, 0)).toBe(false);
    expect(pairs(b, 5)).toBe(false);
    const beyond = [4, 6].map((queue) => b.rig.send(queue, [], [2000]));
    const within = [0, 2].map((queue) => b.rig.send(queue, [], [2000]));
    b.rig.send(7, [new Uint8Array(12), tcp(1)]);
    expect(b.netdev.sent).toEqual([]);
    b.netdev.deliver(tcp(1));
    expect(beyond.some((room) => room.used)).toBe(false);
    expect(within.some((room) => room.used)).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode#3 a queue that is being reset is passed over', () => {
    const b = many();
    pairs(b, 2);
    b.rig.queues[0]!.enabled = false;
    const room = b.rig.send(2, [], [2000]);
    b.netdev.deliver(tcp(1));
    expect(room.used).toBe(true);
  });

  test('dev:Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode#4 with all queues being reset packets are dropped', () => {
    const b = many();
    pairs(b, 2);
    b.rig.queues[0]!.enabled = false;
    b.rig.queues[2]!.enabled = false;
    b.netdev.deliver(tcp(1));
    expect(b.netdev.waiting.length).toBe(0);
    expect(b.rig.device.stats.rxDropped).toBe(1);
  });

  test('guest offloads are switched by a subset of what was negotiated', () => {
    const b = new Bench({ without: d.VIRTIO_NET_F_GUEST_TSO6 });
    const set = (bits: bigint) => {
      const data = new Uint8Array(8);
      new DataView(data.buffer).setBigUint64(0, bits, true);
      return b.command(d.VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, ...data);
    };
    expect(b.rig.device.rxCaps.tso4).toBe(true);
    expect(set(0n)).toBe(true);
    expect(b.rig.device.rxCaps).toEqual(NO_CAPS);
    expect(gsoType(b.receive(tcp(900), large()))).toBe(0);
    expect(set(d.VIRTIO_NET_F_GUEST_TSO6)).toBe(false);
    expect(set(d.VIRTIO_NET_F_GUEST_CSUM | d.VIRTIO_NET_F_GUEST_TSO4)).toBe(true);
    expect(b.rig.device.rxCaps).toEqual({ csum: true, tso4: true, tso6: false, ufo: false });
  });

  test('nonsense is answered with an error, and a command without room for the answer is survived', () => {
    const b = new Bench();
    expect(b.command(9, 0)).toBe(false);
    expect(b.command(d.VIRTIO_NET_CTRL_MQ, 0, 1, 0)).toBe(false);
    expect(b.rig.send(2, [Uint8Array.of(0)], [1]).answer[0]).toBe(d.VIRTIO_NET_ERR);
    expect(b.rig.send(2, [new Uint8Array(70000)], [1]).answer[0]).toBe(d.VIRTIO_NET_ERR);
    expect(b.rig.send(2, [Uint8Array.of(0, 0, 1)]).used).toBe(true);
    expect(b.rig.errors.length).toBe(1);
  });
});
