/**
 * The short forms of chardevs (`unix:PATH,server=on,wait=off`, `mon:stdio`, …), the same for -serial, -monitor, -qmp,
 * -debugcon and -parallel. Each is taken apart into the entries that -chardev would have.
 */
import { UsageError } from '../../core/errors.ts';
import type { OptionEntry } from '../options.ts';
import { parseOptions } from '../options.ts';

/** A short form taken apart: the same as `-chardev TYPE,…`, and whether a monitor shares it. */
export interface ShortChardev {
  readonly type: string;
  readonly entries: readonly OptionEntry[];
  readonly monitor: boolean;
}

/** Types that need nothing but their name. */
const PLAIN = ['null', 'stdio', 'pty', 'msmouse', 'wctablet', 'braille', 'testdev', 'stream'];

const invalid = (text: string): UsageError => new UsageError(`'${text}' is not a valid char driver`);

const entry = (name: string, value: string): OptionEntry => ({ name, value });

/** `HOST:PORT` or `[HOST]:PORT`; the host may be empty. */
function hostAndPort(text: string): { host: string; port: string } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:]+)$/.exec(text);
  return match === null ? undefined : { host: match[1] ?? match[2] ?? '', port: match[3]! };
}

/** `HOST:PORT,rest` in the entries that -chardev socket would have. */
function socket(text: string): OptionEntry[] {
  const comma = text.indexOf(',');
  const at = comma < 0 ? text : text.slice(0, comma);
  const found = hostAndPort(at);
  if (found === undefined) throw new UsageError(`'${at}': expected HOST:PORT`);
  const rest = comma < 0 ? [] : parseOptions(text.slice(comma + 1));
  return [entry('host', found.host), entry('port', found.port), ...rest];
}

/** `[HOST]:PORT[@[ADDRESS]:PORT]`: where to send to, and where to receive at. */
function udp(text: string): OptionEntry[] {
  const [to = '', from] = text.split('@');
  const remote = hostAndPort(to);
  const local = from === undefined ? { host: '', port: '' } : hostAndPort(from);
  if (remote === undefined || local === undefined)
    throw new UsageError(`'${text}': expected [HOST]:PORT[@[ADDRESS]:PORT]`);
  return [
    entry('host', remote.host),
    entry('port', remote.port),
    entry('localaddr', local.host),
    entry('localport', local.port),
  ].filter(({ value }) => value !== '');
}

/** `800x600` in pixels, or `80Cx25C` in characters. */
function console(text: string): OptionEntry[] {
  const match = /^(\d+)(C?)x(\d+)\2$/.exec(text);
  if (match === null) throw new UsageError(`'${text}': expected WIDTHxHEIGHT or COLUMNSCxROWSC`);
  const [width, height] = match[2] === 'C' ? ['cols', 'rows'] : ['width', 'height'];
  return [entry(width!, match[1]!), entry(height!, match[3]!)];
}

/**
 * What -serial and its kin take. `undefined` for `none`. A reference to an existing chardev (`chardev:ID`) has the
 * type 'chardev'. Throws a `UsageError` in QEMU's words.
 */
export function parseShortChardev(text: string): ShortChardev | undefined {
  if (text === 'none') return undefined;
  if (!text.startsWith('mon:')) return { ...plainChardev(text), monitor: false };
  const { type, entries } = plainChardev(text.slice(4));
  // Whoever has a monitor there ends the machine by it: Ctrl-C goes to the guest.
  const signal = type === 'stdio' ? [entry('signal', 'off')] : [];
  return { type, entries: [...entries, ...signal, entry('mux', 'on')], monitor: true };
}

function plainChardev(text: string): { readonly type: string; readonly entries: readonly OptionEntry[] } {
  if (PLAIN.includes(text)) return { type: text, entries: [] };
  if (text === 'vc') return { type: 'vc', entries: [] };
  if (text.startsWith('/dev/')) {
    const parallel = /^\/dev\/(?:parport|ppi)/.test(text);
    return { type: parallel ? 'parallel' : 'serial', entries: [entry('path', text)] };
  }
  const colon = text.indexOf(':');
  const head = colon < 0 ? text : text.slice(0, colon);
  const rest = text.slice(head.length + 1);
  if (colon < 0) throw invalid(text);
  switch (head) {
    case 'chardev':
      return { type: 'chardev', entries: [entry('id', rest)] };
    case 'file':
    case 'pipe':
      // All of it is the path, commas too: there are no options here.
      return { type: head, entries: [entry('path', rest)] };
    case 'unix':
      return { type: 'socket', entries: parseOptions(rest, 'path') };
    case 'tcp':
      return { type: 'socket', entries: socket(rest) };
    case 'telnet':
    case 'tn3270':
    case 'websocket':
      return { type: 'socket', entries: [...socket(rest), entry(head, 'on')] };
    case 'udp':
      return { type: 'udp', entries: udp(rest) };
    case 'vc':
      return { type: 'vc', entries: console(rest) };
    default:
      throw invalid(text);
  }
}
