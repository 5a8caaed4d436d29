/** Character devices: what there is, ring buffers, breaks. */
import { RingbufChardev } from '../../../chardev/simple.ts';
import type { Chardev } from '../../../chardev/chardev.ts';
import { MuxChardev } from '../../../chardev/mux.ts';
import { chardevTypes } from '../../../qapi/schema/chardev.ts';
import { fromBase64, toBase64 } from '../../base64.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

export interface ChardevInfo {
  readonly label: string;
  readonly filename: string;
  readonly 'frontend-open': boolean;
}

/** All chardevs in the order of the command line; what a mux shares comes behind it. */
export function chardevInfos({ backends, board }: MonitorTarget): ChardevInfo[] {
  const infos: ChardevInfo[] = [];
  for (const [label, { thing, user }] of backends.chardevs) {
    const { port } = board.placed.find(({ request }) => request?.values.chardev === label)?.device ?? {};
    // A port's front end is open while the guest has it open; others are whenever they are there.
    const open =
      port === undefined || port.console
        ? user !== undefined || thing instanceof MuxChardev
        : port.guestConnected;
    infos.push({ 'frontend-open': open, filename: thing.describe(), label });
    if (thing instanceof MuxChardev && thing.base.id === thing.id)
      infos.push({ 'frontend-open': true, filename: thing.base.describe(), label: `${label}-base` });
  }
  return infos;
}

export function requireChardev({ backends }: MonitorTarget, id: string): Chardev {
  const entry = backends.chardevs.get(id);
  if (entry === undefined) throw new QmpError(`Chardev '${id}' not found`);
  return entry.thing;
}

function ringbuf({ backends }: MonitorTarget, id: string): RingbufChardev {
  const entry = backends.chardevs.get(id);
  if (entry === undefined) throw new QmpError(`Device '${id}' not found`);
  if (!(entry.thing instanceof RingbufChardev)) throw new QmpError(`${id} is not a ringbuf device`);
  return entry.thing;
}

/** Streams are for programs; `tty` is another name. */
const HIDDEN = ['stream', 'tty'];

const FORMAT = oneOf('utf8', 'base64');

export function ringbufRead(target: MonitorTarget, id: string, size: number): Uint8Array {
  const chardev = ringbuf(target, id);
  if (size <= 0) throw new QmpError('size must be greater than zero');
  return chardev.read(size);
}

export const chardevCommands = [
  command({
    name: 'query-chardev',
    help: 'The character devices',
    returns: array(object({ label: str, filename: str, 'frontend-open': bool })),
    run: (_, target) => chardevInfos(target).map((one) => ({ ...one })),
  }),
  command({
    name: 'query-chardev-backends',
    help: 'The types of character devices',
    returns: array(object({ name: str })),
    run: () => chardevTypes.filter(({ name }) => !HIDDEN.includes(name)).map(({ name }) => ({ name })),
  }),
  command({
    name: 'chardev-send-break',
    help: 'Sends a break to whatever is behind a character device in the guest',
    arguments: { id: str },
    run: ({ id }, target) => requireChardev(target, id).sendBreak?.(),
  }),
  command({
    name: 'ringbuf-write',
    help: 'Puts data into a ring buffer',
    arguments: { device: str, data: str, 'format?': FORMAT },
    run: ({ device, data, format }, target) => {
      const chardev = ringbuf(target, device);
      chardev.write(format === 'base64' ? fromBase64(data) : new TextEncoder().encode(data));
    },
  }),
  command({
    name: 'ringbuf-read',
    help: 'Takes the oldest data out of a ring buffer',
    arguments: { device: str, size: int, 'format?': FORMAT },
    returns: str,
    run: ({ device, size, format }, target) => {
      const data = ringbufRead(target, device, size);
      return format === 'base64' ? toBase64(data) : new TextDecoder().decode(data);
    },
  }),
];
