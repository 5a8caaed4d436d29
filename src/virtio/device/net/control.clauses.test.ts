/** Device-side statements of VIRTIO 1.4 §5.1.6.5 (control queue) for what is implemented, by their ids. */
import { describe, expect, test } from 'vitest';
import { NO_CAPS } from '../../../net/offload.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { BROADCAST, Bench, GUEST, MULTICAST, OTHER, frame, gsoType, large, tcp } from './clause-bench.ts';
import * as d from './defs.ts';

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
