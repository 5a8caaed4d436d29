/**
 * JSON values as QMP has them: integers of 64 bits are exact (`bigint` where a number would not be), other numbers
 * remember that they are not integers. Written as QEMU writes them: plain ASCII, `", "` and `": "` between.
 */

/** A number that was not written as an integer: `1.0` is not accepted where an integer is expected. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export type JsonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Float
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

export type JsonObject = { readonly [key: string]: JsonValue | undefined };

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Float);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

// Everything but printable ASCII is written as \uXXXX.
const UNSAFE = /["\\]|[^ -~]/g;

const quote = (text: string): string =>
  `"${text.replace(
    UNSAFE,
    (unit) => SHORT[unit] ?? `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`,
  )}"`;

/** C's `%.17g`: enough digits to read the same number back. */
function formatFloat(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  const [digits = '', exponent] = value.toPrecision(17).split('e');
  const short = digits.includes('.') ? digits.replace(/0+$/, '').replace(/\.$/, '') : digits;
  if (exponent === undefined) return short;
  return `${short}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

/** @param pretty four spaces for each level, a line for each member */
export function formatJson(value: JsonValue, pretty = false, depth = 0): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value + 0) : formatFloat(value);
  if (typeof value === 'string') return quote(value);
  if (value instanceof Float) return formatFloat(value.value);
  const inner = pretty ? `\n${'    '.repeat(depth + 1)}` : '';
  const outer = pretty ? `\n${'    '.repeat(depth)}` : '';
  const comma = pretty ? ',' : ', ';
  const wrap = (open: string, parts: readonly string[], close: string): string =>
    `${open}${parts.map((part) => inner + part).join(comma)}${outer}${close}`;
  if (Array.isArray(value))
    return wrap(
      '[',
      (value as readonly JsonValue[]).map((item) => formatJson(item, pretty, depth + 1)),
      ']',
    );
  const members = Object.entries(value as JsonObject)
    .filter((entry): entry is [string, JsonValue] => entry[1] !== undefined)
    .map(([key, item]) => `${quote(key)}: ${formatJson(item, pretty, depth + 1)}`);
  return wrap('{', members, '}');
}
