/** -blockdev: block nodes by name. The keys of a node below another have its role in front: `file.filename=`. */
import type { NodeOptions } from '../block/graph.ts';
import { UsageError } from '../core/errors.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { lastValue } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { blame } from '../qapi/parse-command-line.ts';
import { readProperties } from '../qapi/read.ts';
import type { BlockdevDriver } from '../qapi/schema/blockdev.ts';
import { BLOCKDEV_COMMON, BLOCKDEV_DRIVERS } from '../qapi/schema/blockdev.ts';
import { didYouMean } from '../qapi/suggest.ts';
import type { BlockdevConfig } from './config.ts';

/** Levels of nodes in one option. */
const MAX_DEPTH = 8;

export function configureBlockdevs(
  given: readonly Given[],
  note: (origin: string) => (message: string) => void,
): BlockdevConfig[] {
  return given
    .filter(({ name }) => name === 'blockdev')
    .map(({ entries, origin }) =>
      blame(origin, () => ({ options: nodeOptions(entries, note(origin)), origin })),
    );
}

/** Typed options out of entries. @throws UsageError */
export function nodeOptions(
  entries: readonly OptionEntry[],
  note: (message: string) => void = () => {},
  depth = 0,
): NodeOptions {
  if (depth > MAX_DEPTH) throw new UsageError('block nodes are nested too deeply');
  const driver = lastValue(entries, 'driver');
  if (driver === undefined) throw new UsageError("Parameter 'driver' is missing");
  const known: readonly BlockdevDriver[] = BLOCKDEV_DRIVERS;
  const found = known.find(({ name }) => name === driver);
  if (found === undefined)
    throw new UsageError(
      `Parameter 'driver' does not accept value '${driver}'${didYouMean(
        driver,
        known.map(({ name }) => name),
      )}`,
    );
  const child = entries
    .filter(({ name }) => name.startsWith('file.'))
    .map((entry) => ({ ...entry, name: entry.name.slice('file.'.length) }));
  const below = found.children?.includes('file') === true && child.length > 0;
  const own = below ? entries.filter(({ name }) => !name.startsWith('file.')) : entries;
  const { values } = readProperties(
    own,
    [...BLOCKDEV_COMMON, ...found.properties.filter(({ name }) => !below || name !== 'file')],
    { note },
  );
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const manager = text('pr-manager');
  if (manager !== undefined) throw new UsageError(`No persistent reservation manager with id '${manager}'`);
  const flag = (name: string): boolean | undefined => values[name] as boolean | undefined;
  return {
    driver,
    nodeName: text('node-name'),
    filename: text('filename'),
    file: below ? nodeOptions(child, note, depth + 1) : text('file'),
    readOnly: flag('read-only'),
    autoReadOnly: flag('auto-read-only'),
    direct: flag('cache.direct'),
    noFlush: flag('cache.no-flush'),
    discard: values.discard === undefined ? undefined : values.discard === 'unmap',
    detectZeroes: values['detect-zeroes'] as NodeOptions['detectZeroes'],
    locking: text('locking'),
    size: values.size === undefined ? undefined : Number(values.size),
    readZeroes: flag('read-zeroes'),
  };
}
