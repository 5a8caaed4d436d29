import { afterAll, describe, expect, it } from 'vitest';
import { type NativeProcessor, openNative } from '../../native/processor.ts';
import { LEGACY_MODES, runLegacyCampaign } from './legacy-campaign.ts';

const native = openNative();

/** The same variables as in differential.test.ts. */
const instances = Number(process.env.PARAVANE_CPU_INSTANCES ?? 150_000);
const seed = Number(process.env.PARAVANE_CPU_SEED ?? 20260102);
const only = (process.env.PARAVANE_CPU_ONLY ?? '').split(',').filter((name) => name !== '');
const modes = Object.entries(LEGACY_MODES);
const share = Math.ceil(instances / modes.length);

describe.skipIf(typeof native === 'string')('16- and 32-bit code against the host processor', () => {
  afterAll(() => (native as NativeProcessor).close());

  it.each(modes)(`%s: agrees on ${share} random instructions`, { timeout: 0 }, (_name, segments) => {
    const campaign = runLegacyCampaign(native as NativeProcessor, segments, share, seed, only);
    expect(campaign.failures.join('\n')).toBe('');
    expect(campaign.instances).toBeGreaterThanOrEqual(share);
    expect(campaign.forms).toBeGreaterThan(only.length > 0 ? 0 : 500);
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${String(native)}`, () => {
  expect(native).toBeTypeOf('string');
});
