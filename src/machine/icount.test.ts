import { describe, expect, it } from 'vitest';
import { MachineClock } from './clock.ts';
import type { IcountConfig } from './config.ts';
import { InstructionTime, seededRandom } from './icount.ts';

function make(config: Partial<IcountConfig>) {
  const host = { now: 5e9, monotonic: () => host.now, wall: () => 1.7e12 };
  const warnings: string[] = [];
  const cpu = { instructionCount: 0 };
  const time = new InstructionTime({ shift: 3, sleep: true, align: false, ...config }, host, (text) =>
    warnings.push(text),
  );
  time.attach(cpu);
  return { host, cpu, time, warnings };
}

describe('time made of instructions', () => {
  it('is 2^shift ns for each, whatever the host does', () => {
    const { host, cpu, time } = make({ shift: 4 });
    const clock = new MachineClock(time);
    clock.cont();
    host.now += 1e9;
    expect(clock.now()).toBe(0);
    cpu.instructionCount = 1000;
    expect(clock.now()).toBe(16_000);
    time.warp(500);
    expect(clock.now()).toBe(16_500);
    expect(time.budget(1600)).toBe(100);
    expect(time.budget(1601)).toBe(101);
    expect(time.budget(-5)).toBe(1);
    expect(time.budget(Number.POSITIVE_INFINITY)).toBeLessThan(1e6);
  });

  it('with shift=auto finds the pace of the host', () => {
    const { host, cpu, time } = make({ shift: 'auto' });
    time.resumed();
    let before = time.monotonic();
    // the processor does an instruction in 64 ns
    for (let i = 0; i < 300; i++) {
      host.now += 50e6;
      cpu.instructionCount += 50e6 / 64;
      expect(time.monotonic()).toBeGreaterThanOrEqual(before);
      time.keepPace();
      before = time.monotonic();
    }
    const [real, virtual] = [host.now, time.monotonic()];
    host.now += 1e9;
    for (let i = 0; i < 20; i++) {
      cpu.instructionCount += 50e6 / 64;
      time.keepPace();
    }
    const pace = (time.monotonic() - virtual) / (host.now - real);
    expect(pace).toBeGreaterThan(0.45);
    expect(pace).toBeLessThan(2.2);
  });

  it('with align=on waits when it is ahead and complains when it is late', () => {
    const { host, cpu, time, warnings } = make({ shift: 0, align: true });
    time.resumed();
    cpu.instructionCount = 50e6;
    expect(time.keepPace()).toBe(50e6);
    host.now += 50e6;
    expect(time.keepPace()).toBe(0);
    expect(warnings).toEqual([]);
    host.now += 1.5e9;
    time.keepPace();
    time.keepPace();
    expect(warnings).toEqual(['the guest is now late by 1.5 seconds']);
    // what a stop cost is not made up for
    time.resumed();
    expect(time.keepPace()).toBe(0);
  });
});

describe('random numbers of a seed', () => {
  const bytes = (seed: bigint, pieces: readonly number[]): number[] => {
    const random = seededRandom(seed);
    return pieces.flatMap((length) => {
      const view = new Uint8Array(length);
      random(view);
      return [...view];
    });
  };

  it('are the same however they are asked for, and others for another seed', () => {
    expect(bytes(3n, [4, 4, 1, 23])).toEqual(bytes(3n, [32]));
    expect(bytes(4n, [32])).not.toEqual(bytes(3n, [32]));
    // SplitMix64's first word of seed 0 is E220A8397B1DCDAFh
    expect(bytes(0n, [8])).toEqual([0xaf, 0xcd, 0x1d, 0x7b, 0x39, 0xa8, 0x20, 0xe2]);
  });
});
