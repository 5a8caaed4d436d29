/**
 * The options of `createMachine`: the command line's, as an object. `-device virtio-rng-pci,id=r` is
 * `device: [{ driver: 'virtio-rng-pci', id: 'r' }]` or `device: ['virtio-rng-pci,id=r']`. The types are read from the
 * declarations that the command line is parsed by; the values are checked by the same code.
 */
import { UsageError } from '../core/errors.ts';
import type { OPTIONS, OptionDef } from '../qapi/command-line.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { formatOptions } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { findOption, giveOption } from '../qapi/parse-command-line.ts';
import type { OptionsOf, Property } from '../qapi/property.ts';
import type { CHARDEV_TYPES } from '../qapi/schema/chardev.ts';
import type { NETDEV_TYPES, NIC_PROPERTIES } from '../qapi/schema/netdev.ts';
import type { OBJECT_TYPES } from '../qapi/schema/object.ts';
import { nearest } from '../qapi/suggest.ts';
import { formatValue } from '../qapi/values.ts';
import type { VirtioDevice } from '../virtio/device.ts';

type Scalar = string | number | bigint | boolean;
type OneOrMore<T> = T | readonly T[];

/** `{ [key]: name } & its properties`, for each of a list of types. */
type Variants<Types, Key extends string> = Types extends readonly (infer T)[]
  ? T extends { name: infer N extends string; properties: infer P extends readonly Property[] }
    ? { readonly [K in Key]: N } & Readonly<OptionsOf<P>>
    : never
  : never;

/** Types that are declared as missing are not offered. */
type Present<Types extends readonly unknown[]> = readonly Exclude<Types[number], { missing: string }>[];

export type ChardevOptions = Variants<Present<typeof CHARDEV_TYPES>, 'backend'>;
export type NetdevOptions = Variants<Present<typeof NETDEV_TYPES>, 'type'>;
export type ObjectOptions = Variants<typeof OBJECT_TYPES, 'qom-type'>;
/** Of each of several types. */
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

export type NicOptions =
  | { readonly type: 'none' }
  | (WithoutId<NetdevOptions> & Readonly<OptionsOf<typeof NIC_PROPERTIES>>);

/** `-device`: the properties depend on the driver (`-device DRIVER,help` lists them). */
export interface DeviceOptions {
  readonly driver: string;
  readonly id?: string;
  readonly bus?: string;
  readonly addr?: string;
  readonly [property: string]: Scalar | undefined;
}

/** `-blockdev`: the properties depend on the driver; those of a node below have its role in front (`file.filename`). */
export interface BlockdevOptions {
  readonly driver: string;
  readonly 'node-name': string;
  readonly [property: string]: Scalar | undefined;
}

type Def = (typeof OPTIONS)[number];
type Live = Exclude<Def, { refused: string } | { name: 'help' | 'version' }>;

/** What an option takes as a value, from its declaration. */
type ValueOfOption<D> = D extends { takes: 'none' }
  ? boolean
  : D extends { takes: 'text'; repeat: 'append' }
    ? OneOrMore<string>
    : D extends { takes: 'text' }
      ? string
      : D extends { properties: infer P extends readonly Property[]; repeat: 'append' }
        ? OneOrMore<string | Readonly<OptionsOf<P>>>
        : D extends { properties: infer P extends readonly Property[] }
          ? string | number | Readonly<OptionsOf<P>>
          : never;

type Special = 'kernel' | 'blockdev' | 'initrd' | 'device' | 'chardev' | 'netdev' | 'nic' | 'net' | 'object';

type FromTable = {
  readonly [D in Live as D['name'] extends Special ? never : D['name']]?: ValueOfOption<D> | undefined;
};

/** A file: its path, its location, or its content. */
export type FileOption = string | URL | Uint8Array;

export interface MachineOptions extends FromTable {
  readonly kernel?: FileOption | undefined;
  readonly initrd?: FileOption | undefined;
  readonly device?: OneOrMore<string | DeviceOptions> | undefined;
  readonly blockdev?: OneOrMore<string | BlockdevOptions> | undefined;
  readonly chardev?: OneOrMore<string | ChardevOptions> | undefined;
  readonly netdev?: OneOrMore<string | NetdevOptions> | undefined;
  readonly nic?: OneOrMore<string | NicOptions> | undefined;
  readonly net?: OneOrMore<string> | undefined;
  readonly object?: OneOrMore<string | ObjectOptions> | undefined;
  /** Devices of your own: each becomes a PCI function behind the others. */
  readonly plug?: readonly VirtioDevice[] | undefined;
  /** Ends the machine when it is aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of what the command line would say on stderr: warnings and notes. Nothing is printed otherwise. */
  readonly onMessage?: ((text: string) => void) | undefined;
}

/** Keys that are no options of the command line. */
const OWN = new Set(['plug', 'signal', 'onMessage']);

/** What remains beside the text of options. */
export interface ReadMachineOptions {
  readonly given: readonly Given[];
  readonly kernel: Uint8Array | undefined;
  readonly initrd: Uint8Array | undefined;
}

/** Reads an options object as if its command line had been typed. */
export function readMachineOptions(options: MachineOptions): ReadMachineOptions {
  const given: Given[] = [];
  const content: { kernel?: Uint8Array; initrd?: Uint8Array } = {};
  for (const [key, value] of Object.entries(options as Record<string, unknown>)) {
    if (value === undefined || OWN.has(key)) continue;
    const option = findOption(key);
    if (option === undefined || option.name === 'help' || option.name === 'version') {
      const near = nearest(key, optionKeys());
      throw new UsageError(
        `createMachine: no option '${key}'${near === undefined ? '' : ` (did you mean '${near}'?)`}`,
      );
    }
    if ((option.name === 'kernel' || option.name === 'initrd') && value instanceof Uint8Array) {
      content[option.name] = value;
      continue;
    }
    if (option.takes === 'none') {
      if (value === true) given.push(giveOption(option, `-${key}`, ''));
      else if (value !== false) throw new UsageError(`createMachine: ${key} is true or false`);
      continue;
    }
    if (Array.isArray(value) && option.repeat !== 'append')
      throw new UsageError(`createMachine: ${key} is given once, not as a list`);
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value])
      given.push(giveOption(option, `-${key}`, argumentOf(option, key, one)));
  }
  return { given, kernel: content.kernel, initrd: content.initrd };
}

function* optionKeys(): Generator<string> {
  yield* OWN;
  for (const name of [
    'kernel',
    'initrd',
    'append',
    'm',
    'cpu',
    'machine',
    'drive',
    'device',
    'chardev',
    'netdev',
  ])
    yield name;
  for (const name of [
    'nic',
    'object',
    'serial',
    'smp',
    'name',
    'uuid',
    'rtc',
    'nographic',
    'display',
    'trace',
  ])
    yield name;
}

/** The text that the option would have on the command line. */
function argumentOf(option: OptionDef, key: string, value: unknown): string {
  if (value instanceof URL) {
    if (value.protocol !== 'file:')
      throw new UsageError(`createMachine: ${key}: only file: URLs can be opened`);
    return decodeURIComponent(value.pathname);
  }
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (value === null || typeof value !== 'object' || option.takes !== 'properties')
    throw new UsageError(
      `createMachine: ${key}: expected text${option.takes === 'properties' ? ' or an object' : ''}`,
    );
  const entries: OptionEntry[] = [];
  const names = Object.keys(value).sort(
    (a, b) => Number(b === option.implied) - Number(a === option.implied),
  );
  for (const name of names) {
    const item = (value as Record<string, unknown>)[name];
    if (item === undefined) continue;
    for (const one of Array.isArray(item) ? (item as unknown[]) : [item]) {
      if (!['string', 'number', 'bigint', 'boolean'].includes(typeof one))
        throw new UsageError(
          `createMachine: ${key}: ${name} is ${typeof one}; expected text, a number, true or false`,
        );
      entries.push({ name, value: formatValue(one as Scalar) });
    }
  }
  return formatOptions(entries, option.implied);
}
