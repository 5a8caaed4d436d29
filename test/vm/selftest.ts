/** The tiny guest's self-test, from power on to power off, as a process of the program with `-stats`. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';

const guest = cachedGuest('tiny');

/** There is a guest in the cache, and the program is built. */
export const ready = guest !== undefined && existsSync('dist/cli/main.js') && existsSync('dist/.built');

/** For a file of tests that need them: says so where they are not there. */
export function saySkipped(): void {
  it.runIf(!ready)('skipped: there is no tiny guest in the cache, or no dist', () => {
    expect(ready).toBe(false);
  });
}

/** A folder while a file's tests run. @returns its path */
export function temporaryFolder(): () => string {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'paravane-test-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return () => folder;
}

export interface Run {
  /** What the guest wrote to its console. */
  readonly console: string;
  readonly stats: ReadonlyMap<string, number>;
  /** All of the program's standard error. */
  readonly messages: string;
}

/**
 * @param log file for the guest's console
 * @param append more of the kernel's command line
 * @param more options of the program
 * @throws AssertionError when it does not end well
 */
export async function runSelftest(
  log: string,
  append: string,
  more: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Run> {
  const line = ['-nographic', '-nodefaults', '-no-reboot', '-m', '256', '-serial', `file:${log}`];
  line.push('-kernel', guest!.kernel, '-initrd', guest!.initrd, '-stats');
  line.push('-append', `console=ttyS0 paravane.selftest ${append}`.trim(), ...more);
  const child = spawn(process.execPath, ['dist/cli/main.js', ...line], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 200_000,
  });
  let messages = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (messages += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect([messages.slice(0, code === 0 ? 0 : 1000), code]).toEqual(['', 0]);
  const stats = new Map(
    [...messages.matchAll(/^(\w+) +([\d.]+)$/gm)].map(([, name, value]) => [name!, Number(value)]),
  );
  return { console: readFileSync(log, 'latin1'), stats, messages };
}
