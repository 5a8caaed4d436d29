/**
 * The `backend` argument of `chardev-add` and `chardev-change`: its type, made from the declarations that -chardev is
 * read by, and the way back from it to the properties that -chardev has.
 */
import type { PropertyValue } from '../../qapi/property.ts';
import type { ChardevProperty, ChardevType } from '../../qapi/schema/chardev.ts';
import { chardevTypes } from '../../qapi/schema/chardev.ts';
import type { JsonObject, JsonValue } from '../json/value.ts';
import { isObject } from '../json/value.ts';
import { QmpError } from './error.ts';
import type { Members, ObjectType, Type } from './types.ts';
import { bool, int, isOptional, memberName, object, oneOf, str } from './types.ts';

/** `tty` is -chardev's name for `serial`, and streams are for programs. */
const offered = chardevTypes.filter(({ name }) => name !== 'stream' && name !== 'tty');

const variants = (members: { readonly [value: string]: Members }): ObjectType => ({
  kind: 'object',
  members: { type: oneOf(...Object.keys(members)) },
  tag: 'type',
  variants: Object.fromEntries(
    Object.entries(members).map(([value, data]) => [value, object({ data: object(data) })]),
  ),
});

const ADDRESS = variants({
  inet: {
    host: str,
    port: str,
    'numeric?': bool,
    'to?': int,
    'ipv4?': bool,
    'ipv6?': bool,
    'keep-alive?': bool,
  },
  unix: { path: str, 'abstract?': bool, 'tight?': bool },
  fd: { str },
});

/** The name of the member for a property, with `?` where it is optional; undefined where QMP has none. */
const memberOf = ({ name, qmp }: ChardevProperty): string | undefined =>
  qmp === undefined ? `${name}?` : (qmp ?? undefined);

const typeOf = ({ type }: ChardevProperty): Type =>
  type === 'bool' ? bool : type === 'size' || type.startsWith('uint') ? int : str;

function membersOf(type: ChardevType): Members {
  const members: Record<string, Type> = {};
  for (const name of Object.keys(type.addresses ?? {})) members[name] = ADDRESS;
  for (const property of type.properties) {
    const key = memberOf(property);
    if (key !== undefined) members[key] = typeOf(property);
  }
  // What must be there is looked for first.
  return Object.fromEntries(
    Object.entries(members).sort(([a], [b]) => Number(isOptional(a)) - Number(isOptional(b))),
  );
}

export const CHARDEV_BACKEND = variants(
  Object.fromEntries(offered.map((type) => [type.name, membersOf(type)])),
);

type Values = Record<string, PropertyValue>;

/** An address in the properties that -chardev has for it, under the names that the type gives to host and port. */
function addressValues(
  given: JsonObject,
  type: ChardevType,
  names: { readonly host: string; readonly port: string },
): Values {
  const data = given.data as JsonObject;
  const rest = (...keys: string[]): Values =>
    Object.fromEntries(keys.filter((key) => data[key] !== undefined).map((key) => [key, scalar(data[key])]));
  if (given.type === 'inet')
    return {
      [names.host]: String(data.host),
      [names.port]: String(data.port),
      ...rest('to', 'ipv4', 'ipv6', 'keep-alive'),
    };
  if (type.name === 'udp') throw new QmpError('socket type unsupported for datagram');
  if (given.type === 'unix') return rest('path', 'abstract', 'tight');
  const name = String(data.str);
  if (!/^\d/.test(name)) throw new QmpError(`File descriptor named '${name}' has not been found`);
  return { fd: name };
}

const scalar = (value: JsonValue | undefined): PropertyValue =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined;

/** A checked `backend` as the type and properties of -chardev. @throws QmpError */
export function readBackend(backend: JsonObject): {
  readonly type: string;
  readonly values: Readonly<Values>;
} {
  const type = offered.find(({ name }) => name === backend.type)!;
  const data = backend.data as JsonObject;
  const values: Values = {};
  for (const [key, names] of Object.entries(type.addresses ?? {})) {
    const address = data[memberName(key)];
    if (isObject(address)) Object.assign(values, addressValues(address, type, names));
  }
  for (const property of type.properties) {
    const key = memberOf(property);
    const value = key === undefined ? undefined : scalar(data[memberName(key)]);
    if (value !== undefined) values[property.name] = value;
  }
  if (type.name === 'socket') {
    // Other defaults than on the command line: a server, and one that does not wait.
    values['server'] ??= true;
    if (values['server'] === true) values['wait'] ??= false;
  }
  return { type: type.name, values };
}
