/** The netdev types by name: what `-netdev TYPE,…` opens, from values that the option schema has checked. */
import { UsageError } from '../core/errors.ts';
import type { PropertyValues } from '../qapi/property.ts';
import type { Netdev } from './netdev.ts';
import type { NetHost } from './user/host.ts';
import type { TapHost } from './tap.ts';
import { TapNetdev } from './tap.ts';
import { UserNet } from './user/user-net.ts';

export interface NetdevRequest {
  readonly id: string;
  readonly type: string;
  readonly values: PropertyValues;
  /** Properties that may come several times. */
  readonly lists: Readonly<Record<string, readonly string[]>>;
}

/** Throws a `UsageError` when the type, an address or a rule is wrong, or a forwarded port is taken. */
export async function createNetdev(
  request: NetdevRequest,
  host: NetHost,
  tapHost: TapHost | undefined,
  warn: (message: string) => void,
): Promise<Netdev> {
  const { id, type, values, lists } = request;
  if (type === 'tap') {
    if (tapHost === undefined) throw new UsageError("netdev type 'tap' needs Linux");
    return TapNetdev.open(id, values, tapHost, warn);
  }
  if (type !== 'user') throw new UsageError(`netdev type '${type}' is not available yet; use user`);
  const text = (name: string): string | undefined =>
    values[name] === undefined ? undefined : String(values[name]);
  for (const name of ['tftp', 'smb', 'smbserver', 'bootfile', 'tftp-server-name']) {
    if (values[name] !== undefined) throw new UsageError(`netdev user: '${name}' is not available yet`);
  }
  if ((lists['guestfwd']?.length ?? 0) > 0)
    throw new UsageError("netdev user: 'guestfwd' is not available yet");
  if (values['ipv6'] === true) warn("netdev user: 'ipv6' is not available yet: the network has IPv4 only");
  return UserNet.create(
    id,
    {
      net: text('net') ?? (values['ip'] === undefined ? undefined : `${text('ip')}/24`),
      host: text('host'),
      dns: text('dns'),
      dhcpstart: text('dhcpstart'),
      hostname: text('hostname'),
      domainname: text('domainname'),
      dnssearch: lists['dnssearch'],
      restrict: values['restrict'] === true,
      hostfwd: lists['hostfwd'],
      ipv4: values['ipv4'] === undefined ? undefined : values['ipv4'] === true,
    },
    host,
    warn,
  );
}
