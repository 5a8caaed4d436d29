import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../core/bus.ts';
import { ManualClock, TimerQueue } from '../core/clock.ts';
import { PIT_HZ, Pit } from './pit.ts';
import { nsOfTick, ticksAt } from './ticks.ts';

function rig() {
  const ports = new AddressSpace('ports');
  const clock = new ManualClock();
  let edges = 0;
  let level = true;
  const pit = new Pit(ports, clock, {
    set: (value) => {
      if (value && !level) edges++;
      level = value;
    },
  });
  const out = (port: number, ...values: number[]): void => {
    for (const value of values) ports.write(port, 1, value);
  };
  return { ports, clock, pit, out, edges: () => edges, in: (port: number) => ports.read(port, 1) };
}

describe('tick conversion', () => {
  it('is exact both ways after a month', () => {
    const month = 30 * 86_400;
    expect(ticksAt(month * 1e9, PIT_HZ)).toBe(month * PIT_HZ);
    for (let i = 0; i < 1000; i++) {
      const tick = month * PIT_HZ + i * 7919;
      expect(ticksAt(nsOfTick(tick, PIT_HZ), PIT_HZ)).toBe(tick);
      expect(ticksAt(nsOfTick(tick, PIT_HZ) - 1, PIT_HZ)).toBe(tick - 1);
    }
  });
});

describe('8254', () => {
  it('mode 2 interrupts once a period: 1000 Hz for a second', () => {
    const r = rig();
    r.out(0x43, 0x34);
    r.out(0x40, 1193 & 0xff, 1193 >> 8);
    r.clock.advance(1e9);
    expect(r.edges()).toBe(Math.floor(PIT_HZ / 1193));
  });

  it('mode 3 keeps interrupting with the largest count', () => {
    const r = rig();
    r.out(0x43, 0x36);
    r.out(0x40, 0, 0);
    r.clock.advance(10e9);
    expect(r.edges()).toBe(Math.floor((10 * PIT_HZ) / 65536));
  });

  it('mode 0 interrupts once', () => {
    const r = rig();
    r.out(0x43, 0x30);
    r.out(0x40, 100, 0);
    expect(r.pit.output(0)).toBe(false);
    r.clock.advance(nsOfTick(100, PIT_HZ) - 1);
    expect(r.edges()).toBe(0);
    r.clock.advance(1);
    expect(r.edges()).toBe(1);
    expect(r.pit.output(0)).toBe(true);
    r.clock.advance(1e9);
    expect(r.edges()).toBe(1);
  });

  it('mode 4, the one-shot of Linux, gives one edge for each load', () => {
    const r = rig();
    r.out(0x43, 0x38);
    for (let i = 1; i <= 3; i++) {
      r.out(0x40, 0x10, 0x27);
      r.clock.advance(20e6);
      expect(r.edges()).toBe(i);
    }
  });

  it('latches a count while it goes on counting', () => {
    const r = rig();
    r.out(0x43, 0x34);
    r.out(0x40, 0x00, 0x80);
    r.clock.advance(nsOfTick(0x1234, PIT_HZ));
    r.out(0x43, 0x00);
    r.clock.advance(5e6);
    expect(r.in(0x40) | (r.in(0x40) << 8)).toBe(0x8000 - 0x1234);
  });

  it('reads back status, then count', () => {
    const r = rig();
    r.out(0x43, 0xb0);
    r.out(0x42, 10, 0);
    r.out(0x61, 1);
    r.out(0x43, 0xc8);
    expect(r.in(0x42)).toBe(0x30);
    expect(r.in(0x42) | (r.in(0x42) << 8)).toBe(10);
    r.clock.advance(1e6);
    r.out(0x43, 0xe8);
    expect(r.in(0x42)).toBe(0xb0);
  });

  it('counts in BCD', () => {
    const r = rig();
    r.out(0x43, 0x35);
    r.out(0x40, 0x00, 0x10);
    r.clock.advance(nsOfTick(1, PIT_HZ));
    expect(r.in(0x40)).toBe(0x99);
    expect(r.in(0x40)).toBe(0x09);
  });

  it('channel 2 through port 61h: Linux waits for OUT2 to calibrate', () => {
    const r = rig();
    r.out(0x61, (r.in(0x61) & ~2) | 1);
    r.out(0x43, 0xb0);
    const count = Math.floor(PIT_HZ / 20);
    r.out(0x42, count & 0xff, count >> 8);
    expect(r.in(0x61) & 0x20).toBe(0);
    r.clock.advance(49.9e6);
    expect(r.in(0x61) & 0x20).toBe(0);
    r.clock.advance(0.2e6);
    expect(r.in(0x61) & 0x20).toBe(0x20);
  });

  it('a low gate stops mode 0 where it is', () => {
    const r = rig();
    r.out(0x61, 1);
    r.out(0x43, 0xb0);
    r.out(0x42, 0xe8, 0x03);
    r.clock.advance(nsOfTick(400, PIT_HZ));
    r.out(0x61, 0);
    r.clock.advance(1e9);
    expect(r.in(0x42) | (r.in(0x42) << 8)).toBe(600);
    r.out(0x61, 1);
    r.clock.advance(nsOfTick(600, PIT_HZ));
    expect(r.in(0x61) & 0x20).toBe(0x20);
  });

  it('makes up for what it missed while the host was busy, one edge at a time', () => {
    const ports = new AddressSpace('ports');
    const timers = new TimerQueue();
    let now = 0;
    let edges = 0;
    const clock = {
      now: () => now,
      wallClock: () => 0,
      schedule: (deadline: number, fire: () => void) => timers.schedule(deadline, fire),
    };
    new Pit(ports, clock, { set: (value) => void (value && edges++) });
    // a little more than 4773 ticks
    const period = 4_000_300;
    ports.write(0x43, 1, 0x34);
    for (const value of [4773 & 0xff, 4773 >> 8]) ports.write(0x40, 1, value);
    const turn = (nanoseconds: number): number => {
      now += nanoseconds;
      const before = edges;
      timers.run(now);
      return edges - before;
    };
    turn(period);
    // ten periods without a turn: one edge at once, the others soon
    expect(turn(10 * period)).toBe(1);
    let caught = 0;
    for (let i = 0; i < 40; i++) {
      const here = turn(period / 10);
      expect(here).toBeLessThanOrEqual(1);
      caught += here;
    }
    expect(caught).toBe(9 + 4);
    for (let i = 0; i < 50; i++) caught += turn(period / 10);
    expect(caught).toBe(9 + 4 + 5);
    // an hour is not made up for
    turn(3600e9);
    caught = 0;
    for (let i = 0; i < 1000; i++) caught += turn(period / 10);
    expect(caught).toBeLessThan(100 + 105);
  });

  it('bounds the rate that a guest can ask for', () => {
    const r = rig();
    r.out(0x43, 0x34);
    r.out(0x40, 2, 0);
    r.clock.advance(1e9);
    expect(r.edges()).toBeLessThanOrEqual(100_000);
    expect(r.edges()).toBeGreaterThan(90_000);
  });
});
