/** The command that whole-VM tests wait with, in this computer's own shell. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pollUntil } from './poll.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-poll-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sh = (command: string): string =>
  spawnSync('sh', ['-c', command], { cwd: folder, encoding: 'utf8' }).stdout;

describe.skipIf(process.platform === 'win32')('pollUntil', () => {
  it('says yes at once, later, or no', () => {
    expect(sh(pollUntil('true', 30))).toBe('yes\n');
    expect(sh(pollUntil('! false', 30))).toBe('yes\n');
    expect(sh(pollUntil('[ $i -ge 3 ]', 30, 0.01))).toBe('yes\n');
    expect(sh(pollUntil('false', 0.02, 0.01))).toBe('no\n');
  });

  it('believes what it has seen once', () => {
    // True at the third look and never again, as a card's first name is.
    const third = 'echo look >>looks; [ "$(wc -l <looks)" -eq 3 ]';
    expect(sh(`${pollUntil(`{ ${third}; }`, 1, 0.01)}; wc -l <looks`)).toMatch(/^yes\n\s*3\n$/);
  });

  it('leaves the shell and what follows as they are', () => {
    expect(sh(`${pollUntil('false', 0.01, 0.01)}; echo after`)).toBe('no\nafter\n');
  });
});
