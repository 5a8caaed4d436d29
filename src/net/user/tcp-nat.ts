/** All TCP connections of the user-mode network: which segment belongs to which, and how new ones begin. */
import { UsageError } from '../../core/errors.ts';
import { put16, put32 } from '../wire/bytes.ts';
import {
  ICMP_TYPE,
  type Ipv4Packet,
  PROTOCOL,
  serializeIcmp,
  serializeIpv4,
  UNREACHABLE_CODE,
} from '../wire/ipv4.ts';
import { parseTcp, serializeTcp, TCP_FLAG, type TcpSegment } from '../wire/tcp.ts';
import { formatIpv4Address, parseIpv4Address } from '../wire/bytes.ts';
import type { HostTcp, NetHost } from './host.ts';
import type { ForwardRule, NetFlow, OpenForward } from './options.ts';
import type { GuestOutput } from './output.ts';
import { TcpConnection } from './tcp-connection.ts';
import type { TcpTuple } from './tcp-frame.ts';

/** Connections at once. More would only help a guest that wants the host's file descriptors used up. */
const MAX_CONNECTIONS = 1024;

/** What the guest hears (ICMP, RFC 792) of a connection that the host could not make. */
const UNREACHABLE: Readonly<Record<string, number>> = {
  ENETUNREACH: UNREACHABLE_CODE.NET,
  EHOSTUNREACH: UNREACHABLE_CODE.HOST,
  EHOSTDOWN: UNREACHABLE_CODE.HOST,
  EACCES: UNREACHABLE_CODE.PROHIBITED,
  EPERM: UNREACHABLE_CODE.PROHIBITED,
};

/** Where a destination of the guest is on the host; undefined when it may not be reached. */
export type Translate = (address: number, port: number) => { address: string; port: number } | undefined;

export class TcpNat {
  readonly #host: NetHost;
  readonly #output: GuestOutput;
  readonly #translate: Translate;
  readonly #connections = new Map<string, TcpConnection>();
  readonly #listeners: { close(): void }[] = [];
  readonly #hostAddress: number;
  readonly forwards: OpenForward[] = [];

  constructor(host: NetHost, output: GuestOutput, hostAddress: number, translate: Translate) {
    this.#host = host;
    this.#output = output;
    this.#hostAddress = hostAddress;
    this.#translate = translate;
  }

  get size(): number {
    return this.#connections.size;
  }

  /** One line for each connection: the guest's end, the other end, and the state. */
  describe(): string[] {
    return Array.from(this.#connections.values(), ({ tuple, state }) => {
      const guest = `${formatIpv4Address(tuple.guestAddress)}:${tuple.guestPort}`;
      return `${guest} ${formatIpv4Address(tuple.address)}:${tuple.port} ${state}`;
    });
  }

  /** The same apart, in the words of `info usernet`. */
  flows(): NetFlow[] {
    return Array.from(this.#connections.values(), ({ tuple, state }) => ({
      protocol: `TCP[${state.toUpperCase().replace('-', '_')}]`,
      source: formatIpv4Address(tuple.guestAddress),
      sourcePort: tuple.guestPort,
      destination: formatIpv4Address(tuple.address),
      destinationPort: tuple.port,
    }));
  }

  /** Closes a forwarded port; connections that came through it stay. False when there is none. */
  unforward(hostAddress: string, port: number): boolean {
    const index = this.forwards.findIndex((one) => one.hostPort === port && one.hostAddress === hostAddress);
    if (index < 0) return false;
    this.#listeners.splice(index, 1)[0]!.close();
    this.forwards.splice(index, 1);
    return true;
  }

  /** Opens a forwarded port; `guest` is where it leads. Throws a `UsageError` when the host refuses the port. */
  async forward(rule: ForwardRule, guest: number): Promise<void> {
    try {
      const listener = await this.#host.listen(rule.hostAddress, rule.hostPort, (socket) =>
        this.#fromHost(socket, guest, rule.guestPort),
      );
      this.#listeners.push(listener);
      this.forwards.push({ ...rule, hostPort: listener.port, guestAddress: guest });
    } catch (error) {
      throw new UsageError(
        `Could not set up host forwarding rule '${rule.text}': ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  /** @param verified the checksum need not be looked at */
  receive(packet: Ipv4Packet, verified: boolean): void {
    const segment = parseTcp(packet.payload, packet.source, packet.destination, !verified);
    if (segment === undefined) return;
    const tuple: TcpTuple = {
      guestAddress: packet.source,
      guestPort: segment.sourcePort,
      address: packet.destination,
      port: segment.destinationPort,
    };
    const connection = this.#connections.get(keyOf(tuple));
    const opens = (segment.flags & (TCP_FLAG.SYN | TCP_FLAG.ACK | TCP_FLAG.RST)) === TCP_FLAG.SYN;
    // RFC 9293 §3.6.1: a new connection may take over from one that only waits for strays.
    if (connection !== undefined && !(opens && connection.state === 'time-wait')) {
      connection.receive(segment);
    } else if (opens) {
      if (connection !== undefined) this.#connections.delete(keyOf(tuple));
      this.#open(tuple, segment);
    } else if ((segment.flags & TCP_FLAG.RST) === 0) this.#reset(tuple, segment);
  }

  /** The guest's Ethernet address is known now. */
  guestKnown(address: number): void {
    for (const connection of this.#connections.values()) {
      if (connection.tuple.guestAddress === address) connection.retry();
    }
  }

  close(): void {
    for (const listener of this.#listeners.splice(0)) listener.close();
    for (const connection of this.#connections.values()) connection.abort();
  }

  #open(tuple: TcpTuple, syn: TcpSegment): void {
    const target = this.#translate(tuple.address, tuple.port);
    if (target === undefined) return;
    if (this.#connections.size >= MAX_CONNECTIONS) return this.#reset(tuple, syn);
    this.#add(tuple, this.#host.connect(target.address, target.port), syn);
  }

  /** A connection has come in at a forwarded port. */
  #fromHost(socket: HostTcp, guestAddress: number, guestPort: number): void {
    if (this.#connections.size >= MAX_CONNECTIONS) {
      socket.destroy(true);
      return;
    }
    // What comes from the host itself comes, for the guest, from the gateway.
    const remote = parseIpv4Address(socket.remoteAddress.replace(/^::ffff:/, ''));
    const address = remote === undefined || remote >>> 24 === 127 ? this.#hostAddress : remote;
    let port = socket.remotePort;
    while (this.#connections.has(keyOf({ guestAddress, guestPort, address, port }))) {
      port = 1024 + (this.#host.random32() % 64512);
    }
    this.#add({ guestAddress, guestPort, address, port }, socket);
  }

  #add(tuple: TcpTuple, socket: HostTcp, syn?: TcpSegment): void {
    const key = keyOf(tuple);
    const connection = new TcpConnection(
      tuple,
      socket,
      {
        output: this.#output,
        host: this.#host,
        gone: (ended) => {
          if (this.#connections.get(key) === ended) this.#connections.delete(key);
        },
        refused: (ended, code) => this.#refused(ended, code, syn!),
      },
      syn,
    );
    if (connection.state !== 'closed') this.#connections.set(key, connection);
  }

  #refused(connection: TcpConnection, code: string, syn: TcpSegment): void {
    const icmp = UNREACHABLE[code];
    if (icmp === undefined) return this.#reset(connection.tuple, syn);
    const { tuple } = connection;
    // RFC 792: the header of the packet in question and its first eight bytes.
    const start = new Uint8Array(8);
    put16(start, 0, tuple.guestPort);
    put16(start, 2, tuple.port);
    put32(start, 4, connection.guestIss);
    const original = serializeIpv4({
      tos: 0,
      id: 0,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      ttl: 64,
      protocol: PROTOCOL.TCP,
      source: tuple.guestAddress,
      destination: tuple.address,
      options: new Uint8Array(0),
      payload: start,
    });
    this.#output.packet(
      { protocol: PROTOCOL.ICMP, source: this.#hostAddress, destination: tuple.guestAddress },
      serializeIcmp({ type: ICMP_TYPE.UNREACHABLE, code: icmp, rest: 0, payload: original }),
    );
  }

  /** RFC 9293 §3.10.7.1: a segment for nobody is answered with a reset. */
  #reset(tuple: TcpTuple, segment: TcpSegment): void {
    const { SYN, FIN, RST, ACK } = TCP_FLAG;
    const acked = (segment.flags & ACK) !== 0;
    const length =
      segment.payload.length + ((segment.flags & SYN) !== 0 ? 1 : 0) + ((segment.flags & FIN) !== 0 ? 1 : 0);
    const reset = serializeTcp(
      {
        sourcePort: tuple.port,
        destinationPort: tuple.guestPort,
        seq: acked ? segment.ack : 0,
        ack: acked ? 0 : (segment.seq + length) >>> 0,
        flags: acked ? RST : RST | ACK,
        window: 0,
        options: {},
        payload: new Uint8Array(0),
      },
      tuple.address,
      tuple.guestAddress,
    );
    this.#output.packet(
      { protocol: PROTOCOL.TCP, source: tuple.address, destination: tuple.guestAddress },
      reset,
    );
  }
}

function keyOf(tuple: TcpTuple): string {
  return `${tuple.address} ${tuple.port} ${tuple.guestAddress} ${tuple.guestPort}`;
}
