/** Long programs in what V8's optimiser makes of them, from the first run on: where it errs, so do we. */
import { afterAll, describe, expect, it } from 'vitest';
import { type NativeProcessor, openNative } from '../../native/processor.ts';
import { runLongPrograms } from './long-campaign.ts';
import { optimiserOnly } from './optimiser-only.ts';

optimiserOnly();

const native = openNative();

describe.skipIf(typeof native === 'string')('long programs, optimised, against the host processor', () => {
  afterAll(() => (native as NativeProcessor).close());

  it('leave the same state', { timeout: 0 }, () => {
    const campaign = runLongPrograms(native as NativeProcessor, 2000, 20261122);
    expect(campaign.failures.join('\n')).toBe('');
    expect(campaign.regionRuns).toBeGreaterThan(campaign.programs);
  });

  // loads of 32 and of 64 bits from one place of the stack, which V8 of Node.js 20 takes for the same (old-v8.ts)
  it('leave the same state where a register is written in its lower half on one way only', {
    timeout: 0,
  }, () => {
    const campaign = runLongPrograms(native as NativeProcessor, 1500, 202701, 300, 58);
    expect(campaign.failures.join('\n')).toBe('');
    expect(campaign.instances).toBe(1500);
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${String(native)}`, () => {
  expect(native).toBeTypeOf('string');
});
