/**
 * The text form of options: `first,key=value,flag,nofl,key=a,,b` and the JSON form `{"key": value}`, read into a
 * list of entries and written back. What the keys mean is not known here (see read.ts).
 */
import { UsageError } from '../core/errors.ts';

/** One `key=value`. `bare` entries had no `=`: a flag, whose value is then 'on'. */
export interface OptionEntry {
  readonly name: string;
  readonly value: string;
  readonly bare?: boolean;
}

/** Splits at single commas; `,,` stands for a comma inside a value. */
function splitCommas(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') part += text[i];
    else if (text[i + 1] === ',') {
      part += ',';
      i++;
    } else {
      parts.push(part);
      part = '';
    }
  }
  parts.push(part);
  return parts;
}

/** `a[b]` levels deeper than any option has. */
const MAX_JSON_DEPTH = 16;

function flatten(prefix: string, value: unknown, into: OptionEntry[], depth: number): void {
  if (depth > MAX_JSON_DEPTH) throw new UsageError('JSON nesting too deep');
  if (Array.isArray(value))
    value.forEach((item: unknown, index) => flatten(`${prefix}.${index}`, item, into, depth + 1));
  else if (value !== null && typeof value === 'object')
    for (const [key, item] of Object.entries(value))
      flatten(prefix === '' ? key : `${prefix}.${key}`, item, into, depth + 1);
  else if (typeof value === 'boolean') into.push({ name: prefix, value: value ? 'on' : 'off' });
  else if (value === null) throw new UsageError(`JSON value 'null' is not expected for '${prefix}'`);
  else into.push({ name: prefix, value: String(value) });
}

/**
 * Reads `text`. `implied` is the key of a first value that has none (`-m 1G` is `size=1G`).
 * Nested JSON and lists become dotted keys: `{"hostfwd":[{"str":"…"}]}` is `hostfwd.0.str=…`.
 */
export function parseOptions(text: string, implied?: string): OptionEntry[] {
  if (text.startsWith('{')) {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new UsageError(`JSON parse error, ${(error as Error).message}`, { cause: error });
    }
    const entries: OptionEntry[] = [];
    flatten('', value, entries, 0);
    return entries;
  }
  if (text === '') return [];
  return splitCommas(text).map((part, index) => {
    const equals = part.indexOf('=');
    if (equals >= 0) return { name: part.slice(0, equals), value: part.slice(equals + 1) };
    if (index === 0 && implied !== undefined) return { name: implied, value: part };
    return { name: part, value: 'on', bare: true };
  });
}

/** Writes entries so that `parseOptions(text, implied)` gives them back. */
export function formatOptions(entries: readonly OptionEntry[], implied?: string): string {
  return entries
    .map(({ name, value, bare }, index) => {
      const escaped = value.replaceAll(',', ',,');
      if (bare && index > 0) return name;
      if (index === 0 && name === implied && !value.includes('=') && !value.startsWith('{')) return escaped;
      return `${name}=${escaped}`;
    })
    .join(',');
}

/** True when the user asks what there is: `help` or `?`, alone or as a flag or value. */
export const isHelp = (text: string): boolean => text === 'help' || text === '?';

/** The value of `name`: the last one given. */
export function lastValue(entries: readonly OptionEntry[], name: string): string | undefined {
  return entries.findLast((entry) => entry.name === name)?.value;
}

const IDENTIFIER = /^[A-Za-z][A-Za-z0-9._-]*$/;

/** Ids are letters, digits, '-', '.', '_', starting with a letter, as QEMU has it. */
export function checkId(id: string): string {
  if (!IDENTIFIER.test(id))
    throw new UsageError(
      "Parameter 'id' expects an identifier\n" +
        "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
    );
  return id;
}
