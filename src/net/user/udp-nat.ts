/**
 * UDP of the user-mode network: one socket of the host for each port that the guest sends from, so that anyone
 * whom it has written to can answer; and forwarded ports.
 */
import { UsageError } from '../../core/errors.ts';
import { formatIpv4Address, parseIpv4Address } from '../wire/bytes.ts';
import { PROTOCOL, serializeUdp, type UdpDatagram } from '../wire/ipv4.ts';
import type { HostUdp, NetHost } from './host.ts';
import type { ForwardRule, NetFlow, OpenForward } from './options.ts';
import type { GuestOutput } from './output.ts';
import type { Translate } from './tcp-nat.ts';

/** Sockets at once; the one idle the longest makes room. */
const MAX_FLOWS = 256;
/** Milliseconds after which an idle port is given up (RFC 4787 §4.3: no less than two minutes). */
const IDLE = 240_000;
/** Datagrams of the guest that wait for their socket to open. */
const MAX_WAITING = 16;
/** Senders remembered for a forwarded port. */
const MAX_SENDERS = 1024;

interface Flow {
  socket: HostUdp | undefined;
  waiting: (() => void)[];
  used: number;
}

/** A forwarded port and the hosts whose answers go through it, by how the guest sees them. */
interface Forward {
  readonly socket: HostUdp;
  readonly guest: number;
  readonly guestPort: number;
  readonly senders: Map<string, { address: string; port: number }>;
}

export class UdpNat {
  readonly #host: NetHost;
  readonly #output: GuestOutput;
  readonly #hostAddress: number;
  readonly #translate: Translate;
  readonly #flows = new Map<string, Flow>();
  readonly #forwards: Forward[] = [];
  readonly forwards: OpenForward[] = [];
  #closed = false;

  constructor(host: NetHost, output: GuestOutput, hostAddress: number, translate: Translate) {
    this.#host = host;
    this.#output = output;
    this.#hostAddress = hostAddress;
    this.#translate = translate;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Guests' datagrams under way, in the words of `info usernet`. */
  flows(): NetFlow[] {
    const now = this.#host.now();
    return Array.from(this.#flows, ([key, { used }]) => {
      const [address, port] = key.split(' ').map(Number);
      return {
        protocol: `UDP[${Math.max(0, Math.round((IDLE - (now - used)) / 1000))} sec]`,
        source: formatIpv4Address(address!),
        sourcePort: port!,
        destination: '*',
        destinationPort: 0,
      };
    });
  }

  /** Closes a forwarded port; false when there is none. */
  unforward(hostAddress: string, port: number): boolean {
    const index = this.forwards.findIndex((one) => one.hostPort === port && one.hostAddress === hostAddress);
    if (index < 0) return false;
    this.#forwards.splice(index, 1)[0]!.socket.close();
    this.forwards.splice(index, 1);
    return true;
  }

  /** Opens a forwarded port; throws a `UsageError` when the host refuses it. */
  async forward(rule: ForwardRule, guest: number): Promise<void> {
    try {
      const socket = await this.#host.openUdp(rule.hostAddress, rule.hostPort, (data, address, port) => {
        const seen = this.#seenFrom(address);
        if (forward.senders.size >= MAX_SENDERS) {
          forward.senders.delete(forward.senders.keys().next().value!);
        }
        forward.senders.set(`${seen} ${port}`, { address, port });
        this.#toGuest(seen, port, guest, rule.guestPort, data);
      });
      const forward: Forward = { socket, guest, guestPort: rule.guestPort, senders: new Map() };
      this.#forwards.push(forward);
      this.forwards.push({ ...rule, hostPort: socket.port, guestAddress: guest });
    } catch (error) {
      throw new UsageError(
        `Could not set up host forwarding rule '${rule.text}': ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  /** A datagram from the guest. */
  send(source: number, destination: number, datagram: UdpDatagram): void {
    const { sourcePort, destinationPort } = datagram;
    for (const forward of this.#forwards) {
      if (forward.guest !== source || forward.guestPort !== sourcePort) continue;
      const sender = forward.senders.get(`${destination} ${destinationPort}`);
      if (sender !== undefined) return forward.socket.send(datagram.payload, sender.address, sender.port);
    }
    const target = this.#translate(destination, destinationPort);
    if (target === undefined) return;
    const flow = this.#flow(source, sourcePort);
    flow.used = this.#host.now();
    if (flow.socket !== undefined) return flow.socket.send(datagram.payload, target.address, target.port);
    if (flow.waiting.length >= MAX_WAITING) return;
    const payload = datagram.payload.slice();
    flow.waiting.push(() => flow.socket?.send(payload, target.address, target.port));
  }

  close(): void {
    this.#closed = true;
    for (const forward of this.#forwards.splice(0)) forward.socket.close();
    for (const flow of this.#flows.values()) flow.socket?.close();
    this.#flows.clear();
  }

  #flow(guest: number, port: number): Flow {
    const key = `${guest} ${port}`;
    const known = this.#flows.get(key);
    if (known !== undefined) return known;
    this.#expire();
    const flow: Flow = { socket: undefined, waiting: [], used: this.#host.now() };
    this.#flows.set(key, flow);
    const opened = this.#host.openUdp('0.0.0.0', 0, (data, address, from) => {
      flow.used = this.#host.now();
      this.#toGuest(this.#seenFrom(address), from, guest, port, data);
    });
    opened.then(
      (socket) => {
        if (this.#closed || this.#flows.get(key) !== flow) return socket.close();
        flow.socket = socket;
        for (const send of flow.waiting.splice(0)) send();
      },
      // Out of descriptors: as lost as any datagram.
      () => this.#flows.delete(key),
    );
    return flow;
  }

  #expire(): void {
    const now = this.#host.now();
    let oldest: [string, Flow] | undefined;
    for (const entry of this.#flows) {
      if (now - entry[1].used > IDLE) this.#end(entry);
      else if (oldest === undefined || entry[1].used < oldest[1].used) oldest = entry;
    }
    if (this.#flows.size >= MAX_FLOWS && oldest !== undefined) this.#end(oldest);
  }

  #end([key, flow]: [string, Flow]): void {
    flow.socket?.close();
    this.#flows.delete(key);
  }

  /** What comes from the host itself comes, for the guest, from the gateway. */
  #seenFrom(address: string): number {
    const value = parseIpv4Address(address.replace(/^::ffff:/, ''));
    return value === undefined || value >>> 24 === 127 ? this.#hostAddress : value;
  }

  #toGuest(source: number, sourcePort: number, guest: number, guestPort: number, data: Uint8Array): void {
    this.#output.packet(
      { protocol: PROTOCOL.UDP, source, destination: guest },
      serializeUdp({ sourcePort, destinationPort: guestPort, payload: data }, source, guest),
    );
  }
}
