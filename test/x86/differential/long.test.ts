import { setFlagsFromString } from 'node:v8';
import { afterAll, describe, expect, it } from 'vitest';
import { type NativeProcessor, openNative } from '../../native/processor.ts';
import { MemoryStore } from '../memory-store.ts';
import { optimiserOnly } from './optimiser-only.ts';
import { runLongPrograms } from './long-campaign.ts';

/**
 * PARAVANE_CPU_LONG and PARAVANE_CPU_SEED make a longer run, or another one; PARAVANE_CPU_PROGRAM runs one program of a
 * seed. PARAVANE_CPU_KEPT is for runs where processors use what others have translated. PARAVANE_CPU_TIER is V8's compiler for what is translated: `liftoff`, `turbofan`, or as V8 likes.
 */
const instances = Number(process.env.PARAVANE_CPU_LONG ?? 10_000);
const seed = Number(process.env.PARAVANE_CPU_SEED ?? 20260104);
const inputs = Number(process.env.PARAVANE_CPU_INPUTS ?? 6);
const kept = Number(
  process.env.PARAVANE_CPU_KEPT ?? (process.env.PARAVANE_CPU_LONG === undefined ? 3000 : 0),
);
const only = process.env.PARAVANE_CPU_PROGRAM;
const tier = process.env.PARAVANE_CPU_TIER;
if (tier === 'liftoff') setFlagsFromString('--liftoff-only');
if (tier === 'turbofan') optimiserOnly();

const native = openNative();

describe.skipIf(typeof native === 'string')('long programs against the host processor', () => {
  afterAll(() => (native as NativeProcessor).close());

  it(`${instances} runs leave the same state`, { timeout: 0 }, () => {
    const program = only === undefined ? undefined : Number(only);
    const campaign = runLongPrograms(native as NativeProcessor, instances, seed, inputs, program);
    expect(campaign.failures.join('\n')).toBe('');
    if (only !== undefined) return;
    process.stderr.write(`${JSON.stringify({ ...campaign, failures: undefined })}\n`);
    expect(campaign.instances).toBeGreaterThanOrEqual(instances);
    if (campaign.programs < 100) return;
    // most run to their end, some do not, and some change themselves
    expect(campaign.faults).toBeGreaterThan(campaign.programs / 20);
    expect(campaign.faults).toBeLessThan((campaign.programs * inputs) / 2);
    expect(campaign.modifying).toBeGreaterThan(campaign.programs / 20);
    expect(campaign.regionRuns).toBeGreaterThan(campaign.programs);
  });

  it.runIf(kept > 0)(
    `${kept} runs of what others have translated leave the same state`,
    { timeout: 0 },
    () => {
      const sum = { instances: 0, programs: 0, regions: 0, regionsUsedAgain: 0 };
      for (let round = seed; sum.instances < kept; round++) {
        const store = new MemoryStore();
        const share = Math.min(Math.ceil(kept / 2), 4000);
        const run = () =>
          runLongPrograms(native as NativeProcessor, share, round, inputs, undefined, undefined, store);
        const [first, second] = [run(), run()];
        for (const campaign of [first, second]) {
          expect(campaign.failures.join('\n')).toBe('');
          for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += campaign[name];
        }
        // all that could be is there by now: what is still written comes of code that changes, or of other neighbours
        expect(second.regionsUsedAgain).toBeGreaterThan(second.regions / 2);
      }
      process.stderr.write(`${JSON.stringify(sum)}\n`);
    },
  );
});

it.runIf(typeof native === 'string')(`skipped here: ${String(native)}`, () => {
  expect(native).toBeTypeOf('string');
});
