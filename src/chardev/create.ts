/**
 * From a type's name and its properties (`src/qapi/schema/chardev.ts` declares them) to a chardev. What can be checked
 * without touching the host is checked apart from making it, so that a command line is refused before anything of it
 * has been opened. Texts of errors are QEMU's (7.2) where it has the same error.
 */
import { UsageError } from '../core/errors.ts';
import type { PropertyValues } from '../qapi/property.ts';
import { chardevTypes, findChardevType } from '../qapi/schema/chardev.ts';
import { didYouMean } from '../qapi/suggest.ts';
import { inetAddress, socketAddress, text } from './address.ts';
import type { CharBase } from './base.ts';
import type { Chardev } from './chardev.ts';
import type { CharHost, HostTls, SocketLayers } from './host.ts';
import { MuxChardev } from './mux.ts';
import { FileChardev, NullChardev, RingbufChardev } from './simple.ts';
import { SocketChardev } from './socket.ts';
import { PtyChardev, StdioChardev, StreamChardev } from './stream.ts';
import { WebStreamChardev } from './web.ts';

/** What a chardev is made with. */
export interface ChardevContext {
  readonly host: CharHost;
  /** The TLS credentials with this id; throws a `UsageError` for what is none. */
  readonly tls: (id: string) => HostTls;
  /** A place at another chardev, for an explicit mux. */
  readonly claim: (id: string) => Chardev;
}

interface Maker {
  /** Throws a `UsageError` for what can be told without the host. */
  check?(values: PropertyValues): void;
  make(id: string, values: PropertyValues, context: ChardevContext): CharBase | Promise<CharBase>;
}

const required = (values: PropertyValues, name: string, message: string): string => {
  const value = text(values, name);
  if (value === undefined) throw new UsageError(message);
  return value;
};

const filePath = (values: PropertyValues): string =>
  required(values, 'path', 'chardev: file: no filename given');
const pipePath = (values: PropertyValues): string =>
  required(values, 'path', 'chardev: pipe: no device path given');
const ttyPath = (values: PropertyValues): string =>
  required(values, 'path', 'chardev: serial/tty: no device path given');

const serial: Maker = {
  check: (values) => void ttyPath(values),
  make: (id, values, { host }) => new StreamChardev(id, 'serial', host.openTty(ttyPath(values))),
};

const ringbuf = (type: string): Maker => ({
  make: (id, values) => new RingbufChardev(id, Number(values['size'] ?? 0), type),
});

const MAKERS: Readonly<Record<string, Maker>> = {
  null: { make: (id) => new NullChardev(id) },
  // Without a display a virtual console has nowhere to show its text.
  vc: { make: (id) => new NullChardev(id, 'vc') },
  stream: { make: (id) => new WebStreamChardev(id) },
  stdio: {
    make: (id, values, { host }) => new StdioChardev(id, host.stdio({ signals: values['signal'] !== false })),
  },
  file: {
    check: (values) => void filePath(values),
    make: (id, values, { host }) =>
      new FileChardev(id, filePath(values), values['append'] === true, text(values, 'input-path'), host),
  },
  pipe: {
    check: (values) => void pipePath(values),
    make: (id, values, { host }) => new StreamChardev(id, 'pipe', host.openPipe(pipePath(values))),
  },
  pty: {
    make: (id, values, { host }) => new PtyChardev(id, host.openPty(text(values, 'path'))),
  },
  serial,
  tty: serial,
  ringbuf: ringbuf('ringbuf'),
  memory: ringbuf('memory'),
  udp: {
    check: (values) => void udpAddresses(values),
    make: async (id, values, { host }) => {
      const { remote, local } = udpAddresses(values);
      return new StreamChardev(id, 'udp', await host.openUdp(remote, local));
    },
  },
  socket: { check: checkSocket, make: makeSocket },
};

/**
 * Checks the type's name and what its properties say together.
 * @throws UsageError in QEMU's words
 */
export function checkChardev(type: string, values: PropertyValues): void {
  const found = findChardevType(type);
  if (found === undefined)
    throw new UsageError(
      `'${type}' is not a valid char driver name${didYouMean(
        type,
        chardevTypes.map(({ name }) => name),
      )}`,
    );
  if (found.missing !== undefined) throw new UsageError(`chardev type '${type}' is ${found.missing}`);
  if (type === 'mux') required(values, 'chardev', 'chardev: mux: no chardev given');
  else MAKERS[type]!.check?.(values);
}

/**
 * Makes a chardev. With `mux=on` the result is a `MuxChardev`. A socket server with `wait` is done when its first
 * client is there. Throws `UsageError` or `HostError`.
 */
export async function createChardev(
  type: string,
  options: PropertyValues & { readonly id: string },
  context: ChardevContext,
): Promise<Chardev> {
  const { id } = options;
  checkChardev(type, options);
  if (type === 'mux') return new MuxChardev(id, context.claim(String(options['chardev'])));
  const log = openLog(options, context.host);
  try {
    const chardev = await MAKERS[type]!.make(id, options, context);
    chardev.logTo(log);
    return options['mux'] === true ? new MuxChardev(id, chardev) : chardev;
  } catch (error) {
    log?.close();
    throw error;
  }
}

/** What the user is told of a new pseudo-terminal, in QEMU's words; undefined for other chardevs. */
export function ptyNote(chardev: Chardev): string | undefined {
  const pty = ptyOf(chardev);
  return pty && `char device redirected to ${pty.name} (label ${chardev.id})`;
}

/** The pseudo-terminal that `chardev` is, or that a mux shares. */
export function ptyOf(chardev: Chardev): PtyChardev | undefined {
  const base = chardev instanceof MuxChardev ? chardev.base : chardev;
  return base instanceof PtyChardev ? base : undefined;
}

function openLog(options: PropertyValues, host: CharHost): ReturnType<CharHost['openSink']> | undefined {
  const logfile = text(options, 'logfile');
  return logfile === undefined ? undefined : host.openSink(logfile, options['logappend'] === true);
}

function udpAddresses(values: PropertyValues) {
  const port = required(values, 'port', 'chardev: udp: remote port not specified');
  return {
    remote: inetAddress(values, text(values, 'host') || 'localhost', port),
    local: inetAddress(values, text(values, 'localaddr') ?? '', text(values, 'localport') || '0'),
  };
}

function checkSocket(values: PropertyValues): void {
  const address = socketAddress(values);
  const server = values['server'] === true;
  if (!server && values['wait'] !== undefined)
    throw new UsageError("'wait' option is incompatible with socket in client connect mode");
  if (server && Number(values['reconnect'] ?? 0) > 0)
    throw new UsageError("'reconnect' option is incompatible with socket in server listen mode");
  if (values['tls-authz'] !== undefined)
    throw new UsageError(
      values['tls-creds'] === undefined
        ? "'tls_authz' option requires 'tls_creds' option"
        : "'tls-authz' is not offered here: there are no authorization objects",
    );
  if (values['tls-creds'] !== undefined && address.type === 'unix')
    throw new UsageError("'tls_creds' option is incompatible with 'unix' address type");
  if (values['tn3270'] === true)
    throw new UsageError('tn3270 is not offered here: there is no 3270 terminal on a PC');
  if (values['websocket'] === true && values['telnet'] === true)
    throw new UsageError("'telnet' and 'websocket' exclude each other");
}

function makeSocket(id: string, values: PropertyValues, { host, tls }: ChardevContext): Promise<CharBase> {
  const server = values['server'] === true;
  const layers: SocketLayers = {
    ...(values['tls-creds'] === undefined
      ? {}
      : { tls: credentials(tls(String(values['tls-creds'])), server) }),
    ...(values['websocket'] === true ? { websocket: true } : {}),
  };
  if (layers.websocket === true && !server && host.webSocketClient !== true)
    throw new UsageError('Websocket client is not implemented');
  const options = {
    address: socketAddress(values),
    server,
    reconnect: Number(values['reconnect'] ?? 0),
    telnet: values['telnet'] === true,
    layers,
  };
  return SocketChardev.create(id, options, server && values['wait'] !== false, host);
}

function credentials(tls: HostTls, server: boolean): HostTls {
  const endpoint = server ? 'server' : 'client';
  if (tls.endpoint !== endpoint) throw new UsageError(`Expected TLS credentials for a ${endpoint} endpoint`);
  return tls;
}
