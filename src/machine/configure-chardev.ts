/** -chardev, -serial, -monitor, -debugcon, -parallel: which byte streams there are, and what each is connected to. */
import { checkChardev } from '../chardev/create.ts';
import { UsageError } from '../core/errors.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { checkId, lastValue } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { blame } from '../qapi/parse-command-line.ts';
import { readProperties } from '../qapi/read.ts';
import { findChardevType } from '../qapi/schema/chardev.ts';
import { parseShortChardev } from '../qapi/schema/chardev-short.ts';
import { MON_PROPERTIES } from '../qapi/schema/simple.ts';
import { defined } from '../qapi/suggest.ts';
import type { ChardevConfig, DeviceConfig, MonitorConfig } from './config.ts';

/**
 * The entries of a `-chardev`, or of the monitor's `chardev-add`, as typed values.
 * @throws UsageError in QEMU's words
 */
export function readChardev(
  type: string,
  given: string | undefined,
  entries: readonly OptionEntry[],
  note: (message: string) => void = () => {},
): { readonly id: string; readonly values: ChardevConfig['values'] } {
  const found = findChardevType(type);
  // Of a type that is not there only that is said.
  if (found === undefined || found.missing !== undefined) checkChardev(type, {});
  if (given === undefined) throw new UsageError('chardev: no id specified');
  const id = checkId(given);
  const own = entries.filter(({ name }) => name !== 'backend' && name !== 'id');
  const properties = (found?.properties ?? []).filter(({ name }) => name !== 'id');
  const { values } = readProperties(own, properties, { note });
  checkChardev(type, values);
  return { id, values };
}

/** The chardevs that the options define, in order. */
export class ChardevSet {
  readonly list: ChardevConfig[] = [];
  readonly #streams: boolean;

  /** @param streams whether chardevs of type `stream` may be used: by programs only */
  constructor(streams = false) {
    this.#streams = streams;
  }

  /** `-chardev TYPE,id=ID,…`. */
  add(given: Given, note: (message: string) => void): void {
    blame(given.origin, () => {
      const type = lastValue(given.entries, 'backend');
      const id = lastValue(given.entries, 'id');
      if (type === undefined) throw new UsageError(`chardev: "${id ?? ''}" missing backend`);
      this.#define(type, given.entries, { id, origin: given.origin, monitor: false, note });
    });
  }

  /** A short form; the id of the chardev that it names or makes, or undefined for `none`. */
  addShort(text: string, id: string, origin: string): string | undefined {
    return blame(origin, () => {
      const short = parseShortChardev(text);
      if (short === undefined) return undefined;
      if (short.type === 'chardev') return this.#existing(lastValue(short.entries, 'id') ?? '', text);
      this.#define(short.type, short.entries, { id, origin, monitor: short.monitor, note: () => {} });
      return id;
    });
  }

  /** The id of a chardev that was defined; throws QEMU's error of -mon for another. */
  existing(id: string): string {
    if (this.list.some((chardev) => chardev.id === id)) return id;
    throw new UsageError(`chardev "${id}" not found${defined(this.list.map((chardev) => chardev.id))}`);
  }

  #existing(id: string, text: string): string {
    if (this.list.some((chardev) => chardev.id === id)) return id;
    throw new UsageError(
      `could not connect serial device to character backend '${text}': no chardev with id '${id}'${defined(
        this.list.map((chardev) => chardev.id),
      )}`,
    );
  }

  #define(
    type: string,
    entries: readonly OptionEntry[],
    about: {
      readonly id: string | undefined;
      readonly origin: string;
      readonly monitor: boolean;
      readonly note: (message: string) => void;
    },
  ): void {
    if (type === 'stream' && !this.#streams)
      throw new UsageError("chardev type 'stream' is for programs that use the library");
    const { id, values } = readChardev(type, about.id, entries, about.note);
    if (this.list.some((chardev) => chardev.id === id))
      throw new UsageError(`Duplicate ID '${id}' for chardev`);
    if (type === 'stdio' && this.list.some((chardev) => chardev.type === 'stdio'))
      throw new UsageError('cannot use stdio by multiple character devices');
    if (type === 'mux' && !this.list.some((chardev) => chardev.id === values.chardev))
      throw new UsageError(`mux: base chardev ${String(values.chardev)} not found`);
    this.list.push({
      id,
      type,
      values,
      mux: values.mux === true,
      monitor: about.monitor,
      origin: about.origin,
    });
  }
}

/** The options that say where monitors are: with one of them there is no other by default. */
const MONITOR_OPTIONS = ['monitor', 'qmp', 'qmp-pretty', 'mon'];
const hasMonitor = (given: readonly Given[]): boolean =>
  given.some((one) => MONITOR_OPTIONS.includes(one.name));

/** True when -monitor, -qmp or -mon takes standard input and output. */
export const monitorOnStdio = (given: readonly Given[]): boolean =>
  given.some((one) => MONITOR_OPTIONS.includes(one.name) && one.text === 'stdio');

/**
 * -monitor, -qmp, -qmp-pretty and -mon, in order; then the monitor of each `mon:`; then, with -nographic and no other
 * use of the terminal, the one that QEMU has by default.
 */
export function configureMonitors(
  given: readonly Given[],
  chardevs: ChardevSet,
  defaults: { readonly nographic: boolean; readonly nodefaults: boolean },
): MonitorConfig[] {
  const monitors: MonitorConfig[] = [];
  const add = (chardev: string | undefined, mode: MonitorConfig['mode'], pretty: boolean, origin: string) => {
    if (chardev !== undefined) monitors.push({ chardev, mode, pretty, origin });
  };
  let index = 0;
  for (const one of given) {
    if (one.name === 'mon') {
      const { values } = blame(one.origin, () => readProperties(one.entries, MON_PROPERTIES));
      const id = blame(one.origin, () => chardevs.existing(String(values.chardev)));
      add(id, values.mode === 'control' ? 'control' : 'readline', values.pretty === true, one.origin);
    } else if (MONITOR_OPTIONS.includes(one.name)) {
      const id = chardevs.addShort(one.text, `compat_monitor${index++}`, one.origin);
      add(id, one.name === 'monitor' ? 'readline' : 'control', one.name === 'qmp-pretty', one.origin);
    }
  }
  for (const { id, monitor, origin } of chardevs.list) if (monitor) add(id, 'readline', false, origin);
  const free = !chardevs.list.some(({ type }) => type === 'stdio');
  if (defaults.nographic && !defaults.nodefaults && free && monitors.length === 0 && !hasMonitor(given))
    add(chardevs.addShort('stdio', 'compat_monitor0', '-monitor stdio'), 'readline', false, '-monitor stdio');
  return monitors;
}

const CTRL_A = 1;

/** -echr: the byte of the escape key, as C writes numbers. */
export function configureEscapeKey(given: readonly Given[]): number {
  const one = given.findLast(({ name }) => name === 'echr');
  if (one === undefined) return CTRL_A;
  const digits = /^0[0-7]+$/.test(one.text) ? `0o${one.text.slice(1)}` : one.text;
  const value = /^\w+$/.test(digits) ? Number(digits) : Number.NaN;
  if (Number.isInteger(value) && value <= 0xff) return value;
  throw new UsageError(`${one.origin}: Bad argument to echr (0 to 255, such as 0x14 for Ctrl-T)`);
}

/** QEMU keeps room for four PC serial ports. */
const MAX_SERIALS = 4;

/**
 * COM ports and debug consoles. Without -serial, COM1 is where `standard` says: on standard input and output (as
 * -nographic has it), on a stream for the program, or nowhere.
 */
export function configureSerials(
  given: readonly Given[],
  chardevs: ChardevSet,
  defaults: { readonly standard: 'terminal' | 'stream' | 'null'; readonly nodefaults: boolean },
): { serials: (string | undefined)[]; debugcons: DeviceConfig[] } {
  for (const one of given)
    if (one.name === 'parallel' && one.text !== 'none' && one.text !== 'null')
      throw new UsageError(`${one.origin}: there are no parallel ports: use -parallel none`);
  const serials = given
    .filter((one) => one.name === 'serial')
    .map((one, index) => {
      if (index >= MAX_SERIALS) throw new UsageError(`${one.origin}: a PC has ${MAX_SERIALS} serial ports`);
      return chardevs.addShort(one.text, `serial${index}`, one.origin);
    });
  // A -device isa-serial takes the place of the default port.
  const replaced = given.some(
    (one) => one.name === 'device' && lastValue(one.entries, 'driver') === 'isa-serial',
  );
  if (serials.length === 0 && !replaced && !defaults.nodefaults) {
    // Without -monitor and its kin the terminal is shared with the monitor: Ctrl-A C goes there.
    const terminal = hasMonitor(given) ? 'stdio' : 'mon:stdio';
    const text = defaults.standard === 'terminal' ? terminal : defaults.standard;
    serials.push(chardevs.addShort(text, 'serial0', `-serial ${text}`));
  }
  const debugcons = given
    .filter((one) => one.name === 'debugcon')
    .flatMap((one, index): DeviceConfig[] => {
      const id = chardevs.addShort(one.text, `debugcon${index}`, one.origin);
      const entries = [{ name: 'chardev', value: id ?? '' }];
      return id === undefined ? [] : [{ driver: 'isa-debugcon', entries, origin: one.origin }];
    });
  return { serials, debugcons };
}
