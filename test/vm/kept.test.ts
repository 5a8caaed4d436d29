/**
 * The program keeps what it has translated in the user's cache folder, and the next run uses it; `-accel tcg,tb-cache=off`
 * leaves no trace. The tiny guest passes its self-test each time, with the same words.
 */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ready, type Run, runSelftest, saySkipped, temporaryFolder } from './selftest.ts';

const folder = temporaryFolder();

async function boot(...more: readonly string[]): Promise<Run> {
  const log = join(folder(), 'console');
  const run = await runSelftest(log, 'quiet', more, { XDG_CACHE_HOME: folder() });
  // the kernel says when
  const text = run.console.replaceAll(/^\[ *\d+\.\d+\] /gm, '').replaceAll('\r', '');
  return { ...run, console: text };
}

const kept = (): string[] => {
  const cache = join(folder(), 'paravane/translations');
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

saySkipped();
