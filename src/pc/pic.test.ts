import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../core/bus.ts';
import { PicPair } from './pic.ts';

function rig(): {
  ports: AddressSpace;
  pic: PicPair;
  intr: () => boolean;
  out: (port: number, ...v: number[]) => void;
} {
  const ports = new AddressSpace('ports');
  let level = false;
  const pic = new PicPair(ports, {
    set: (value) => {
      level = value;
    },
  });
  const out = (port: number, ...values: number[]): void => {
    for (const value of values) ports.write(port, 1, value);
  };
  return { ports, pic, intr: () => level, out };
}

function initialised(icw4 = 0x01): ReturnType<typeof rig> {
  const r = rig();
  r.out(0x20, 0x11);
  r.out(0x21, 0x20, 0x04, icw4, 0x00);
  r.out(0xa0, 0x11);
  r.out(0xa1, 0x28, 0x02, icw4, 0x00);
  return r;
}

const EOI = 0x20;

describe('8259A pair', () => {
  it('delivers an edge once and holds it in service until EOI', () => {
    const { pic, intr, out } = initialised();
    pic.line(4).set(true);
    expect(intr()).toBe(true);
    expect(pic.acknowledge()).toBe(0x24);
    expect(intr()).toBe(false);
    pic.line(4).set(true);
    expect(intr()).toBe(false);
    pic.line(4).set(false);
    pic.line(4).set(true);
    expect(intr()).toBe(false);
    out(0x20, EOI);
    expect(intr()).toBe(true);
    expect(pic.acknowledge()).toBe(0x24);
  });

  it('gives the lower line precedence and nests', () => {
    const { pic, intr, out } = initialised();
    pic.line(5).set(true);
    pic.line(1).set(true);
    expect(pic.acknowledge()).toBe(0x21);
    expect(intr()).toBe(false);
    out(0x20, EOI);
    expect(pic.acknowledge()).toBe(0x25);
    pic.line(0).set(true);
    expect(pic.acknowledge()).toBe(0x20);
    out(0x20, EOI);
    pic.line(6).set(true);
    expect(intr()).toBe(false);
  });

  it('cascades the slave through IRQ 2', () => {
    const { pic, intr, out, ports } = initialised();
    pic.line(8).set(true);
    expect(intr()).toBe(true);
    expect(pic.acknowledge()).toBe(0x28);
    out(0x20, 0x0b);
    expect(ports.read(0x20, 1)).toBe(0x04);
    out(0xa0, 0x0b);
    expect(ports.read(0xa0, 1)).toBe(0x01);
    out(0xa0, EOI);
    out(0x20, EOI);
    expect(ports.read(0x20, 1)).toBe(0);
  });

  it('serves two slave lines one after the other, also with automatic EOI', () => {
    for (const icw4 of [0x01, 0x03]) {
      const { pic, out } = initialised(icw4);
      pic.line(12).set(true);
      pic.line(14).set(true);
      expect(pic.acknowledge()).toBe(0x2c);
      out(0xa0, EOI);
      out(0x20, EOI);
      expect(pic.acknowledge()).toBe(0x2e);
    }
  });

  it('repeats a level-triggered request while the line is high', () => {
    const { pic, intr, out } = initialised();
    out(0x4d0, 0x20);
    out(0x4d1, 0x0c);
    pic.line(5).set(true);
    pic.line(10).set(true);
    expect(pic.acknowledge()).toBe(0x2a);
    pic.line(10).set(false);
    out(0xa0, EOI);
    out(0x20, EOI);
    for (let i = 0; i < 3; i++) {
      expect(pic.acknowledge()).toBe(0x25);
      out(0x20, EOI);
      expect(intr()).toBe(true);
    }
    pic.line(5).set(false);
    expect(intr()).toBe(false);
  });

  it('keeps the ELCR bits of fixed edge lines at zero', () => {
    const { ports, out } = initialised();
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    expect(ports.read(0x4d0, 2)).toBe(0xdef8);
  });

  it('answers IRQ 7 when a request goes away before the acknowledge', () => {
    const { pic, intr, out } = initialised();
    out(0x4d0, 0xf8);
    pic.line(5).set(true);
    pic.line(5).set(false);
    expect(pic.acknowledge()).toBe(0x27);
    out(0x4d1, 0xde);
    pic.line(10).set(true);
    expect(intr()).toBe(true);
    pic.line(10).set(false);
    expect(intr()).toBe(false);
  });

  it('masks, and delivers what came while masked', () => {
    const { pic, intr, out, ports } = initialised();
    out(0x21, 0xff);
    pic.line(3).set(true);
    expect(intr()).toBe(false);
    expect(ports.read(0x21, 1)).toBe(0xff);
    out(0x21, 0x00);
    expect(intr()).toBe(true);
  });

  it('polls', () => {
    const { pic, out, ports } = initialised();
    pic.line(6).set(true);
    out(0x20, 0x0c);
    expect(ports.read(0x20, 1)).toBe(0x86);
    out(0x20, 0x0c);
    expect(ports.read(0x20, 1)).toBe(0x00);
  });

  it('special mask mode lets lower lines pass a masked one in service', () => {
    const { pic, intr, out } = initialised();
    pic.line(2 + 1).set(true);
    expect(pic.acknowledge()).toBe(0x23);
    pic.line(6).set(true);
    expect(intr()).toBe(false);
    out(0x21, 0x08);
    out(0x20, 0x68);
    expect(intr()).toBe(true);
    out(0x20, 0x48);
    expect(intr()).toBe(false);
  });

  it('rotates priorities with EOI and by command', () => {
    const { pic, out } = initialised();
    pic.line(0).set(true);
    pic.line(1).set(true);
    expect(pic.acknowledge()).toBe(0x20);
    pic.line(0).set(false);
    pic.line(0).set(true);
    out(0x20, 0xa0);
    expect(pic.acknowledge()).toBe(0x21);
    out(0x20, 0x61);
    out(0x20, 0xc0 | 5);
    pic.line(6).set(true);
    expect(pic.acknowledge()).toBe(0x26);
  });

  it('forgets edges but not levels on ICW1', () => {
    const { pic, out, intr } = initialised();
    out(0x4d0, 0x20);
    pic.line(4).set(true);
    pic.line(5).set(true);
    out(0x20, 0x11);
    out(0x21, 0x20, 0x04, 0x01, 0x00);
    expect(intr()).toBe(true);
    expect(pic.acknowledge()).toBe(0x25);
    out(0x20, EOI);
    pic.line(5).set(false);
    expect(intr()).toBe(false);
  });
});
