/** Socket addresses out of a chardev's properties, and the texts that `info chardev` has of them. */
import { HostError, UsageError } from '../core/errors.ts';
import type { PropertyValues } from '../qapi/property.ts';
import type { FdAddress, InetAddress, SocketAddress } from './host.ts';

/** The string value of a property; undefined where it was not given. */
export function text(values: PropertyValues, name: string): string | undefined {
  const value = values[name];
  return value === undefined ? undefined : String(value);
}

/** A port's number. Names of services are not looked up. */
function portNumber(host: string, port: string): number {
  if (!/^\d+$/.test(port))
    throw new HostError(
      `address resolution failed for ${host}:${port}: Servname not supported for ai_socktype`,
    );
  const number = Number(port);
  if (number > 65535) throw new UsageError(`port '${port}' is not 0 to 65535`);
  return number;
}

/** A host and port, with the properties that all internet addresses have. */
export function inetAddress(values: PropertyValues, host: string, port: string): InetAddress {
  const flag = (name: string): { readonly [key: string]: boolean } =>
    values[name] === undefined ? {} : { [name]: values[name] === true };
  return {
    type: 'inet',
    host,
    port: portNumber(host, port),
    ...(values['to'] === undefined ? {} : { to: Number(values['to']) }),
    ...flag('ipv4'),
    ...flag('ipv6'),
    noDelay: values['nodelay'] === true || values['delay'] === false,
    ...(values['keep-alive'] === true ? { keepAlive: true } : {}),
  };
}

/** Bytes of `sun_path` (unix(7)), with the zero behind a path or in front of an abstract name. */
const SUN_PATH = 108;

function checkPath(path: string, abstract: boolean): void {
  if (path === '') throw new UsageError("chardev: socket: 'path' is empty");
  const limit = abstract ? SUN_PATH - 1 : SUN_PATH;
  if (new TextEncoder().encode(path).length >= limit)
    throw new UsageError(`UNIX socket path '${path}' is too long\nPath must be less than ${limit} bytes`);
}

function fdAddress(name: string): FdAddress {
  if (!/^\d+$/.test(name)) throw new UsageError(`Unable to parse FD number ${name}`);
  return { type: 'fd', fd: Number(name) };
}

/** Where a chardev of type `socket` is to connect to or to listen. Throws a `UsageError` in QEMU's words. */
export function socketAddress(values: PropertyValues): SocketAddress {
  const [path, host, port, fd] = ['path', 'host', 'port', 'fd'].map((name) => text(values, name));
  if (path !== undefined && (host !== undefined || fd !== undefined))
    throw new UsageError("chardev: socket: 'path' (unix) excludes 'host' (tcp) and 'fd'");
  if (path !== undefined) checkPath(path, values['abstract'] === true);
  if (path !== undefined)
    return {
      type: 'unix',
      path,
      ...(values['abstract'] === true ? { abstract: true, tight: values['tight'] !== false } : {}),
    };
  if (fd !== undefined) return fdAddress(fd);
  if (host === undefined && port === undefined)
    throw new UsageError("chardev: socket: needs 'path' (unix) or 'host' and 'port' (tcp)");
  if (port === undefined) throw new UsageError('chardev: socket: no port given');
  return inetAddress(values, host ?? '', port);
}

const server = (listening: boolean): string => (listening ? ',server=on' : '');

/** Of a socket without a peer: `disconnected:tcp:0.0.0.0:4444,server=on`. */
export function disconnectedText(address: SocketAddress, protocol: string, listening: boolean): string {
  switch (address.type) {
    case 'unix': {
      const abstract = address.abstract !== true ? '' : `,abstract=on${address.tight ? ',tight=on' : ''}`;
      return `disconnected:unix:${address.path}${abstract}${server(listening)}`;
    }
    case 'inet':
      return `disconnected:${protocol}:${address.host}:${address.port}${server(listening)}`;
    case 'fd':
      return `disconnected:fd:${address.fd}${server(listening)}`;
  }
}

/**
 * Of a socket with a peer. Of a unix socket QEMU tells its own end's name, which a client has not, nor has an
 * abstract one a name that could be printed.
 */
export function connectedText(
  address: SocketAddress,
  protocol: string,
  listening: boolean,
  ends: { readonly local?: string; readonly peer?: string },
): string {
  if (ends.local !== undefined && ends.peer !== undefined)
    return `${protocol}:${ends.local}${server(listening)} <-> ${ends.peer}`;
  const own = address.type === 'unix' && listening && address.abstract !== true ? address.path : '';
  return `unix:${own}${server(listening)}`;
}
