/**
 * Arguments that a command must refuse, made from what `query-qmp-schema` says of it: a member missing, of each wrong
 * kind, one too many, a value that an enumeration lacks, and the same one level further in. None of them gets as far
 * as being carried out.
 */
import type { Message } from './rig.ts';
import type { Schema } from './schema.ts';

/** One value of each kind that JSON has, and numbers that are none of QAPI's integers. */
const KINDS: readonly { readonly kind: string; readonly value: unknown }[] = [
  { kind: 'string', value: 'zz' },
  { kind: 'int', value: 5 },
  { kind: 'number', value: 1.5 },
  { kind: 'boolean', value: true },
  { kind: 'null', value: null },
  { kind: 'array', value: [] },
  { kind: 'object', value: {} },
];

/** How deep members of members are changed; some types have themselves inside. */
const MAX_DEPTH = 3;

interface Member {
  readonly name: string;
  readonly type: string;
  readonly default?: unknown;
}

const membersOf = (type: Message | undefined): readonly Member[] =>
  (type?.members ?? []) as readonly Member[];

/** The JSON kinds that a type takes at first sight. */
function kindsOf(schema: Schema, type: string): readonly string[] {
  const found = schema.find(type);
  switch (found?.['meta-type']) {
    case 'enum':
      return ['string'];
    case 'array':
      return ['array'];
    case 'object':
      return ['object'];
    case 'alternate':
      return membersOf(found).flatMap((one) => kindsOf(schema, one.type));
    default: {
      const kind = String(found?.['json-type']);
      return kind === 'value' ? KINDS.map((one) => one.kind) : kind === 'number' ? ['int', 'number'] : [kind];
    }
  }
}

/** Some value that a type takes. */
function sample(schema: Schema, type: string): unknown {
  const found = schema.find(type);
  switch (found?.['meta-type']) {
    case 'enum':
      return (found.values as readonly string[])[0];
    case 'array':
      return [];
    case 'object':
      return sampleObject(schema, found);
    case 'alternate':
      // Names where there may be names: what they stand for may have itself inside.
      return kindsOf(schema, type).includes('string')
        ? KINDS[0]!.value
        : sample(schema, membersOf(found)[0]!.type);
    default:
      return KINDS.find((one) => kindsOf(schema, type).includes(one.kind))!.value;
  }
}

const needed = (members: readonly Member[]): readonly Member[] =>
  members.filter((member) => !('default' in member));

/** Members that stand in an object whose tag has the value that `given` has. */
function variantOf(schema: Schema, type: Message, given: Message): readonly Member[] {
  const variant = (type.variants as readonly Message[] | undefined)?.find(
    (one) => one.case === given[String(type.tag)],
  );
  return variant === undefined ? [] : membersOf(schema.find(String(variant.type)));
}

function sampleObject(schema: Schema, type: Message, tag?: string): Message {
  const given: Record<string, unknown> = {};
  for (const { name, type: of } of needed(membersOf(type)))
    given[name] = tag !== undefined && name === type.tag ? tag : sample(schema, of);
  for (const { name, type: of } of needed(variantOf(schema, type, given))) given[name] = sample(schema, of);
  return given;
}

/** What is changed: in which schema, and which values of tags are tried. */
interface Plan {
  readonly schema: Schema;
  readonly tags: ReadonlySet<string>;
  /** Inside of one that has a tag itself: there, one value stands for all. */
  readonly inner: boolean;
}

/** Values of an object type that are wrong in one place. */
function* wrongObjects(plan: Plan, type: Message, depth: number): Generator<Message> {
  const { schema, tags } = plan;
  const cases = ((type.variants ?? []) as readonly Message[]).map((one) => String(one.case));
  const tried = cases.filter((one) => tags.has(one));
  const tagged = plan.inner ? tried.slice(0, 1) : tried;
  const inner = cases.length === 0 ? plan : { ...plan, inner: true };
  for (const tag of tagged.length === 0 ? [undefined] : tagged) {
    const whole = sampleObject(schema, type, tag);
    const members = [...membersOf(type), ...variantOf(schema, type, whole)];
    if (tag === tagged[0] && needed(members).length > 0) yield {};
    yield { ...whole, 'not-there': 1 };
    for (const { name, type: of, ...rest } of members) {
      if (!('default' in rest)) {
        const { [name]: _, ...without } = whole;
        yield without;
      }
      if (name === type.tag && tag !== tagged[0]) continue;
      for (const value of wrongValues(inner, of, depth)) yield { ...whole, [name]: value };
    }
  }
}

function* wrongValues(plan: Plan, type: string, depth: number): Generator<unknown> {
  const { schema } = plan;
  const fitting = kindsOf(schema, type);
  for (const { kind, value } of KINDS) if (!fitting.includes(kind)) yield value;
  const found = schema.find(type);
  if (depth === 0) return;
  switch (found?.['meta-type']) {
    case 'enum':
      yield 'not-there';
      break;
    case 'array':
      for (const value of wrongValues(plan, String(found['element-type']), depth - 1)) yield [value];
      break;
    case 'object':
      yield* wrongObjects(plan, found, depth - 1);
      break;
    case 'alternate':
      for (const one of membersOf(found))
        if (schema.find(one.type)?.['meta-type'] === 'object')
          yield* wrongObjects(plan, schema.find(one.type)!, depth - 1);
      break;
    default:
  }
}

/** Wrong arguments for a command. @param tags the values of tags to try */
export function* wrongArguments(
  schema: Schema,
  command: string,
  tags: ReadonlySet<string>,
): Generator<Message> {
  const type = schema.find(String(schema.find(command)?.['arg-type']));
  if (type?.['meta-type'] === 'object') yield* wrongObjects({ schema, tags, inner: false }, type, MAX_DEPTH);
}

/** All values of tags in a command's arguments. */
export function tagsOf(schema: Schema, command: string): ReadonlySet<string> {
  const tags = new Set<string>();
  const seen = new Set<string>();
  const visit = (type: string): void => {
    const found = schema.find(type);
    if (found === undefined || seen.has(type)) return;
    seen.add(type);
    if (found['element-type'] !== undefined) visit(String(found['element-type']));
    for (const one of membersOf(found)) visit(one.type);
    for (const one of (found.variants ?? []) as readonly Message[]) {
      tags.add(String(one.case));
      visit(String(one.type));
    }
  };
  visit(String(schema.find(command)?.['arg-type']));
  return tags;
}
