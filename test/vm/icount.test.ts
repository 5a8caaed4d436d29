/** Time made of instructions: the tiny guest twice, and both runs are the same to the last instruction. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ready, runSelftest, saySkipped, temporaryFolder } from './selftest.ts';

const folder = temporaryFolder();

interface Counted {
  readonly console: string;
  readonly instructions: number;
  /** Seconds of the guest's clock. */
  readonly seconds: number;
}

let count = 0;
async function run(icount: string, more: readonly string[] = []): Promise<Counted> {
  const log = join(folder(), `console-${count++}`);
  const options = ['-icount', icount, '-rtc', 'base=2026-01-01T12:00:00,clock=vm', ...more];
  const { console, stats } = await runSelftest(log, '', options);
  return { console, instructions: stats.get('instructions')!, seconds: stats.get('seconds')! };
}

function disk(): string[] {
  const path = join(folder(), `disk-${count}`);
  writeFileSync(path, '');
  truncateSync(path, 8 * 2 ** 20);
  return ['-drive', `file=${path},if=virtio,format=raw`, '-device', 'virtio-rng-pci'];
}

describe.skipIf(!ready)('a guest that counts instructions', () => {
  it('takes the same path twice, whether the host sleeps or not; and another one for another seed', {
    timeout: 600_000,
  }, async () => {
    const [first, second] = [await run('shift=1', disk()), await run('shift=1,sleep=off', disk())];
    expect(first.console).toMatch(/selftest: \d+ passed, 0 failed/);
    expect(first.console).toContain('reboot: Power down');
    expect(second.console).toBe(first.console);
    expect(first.instructions).toBeGreaterThan(1e8);
    expect(second.instructions).toBe(first.instructions);
    expect(second.seconds).toBe(first.seconds);
    // what the kernel prints of its time: at least what its instructions took
    const last = Number(/.*\[ *(\d+\.\d+)\] reboot: Power down/.exec(first.console)![1]);
    expect(last * 1e9).toBeGreaterThan(first.instructions * 2 * 0.8);

    const other = await run('shift=1,sleep=off', [...disk(), '-seed', '7']);
    expect(other.console).toMatch(/selftest: \d+ passed, 0 failed/);
    expect(other.instructions).not.toBe(first.instructions);
  });
});

saySkipped();
