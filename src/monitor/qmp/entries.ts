/** Arguments as the option parser has them, so that one reader serves `-device` and `device_add`. */
import type { OptionEntry } from '../../qapi/options.ts';
import { formatValue } from '../../qapi/values.ts';
import type { JsonObject, JsonValue } from '../json/value.ts';
import { Float, isObject } from '../json/value.ts';
import { QmpError } from './error.ts';

/** Members of a JSON object: `{"a": {"b": 1}}` is `a.b=1`. */
export function toEntries(given: JsonObject, prefix = ''): OptionEntry[] {
  return Object.entries(given).flatMap(([key, value]): OptionEntry[] => {
    const name = prefix + key;
    if (value === undefined) return [];
    if (isObject(value)) return toEntries(value, `${name}.`);
    if (Array.isArray(value))
      return (value as readonly JsonValue[]).flatMap((item, index) =>
        toEntries({ [index]: item }, `${name}.`),
      );
    if (value === null) throw new QmpError(`Invalid parameter type for '${name}', expected: string`);
    return [
      {
        name,
        value: formatValue(
          value instanceof Float ? value.value : (value as string | number | bigint | boolean),
        ),
      },
    ];
  });
}
