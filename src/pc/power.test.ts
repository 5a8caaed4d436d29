import { describe, expect, it } from 'vitest';
import { PcRig } from './rig.ts';
import { nsOfTick } from './ticks.ts';

function rig(machine: 'pc' | 'q35' = 'pc') {
  const pc = new PcRig(machine);
  pc.platform.firmwareInit();
  pc.setApic(0xf0, 0x1ff);
  pc.setApic(0x350, 0x10700);
  pc.setIoapic(0x10 + 2 * 9, 0x8039);
  const { power } = pc.platform.info;
  const word = (port: number): number => pc.ports.read(port, 2);
  const setWord = (port: number, value: number): void => pc.ports.write(port, 2, value);
  return { pc, power, word, setWord };
}

describe.each(['pc', 'q35'] as const)('ACPI fixed hardware of %s', (machine) => {
  it('goes to ACPI mode and back by SMI_CMD', () => {
    const { pc, power, word } = rig(machine);
    expect(word(power.controlBlock) & 1).toBe(0);
    pc.outb(power.smiCommand, power.acpiEnable);
    expect(word(power.controlBlock) & 1).toBe(1);
    pc.outb(power.smiCommand, power.acpiDisable);
    expect(word(power.controlBlock) & 1).toBe(0);
  });

  it('switches off by SLP_EN with the type of S5, and not by another', () => {
    const { pc, power, setWord } = rig(machine);
    setWord(power.controlBlock, 0x2001 | (1 << 10));
    expect(pc.powerOffs).toBe(0);
    expect(pc.warnings).toHaveLength(1);
    setWord(power.controlBlock, 0x2001 | (power.sleepTypeS5 << 10));
    expect(pc.powerOffs).toBe(1);
  });

  it('raises the SCI for the power button until its status is cleared', () => {
    const { pc, power, word, setWord } = rig(machine);
    pc.platform.powerButton();
    expect(pc.interrupt).toBe(false);
    setWord(power.eventBlock + 2, 0x0100);
    expect(pc.acknowledge()).toBe(0x39);
    expect(word(power.eventBlock)).toBe(0x0100);
    setWord(power.eventBlock, 0x0100);
    pc.setApic(0xb0, 0);
    expect(pc.interrupt).toBe(false);
    expect(word(power.eventBlock)).toBe(0);
  });

  it('raises the SCI for a general-purpose event', () => {
    const { pc, power } = rig(machine);
    const half = power.gpe0Length / 2;
    pc.outb(power.gpe0Block + half, 0x02);
    pc.platform.power.raiseGpe(1);
    expect(pc.acknowledge()).toBe(0x39);
    expect(pc.inb(power.gpe0Block)).toBe(0x02);
    pc.outb(power.gpe0Block, 0x02);
    pc.setApic(0xb0, 0);
    expect(pc.interrupt).toBe(false);
  });

  it('counts the PM timer at 3.579545 MHz in 24 bits', () => {
    const { pc, power } = rig(machine);
    pc.clock.advance(1e9);
    expect(pc.ports.read(power.timerBlock, 4)).toBe(3_579_545);
    pc.clock.advance(nsOfTick(0x1000010, 3_579_545) - 1e9);
    expect(pc.ports.read(power.timerBlock, 4)).toBe(0x10);
  });

  it('sets TMR_STS when the top bit of the timer changes', () => {
    const { pc, power, word, setWord } = rig(machine);
    pc.clock.advance(nsOfTick(0x800000, 3_579_545) - 1);
    expect(word(power.eventBlock) & 1).toBe(0);
    pc.clock.advance(1);
    expect(word(power.eventBlock) & 1).toBe(1);
    setWord(power.eventBlock, 1);
    setWord(power.eventBlock + 2, 1);
    expect(pc.interrupt).toBe(false);
    pc.clock.advance(nsOfTick(0x800000, 3_579_545));
    expect(pc.interrupt).toBe(true);
  });

  it('is where PMBASE says, and nowhere when that is off', () => {
    const { pc, power, word } = rig(machine);
    pc.outb(power.smiCommand, power.acpiEnable);
    if (machine === 'pc') pc.setConfig(1, 3, 0x40, 0xb001);
    else pc.setConfig(31, 0, 0x40, 0xb001);
    expect(word(power.controlBlock)).toBe(0xffff);
    expect(word(0xb004)).toBe(1);
    pc.platform.reset();
    expect(word(0xb004)).toBe(0xffff);
    pc.platform.firmwareInit();
    expect(word(power.controlBlock)).toBe(0);
  });

  it('resets by CF9h, port 92h and the keyboard controller', () => {
    const { pc } = rig(machine);
    pc.outb(0xcf9, 0x02);
    expect(pc.resets).toBe(0);
    pc.outb(0xcf9, 0x06);
    expect(pc.resets).toBe(1);
    pc.outb(0x92, pc.inb(0x92) | 1);
    expect(pc.resets).toBe(2);
    pc.outb(0x64, 0xfe);
    expect(pc.resets).toBe(3);
  });
});
