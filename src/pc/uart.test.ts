import { describe, expect, it } from 'vitest';
import type { LineSettings } from '../chardev/chardev.ts';
import { AddressSpace } from '../core/bus.ts';
import { ManualClock } from '../core/clock.ts';
import { Tracer } from '../core/trace.ts';
import { TestChardev } from './rig.ts';
import { Uart16550 } from './uart.ts';

const BASE = 0x3f8;

function rig() {
  const ports = new AddressSpace('ports');
  const clock = new ManualClock();
  let irq = false;
  const uart = new Uart16550({
    ports,
    port: BASE,
    irq: {
      set: (level) => {
        irq = level;
      },
    },
    clock,
    tracer: new Tracer(),
    name: 'serial0',
  });
  const chardev = new TestChardev();
  uart.attach(chardev);
  return {
    clock,
    uart,
    chardev,
    irq: () => irq,
    in: (register: number) => ports.read(BASE + register, 1),
    out: (register: number, value: number) => ports.write(BASE + register, 1, value),
  };
}

describe('16550A', () => {
  it('is recognised as a 16550A by the FIFO bits and the scratch register', () => {
    const r = rig();
    expect(r.in(2) & 0xc0).toBe(0);
    r.out(2, 0x01);
    expect(r.in(2) & 0xc0).toBe(0xc0);
    r.out(7, 0xa5);
    expect(r.in(7)).toBe(0xa5);
    r.out(3, 0x83);
    r.out(0, 0x01);
    r.out(1, 0x00);
    expect(r.in(0)).toBe(1);
    r.out(3, 0x03);
    expect(r.in(5)).toBe(0x60);
  });

  it('sends at once and raises THRE when the interrupt is enabled', () => {
    const r = rig();
    r.out(1, 0x02);
    expect(r.irq()).toBe(true);
    expect(r.in(2)).toBe(0x02);
    expect(r.irq()).toBe(false);
    for (const c of 'hello') {
      expect(r.in(5) & 0x20).toBe(0x20);
      r.out(0, c.charCodeAt(0));
    }
    expect(r.chardev.text).toBe('hello');
    expect(r.irq()).toBe(true);
  });

  it('never loses a byte to a chardev that is full: THRE stays clear until it has room', () => {
    const r = rig();
    r.out(2, 0x01);
    r.out(1, 0x02);
    r.chardev.room = 3;
    let sent = 0;
    // A driver in FIFO mode writes 16 bytes for each THRE.
    const burst = (): void => {
      for (let i = 0; i < 16; i++) r.out(0, sent++ & 0xff);
    };
    burst();
    expect(r.in(5) & 0x60).toBe(0);
    expect(r.in(2) & 0x0f).not.toBe(0x02);
    expect(r.irq()).toBe(false);
    r.chardev.makeRoom(5);
    expect(r.in(5) & 0x20).toBe(0);
    r.chardev.makeRoom(100);
    expect(r.in(5) & 0x60).toBe(0x60);
    expect(r.irq()).toBe(true);
    burst();
    expect(r.chardev.written).toEqual(Array.from({ length: 32 }, (_, i) => i));
  });

  it('receives no more than the FIFO holds, and all of it in order', () => {
    const r = rig();
    r.out(2, 0x81);
    r.out(1, 0x01);
    r.chardev.input(Array.from({ length: 100 }, (_, i) => i));
    expect(r.chardev.pending.length).toBe(84);
    expect(r.irq()).toBe(true);
    const got: number[] = [];
    for (let round = 0; round < 10; round++) {
      while ((r.in(5) & 1) !== 0) got.push(r.in(0));
      expect(r.irq()).toBe(false);
      r.clock.advance(1e6);
    }
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(r.in(5) & 0x02).toBe(0);
  });

  it('tells trigger level and timeout apart', () => {
    const r = rig();
    r.out(2, 0x41);
    r.out(1, 0x01);
    r.chardev.input([1, 2]);
    expect(r.in(2)).toBe(0xcc);
    r.chardev.input([3, 4]);
    expect(r.in(2)).toBe(0xc4);
    r.in(0);
    expect(r.in(2)).toBe(0xcc);
  });

  it('without FIFOs takes one byte at a time', () => {
    const r = rig();
    r.chardev.input([7, 8]);
    expect(r.chardev.pending).toEqual([8]);
    expect(r.in(0)).toBe(7);
    r.clock.advance(1e6);
    expect(r.in(0)).toBe(8);
  });

  it('loops data and modem lines back', () => {
    const r = rig();
    r.out(4, 0x10);
    expect(r.in(6) & 0xf0).toBe(0);
    // What Linux writes to find out that the port is there.
    r.out(4, 0x1a);
    expect(r.in(6) & 0xf0).toBe(0x90);
    r.out(0, 0x55);
    expect(r.chardev.written).toEqual([]);
    expect(r.in(0)).toBe(0x55);
    r.chardev.input([1]);
    expect(r.in(5) & 1).toBe(0);
    r.out(4, 0x08);
    r.clock.advance(1e6);
    expect(r.in(0)).toBe(1);
    expect(r.in(6) & 0xf0).toBe(0xb0);
  });

  it('reports a break with its zero byte', () => {
    const r = rig();
    r.out(1, 0x04);
    r.chardev.sendBreak();
    expect(r.in(2)).toBe(0x06);
    expect(r.in(5) & 0x11).toBe(0x11);
    expect(r.in(5) & 0x10).toBe(0);
    expect(r.in(0)).toBe(0);
    expect(r.irq()).toBe(false);
  });

  it('still sends after a reset what it had accepted before', () => {
    const r = rig();
    r.chardev.room = 0;
    r.out(0, 0x41);
    r.uart.reset();
    r.chardev.makeRoom(1);
    expect(r.chardev.text).toBe('A');
  });
});

describe('a real serial port behind it', () => {
  function wired() {
    const r = rig();
    const calls: unknown[] = [];
    const inputs = { cts: false, dsr: true, ri: false, dcd: false };
    const line = {
      configure: (settings: LineSettings) => void calls.push(settings),
      setBreak: (on: boolean) => void calls.push(`break ${on}`),
      setOutputs: (outputs: object) => void calls.push(outputs),
      inputs: () => ({ ...inputs }),
    };
    r.uart.attach(Object.assign(new TestChardev(), { line }));
    return { ...r, inputs, calls: () => calls.splice(0) };
  }

  it('has speed and frame once the divisor latch is closed, and hears nothing twice', () => {
    const r = wired();
    expect(r.calls()).toEqual([]);
    r.out(3, 0x80);
    r.out(0, 0x03);
    r.out(1, 0x01);
    expect(r.calls()).toEqual([]);
    r.out(3, 0x03);
    r.out(0, 0x41);
    expect(r.calls()).toEqual([{ baud: 115200 / 0x103, dataBits: 8, parity: 'none', stopBits: 1 }]);
    r.out(3, 0x03);
    expect(r.calls()).toEqual([]);
    r.out(3, 0x1e);
    r.out(3, 0x08);
    const settings = { baud: 115200 / 0x103 };
    expect(r.calls()).toEqual([
      { ...settings, dataBits: 7, parity: 'even', stopBits: 2 },
      { ...settings, dataBits: 5, parity: 'odd', stopBits: 1 },
    ]);
  });

  it('ignores a divisor of zero', () => {
    const r = wired();
    r.out(3, 0x80);
    r.out(0, 0);
    r.out(1, 0);
    r.out(3, 0x03);
    expect(r.calls()).toEqual([]);
  });

  it('sends a break for as long as LCR says, or until a reset', () => {
    const r = wired();
    r.out(3, 0x03);
    r.calls();
    r.out(3, 0x43);
    r.out(3, 0x43);
    r.out(3, 0x03);
    r.out(3, 0x43);
    r.uart.reset();
    expect(r.calls()).toEqual(['break true', 'break false', 'break true', 'break false']);
  });

  it('has DTR and RTS of MCR, but not in loopback', () => {
    const r = wired();
    r.out(4, 0x01);
    r.out(4, 0x13);
    r.out(4, 0x0a);
    expect(r.calls()).toEqual([
      { dtr: true, rts: false },
      { dtr: false, rts: true },
    ]);
  });

  it('shows its lines in MSR, and interrupts for a change within ten milliseconds', () => {
    const r = wired();
    expect(r.in(6) & 0xf0).toBe(0x20);
    r.in(6);
    r.out(1, 0x08);
    expect(r.irq()).toBe(false);
    r.inputs.cts = true;
    r.inputs.ri = true;
    r.clock.advance(10_000_000);
    expect(r.irq()).toBe(true);
    expect(r.in(6)).toBe(0x71);
    expect(r.irq()).toBe(false);
    // "TERI: the RI input has changed from a low to a high state": at its end.
    r.inputs.ri = false;
    r.clock.advance(10_000_000);
    expect(r.in(6)).toBe(0x34);
    r.out(1, 0x00);
    r.clock.advance(20_000_000);
    expect(r.clock.timers.next()).toBe(Number.POSITIVE_INFINITY);
  });
});
