import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseArp, parseEthernet, serializeEthernet } from '../wire/ethernet.ts';
import { parseIcmp, parseIpv4, serializeIcmp } from '../wire/ipv4.ts';
import { serializeTcp, TCP_FLAG } from '../wire/tcp.ts';
import { FakeTcp } from './fake-host.ts';
import {
  EMPTY,
  GATEWAY_MAC,
  GUEST,
  HOST,
  MAC,
  Peer,
  WORLD,
  arp,
  card,
  host,
  net,
  next,
  nextTcp,
  sendIp,
  start,
} from './rig.ts';

const { SYN, ACK, FIN, RST, PSH } = TCP_FLAG;

beforeEach(() => start());

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
