import { afterAll, describe, expect, it } from 'vitest';
import { type NativeProcessor, openNative } from '../../native/processor.ts';
import { runPrograms } from './program-campaign.ts';

const native = openNative();

/** PARAVANE_CPU_PROGRAMS and PARAVANE_CPU_SEED make a longer run, or another one. */
const programs = Number(process.env.PARAVANE_CPU_PROGRAMS ?? 20_000);
const seed = Number(process.env.PARAVANE_CPU_SEED ?? 20260103);
const share = {
  64: Math.ceil(programs * 0.4),
  32: Math.ceil(programs * 0.4),
  16: Math.ceil(programs * 0.2),
} as const;

describe.skipIf(typeof native === 'string')('small programs against the host processor', () => {
  afterAll(() => (native as NativeProcessor).close());

  it.each([64, 32, 16] as const)('%i-bit: leave the same state', { timeout: 0 }, (bits) => {
    const campaign = runPrograms(native as NativeProcessor, bits, share[bits], seed);
    expect(campaign.failures.join('\n')).toBe('');
    expect(campaign.programs).toBeGreaterThanOrEqual(share[bits]);
    if (campaign.programs < 1000) return;
    // most run to their end, and some do not
    expect(campaign.faults).toBeGreaterThan(campaign.programs / 200);
    expect(campaign.faults).toBeLessThan(campaign.programs);
    if (bits === 64) expect(campaign.regionRuns).toBeGreaterThan(campaign.programs);
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${String(native)}`, () => {
  expect(native).toBeTypeOf('string');
});
