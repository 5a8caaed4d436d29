import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../core/bus.ts';
import { TimerQueue } from '../core/clock.ts';
import { Tracer } from '../core/trace.ts';
import { Hpet } from './hpet.ts';
import { PcRig } from './rig.ts';

const HPET = 0xfed00000;

function rig(machine: 'pc' | 'q35' = 'pc') {
  const pc = new PcRig(machine);
  // APIC mode, 8259 pair shut off.
  pc.setApic(0xf0, 0x1ff);
  pc.setApic(0x350, 0x10700);
  const read = (offset: number): number => pc.mmio.read(HPET + offset, 4);
  const write = (offset: number, value: number): void => pc.mmio.write(HPET + offset, 4, value);
  /** How often `vector` came in `ns`, looking `steps` times. */
  const count = (vector: number, ns: number, steps: number): number => {
    let n = 0;
    for (let i = 0; i < steps; i++) {
      pc.clock.advance(ns / steps);
      while (pc.acknowledge() === vector) {
        n++;
        pc.setApic(0xb0, 0);
      }
    }
    return n;
  };
  return { pc, read, write, count };
}

/** One alone, with timer 0 periodic at 250 Hz, under a clock that the test holds. */
function bareHpet(now: () => number) {
  const mmio = new AddressSpace('mmio');
  const timers = new TimerQueue();
  let edges = 0;
  new Hpet({
    mmio,
    base: HPET,
    clock: {
      now,
      wallClock: () => 0,
      schedule: (deadline, fire) => timers.schedule(deadline, fire),
    },
    tracer: new Tracer(),
    gsi: () => ({ set: (level) => void (level && edges++) }),
    legacy: () => {},
    routes: 0xff0104,
  });
  // enable, periodic, set value, 32-bit; comparator and period; go, in legacy replacement
  for (const [offset, value] of [
    [0x100, 0x4 | 0x8 | 0x40 | 0x100],
    [0x108, 400_000],
    [0x108, 400_000],
    [0x10, 3],
  ] as const)
    mmio.write(HPET + offset, 4, value);
  return { timers, edges: () => edges };
}

describe('HPET', () => {
  it('says what it is', () => {
    const { read } = rig();
    expect(read(0x000)).toBe(0x8086a201);
    expect(read(0x004)).toBe(10_000_000);
    expect(read(0x100)).toBe(0x30);
    expect(read(0x104)).toBe(0x04);
    expect(rig('q35').read(0x104)).toBe(0xff0104);
  });

  it('counts at 100 MHz while enabled, in 64 bits', () => {
    const { pc, read, write } = rig();
    pc.clock.advance(1e6);
    expect(read(0xf0)).toBe(0);
    write(0xf4, 1);
    write(0xf0, 0xffffff00);
    write(0x10, 1);
    pc.clock.advance(10_000);
    expect(read(0xf0)).toBe(0xffffff00 + 1000 - 2 ** 32);
    expect(read(0xf4)).toBe(2);
    write(0x10, 0);
    pc.clock.advance(1e6);
    expect(read(0xf0)).toBe(0xffffff00 + 1000 - 2 ** 32);
  });

  it('ticks periodically in legacy replacement, where PIT and RTC are silent', () => {
    const { pc, write, count } = rig();
    pc.setIoapic(0x10 + 4, 0x30);
    pc.outb(0x43, 0x34);
    pc.outb(0x40, 0xa9);
    pc.outb(0x40, 0x04);
    // As Linux sets timer 0: enable, periodic, set value, 32-bit; then comparator and period.
    write(0x100, 0x4 | 0x8 | 0x40 | 0x100);
    write(0x108, 400_000);
    write(0x108, 400_000);
    write(0x10, 3);
    // The PIT's output went high when it was programmed: that edge is still pending.
    expect(count(0x30, 0, 1)).toBe(1);
    expect(count(0x30, 1e9, 1000)).toBe(250);
    write(0x10, 0);
    expect(count(0x30, 1e8, 1000)).toBeGreaterThan(90);
  });

  it('makes up for edges that it missed while the host was busy, one at a time', () => {
    let now = 0;
    const { timers, edges } = bareHpet(() => now);
    const turn = (nanoseconds: number): number => {
      now += nanoseconds;
      const before = edges();
      timers.run(now);
      return edges() - before;
    };
    const period = 4e6;
    turn(period);
    expect(turn(10 * period)).toBe(1);
    let caught = 0;
    for (let i = 0; i < 20; i++) caught += turn(period / 10);
    expect(caught).toBe(9 + 2);
    for (let i = 0; i < 50; i++) caught += turn(period / 10);
    expect(caught).toBe(9 + 2 + 5);
  });

  it('goes on without the host while it interrupts nobody', () => {
    const { pc, read, write, count } = rig();
    pc.setIoapic(0x10 + 4, 0x30);
    // periodic, set value, 32-bit; no interrupt
    write(0x100, 0x8 | 0x40 | 0x100);
    write(0x108, 400_000);
    write(0x108, 400_000);
    const before = pc.clock.timers.next();
    write(0x10, 3);
    pc.clock.timers.run(pc.clock.now());
    expect(pc.clock.timers.next()).toBe(before);
    expect(read(0x108)).toBe(400_000);
    pc.clock.advance(10 * 4e6 + 1000);
    expect(read(0x108)).toBe(11 * 400_000);
    // heard again: the next period ends when it would have, and nobody is told of those before
    write(0x100, 0x4 | 0x8 | 0x100);
    expect(count(0x30, 0, 1)).toBe(0);
    expect(count(0x30, 4e6 - 2000, 10)).toBe(0);
    expect(count(0x30, 2000, 10)).toBe(1);
    expect(count(0x30, 1e9, 1000)).toBe(250);
  });

  it('is not met a round of its counter later when it is passed while it is set', () => {
    let now = 0;
    // time goes on at each look
    const { timers, edges } = bareHpet(() => (now += 100));
    for (let period = 2; period < 100; period++) {
      // just before the next one ends
      now = period * 4e6 - 150;
      timers.run(now);
    }
    expect(edges()).toBeGreaterThan(95);
  });

  it('fires a one-shot comparator once', () => {
    const { pc, read, write, count } = rig('q35');
    pc.setIoapic(0x10 + 2 * 20, 0x55);
    write(0x140, 0x4 | (20 << 9));
    write(0x148, 5000);
    write(0x14c, 0);
    write(0x10, 1);
    expect(count(0x55, 49_900, 1)).toBe(0);
    expect(count(0x55, 200, 1)).toBe(1);
    expect(count(0x55, 1e9, 10)).toBe(0);
    expect(read(0x20)).toBe(0);
  });

  it('holds a level-triggered line until its status bit is cleared', () => {
    const { pc, read, write } = rig('q35');
    pc.setIoapic(0x10 + 2 * 20, 0x8055);
    write(0x120, 0x4 | 0x2 | (20 << 9));
    write(0x128, 100);
    write(0x12c, 0);
    write(0x10, 1);
    pc.clock.advance(2000);
    expect(pc.acknowledge()).toBe(0x55);
    expect(read(0x20)).toBe(2);
    pc.setApic(0xb0, 0);
    expect(pc.acknowledge()).toBe(0x55);
    write(0x20, 2);
    pc.setApic(0xb0, 0);
    expect(pc.interrupt).toBe(false);
  });

  it('warns of a route that a timer does not have, and bounds its rate', () => {
    const { pc, write } = rig();
    write(0x100, 0x4 | 0x8 | 0x40 | 0x100 | (5 << 9));
    write(0x108, 1);
    write(0x108, 1);
    write(0x10, 1);
    const before = performance.now();
    pc.clock.advance(1e8);
    expect(performance.now() - before).toBeLessThan(2000);
    expect(pc.warnings).toEqual(['hpet: timer 0 is routed to input 5, which it cannot reach']);
  });

  it('is absent when told', () => {
    const pc = new PcRig('pc', { hpet: false });
    expect(pc.mmio.read(HPET, 4)).toBe(0xffffffff);
    expect(pc.platform.info.hpetAddress).toBeUndefined();
  });
});
