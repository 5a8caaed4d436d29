/** Entries of an option against the declarations of its properties: typed values, or what is wrong and what is near. */
import { UsageError } from '../core/errors.ts';
import type { OptionEntry } from './options.ts';
import type { Property, PropertyValue } from './property.ts';
import { didYouMean } from './suggest.ts';
import { parseValue } from './values.ts';

export interface ReadOptions {
  /** The device's name, where QEMU's messages speak of `Property 'NAME.prop'`; else of `Invalid parameter`. */
  readonly device?: string;
  /** Hears of properties that are accepted but have no effect here. */
  readonly note?: (message: string) => void;
}

/** Typed values by name, with defaults filled in; lists (see `Property.list`) apart. */
export interface ReadResult {
  readonly values: Record<string, PropertyValue>;
  readonly lists: Record<string, string[]>;
  /** Names that were given rather than defaulted. */
  readonly given: ReadonlySet<string>;
}

const accepts = (property: Property, name: string): boolean =>
  property.name === name || (property.aliases?.includes(name) ?? false);

/** `hostfwd.0.str`, `hostfwd.0` and `hostfwd` all feed the list `hostfwd`. */
const listBase = (name: string): string => name.replace(/\.[0-9]+(\.str)?$/, '');

/** Reads `entries` as `properties` declare them. Throws a `UsageError` in QEMU's wording. */
export function readProperties(
  entries: readonly OptionEntry[],
  properties: readonly Property[],
  options: ReadOptions = {},
): ReadResult {
  const values: Record<string, PropertyValue> = {};
  const lists: Record<string, string[]> = {};
  const given = new Set<string>();
  for (const entry of entries) {
    let { name, value } = entry;
    let property = properties.find((candidate) => accepts(candidate, name));
    // A flag without a value may be a negated one: `nowait` is `wait=off`.
    if (property === undefined && entry.bare && name.startsWith('no')) {
      property = properties.find(
        (candidate) => candidate.type === 'bool' && accepts(candidate, name.slice(2)),
      );
      if (property !== undefined) {
        name = name.slice(2);
        value = 'off';
      }
    }
    property ??= properties.find((candidate) => candidate.list && accepts(candidate, listBase(name)));
    if (property === undefined) throw new UsageError(unknown(entry.name, properties, options.device));
    given.add(property.name);
    if (property.ignored !== undefined)
      options.note?.(`${property.name}=${value} has no effect: ${property.ignored}`);
    if (property.list) (lists[property.name] ??= []).push(value);
    else values[property.name] = parseValue(property, value, options.device);
  }
  for (const property of properties) {
    if (given.has(property.name)) continue;
    if (property.required)
      throw new UsageError(
        options.device === undefined
          ? `Parameter '${property.name}' is missing`
          : `${property.name} property not set`,
      );
    if (property.default !== undefined) values[property.name] = property.default;
  }
  return { values, lists, given };
}

function unknown(name: string, properties: readonly Property[], device: string | undefined): string {
  const near = didYouMean(
    name,
    properties.map((property) => property.name),
  );
  return device === undefined
    ? `Invalid parameter '${name}'${near}`
    : `Property '${device}.${name}' not found${near}`;
}
