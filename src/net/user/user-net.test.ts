import { beforeEach, describe, expect, it } from 'vitest';
import { formatIpv4Address } from '../wire/bytes.ts';
import { DHCP_OPTION, DHCP_TYPE, parseDhcp, serializeDhcp } from '../wire/dhcp.ts';
import { parseDns, serializeDns } from '../wire/dns.ts';
import { parseArp, parseEthernet } from '../wire/ethernet.ts';
import { parseIcmp, serializeIcmp, serializeUdp } from '../wire/ipv4.ts';
import { parseForwardRule, parseUserNetOptions } from './options.ts';
import {
  DNS,
  EMPTY,
  GATEWAY_MAC,
  GUEST,
  HOST,
  MAC,
  WORLD,
  arp,
  card,
  host,
  ip,
  net,
  next,
  nextUdp,
  sendIp,
  settle,
  start,
  warnings,
} from './rig.ts';
import { UserNet } from './user-net.ts';

beforeEach(() => start());

describe('neighbours', () => {
  it('answers ARP for the gateway and the name server, and for nobody else', () => {
    arp(GUEST, HOST);
    const frame = parseEthernet(card.frames[0]!.frame)!;
    expect(frame.destination).toEqual(MAC);
    expect(parseArp(frame.payload)).toMatchObject({
      operation: 2,
      senderAddress: HOST,
      senderMac: GATEWAY_MAC,
      targetAddress: GUEST,
    });
    arp(GUEST, DNS);
    arp(GUEST, GUEST);
    arp(GUEST, ip('10.0.2.9'));
    expect(card.frames.length).toBe(2);
  });

  it('passes ping on where the host can, and gives the answer the identifier of the guest', () => {
    let reply: (message: Uint8Array, address: number) => void = () => {};
    const sent: number[] = [];
    let open = 0;
    host.openPing = (onReply) => {
      reply = onReply;
      open++;
      return { send: (_message, address) => void sent.push(address), close: () => void open-- };
    };
    const echo = { type: 8, code: 0, rest: 0x77770005, payload: Uint8Array.of(1) };
    sendIp(1, serializeIcmp(echo), WORLD);
    sendIp(1, serializeIcmp(echo), ip('10.0.2.77'));
    expect(sent).toEqual([WORLD]);
    reply(serializeIcmp({ type: 0, code: 0, rest: 0x11110005, payload: Uint8Array.of(1) }), WORLD);
    reply(Uint8Array.of(1, 2, 3), WORLD);
    const answer = next();
    expect(answer.source).toBe(WORLD);
    expect(parseIcmp(answer.payload)!.rest).toBe(0x77770005);
    for (let id = 0; id < 100; id++) sendIp(1, serializeIcmp({ ...echo, rest: id << 16 }), WORLD);
    expect(open).toBe(32);
  });

  it('answers ping to itself, and warns once that others cannot be', () => {
    sendIp(1, serializeIcmp({ type: 8, code: 0, rest: 0x12340001, payload: Uint8Array.of(1, 2, 3) }), HOST);
    const answer = next();
    expect(answer.source).toBe(HOST);
    expect(parseIcmp(answer.payload)).toMatchObject({ type: 0, rest: 0x12340001 });
    for (let i = 0; i < 2; i++)
      sendIp(1, serializeIcmp({ type: 8, code: 0, rest: 1, payload: EMPTY }), WORLD);
    expect(card.frames).toEqual([]);
    expect(warnings.length).toBe(1);
  });
});

describe('DHCP', () => {
  const ask = (type: number, options: [number, Uint8Array][] = [], clientAddress = 0, mac = MAC): void => {
    const payload = serializeDhcp({
      op: 1,
      transaction: 0xabcd,
      seconds: 0,
      broadcast: false,
      clientAddress,
      yourAddress: 0,
      serverAddress: 0,
      relayAddress: 0,
      clientMac: mac,
      options: new Map<number, Uint8Array>([[DHCP_OPTION.MESSAGE_TYPE, Uint8Array.of(type)], ...options]),
    });
    const source = clientAddress;
    const udp = serializeUdp({ sourcePort: 68, destinationPort: 67, payload }, source, 0xffffffff);
    sendIp(17, udp, 0xffffffff, source);
  };
  const answer = () => {
    const packet = nextUdp();
    return { to: packet.destination, ...parseDhcp(packet.payload.slice())! };
  };
  const be32 = (address: number): Uint8Array =>
    Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address);

  it('gives an address, router, name server and lease', async () => {
    await start({ hostname: 'box', domainname: 'example.org', dnssearch: ['a.b'] }, false);
    ask(DHCP_TYPE.DISCOVER);
    const offer = answer();
    expect(offer.transaction).toBe(0xabcd);
    expect(offer.yourAddress).toBe(GUEST);
    expect(offer.to).toBe(GUEST);
    expect(offer.options.get(DHCP_OPTION.MESSAGE_TYPE)).toEqual(Uint8Array.of(DHCP_TYPE.OFFER));
    ask(DHCP_TYPE.REQUEST, [
      [DHCP_OPTION.REQUESTED_ADDRESS, be32(GUEST)],
      [DHCP_OPTION.SERVER_ID, be32(HOST)],
    ]);
    const ack = answer();
    expect(ack.options.get(DHCP_OPTION.MESSAGE_TYPE)![0]).toBe(DHCP_TYPE.ACK);
    expect(ack.options.get(DHCP_OPTION.ROUTER)).toEqual(be32(HOST));
    expect(ack.options.get(DHCP_OPTION.DNS)).toEqual(be32(DNS));
    expect(ack.options.get(DHCP_OPTION.SUBNET_MASK)).toEqual(be32(0xffffff00));
    expect(ack.options.get(DHCP_OPTION.LEASE_TIME)).toEqual(be32(86400));
    expect(new TextDecoder().decode(ack.options.get(DHCP_OPTION.HOST_NAME))).toBe('box');
    expect(ack.options.get(DHCP_OPTION.DOMAIN_SEARCH)).toEqual(Uint8Array.of(1, 0x61, 1, 0x62, 0));
  });

  it('keeps an address for its owner, renews, refuses the wrong one, and runs out after sixteen', () => {
    ask(DHCP_TYPE.DISCOVER);
    expect(answer().yourAddress).toBe(GUEST);
    const other = Uint8Array.of(2, 0, 0, 0, 0, 1);
    ask(DHCP_TYPE.REQUEST, [[DHCP_OPTION.REQUESTED_ADDRESS, be32(GUEST)]], 0, other);
    const nak = answer();
    expect(nak.options.get(DHCP_OPTION.MESSAGE_TYPE)![0]).toBe(DHCP_TYPE.NAK);
    expect(nak.to).toBe(0xffffffff);
    ask(DHCP_TYPE.REQUEST, [], GUEST);
    expect(answer().yourAddress).toBe(GUEST);
    for (let i = 0; i < 20; i++) ask(DHCP_TYPE.DISCOVER, [], 0, Uint8Array.of(2, 0, 0, 0, 1, i));
    expect(card.frames.length).toBe(15);
    card.frames = [];
    ask(DHCP_TYPE.RELEASE, [], GUEST);
    ask(DHCP_TYPE.DISCOVER, [], 0, other);
    expect(answer().yourAddress).toBe(GUEST);
  });

  it('answers INFORM without an address', () => {
    ask(DHCP_TYPE.INFORM, [], GUEST);
    const ack = answer();
    expect(ack.yourAddress).toBe(0);
    expect(ack.to).toBe(GUEST);
    expect(ack.options.has(DHCP_OPTION.LEASE_TIME)).toBe(false);
  });
});

describe('DNS', () => {
  const question = (name: string, type = 1): Uint8Array =>
    serializeDns({ id: 7, flags: 0x0100, questions: [{ name, type }], answers: [] });
  const ask = (data: Uint8Array): void =>
    sendIp(17, serializeUdp({ sourcePort: 4000, destinationPort: 53, payload: data }, GUEST, DNS), DNS);

  it("forwards to the host's server and back, whatever the question", async () => {
    host.servers = ['192.0.2.53'];
    ask(question('example.org', 15));
    await settle();
    expect(host.udp[0]!.sent[0]).toMatchObject({ address: '192.0.2.53', port: 53 });
    host.udp[0]!.onMessage(Uint8Array.of(9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), '192.0.2.53', 53);
    host.udp[0]!.onMessage(question('forged'), '192.0.2.66', 53);
    const answer = question('example.org', 15);
    host.udp[0]!.onMessage(answer, '192.0.2.53', 53);
    await settle();
    const packet = nextUdp();
    expect(packet).toMatchObject({ source: DNS, sourcePort: 53, destinationPort: 4000 });
    expect(packet.payload).toEqual(answer);
    expect(host.udp[0]!.open).toBe(false);
    expect(card.frames).toEqual([]);
  });

  it("asks the next server, then the host's own resolver", async () => {
    host.servers = ['192.0.2.53', '192.0.2.54'];
    host.names = { 'printer.local': ['192.0.2.9', '2001:db8::1'] };
    for (const [type, data] of [
      [1, [192, 0, 2, 9]],
      [28, [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
    ] as const) {
      ask(question('printer.local', type));
      await settle();
      host.advance(1600);
      await settle();
      host.advance(1600);
      await settle();
      const answer = parseDns(nextUdp().payload)!;
      expect(answer).toMatchObject({ id: 7, flags: 0x8180 });
      expect([...answer.answers[0]!.data]).toEqual(data);
    }
    expect(host.udp.map((socket) => socket.sent[0]!.address)).toContain('192.0.2.54');
  });

  it('says NXDOMAIN, and SERVFAIL for what the resolver cannot look up', async () => {
    ask(question('nowhere.example'));
    await settle();
    expect(parseDns(nextUdp().payload)!.flags & 15).toBe(3);
    ask(question('nowhere.example', 15));
    await settle();
    expect(parseDns(nextUdp().payload)!.flags & 15).toBe(2);
  });
});

describe('UDP', () => {
  const send = (to: number, port: number, data: Uint8Array): void =>
    sendIp(17, serializeUdp({ sourcePort: 5000, destinationPort: port, payload: data }, GUEST, to), to);

  it("uses one socket for each of the guest's ports; the gateway is the host's loopback", async () => {
    send(HOST, 9, Uint8Array.of(1));
    await settle();
    send(WORLD, 10, Uint8Array.of(2));
    expect(host.udp.length).toBe(1);
    expect(host.udp[0]!.sent.map(({ address, port }) => `${address}:${port}`)).toEqual([
      '127.0.0.1:9',
      '192.0.2.7:10',
    ]);
    host.udp[0]!.onMessage(Uint8Array.of(3), '127.0.0.1', 9);
    expect(nextUdp()).toMatchObject({ source: HOST, sourcePort: 9, destinationPort: 5000 });
  });

  it('gives idle ports up, and keeps their number bounded', async () => {
    for (let i = 0; i < 400; i++) {
      const data = { sourcePort: 6000 + i, destinationPort: 9, payload: EMPTY };
      sendIp(17, serializeUdp(data, GUEST, WORLD), WORLD);
    }
    await settle();
    expect(net.usage.udp).toBe(256);
    expect(host.udp.filter((socket) => socket.open).length).toBe(256);
    host.advance(250_000);
    send(WORLD, 9, EMPTY);
    expect(net.usage.udp).toBe(1);
  });

  it('puts fragments together in any order, once, and bounds those that never end', async () => {
    const whole = serializeUdp(
      { sourcePort: 5000, destinationPort: 9, payload: Uint8Array.from({ length: 4000 }, (_, i) => i) },
      GUEST,
      WORLD,
    );
    const parts = [0, 1480, 2960].map((at) => ({
      at,
      data: whole.subarray(at, at + 1480),
      more: at + 1480 < whole.length,
    }));
    for (const { at, data, more } of [parts[2]!, parts[0]!, parts[0]!, parts[1]!]) {
      sendIp(17, data, WORLD, GUEST, { fragmentOffset: at, moreFragments: more });
    }
    await settle();
    expect(host.udp[0]!.sent.length).toBe(1);
    expect(host.udp[0]!.sent[0]!.data.length).toBe(4000);
    for (let id = 0; id < 100; id++) {
      sendIp(17, new Uint8Array(800), WORLD, GUEST, {
        id,
        fragmentOffset: 65528 - 8 * (id % 3),
        moreFragments: true,
      });
    }
    expect(host.udp[0]!.sent.length).toBe(1);
  });

  it('does not leave the network for loopback, multicast or its own unused addresses', async () => {
    for (const to of ['127.0.0.1', '224.0.0.251', '255.255.255.255', '10.0.2.99', '0.0.0.0'])
      send(ip(to), 9, EMPTY);
    await settle();
    expect(host.udp).toEqual([]);
  });

  it('leads a forwarded port to the guest and the answer back', async () => {
    await start({ hostfwd: ['udp:127.0.0.1:5353-:53'] });
    host.udp[0]!.onMessage(Uint8Array.of(1, 2), '127.0.0.1', 33333);
    const packet = nextUdp();
    expect(packet).toMatchObject({
      source: HOST,
      destination: GUEST,
      sourcePort: 33333,
      destinationPort: 53,
    });
    const answer = { sourcePort: 53, destinationPort: 33333, payload: Uint8Array.of(9) };
    sendIp(17, serializeUdp(answer, GUEST, HOST), HOST);
    expect(host.udp[0]!.sent).toEqual([{ data: Uint8Array.of(9), address: '127.0.0.1', port: 33333 }]);
  });
});

describe('options', () => {
  it('net, host, dns and dhcpstart', () => {
    const config = parseUserNetOptions({ net: '192.168.7.0/24', dhcpstart: '192.168.7.40' });
    expect([config.host, config.dns, config.dhcpStart].map(formatIpv4Address)).toEqual([
      '192.168.7.2',
      '192.168.7.3',
      '192.168.7.40',
    ]);
    expect(parseUserNetOptions({ net: '172.16.0.0/255.255.0.0' }).mask).toBe(0xffff0000);
    for (const bad of [
      { net: '10.0.2.0/33' },
      { net: 'nonsense' },
      { host: '10.9.9.9' },
      { dns: '10.0.2.2' },
      { net: '10.0.0.0/255.0.255.0' },
      { ipv4: false },
    ]) {
      expect(() => parseUserNetOptions(bad)).toThrow();
    }
  });

  it('forwarding rules', () => {
    expect(parseForwardRule('tcp::2222-:22')).toMatchObject({
      protocol: 'tcp',
      hostAddress: '0.0.0.0',
      hostPort: 2222,
      guestAddress: 0,
      guestPort: 22,
    });
    expect(parseForwardRule('udp:127.0.0.1:53-10.0.2.20:5353')).toMatchObject({
      protocol: 'udp',
      guestAddress: ip('10.0.2.20'),
    });
    for (const bad of [
      'tcp::22',
      'tcp:22-22',
      'sctp::1-:2',
      'tcp::x-:22',
      'tcp::1-:0',
      'tcp::70000-:1',
      'tcp:a:1-:2',
    ]) {
      expect(() => parseForwardRule(bad)).toThrow(`Invalid host forwarding rule '${bad}' (`);
    }
  });

  it('a port that the host refuses', async () => {
    await expect(UserNet.create('n', { hostfwd: ['tcp::1-:1'] }, host)).rejects.toThrow(
      "Could not set up host forwarding rule 'tcp::1-:1': Permission denied",
    );
    await expect(UserNet.create('n', { hostfwd: ['tcp::5-9.9.9.9:1'] }, host)).rejects.toThrow(
      'Bad guest address',
    );
  });
});
