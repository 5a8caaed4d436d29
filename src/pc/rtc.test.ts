import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../core/bus.ts';
import { ManualClock } from '../core/clock.ts';
import { Rtc, type RtcOptions } from './rtc.ts';

const EPOCH = Date.UTC(2024, 1, 29, 23, 59, 58);

function rig(options: RtcOptions = {}) {
  const ports = new AddressSpace('ports');
  const clock = new ManualClock(EPOCH);
  const levels: boolean[] = [];
  const rtc = new Rtc(ports, clock, { set: (level) => void levels.push(level) }, options);
  const read = (index: number): number => {
    ports.write(0x70, 1, index);
    return ports.read(0x71, 1);
  };
  const write = (index: number, value: number): void => {
    ports.write(0x70, 1, index);
    ports.write(0x71, 1, value);
  };
  const shown = (): number[] => [0x32, 9, 8, 7, 4, 2, 0].map(read);
  return { clock, rtc, read, write, shown, irq: () => levels.at(-1) ?? false };
}

describe('MC146818', () => {
  it('shows the time in BCD and 24 hours, and rolls over a leap day', () => {
    const r = rig();
    expect(r.shown()).toEqual([0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58]);
    expect(r.read(6)).toBe(5);
    r.clock.advance(2e9);
    expect(r.shown()).toEqual([0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00]);
    expect(r.read(13)).toBe(0x80);
  });

  it('shows binary and 12 hours when told', () => {
    const r = rig();
    r.write(11, 0x04);
    expect(r.shown()).toEqual([20, 24, 2, 29, 0x80 | 11, 59, 58]);
  });

  it('starts at -rtc base=DATE', () => {
    const r = rig({ base: Date.UTC(1999, 11, 31, 23, 59, 59), clock: 'vm' });
    r.clock.advance(1e9);
    expect(r.shown()).toEqual([0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]);
  });

  it('takes a date that is none in between, under SET', () => {
    const r = rig();
    r.write(11, 0x82);
    for (const [index, value] of [
      [9, 0x23],
      [8, 0x02],
      [7, 0x31],
      [8, 0x03],
      [4, 0x12],
      [2, 0x00],
      [0, 0x30],
    ] as const) {
      r.write(index, value);
    }
    r.clock.advance(5e9);
    expect(r.shown()).toEqual([0x20, 0x23, 0x03, 0x31, 0x12, 0x00, 0x30]);
    r.write(11, 0x02);
    r.clock.advance(5e9);
    expect(r.shown()).toEqual([0x20, 0x23, 0x03, 0x31, 0x12, 0x00, 0x35]);
  });

  it('shows UIP for the last 244 microseconds of a second', () => {
    const r = rig();
    expect(r.read(10) & 0x80).toBe(0);
    r.clock.advance(999.8e6);
    expect(r.read(10) & 0x80).toBe(0x80);
    r.clock.advance(0.2e6);
    expect(r.read(10) & 0x80).toBe(0);
  });

  it('interrupts at the periodic rate, once for each read of C', () => {
    const r = rig();
    r.write(10, 0x26);
    r.write(11, 0x42);
    let count = 0;
    for (let i = 0; i < 1024; i++) {
      r.clock.advance(Math.ceil((i + 1) * (1e9 / 1024)) - r.clock.now());
      if (r.irq()) count++;
      expect(r.read(12) & 0xc0).toBe(0xc0);
      expect(r.irq()).toBe(false);
    }
    expect(count).toBe(1024);
  });

  it('interrupts at each update with UIE', () => {
    const r = rig();
    r.write(11, 0x12);
    r.clock.advance(0.99e9);
    expect(r.irq()).toBe(false);
    r.clock.advance(0.02e9);
    expect(r.irq()).toBe(true);
    expect(r.read(12)).toBe(0x90);
    expect(r.irq()).toBe(false);
  });

  it('interrupts at the alarm', () => {
    const r = rig();
    r.write(1, 0x05);
    r.write(3, 0x00);
    r.write(5, 0x00);
    r.write(11, 0x22);
    r.clock.advance(6.9e9);
    expect(r.irq()).toBe(false);
    r.clock.advance(0.2e9);
    expect(r.irq()).toBe(true);
    expect(r.read(12) & 0xa0).toBe(0xa0);
  });

  it('treats C0h-FFh in an alarm register as "any"', () => {
    const r = rig();
    r.write(1, 0x03);
    r.write(3, 0xff);
    r.write(5, 0xc0);
    r.write(11, 0x22);
    for (let minute = 0; minute < 3; minute++) {
      r.clock.advance(60e9);
      expect(r.read(12) & 0x20).toBe(0x20);
    }
  });

  it('keeps memory and time over a reset, and turns interrupts off', () => {
    const r = rig();
    r.write(0x40, 0x5a);
    r.write(11, 0x72);
    r.rtc.reset();
    r.clock.advance(3e9);
    expect(r.read(0x40)).toBe(0x5a);
    expect(r.read(11) & 0x70).toBe(0);
    expect(r.irq()).toBe(false);
    expect(r.shown().slice(4)).toEqual([0x00, 0x00, 0x01]);
  });
});
