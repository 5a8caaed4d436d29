/** `chardev-add`, `chardev-change` and `chardev-remove` of the monitor for people: in the language of -chardev. */
import type { Chardev } from '../../chardev/chardev.ts';
import { ptyNote } from '../../chardev/create.ts';
import { UsageError } from '../../core/errors.ts';
import { readChardev } from '../../machine/configure-chardev.ts';
import { nameListHelp } from '../../qapi/help.ts';
import type { OptionEntry } from '../../qapi/options.ts';
import { isHelp, lastValue, parseOptions } from '../../qapi/options.ts';
import { readProperties } from '../../qapi/read.ts';
import { chardevTypes, findChardevType } from '../../qapi/schema/chardev.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';
import { HmpError } from './error.ts';

const ids = ({ backends }: MonitorTarget): Iterable<string> => backends.chardevs.keys();
/** Streams are for programs. */
const typeNames = (): string[] => chardevTypes.map(({ name }) => name).filter((name) => name !== 'stream');

/** @throws UsageError in QEMU's words */
function read(type: string, id: string | undefined, entries: readonly OptionEntry[]) {
  if (type === 'stream') throw new UsageError(`'${type}' is not a valid char driver name`);
  const found = findChardevType(type);
  const own = found === undefined ? [] : entries.filter(({ name }) => name !== 'backend' && name !== 'id');
  try {
    readProperties(own, found?.properties.filter(({ name }) => name !== 'id') ?? []);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const [line] = error.message.replace(/ \(did you mean[^)]*\)$/, '').split('\n');
    throw new HmpError(`${line}\nError: Parsing chardev args failed`, false);
  }
  return readChardev(type, id, entries);
}

/** What is printed when it has been made. */
const note = (chardev: Chardev): string => {
  const text = ptyNote(chardev);
  return text === undefined ? '' : `${text}\n`;
};

async function add(text: string, { backends }: MonitorTarget): Promise<string> {
  const entries = parseOptions(text, 'backend');
  const type = lastValue(entries, 'backend');
  const given = lastValue(entries, 'id');
  if (type !== undefined && isHelp(type))
    return `${nameListHelp('Available chardev backend types: ', typeNames())}\n`;
  if (type === undefined) throw new UsageError(`chardev: "${given ?? ''}" missing backend`);
  const { id, values } = read(type, given, entries);
  if (backends.chardevs.has(id))
    throw new UsageError(`attempt to add duplicate property '${id}' to object (type 'container')`);
  return note(await backends.chardevs.add({ id, type, values }));
}

async function change(id: string, text: string, { backends }: MonitorTarget): Promise<string> {
  const entries = parseOptions(text, 'backend');
  const type = lastValue(entries, 'backend') ?? '';
  if (lastValue(entries, 'id') !== undefined) throw new UsageError("Unexpected 'id' parameter");
  if (!backends.chardevs.has(id)) throw new UsageError(`Chardev '${id}' does not exist`);
  const { values } = read(type, id, entries);
  return note(await backends.chardevs.change({ id, type, values }));
}

export const chardevActions: readonly HmpCommand[] = [
  {
    name: 'chardev-add',
    takes: 'args:s',
    synopsis: 'args',
    help: 'make a chardev, as -chardev does at the start',
    run: ({ args }, target) => add(String(args), target),
    complete: typeNames,
  },
  {
    name: 'chardev-change',
    takes: 'id:s,args:s',
    synopsis: 'id args',
    help: 'put another chardev in the place of one',
    run: ({ id, args }, target) => change(String(id), String(args), target),
    complete: ids,
  },
  {
    name: 'chardev-remove',
    takes: 'id:s',
    synopsis: 'id',
    help: 'take a chardev away that nobody uses',
    run: ({ id }, { backends }) => backends.chardevs.remove(String(id)),
    complete: ids,
  },
];
