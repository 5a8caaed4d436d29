/**
 * Ping from the guest to the world: each identifier that the guest uses has a socket of the host's, which gives its
 * requests an identifier of its own; answers get the guest's back.
 */
import { ICMP_TYPE, type IcmpMessage, parseIcmp, PROTOCOL, serializeIcmp } from '../wire/ipv4.ts';
import type { HostPing, NetHost } from './host.ts';
import type { GuestOutput } from './output.ts';

/** Pings at once; the one idle the longest makes room. */
const MAX_FLOWS = 32;
/** Milliseconds (RFC 5508 §3.2: no less than a minute). */
const IDLE = 60_000;

interface Flow {
  readonly socket: HostPing;
  used: number;
}

export class IcmpNat {
  readonly #host: NetHost;
  readonly #output: GuestOutput;
  readonly #hostAddress: number;
  readonly #flows = new Map<string, Flow>();

  constructor(host: NetHost, output: GuestOutput, hostAddress: number) {
    this.#host = host;
    this.#output = output;
    this.#hostAddress = hostAddress;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Passes an echo request of the guest on; false when the host cannot ping. */
  echo(guest: number, destination: number, message: IcmpMessage): boolean {
    const id = message.rest >>> 16;
    const key = `${guest} ${id}`;
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      this.#expire();
      const socket = this.#host.openPing?.((data, address) => this.#reply(data, address, guest, id));
      if (socket === undefined) return false;
      flow = { socket, used: 0 };
      this.#flows.set(key, flow);
    }
    flow.used = this.#host.now();
    flow.socket.send(serializeIcmp(message), destination);
    return true;
  }

  close(): void {
    for (const flow of this.#flows.values()) flow.socket.close();
    this.#flows.clear();
  }

  #reply(data: Uint8Array, address: number, guest: number, id: number): void {
    const message = parseIcmp(data);
    if (message?.type !== ICMP_TYPE.ECHO_REPLY) return;
    const source = address >>> 24 === 127 ? this.#hostAddress : address;
    const rest = ((id << 16) | (message.rest & 0xffff)) >>> 0;
    this.#output.packet(
      { protocol: PROTOCOL.ICMP, source, destination: guest },
      serializeIcmp({ ...message, rest }),
    );
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
    flow.socket.close();
    this.#flows.delete(key);
  }
}
