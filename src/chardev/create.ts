/**
 * The chardev types by name, each with its properties and its maker: what `-chardev TYPE,…`, `chardev-add`,
 * `-chardev help` and the reference read. Texts of errors are QEMU's (7.2) where it has the same error.
 */
import { UsageError } from '../core/errors.ts';
import type { Property, PropertyValues } from '../qapi/property.ts';
import type { CharBase } from './base.ts';
import type { Chardev } from './chardev.ts';
import type { CharHost, SocketAddress } from './host.ts';
import { MuxChardev } from './mux.ts';
import { FileChardev, NullChardev, RingbufChardev } from './simple.ts';
import { SocketChardev } from './socket.ts';
import { PtyChardev, StdioChardev, StreamChardev } from './stream.ts';

export interface ChardevType {
  readonly help: string;
  readonly properties: readonly Property[];
  create(id: string, options: PropertyValues, host: CharHost): CharBase | Promise<CharBase>;
}

/** Properties of every type. */
const COMMON: readonly Property[] = [
  { name: 'mux', type: 'bool', default: false, help: 'several front ends share it; Ctrl-A switches' },
  { name: 'logfile', type: 'str', help: 'file that gets a copy of what the guest writes' },
  { name: 'logappend', type: 'bool', default: false, help: 'keep what the log file holds' },
];

const SOCKET: readonly Property[] = [
  { name: 'path', type: 'str', help: 'path of a unix socket' },
  {
    name: 'abstract',
    type: 'bool',
    default: false,
    help: "the path is a name in Linux's abstract namespace",
  },
  { name: 'tight', type: 'bool', default: true, help: 'an abstract name has no trailing zeroes' },
  { name: 'host', type: 'str', help: 'address to connect to or listen at' },
  { name: 'port', type: 'str', help: 'TCP port' },
  { name: 'to', type: 'uint16', help: 'last port to try when listening' },
  { name: 'ipv4', type: 'bool', help: 'use IPv4' },
  { name: 'ipv6', type: 'bool', help: 'use IPv6' },
  { name: 'nodelay', type: 'bool', default: false, help: 'send small writes at once' },
  { name: 'delay', type: 'bool', help: 'the opposite of nodelay' },
  { name: 'server', type: 'bool', default: false, help: 'listen instead of connecting' },
  {
    name: 'wait',
    type: 'bool',
    help: 'a server waits for its first client before the machine starts (default)',
  },
  {
    name: 'reconnect',
    type: 'uint32',
    default: 0,
    help: 'seconds after which a client tries again; 0: never',
  },
  { name: 'telnet', type: 'bool', default: false, help: 'not supported yet' },
  { name: 'tn3270', type: 'bool', default: false, help: 'not supported' },
  { name: 'websocket', type: 'bool', default: false, help: 'not supported yet' },
  { name: 'tls-creds', type: 'object', help: 'not supported yet' },
];

const path = (help: string): Property => ({ name: 'path', type: 'str', help });

export const CHARDEV_TYPES: Readonly<Record<string, ChardevType>> = {
  null: {
    help: 'takes everything and gives nothing',
    properties: COMMON,
    create: (id) => new NullChardev(id),
  },
  stdio: {
    help: 'standard input and output of this process',
    properties: [...COMMON, { name: 'signal', type: 'bool', default: true, help: 'Ctrl-C ends the process' }],
    create: (id, options, host) => new StdioChardev(id, host.stdio({ signals: options['signal'] !== false })),
  },
  file: {
    help: 'output into a file',
    properties: [
      ...COMMON,
      path('the file'),
      { name: 'append', type: 'bool', default: false, help: 'keep what the file holds' },
    ],
    create: (id, options, host) => {
      const name = text(options, 'path');
      if (name === undefined) throw new UsageError('chardev: file: no filename given');
      return new FileChardev(id, name, options['append'] === true, host);
    },
  },
  pipe: {
    help: 'a FIFO, or two (PATH.in and PATH.out)',
    properties: [...COMMON, path('the FIFO')],
    create: (id, options, host) => {
      const name = text(options, 'path');
      if (name === undefined) throw new UsageError('chardev: pipe: no device path given');
      return new StreamChardev(id, 'pipe', host.openPipe(name));
    },
  },
  pty: {
    help: 'a new pseudo-terminal',
    properties: COMMON,
    create: (id, _options, host) => {
      const { stream, name, connected } = host.openPty();
      host.inform(`char device redirected to ${name} (label ${id})`);
      return new PtyChardev(id, stream, name, connected);
    },
  },
  serial: {
    help: 'a serial port of the host',
    properties: [...COMMON, path('the device')],
    create: (id, options, host) => {
      const name = text(options, 'path');
      if (name === undefined) throw new UsageError('chardev: serial/tty: no device path given');
      return new StreamChardev(id, 'serial', host.openTty(name));
    },
  },
  ringbuf: {
    help: 'keeps the last bytes for the monitor',
    properties: [...COMMON, { name: 'size', type: 'size', default: 65536, help: 'bytes, a power of two' }],
    create: (id, options) => new RingbufChardev(id, Number(options['size'] ?? 65536)),
  },
  socket: {
    help: 'a unix or TCP stream socket, as client or server',
    properties: [...COMMON, ...SOCKET],
    create: createSocket,
  },
};

/** Other spellings. */
const ALIASES: Readonly<Record<string, string>> = { memory: 'ringbuf', tty: 'serial', console: 'stdio' };

/** Types that QEMU knows and we do not have. */
const REFUSED: readonly string[] = [
  'braille',
  'dbus',
  'hub',
  'msmouse',
  'parallel',
  'parport',
  'qemu-vdagent',
  'spiceport',
  'spicevmc',
  'testdev',
  'udp',
  'vc',
  'wctablet',
];

/** The type's declaration; throws a `UsageError` for a name that is none. */
export function chardevType(name: string): ChardevType {
  const type = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  if (Object.hasOwn(CHARDEV_TYPES, type)) return CHARDEV_TYPES[type]!;
  if (REFUSED.includes(name)) throw new UsageError(`char driver '${name}' is not supported`);
  throw new UsageError(
    `'${name}' is not a valid char driver name (one of: ${Object.keys(CHARDEV_TYPES).join(', ')})`,
  );
}

/**
 * Makes a chardev. With `mux=on` the result is a `MuxChardev`. A socket server with `wait` is done when its first
 * client is there. Throws `UsageError` or `HostError`.
 */
export async function createChardev(
  type: string,
  options: PropertyValues & { readonly id: string },
  host: CharHost,
): Promise<Chardev> {
  const chardev = await chardevType(type).create(options.id, options, host);
  await logChardev(chardev, options, host);
  return options['mux'] === true ? new MuxChardev(options.id, chardev) : chardev;
}

/** Copies what the guest writes to the file of `logfile`, where there is one. The chardev is closed if that fails. */
export async function logChardev(chardev: CharBase, options: PropertyValues, host: CharHost): Promise<void> {
  const logfile = text(options, 'logfile');
  if (logfile === undefined) return;
  try {
    chardev.logTo(host.openSink(logfile, options['logappend'] === true));
  } catch (error) {
    await chardev.close();
    throw error;
  }
}

function text(options: PropertyValues, name: string): string | undefined {
  const value = options[name];
  return value === undefined ? undefined : String(value);
}

function createSocket(id: string, options: PropertyValues, host: CharHost): Promise<SocketChardev> {
  for (const name of ['telnet', 'tn3270', 'websocket'] as const) {
    if (options[name] === true) throw new UsageError(`chardev '${id}': ${name} is not supported yet`);
  }
  if (options['tls-creds'] !== undefined)
    throw new UsageError(`chardev '${id}': tls-creds is not supported yet`);
  const server = options['server'] === true;
  const reconnect = Number(options['reconnect'] ?? 0);
  if (server && reconnect > 0) {
    throw new UsageError("'reconnect' option is incompatible with socket in server listen mode");
  }
  if (!server && options['wait'] !== undefined) {
    throw new UsageError("'wait' option is incompatible with socket in client connect mode");
  }
  const wait = server && options['wait'] !== false;
  return SocketChardev.create(id, { address: socketAddress(options), server, reconnect }, wait, host);
}

function socketAddress(options: PropertyValues): SocketAddress {
  const unix = text(options, 'path');
  if (unix !== undefined) return { type: 'unix', path: unix, abstract: options['abstract'] === true };
  const port = text(options, 'port');
  if (text(options, 'host') === undefined && port === undefined) {
    throw new UsageError("chardev: socket: neither 'path' nor 'port' given");
  }
  if (port === undefined) throw new UsageError('chardev: socket: no port given');
  const number = Number(port);
  if (!/^\d+$/.test(port) || number > 65535)
    throw new UsageError(`chardev: socket: port '${port}' is not 0 to 65535`);
  const family = (name: string): { [key: string]: boolean } =>
    options[name] === undefined ? {} : { [name]: options[name] === true };
  return {
    type: 'inet',
    host: text(options, 'host') ?? '',
    port: number,
    ...(options['to'] === undefined ? {} : { to: Number(options['to']) }),
    ...family('ipv4'),
    ...family('ipv6'),
    noDelay: options['nodelay'] === true || options['delay'] === false,
  };
}
