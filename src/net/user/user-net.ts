/**
 * `-netdev user`: a network of its own for the guest, with a router that is this program. The guest gets its address
 * by DHCP, names by DNS, and reaches what the host reaches, by the host's ordinary sockets: no privileges needed.
 * Addresses and behaviour are those of QEMU's user network (its manual, "Using the user mode network stack").
 */
import { UsageError } from '../../core/errors.ts';
import type { Netdev, NetFrontend, Offload, OffloadCaps } from '../netdev.ts';
import { formatIpv4Address } from '../wire/bytes.ts';
import { DHCP_PORT, parseDhcp, serializeDhcp } from '../wire/dhcp.ts';
import {
  ARP_OPERATION,
  BROADCAST_MAC,
  ETHERTYPE,
  type EthernetFrame,
  parseArp,
  parseEthernet,
  serializeArp,
  serializeEthernet,
} from '../wire/ethernet.ts';
import {
  ICMP_TYPE,
  type Ipv4Packet,
  parseIcmp,
  parseIpv4,
  parseUdp,
  PROTOCOL,
  serializeIcmp,
  serializeUdp,
} from '../wire/ipv4.ts';
import { DhcpServer } from './dhcp-server.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import type { NetHost } from './host.ts';
import { IcmpNat } from './icmp-nat.ts';
import {
  type ForwardRule,
  type NetFlow,
  type OpenForward,
  parseUserNetOptions,
  type UserNetConfig,
  type UserNetOptions,
} from './options.ts';
import { GuestOutput, gatewayMac } from './output.ts';
import { Reassembler } from './reassembly.ts';
import { TcpNat } from './tcp-nat.ts';
import { UdpNat } from './udp-nat.ts';

const DNS_PORT = 53;
const BROADCAST = 0xffffffff;
/** Ethernet addresses remembered; the network has one guest, or a few on a hub. */
const MAX_NEIGHBOURS = 64;
/** Milliseconds between two questions for the same unknown neighbour. */
const ARP_INTERVAL = 500;

export class UserNet implements Netdev {
  readonly id: string;
  readonly type = 'user';
  readonly txCaps: OffloadCaps = { csum: true, tso4: true, tso6: false, ufo: false };
  readonly linkUp = true;
  readonly #config: UserNetConfig;
  readonly #host: NetHost;
  readonly #output: GuestOutput;
  readonly #tcp: TcpNat;
  readonly #udp: UdpNat;
  readonly #icmpNat: IcmpNat;
  readonly #dhcp: DhcpServer;
  readonly #dns: DnsForwarder;
  readonly #fragments: Reassembler;
  readonly #neighbours = new Map<number, Uint8Array>();
  readonly #asked = new Map<number, number>();
  readonly #warn: (message: string) => void;
  #warnedPing = false;

  private constructor(id: string, config: UserNetConfig, host: NetHost, warn: (message: string) => void) {
    this.id = id;
    this.#config = config;
    this.#host = host;
    this.#warn = warn;
    this.#output = new GuestOutput(gatewayMac(config.host), (address) => this.#macOf(address));
    const translate = (address: number, port: number) => this.#translate(address, port);
    this.#tcp = new TcpNat(host, this.#output, config.host, translate);
    this.#udp = new UdpNat(host, this.#output, config.host, translate);
    this.#icmpNat = new IcmpNat(host, this.#output, config.host);
    this.#dhcp = new DhcpServer(config);
    this.#dns = new DnsForwarder(host);
    this.#fragments = new Reassembler(() => host.now());
  }

  /**
   * Makes the network and opens the forwarded ports. Throws a `UsageError` (texts are QEMU's).
   * @param warn for the user: once for each thing that a guest tries and that does not work here
   */
  static async create(
    id: string,
    options: UserNetOptions,
    host: NetHost,
    warn: (message: string) => void = () => {},
  ): Promise<UserNet> {
    const config = parseUserNetOptions(options);
    const net = new UserNet(id, config, host, warn);
    try {
      for (const rule of config.forwards) await net.forward(rule);
    } catch (error) {
      await net.close();
      throw error;
    }
    return net;
  }

  /** Opens a forwarded port. @throws UsageError */
  async forward(rule: ForwardRule): Promise<void> {
    const guest = rule.guestAddress === 0 ? this.#config.dhcpStart : rule.guestAddress;
    if (!this.#inside(guest)) {
      throw new UsageError(
        `Invalid host forwarding rule '${rule.text}' (Bad guest address: ${formatIpv4Address(guest)} is not in the network)`,
      );
    }
    await (rule.protocol === 'tcp' ? this.#tcp : this.#udp).forward(rule, guest);
  }

  /** Closes a forwarded port, by its address and number on the host; false when there is none. */
  unforward(protocol: 'tcp' | 'udp', hostAddress: string, port: number): boolean {
    return (protocol === 'tcp' ? this.#tcp : this.#udp).unforward(hostAddress, port);
  }

  attach(frontend: NetFrontend): () => void {
    this.#output.frontend = frontend;
    return () => {
      if (this.#output.frontend === frontend) this.#output.frontend = undefined;
    };
  }

  acceptInput(): void {
    this.#output.drain();
  }

  describe(): string {
    const { network, restrict } = this.#config;
    return `index=0,type=user,net=${formatIpv4Address(network)},restrict=${restrict ? 'on' : 'off'}`;
  }

  close(): Promise<void> {
    this.#tcp.close();
    this.#udp.close();
    this.#icmpNat.close();
    this.#dns.close();
    return Promise.resolve();
  }

  /** Connections and ports in use, for the monitor and for tests. */
  get usage(): { readonly tcp: number; readonly udp: number } {
    return { tcp: this.#tcp.size, udp: this.#udp.size };
  }

  /** The TCP connections, a line each, for `info usernet`. */
  connections(): string[] {
    return this.#tcp.describe();
  }

  /** All that goes through the network, for `info usernet`. */
  flows(): NetFlow[] {
    const forwarded =
      (what: string) =>
      (one: OpenForward): NetFlow => ({
        protocol: `${what}[HOST_FORWARD]`,
        source: one.hostAddress === '0.0.0.0' ? '*' : one.hostAddress,
        sourcePort: one.hostPort,
        destination: formatIpv4Address(one.guestAddress),
        destinationPort: one.guestPort,
      });
    return [
      ...this.#tcp.flows(),
      ...this.#tcp.forwards.map(forwarded('TCP')),
      ...this.#udp.flows(),
      ...this.#udp.forwards.map(forwarded('UDP')),
    ];
  }

  /** The forwarded ports, with the numbers that the host gave where 0 was asked for. */
  get forwards(): readonly OpenForward[] {
    return [...this.#tcp.forwards, ...this.#udp.forwards];
  }

  send(frame: Uint8Array, offload?: Offload): void {
    const ethernet = parseEthernet(frame);
    if (ethernet === undefined) return;
    // IPv6 is not answered yet: the guest finds no router and goes on with IPv4.
    if (ethernet.type === ETHERTYPE.ARP) this.#arp(ethernet);
    else if (ethernet.type === ETHERTYPE.IPV4) this.#ipv4(ethernet, offload);
  }

  // Neighbours

  #arp(frame: EthernetFrame): void {
    const arp = parseArp(frame.payload);
    if (arp === undefined) return;
    // A probe (RFC 5227) has no sender address yet.
    if (arp.senderAddress !== 0) this.#learn(arp.senderAddress, arp.senderMac);
    if (arp.operation !== ARP_OPERATION.REQUEST || !this.#isOurs(arp.targetAddress)) return;
    this.#output.frame(
      serializeEthernet({
        destination: arp.senderMac.slice(),
        source: this.#output.mac,
        type: ETHERTYPE.ARP,
        payload: serializeArp({
          operation: ARP_OPERATION.REPLY,
          senderMac: this.#output.mac,
          senderAddress: arp.targetAddress,
          targetMac: arp.senderMac,
          targetAddress: arp.senderAddress,
        }),
      }),
    );
  }

  #learn(address: number, mac: Uint8Array): void {
    if (!this.#inside(address) || this.#isOurs(address) || (mac[0]! & 1) !== 0) return;
    const known = this.#neighbours.get(address);
    if (known?.every((byte, i) => byte === mac[i])) return;
    if (known === undefined && this.#neighbours.size >= MAX_NEIGHBOURS) {
      this.#neighbours.delete(this.#neighbours.keys().next().value!);
    }
    this.#neighbours.set(address, mac.slice());
    this.#asked.delete(address);
    if (known === undefined) this.#tcp.guestKnown(address);
  }

  /** Who is not known is asked for, and the packet at hand is lost: its sender repeats it. */
  #macOf(address: number): Uint8Array | undefined {
    const mac = this.#neighbours.get(address);
    if (mac !== undefined) return mac;
    const now = this.#host.now();
    const last = this.#asked.get(address);
    if (last !== undefined && now - last < ARP_INTERVAL) return undefined;
    if (this.#asked.size >= MAX_NEIGHBOURS) this.#asked.clear();
    this.#asked.set(address, now);
    this.#output.frame(
      serializeEthernet({
        destination: BROADCAST_MAC,
        source: this.#output.mac,
        type: ETHERTYPE.ARP,
        payload: serializeArp({
          operation: ARP_OPERATION.REQUEST,
          senderMac: this.#output.mac,
          senderAddress: this.#config.host,
          targetMac: new Uint8Array(6),
          targetAddress: address,
        }),
      }),
    );
    // The answer may have come while the question was sent.
    return this.#neighbours.get(address);
  }

  #inside(address: number): boolean {
    return (address & this.#config.mask) >>> 0 === this.#config.network;
  }

  #isOurs(address: number): boolean {
    return address === this.#config.host || address === this.#config.dns;
  }

  // IP

  #ipv4(frame: EthernetFrame, offload: Offload | undefined): void {
    const packet = parseIpv4(frame.payload);
    if (packet === undefined) return;
    if (packet.source !== 0) this.#learn(packet.source, frame.source);
    let whole = packet;
    let verified = offload !== undefined && (offload.needsCsum || offload.dataValid);
    if (packet.moreFragments || packet.fragmentOffset > 0) {
      const payload = this.#fragments.add(packet);
      if (payload === undefined) return;
      whole = { ...packet, payload, moreFragments: false, fragmentOffset: 0 };
      verified = false;
    }
    if (whole.protocol === PROTOCOL.UDP) this.#udpIn(whole, frame.source, verified);
    else if (!this.#inside(whole.source)) return;
    else if (whole.protocol === PROTOCOL.TCP) this.#tcp.receive(whole, verified);
    else if (whole.protocol === PROTOCOL.ICMP) this.#icmp(whole);
  }

  #icmp(packet: Ipv4Packet): void {
    const message = parseIcmp(packet.payload);
    if (message?.type !== ICMP_TYPE.ECHO) return;
    if (!this.#isOurs(packet.destination)) {
      // Any port will do: the question is only whether the address may be reached.
      if (this.#translate(packet.destination, 1) === undefined) return;
      if (this.#icmpNat.echo(packet.source, packet.destination, message) || this.#warnedPing) return;
      this.#warnedPing = true;
      this.#warn('ping beyond the gateway is not answered: the host lets only root send it');
      return;
    }
    this.#output.packet(
      { protocol: PROTOCOL.ICMP, source: packet.destination, destination: packet.source },
      serializeIcmp({ ...message, type: ICMP_TYPE.ECHO_REPLY }),
    );
  }

  #udpIn(packet: Ipv4Packet, mac: Uint8Array, verified: boolean): void {
    const { source, destination } = packet;
    const datagram = parseUdp(packet.payload, source, destination, !verified);
    if (datagram === undefined) return;
    if (datagram.destinationPort === DHCP_PORT.SERVER && datagram.sourcePort === DHCP_PORT.CLIENT) {
      if (destination === BROADCAST || destination === this.#config.host) this.#dhcpIn(datagram.payload, mac);
      return;
    }
    if (!this.#inside(source)) return;
    if (destination === this.#config.dns && datagram.destinationPort === DNS_PORT) {
      if (this.#config.restrict) return;
      const { sourcePort } = datagram;
      this.#dns.ask(datagram.payload, (payload) =>
        this.#output.packet(
          { protocol: PROTOCOL.UDP, source: destination, destination: source },
          serializeUdp({ sourcePort: DNS_PORT, destinationPort: sourcePort, payload }, destination, source),
        ),
      );
      return;
    }
    this.#udp.send(source, destination, datagram);
  }

  #dhcpIn(data: Uint8Array, mac: Uint8Array): void {
    const request = parseDhcp(data);
    const answer = request === undefined ? undefined : this.#dhcp.answer(request);
    if (request === undefined || answer === undefined) return;
    if (answer.yourAddress !== 0) this.#learn(answer.yourAddress, request.clientMac);
    // RFC 2131 §4.1: to the address that the client has or is given, unless it can only hear broadcasts.
    const refused = answer.yourAddress === 0 && request.clientAddress === 0;
    const direct = answer.yourAddress !== 0 ? answer.yourAddress : request.clientAddress;
    const destination = request.broadcast || refused ? BROADCAST : direct;
    const payload = serializeUdp(
      { sourcePort: DHCP_PORT.SERVER, destinationPort: DHCP_PORT.CLIENT, payload: serializeDhcp(answer) },
      this.#config.host,
      destination,
    );
    this.#output.packet(
      { protocol: PROTOCOL.UDP, source: this.#config.host, destination },
      payload,
      destination === BROADCAST ? BROADCAST_MAC : mac.slice(),
    );
  }

  /** Where the guest's destinations are: the gateway is the host itself, the name server the host's, by TCP too. */
  #translate(address: number, port: number): { address: string; port: number } | undefined {
    if (this.#config.restrict) return undefined;
    if (address === this.#config.host) return { address: '127.0.0.1', port };
    if (address === this.#config.dns) {
      const server = port === DNS_PORT ? this.#host.resolvers()[0] : undefined;
      if (server === undefined) return undefined;
      const [name, other] = server.split(':');
      return { address: name!, port: Number(other ?? DNS_PORT) };
    }
    // Other addresses of the network are nobody's; loopback, multicast and broadcast do not cross a router.
    const first = address >>> 24;
    if (this.#inside(address) || first === 127 || first === 0 || first >= 224) return undefined;
    return { address: formatIpv4Address(address), port };
  }
}
