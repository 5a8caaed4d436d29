/** Device-side statements of VIRTIO 1.4 §5.1.4 and §5.1.6.1 to .4 for what is implemented, by their ids. */
import { describe, expect, test } from 'vitest';
import type { Offload } from '../../../net/netdev.ts';
import { FINISHED, NO_CAPS } from '../../../net/offload.ts';
import { Bench, GUEST, flags, frame, gsoType, large, tcp, u16 } from './clause-bench.ts';
import * as d from './defs.ts';
import { netSettings } from './properties.ts';

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
