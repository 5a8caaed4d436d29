/** Which translations a processor is given of earlier runs: those of processors that understand code as it does. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Tracer } from '../core/trace.ts';
import type { RegionStore } from '../core/translation-store.ts';
import type { CpuRequest } from './host.ts';
import { createProcessor } from './processor.ts';

const runtime = 'dist/x86/runtime.wasm';

/** The kinds for which a store is asked when such a processor is made. */
function kinds(request: Partial<CpuRequest>): string[] {
  const asked: string[] = [];
  const store = (kind: string): RegionStore => {
    asked.push(kind);
    return { find: () => [], keep: () => {} };
  };
  const bus = { readTsc: () => 0 } as unknown as CpuRequest['bus'];
  const cpu = { model: 'max', add: [], remove: [] };
  const given: CpuRequest = {
    cpu,
    ramBelow4G: 1 << 20,
    ramAbove4G: 0,
    bus,
    tracer: new Tracer(),
    count: false,
    deterministic: false,
    keepTranslations: true,
    translationBytes: 0,
    ...request,
  };
  createProcessor(readFileSync(runtime), undefined, given, { store });
  return asked;
}

it.skipIf(!existsSync(runtime))(
  'asks for a store of its kind: features and counters, not the amount of RAM',
  () => {
    const [usual] = kinds({});
    expect(usual).toMatch(/^[0-9a-f]+$/);
    expect(kinds({ ramBelow4G: 2 << 20 })).toEqual([usual]);
    const others = [
      kinds({ count: true }),
      kinds({ cpu: { model: 'max', add: [], remove: ['popcnt'] } }),
      kinds({ cpu: { model: 'max', add: [], remove: ['movbe'] } }),
    ].flat();
    expect(new Set([usual, ...others]).size).toBe(4);
  },
);

it.skipIf(!existsSync(runtime))('asks for none when it shall not, or when instructions are counted', () => {
  expect([kinds({ keepTranslations: false }), kinds({ deterministic: true })]).toEqual([[], []]);
});
