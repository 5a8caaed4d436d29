/**
 * A guest by hand, for the tests of the user-mode network: its card, its frames, its end of TCP connections. Every
 * frame that it is given must have good checksums. `start` makes all of it anew.
 */
import { assert } from '../../core/errors.ts';
import type { NetFrontend, Offload } from '../netdev.ts';
import { parseIpv4Address } from '../wire/bytes.ts';
import { BROADCAST_MAC, parseEthernet, serializeArp, serializeEthernet } from '../wire/ethernet.ts';
import { parseIpv4, parseUdp, serializeIpv4 } from '../wire/ipv4.ts';
import { parseTcp, serializeTcp, TCP_FLAG, type TcpSegment } from '../wire/tcp.ts';
import { FakeNetHost, type FakeTcp } from './fake-host.ts';
import type { UserNetOptions } from './options.ts';
import { UserNet } from './user-net.ts';

const { SYN, ACK, FIN } = TCP_FLAG;
export const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
export const GATEWAY_MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
export const ip = (text: string): number => parseIpv4Address(text)!;
export const GUEST = ip('10.0.2.15');
export const HOST = ip('10.0.2.2');
export const DNS = ip('10.0.2.3');
export const WORLD = ip('192.0.2.7');
export const EMPTY = new Uint8Array(0);

/** A guest's card, with the frames that came. */
export class Card implements NetFrontend {
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

export let host: FakeNetHost;
export let card: Card;
export let net: UserNet;
export let warnings: string[];

export async function start(options: UserNetOptions = {}, known = true): Promise<void> {
  host = new FakeNetHost();
  card = new Card();
  warnings = [];
  net = await UserNet.create('n0', options, host, (message) => warnings.push(message));
  net.attach(card);
  if (known) arp(GUEST, HOST);
  card.frames = [];
}
export const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

export function arp(sender: number, target: number): void {
  const payload = serializeArp({
    operation: 1,
    senderMac: MAC,
    senderAddress: sender,
    targetMac: new Uint8Array(6),
    targetAddress: target,
  });
  net.send(serializeEthernet({ destination: BROADCAST_MAC, source: MAC, type: 0x0806, payload }));
}

export function sendIp(
  protocol: number,
  payload: Uint8Array,
  destination: number,
  source = GUEST,
  more = {},
): void {
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
export function next() {
  const got = card.frames.shift();
  assert(got !== undefined, 'no frame came');
  const packet = parseIpv4(parseEthernet(got.frame)!.payload);
  assert(packet !== undefined, 'no IP packet with a good checksum');
  return { ...packet, offload: got.offload };
}

export function nextUdp() {
  const packet = next();
  return { ...packet, ...parseUdp(packet.payload, packet.source, packet.destination)! };
}

export function nextTcp(): TcpSegment {
  const packet = next();
  const segment = parseTcp(packet.payload, packet.source, packet.destination, packet.offload === undefined);
  assert(segment !== undefined, 'no TCP segment with a good checksum');
  return segment;
}

/** A guest's end of a connection, by hand. */
export class Peer {
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
    assert(answer.flags === (SYN | ACK) && answer.ack === this.seq, 'not a SYN-ACK', answer);
    this.ack = (answer.seq + 1) >>> 0;
    this.send(ACK);
    assert(!socket.paused, 'the socket is still paused');
    return socket;
  }
}
