/** Time made of instructions: the tiny guest twice, and both runs are the same to the last instruction. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';

const guest = cachedGuest('tiny');
const ready = guest !== undefined && existsSync('dist/cli/main.js');
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly console: string;
  readonly instructions: number;
  /** Seconds of the guest's clock. */
  readonly seconds: number;
}

let count = 0;
function run(icount: string, more: readonly string[] = []): Run {
  const log = join(folder, `console-${count++}`);
  const line = ['-nographic', '-nodefaults', '-no-reboot', '-m', '256', '-serial', `file:${log}`];
  line.push('-kernel', guest!.kernel, '-initrd', guest!.initrd, '-append', 'console=ttyS0 paravane.selftest');
  line.push('-icount', icount, '-rtc', 'base=2026-01-01T12:00:00,clock=vm', '-stats', ...more);
  const { stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...line], {
    encoding: 'utf8',
    timeout: 200_000,
  });
  const figure = (name: string): number => Number(new RegExp(`^${name} +([\\d.]+)`, 'm').exec(stderr)?.[1]);
  return {
    console: readFileSync(log, 'latin1'),
    instructions: figure('instructions'),
    seconds: figure('seconds'),
  };
}

function disk(): string[] {
  const path = join(folder, `disk-${count}`);
  writeFileSync(path, '');
  truncateSync(path, 8 * 2 ** 20);
  return ['-drive', `file=${path},if=virtio,format=raw`, '-device', 'virtio-rng-pci'];
}

describe.skipIf(!ready)('a guest that counts instructions', () => {
  it('takes the same path twice, whether the host sleeps or not; and another one for another seed', {
    timeout: 600_000,
  }, () => {
    const [first, second] = [run('shift=1', disk()), run('shift=1,sleep=off', disk())];
    expect(first.console).toMatch(/selftest: \d+ passed, 0 failed/);
    expect(first.console).toContain('reboot: Power down');
    expect(second.console).toBe(first.console);
    expect(first.instructions).toBeGreaterThan(1e8);
    expect(second.instructions).toBe(first.instructions);
    expect(second.seconds).toBe(first.seconds);
    // what the kernel prints of its time: at least what its instructions took
    const last = Number(/.*\[ *(\d+\.\d+)\] reboot: Power down/.exec(first.console)![1]);
    expect(last * 1e9).toBeGreaterThan(first.instructions * 2 * 0.8);

    const other = run('shift=1,sleep=off', [...disk(), '-seed', '7']);
    expect(other.console).toMatch(/selftest: \d+ passed, 0 failed/);
    expect(other.instructions).not.toBe(first.instructions);
  });
});

it.runIf(!ready)('skipped: there is no tiny guest in the cache, or no dist', () => {
  expect(ready).toBe(false);
});
