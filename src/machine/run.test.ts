import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../core/memory.ts';
import type { CpuInterface, RunResult } from '../x86/cpu.ts';
import { MachineClock } from './clock.ts';
import { RunLoop } from './run.ts';
import type { WakeUp, Yielder } from './run.ts';

/** Time that moves by one microsecond for 1000 instructions, and as long as asked when slept. */
class World implements Yielder {
  time = 0;
  yields = 0;
  naps = 0;
  sleeps: number[] = [];
  onYield: () => void = () => {};
  monotonic = () => this.time;
  wall = () => 1e12 + this.time / 1e6;
  async yieldToHost(): Promise<void> {
    this.yields++;
    this.onYield();
  }
  sleep(milliseconds: number, wake: WakeUp): Promise<void> {
    this.sleeps.push(milliseconds);
    if (Number.isFinite(milliseconds)) {
      this.time += milliseconds * 1e6;
      return Promise.resolve();
    }
    return new Promise((resolve) => wake.listen(resolve));
  }
  nap(milliseconds: number): void {
    this.naps++;
    this.time += milliseconds * 1e6;
  }
}

class FakeCpu implements CpuInterface {
  readonly guestMemory = GuestMemory.create(4096);
  instructionCount = 0;
  interrupt = false;
  runs: number[] = [];
  behave: (budget: number) => RunResult = () => 'budget';
  readonly world: World;
  constructor(world: World) {
    this.world = world;
  }
  mapRom(): void {}
  reset(): void {}
  enter(): void {}
  run(budget: number): RunResult {
    this.runs.push(budget);
    const result = this.behave(budget);
    if (result === 'budget') {
      this.instructionCount += budget;
      this.world.time += budget;
    }
    return result;
  }
  setInterrupt(level: boolean): void {
    this.interrupt = level;
  }
  nmi(): void {}
  stop(): void {}
  stats() {
    return {};
  }
  describeRegisters() {
    return '';
  }
}

function machine() {
  const world = new World();
  const cpu = new FakeCpu(world);
  const clock = new MachineClock(world);
  const seen = { shutdowns: 0, requests: 0 };
  const loop = new RunLoop(cpu, clock, world, {
    onShutdown: () => {
      seen.shutdowns++;
      loop.end();
    },
    onRequest: () => {
      seen.requests++;
    },
  });
  return { world, cpu, clock, loop, seen };
}

describe('run loop', () => {
  it('gives the host a turn every slice while the guest computes', async () => {
    const { world, loop, cpu } = machine();
    world.onYield = () => {
      if (world.yields === 10) loop.end();
    };
    loop.resume();
    await loop.run();
    expect(world.yields).toBe(10);
    // 1 instruction is 1 ns here: ten slices of about 2 ms.
    expect(world.time).toBeGreaterThan(18e6);
    expect(world.time).toBeLessThan(24e6);
    expect(cpu.runs.length).toBeGreaterThan(50);
  });

  it('fires timers within a quantum of their deadline', async () => {
    const { world, loop, clock } = machine();
    let fired = -1;
    clock.schedule(1_234_567, () => {
      fired = clock.now();
      loop.end();
    });
    loop.resume();
    await loop.run();
    expect(fired).toBeGreaterThanOrEqual(1_234_567);
    expect(fired).toBeLessThan(1_234_567 + 200_000);
    expect(world.sleeps).toEqual([]);
  });

  it('does not run long in what is slow because something before it was fast', async () => {
    const { world, loop, cpu } = machine();
    let nanoseconds = 0.01;
    const took: number[] = [];
    cpu.behave = (budget) => {
      cpu.instructionCount += budget;
      world.time += budget * nanoseconds;
      took.push(budget * nanoseconds);
      if (took.length === 100) nanoseconds = 20;
      if (took.length === 200) loop.end();
      return 'stopped';
    };
    loop.resume();
    await loop.run();
    expect(took[100]).toBeLessThanOrEqual(5e6);
    // known from then on
    for (const time of took.slice(101)) expect(time).toBeLessThan(310_000);
  });

  it('tells the processor until when it should run', async () => {
    const { loop, cpu, clock } = machine();
    const times: [number, number][] = [];
    const run = cpu.run.bind(cpu);
    cpu.run = (budget, until?: number) => {
      times.push([clock.now(), until!]);
      return run(budget);
    };
    clock.schedule(50_000, () => {});
    clock.schedule(600_000, () => loop.end());
    loop.resume();
    await loop.run();
    expect(times[0]).toEqual([0, 50_000]);
    for (const [now, until] of times.slice(1))
      expect(until).toBe(Math.min(now + 200_000, now < 50_000 ? 50_000 : 600_000));
  });

  it('sleeps while the processor is halted, until the next timer raises an interrupt', async () => {
    const { world, loop, clock, cpu } = machine();
    let halted = 0;
    cpu.behave = () => {
      halted++;
      if (cpu.interrupt) loop.end();
      return 'halted';
    };
    clock.schedule(50e6, () => loop.setInterrupt(true));
    loop.resume();
    await loop.run();
    expect(halted).toBe(2);
    expect(world.sleeps.length).toBe(1);
    expect(world.sleeps[0]).toBeCloseTo(50, 0);
    expect(loop.slept).toBeGreaterThan(49e6);
  });

  it('listens in place of a nap while input comes', async () => {
    const { world, loop, cpu, clock } = machine();
    cpu.behave = () => 'halted';
    const late: number[] = [];
    world.onYield = () => {
      world.time += 10_000;
      // During the wait before the first timer, where a nap would begin.
      if (world.yields === 2) loop.setInterrupt(true);
    };
    for (const at of [500_000, 900_000]) clock.schedule(at, () => late.push(clock.now() - at));
    clock.schedule(950_000, () => loop.end());
    loop.resume();
    await loop.run();
    expect(world.naps).toBe(0);
    expect(world.yields).toBeGreaterThan(80);
    expect(Math.max(...late)).toBeLessThan(20_000);
  });

  it('naps when the next timer is nearer than a millisecond', async () => {
    const { world, loop, clock, cpu } = machine();
    cpu.behave = () => {
      if (cpu.interrupt) loop.end();
      return 'halted';
    };
    clock.schedule(300_000, () => loop.setInterrupt(true));
    loop.resume();
    await loop.run();
    expect(world.naps).toBe(1);
    expect(world.sleeps).toEqual([]);
  });

  it('wakes from an endless sleep when a device raises an interrupt', async () => {
    const { world, loop, cpu } = machine();
    cpu.behave = () => {
      if (cpu.interrupt) loop.end();
      else setTimeout(() => loop.setInterrupt(true), 5);
      return 'halted';
    };
    loop.resume();
    await loop.run();
    expect(world.sleeps).toEqual([Number.POSITIVE_INFINITY]);
    expect(cpu.runs.length).toBe(2);
  });

  it('does not spin when an interrupt is pending but the processor halted with interrupts disabled', async () => {
    const { world, loop, cpu } = machine();
    cpu.behave = () => 'halted';
    loop.resume();
    loop.setInterrupt(true);
    setTimeout(() => loop.end(), 20);
    await loop.run();
    expect(cpu.runs.length).toBeLessThan(4);
    expect(world.sleeps.length).toBeLessThan(4);
  });

  it('stops time while paused', async () => {
    const { world, loop, clock } = machine();
    world.onYield = () => {
      if (world.yields === 1) {
        loop.pause();
        const at = clock.now();
        setTimeout(() => {
          world.time += 5e9;
          expect(clock.now()).toBe(at);
          loop.resume();
        }, 5);
      } else loop.end();
    };
    loop.resume();
    await loop.run();
    expect(clock.now()).toBeLessThan(1e9);
    expect(world.sleeps).toEqual([Number.POSITIVE_INFINITY]);
  });

  it('tells of a triple fault', async () => {
    const { loop, cpu, seen } = machine();
    cpu.behave = () => 'shutdown';
    loop.resume();
    await loop.run();
    expect(seen.shutdowns).toBe(1);
  });

  it('serves requests outside the processor', async () => {
    const { loop, world, seen } = machine();
    loop.resume();
    loop.request();
    world.onYield = () => loop.end();
    await loop.run();
    expect(seen.requests).toBe(1);
  });

  it('starts paused until it is resumed', async () => {
    const { loop, cpu } = machine();
    setTimeout(() => {
      expect(cpu.runs.length).toBe(0);
      loop.end();
    }, 5);
    await loop.run();
  });
});

describe('machine clock', () => {
  it('stands still until it is started, and follows the host from there', () => {
    const world = new World();
    const clock = new MachineClock(world);
    world.time += 2e9;
    expect(clock.now()).toBe(0);
    clock.cont();
    world.time += 3e9;
    expect(clock.now()).toBe(3e9);
    clock.stop();
    world.time += 1e9;
    expect(clock.now()).toBe(3e9);
    expect(clock.wallClock()).toBe(1e12 + 6000);
  });
});
