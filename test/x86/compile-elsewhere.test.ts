/** Regions that are compiled on another thread: used when they are ready, unless their code has changed meanwhile. */
import { describe, expect, it } from 'vitest';
import * as L from '../../src/x86/layout.ts';
import { makeProcessor } from './differential/guest.ts';
import { CODE, enterLongMode } from './long-mode.ts';

function rig() {
  const jobs: { compile(): Promise<void>; fail(): Promise<void> }[] = [];
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const cpu = makeProcessor(
    1,
    {},
    {
      compile: (code) => {
        const copy = code.slice();
        return new Promise((resolve, reject) => {
          jobs.push({
            compile: () => (resolve(new WebAssembly.Module(copy)), settle()),
            fail: () => (reject(new RangeError('no room')), settle()),
          });
        });
      },
    },
  );
  const view = new DataView(cpu.engine.memory.buffer);
  enterLongMode(cpu);
  // add ebx, 3; hlt
  cpu.guestMemory.write(CODE, Uint8Array.of(0x83, 0xc3, 3, 0xf4));
  /** What a run adds to RBX. */
  const run = (): number => {
    view.setBigUint64(L.RBX, 0n, true);
    view.setBigUint64(L.RIP, BigInt(CODE), true);
    view.setInt32(L.HALTED, 0, true);
    expect(cpu.run(1000)).toBe('halted');
    return Number(view.getBigUint64(L.RBX, true));
  };
  return { cpu, jobs, run, regions: () => cpu.stats()['regions'] };
}

describe('code that is compiled elsewhere', () => {
  it('is interpreted until it is ready', async () => {
    const { jobs, run, regions, cpu } = rig();
    for (let n = 0; n < 200; n++) expect(run()).toBe(3);
    expect([jobs.length, regions()]).toEqual([1, 0]);
    await jobs[0]!.compile();
    expect(regions()).toBe(1);
    const before = cpu.stats()['regionRuns']!;
    for (let n = 0; n < 10; n++) expect(run()).toBe(3);
    expect(cpu.stats()['regionRuns']! - before).toBe(10);
    expect(jobs).toHaveLength(1);
  });

  it('is not used when the guest has changed it meanwhile', async () => {
    const { cpu, jobs, run, regions } = rig();
    for (let n = 0; n < 5; n++) run();
    cpu.guestMemory.write(CODE + 2, Uint8Array.of(5));
    expect(run()).toBe(5);
    await jobs[0]!.compile();
    expect([regions(), cpu.stats()['regionsCompiledTooLate']]).toEqual([0, 1]);
    for (let n = 0; n < 5; n++) expect(run()).toBe(5);
    await jobs.at(-1)!.compile();
    expect([run(), regions()]).toEqual([5, 1]);
  });

  it('is not used when all code was forgotten meanwhile', async () => {
    const { cpu, jobs, run, regions } = rig();
    for (let n = 0; n < 5; n++) run();
    cpu.code.flushAll();
    cpu.code.releaseRetired();
    await jobs[0]!.compile();
    expect([run(), regions()]).toEqual([3, 0]);
  });

  it('goes on being interpreted when it cannot be compiled, and is tried again', async () => {
    const { jobs, run, regions } = rig();
    for (let n = 0; n < 5; n++) run();
    await jobs[0]!.fail();
    expect(regions()).toBe(0);
    for (let n = 0; n < 200; n++) expect(run()).toBe(3);
    expect(jobs.length).toBeGreaterThan(1);
    await jobs.at(-1)!.compile();
    expect([run(), regions()]).toEqual([3, 1]);
  });
});
