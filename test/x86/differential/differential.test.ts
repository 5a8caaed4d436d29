import { afterAll, describe, expect, it } from 'vitest';
import { type NativeProcessor, openNative } from '../../native/processor.ts';
import { runCampaign } from './campaign.ts';

const native = openNative();

/** PARAVANE_CPU_INSTANCES and PARAVANE_CPU_SEED make a longer run, or another one; PARAVANE_CPU_ONLY names forms. */
const instances = Number(process.env.PARAVANE_CPU_INSTANCES ?? 200_000);
const seed = Number(process.env.PARAVANE_CPU_SEED ?? 20260101);
const only = (process.env.PARAVANE_CPU_ONLY ?? '').split(',').filter((name) => name !== '');

describe.skipIf(typeof native === 'string')('both tiers against the host processor', () => {
  afterAll(() => (native as NativeProcessor).close());

  it(`agree on ${instances} random instructions`, { timeout: 0 }, () => {
    const campaign = runCampaign(native as NativeProcessor, instances, seed, only);
    expect(campaign.failures.join('\n')).toBe('');
    expect(campaign.instances).toBeGreaterThanOrEqual(instances);
    expect(campaign.forms).toBeGreaterThan(only.length > 0 ? 0 : 500);
  });

  it('agree on instructions with more prefixes in front', { timeout: 0 }, () => {
    const campaign = runCampaign(native as NativeProcessor, instances / 4, seed, only, 40, true);
    expect(campaign.failures.join('\n')).toBe('');
    expect(campaign.instances).toBeGreaterThanOrEqual(instances / 4);
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${String(native)}`, () => {
  expect(native).toBeTypeOf('string');
});
