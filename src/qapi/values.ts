/** Single values: text to number, size, boolean, address and back, with QEMU's wording where it refuses. */
import { UsageError } from '../core/errors.ts';
import type { Property, PropertyValue } from './property.ts';
import { didYouMean } from './suggest.ts';

const SIZE_ERROR = (name: string) =>
  `Parameter '${name}' expects a non-negative number below 2^64\n` +
  'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.';

const SUFFIXES = 'bkmgtpe';

/** `64M`, `1.5G`, `0x1000`, `4096`: bytes. `unit` multiplies a number without a suffix (`-m 512` is MiB). */
export function parseSize(name: string, text: string, unit = 1): number {
  const match = /^(0x[0-9a-f]+|[0-9]+(?:\.[0-9]+)?)([bkmgtpe])?$/i.exec(text.trim());
  if (match === null) throw new UsageError(SIZE_ERROR(name));
  const [, digits, suffix] = match;
  const bytes =
    Number(digits) * (suffix === undefined ? unit : 1024 ** SUFFIXES.indexOf(suffix.toLowerCase()));
  if (bytes >= 2 ** 64 || !Number.isInteger(bytes)) throw new UsageError(SIZE_ERROR(name));
  return bytes;
}

/** The shortest exact text of a number of bytes: 1073741824 is `1G`. */
export function formatSize(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value > 0 && value % 1024 === 0 && power < SUFFIXES.length - 1) {
    value /= 1024;
    power++;
  }
  return power === 0 ? String(bytes) : `${value}${SUFFIXES[power]!.toUpperCase()}`;
}

const TRUE = new Set(['on', 'yes', 'true', 'y']);
const FALSE = new Set(['off', 'no', 'false', 'n']);

export function parseBool(name: string, text: string): boolean {
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  throw new UsageError(`Parameter '${name}' expects 'on' or 'off'`);
}

/** An integer of C's syntax: decimal, 0x hexadecimal or 0 octal. */
function parseInteger(name: string, text: string): bigint {
  const match = /^([+-]?)(0x[0-9a-f]+|[0-9]+)$/i.exec(text.trim());
  if (match === null) throw new UsageError(`Parameter '${name}' expects integer`);
  const digits = match[2]!;
  if (/^0[0-9]+$/.test(digits) && /[89]/.test(digits))
    throw new UsageError(`Parameter '${name}' expects integer`);
  const value = BigInt(/^0[0-9]+$/.test(digits) ? `0o${digits}` : digits);
  return match[1] === '-' ? -value : value;
}

const INTEGER_RANGES: Record<string, readonly [bigint, bigint]> = {
  uint8: [0n, 0xffn],
  uint16: [0n, 0xffffn],
  uint32: [0n, 0xffff_ffffn],
  int32: [-0x8000_0000n, 0x7fff_ffffn],
  uint64: [0n, 0xffff_ffff_ffff_ffffn],
};

const MAC = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i;

/** `SLOT[.FUNCTION]`, hexadecimal, slot to 1f and function to 7; the result is slot * 8 + function. */
export function parseDevfn(text: string): number | undefined {
  const match = /^(?:0x)?([0-9a-f]{1,2})(?:\.([0-7]))?$/i.exec(text);
  if (match === null) return undefined;
  const slot = Number.parseInt(match[1]!, 16);
  return slot > 0x1f ? undefined : slot * 8 + Number(match[2] ?? 0);
}

/** Reads `text` as the property says; throws a `UsageError` that names the parameter and what it expects. */
export function parseValue(property: Property, text: string, owner?: string): PropertyValue {
  const { name, type } = property;
  switch (type) {
    case 'bool':
      return parseBool(name, text);
    case 'on-off-auto':
      if (text === 'auto') return 'auto';
      if (TRUE.has(text)) return 'on';
      if (FALSE.has(text)) return 'off';
      throw new UsageError(`Parameter '${name}' does not accept value '${text}' (it takes on, off or auto)`);
    case 'enum': {
      const values = property.values ?? [];
      if (values.includes(text)) return text;
      throw new UsageError(
        `Parameter '${name}' does not accept value '${text}'${didYouMean(text, values) || ` (it takes ${values.join(', ')})`}`,
      );
    }
    case 'size':
      return checkRange(property, parseSize(name, text));
    case 'uint8':
    case 'uint16':
    case 'uint32':
    case 'int32':
    case 'uint64': {
      const value = parseInteger(name, text);
      const [least, most] = INTEGER_RANGES[type]!;
      if (value < least || value > most) throw new UsageError(`Parameter '${name}' expects ${type}_t`);
      const exact = value <= BigInt(Number.MAX_SAFE_INTEGER);
      return type === 'uint64' && !exact ? value : checkRange(property, Number(value));
    }
    case 'mac':
      if (MAC.test(text)) return text.toLowerCase().replaceAll('-', ':');
      throw new UsageError(
        `Property '${owner === undefined ? name : `${owner}.${name}`}' doesn't take value '${text}'`,
      );
    case 'pci-devfn': {
      const devfn = parseDevfn(text);
      if (devfn !== undefined) return devfn;
      throw new UsageError(
        `Property '${owner === undefined ? name : `${owner}.${name}`}' doesn't take value '${text}'`,
      );
    }
    default:
      return text;
  }
}

function checkRange(property: Property, value: number): number {
  const { name, min, max } = property;
  if ((min !== undefined && value < min) || (max !== undefined && value > max))
    throw new UsageError(
      `Parameter '${name}' doesn't take value ${value} (minimum: ${min ?? 0}${max === undefined ? '' : `, maximum: ${max}`})`,
    );
  return value;
}

/** The text that `parseValue` reads back: for writing a typed options object as a command line. */
export function formatValue(value: PropertyValue): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function parseUuid(text: string): string {
  if (!UUID.test(text)) throw new UsageError('failed to parse UUID string: wrong format');
  return text.toLowerCase();
}
