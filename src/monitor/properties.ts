/** Declared properties as QMP and `info qtree` show them. */
import type { Property, PropertyType, PropertyValue } from '../qapi/property.ts';
import type { JsonObject, JsonValue } from './json/value.ts';

/** QEMU's names of types, where they differ from ours. */
const TYPE_NAMES: Partial<Record<PropertyType, string>> = {
  'on-off-auto': 'OnOffAuto',
  enum: 'str',
  mac: 'str',
  'pci-devfn': 'int32',
  chardev: 'str',
  drive: 'str',
  netdev: 'str',
  object: 'str',
};

export const typeName = (property: Property): string =>
  property.shownType ?? TYPE_NAMES[property.type] ?? property.type;

/** Defaults that no number holds exactly are declared as text. */
const json = (property: Property): JsonValue | undefined => {
  const value: PropertyValue = property.default;
  return property.type === 'uint64' && typeof value === 'string' ? BigInt(value) : value;
};

export function propertyInfo(property: Property): JsonObject {
  return {
    ...(property.default === undefined ? {} : { 'default-value': json(property) }),
    name: property.name,
    ...(property.help === '' ? {} : { description: property.help }),
    type: typeName(property),
  };
}

/** A value as `info qtree` prints it: `2 (0x2)`, `"a.b"`, `true`, `05.0`. */
export function showValue(property: Property, value: PropertyValue): string {
  if (property.type === 'pci-devfn') {
    if (value === undefined) return '-1 (0xffffffff)';
    const devfn = Number(value);
    return `${(devfn >> 3).toString(16).padStart(2, '0')}.${devfn & 7}`;
  }
  if (value === undefined) return '""';
  if (typeof value === 'string') return `"${value}"`;
  if (typeof value === 'boolean') return String(value);
  if (property.type === 'size') return `${value} (${humanSize(Number(value))})`;
  return `${value} (0x${BigInt.asUintN(64, BigInt(value)).toString(16)})`;
}

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** `512 B`, `8 MiB`, `1.5 GiB`: three significant digits, as QEMU's size_to_str. */
export function humanSize(bytes: number): string {
  let power = 0;
  // A number that would round to 1000 goes to the next unit.
  while (power < UNITS.length - 1 && bytes / 1024 ** power >= 1000) power++;
  const scaled = bytes / 1024 ** power;
  return `${Number(scaled.toPrecision(3))} ${UNITS[power]}B`;
}
