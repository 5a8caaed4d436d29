import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { NetFrontend, Offload } from '../netdev.ts';
import { formatIpv4Address, parseIpv4Address } from '../wire/bytes.ts';
import { DHCP_OPTION, DHCP_TYPE, parseDhcp, serializeDhcp } from '../wire/dhcp.ts';
import { parseDns, serializeDns } from '../wire/dns.ts';
import { BROADCAST_MAC, parseArp, parseEthernet, serializeArp, serializeEthernet } from '../wire/ethernet.ts';
import { parseIcmp, parseIpv4, parseUdp, serializeIcmp, serializeIpv4, serializeUdp } from '../wire/ipv4.ts';
import { parseTcp, serializeTcp, TCP_FLAG, type TcpSegment } from '../wire/tcp.ts';
import { FakeNetHost, FakeTcp } from './fake-host.ts';
import { parseForwardRule, parseUserNetOptions, type UserNetOptions } from './options.ts';
import { UserNet } from './user-net.ts';

const { SYN, ACK, FIN, RST, PSH } = TCP_FLAG;
const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const GATEWAY_MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
const ip = (text: string): number => parseIpv4Address(text)!;
const GUEST = ip('10.0.2.15');
const HOST = ip('10.0.2.2');
const DNS = ip('10.0.2.3');
const WORLD = ip('192.0.2.7');
const EMPTY = new Uint8Array(0);

/** A guest's card, with the frames that came. */
class Card implements NetFrontend {
  rxCaps = { csum: false, tso4: false, tso6: false, ufo: false };
  frames: { frame: Uint8Array; offload: Offload | undefined }[] = [];
  room = Number.POSITIVE_INFINITY;
  receive(frame: Uint8Array, offload?: Offload): boolean {
    if (this.room <= 0) return false;
    this.room--;
    this.frames.push({ frame: frame.slice(), offload });
    return true;
  }
  linkChanged(): void {}
}

let host: FakeNetHost;
let card: Card;
let net: UserNet;
let warnings: string[];

async function start(options: UserNetOptions = {}, known = true): Promise<void> {
  host = new FakeNetHost();
  card = new Card();
  warnings = [];
  net = await UserNet.create('n0', options, host, (message) => warnings.push(message));
  net.attach(card);
  if (known) arp(GUEST, HOST);
  card.frames = [];
}
beforeEach(() => start());

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

function arp(sender: number, target: number): void {
  const payload = serializeArp({
    operation: 1,
    senderMac: MAC,
    senderAddress: sender,
    targetMac: new Uint8Array(6),
    targetAddress: target,
  });
  net.send(serializeEthernet({ destination: BROADCAST_MAC, source: MAC, type: 0x0806, payload }));
}

function sendIp(protocol: number, payload: Uint8Array, destination: number, source = GUEST, more = {}): void {
  const packet = serializeIpv4({
    tos: 0,
    id: 1,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    ttl: 64,
    protocol,
    source,
    destination,
    options: EMPTY,
    payload,
    ...more,
  });
  net.send(serializeEthernet({ destination: GATEWAY_MAC, source: MAC, type: 0x0800, payload: packet }));
}

/** The next frame to the guest as an IP packet. */
function next() {
  const got = card.frames.shift();
  expect(got, 'a frame').toBeDefined();
  const packet = parseIpv4(parseEthernet(got!.frame)!.payload);
  expect(packet, 'an IP packet with a good checksum').toBeDefined();
  return { ...packet!, offload: got!.offload };
}

function nextUdp() {
  const packet = next();
  return { ...packet, ...parseUdp(packet.payload, packet.source, packet.destination)! };
}

function nextTcp(): TcpSegment {
  const packet = next();
  const segment = parseTcp(packet.payload, packet.source, packet.destination, packet.offload === undefined);
  expect(segment, 'a TCP segment with a good checksum').toBeDefined();
  return segment!;
}

/** A guest's end of a connection, by hand. */
class Peer {
  seq = 1000;
  ack = 0;
  window = 65535;
  readonly port: number;
  readonly to: number;
  readonly toPort: number;
  constructor(to = WORLD, toPort = 80, port = 50000) {
    this.to = to;
    this.toPort = toPort;
    this.port = port;
  }
  send(flags: number, payload: Uint8Array = EMPTY, options = {}): void {
    const segment = serializeTcp(
      {
        sourcePort: this.port,
        destinationPort: this.toPort,
        seq: this.seq,
        ack: this.ack,
        flags,
        window: this.window,
        options,
        payload,
      },
      GUEST,
      this.to,
    );
    this.seq = (this.seq + payload.length + ((flags & (SYN | FIN)) !== 0 ? 1 : 0)) >>> 0;
    sendIp(6, segment, this.to);
  }
  /** Takes a segment's data and returns it with what it acknowledges. */
  take(): TcpSegment {
    const segment = nextTcp();
    if (segment.seq === this.ack) {
      this.ack = (segment.seq + segment.payload.length + ((segment.flags & (SYN | FIN)) !== 0 ? 1 : 0)) >>> 0;
    }
    return segment;
  }
  open(options: object = { mss: 1460 }): FakeTcp {
    this.send(SYN, EMPTY, options);
    const { socket } = host.tcp.at(-1)!;
    socket.onConnect();
    const answer = nextTcp();
    expect(answer.flags).toBe(SYN | ACK);
    expect(answer.ack).toBe(this.seq);
    this.ack = (answer.seq + 1) >>> 0;
    this.send(ACK);
    expect(socket.paused).toBe(false);
    return socket;
  }
}

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

describe('TCP', () => {
  it('connects first, then answers; carries data both ways; ends from the guest', () => {
    const peer = new Peer();
    peer.send(SYN, EMPTY, { mss: 1460, windowScale: 7 });
    expect(card.frames).toEqual([]);
    expect(host.tcp[0]).toMatchObject({ address: '192.0.2.7', port: 80 });
    const { socket } = host.tcp[0]!;
    socket.onConnect();
    const answer = peer.take();
    expect(answer.options).toEqual({ mss: 1460, windowScale: 4 });
    peer.ack = (answer.seq + 1) >>> 0;
    peer.send(ACK);
    peer.send(ACK | PSH, new TextEncoder().encode('GET /'));
    expect(String.fromCharCode(...socket.written)).toBe('GET /');
    expect(peer.take()).toMatchObject({ flags: ACK, ack: peer.seq });
    socket.onData(new TextEncoder().encode('200 OK'));
    expect(new TextDecoder().decode(peer.take().payload)).toBe('200 OK');
    peer.send(FIN | ACK);
    expect(socket.ended).toBe(true);
    expect(peer.take().ack).toBe(peer.seq);
    socket.onEnd();
    expect(peer.take().flags).toBe(FIN | ACK);
    peer.send(ACK);
    expect(net.usage.tcp).toBe(0);
  });

  it('ends from the host, half-closed until the guest ends too, and waits for strays', () => {
    const peer = new Peer();
    const socket = peer.open();
    socket.onData(Uint8Array.of(1, 2, 3));
    socket.onEnd();
    expect(peer.take().payload.length).toBe(3);
    expect(peer.take().flags).toBe(FIN | ACK);
    peer.send(ACK);
    peer.send(ACK | PSH, Uint8Array.of(7));
    expect(socket.written).toEqual([7]);
    peer.take();
    peer.send(FIN | ACK);
    expect(peer.take().ack).toBe(peer.seq);
    expect(net.connections()[0]).toContain('time-wait');
    peer.seq = (peer.seq - 1) >>> 0;
    peer.send(FIN | ACK);
    expect(peer.take().ack).toBe(peer.seq);
    host.advance(3000);
    expect(net.usage.tcp).toBe(0);
  });

  it('refuses as the host was refused', () => {
    const peer = new Peer();
    peer.send(SYN, EMPTY, { mss: 1460 });
    host.tcp[0]!.socket.onClose('ECONNREFUSED');
    expect(peer.take()).toMatchObject({ flags: RST | ACK, ack: 1001 });
    const far = new Peer(WORLD, 81);
    far.send(SYN);
    host.tcp[1]!.socket.onClose('EHOSTUNREACH');
    const icmp = parseIcmp(next().payload)!;
    expect(icmp).toMatchObject({ type: 3, code: 1 });
    expect(parseIpv4(icmp.payload)).toMatchObject({ source: GUEST, destination: WORLD });
    expect(net.usage.tcp).toBe(0);
  });

  it('resets what belongs to nobody, and passes resets on', () => {
    const stray = new Peer();
    stray.ack = 77;
    stray.send(ACK, Uint8Array.of(1));
    expect(nextTcp()).toMatchObject({ flags: RST, seq: 77 });
    const peer = new Peer();
    const socket = peer.open();
    peer.seq += 10;
    peer.send(RST);
    expect(nextTcp().flags).toBe(ACK);
    expect(socket.destroyed).toBe('no');
    peer.seq -= 10;
    peer.send(RST);
    expect(socket.destroyed).toBe('reset');
    const other = new Peer(WORLD, 82);
    const second = other.open();
    second.onClose('ECONNRESET');
    expect(nextTcp().flags & RST).toBe(RST);
    expect(net.usage.tcp).toBe(0);
  });

  it("offers what the host's socket can take, and says when it opens again", () => {
    const peer = new Peer();
    const socket = peer.open({ mss: 1460, windowScale: 0 });
    socket.slow = true;
    let sent = 0;
    let window = 65535 * 16;
    while (window > 0 && sent < 2 << 20) {
      const data = new Uint8Array(Math.min(1460, window));
      peer.send(ACK, data);
      sent += data.length;
      window = nextTcp().window << 4;
    }
    expect(sent).toBeLessThanOrEqual(1 << 19);
    expect(sent).toBeGreaterThan((1 << 19) - 2 * 1460);
    peer.send(ACK, new Uint8Array(1460));
    // Sixteen is the grain of the scaled window: so little may still be taken, and no more.
    const { ack } = nextTcp();
    expect(peer.seq - 1460 + 16 - ack).toBeGreaterThan(0);
    peer.seq = ack;
    socket.take(1000);
    expect(card.frames).toEqual([]);
    socket.take(100_000);
    expect(nextTcp().window << 4).toBeGreaterThan(90_000);
  });

  it("pauses the host's socket while the guest's window is shut, probes, and goes on", () => {
    const peer = new Peer();
    peer.window = 3000;
    const socket = peer.open();
    socket.onData(new Uint8Array(1 << 19).fill(5));
    expect(socket.paused).toBe(true);
    expect([peer.take(), peer.take()].map((segment) => segment.payload.length)).toEqual([1460, 1460]);
    expect(card.frames).toEqual([]);
    peer.window = 0;
    peer.send(ACK);
    expect(card.frames).toEqual([]);
    host.advance(1100);
    const probe = nextTcp();
    expect(probe.payload.length).toBe(1);
    peer.send(ACK);
    for (let i = 0; i < 30; i++) {
      host.advance(20_000);
      card.frames = [];
      peer.send(ACK);
    }
    expect(net.usage.tcp).toBe(1);
    peer.window = 65535;
    let got = 2920;
    card.frames = [];
    peer.send(ACK);
    while (card.frames.length > 0) {
      const segment = peer.take();
      got += segment.payload.length;
      if (card.frames.length === 0) peer.send(ACK);
    }
    expect(got).toBe(1 << 19);
    expect(socket.paused).toBe(false);
  });

  it('sends again what was lost: after a timeout, or three equal acknowledgments', () => {
    const peer = new Peer();
    const socket = peer.open();
    socket.onData(new Uint8Array(1460 * 4).fill(1));
    const first = nextTcp();
    card.frames = [];
    for (let i = 0; i < 3; i++) peer.send(ACK);
    expect(nextTcp().seq).toBe(first.seq);
    card.frames = [];
    host.advance(1100);
    expect(nextTcp().seq).toBe(first.seq);
    card.frames = [];
    host.advance(500_000);
    expect(nextTcp().seq).toBe(first.seq);
    expect(socket.destroyed).toBe('reset');
    expect(net.usage.tcp).toBe(0);
  });

  it('drops what comes out of order and asks for what is missing; takes what overlaps once', () => {
    const peer = new Peer();
    const socket = peer.open();
    const start = peer.seq;
    peer.seq = start + 3;
    peer.send(ACK, Uint8Array.of(4, 5));
    expect(nextTcp().ack).toBe(start);
    peer.seq = start;
    peer.send(ACK, Uint8Array.of(1, 2, 3));
    peer.seq = start + 1;
    peer.send(ACK, Uint8Array.of(2, 3, 4, 5));
    expect(socket.written).toEqual([1, 2, 3, 4, 5]);
  });

  it('cuts into pieces that the card can segment, when it can', () => {
    card.rxCaps = { csum: true, tso4: true, tso6: false, ufo: false };
    const peer = new Peer();
    peer.window = 65535;
    const socket = peer.open();
    card.frames = [];
    socket.onData(new Uint8Array(50_000));
    expect(card.frames.length).toBe(1);
    const { frame, offload } = card.frames[0]!;
    expect(frame.length).toBe(54 + 50_000);
    expect(offload).toMatchObject({
      needsCsum: true,
      csumStart: 34,
      csumOffset: 16,
      gso: 'tcp4',
      gsoSize: 1460,
      hdrLen: 54,
    });
  });

  it('keeps everything while the card has no room', () => {
    const peer = new Peer();
    const socket = peer.open();
    card.room = 2;
    socket.onData(new Uint8Array(14_600));
    expect(card.frames.length).toBe(2);
    sendIp(1, serializeIcmp({ type: 8, code: 0, rest: 1, payload: EMPTY }), HOST);
    card.room = 100;
    net.acceptInput();
    expect(card.frames.length).toBe(11);
    expect(parseIpv4(parseEthernet(card.frames[2]!.frame)!.payload)!.protocol).toBe(1);
  });

  it('does not give a guest up that is stopped: its card has no room, and loses nothing', () => {
    const peer = new Peer();
    const socket = peer.open();
    card.room = 0;
    socket.onData(Uint8Array.of(1, 2, 3));
    host.advance(3600_000);
    expect(socket.destroyed).toBe('no');
    card.room = 10;
    net.acceptInput();
    expect(nextTcp().payload).toEqual(Uint8Array.of(1, 2, 3));
    expect(card.frames).toEqual([]);
  });

  it('asks for a guest nobody has heard of, then opens the forwarded connection to it', async () => {
    await start({ hostfwd: ['tcp::2222-:22'] }, false);
    expect(host.listeners[0]).toMatchObject({ address: '0.0.0.0', port: 2222 });
    expect(net.forwards[0]).toMatchObject({ hostPort: 2222, guestAddress: GUEST, guestPort: 22 });
    const socket = new FakeTcp();
    host.listeners[0]!.connect(socket);
    const question = parseArp(parseEthernet(card.frames.shift()!.frame)!.payload)!;
    expect(question).toMatchObject({ operation: 1, targetAddress: GUEST });
    expect(card.frames).toEqual([]);
    arp(GUEST, HOST);
    const syn = nextTcp();
    expect(syn).toMatchObject({ flags: SYN, sourcePort: 40000, destinationPort: 22 });
    const peer = new Peer(HOST, 40000, 22);
    peer.ack = (syn.seq + 1) >>> 0;
    card.frames = [];
    peer.send(SYN | ACK, EMPTY, { mss: 1000, windowScale: 2 });
    expect(nextTcp()).toMatchObject({ flags: ACK, ack: peer.seq });
    socket.onData(new Uint8Array(1500));
    expect(nextTcp().payload.length).toBe(1000);
    await net.close();
    expect(host.listeners[0]!.open).toBe(false);
    expect(socket.destroyed).toBe('reset');
  });

  it('restrict keeps the guest in', async () => {
    await start({ restrict: true });
    new Peer().send(SYN);
    new Peer(HOST, 22).send(SYN);
    expect(host.tcp).toEqual([]);
    expect(card.frames).toEqual([]);
    expect(net.describe()).toBe('index=0,type=user,net=10.0.2.0,restrict=on');
  });

  it('has a bound on connections', () => {
    for (let port = 1; port <= 1030; port++) new Peer(WORLD, port).send(SYN);
    expect(net.usage.tcp).toBe(1024);
    expect(host.tcp.length).toBe(1024);
    expect(nextTcp().flags & RST).toBe(RST);
  });
});

describe('hostile frames', () => {
  it('never throw, whatever they hold', () => {
    const base = new Peer();
    const socket = base.open();
    socket.onData(new Uint8Array(5000));
    const segment = fc.record({
      flags: fc.integer({ min: 0, max: 63 }),
      seq: fc.integer({ min: -3000, max: 3000 }).map((n) => (base.seq + n) >>> 0),
      ack: fc.integer({ min: -3000, max: 8000 }).map((n) => (base.ack + n) >>> 0),
      window: fc.integer({ min: 0, max: 65535 }),
      options: fc.record({ mss: fc.integer({ min: 0, max: 65535 }) }, { requiredKeys: [] }),
      payload: fc.uint8Array({ maxLength: 50 }),
      sourcePort: fc.constantFrom(50000, 50001),
      destinationPort: fc.constantFrom(80, 0),
    });
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 20 }), (segments) => {
        for (const one of segments) sendIp(6, serializeTcp(one, GUEST, WORLD), WORLD);
        for (const { socket: open } of host.tcp) open.onConnect();
        host.advance(300);
        card.frames = [];
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(0x0800, 0x0806, 0x86dd, 1),
        (payload, type) => {
          net.send(serializeEthernet({ destination: GATEWAY_MAC, source: MAC, type, payload }));
          net.send(payload);
          for (const protocol of [1, 6, 17, 2]) sendIp(protocol, payload, HOST);
        },
      ),
      { numRuns: 500 },
    );
    expect(net.usage.tcp).toBeLessThanOrEqual(1024);
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
