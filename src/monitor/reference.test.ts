/** The reference pages say what the declarations say. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from './qmp/commands.ts';
import { MISSING_COMMANDS } from './qmp/missing.ts';
import { hmpReference, qmpReference } from './reference.ts';

describe('the reference', () => {
  it.each([
    ['docs/qmp.md', qmpReference],
    ['docs/hmp.md', hmpReference],
  ])('%s is current (npm run docs:options writes it)', (path, make) => {
    expect(readFileSync(path, 'utf8')).toBe(make());
  });

  it('lists nothing as missing that is there', () => {
    const missing = MISSING_COMMANDS.flatMap(({ names }) => names);
    expect(missing.filter((name) => COMMANDS.has(name))).toEqual([]);
    expect(new Set(missing).size).toBe(missing.length);
  });
});
