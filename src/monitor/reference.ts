/** The reference pages docs/qmp.md and docs/hmp.md, as Markdown, out of the declarations that the monitors read. */
import type { HmpCommand } from './hmp/command.ts';
import { HMP_COMMANDS, INFO_COMMANDS } from './hmp/commands.ts';
import type { Command } from './qmp/command.ts';
import { COMMANDS } from './qmp/commands.ts';
import type { EventDeclaration } from './qmp/events.ts';
import { EVENTS } from './qmp/events.ts';
import { MISSING_COMMANDS } from './qmp/missing.ts';
import type { Members, ObjectType, Type } from './qmp/types.ts';
import { isOptional, memberName } from './qmp/types.ts';

const code = (text: string): string => `\`${text}\``;
const cell = (text: string): string => text.replaceAll('|', '\\|');

/** Values of an enumeration that are listed; of more, only how many. */
const MAX_VALUES = 12;

function typeText(type: Type): string {
  switch (type.kind) {
    case 'enum':
      return type.values.length > MAX_VALUES
        ? `one of ${type.values.length} names`
        : type.values.map(code).join(' or ');
    case 'array':
      return `list of ${typeText(type.element())}`;
    case 'object':
      return 'object';
    case 'alternate':
      return type.choices().map(typeText).join(' or ');
    case 'uint':
      return 'int';
    default:
      return type.kind;
  }
}

/** The object behind a type, through lists. */
function objectIn(type: Type): ObjectType | undefined {
  if (type.kind === 'array') return objectIn(type.element());
  return type.kind === 'object' ? type : undefined;
}

function rows(members: Members, prefix: string, seen: ReadonlySet<ObjectType>): string[] {
  return Object.entries(members).flatMap(([key, type]) => {
    const name = `${prefix}${memberName(key)}`;
    const row = `| ${code(name)} | ${cell(typeText(type))} | ${isOptional(key) ? '' : 'yes'} |`;
    const inner = objectIn(type);
    if (inner === undefined || seen.has(inner)) return [row];
    return [row, ...objectRows(inner, `${name}.`, seen)];
  });
}

function objectRows(type: ObjectType, prefix: string, seen: ReadonlySet<ObjectType>): string[] {
  const below = new Set([...seen, type]);
  const own = rows(type.members, prefix, below);
  const variants = Object.entries(type.variants ?? {}).flatMap(([value, variant]) =>
    rows(variant.members, prefix, below).map((row) => row.replace(/ \|$/, ` (${value}) |`)),
  );
  return [...own, ...variants];
}

const HEAD = '| member | type | always |\n| --- | --- | --- |';

function table(type: ObjectType): string {
  const lines = objectRows(type, '', new Set());
  if (type.open === true) lines.push('| … | properties of the thing itself | |');
  return lines.length === 0 ? '' : `${HEAD}\n${lines.join('\n')}`;
}

function commandSection({ name, help, arguments: given, returns }: Command): string {
  const parts = [`### ${code(name)}\n\n${help}.`];
  const args = table(given);
  if (args !== '') parts.push(`Arguments:\n\n${args}`);
  const result = objectIn(returns);
  const fields = result === undefined ? '' : table(result);
  if (fields !== '')
    parts.push(`Returns ${returns.kind === 'array' ? 'a list of' : 'an object'}:\n\n${fields}`);
  else if (returns.kind !== 'object') parts.push(`Returns: ${typeText(returns)}.`);
  return parts.join('\n\n');
}

function eventSection([name, { help, data, rate }]: readonly [string, EventDeclaration]): string {
  const limit = rate === undefined ? '' : ` At most one in ${rate} ms; the last one counts.`;
  const fields = table(data);
  return `### ${code(name)}\n\n${help}.${limit}${fields === '' ? '' : `\n\n${fields}`}`;
}

const NOTE = '<!-- Written by `npm run docs:options`: change the declarations in src/monitor instead. -->';

export function qmpReference(): string {
  const all = [...COMMANDS.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const events = Object.entries(EVENTS).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${[
    NOTE,
    '# The monitor for programs (QMP)',
    'QMP is JSON over a character device: `-qmp unix:/tmp/qmp,server=on,wait=off`, or `-mon` with `mode=control`. ' +
      "It is QEMU's protocol with QEMU's commands, errors and events, as version 7.2 has them; programs that drive QEMU " +
      'drive this. A client reads the greeting, sends `qmp_capabilities`, and then commands:',
    '```json\n{"execute": "query-status", "id": 1}\n{"return": {"status": "running", "singlestep": false, "running": true}, "id": 1}\n```',
    'The introspection that `query-qmp-schema` gives and this page come from the same declarations. ' +
      'The monitor for people is described in [hmp.md](hmp.md).',
    `## Commands\n\n${all.length} of them.`,
    ...all.map(commandSection),
    '## Events',
    ...events.map(eventSection),
    '## Commands of QEMU 7.2 that are not here',
    ...MISSING_COMMANDS.map(({ why, names }) => `${why} ${[...names].sort().map(code).join(', ')}`),
  ].join('\n\n')}\n`;
}

function humanTable(commands: readonly HmpCommand[], prefix: string): string {
  const lines = [...commands]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, aliases = [], synopsis, help }) => {
      const names = [name, ...aliases].map((one) => code(`${prefix}${one}`)).join(', ');
      return `| ${names} | ${synopsis === '' ? '' : cell(code(synopsis))} | ${cell(help)} |`;
    });
  return `| command | arguments | |\n| --- | --- | --- |\n${lines.join('\n')}`;
}

export function hmpReference(): string {
  return `${[
    NOTE,
    '# The monitor for people (HMP)',
    'With `-monitor stdio` the monitor is on the terminal; with `-nographic` it shares the terminal with COM1, and ' +
      'Ctrl-A c goes from one to the other. Commands and what they print are those of QEMU 7.2. The line can be edited ' +
      'as in a shell, Tab completes commands and ids, the arrows go through the history.',
    'Numbers may be expressions with `+ - * / % & | ^ ~ ( )` and registers such as `$rip`. ' +
      '`x/8i $pc` disassembles, `x/4gx $rsp` shows the stack.',
    'Each is also reached from QMP, by `human-monitor-command` ([qmp.md](qmp.md)).',
    '## Commands',
    humanTable(HMP_COMMANDS, ''),
    '## What `info` shows',
    humanTable(INFO_COMMANDS, 'info '),
  ].join('\n\n')}\n`;
}
