/** Help texts out of declarations, laid out as QEMU 7.2 lays them out, because scripts read them. */
import type { Property, PropertyType } from './property.ts';

const SHOWN_TYPES: Partial<Record<PropertyType, string>> = {
  'on-off-auto': 'OnOffAuto',
  enum: 'str',
  mac: 'str',
  'pci-devfn': 'int32',
  chardev: 'str',
  drive: 'str',
  netdev: 'str',
  object: 'str',
};

function shownDefault(property: Property): string | undefined {
  const value = property.default;
  if (value === undefined) return undefined;
  const quoted = typeof value === 'string' && !property.type.startsWith('uint');
  return quoted ? `"${value}"` : String(value);
}

/** `  name=<type>           - help (default: x)`: one line of `-device NAME,help`. */
export function propertyLine(property: Property): string {
  const type = property.shownType ?? SHOWN_TYPES[property.type] ?? property.type;
  const head = `  ${`${property.name}=<${type}>`.padEnd(22)}`;
  const value = shownDefault(property);
  if (property.help === '' && value === undefined) return head.trimEnd();
  return `${head} - ${property.help}${value === undefined ? '' : ` (default: ${value})`}`;
}

/** `NAME options:` and a line for each property, by name. */
export function propertiesHelp(title: string, properties: readonly Property[]): string {
  const lines = [...properties].sort((a, b) => (a.name < b.name ? -1 : 1)).map(propertyLine);
  return [`${title}:`, ...lines].join('\n');
}

/** The categories of `-device help`, in QEMU's order. */
export const DEVICE_CATEGORIES = [
  'Controller/Bridge/Hub',
  'USB',
  'Storage',
  'Network',
  'Input',
  'Display',
  'Sound',
  'Misc',
  'CPU',
  'Watchdog',
  'Uncategorized',
] as const;

export type DeviceCategory = (typeof DEVICE_CATEGORIES)[number];

export interface DeviceSummary {
  readonly name: string;
  readonly bus?: string;
  readonly alias?: string;
  readonly description?: string;
  readonly category: DeviceCategory;
}

/** The text of `-device help`. */
export function deviceListHelp(devices: readonly DeviceSummary[]): string {
  const blocks: string[] = [];
  for (const category of DEVICE_CATEGORIES) {
    const own = devices.filter((device) => device.category === category);
    if (own.length === 0) continue;
    own.sort((a, b) => (a.name < b.name ? -1 : 1));
    const lines = own.map(
      ({ name, bus, alias, description }) =>
        `name "${name}"${bus === undefined ? '' : `, bus ${bus}`}${alias === undefined ? '' : `, alias "${alias}"`}` +
        `${description === undefined ? '' : `, desc "${description}"`}`,
    );
    blocks.push([`${category} devices:`, ...lines].join('\n'));
  }
  return blocks.join('\n\n');
}

/** A heading and one name on each line, as `-chardev help` prints them. */
export function nameListHelp(heading: string, names: readonly string[], indent = '  '): string {
  return [heading, ...names.map((name) => `${indent}${name}`)].join('\n');
}
