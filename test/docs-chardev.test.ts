/** docs/chardev.md against the declarations: every type and property is there, and every line of options is right. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { configure } from '../src/machine/configure.ts';
import { parseCommandLine } from '../src/qapi/parse-command-line.ts';
import type { ChardevType } from '../src/qapi/schema/chardev.ts';
import { CHARDEV_TYPES } from '../src/qapi/schema/chardev.ts';
import { parseShortChardev } from '../src/qapi/schema/chardev-short.ts';

const page = readFileSync('docs/chardev.md', 'utf8');
const types: readonly ChardevType[] = CHARDEV_TYPES;

/** What stands under a heading, up to the next of its level or above. */
function section(title: string): string {
  const [, rest] = page.split(new RegExp(`^#+ ${title}$`, 'm'));
  return rest?.split(/^##? ?#? /m)[0] ?? '';
}

const COMMON = types.find(({ name }) => name === 'null')!.properties.map(({ name }) => name);
/** Other names, which are told where the first one is. */
const OTHER_NAMES: Readonly<Record<string, string>> = { tty: 'serial', memory: 'ringbuf' };

describe('docs/chardev.md', () => {
  it.each(types.filter(({ missing }) => missing === undefined))('tells of $name', ({ name, properties }) => {
    const text = section(`\`${OTHER_NAMES[name] ?? name}\``);
    expect(text).toContain(name in OTHER_NAMES ? `\`${name}\`` : '');
    expect(text.length, name).toBeGreaterThan(20);
    for (const property of properties)
      if (!COMMON.includes(property.name)) expect(text).toMatch(new RegExp(`\`${property.name}[=\`]`));
  });

  it('tells of what all have, and of what is refused', () => {
    for (const name of COMMON)
      expect(section('Properties of all types')).toMatch(new RegExp(`\`${name}[=\`]`));
    for (const { name, missing } of types)
      if (missing !== undefined) expect(section('Refused')).toContain(`\`${name}\``);
  });

  const lines = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap((match) =>
    match[1]!.trim().split('\n'),
  );
  it('has lines of options', () => expect(lines.length).toBeGreaterThan(15));
  it.each(lines)('%s', (line) => {
    const { given, images } = parseCommandLine(['-display', 'none', ...line.split(' ')]);
    const config = configure(given, images);
    expect(config.notes).toEqual([]);
  });

  it('has short forms that are understood', () => {
    const forms = [...section('Short forms').matchAll(/^\| `([^|]*)` \|/gm)].flatMap((match) =>
      match[1]!.split('`, `'),
    );
    expect(forms.length).toBeGreaterThan(12);
    for (const form of forms) {
      const written = form
        .replace(/\[,[^\]]*\]$/, '')
        .replace('FORM', 'stdio')
        .replace('@[ADDRESS]:PORT', '@:5')
        .replaceAll(/[[\]]/g, '')
        .replaceAll('PORT', '4')
        .replace('…', 'host:4');
      expect(() => parseShortChardev(written), written).not.toThrow();
    }
  });
});
