import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Tracer } from '../../../core/trace.ts';
import type { Offload, OffloadCaps } from '../../../net/netdev.ts';
import { ALL_CAPS, FINISHED, NO_CAPS } from '../../../net/offload.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { FakeTransport, type Sent } from '../fake-transport.ts';
import * as d from './defs.ts';
import { VirtioNet } from './device.ts';
import { FakeNetdev } from './fake-netdev.ts';
import { formatMac, netSettings, parseMac } from './properties.ts';

const MODERN = d.VIRTIO_F_VERSION_1;
const GUEST = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const HOST = [0x52, 0x55, 0x0a, 0, 2, 2];

interface Bench {
  rig: FakeTransport<VirtioNet>;
  netdev: FakeNetdev;
}

function bench(values: PropertyValues = {}, caps: OffloadCaps = ALL_CAPS, pairs = 1): Bench {
  const netdev = new FakeNetdev(caps);
  const settings = netSettings(values, pairs);
  const device = new VirtioNet({ netdev, tracer: new Tracer(), settings });
  return { netdev, rig: new FakeTransport(device) };
}

/** Starts with all that is offered, less `without`. */
function start(b: Bench, without = 0n): Bench {
  b.rig.start((b.rig.device.features & ~without) | MODERN);
  return b;
}

/** A frame of `length` bytes for the guest, filled with a pattern behind the Ethernet header. */
function frame(length = 100, target: number[] = GUEST, type = 0x0800): Uint8Array {
  const bytes = new Uint8Array(length).map((_, i) => i * 13);
  bytes.set([...target, ...HOST, type >> 8, type & 0xff]);
  return bytes;
}

/** A TCP/IPv4 frame; its checksum field holds the pseudo header's sum, which the tests do not check. */
function tcp(payload: number, options: { flags?: number; port?: number } = {}): Uint8Array {
  const bytes = frame(54 + payload);
  const view = new DataView(bytes.buffer);
  bytes[14] = 0x45;
  view.setUint16(16, bytes.length - 14);
  view.setUint16(20, 0x4000);
  bytes[23] = 6;
  view.setUint16(34, options.port ?? 1000);
  view.setUint16(36, 80);
  bytes[46] = 0x50;
  bytes[47] = options.flags ?? 0x10;
  return bytes;
}

const gso = (size: number): Offload => ({
  ...FINISHED,
  dataValid: false,
  needsCsum: true,
  csumStart: 34,
  csumOffset: 16,
  gso: 'tcp4',
  gsoSize: size,
  hdrLen: 54,
});

function header(
  fields: Partial<Record<keyof typeof d.HDR, number>> = {},
  size: number = d.HDR.SIZE,
): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (const [name, value] of Object.entries(fields)) {
    const at = d.HDR[name as keyof typeof d.HDR];
    if (at < 2) bytes[at] = value!;
    else view.setUint16(at, value!, true);
  }
  return bytes;
}

const u16 = (sent: Sent, at: number) => sent.room[at]! | (sent.room[at + 1]! << 8);

describe('virtio-net transmission', () => {
  test('sends frames in any framing, without a copy where the frame is one piece', () => {
    const b = start(bench());
    const f = frame(200);
    b.rig.send(1, [header(), f]);
    fc.assert(
      fc.property(fc.array(fc.nat(212)), (cuts) => {
        const whole = new Uint8Array([...header(), ...f]);
        const at = [...new Set([0, ...cuts, whole.length])].sort((x, y) => x - y);
        const pieces = at.slice(1).map((to, i) => whole.slice(at[i], to));
        const sent = b.rig.send(1, pieces);
        expect(sent.written).toBe(0);
        expect(b.netdev.sent.at(-1)!.frame).toEqual(f);
      }),
      { numRuns: 50 },
    );
    expect(b.netdev.sent[0]!.frame).toEqual(f);
    expect(b.rig.device.stats.txPackets).toBe(b.netdev.sent.length);
    expect(b.rig.device.stats.txBytes).toBe(b.netdev.sent.length * 200);
  });

  test('legacy drivers without MRG_RXBUF use a header of 10 bytes', () => {
    const b = bench();
    b.rig.start(b.rig.device.features & ~d.VIRTIO_NET_F_MRG_RXBUF);
    b.rig.send(1, [header({}, 10), frame(60)]);
    expect(b.netdev.sent[0]!.frame).toEqual(frame(60));
    const room = b.rig.send(0, [], [1600]);
    b.netdev.deliver(frame(70));
    expect(room.written).toBe(80);
    expect(room.answer.subarray(10)).toEqual(frame(70));
  });

  test('passes large packets on as they are to a back end that takes them', () => {
    const b = start(bench());
    const packet = tcp(5000);
    b.rig.send(1, [
      header({
        FLAGS: 1,
        GSO_TYPE: d.VIRTIO_NET_HDR_GSO_TCPV4,
        HDR_LEN: 54,
        GSO_SIZE: 1448,
        CSUM_START: 34,
        CSUM_OFFSET: 16,
      }),
      packet,
    ]);
    expect(b.netdev.sent.length).toBe(1);
    expect(b.netdev.sent[0]!.offload).toEqual({ ...gso(1448) });
  });

  test('offers no offloads that the back end cannot take, and drops what was not negotiated', () => {
    const b = start(bench({}, NO_CAPS));
    expect(b.rig.device.features & (d.HOST_OFFLOADS | d.GUEST_OFFLOADS)).toBe(0n);
    b.rig.send(1, [header({ FLAGS: 1, GSO_TYPE: 1, GSO_SIZE: 1000 }), tcp(3000)]);
    b.rig.send(1, [header({ FLAGS: 1, CSUM_START: 34, CSUM_OFFSET: 16 }), tcp(10)]);
    expect(b.netdev.sent).toEqual([]);
    expect(b.rig.device.stats.txDropped).toBe(2);
    const some = bench({}, { csum: true, tso4: true, tso6: false, ufo: false }).rig.device.features;
    expect(some & d.VIRTIO_NET_F_HOST_TSO4).not.toBe(0n);
    expect(some & d.VIRTIO_NET_F_HOST_TSO6).toBe(0n);
    expect(some & d.VIRTIO_NET_F_HOST_ECN).not.toBe(0n);
  });

  test('drops frames that are no frames, and logs them', () => {
    const b = start(bench());
    for (const bytes of [new Uint8Array(5), header(), new Uint8Array(12 + 13), new Uint8Array(70000)]) {
      expect(b.rig.send(1, [bytes]).used).toBe(true);
    }
    b.rig.send(1, [header({ GSO_TYPE: 7 }), frame()]);
    b.rig.send(1, [header({ FLAGS: 1, CSUM_START: 1000, CSUM_OFFSET: 0 }), frame()]);
    b.rig.send(1, [header({ FLAGS: 1, GSO_TYPE: 1, GSO_SIZE: 0 }), tcp(100)]);
    expect(b.rig.errors.length).toBeGreaterThanOrEqual(5);
    // A partial checksum outside the frame and a size of 0 only matter to who has to finish the packet.
    expect(b.netdev.sent.length).toBe(2);
  });

  test('a pulled cable loses what is sent and what comes', () => {
    const b = start(bench());
    b.rig.device.setLink(false);
    expect(b.rig.configChanges).toBe(1);
    expect(b.rig.device.readConfig(d.CONFIG.STATUS, 2)).toBe(0);
    expect(b.rig.send(1, [header(), frame()]).used).toBe(true);
    const room = b.rig.send(0, [], [2000]);
    b.netdev.deliver(frame());
    expect(b.netdev.waiting.length).toBe(0);
    expect(room.used).toBe(false);
    b.rig.device.setLink(true);
    b.netdev.deliver(frame());
    expect(room.used).toBe(true);
    b.netdev.setLink(false);
    expect(b.rig.device.readConfig(d.CONFIG.STATUS, 2)).toBe(0);
    expect(b.rig.configChanges).toBe(3);
    expect(b.netdev.sent).toEqual([]);
  });
});

describe('virtio-net reception', () => {
  test('a frame and its header, used length exact', () => {
    const b = start(bench());
    const room = b.rig.send(0, [], [12, 1000, 1000]);
    b.netdev.deliver(frame(300));
    expect(room.written).toBe(312);
    expect(room.answer.subarray(12)).toEqual(frame(300));
    expect(u16(room, d.HDR.NUM_BUFFERS)).toBe(1);
  });

  test('waits for buffers, for the driver, and keeps the order', () => {
    const b = bench();
    b.netdev.deliver(frame(60));
    expect(b.netdev.waiting.length).toBe(1);
    start(b);
    b.netdev.deliver(frame(61));
    b.netdev.deliver(frame(62));
    expect(b.netdev.waiting.length).toBe(3);
    const rooms = [1, 2, 3].map(() => b.rig.send(0, [], [2000]));
    expect(rooms.map((room) => room.written)).toEqual([72, 73, 74]);
    expect(b.netdev.waiting.length).toBe(0);
    b.rig.reset();
    b.netdev.deliver(frame(63));
    expect(b.netdev.waiting.length).toBe(1);
  });

  test('asks for no notifications while it has buffers, and for one when it has none', () => {
    const b = start(bench());
    b.rig.send(0, [], [2000]);
    b.netdev.deliver(frame());
    expect(b.rig.queues[0]!.notify).toBe(false);
    b.netdev.deliver(frame());
    expect(b.rig.queues[0]!.notify).toBe(true);
    expect(b.rig.send(0, [], [2000]).used).toBe(true);
  });

  test('a guest without offloads gets large packets cut, all of them in the end', () => {
    const b = start(bench(), d.GUEST_OFFLOADS);
    expect(b.rig.device.rxCaps).toEqual(NO_CAPS);
    const first = b.rig.send(0, [], [2000]);
    b.netdev.deliver(tcp(2500), gso(1000));
    expect(b.netdev.waiting.length).toBe(0);
    b.netdev.deliver(frame(60));
    expect(b.netdev.waiting.length).toBe(1);
    const rest = [1, 2, 3].map(() => b.rig.send(0, [], [2000]));
    expect([first, ...rest].map((room) => room.written)).toEqual([1066, 1066, 566, 72]);
    expect(first.room[d.HDR.FLAGS]).toBe(0);
  });

  test('a buffer that cannot hold the frame drops it and stays', () => {
    const b = start(bench(), d.VIRTIO_NET_F_MRG_RXBUF);
    const room = b.rig.send(0, [], [100]);
    b.netdev.deliver(frame(200));
    expect(room.used).toBe(false);
    expect(b.netdev.waiting.length).toBe(0);
    b.netdev.deliver(frame(60));
    expect(room.written).toBe(72);
    expect(b.rig.device.stats).toMatchObject({ rxDropped: 1, rxPackets: 1 });
  });

  test('a mergeable buffer without room for the header is given back', () => {
    const b = start(bench());
    const tiny = b.rig.send(0, [], [11]);
    const room = b.rig.send(0, [], [2000]);
    b.netdev.deliver(frame(60));
    expect(tiny.written).toBe(0);
    expect(room.written).toBe(72);
    expect(b.rig.errors.length).toBe(1);
  });

  test('a packet that a whole ring cannot hold is dropped', () => {
    const b = start(bench());
    for (let i = 0; i < 256; i++) b.rig.send(0, [], [12], false);
    b.netdev.deliver(tcp(4000), gso(1448));
    expect(b.netdev.waiting.length).toBe(0);
    expect(b.rig.device.stats.rxDropped).toBe(1);
    expect(b.rig.queues[0]!.available.length).toBe(256);
  });

  test('several pairs: flows come back on the queue that sent them', () => {
    const b = start(bench({ mq: true }, ALL_CAPS, 4));
    expect(b.rig.queues.length).toBe(9);
    expect(b.rig.device.readConfig(d.CONFIG.MAX_VIRTQUEUE_PAIRS, 2)).toBe(4);
    const rooms = [0, 1, 2, 3].map((pair) => b.rig.send(pair * 2, [], [2000]));
    const set = b.rig.send(8, [Uint8Array.of(4, 0, 4, 0)], [1]);
    expect(set.answer[0]).toBe(d.VIRTIO_NET_OK);
    b.rig.send(5, [header(), tcp(10, { port: 4321 })]);
    const answer = tcp(20);
    const view = new DataView(answer.buffer);
    answer.copyWithin(26, 30, 34);
    answer.set(tcp(0).subarray(26, 30), 30);
    view.setUint16(34, 80);
    view.setUint16(36, 4321);
    b.netdev.deliver(answer);
    expect(rooms.map((room) => room.used)).toEqual([false, false, true, false]);
  });

  test('without MQ the control queue is the third', () => {
    const b = bench({ mq: true }, ALL_CAPS, 4);
    start(b, d.VIRTIO_NET_F_MQ);
    expect(b.rig.send(2, [Uint8Array.of(0, 0, 1)], [1]).answer[0]).toBe(d.VIRTIO_NET_OK);
  });
});

describe('virtio-net configuration', () => {
  test('offers what QEMU 7.2 offers with a back end that takes offloads', () => {
    const bits = (features: bigint) => [...Array(64).keys()].filter((n) => (features >> BigInt(n)) & 1n);
    expect(bits(bench().rig.device.features)).toEqual([
      0, 1, 2, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23,
    ]);
    // As `info virtio-status` shows it for `-netdev user`, less the legacy bit 6.
    expect(bits(bench({}, NO_CAPS).rig.device.features)).toEqual([2, 5, 15, 16, 17, 18, 19, 20, 21, 23]);
    expect(bits(bench({ ctrl_vq: false }, NO_CAPS).rig.device.features)).toEqual([5, 15, 16]);
  });

  test('configuration space ends where the features do', () => {
    expect(bench().rig.device.configSize).toBe(8);
    expect(bench({ status: false }).rig.device.configSize).toBe(6);
    expect(bench({ mq: true }).rig.device.configSize).toBe(10);
    expect(bench({ host_mtu: 1400 }).rig.device.configSize).toBe(12);
    const b = bench({ speed: 10000, duplex: 'full', mac: '02:00:00:00:00:01' });
    expect(b.rig.device.configSize).toBe(17);
    expect(b.rig.device.readConfig(d.CONFIG.SPEED, 4)).toBe(10000);
    expect(b.rig.device.readConfig(d.CONFIG.DUPLEX, 1)).toBe(1);
    expect(b.rig.device.readConfig(0, 4)).toBe(0x00000002);
    expect(formatMac(b.rig.device.mac)).toBe('02:00:00:00:00:01');
  });

  test('only a legacy driver writes its address into the configuration', () => {
    const legacy = bench();
    legacy.rig.start(0n);
    for (let i = 0; i < 6; i++) legacy.rig.device.writeConfig(i, 1, 0x10 + i);
    expect(formatMac(legacy.rig.device.mac)).toBe('10:11:12:13:14:15');
    legacy.rig.reset();
    expect(formatMac(legacy.rig.device.mac)).toBe('52:54:00:12:34:56');
    const modern = start(bench());
    modern.rig.device.writeConfig(0, 1, 0x10);
    expect(formatMac(modern.rig.device.mac)).toBe('52:54:00:12:34:56');
  });

  test("bad properties are refused, with QEMU's texts where it has them", () => {
    const refused: [PropertyValues, string][] = [
      [{ rx_queue_size: 100 }, 'Invalid rx_queue_size (= 100), must be a power of 2 between 256 and 1024.'],
      [{ tx_queue_size: 300 }, 'Invalid tx_queue_size (= 300), must be a power of 2 between 256 and 1024'],
      [{ duplex: 'foo' }, "'duplex' must be 'half' or 'full'"],
      [{ speed: -2 }, "'speed' must be between 0 and INT_MAX"],
      [{ mac: '1' }, "Property 'virtio-net-device.mac' doesn't take value '1'"],
      [{ host_mtu: 50 }, 'host_mtu=50'],
      [{ rss: true }, 'rss=on: receive-side scaling is not implemented'],
    ];
    for (const [values, text] of refused) expect(() => netSettings(values)).toThrow(text);
    expect(formatMac(parseMac('AA-bb-00-11-22-33'))).toBe('aa:bb:00:11:22:33');
  });

  test('a card without a back end has no link and swallows what is sent', () => {
    const rig = new FakeTransport(new VirtioNet({ tracer: new Tracer(), settings: netSettings({}) }));
    rig.start();
    expect(rig.device.readConfig(d.CONFIG.STATUS, 2)).toBe(0);
    expect(rig.send(1, [header(), frame()]).used).toBe(true);
    expect(rig.device.features & d.VIRTIO_NET_F_CSUM).toBe(0n);
  });
});
