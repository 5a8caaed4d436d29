/**
 * `-chardev TYPE,id=`: byte streams to the host, each with its properties. The one declaration of them: the command
 * line, `chardev-add`, the help texts, the reference and the library's types are all read from it.
 */
import type { Property } from '../property.ts';

export interface ChardevProperty extends Property {
  /**
   * The member of `chardev-add`'s `data` that says the same: with a `?` behind it where it may be absent. The
   * property's own name, optional, unless given; null where QMP has none (addresses, which are objects there).
   */
  readonly qmp?: string | null;
}

export interface ChardevType {
  readonly name: string;
  readonly properties: readonly ChardevProperty[];
  readonly help: string;
  /** Members of `chardev-add`'s `data` that are socket addresses, as `qmp` names them, and the properties they fill. */
  readonly addresses?: Readonly<Record<string, { readonly host: string; readonly port: string }>>;
  /** Known from QEMU, but refused; why. */
  readonly missing?: string;
}

const ID = { name: 'id', type: 'str', required: true, qmp: null, help: 'Name for -device' } as const;
const COMMON = [
  ID,
  {
    name: 'mux',
    type: 'bool',
    qmp: null,
    help: 'Several front ends share it, switched by Ctrl-A C',
  },
  { name: 'logfile', type: 'str', help: 'File that gets a copy of what the guest writes' },
  { name: 'logappend', type: 'bool', help: 'Append to it instead of starting it anew' },
] as const;

const device = (help: string) => ({ name: 'path', type: 'str', qmp: 'device', help }) as const;

const RINGBUF = [
  ...COMMON,
  { name: 'size', type: 'size', help: 'Bytes kept, a power of two (default: 64K)' },
] as const;

const SOCKET = [
  ...COMMON,
  { name: 'path', type: 'str', qmp: null, help: 'Path of a unix socket' },
  { name: 'abstract', type: 'bool', qmp: null, help: "The path is a name in Linux's abstract namespace" },
  {
    name: 'tight',
    type: 'bool',
    qmp: null,
    help: 'An abstract name is not filled up with zeroes (default: on)',
  },
  { name: 'host', type: 'str', qmp: null, help: 'Address to connect to or to listen at (tcp)' },
  { name: 'port', type: 'str', qmp: null, help: 'Port (tcp)' },
  { name: 'to', type: 'uint32', qmp: null, help: 'Last port to try (tcp server)' },
  { name: 'ipv4', type: 'bool', qmp: null, help: 'Use IPv4' },
  { name: 'ipv6', type: 'bool', qmp: null, help: 'Use IPv6' },
  { name: 'fd', type: 'str', qmp: null, help: 'Number of a socket that this program was started with' },
  { name: 'server', type: 'bool', help: 'Listen instead of connecting' },
  { name: 'wait', type: 'bool', help: 'A server waits for its client before the guest starts (default: on)' },
  {
    name: 'reconnect',
    type: 'uint32',
    help: 'Seconds between attempts of a client to connect; 0: one attempt only',
  },
  { name: 'nodelay', type: 'bool', help: 'Send small packets at once (tcp)' },
  { name: 'delay', type: 'bool', qmp: null, help: 'The opposite of nodelay' },
  { name: 'telnet', type: 'bool', help: 'Telnet protocol' },
  { name: 'tn3270', type: 'bool', help: 'TN3270 protocol; refused' },
  { name: 'websocket', type: 'bool', help: 'WebSocket protocol (server only)' },
  { name: 'tls-creds', type: 'object', help: 'Id of the TLS credentials (tcp)' },
  { name: 'tls-authz', type: 'str', help: 'Id of the TLS authorization; refused' },
] as const;

const UDP = [
  ...COMMON,
  { name: 'host', type: 'str', qmp: null, help: 'Address to send to (default: localhost)' },
  { name: 'port', type: 'str', qmp: null, help: 'Port to send to' },
  { name: 'localaddr', type: 'str', qmp: null, help: 'Address to receive at (default: all)' },
  { name: 'localport', type: 'str', qmp: null, help: 'Port to receive at (default: any)' },
  { name: 'ipv4', type: 'bool', qmp: null, help: 'Use IPv4' },
  { name: 'ipv6', type: 'bool', qmp: null, help: 'Use IPv6' },
] as const;

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
      { name: 'path', type: 'str', qmp: 'out', help: 'The file' },
      { name: 'append', type: 'bool', help: 'Append instead of starting anew' },
      { name: 'input-path', type: 'str', qmp: 'in?', help: 'File to read from' },
    ],
    help: 'A file that gets what the guest writes',
  },
  {
    name: 'socket',
    properties: SOCKET,
    addresses: { addr: { host: 'host', port: 'port' } },
    help: 'A unix or TCP socket',
  },
  {
    name: 'udp',
    properties: UDP,
    addresses: {
      remote: { host: 'host', port: 'port' },
      'local?': { host: 'localaddr', port: 'localport' },
    },
    help: 'UDP: each write is a datagram',
  },
  {
    name: 'pipe',
    properties: [...COMMON, device('The FIFO, or PATH.in and PATH.out')],
    help: 'A FIFO, or a pair PATH.in and PATH.out',
  },
  {
    name: 'pty',
    properties: [...COMMON, { name: 'path', type: 'str', help: 'A symbolic link to it, made and removed' }],
    help: 'A pseudo terminal',
  },
  { name: 'serial', properties: [...COMMON, device('The device')], help: 'A serial port of the host' },
  { name: 'tty', properties: [...COMMON, device('The device')], help: 'Other name of serial' },
  { name: 'ringbuf', properties: RINGBUF, help: 'The last bytes, for the monitor' },
  { name: 'memory', properties: RINGBUF, help: 'Old name of ringbuf' },
  {
    name: 'mux',
    properties: [
      ...COMMON,
      { name: 'chardev', type: 'chardev', qmp: 'chardev', help: 'The chardev that is shared' },
    ],
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
  { name: 'parallel', properties: COMMON, help: 'A parallel port of the host', missing: NEVER },
  { name: 'parport', properties: COMMON, help: 'Other name of parallel', missing: NEVER },
  { name: 'msmouse', properties: COMMON, help: 'A serial mouse', missing: NEVER },
  { name: 'wctablet', properties: COMMON, help: 'A serial tablet', missing: NEVER },
  { name: 'braille', properties: COMMON, help: 'A braille display', missing: NEVER },
  { name: 'testdev', properties: COMMON, help: 'A device of QEMU for its own tests', missing: NEVER },
  { name: 'spicevmc', properties: COMMON, help: 'A SPICE channel', missing: NEVER },
  { name: 'spiceport', properties: COMMON, help: 'A SPICE port', missing: NEVER },
  { name: 'qemu-vdagent', properties: COMMON, help: 'A SPICE agent', missing: NEVER },
  { name: 'dbus', properties: COMMON, help: 'D-Bus', missing: NEVER },
] as const satisfies readonly ChardevType[];

/** Those that can be made; `stream` by programs only. */
export const chardevTypes: readonly ChardevType[] = (CHARDEV_TYPES as readonly ChardevType[]).filter(
  ({ missing }) => missing === undefined,
);

export const findChardevType = (name: string): ChardevType | undefined =>
  (CHARDEV_TYPES as readonly ChardevType[]).find((type) => type.name === name);
