/** The addresses and rules of a user-mode network, from the properties of `-netdev user` (names are QEMU's). */
import { UsageError } from '../../core/errors.ts';
import { formatIpv4Address, parseIpv4Address } from '../wire/bytes.ts';

export interface ForwardRule {
  readonly protocol: 'tcp' | 'udp';
  readonly hostAddress: string;
  readonly hostPort: number;
  /** 0: the first address that DHCP gives out. */
  readonly guestAddress: number;
  readonly guestPort: number;
  /** As it was given, for messages. */
  readonly text: string;
}

/** A rule in force. */
export interface OpenForward {
  readonly protocol: 'tcp' | 'udp';
  readonly hostAddress: string;
  /** The real one. */
  readonly hostPort: number;
  readonly guestAddress: number;
  readonly guestPort: number;
}

/** Something that goes through the network, for `info usernet`. Addresses are text; `*` is any. */
export interface NetFlow {
  readonly protocol: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

export interface UserNetOptions {
  /** `ADDR[/MASK]`, mask as a number of bits or as an address. */
  readonly net?: string | undefined;
  readonly host?: string | undefined;
  readonly dns?: string | undefined;
  readonly dhcpstart?: string | undefined;
  readonly hostname?: string | undefined;
  readonly domainname?: string | undefined;
  readonly dnssearch?: readonly string[] | undefined;
  readonly restrict?: boolean | undefined;
  readonly hostfwd?: readonly string[] | undefined;
  readonly ipv4?: boolean | undefined;
}

export interface UserNetConfig {
  readonly network: number;
  readonly mask: number;
  /** The host, seen from the guest: also its router. */
  readonly host: number;
  readonly dns: number;
  readonly dhcpStart: number;
  readonly hostname: string | undefined;
  readonly domainname: string | undefined;
  readonly dnssearch: readonly string[];
  readonly restrict: boolean;
  readonly forwards: readonly ForwardRule[];
}

/** Throws a `UsageError` with what is wrong; texts are QEMU's where it has the same one. */
export function parseUserNetOptions(options: UserNetOptions): UserNetConfig {
  if (options.ipv4 === false) throw new UsageError('IPv4 disabled: the user network has no IPv6 yet');
  const { network, mask } = parseNetwork(options.net ?? '10.0.2.0/24');
  const inside = (text: string | undefined, fallback: number, what: string): number => {
    const address = text === undefined ? network + fallback : parseIpv4Address(text);
    if (address === undefined) throw new UsageError(`Failed to parse ${what} '${text}'`);
    if ((address & mask) >>> 0 !== network) {
      throw new UsageError(`${what} ${formatIpv4Address(address)} doesn't belong to the network`);
    }
    return address;
  };
  const host = inside(options.host, 2, 'host');
  const dns = inside(options.dns, 3, 'dns');
  const dhcpStart = inside(options.dhcpstart, 15, 'dhcpstart');
  if (dns === host) throw new UsageError('DNS must be different from host');
  if (dhcpStart === host || dhcpStart === dns)
    throw new UsageError('DHCP must be different from host and DNS');
  return {
    network,
    mask,
    host,
    dns,
    dhcpStart,
    hostname: options.hostname,
    domainname: options.domainname,
    dnssearch: options.dnssearch ?? [],
    restrict: options.restrict ?? false,
    forwards: (options.hostfwd ?? []).map(parseForwardRule),
  };
}

function parseNetwork(text: string): { network: number; mask: number } {
  const [address, maskText, ...rest] = text.split('/');
  const network = parseIpv4Address(address!);
  if (network === undefined || rest.length > 0) throw new UsageError(`Failed to parse net '${text}'`);
  let mask: number;
  if (maskText === undefined) {
    // The classes of old, as in QEMU.
    const first = network >>> 24;
    mask = first < 128 ? 0xff000000 : first < 192 ? 0xffff0000 : 0xffffff00;
  } else if (/^\d+$/.test(maskText)) {
    const bits = Number(maskText);
    // Fewer than four addresses leave no room for host, name server and guest.
    if (bits < 4 || bits > 29) throw new UsageError('Invalid netmask provided (must be in range 4-29)');
    mask = (0xffffffff << (32 - bits)) >>> 0;
  } else {
    const given = parseIpv4Address(maskText);
    if (given === undefined || ((~given >>> 0) & ((~given >>> 0) + 1)) !== 0) {
      throw new UsageError(`Failed to parse netmask '${maskText}'`);
    }
    mask = given;
  }
  return { network: (network & mask) >>> 0, mask };
}

/** `[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT`. */
export function parseForwardRule(text: string): ForwardRule {
  const refuse = (why: string): UsageError =>
    new UsageError(`Invalid host forwarding rule '${text}' (${why})`);
  const match = /^([^:]*):([^:]*):([^-]*)-([^:]*):(.*)$/.exec(text);
  if (match === null) throw refuse('expected [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT');
  const [, protocol, hostAddress, hostPort, guestAddress, guestPort] = match as unknown as string[];
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== '') throw refuse('Bad protocol name');
  if (hostAddress !== '' && parseIpv4Address(hostAddress!) === undefined) throw refuse('Bad host address');
  const port = (value: string, least: number, what: string): number => {
    if (!/^\d{1,5}$/.test(value) || Number(value) < least || Number(value) > 65535) throw refuse(what);
    return Number(value);
  };
  const guest = guestAddress === '' ? 0 : parseIpv4Address(guestAddress!);
  if (guest === undefined) throw refuse('Bad guest address');
  return {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostAddress: hostAddress === '' ? '0.0.0.0' : hostAddress!,
    hostPort: port(hostPort!, 0, 'Bad host port'),
    guestAddress: guest,
    guestPort: port(guestPort!, 1, 'Bad guest port'),
    text,
  };
}
