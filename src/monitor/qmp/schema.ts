/**
 * `query-qmp-schema`: the declarations of commands and events as QEMU's introspection lays them out. Types of its own
 * have numbers for names, as there: clients compare what a type is made of, not what it is called.
 */
import type { JsonValue } from '../json/value.ts';
import type { Command } from './command.ts';
import type { EventDeclaration } from './events.ts';
import type { ObjectType, Type } from './types.ts';
import { isOptional, memberName } from './types.ts';

const BUILTINS = {
  str: 'string',
  int: 'int',
  number: 'number',
  bool: 'boolean',
  any: 'value',
  null: 'null',
} as const;

export function schemaOf(
  commands: readonly Command[],
  events: Readonly<Record<string, EventDeclaration>>,
): JsonValue[] {
  const schema: JsonValue[] = [];
  const types: JsonValue[] = [];
  const names = new Map<string, string>();
  /** Names of types that may have themselves inside, given before their members are looked at. */
  const reserved = new Map<ObjectType, string>();

  /** Types that are made of the same parts are one. */
  const intern = (key: string, describe: (name: string) => JsonValue): string => {
    let name = names.get(key);
    if (name === undefined) {
      name = String(names.size);
      names.set(key, name);
      types.push(describe(name));
    }
    return name;
  };

  const nameOf = (type: Type): string => {
    switch (type.kind) {
      case 'enum': {
        const members = type.values.map((value) => ({ name: value }));
        return intern(`enum ${type.values.join(' ')}`, (name) => ({
          name,
          'meta-type': 'enum',
          members,
          values: type.values,
        }));
      }
      case 'array': {
        const element = nameOf(type.element());
        const name = `[${element}]`;
        if (!names.has(name)) {
          names.set(name, name);
          types.push({ name, 'meta-type': 'array', 'element-type': element });
        }
        return name;
      }
      case 'object':
        return objectName(type);
      case 'alternate': {
        const members = type.choices().map((choice) => ({ type: nameOf(choice) }));
        return intern(`alternate ${JSON.stringify(members)}`, (name) => ({
          name,
          'meta-type': 'alternate',
          members,
        }));
      }
      case 'uint':
        return 'int';
      default:
        return type.kind;
    }
  };

  const objectName = (type: ObjectType): string => {
    const known = reserved.get(type);
    if (known !== undefined) return known;
    const own = type.recursive === true ? String(names.size) : undefined;
    if (own !== undefined) {
      reserved.set(type, own);
      names.set(`recursive ${own}`, own);
    }
    const members = Object.entries(type.members).map(([key, member]) => ({
      name: memberName(key),
      ...(isOptional(key) ? { default: null } : {}),
      type: nameOf(member),
    }));
    const variants = Object.entries(type.variants ?? {}).map(([value, variant]) => ({
      case: value,
      type: objectName(variant),
    }));
    const describe = (name: string): JsonValue => ({
      name,
      'meta-type': 'object',
      members,
      ...(type.tag === undefined ? {} : { tag: type.tag, variants }),
    });
    if (own === undefined) return intern(`object ${JSON.stringify([members, variants])}`, describe);
    types.push(describe(own));
    return own;
  };

  // The empty object is the first, as in QEMU: many clients look at it.
  objectName({ kind: 'object', members: {} });
  for (const one of commands)
    schema.push({
      name: one.name,
      'meta-type': 'command',
      'arg-type': objectName(one.arguments),
      'ret-type': nameOf(one.returns),
      ...(one.oob === true ? { 'allow-oob': true } : {}),
      ...(one.name === 'device_add' ? { features: ['json-cli', 'json-cli-hotplug'] } : {}),
    });
  for (const [name, { data }] of Object.entries(events))
    schema.push({ name, 'meta-type': 'event', 'arg-type': objectName(data) });
  for (const [name, json] of Object.entries(BUILTINS))
    types.push({ name, 'meta-type': 'builtin', 'json-type': json });
  return [...schema, ...types];
}
