/** `query-qmp-schema` as a client uses it: finding a command's types, and checking values against them. */
import type { Message } from './rig.ts';

export class Schema {
  readonly #entries: ReadonlyMap<string, Message>;

  constructor(entries: readonly Message[]) {
    this.#entries = new Map(entries.map((one) => [String(one.name), one]));
  }

  find(name: string): Message | undefined {
    return this.#entries.get(name);
  }

  get commands(): string[] {
    return [...this.#entries.values()]
      .filter((one) => one['meta-type'] === 'command')
      .map(({ name }) => String(name));
  }

  /** The members of a command's arguments by name; true where one may be left out. */
  arguments(command: string): ReadonlyMap<string, boolean> {
    const type = this.find(String(this.find(command)?.['arg-type']));
    const members = (type?.members ?? []) as readonly Message[];
    return new Map(members.map((member) => [String(member.name), 'default' in member]));
  }

  /** What is wrong with what a command returned: paths and reasons. */
  check(command: string, value: unknown): string[] {
    const type = this.find(command)?.['ret-type'];
    return type === undefined ? [`${command} is not described`] : this.#check(value, String(type), command);
  }

  #check(value: unknown, type: string, at: string): string[] {
    const found = this.find(type);
    switch (found?.['meta-type']) {
      case 'array':
        if (!Array.isArray(value)) return [`${at} is no list`];
        return value.flatMap((item) => this.#check(item, String(found['element-type']), `${at}[]`));
      case 'object':
        return this.#checkObject(value, found, at);
      case 'enum':
        return (found.values as readonly unknown[]).includes(value) ? [] : [`${at}: ${String(value)}`];
      case 'alternate':
        return (found.members as readonly Message[]).some(
          (member) => this.#check(value, String(member.type), at).length === 0,
        )
          ? []
          : [`${at} is none of the alternatives`];
      case 'builtin':
        return kindFits(value, String(found['json-type']))
          ? []
          : [`${at} is no ${String(found['json-type'])}`];
      default:
        return [`${at}: no type ${type}`];
    }
  }

  #checkObject(value: unknown, type: Message, at: string): string[] {
    if (typeof value !== 'object' || value === null) return [`${at} is no object`];
    const given = value as Message;
    let members = type.members as readonly Message[];
    const variant = (type.variants as readonly Message[] | undefined)?.find(
      (one) => one.case === given[String(type.tag)],
    );
    if (variant !== undefined)
      members = [...members, ...(this.find(String(variant.type))!.members as readonly Message[])];
    const names = members.map(({ name }) => String(name));
    return [
      ...Object.keys(given)
        .filter((key) => !names.includes(key))
        .map((key) => `${at}.${key} is not declared`),
      ...members.flatMap((member) => {
        const name = String(member.name);
        if (given[name] === undefined) return 'default' in member ? [] : [`${at}.${name} is missing`];
        return this.#check(given[name], String(member.type), `${at}.${name}`);
      }),
    ];
  }
}

function kindFits(value: unknown, kind: string): boolean {
  switch (kind) {
    case 'int':
      return typeof value === 'number' && Number.isInteger(value);
    case 'value':
      return true;
    case 'null':
      return value === null;
    default:
      return typeof value === kind;
  }
}
