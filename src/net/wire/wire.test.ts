import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIpv4Address, parseIpv4Address } from './bytes.ts';
import { parseDhcp, serializeDhcp } from './dhcp.ts';
import { parseDns, serializeDns } from './dns.ts';
import { parseArp, parseEthernet, serializeArp, serializeEthernet } from './ethernet.ts';
import { parseIcmp, parseIpv4, parseUdp, serializeIcmp, serializeIpv4, serializeUdp } from './ipv4.ts';
import { parseTcp, serializeTcp } from './tcp.ts';

const u8 = fc.integer({ min: 0, max: 255 });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
const payload = fc.uint8Array({ maxLength: 300 });

const tcp = fc.record({
  sourcePort: u16,
  destinationPort: u16,
  seq: u32,
  ack: u32,
  flags: fc.integer({ min: 0, max: 63 }),
  window: u16,
  options: fc.record({ mss: u16, windowScale: fc.integer({ min: 0, max: 14 }) }, { requiredKeys: [] }),
  payload,
});
const ipv4 = fc.record({
  tos: u8,
  id: u16,
  dontFragment: fc.boolean(),
  moreFragments: fc.boolean(),
  fragmentOffset: fc.integer({ min: 0, max: 0x1fff }).map((units) => units * 8),
  ttl: u8,
  protocol: u8,
  source: u32,
  destination: u32,
  options: fc.integer({ min: 0, max: 10 }).map((words) => new Uint8Array(words * 4).fill(1)),
  payload,
});
const label = fc.stringMatching(/^[a-z0-9_-]{1,63}$/);
const name = fc.array(label, { maxLength: 3 }).map((labels) => labels.join('.'));
const dns = fc.record({
  id: u16,
  flags: u16,
  questions: fc.array(fc.record({ name, type: u16 }), { maxLength: 3 }),
  answers: fc.array(fc.record({ name, type: u16, ttl: u32, data: payload }), { maxLength: 3 }),
});
const dhcp = fc.record({
  op: u8,
  transaction: u32,
  seconds: u16,
  broadcast: fc.boolean(),
  clientAddress: u32,
  yourAddress: u32,
  serverAddress: u32,
  relayAddress: u32,
  clientMac: mac,
  options: fc
    .array(fc.tuple(fc.integer({ min: 1, max: 254 }), payload), { maxLength: 5 })
    .map((entries) => new Map(entries)),
});

describe('what is serialized is parsed to the same', () => {
  it('ethernet', () => {
    fc.assert(
      fc.property(fc.record({ destination: mac, source: mac, type: u16, payload }), (frame) => {
        expect(parseEthernet(serializeEthernet(frame))).toEqual(frame);
      }),
    );
  });
  it('arp', () => {
    const arp = fc.record({
      operation: u16,
      senderMac: mac,
      senderAddress: u32,
      targetMac: mac,
      targetAddress: u32,
    });
    fc.assert(
      fc.property(arp, (packet) => {
        expect(parseArp(serializeArp(packet))).toEqual(packet);
      }),
    );
  });
  it('ipv4', () => {
    fc.assert(
      fc.property(ipv4, (packet) => {
        expect(parseIpv4(serializeIpv4(packet))).toEqual(packet);
      }),
    );
  });
  it('icmp', () => {
    const icmp = fc.record({ type: u8, code: u8, rest: u32, payload });
    fc.assert(
      fc.property(icmp, (message) => {
        expect(parseIcmp(serializeIcmp(message))).toEqual(message);
      }),
    );
  });
  it('udp', () => {
    const udp = fc.record({ sourcePort: u16, destinationPort: u16, payload });
    fc.assert(
      fc.property(udp, u32, u32, (datagram, source, destination) => {
        expect(parseUdp(serializeUdp(datagram, source, destination), source, destination)).toEqual(datagram);
      }),
    );
  });
  it('tcp', () => {
    fc.assert(
      fc.property(tcp, u32, u32, (segment, source, destination) => {
        expect(parseTcp(serializeTcp(segment, source, destination), source, destination)).toEqual(segment);
      }),
    );
  });
  it('dhcp', () => {
    fc.assert(
      fc.property(dhcp, (message) => {
        expect(parseDhcp(serializeDhcp(message))).toEqual(message);
      }),
    );
  });
  it('dns', () => {
    fc.assert(
      fc.property(dns, (message) => {
        expect(parseDns(serializeDns(message))).toEqual(message);
      }),
    );
  });
  it('addresses', () => {
    fc.assert(
      fc.property(u32, (address) => {
        expect(parseIpv4Address(formatIpv4Address(address))).toBe(address);
      }),
    );
    for (const bad of ['', '1.2.3', '256.1.1.1', '1.2.3.4.5', 'a.b.c.d', '1.2.3.4 ']) {
      expect(parseIpv4Address(bad)).toBeUndefined();
    }
  });
});

describe('hostile bytes never throw', () => {
  const parsers: ((data: Uint8Array) => unknown)[] = [
    parseEthernet,
    parseArp,
    parseIpv4,
    parseIcmp,
    (data) => parseUdp(data, 1, 2, false),
    (data) => parseTcp(data, 1, 2, false),
    parseDhcp,
    parseDns,
  ];
  it('random', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (data) => {
        for (const parse of parsers) parse(data);
      }),
      { numRuns: 2000 },
    );
  });
  it('cut and changed', () => {
    const cut = (bytes: Uint8Array, at: number, value: number, length: number): Uint8Array => {
      const copy = bytes.slice(0, length % (bytes.length + 1));
      if (copy.length > 0) copy[at % copy.length] = value;
      return copy;
    };
    fc.assert(
      fc.property(dns, dhcp, tcp, u16, u8, u16, (a, b, c, at, value, length) => {
        parseDns(cut(serializeDns(a), at, value, length));
        parseDhcp(cut(serializeDhcp(b), at, value, length));
        parseTcp(cut(serializeTcp(c, 1, 2), at, value, length), 1, 2, false);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('known bytes', () => {
  it('a SYN as Linux sends it: options in between that we do not know', () => {
    const segment = Uint8Array.from([
      0x9c,
      0x40,
      0x00,
      0x50, // 40000 → 80
      0x00,
      0x00,
      0x00,
      0x01, // sequence number
      0x00,
      0x00,
      0x00,
      0x00, // acknowledgment
      0xa0,
      0x02,
      0xfa,
      0xf0, // 10 words, SYN, window 64240
      0x00,
      0x00,
      0x00,
      0x00, // checksum (not verified here), urgent pointer
      0x02,
      0x04,
      0x05,
      0xb4, // MSS 1460
      0x04,
      0x02, // SACK permitted
      0x08,
      0x0a,
      1,
      2,
      3,
      4,
      0,
      0,
      0,
      0, // timestamps
      0x01,
      0x03,
      0x03,
      0x07, // NOP, window scale 7
    ]);
    expect(parseTcp(segment, 0, 0, false)).toMatchObject({
      sourcePort: 40000,
      destinationPort: 80,
      seq: 1,
      flags: 2,
      window: 64240,
      options: { mss: 1460, windowScale: 7 },
    });
  });

  it('a header with a good and with a bad checksum', () => {
    const header = Uint8Array.from([
      0x45, 0x00, 0x00, 0x14, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x22, 0xd4, 10, 0, 2, 15, 10, 0, 2, 2,
    ]);
    expect(parseIpv4(header)?.protocol).toBe(6);
    header[19] = 3;
    expect(parseIpv4(header)).toBeUndefined();
  });
});
