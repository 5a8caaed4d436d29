import { describe, expect, it } from 'vitest';
import { PcRig } from '../rig.ts';

const SVR = 0xf0;
const TPR = 0x80;
const EOI = 0xb0;
const ICR = 0x300;
const LVT_TIMER = 0x320;
const LVT_LINT0 = 0x350;
const LVT_LINT1 = 0x360;
const LVT_ERROR = 0x370;
const ESR = 0x280;
const INITIAL = 0x380;
const CURRENT = 0x390;
const DIVIDE = 0x3e0;

function enabled(): PcRig {
  const rig = new PcRig();
  rig.setApic(SVR, 0x1ff);
  return rig;
}

/** As an operating system in APIC mode: the 8259 pair shut off at LINT0. */
function apicOnly(): PcRig {
  const rig = enabled();
  rig.setApic(LVT_LINT0, 0x10700);
  return rig;
}

/** Sends ourselves a fixed interrupt by the self shorthand. */
function self(rig: PcRig, vector: number): void {
  rig.setApic(ICR, 0x40000 | vector);
}

/** A vector's bit in one of the 256-bit registers (ISR 100h, TMR 180h, IRR 200h). */
function bit(rig: PcRig, base: number, vector: number): boolean {
  return (rig.apic(base + (vector >> 5) * 16) & (1 << (vector & 31))) !== 0;
}

describe('local APIC', () => {
  it('shows id, version and reset values', () => {
    const rig = new PcRig();
    expect(rig.apic(0x20)).toBe(0);
    expect(rig.apic(0x30)).toBe(0x00050014);
    expect(rig.apic(SVR)).toBe(0xff);
    expect(rig.apic(0xe0)).toBe(0xffffffff);
    expect(rig.apic(LVT_TIMER)).toBe(0x10000);
    expect(rig.apic(LVT_LINT0)).toBe(0x700);
    expect(rig.platform.lapics[0]!.readMsr(0x1b)).toEqual({ low: 0xfee00900, high: 0 });
  });

  it('moves a vector from IRR to ISR to nothing', () => {
    const rig = enabled();
    self(rig, 0x51);
    expect(rig.interrupt).toBe(true);
    expect(bit(rig, 0x200, 0x51)).toBe(true);
    expect(rig.acknowledge()).toBe(0x51);
    expect(bit(rig, 0x200, 0x51)).toBe(false);
    expect(bit(rig, 0x100, 0x51)).toBe(true);
    expect(rig.interrupt).toBe(false);
    expect(rig.apic(0xa0)).toBe(0x50);
    rig.setApic(EOI, 0);
    expect(bit(rig, 0x100, 0x51)).toBe(false);
    expect(rig.acknowledge()).toBe(-1);
  });

  it('lets only a higher class interrupt what is in service', () => {
    const rig = enabled();
    self(rig, 0x61);
    expect(rig.acknowledge()).toBe(0x61);
    self(rig, 0x6f);
    expect(rig.interrupt).toBe(false);
    self(rig, 0x71);
    expect(rig.acknowledge()).toBe(0x71);
    rig.setApic(EOI, 0);
    expect(rig.interrupt).toBe(false);
    rig.setApic(EOI, 0);
    expect(rig.acknowledge()).toBe(0x6f);
  });

  it('holds back what TPR and CR8 say', () => {
    const rig = enabled();
    const lapic = rig.platform.lapics[0]!;
    rig.setApic(TPR, 0x50);
    expect(lapic.readCr8()).toBe(5);
    self(rig, 0x5f);
    expect(rig.interrupt).toBe(false);
    self(rig, 0x60);
    expect(rig.interrupt).toBe(true);
    lapic.writeCr8(6);
    expect(rig.interrupt).toBe(false);
    lapic.writeCr8(0);
    expect(rig.acknowledge()).toBe(0x60);
  });

  it('accepts nothing while disabled by software, and masks the LVT', () => {
    const rig = enabled();
    rig.setApic(LVT_TIMER, 0x40);
    rig.setApic(SVR, 0xff);
    expect(rig.apic(LVT_TIMER)).toBe(0x10040);
    rig.setApic(LVT_TIMER, 0x40);
    expect(rig.apic(LVT_TIMER)).toBe(0x10040);
    self(rig, 0x51);
    expect(rig.interrupt).toBe(false);
    rig.setApic(SVR, 0x1ff);
    expect(rig.interrupt).toBe(false);
  });

  it('reports illegal vectors and registers in ESR, after a write to it', () => {
    const rig = enabled();
    rig.setApic(LVT_ERROR, 0xfe);
    self(rig, 0x05);
    expect(rig.acknowledge()).toBe(0xfe);
    rig.setApic(EOI, 0);
    rig.apic(0x3f0);
    expect(rig.apic(ESR)).toBe(0);
    rig.setApic(ESR, 0);
    expect(rig.apic(ESR)).toBe(0x20 | 0x80);
    rig.setApic(ESR, 0);
    expect(rig.apic(ESR)).toBe(0);
  });

  describe('timer', () => {
    it('one-shot counts at 1 GHz over the divider and fires once', () => {
      const rig = enabled();
      rig.setApic(DIVIDE, 0x3);
      rig.setApic(LVT_TIMER, 0xec);
      rig.setApic(INITIAL, 1000);
      rig.clock.advance(8000);
      expect(rig.apic(CURRENT)).toBe(500);
      rig.clock.advance(7999);
      expect(rig.interrupt).toBe(false);
      rig.clock.advance(1);
      expect(rig.acknowledge()).toBe(0xec);
      rig.setApic(EOI, 0);
      expect(rig.apic(CURRENT)).toBe(0);
      rig.clock.advance(1e9);
      expect(rig.interrupt).toBe(false);
    });

    it('periodic fires each time the count is through', () => {
      const rig = enabled();
      rig.setApic(DIVIDE, 0xb);
      rig.setApic(LVT_TIMER, 0x200ec);
      rig.setApic(INITIAL, 1_000_000);
      let count = 0;
      for (let i = 0; i < 250; i++) {
        rig.clock.advance(4e5);
        while (rig.acknowledge() === 0xec) {
          count++;
          rig.setApic(EOI, 0);
        }
      }
      expect(count).toBe(100);
      rig.setApic(INITIAL, 0);
      rig.clock.advance(1e9);
      expect(rig.interrupt).toBe(false);
    });

    it('a guest cannot flood the host with a period of a nanosecond', () => {
      const rig = enabled();
      rig.setApic(DIVIDE, 0xb);
      rig.setApic(LVT_TIMER, 0x200ec);
      rig.setApic(INITIAL, 1);
      const before = performance.now();
      rig.clock.advance(1e8);
      expect(performance.now() - before).toBeLessThan(2000);
      expect(rig.acknowledge()).toBe(0xec);
    });

    it('TSC deadline fires at the tick that was written and disarms', () => {
      const rig = enabled();
      const lapic = rig.platform.lapics[0]!;
      expect(lapic.writeMsr(0x6e0, 500, 0)).toBe(true);
      rig.clock.advance(1000);
      expect(rig.interrupt).toBe(false);
      rig.setApic(LVT_TIMER, 0x400ec);
      lapic.writeMsr(0x6e0, 5_000_000, 1);
      expect(lapic.readMsr(0x6e0)).toEqual({ low: 5_000_000, high: 1 });
      rig.clock.advance(2 ** 32 + 5_000_000 - 1000 - 1);
      expect(rig.interrupt).toBe(false);
      rig.clock.advance(1);
      expect(rig.acknowledge()).toBe(0xec);
      expect(lapic.readMsr(0x6e0)).toEqual({ low: 0, high: 0 });
      // One that has passed already fires as soon as time is looked at.
      rig.setApic(EOI, 0);
      lapic.writeMsr(0x6e0, 1, 0);
      rig.clock.advance(0);
      expect(rig.acknowledge()).toBe(0xec);
    });

    it('keeps a vector out of the IRR while masked', () => {
      const rig = enabled();
      rig.setApic(LVT_TIMER, 0x100ec);
      rig.setApic(INITIAL, 10);
      rig.clock.advance(1e6);
      expect(rig.interrupt).toBe(false);
    });
  });

  describe('virtual wire', () => {
    it('passes the 8259 pair through LINT0 as ExtINT', () => {
      const rig = enabled();
      rig.initPics();
      rig.platform.gsi(4).set(true);
      expect(rig.interrupt).toBe(true);
      expect(rig.acknowledge()).toBe(0x24);
      expect(rig.interrupt).toBe(false);
    });

    it('is shut by masking LINT0', () => {
      const rig = enabled();
      rig.initPics();
      rig.setApic(LVT_LINT0, 0x10700);
      rig.platform.gsi(4).set(true);
      expect(rig.interrupt).toBe(false);
      rig.setApic(LVT_LINT0, 0x700);
      expect(rig.acknowledge()).toBe(0x24);
    });

    it('takes the APIC out altogether when IA32_APIC_BASE disables it', () => {
      const rig = enabled();
      rig.initPics();
      rig.setApic(LVT_LINT0, 0x10700);
      expect(rig.platform.lapics[0]!.writeMsr(0x1b, 0xfee00100, 0)).toBe(true);
      rig.platform.gsi(4).set(true);
      expect(rig.acknowledge()).toBe(0x24);
      expect(rig.apic(SVR)).toBe(0xffffffff);
    });

    it('delivers NMI through LINT1', () => {
      const rig = enabled();
      rig.platform.nmi();
      expect(rig.nmis).toBe(0);
      rig.setApic(LVT_LINT1, 0x400);
      rig.platform.nmi();
      expect(rig.nmis).toBe(1);
    });
  });

  describe('x2APIC', () => {
    it('is entered from xAPIC mode and gives registers by MSR, none by memory', () => {
      const rig = enabled();
      const lapic = rig.platform.lapics[0]!;
      expect(lapic.readMsr(0x802)).toBeUndefined();
      expect(lapic.writeMsr(0x1b, 0xfee00d00, 0)).toBe(true);
      expect(lapic.readMsr(0x802)).toEqual({ low: 0, high: 0 });
      expect(lapic.readMsr(0x80d)).toEqual({ low: 1, high: 0 });
      expect(lapic.readMsr(0x80f)).toEqual({ low: 0x1ff, high: 0 });
      expect(rig.apic(SVR)).toBe(0xffffffff);
      expect(lapic.writeMsr(0x83f, 0x77, 0)).toBe(true);
      expect(rig.acknowledge()).toBe(0x77);
      expect(lapic.writeMsr(0x80b, 1, 0)).toBe(false);
      expect(lapic.writeMsr(0x80b, 0, 0)).toBe(true);
      expect(lapic.readMsr(0x80b)).toBeUndefined();
      expect(lapic.writeMsr(0x802, 0, 0)).toBe(false);
      expect(lapic.writeMsr(0x808, 0, 1)).toBe(false);
      expect(lapic.readMsr(0x80e)).toBeUndefined();
      expect(lapic.readMsr(0x831)).toBeUndefined();
      expect(lapic.writeMsr(0x830, 0x4066, 0)).toBe(true);
      expect(rig.acknowledge()).toBe(0x66);
      expect(lapic.readMsr(0x830)).toEqual({ low: 0x4066, high: 0 });
    });

    it('refuses the transitions that do not exist', () => {
      const lapic = enabled().platform.lapics[0]!;
      expect(lapic.writeMsr(0x1b, 0xfee00500, 0)).toBe(false);
      expect(lapic.writeMsr(0x1b, 0xfee00901, 0)).toBe(false);
      expect(lapic.writeMsr(0x1b, 0xfee00d00, 0)).toBe(true);
      expect(lapic.writeMsr(0x1b, 0xfee00900, 0)).toBe(false);
      expect(lapic.writeMsr(0x1b, 0xfee00100, 0)).toBe(true);
      expect(lapic.writeMsr(0x1b, 0xfee00d00, 0)).toBe(false);
      expect(lapic.writeMsr(0x1b, 0xfee00900, 0)).toBe(true);
    });
  });
});

describe('messages', () => {
  /** Three processors with the vectors that each has pending. */
  function three() {
    const rig = new PcRig('pc', {
      processors: [0, 1, 2].map(() => ({ setInterrupt: () => {}, nmi: () => {} })),
    });
    const { lapics, bus } = rig.platform;
    for (const lapic of lapics) lapic.writeRegister(0x0f, 0x1ff);
    const taken = (): number[] =>
      lapics.map((lapic) => {
        const vector = lapic.acknowledgeInterrupt();
        if (vector >= 0) lapic.writeRegister(0x0b, 0);
        return vector;
      });
    return { rig, lapics, bus, taken };
  }

  it('reaches one APIC by physical id, and all by FFh', () => {
    const { bus, taken } = three();
    bus.send(0xfee01000, 0x41);
    expect(taken()).toEqual([-1, 0x41, -1]);
    bus.send(0xfeeff000, 0x42);
    expect(taken()).toEqual([0x42, 0x42, 0x42]);
    bus.send(0xfdd00000, 0x43);
    expect(taken()).toEqual([-1, -1, -1]);
  });

  it('reaches sets by flat and cluster logical ids', () => {
    const { bus, lapics, taken } = three();
    lapics.forEach((lapic, i) => lapic.writeRegister(0x0d, (1 << (24 + i)) >>> 0));
    bus.send(0xfee05004, 0x44);
    expect(taken()).toEqual([0x44, -1, 0x44]);
    for (const lapic of lapics) lapic.writeRegister(0x0e, 0x0fffffff);
    [0x11, 0x12, 0x21].forEach((ldr, i) => lapics[i]!.writeRegister(0x0d, (ldr << 24) >>> 0));
    bus.send(0xfee13004, 0x45);
    expect(taken()).toEqual([0x45, 0x45, -1]);
    bus.send(0xfee21004, 0x46);
    expect(taken()).toEqual([-1, -1, 0x46]);
  });

  it('gives lowest priority to one, and to the least busy', () => {
    const { bus, lapics, taken } = three();
    lapics[0]!.writeCr8(3);
    lapics[1]!.writeCr8(1);
    lapics[2]!.writeCr8(2);
    bus.send(0xfeeff000, 0x151);
    expect(taken()).toEqual([-1, 0x51, -1]);
    for (const lapic of lapics) lapic.writeCr8(0);
    const counts = [0, 0, 0];
    for (let i = 0; i < 9; i++) {
      bus.send(0xfeeff000, 0x152);
      counts[taken().indexOf(0x52)]!++;
    }
    expect(counts).toEqual([3, 3, 3]);
  });

  it('sends IPIs with shorthands, INIT and SIPI', () => {
    const log: string[] = [];
    const rig = new PcRig('pc', {
      processors: [0, 1].map((cpu) => ({
        setInterrupt: () => {},
        nmi: () => log.push(`nmi ${cpu}`),
        init: () => log.push(`init ${cpu}`),
        startup: (vector: number) => log.push(`sipi ${cpu} ${vector}`),
      })),
    });
    rig.setApic(SVR, 0x1ff);
    rig.setApic(0x310, 0x01000000);
    rig.setApic(ICR, 0x4500);
    rig.setApic(ICR, 0x8500);
    rig.setApic(ICR, 0x4608);
    rig.setApic(ICR, 0xc4400);
    expect(log).toEqual(['init 1', 'sipi 1 8', 'nmi 1']);
  });

  it('a processor writes MSIs too, behind the register page', () => {
    const rig = enabled();
    rig.mmio.write(0xfee00000 + 0xff000, 4, 0x61);
    expect(rig.acknowledge()).toBe(0x61);
  });
});

describe('I/O APIC', () => {
  it('has 24 masked entries, version 20h and an id', () => {
    const rig = new PcRig();
    expect(rig.ioapic(1)).toBe(0x00170020);
    rig.setIoapic(0, 0x03000000);
    expect(rig.ioapic(0)).toBe(0x03000000);
    for (let pin = 0; pin < 24; pin++) expect(rig.ioapic(0x10 + 2 * pin)).toBe(0x10000);
  });

  it('delivers an edge once', () => {
    const rig = apicOnly();
    rig.setIoapic(0x10 + 2 * 4, 0x34);
    const com1 = rig.platform.gsi(4);
    com1.set(true);
    com1.set(true);
    expect(rig.acknowledge()).toBe(0x34);
    expect(bit(rig, 0x180, 0x34)).toBe(false);
    rig.setApic(EOI, 0);
    expect(rig.interrupt).toBe(false);
    com1.set(false);
    com1.set(true);
    expect(rig.interrupt).toBe(true);
  });

  it('ignores an edge on a masked pin', () => {
    const rig = apicOnly();
    rig.setIoapic(0x10 + 2 * 4, 0x10034);
    rig.platform.gsi(4).set(true);
    rig.setIoapic(0x10 + 2 * 4, 0x34);
    expect(rig.interrupt).toBe(false);
  });

  it('repeats a level after EOI for as long as the line is high', () => {
    const rig = apicOnly();
    rig.setIoapic(0x10 + 2 * 10, 0x8049);
    const line = rig.platform.gsi(10);
    line.set(true);
    expect(rig.acknowledge()).toBe(0x49);
    expect(bit(rig, 0x180, 0x49)).toBe(true);
    expect(rig.ioapic(0x10 + 2 * 10)).toBe(0xc049);
    expect(rig.interrupt).toBe(false);
    rig.setApic(EOI, 0);
    expect(rig.acknowledge()).toBe(0x49);
    line.set(false);
    rig.setApic(EOI, 0);
    expect(rig.interrupt).toBe(false);
    expect(rig.ioapic(0x10 + 2 * 10)).toBe(0x8049);
  });

  it('delivers a level that came while masked', () => {
    const rig = apicOnly();
    rig.setIoapic(0x10 + 2 * 11, 0x1804a);
    rig.platform.gsi(11).set(true);
    expect(rig.interrupt).toBe(false);
    rig.setIoapic(0x10 + 2 * 11, 0x804a);
    expect(rig.acknowledge()).toBe(0x4a);
  });

  it('takes an EOI by its own register, and clears remote IRR on a change to edge', () => {
    const rig = apicOnly();
    rig.setIoapic(0x10 + 2 * 11, 0x804a);
    const line = rig.platform.gsi(11);
    line.set(true);
    line.set(false);
    rig.mmio.write(0xfec00040, 4, 0x4a);
    expect(rig.ioapic(0x10 + 2 * 11)).toBe(0x804a);
    line.set(true);
    expect(rig.ioapic(0x10 + 2 * 11)).toBe(0xc04a);
    rig.setIoapic(0x10 + 2 * 11, 0x1004a);
    expect(rig.ioapic(0x10 + 2 * 11)).toBe(0x1004a);
  });

  it('has IRQ 0 at input 2 and the PIT ticking there', () => {
    const rig = apicOnly();
    rig.setIoapic(0x10 + 2 * 2, 0x30);
    rig.outb(0x43, 0x34);
    rig.outb(0x40, 0xa9);
    rig.outb(0x40, 0x04);
    let ticks = 0;
    for (let i = 0; i < 100; i++) {
      rig.clock.advance(1e6);
      if (rig.acknowledge() !== 0x30) continue;
      ticks++;
      rig.setApic(EOI, 0);
    }
    expect(ticks).toBe(100);
  });
});
