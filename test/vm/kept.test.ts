/**
 * The program keeps what it has translated in the user's cache folder, and the next run uses it; `-accel tcg,tb-cache=off`
 * leaves no trace. The tiny guest passes its self-test each time, with the same words.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';

const guest = cachedGuest('tiny');
const ready = guest !== undefined && existsSync('dist/cli/main.js') && existsSync('dist/.built');
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly console: string;
  readonly stats: ReadonlyMap<string, number>;
  readonly messages: string;
}

async function boot(...more: readonly string[]): Promise<Run> {
  const log = join(folder, 'console');
  const line = ['-nographic', '-nodefaults', '-no-reboot', '-m', '256', '-serial', `file:${log}`];
  line.push('-kernel', guest!.kernel, '-initrd', guest!.initrd, '-stats');
  line.push('-append', 'console=ttyS0 quiet paravane.selftest', ...more);
  const env = { ...process.env, XDG_CACHE_HOME: folder };
  const child = spawn(process.execPath, ['dist/cli/main.js', ...line], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let messages = '';
  child.stderr.on('data', (data: Buffer) => (messages += data.toString()));
  const code = await new Promise((resolve) => child.on('exit', resolve));
  expect([messages.slice(0, code === 0 ? 0 : 1000), code]).toEqual(['', 0]);
  const stats = new Map(
    [...messages.matchAll(/^(\w+) +([\d.]+)$/gm)].map(([, name, value]) => [name!, Number(value)]),
  );
  // the kernel says when
  const text = readFileSync(log, 'latin1')
    .replaceAll(/^\[ *\d+\.\d+\] /gm, '')
    .replaceAll('\r', '');
  return { console: text, stats, messages };
}

const kept = (): string[] => {
  const cache = join(folder, 'paravane/translations');
  return existsSync(cache) ? readdirSync(cache).map((name) => join(cache, name)) : [];
};

describe.skipIf(!ready)('translations from run to run (needs a build and the tiny guest)', () => {
  it('are used in the next run, and not kept with tb-cache=off', { timeout: 400_000 }, async () => {
    const off = await boot('-accel', 'tcg,tb-cache=off');
    expect(off.console).toContain('selftest: 1 passed, 0 failed');
    expect([off.stats.get('regionsKept'), off.stats.get('regionsUsedAgain'), kept()]).toEqual([0, 0, []]);

    const first = await boot();
    expect(first.console).toBe(off.console);
    expect([first.stats.get('regionsKept')! > 100, first.stats.get('regionsUsedAgain')]).toEqual([true, 0]);
    // translations, and forms of instructions
    const files = kept().sort();
    expect(files).toEqual([files[0], `${files[0]}.forms`]);
    for (const file of files) expect(statSync(file).mode & 0o777).toBe(0o600);

    const second = await boot('-accel', 'tcg,tb-cache=on');
    expect(second.console).toBe(off.console);
    // nearly all of the kernel's start is as it was
    expect(second.stats.get('regionsUsedAgain')).toBeGreaterThan(first.stats.get('regions')! / 2);
    expect(second.stats.get('regionsKept')).toBeLessThan(first.stats.get('regionsKept')! / 2);
    expect(kept().sort()).toEqual(files);

    // damaged here and there
    for (const file of files) {
      const bytes = readFileSync(file);
      for (let at = 1000; at < bytes.length; at += 5003) bytes[at]! ^= 0x55;
      writeFileSync(file, bytes);
    }
    const damaged = await boot();
    expect(damaged.console).toBe(off.console);
    expect(damaged.messages).not.toMatch(/not used/);
  });
});

it.runIf(!ready)('skipped: there is no tiny guest in the cache, or no dist', () => {
  expect(ready).toBe(false);
});
