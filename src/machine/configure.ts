/**
 * From options as they were given to a complete `MachineConfig`: QEMU's defaults, its short forms, and the devices
 * in the order in which QEMU 7.2 plugs them. Files are not touched.
 */
import { UsageError } from '../core/errors.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { checkId, lastValue } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { blame, mergedProperties } from '../qapi/parse-command-line.ts';
import { readProperties } from '../qapi/read.ts';
import { OBJECT_TYPES } from '../qapi/schema/object.ts';
import type { ObjectType } from '../qapi/schema/object.ts';
import { didYouMean } from '../qapi/suggest.ts';
import { formatSize, parseSize, parseUuid } from '../qapi/values.ts';
import { buildCpuid } from '../x86/cpuid.ts';
import type {
  DeviceConfig,
  FileSource,
  FwCfgConfig,
  MachineConfig,
  IcountConfig,
  ObjectConfig,
  RtcConfig,
  TraceConfig,
} from './config.ts';
import { DEFAULT_MEMORY, MAX_MEMORY } from './config.ts';
import {
  ChardevSet,
  configureEscapeKey,
  configureMonitors,
  configureSerials,
  monitorOnStdio,
} from './configure-chardev.ts';
import { configureBlockdevs } from './configure-blockdev.ts';
import { configureDrives } from './configure-drive.ts';
import { configureNet } from './configure-net.ts';
import { configureGlobals } from './globals.ts';

/** What a program gives that has no text form. */
export interface Attachments {
  readonly kernel?: Uint8Array | undefined;
  readonly initrd?: Uint8Array | undefined;
  /** Chardevs of type `stream` may be used, and the default COM1 is one: for programs. */
  readonly streams?: boolean;
}

const MACHINES = ['pc', 'q35'] as const;

const last = (given: readonly Given[], name: string): Given | undefined =>
  given.findLast((one) => one.name === name);
const has = (given: readonly Given[], name: string): boolean => given.some((one) => one.name === name);

/** Everything the options say, with defaults. Throws a `UsageError` that starts with the option at fault. */
export function configure(
  given: readonly Given[],
  images: readonly string[],
  attachments: Attachments = {},
): MachineConfig {
  const notes: string[] = [];
  const note = (origin: string) => (message: string) => notes.push(`${origin}: ${message}`);
  if (images.length > 0)
    throw new UsageError(
      `${images[0]}: a disk image by itself would be an IDE disk, and there is no IDE controller yet ` +
        `(write '-drive file=${images[0]},if=virtio')`,
    );
  const machine = configureMachine(given, note('-machine'));
  checkProcessors(given);
  const nographic = has(given, 'nographic') || machine.graphics === false;
  const streams = attachments.streams === true;
  checkDisplay(given, notes, nographic || streams);
  const display = last(given, 'display') ?? last(given, 'vnc');
  const headless = nographic || display === undefined;
  const chardevs = new ChardevSet(streams);
  for (const one of given) if (one.name === 'chardev') chardevs.add(one, note(one.origin));
  const nodefaults = has(given, 'nodefaults');
  const terminal = nographic || (headless && !streams && !monitorOnStdio(given));
  const standard = terminal ? 'terminal' : streams ? 'stream' : 'null';
  const serials = configureSerials(given, chardevs, { standard, nodefaults });
  const monitors = configureMonitors(given, chardevs, { nographic: nographic && !streams, nodefaults });
  const drives = configureDrives(given, has(given, 'snapshot'), note);
  const net = configureNet(given, { nodefaults, note });
  const devices: DeviceConfig[] = given
    .filter((one) => one.name === 'device')
    .map((one) => blame(one.origin, () => deviceConfig(one.entries, one.origin)));
  const kernel: FileSource | undefined = attachments.kernel ?? last(given, 'kernel')?.text ?? machine.kernel;
  const initrd: FileSource | undefined = attachments.initrd ?? last(given, 'initrd')?.text ?? machine.initrd;
  const append = last(given, 'append')?.text ?? machine.append;
  if (kernel === undefined) {
    if (append !== undefined) throw new UsageError('-append only allowed with -kernel option');
    if (initrd !== undefined) throw new UsageError('-initrd only allowed with -kernel option');
  }
  const name = mergedProperties(given, 'name', note('-name')).values;
  const uuid = last(given, 'uuid');
  const icount = configureIcount(given);
  return {
    machine: machine.type,
    hpet: machine.hpet && !has(given, 'no-hpet'),
    acpi: machine.acpi && !has(given, 'no-acpi'),
    cpu: configureCpu(last(given, 'cpu')?.text ?? 'max'),
    memory: configureMemory(given, note('-m')),
    name: name.guest as string | undefined,
    processTitle: name.process as string | undefined,
    uuid: uuid === undefined ? undefined : blame(uuid.origin, () => parseUuid(uuid.text)),
    rtc: configureRtc(given, note('-rtc')),
    icount,
    seed: configureSeed(given, icount),
    kernel,
    initrd,
    append: append ?? '',
    rebootExits: has(given, 'no-reboot'),
    shutdownStops: has(given, 'no-shutdown'),
    startPaused: has(given, 'S'),
    videoSlot: !nodefaults && last(given, 'vga')?.text !== 'none',
    chardevs: chardevs.list,
    serials: serials.serials,
    monitors,
    escapeKey: configureEscapeKey(given),
    blockdevs: configureBlockdevs(given, note),
    drives: drives.drives,
    netdevs: net.netdevs,
    hubPorts: net.hubPorts,
    objects: configureObjects(given, note),
    // QEMU's order: the cards of -nic first, then -device as given, then the disks of -drive if=virtio.
    devices: [...serials.debugcons, ...net.devices, ...devices, ...drives.devices],
    globals: configureGlobals(given, machine.type, (message) => notes.push(message)),
    fwCfg: configureFwCfg(given),
    trace: configureTrace(given),
    pidfile: last(given, 'pidfile')?.text,
    stats: has(given, 'stats'),
    ...configureTranslations(given),
    symbols: last(given, 'symbols')?.text,
    timestamps: mergedProperties(given, 'msg').values.timestamp === true,
    notes,
  };
}

/** One `-device`, or `device_add`. */
export function deviceConfig(entries: readonly OptionEntry[], origin: string): DeviceConfig {
  const driver = lastValue(entries, 'driver');
  if (driver === undefined || driver === '') throw new UsageError("Parameter 'driver' is missing");
  const id = lastValue(entries, 'id');
  if (id !== undefined) checkId(id);
  return { driver, entries: entries.filter((entry) => entry.name !== 'driver'), origin };
}

function configureMachine(given: readonly Given[], note: (message: string) => void) {
  const { values } = mergedProperties(given, 'machine', note);
  const origin = last(given, 'machine')?.origin ?? '-machine';
  const accels: { origin: string; name: string }[] = [];
  const machine = blame(origin, () => {
    const name = (values.type as string | undefined) ?? 'pc';
    // Versioned names freeze what QEMU's devices looked like; ours look like 7.2's whatever the version.
    const type = /^pc-i440fx-\d/.test(name) ? 'pc' : /^pc-q35-\d/.test(name) ? 'q35' : name;
    if (type !== 'pc' && type !== 'q35')
      throw new UsageError(
        `unsupported machine type '${name}'${didYouMean(name, MACHINES)}\nUse -machine help to list supported machines`,
      );
    accels.push(
      ...(typeof values.accel === 'string' ? [{ origin, name: values.accel }] : []),
      ...given
        .filter((one) => one.name === 'accel')
        .map((one) => ({ origin: one.origin, name: lastValue(one.entries, 'accel') ?? '' })),
    );
    if (values.usb === true)
      throw new UsageError("Property 'usb' can't take value 'on': there is no USB yet");
    return {
      type: type as 'pc' | 'q35',
      hpet: values.hpet !== false,
      acpi: values.acpi !== 'off',
      graphics: values.graphics as boolean | undefined,
      kernel: values.kernel as string | undefined,
      initrd: values.initrd as string | undefined,
      append: values.append as string | undefined,
    };
  });
  for (const accel of accels.slice(0, 1)) blame(accel.origin, () => checkAccelerator(accel.name));
  return machine;
}

/** What `-accel tcg` says of translated code. */
function configureTranslations(given: readonly Given[]) {
  const { values } = mergedProperties(given, 'accel');
  return {
    keepTranslations: values['tb-cache'] !== false,
    translationBytes: ((values['tb-size'] as number | undefined) ?? 0) * 2 ** 20,
  };
}

/** `kvm:tcg` takes the first that there is, as QEMU does. */
function checkAccelerator(text: string): void {
  const names = text.split(':');
  if (names.includes('tcg')) return;
  for (const name of names)
    if (!['kvm', 'xen', 'hax', 'hvf', 'nvmm', 'whpx', 'qtest'].includes(name))
      throw new UsageError(`invalid accelerator ${name}${didYouMean(name, ['tcg', 'kvm'])}`);
  throw new UsageError(
    `accelerator '${text}' is not available${names.includes('kvm') ? ' yet' : ''}; use tcg (the translator), or kvm:tcg`,
  );
}

function checkProcessors(given: readonly Given[]): void {
  const { values } = mergedProperties(given, 'smp');
  const origin = last(given, 'smp')?.origin ?? '-smp';
  blame(origin, () => {
    const topology = ['sockets', 'dies', 'clusters', 'cores', 'threads'].map((key) =>
      Number(values[key] ?? 1),
    );
    if (Object.values(values).some((value) => value === 0))
      throw new UsageError('Invalid CPU topology: CPU topology parameters must be greater than zero');
    const cpus = Number(values.cpus ?? topology.reduce((product, count) => product * count, 1));
    if (cpus > 1) throw new UsageError(`${cpus} processors are not available yet: one is (-smp 1)`);
  });
}

function checkDisplay(given: readonly Given[], notes: string[], nographic: boolean): void {
  for (const one of given) {
    const name = one.text.split(',')[0]!;
    if (one.name === 'display' && name !== 'none')
      throw new UsageError(`${one.origin}: there is no display yet: use -nographic or -display none`);
    if (one.name === 'vnc' && name !== 'none')
      throw new UsageError(`${one.origin}: there is no VNC server yet: use -nographic`);
    if (one.name === 'vga' && name !== 'none')
      throw new UsageError(`${one.origin}: there is no video card yet: use -vga none, or leave it out`);
  }
  if (!nographic && !has(given, 'display') && !has(given, 'vnc'))
    notes.push('there is no display yet: continuing as with -nographic');
}

function configureCpu(text: string): MachineConfig['cpu'] {
  const [model = '', ...parts] = text.split(',');
  const add: string[] = [];
  const remove: string[] = [];
  for (const part of parts) {
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? 'on' : part.slice(equals + 1);
    if (part.startsWith('+')) add.push(part.slice(1));
    else if (part.startsWith('-')) remove.push(part.slice(1));
    else if (value === 'on' || value === 'off') (value === 'on' ? add : remove).push(name);
    else throw new UsageError(`-cpu ${text}: Property '${model}-x86_64-cpu.${name}' not found`);
  }
  // Asked for now, so that a wrong name is told before anything is opened.
  buildCpuid({ model, add, remove });
  return { model, add, remove };
}

function configureMemory(given: readonly Given[], note: (message: string) => void): number {
  const { values } = mergedProperties(given, 'm', note);
  if (values.size === undefined) return DEFAULT_MEMORY;
  const origin = last(given, 'm')!.origin;
  return blame(origin, () => {
    // A plain number is MiB. Whole pages of 8 KiB as QEMU rounds; zero means the default.
    const bytes = Math.ceil(parseSize('size', String(values.size), 2 ** 20) / 8192) * 8192;
    if (bytes === 0) return DEFAULT_MEMORY;
    if (bytes > MAX_MEMORY)
      throw new UsageError(
        `${formatSize(bytes)} of guest memory is more than the ${formatSize(MAX_MEMORY)} that one WebAssembly memory can hold`,
      );
    if (bytes < 2 ** 20)
      throw new UsageError(`${formatSize(bytes)} of guest memory is too little: a PC has at least 1M`);
    return bytes;
  });
}

function configureRtc(given: readonly Given[], note: (message: string) => void): RtcConfig {
  const { values } = mergedProperties(given, 'rtc', note);
  const base = (values.base as string | undefined) ?? 'utc';
  const clock = (values.clock as RtcConfig['clock'] | undefined) ?? 'host';
  if (base === 'utc' || base === 'localtime') return { base, clock };
  const match = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}:\d{2}))?$/.exec(base);
  const time = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2] ?? '00:00:00'}Z`);
  if (Number.isNaN(time))
    throw new UsageError(
      `${last(given, 'rtc')!.origin}: invalid datetime format\nvalid formats: '2006-06-17T16:01:21' or '2006-06-17'`,
    );
  return { base: time, clock };
}

const MAX_ICOUNT_SHIFT = 10;

function configureIcount(given: readonly Given[]): IcountConfig | undefined {
  const option = last(given, 'icount');
  if (option === undefined) return undefined;
  return blame(option.origin, () => {
    const { values } = mergedProperties(given, 'icount');
    if (values.rr !== undefined || values.rrfile !== undefined || values.rrsnapshot !== undefined)
      throw new UsageError('rr: recording and replaying inputs is not available yet');
    const { shift } = values;
    if (shift === undefined) {
      if (values.align !== undefined) throw new UsageError('Please specify shift option when using align');
      return undefined;
    }
    const sleep = values.sleep !== false;
    const align = values.align === true;
    if (align && !sleep) throw new UsageError('align=on and sleep=off are incompatible');
    if (shift === 'auto') {
      if (align) throw new UsageError('shift=auto and align=on are incompatible');
      if (!sleep) throw new UsageError('shift=auto and sleep=off are incompatible');
      return { shift, sleep, align };
    }
    const number = /^\d+$/.test(String(shift)) ? Number(shift) : Number.NaN;
    if (!(number <= MAX_ICOUNT_SHIFT)) throw new UsageError('icount: Invalid shift value');
    return { shift: number, sleep, align };
  });
}

/** A guest that counts instructions is to be the same every time: its random numbers, too. */
function configureSeed(given: readonly Given[], icount: IcountConfig | undefined): bigint | undefined {
  const option = last(given, 'seed');
  if (option === undefined) return icount === undefined || icount.shift === 'auto' ? undefined : 0n;
  const text = option.text ?? '';
  if (!/^(?:\d+|0x[0-9a-f]+)$/i.test(text) || BigInt(text) >= 1n << 64n)
    throw new UsageError(`${option.origin}: Invalid seed number: ${text}`);
  return BigInt(text);
}

function configureObjects(
  given: readonly Given[],
  note: (origin: string) => (message: string) => void,
): ObjectConfig[] {
  const objects: ObjectConfig[] = [];
  for (const one of given) {
    if (one.name !== 'object') continue;
    blame(one.origin, () => {
      const object = configureObject(one.entries, one.origin, note(one.origin));
      if (objects.some(({ id }) => id === object.id))
        throw new UsageError(`attempt to add duplicate property '${object.id}' to object (type 'container')`);
      objects.push(object);
    });
  }
  return objects;
}

/** One `-object`, or `object-add`. */
export function configureObject(
  entries: readonly OptionEntry[],
  origin: string,
  note?: (message: string) => void,
): ObjectConfig {
  const name = lastValue(entries, 'qom-type');
  if (name === undefined) throw new UsageError("Parameter 'qom-type' is missing");
  const type = (OBJECT_TYPES as readonly ObjectType[]).find((candidate) => candidate.name === name);
  if (type === undefined)
    throw new UsageError(
      `Parameter 'qom-type' does not accept value '${name}'${didYouMean(
        name,
        OBJECT_TYPES.map((candidate) => candidate.name),
      )}`,
    );
  const { values } = readProperties(
    entries.filter((entry) => entry.name !== 'qom-type'),
    type.properties,
    note === undefined ? {} : { note },
  );
  return { id: checkId(String(values.id)), type: name, values, origin };
}

function configureFwCfg(given: readonly Given[]): FwCfgConfig[] {
  return given
    .filter((one) => one.name === 'fw_cfg')
    .map((one) =>
      blame(one.origin, () => {
        const name = lastValue(one.entries, 'name');
        const file = lastValue(one.entries, 'file');
        const text = lastValue(one.entries, 'string');
        if (name === undefined || (file === undefined) === (text === undefined))
          throw new UsageError('name and one of file and string are needed');
        // The directory's names are 56 bytes with the final zero (FW_CFG_MAX_FILE_PATH).
        if (new TextEncoder().encode(name).length > 55) throw new UsageError('name too long (max. 55 char)');
        return {
          name,
          origin: one.origin,
          ...(file === undefined ? {} : { file }),
          ...(text === undefined ? {} : { text }),
        };
      }),
    );
}

/** `-d` items and the trace points that stand for them. */
export const LOG_ITEMS: readonly {
  readonly name: string;
  readonly points: readonly string[];
  readonly help: string;
}[] = [
  { name: 'int', points: ['cpu.interrupt'], help: 'show hardware interrupts as they are taken' },
  {
    name: 'in_asm',
    points: ['cpu.translate', 'cpu.translate.in'],
    help: "show the guest's code of each region that is translated",
  },
  { name: 'op', points: ['cpu.translate.op'], help: 'show the shape of each region: blocks, pages, entries' },
  {
    name: 'out_asm',
    points: ['cpu.translate.out'],
    help: "show each region's WebAssembly, with the guest's instructions between",
  },
  { name: 'cpu_reset', points: ['machine.reset'], help: 'show resets' },
  { name: 'unimp', points: [], help: 'log unimplemented functionality' },
  {
    name: 'guest_errors',
    points: [],
    help: 'log when the guest does something invalid, with the clause that it breaks',
  },
];

/** `-dfilter RANGE,…`: START..END, START+LENGTH or START-LENGTH, which ends at START; numbers as in C. */
function configureRanges(given: Given | undefined): TraceConfig['ranges'] {
  if (given === undefined) return [];
  return given.text.split(',').map((range) => {
    const match = /^(0x[0-9a-f]+|\d+)(\.\.|\+|-)(0x[0-9a-f]+|\d+)$/i.exec(range);
    if (match === null)
      throw new UsageError(
        `${given.origin}: '${range}' is no range of addresses (START..END, START+LENGTH or START-LENGTH)`,
      );
    const [first, second] = [BigInt(match[1]!), BigInt(match[3]!)];
    const [start, end] =
      match[2] === '..'
        ? [first, second]
        : match[2] === '+'
          ? [first, first + second - 1n]
          : [first - second + 1n, first];
    if (start > end) throw new UsageError(`${given.origin}: the range '${range}' is empty`);
    return { start, end };
  });
}

function configureTrace(given: readonly Given[]): TraceConfig {
  const patterns: string[] = [];
  let guestErrors = false;
  let unimplemented = false;
  let file = last(given, 'D')?.text;
  for (const one of given) {
    if (one.name === 'trace') {
      const pattern = lastValue(one.entries, 'enable');
      if (pattern !== undefined) patterns.push(pattern);
      file = lastValue(one.entries, 'file') ?? file;
      const events = lastValue(one.entries, 'events');
      if (events !== undefined) patterns.push(`@${events}`);
    }
    if (one.name !== 'd') continue;
    for (const item of one.text.split(',')) {
      if (item.startsWith('trace:')) {
        patterns.push(item.slice(6));
        continue;
      }
      const known = LOG_ITEMS.find((candidate) => candidate.name === item);
      if (known === undefined)
        throw new UsageError(
          `${one.origin}: '${item}' is not a log item${didYouMean(
            item,
            LOG_ITEMS.map((candidate) => candidate.name),
          )} (-d help lists them)`,
        );
      patterns.push(...known.points);
      if (item === 'unimp') unimplemented = true;
      if (item === 'guest_errors') guestErrors = true;
    }
  }
  return { patterns, guestErrors, unimplemented, file, ranges: configureRanges(last(given, 'dfilter')) };
}
