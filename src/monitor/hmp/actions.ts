/** What changes something: the machine's switches, devices, objects, ring buffers, cables, the balloon. */
import { DEVICE_CLASSES, deviceSummaries, requireClass } from '../../machine/registry.ts';
import { deviceListHelp, propertiesHelp } from '../../qapi/help.ts';
import { isHelp, lastValue, parseOptions } from '../../qapi/options.ts';
import type { JsonValue } from '../json/value.ts';
import { KEY_CODES, numberedKey } from '../keys.ts';
import { MOUSE_INDEX, moveMouse, setButtons } from '../mouse.ts';
import { cards } from '../net-info.ts';
import { COMMANDS } from '../qmp/commands.ts';
import { addDevice, addObject, removeDevice } from '../qmp/commands/device.ts';
import { ringbufRead } from '../qmp/commands/chardev.ts';
import { dump } from '../qmp/commands/dump.ts';
import { pressKeys } from '../qmp/commands/input.ts';
import { QmpError } from '../qmp/error.ts';
import { checkMembers } from '../qmp/types.ts';
import type { MonitorTarget } from '../target.ts';
import { logHelp, setLog, setTracing } from '../tracing.ts';
import type { HmpCommand, HmpOutput } from './command.ts';
import { HmpError, plainly } from './error.ts';

/** Runs a command of QMP's and prints nothing. */
async function qmp(
  name: string,
  given: { readonly [key: string]: JsonValue },
  target: MonitorTarget,
): Promise<void> {
  const found = COMMANDS.get(name)!;
  await found.run(checkMembers(found.arguments, given), target);
}

/** The same at once, for those that need no waiting. */
function qmpNow(name: string, given: { readonly [key: string]: JsonValue }, target: MonitorTarget): void {
  const found = COMMANDS.get(name)!;
  void found.run(checkMembers(found.arguments, given), target);
}

const simple = (name: string, help: string, command = name, aliases: readonly string[] = []): HmpCommand => ({
  name,
  aliases,
  takes: '',
  synopsis: '',
  help,
  run: (_, target) => qmpNow(command, {}, target),
});

function deviceAdd(text: string, target: MonitorTarget): HmpOutput {
  const entries = parseOptions(text, 'driver');
  const driver = lastValue(entries, 'driver');
  if (driver !== undefined && isHelp(driver)) return `${deviceListHelp(deviceSummaries())}\n`;
  if (driver !== undefined && entries.some(({ name, bare }) => bare === true && isHelp(name))) {
    const { name, properties } = requireClass(driver);
    return `${propertiesHelp(`${name} options`, properties)}\n`;
  }
  addDevice(target, entries);
}

const ids = function* ({ board }: MonitorTarget): Generator<string> {
  for (const { device } of board.placed) if (device.id !== undefined) yield device.id;
};

const chardevIds = ({ backends }: MonitorTarget): Iterable<string> => backends.chardevs.keys();

const later = (name: string, synopsis: string, help: string, why: string, takes = 'rest:O?'): HmpCommand => ({
  name,
  takes,
  synopsis,
  help,
  run: () => {
    throw new HmpError(`${name}: ${why}`, false);
  },
});

export const actionCommands: readonly HmpCommand[] = [
  { ...simple('quit', 'end the machine and the program'), aliases: ['q'] },
  { ...simple('stop', 'stop the processor'), aliases: ['s'] },
  { ...simple('cont', 'let the processor run'), aliases: ['c'] },
  simple('system_reset', 'press the reset button'),
  simple('system_powerdown', 'press the power button'),
  simple('system_wakeup', 'wake a guest that sleeps'),
  simple('nmi', 'inject a non-maskable interrupt', 'inject-nmi'),
  {
    name: 'device_add',
    takes: 'device:O?',
    synopsis: 'driver[,prop=value][,...]',
    help: 'plug a device in, as -device does at the start',
    run: ({ device }, target) => deviceAdd(String(device ?? ''), target),
    complete: () => DEVICE_CLASSES.map(({ name }) => name),
  },
  {
    name: 'device_del',
    takes: 'id:s',
    synopsis: 'device',
    help: 'take a device out',
    run: ({ id }, target) => removeDevice(target, String(id)),
    complete: ids,
  },
  {
    name: 'object_add',
    takes: 'object:S',
    synopsis: '[qom-type=]type,id=str[,prop=value][,...]',
    help: 'make an object that devices refer to',
    run: ({ object }, target) => addObject(target, parseOptions(String(object), 'qom-type')),
  },
  {
    name: 'object_del',
    takes: 'id:s',
    synopsis: 'id',
    help: 'take an object away',
    run: ({ id }, target) => qmp('object-del', { id: String(id) }, target),
    complete: ({ backends }) => backends.objects.keys(),
  },
  {
    name: 'ringbuf_write',
    takes: 'device:s,data:s',
    synopsis: 'device data',
    help: 'put text into a ring buffer',
    run: ({ device, data }, target) =>
      qmpNow('ringbuf-write', { device: String(device), data: String(data) }, target),
    complete: chardevIds,
  },
  {
    name: 'ringbuf_read',
    takes: 'device:s,size:i',
    synopsis: 'device size',
    help: 'take text out of a ring buffer',
    run: ({ device, size }, target) => `${printable(ringbufRead(target, String(device), Number(size)))}\n`,
    complete: chardevIds,
  },
  {
    name: 'chardev-send-break',
    takes: 'id:s',
    synopsis: 'id',
    help: 'send a break to the front end of a chardev',
    run: ({ id }, target) => qmpNow('chardev-send-break', { id: String(id) }, target),
    complete: chardevIds,
  },
  {
    name: 'set_link',
    takes: 'name:s,up:b',
    synopsis: 'name on|off',
    help: 'plug the cable of a network card in or pull it',
    run: ({ name, up }, target) => qmpNow('set_link', { name: String(name), up: up === true }, target),
    complete: (target) => [...cards(target).map(({ name }) => name), ...target.backends.netdevs.keys()],
  },
  {
    name: 'balloon',
    takes: 'value:M',
    synopsis: 'target',
    help: 'ask the guest to do with so many megabytes',
    run: ({ value }, target) => qmpNow('balloon', { value: Number(value) }, target),
  },
  {
    name: 'log',
    takes: 'items:s',
    synopsis: 'item1[,...]',
    help: 'log what -d logs',
    run: ({ items }, target) => (setLog(target, String(items)) ? undefined : logHelp()),
  },
  {
    name: 'trace-event',
    takes: 'name:s,option:b',
    synopsis: 'name on|off',
    help: 'print a trace point whenever it passes',
    run: ({ name, option }, target) => plainly(() => setTracing(target, String(name), option === true)),
    complete: ({ board }) => board.tracer.names,
  },
  later('savevm', 'tag', 'save a snapshot of the machine', 'snapshots are not available yet', 'name:s?'),
  later('loadvm', 'tag', 'go back to a snapshot', 'snapshots are not available yet', 'name:s'),
  later('delvm', 'tag', 'delete a snapshot', 'snapshots are not available yet', 'name:s'),
  later('migrate', 'uri', 'move the machine to another host', 'migration is not available yet', 'uri:s'),
  {
    name: 'sendkey',
    takes: 'keys:s,hold:i?',
    synopsis: 'keys [hold_ms]',
    help: 'press keys together, such as ctrl-alt-f1',
    run: ({ keys, hold }, target) => {
      const codes = String(keys)
        .split('-')
        .map((name) => {
          const code =
            KEY_CODES.get(name) ?? (/^0x[0-9a-f]{1,2}$/i.test(name) ? numberedKey(Number(name)) : undefined);
          if (code === undefined) throw new HmpError(`invalid parameter: ${name}`, false);
          return code;
        });
      pressKeys(target, codes, hold === undefined ? undefined : Number(hold));
    },
    complete: () => KEY_CODES.keys(),
  },
  {
    name: 'screendump',
    takes: 'filename:F,device:s?,head:i?',
    synopsis: 'filename [device [head]]',
    help: 'save the screen as a picture (there is none)',
    run: ({ filename }, target) => qmp('screendump', { filename: String(filename) }, target),
  },
  {
    name: 'cpu',
    takes: 'index:i',
    synopsis: 'index',
    help: 'choose the processor that x, print and info registers mean',
    run: ({ index }) => {
      if (index !== 0n) throw new HmpError('invalid CPU index', false);
    },
  },
  {
    name: 'watchdog_action',
    takes: 'action:s',
    synopsis: '[reset|shutdown|poweroff|pause|debug|none|inject-nmi]',
    help: 'choose what happens when a watchdog runs out (there is none)',
    run: ({ action }, target) => {
      if (!WATCHDOG_ACTIONS.includes(String(action)))
        throw new QmpError(`invalid parameter value: ${String(action)}`);
      return qmp('watchdog-set-action', { action: String(action) }, target);
    },
    complete: () => WATCHDOG_ACTIONS,
  },
  {
    name: 'getfd',
    takes: 'name:s',
    synopsis: 'name',
    help: 'take a file descriptor that comes with the line under a name',
    run: ({ name }, target) => qmp('getfd', { fdname: String(name) }, target),
  },
  {
    name: 'closefd',
    takes: 'name:s',
    synopsis: 'name',
    help: 'give a named file descriptor back',
    run: ({ name }, target) => qmp('closefd', { fdname: String(name) }, target),
  },
  {
    name: 'dump-guest-memory',
    takes: 'paging:-p,detach:-d,windmp:-w,zlib:-z,lzo:-l,snappy:-s,filename:F,begin:l?,length:l?',
    synopsis: '[-p] [-d] [-z|-l|-s|-w] filename [begin length]',
    help: 'write guest memory to an ELF file (-p: with virtual addresses, -d: do not wait)',
    run: ({ paging, detach, windmp, zlib, lzo, snappy, filename, begin, length }, target) => {
      const wanted = { 'win-dmp': windmp, 'kdump-zlib': zlib, 'kdump-lzo': lzo, 'kdump-snappy': snappy };
      const formats = Object.entries(wanted).flatMap(([name, on]) => (on === true ? [name] : []));
      if (formats.length > 1) throw new QmpError("only one of '-z|-l|-s|-w' can be set");
      return dump(target, {
        paging: paging === true,
        detach: detach === true,
        protocol: `file:${String(filename)}`,
        format: formats[0],
        ...(begin === undefined ? {} : { begin: Number(begin) }),
        ...(length === undefined ? {} : { length: Number(length) }),
      });
    },
  },
  {
    name: 'mouse_move',
    takes: 'dx:i,dy:i,dz:i?',
    synopsis: 'dx dy [dz]',
    help: 'move the mouse (right and down are positive; it has no wheel)',
    run: ({ dx, dy }, { board }) => moveMouse(board.platform.i8042.mouse, Number(dx), Number(dy)),
  },
  {
    name: 'mouse_button',
    takes: 'state:i',
    synopsis: 'state',
    help: 'press and let go of buttons of the mouse (1 left, 2 middle, 4 right)',
    run: ({ state }, { board }) => {
      const all = Number(state);
      setButtons(board.platform.i8042.mouse, (all & 1) | ((all & 2) << 1) | ((all & 4) >> 1));
    },
  },
  {
    name: 'mouse_set',
    takes: 'index:i',
    synopsis: 'index',
    help: 'choose the mouse that moves (there is one)',
    run: ({ index }) => {
      if (Number(index) !== MOUSE_INDEX) throw new HmpError(`Mouse at index '${index}' not found`, false);
    },
  },
];

const WATCHDOG_ACTIONS = ['reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi'];

/** What was read out of a ring buffer, safe for a terminal: other characters than text and its layout as `\xNN`. */
function printable(data: Uint8Array): string {
  let text = '';
  for (const character of new TextDecoder().decode(data)) {
    const plain = /[\n\r\t]/.test(character) || (character >= ' ' && character !== '\x7f');
    if (character === '\\') text += '\\\\';
    else
      text += plain
        ? character
        : `\\u{${character.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase()}}`;
  }
  return text;
}
