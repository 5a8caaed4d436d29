/**
 * The types of QMP's commands and events, declared once: arguments are checked by them, `query-qmp-schema` and the
 * reference are written from them, and handlers get their TypeScript types from them. Error texts are QEMU's.
 */
import type { JsonObject, JsonValue } from '../json/value.ts';
import { Float, isObject } from '../json/value.ts';
import { QmpError } from './error.ts';

export interface BuiltinType {
  readonly kind: 'str' | 'int' | 'uint' | 'number' | 'bool' | 'any' | 'null';
  /** Of an integer that has less than 64. */
  readonly bits?: 8 | 16 | 32;
}

export interface EnumType {
  readonly kind: 'enum';
  readonly values: readonly string[];
}

export interface ArrayType {
  readonly kind: 'array';
  readonly element: () => Type;
}

/** One of several kinds of value: the name of a node, say, or its options. */
export interface AlternateType {
  readonly kind: 'alternate';
  /** As errors call it. */
  readonly name: string;
  readonly choices: () => readonly Type[];
}

/** Members by name; a name that ends in `?` is one that may be absent. */
export type Members = { readonly [name: string]: Type };

export interface ObjectType {
  readonly kind: 'object';
  readonly members: Members;
  /** Members beyond the declared ones are accepted: properties of devices and objects. */
  readonly open?: true;
  /** Members that depend on the value of one. */
  readonly tag?: string;
  /** It may have itself inside. */
  readonly recursive?: true;
  readonly variants?: { readonly [value: string]: ObjectType };
}

export type Type = BuiltinType | EnumType | ArrayType | ObjectType | AlternateType;

export const str = { kind: 'str' } as const;
export const int = { kind: 'int' } as const;
/** 0 to 2^64 - 1. */
export const uint = { kind: 'uint' } as const;
export const uint16 = { kind: 'uint', bits: 16 } as const;
export const uint32 = { kind: 'uint', bits: 32 } as const;
export const int32 = { kind: 'int', bits: 32 } as const;
export const number = { kind: 'number' } as const;
export const bool = { kind: 'bool' } as const;
export const any = { kind: 'any' } as const;
export const nothing = { kind: 'object', members: {} } as const;

export const oneOf = <const V extends readonly string[]>(...values: V): { kind: 'enum'; values: V } => ({
  kind: 'enum',
  values,
});
export const array = <T extends Type>(element: T): { kind: 'array'; element: () => T } => ({
  kind: 'array',
  element: () => element,
});
export const object = <M extends Members>(members: M): { kind: 'object'; members: M } => ({
  kind: 'object',
  members,
});

type ValueOf<T> = T extends { kind: 'str' }
  ? string
  : T extends { kind: 'int' | 'uint' | 'number' }
    ? number
    : T extends { kind: 'bool' }
      ? boolean
      : T extends { kind: 'enum'; values: readonly (infer V)[] }
        ? V
        : T extends { kind: 'array'; element: () => infer E }
          ? readonly ValueOf<E>[]
          : T extends { kind: 'object'; members: infer M extends Members }
            ? ArgumentsOf<M>
            : JsonValue;

/** What a handler gets. Integers beyond 2^53 are given as the nearest number: no command tells such apart. */
export type ArgumentsOf<M extends Members> = {
  readonly [K in keyof M as K extends `${string}?` ? never : K]: ValueOf<M[K]>;
} & {
  readonly [K in keyof M as K extends `${infer N}?` ? N : never]?: ValueOf<M[K]> | undefined;
};

export const memberName = (key: string): string => (key.endsWith('?') ? key.slice(0, -1) : key);
export const isOptional = (key: string): boolean => key.endsWith('?');

const EXPECTED: Readonly<Record<Exclude<Type['kind'], 'alternate'>, string>> = {
  str: 'string',
  int: 'integer',
  uint: 'integer',
  number: 'number',
  bool: 'boolean',
  enum: 'string',
  array: 'array',
  object: 'object',
  any: 'value',
  null: 'null',
};

/**
 * Checks `given` against `type` and returns it with its numbers as numbers.
 * @param path where it stands, such as `model.name` or `enable[0]`; '' for the arguments themselves
 * @throws QmpError in QEMU's words
 */
export function checkValue(type: Type, given: JsonValue, path: string): JsonValue {
  const expected = type.kind === 'alternate' ? type.name : EXPECTED[type.kind];
  const wrong = (): QmpError => new QmpError(`Invalid parameter type for '${path}', expected: ${expected}`);
  switch (type.kind) {
    case 'any':
      return given;
    case 'null':
      if (given !== null) throw wrong();
      return given;
    case 'str':
      if (typeof given !== 'string') throw wrong();
      return given;
    case 'bool':
      if (typeof given !== 'boolean') throw wrong();
      return given;
    case 'int':
      if (typeof given !== 'number' && (typeof given !== 'bigint' || given >= 2n ** 63n)) throw wrong();
      return inBits(type, Number(given), path);
    case 'uint':
      if (typeof given !== 'number' && typeof given !== 'bigint')
        throw new QmpError(`Parameter '${path}' expects uint64`);
      // One that is written as a negative number stands for what its 64 bits are.
      return inBits(type, Number(BigInt.asUintN(64, BigInt(given))), path);
    case 'number':
      if (given instanceof Float) return given.value;
      if (typeof given !== 'number' && typeof given !== 'bigint') throw wrong();
      return Number(given);
    case 'enum':
      if (typeof given !== 'string') throw wrong();
      if (!type.values.includes(given))
        throw new QmpError(`Parameter '${ownName(path)}' does not accept value '${given}'`);
      return given;
    case 'array':
      if (!Array.isArray(given)) throw wrong();
      return (given as readonly JsonValue[]).map((item, index) =>
        checkValue(type.element(), item, `${path}[${index}]`),
      );
    case 'object':
      if (!isObject(given)) throw wrong();
      return checkMembers(type, given, path);
    case 'alternate': {
      const choice = type.choices().find((one) => fits(one, given));
      if (choice === undefined)
        throw new QmpError(`Invalid parameter type for '${ownName(path)}', expected: ${expected}`);
      return checkValue(choice, given, path);
    }
  }
}

/** In some errors QEMU tells a member's name without where it stands; elements of a list have none then. */
const ownName = (path: string): string =>
  path.endsWith(']') ? 'null' : path.slice(path.lastIndexOf('.') + 1);

/** An integer of fewer than 64 bits has to fit. */
function inBits({ kind, bits }: BuiltinType, value: number, path: string): number {
  if (bits === undefined) return value;
  const [min, max] = kind === 'uint' ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  if (value < min || value > max) throw new QmpError(`Parameter '${ownName(path)}' expects ${kind}${bits}_t`);
  return value;
}

/** Whether a value is of a type at first sight: alternates are told apart by their JSON types. */
function fits(type: Type, given: JsonValue): boolean {
  switch (type.kind) {
    case 'str':
    case 'enum':
      return typeof given === 'string';
    case 'bool':
      return typeof given === 'boolean';
    case 'null':
      return given === null;
    case 'int':
    case 'uint':
    case 'number':
      return typeof given === 'number' || typeof given === 'bigint' || given instanceof Float;
    case 'array':
      return Array.isArray(given);
    case 'object':
      return isObject(given);
    default:
      return true;
  }
}

/** The members of an object: what is missing, then what is wrong, then what is unexpected. */
export function checkMembers(type: ObjectType, given: JsonObject, path = ''): JsonObject {
  const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
  const result: Record<string, JsonValue> = {};
  const known = new Set<string>();
  const read = (members: Members): void => {
    for (const [key, member] of Object.entries(members)) {
      const name = memberName(key);
      known.add(name);
      const value = given[name];
      if (value !== undefined) result[name] = checkValue(member, value, at(name));
      else if (!isOptional(key)) throw new QmpError(`Parameter '${at(name)}' is missing`);
    }
  };
  read(type.members);
  const variant = type.tag === undefined ? undefined : type.variants?.[String(result[type.tag])];
  if (variant !== undefined) read(variant.members);
  for (const [name, value] of Object.entries(given)) {
    if (known.has(name) || value === undefined) continue;
    if (type.open !== true) throw new QmpError(`Parameter '${at(name)}' is unexpected`);
    result[name] = value;
  }
  return result;
}
