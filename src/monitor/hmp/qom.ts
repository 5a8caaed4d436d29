/** The object tree by hand: qom-list, qom-get, qom-set. */
import { JsonStream } from '../json/parser.ts';
import type { JsonValue } from '../json/value.ts';
import { formatJson } from '../json/value.ts';
import { COMMANDS } from '../qmp/commands.ts';
import { deviceNotFound, QmpError } from '../qmp/error.ts';
import { listQom, resolveQom } from '../qom.ts';
import type { HmpCommand } from './command.ts';

/** A value as it is typed: a number or a switch where it looks like one. */
function qomValue(text: string, json: boolean): JsonValue {
  if (json) {
    const values: JsonValue[] = [];
    const stream = new JsonStream({
      value: (one) => values.push(one),
      error: (message) => {
        throw new QmpError(message);
      },
    });
    stream.feed(new TextEncoder().encode(`[${text}]`));
    const [list] = values;
    if (!Array.isArray(list) || list.length !== 1) throw new QmpError('JSON parse error, expecting value');
    return (list as readonly JsonValue[])[0]!;
  }
  if (/^-?[0-9]{1,15}$/.test(text)) return Number(text);
  return text === 'on' || text === 'true' ? true : text === 'off' || text === 'false' ? false : text;
}

export const qomActions: readonly HmpCommand[] = [
  {
    name: 'qom-list',
    takes: 'path:s?',
    synopsis: 'path',
    help: 'show what is at a place in the object tree',
    run: ({ path }, target) => {
      // As in QEMU: where to begin.
      if (path === undefined) return '/\n';
      const at = resolveQom(target, String(path));
      if (at === undefined) throw deviceNotFound(String(path));
      return listQom(at)
        .map(({ name, type }) => `${name} (${type})\n`)
        .join('');
    },
  },
  {
    name: 'qom-get',
    takes: 'path:s,property:s',
    synopsis: 'path property',
    help: 'show the value of a property',
    run: async ({ path, property }, target) => {
      const value = await COMMANDS.get('qom-get')!.run(
        { path: String(path), property: String(property) },
        target,
      );
      return `${formatJson(value, true)}\n`;
    },
  },
  {
    name: 'qom-set',
    takes: 'json:-j,path:s,property:s,value:S',
    synopsis: '[-j] path property value',
    help: 'change a property (-j: the value is JSON)',
    run: ({ json, path, property, value }, target) =>
      void COMMANDS.get('qom-set')!.run(
        { path: String(path), property: String(property), value: qomValue(String(value), json === true) },
        target,
      ),
  },
];
