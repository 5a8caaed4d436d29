import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../core/bus.ts';
import { I8042 } from './i8042.ts';
import { set2Of, translateScanCode } from './ps2.ts';

function rig() {
  const ports = new AddressSpace('ports');
  const irq = { kbd: 0, aux: 0, kbdLevel: false, auxLevel: false };
  let resets = 0;
  const line = (name: 'kbd' | 'aux') => ({
    set: (level: boolean) => {
      if (level && !irq[`${name}Level`]) irq[name]++;
      irq[`${name}Level`] = level;
    },
  });
  const chip = new I8042(ports, line('kbd'), line('aux'), () => {
    resets++;
  });
  const status = (): number => ports.read(0x64, 1);
  /** Everything in the output buffer, with 100h added to bytes from the mouse's side. */
  const drain = (): number[] => {
    const bytes: number[] = [];
    while ((status() & 1) !== 0) bytes.push(((status() & 0x20) << 3) | ports.read(0x60, 1));
    return bytes;
  };
  const command = (value: number, ...data: number[]): number[] => {
    ports.write(0x64, 1, value);
    for (const byte of data) ports.write(0x60, 1, byte);
    return drain();
  };
  const keyboard = (...bytes: number[]): number[] => {
    for (const byte of bytes) ports.write(0x60, 1, byte);
    return drain();
  };
  return { ports, chip, irq, resets: () => resets, status, drain, command, keyboard };
}

describe('i8042', () => {
  it('passes what Linux asks of it when it looks for the controller', () => {
    const r = rig();
    expect(r.command(0xaa)).toEqual([0x55]);
    expect(r.status() & 0x04).toBe(0x04);
    expect(r.command(0xab)).toEqual([0x00]);
    r.command(0x60, 0x74);
    expect(r.command(0x20)).toEqual([0x74]);
    // The AUX port: loop, test, and that disabling shows in the configuration.
    expect(r.command(0xd3, 0x5a)).toEqual([0x15a]);
    expect(r.command(0xa9)).toEqual([0x00]);
    r.command(0xa7);
    expect(r.command(0x20)[0]! & 0x20).toBe(0x20);
    r.command(0xa8);
    expect(r.command(0x20)[0]! & 0x20).toBe(0x00);
    // The AUX interrupt test.
    r.command(0x60, 0x02 | 0x10);
    const before = r.irq.aux;
    expect(r.command(0xd3, 0xa5)).toEqual([0x1a5]);
    expect(r.irq.aux).toBe(before + 1);
  });

  it('identifies a keyboard and a mouse', () => {
    const r = rig();
    r.command(0x60, 0x03);
    expect(r.keyboard(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(r.keyboard(0xff)).toEqual([0xfa, 0xaa]);
    expect(r.keyboard(0xee)).toEqual([0xee]);
    expect(r.keyboard(0xed, 0x07)).toEqual([0xfa, 0xfa]);
    expect(r.chip.keyboard.state.leds).toBe(7);
    expect(r.command(0xd4, 0xff)).toEqual([0x1fa, 0x1aa, 0x100]);
    expect(r.command(0xd4, 0xf2)).toEqual([0x1fa, 0x100]);
    expect(r.command(0xd4, 0xe9)).toEqual([0x1fa, 0x100, 0x102, 0x164]);
  });

  it('delivers keys translated to set 1, an interrupt for each byte', () => {
    const r = rig();
    r.command(0x60, 0x41);
    const before = r.irq.kbd;
    r.chip.keyboard.key(0x1e, true);
    r.chip.keyboard.key(0x1e, false);
    r.chip.keyboard.key(0xe048, true);
    expect(r.drain()).toEqual([0x1e, 0x9e, 0xe0, 0x48]);
    expect(r.irq.kbd - before).toBe(4);
    r.command(0x60, 0x01);
    r.chip.keyboard.key(0x1e, false);
    expect(r.drain()).toEqual([0xf0, 0x1c]);
  });

  it('holds keys while the interface is disabled, and drops beyond its buffer', () => {
    const r = rig();
    r.command(0x60, 0x41);
    r.command(0xad);
    r.chip.keyboard.key(0x02, true);
    expect(r.drain()).toEqual([]);
    expect(r.command(0xae)).toEqual([0x02]);
    r.command(0xad);
    for (let i = 0; i < 10_000; i++) r.chip.keyboard.key(0x02, true);
    expect(r.chip.keyboard.state.queue.length).toBeLessThanOrEqual(256);
    expect(r.command(0xae).length).toBeGreaterThan(200);
    expect(r.keyboard(0xf2)).toHaveLength(3);
  });

  it('reports mouse movement once it is told to', () => {
    const r = rig();
    r.command(0x60, 0x47);
    r.chip.mouse.move(5, -3, 1);
    expect(r.drain()).toEqual([]);
    r.command(0xd4, 0xf4);
    r.chip.mouse.move(5, -3, 1);
    expect(r.drain()).toEqual([0x129, 0x105, 0x1fd]);
    r.chip.mouse.move(-300, 1, 0);
    expect(r.drain()).toEqual([0x118, 0x101, 0x101, 0x118, 0x1d3, 0x100]);
    r.chip.mouse.move(1e9, 0, 0);
    expect(r.chip.mouse.state.queue.length).toBeLessThanOrEqual(240);
  });

  it('translates both ways', () => {
    for (let set1 = 1; set1 < 0x59; set1++) {
      const code = set2Of(set1);
      if (code >= 0) expect(translateScanCode(code)).toBe(set1);
    }
    expect(set2Of(0x1c)).toBe(0x5a);
    expect(set2Of(0x41)).toBe(0x83);
  });

  it('resets the machine by FEh and by the output port', () => {
    const r = rig();
    r.command(0xfe);
    expect(r.resets()).toBe(1);
    r.command(0xd1, 0x02);
    expect(r.resets()).toBe(2);
    r.command(0xd1, 0x03);
    r.command(0xff);
    expect(r.resets()).toBe(2);
  });
});
