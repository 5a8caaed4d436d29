/** Translated code is bounded: how many modules are in use, and that those dropped are collected. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as L from '../../src/x86/layout.ts';
import { makeProcessor } from './differential/guest.ts';
import { CODE, enterLongMode } from './long-mode.ts';

const FUNCTIONS = 200;

/** Puts the functions, each a block of its own, where they belong. */
function load(cpu: ReturnType<typeof makeProcessor>): void {
  for (let n = 0; n < FUNCTIONS; n++)
    // add ebx, n; hlt
    cpu.guestMemory.write(CODE + 64 * n, Uint8Array.of(0x81, 0xc3, n & 255, n >> 8, 0, 0, 0xf4));
  enterLongMode(cpu);
}

/** Runs a function, which must add its number to RBX. */
function runOne(cpu: ReturnType<typeof makeProcessor>, n: number): void {
  const view = new DataView(cpu.engine.memory.buffer);
  view.setBigUint64(L.RBX, 7n, true);
  view.setBigUint64(L.RIP, BigInt(CODE + 64 * n), true);
  view.setInt32(L.HALTED, 0, true);
  expect(cpu.run(1000)).toBe('halted');
  expect(Number(view.getBigUint64(L.RBX, true))).toBe(7 + n);
}

/** Loads all functions and runs each, `rounds` times. */
function runAll(cpu: ReturnType<typeof makeProcessor>, rounds: number): void {
  load(cpu);
  for (let round = 0; round < rounds; round++) for (let n = 0; n < FUNCTIONS; n++) runOne(cpu, n);
}

describe('modules of translated code', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('are given up when there are too many, and made again', { timeout: 60_000 }, () => {
    const bounded = makeProcessor(1, {}, { maxModules: 10 });
    runAll(bounded, 3);
    const { regionModules, modulesInUse, modulesEvicted } = bounded.stats();
    expect(regionModules).toBeGreaterThan(FUNCTIONS);
    expect(modulesInUse).toBeLessThanOrEqual(10);
    expect(modulesEvicted).toBe(regionModules! - modulesInUse!);
    const free = makeProcessor(1);
    runAll(free, 3);
    expect(free.stats()['modulesInUse']).toBe(free.stats()['regionModules']);
    expect(free.stats()['modulesEvicted']).toBe(0);
    expect(free.stats()['codeFlushes']).toBeLessThan(3);
  });

  it('stay when they are in use, whatever comes and goes', () => {
    const cpu = makeProcessor(1, {}, { maxModules: 10 });
    load(cpu);
    for (let n = 1; n < FUNCTIONS; n++) {
      runOne(cpu, n);
      runOne(cpu, 0);
    }
    const { regionModules, modulesEvicted } = cpu.stats();
    expect(regionModules).toBe(FUNCTIONS);
    expect(modulesEvicted).toBeGreaterThan(FUNCTIONS - 12);
  });

  it('are given up when they take more memory than they may', { timeout: 60_000 }, () => {
    const bounded = makeProcessor(1, {}, { cacheBytes: 400_000 });
    const most: number[] = [];
    for (let round = 0; round < 3; round++) {
      runAll(bounded, 1);
      most.push(bounded.stats()['hostBytesInUse']!);
    }
    // what a module takes is known when it is there
    expect(Math.max(...most)).toBeLessThan(400_000 + 25_000);
    const { modulesEvicted, modulesInUse, regionModules } = bounded.stats();
    expect(modulesEvicted).toBeGreaterThan(2 * FUNCTIONS);
    expect(modulesInUse).toBeLessThan(20);
    expect(regionModules).toBeGreaterThan(FUNCTIONS);
  });

  it('are collected in time: V8 hears of them when many are dropped', { timeout: 120_000 }, () => {
    const large: number[] = [];
    const Plain = ArrayBuffer;
    vi.stubGlobal(
      'ArrayBuffer',
      class extends Plain {
        constructor(bytes: number, ...more: []) {
          if (bytes > 64 * 2 ** 20) large.push(bytes);
          super(bytes > 64 * 2 ** 20 ? 0 : bytes, ...more);
        }
      },
    );
    runAll(makeProcessor(1, {}, { maxModules: 10 }), 12);
    expect(large).toEqual([]);
    runAll(makeProcessor(1, {}, { maxModules: 10 }), 24);
    expect(large).toHaveLength(1);
  });
});
