/** The DHCP server of the user-mode network (RFC 2131 §4.3): sixteen addresses, given out by Ethernet address. */
import { put32 } from '../wire/bytes.ts';
import { DHCP_OPTION, DHCP_TYPE, type DhcpMessage } from '../wire/dhcp.ts';
import { writeName } from '../wire/dns.ts';
import { formatMac } from '../wire/bytes.ts';
import type { UserNetConfig } from './options.ts';

/** Addresses in the pool, as QEMU's. */
const POOL = 16;
/** Seconds. */
const LEASE = 86400;

export class DhcpServer {
  readonly #config: UserNetConfig;
  readonly #leases = new Map<number, string>();

  constructor(config: UserNetConfig) {
    this.#config = config;
  }

  /** The answer to a client's message, or undefined when there is none to give. */
  answer(message: DhcpMessage): DhcpMessage | undefined {
    if (message.op !== 1) return undefined;
    const mac = formatMac(message.clientMac);
    const type = message.options.get(DHCP_OPTION.MESSAGE_TYPE)?.[0];
    const wanted = addressOption(message, DHCP_OPTION.REQUESTED_ADDRESS);
    const server = addressOption(message, DHCP_OPTION.SERVER_ID);
    switch (type) {
      case DHCP_TYPE.DISCOVER: {
        const address = this.#offer(mac, wanted);
        return address === undefined ? undefined : this.#reply(message, DHCP_TYPE.OFFER, address);
      }
      case DHCP_TYPE.REQUEST: {
        // §4.3.2: a request that selects another server ends our offer.
        if (server !== undefined && server !== this.#config.host) {
          this.#release(mac);
          return undefined;
        }
        const address = wanted ?? message.clientAddress;
        if (!this.#take(mac, address)) return this.#reply(message, DHCP_TYPE.NAK, 0);
        return this.#reply(message, DHCP_TYPE.ACK, address);
      }
      case DHCP_TYPE.INFORM:
        // §4.3.5: parameters, but no address and no lease.
        return this.#reply(message, DHCP_TYPE.ACK, 0);
      case DHCP_TYPE.RELEASE:
        this.#release(mac);
        return undefined;
      case DHCP_TYPE.DECLINE:
        // Somebody else uses it: not to be offered again.
        if (wanted !== undefined && this.#inPool(wanted)) this.#leases.set(wanted, 'declined');
        return undefined;
      default:
        return undefined;
    }
  }

  #inPool(address: number): boolean {
    return address >= this.#config.dhcpStart && address < this.#config.dhcpStart + POOL;
  }

  /** The client's address of before, else the one it asks for, else the first that is free. */
  #offer(mac: string, wanted: number | undefined): number | undefined {
    for (const [address, owner] of this.#leases) if (owner === mac) return address;
    if (wanted !== undefined && this.#take(mac, wanted)) return wanted;
    for (let i = 0; i < POOL; i++) {
      if (this.#take(mac, this.#config.dhcpStart + i)) return this.#config.dhcpStart + i;
    }
    return undefined;
  }

  #take(mac: string, address: number): boolean {
    if (!this.#inPool(address)) return false;
    // A pool that begins near the end of the network must not give out its broadcast address.
    const last = (this.#config.network | ~this.#config.mask) >>> 0;
    if (address >= last) return false;
    const owner = this.#leases.get(address);
    if (owner !== undefined && owner !== mac) return false;
    this.#release(mac);
    this.#leases.set(address, mac);
    return true;
  }

  #release(mac: string): void {
    for (const [address, owner] of this.#leases) if (owner === mac) this.#leases.delete(address);
  }

  #reply(request: DhcpMessage, type: number, address: number): DhcpMessage {
    const config = this.#config;
    const options = new Map<number, Uint8Array>([
      [DHCP_OPTION.MESSAGE_TYPE, Uint8Array.of(type)],
      [DHCP_OPTION.SERVER_ID, be32(config.host)],
    ]);
    if (type !== DHCP_TYPE.NAK) {
      options.set(DHCP_OPTION.SUBNET_MASK, be32(config.mask));
      if (!config.restrict) {
        options.set(DHCP_OPTION.ROUTER, be32(config.host));
        options.set(DHCP_OPTION.DNS, be32(config.dns));
      }
      if (address !== 0) options.set(DHCP_OPTION.LEASE_TIME, be32(LEASE));
      if (config.hostname !== undefined) options.set(DHCP_OPTION.HOST_NAME, text(config.hostname));
      if (config.domainname !== undefined) options.set(DHCP_OPTION.DOMAIN_NAME, text(config.domainname));
      if (config.dnssearch.length > 0) {
        // RFC 3397: a list of names in DNS form.
        const names = config.dnssearch.flatMap((name) => [...writeName(name)]);
        options.set(DHCP_OPTION.DOMAIN_SEARCH, Uint8Array.from(names));
      }
    }
    return {
      op: 2,
      transaction: request.transaction,
      seconds: 0,
      broadcast: request.broadcast,
      clientAddress: type === DHCP_TYPE.NAK ? 0 : request.clientAddress,
      yourAddress: address,
      serverAddress: config.host,
      relayAddress: request.relayAddress,
      clientMac: request.clientMac.slice(),
      options,
    };
  }
}

function be32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, value);
  return bytes;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function addressOption(message: DhcpMessage, code: number): number | undefined {
  const value = message.options.get(code);
  if (value?.length !== 4) return undefined;
  return ((value[0]! << 24) | (value[1]! << 16) | (value[2]! << 8) | value[3]!) >>> 0;
}
