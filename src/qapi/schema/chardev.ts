/** `-chardev TYPE,id=`: byte streams to the host, and the short forms that -serial and its kin take. */
import { UsageError } from '../../core/errors.ts';
import type { OptionEntry } from '../options.ts';
import { parseOptions } from '../options.ts';
import type { Property } from '../property.ts';

const ID = { name: 'id', type: 'str', required: true, help: 'Name for -device' } as const;
const COMMON = [
  ID,
  { name: 'mux', type: 'bool', help: 'Several front ends share it, switched by Ctrl-A C' },
  { name: 'logfile', type: 'str', help: 'File that gets a copy of what the guest writes' },
  { name: 'logappend', type: 'bool', help: 'Append to it instead of starting it anew' },
] as const;
const PATH = { name: 'path', type: 'str', help: 'Path' } as const;

export interface ChardevType {
  readonly name: string;
  readonly properties: readonly Property[];
  readonly help: string;
  readonly missing?: string;
}

const LATER = 'not available yet';
const NEVER = 'not offered here';

export const CHARDEV_TYPES = [
  { name: 'null', properties: COMMON, help: 'Swallows everything, says nothing' },
  {
    name: 'stdio',
    properties: [...COMMON, { name: 'signal', type: 'bool', help: 'Ctrl-C ends the program (default: on)' }],
    help: 'Standard input and output',
  },
  {
    name: 'file',
    properties: [
      ...COMMON,
      PATH,
      { name: 'append', type: 'bool', help: 'Append instead of starting anew' },
      { name: 'input-path', type: 'str', help: 'File to read from' },
    ],
    help: 'A file that gets what the guest writes',
  },
  {
    name: 'socket',
    properties: [
      ...COMMON,
      PATH,
      { name: 'host', type: 'str', help: 'Address (tcp)' },
      { name: 'port', type: 'str', help: 'Port (tcp)' },
      { name: 'server', type: 'bool', help: 'Listen instead of connecting' },
      {
        name: 'wait',
        type: 'bool',
        help: 'A server waits for its client before the guest starts (default: on)',
      },
      { name: 'reconnect', type: 'uint32', help: 'Seconds between attempts of a client' },
      { name: 'nodelay', type: 'bool', help: 'Send small packets at once (tcp)' },
      { name: 'delay', type: 'bool', help: 'The opposite of nodelay' },
      { name: 'to', type: 'uint32', help: 'Last port to try (tcp server)' },
      { name: 'ipv4', type: 'bool', help: 'Use IPv4' },
      { name: 'ipv6', type: 'bool', help: 'Use IPv6' },
      { name: 'telnet', type: 'bool', help: 'Telnet protocol' },
      { name: 'tn3270', type: 'bool', help: 'TN3270 protocol' },
      { name: 'websocket', type: 'bool', help: 'WebSocket protocol' },
      { name: 'abstract', type: 'bool', help: 'Abstract name (unix)' },
      { name: 'tight', type: 'bool', help: 'Abstract name without padding (unix)' },
      { name: 'fd', type: 'str', help: 'Open file descriptor' },
      { name: 'tls-creds', type: 'str', help: 'Id of the TLS credentials' },
      { name: 'tls-authz', type: 'str', help: 'Id of the TLS authorization' },
    ],
    help: 'A unix or TCP socket',
  },
  { name: 'pipe', properties: [...COMMON, PATH], help: 'A FIFO, or a pair PATH.in and PATH.out' },
  { name: 'pty', properties: [...COMMON, PATH], help: 'A pseudo terminal' },
  {
    name: 'ringbuf',
    properties: [
      ...COMMON,
      { name: 'size', type: 'size', help: 'Bytes kept, a power of two (default: 64K)' },
    ],
    help: 'The last bytes, for the monitor',
  },
  {
    name: 'memory',
    properties: [
      ...COMMON,
      { name: 'size', type: 'size', help: 'Bytes kept, a power of two (default: 64K)' },
    ],
    help: 'Old name of ringbuf',
  },
  {
    name: 'mux',
    properties: [...COMMON, { name: 'chardev', type: 'chardev', help: 'The chardev that is shared' }],
    help: 'Several front ends on one chardev',
  },
  {
    name: 'vc',
    properties: [
      ...COMMON,
      { name: 'width', type: 'uint32', help: 'Pixels' },
      { name: 'height', type: 'uint32', help: 'Pixels' },
      { name: 'cols', type: 'uint32', help: 'Characters' },
      { name: 'rows', type: 'uint32', help: 'Characters' },
    ],
    help: 'A console on the display; without a display it swallows everything',
  },
  { name: 'stream', properties: COMMON, help: 'Web streams, for programs that use the library' },
  { name: 'serial', properties: [...COMMON, PATH], help: 'A serial port of the host' },
  { name: 'tty', properties: [...COMMON, PATH], help: 'A serial port of the host' },
  { name: 'udp', properties: COMMON, help: 'UDP datagrams', missing: LATER },
  { name: 'parallel', properties: [...COMMON, PATH], help: 'A parallel port of the host', missing: NEVER },
  { name: 'msmouse', properties: COMMON, help: 'A serial mouse', missing: NEVER },
  { name: 'wctablet', properties: COMMON, help: 'A serial tablet', missing: NEVER },
  { name: 'braille', properties: COMMON, help: 'A braille display', missing: NEVER },
  { name: 'testdev', properties: COMMON, help: 'A device of QEMU for its own tests', missing: NEVER },
  { name: 'spicevmc', properties: COMMON, help: 'A SPICE channel', missing: NEVER },
  { name: 'spiceport', properties: COMMON, help: 'A SPICE port', missing: NEVER },
  { name: 'qemu-vdagent', properties: COMMON, help: 'A SPICE agent', missing: NEVER },
  { name: 'dbus', properties: COMMON, help: 'D-Bus', missing: NEVER },
] as const satisfies readonly ChardevType[];

/** A short form taken apart: the same as `-chardev TYPE,…`, and whether a monitor shares it. */
export interface ShortChardev {
  readonly type: string;
  readonly entries: readonly OptionEntry[];
  readonly monitor: boolean;
}

/** `HOST:PORT,rest` in the entries that -chardev socket would have. */
function address(text: string): OptionEntry[] {
  const [first, ...rest] = parseOptions(text, 'address');
  const at = first?.value ?? '';
  const colon = at.lastIndexOf(':');
  if (first === undefined || first.name !== 'address' || colon < 0)
    throw new UsageError(`'${at}': expected HOST:PORT`);
  const host = at.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return [{ name: 'host', value: host }, { name: 'port', value: at.slice(colon + 1) }, ...rest];
}

/**
 * What -serial, -monitor, -debugcon and -parallel take: `stdio`, `null`, `mon:stdio`, `file:PATH`, `unix:PATH,…`,
 * `tcp:HOST:PORT,…`, `telnet:…`, `pipe:PATH`, `pty`, `vc`, `chardev:ID`. `undefined` for `none`.
 * A reference to an existing chardev has the type 'chardev'.
 */
export function parseShortChardev(text: string): ShortChardev | undefined {
  const path = (type: string, rest: string): ShortChardev => ({
    type,
    entries: parseOptions(rest, 'path'),
    monitor: false,
  });
  if (text === 'none') return undefined;
  if (text.startsWith('mon:')) {
    const inner = parseShortChardev(text.slice(4));
    if (inner === undefined) throw new UsageError("'none' is not a valid char driver");
    const signal = inner.type === 'stdio' ? [{ name: 'signal', value: 'off' }] : [];
    return {
      type: inner.type,
      entries: [...inner.entries, ...signal, { name: 'mux', value: 'on' }],
      monitor: true,
    };
  }
  const colon = text.indexOf(':');
  const head = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? '' : text.slice(colon + 1);
  switch (head) {
    case 'chardev':
      return { type: 'chardev', entries: [{ name: 'id', value: rest }], monitor: false };
    case 'file':
    case 'pipe':
      return path(head, rest);
    case 'unix':
      return path('socket', rest);
    case 'tcp':
      return { type: 'socket', entries: address(rest), monitor: false };
    case 'telnet':
    case 'tn3270':
    case 'websocket':
      return { type: 'socket', entries: [...address(rest), { name: head, value: 'on' }], monitor: false };
    case 'udp':
      return { type: 'udp', entries: [], monitor: false };
    case 'vc':
      return { type: 'vc', entries: [], monitor: false };
  }
  if (text.startsWith('/dev/')) return path('serial', text);
  if (colon < 0 && CHARDEV_TYPES.some((type) => type.name === text))
    return { type: text, entries: [], monitor: false };
  throw new UsageError(`'${text}' is not a valid char driver`);
}
