import { describe, expect, it } from 'vitest';
import { Msix, PciFunction } from '../core/pci.ts';
import { addDebugConsole, addDebugExit, addPvpanic } from './legacy.ts';
import { setMultiFunction } from './pci/bus.ts';
import { PcRig, TestChardev } from './rig.ts';

/** A function shaped like a transitional virtio device: I/O BAR 0, MSI-X in BAR 1, 64-bit BAR 4. */
class Probe extends PciFunction {
  readonly log: string[] = [];

  constructor(ioSize = 0x20) {
    super('probe', {
      vendor: 0x1af4,
      device: 0x1000,
      revision: 0,
      classCode: 0x00ff00,
      subsystemVendor: 0x1af4,
      subsystem: 1,
      interruptPin: 1,
    });
    const handler = (bar: number) => ({
      read: (offset: number) => {
        this.log.push(`r${bar}+${offset}`);
        return bar;
      },
      write: (offset: number, _size: number, value: number) =>
        void this.log.push(`w${bar}+${offset}=${value}`),
    });
    this.addBar(0, { name: 'probe-io', kind: 'io', size: ioSize, handler: handler(0) });
    new Msix(this, 2, 1);
    this.addBar(4, {
      name: 'probe-mem',
      kind: 'mem64',
      prefetchable: true,
      size: 0x4000,
      handler: handler(4),
    });
  }
}

describe('PCI configuration', () => {
  it('shows the chipsets of QEMU', () => {
    const pc = new PcRig('pc');
    expect(pc.config(0, 0, 0)).toBe(0x12378086);
    expect(pc.config(1, 0, 0)).toBe(0x70008086);
    expect(pc.config(1, 3, 0)).toBe(0x71138086);
    expect(pc.config(1, 0, 0x0c)).toBe(0x00800000);
    expect(pc.config(2, 0, 0)).toBe(0xffffffff);
    const q35 = new PcRig('q35');
    expect(q35.config(0, 0, 0)).toBe(0x29c08086);
    expect(q35.config(31, 0, 0)).toBe(0x29188086);
    expect(q35.config(31, 3, 0)).toBe(0x29308086);
    expect(q35.config(0, 0, 0x2c)).toBe(0x11001af4);
  });

  it('is byte- and word-addressable through CFCh', () => {
    const pc = new PcRig();
    pc.ports.write(0xcf8, 4, 0x80000000);
    expect(pc.ports.read(0xcf8, 4)).toBe(0x80000000);
    expect(pc.ports.read(0xcfc, 2)).toBe(0x8086);
    expect(pc.ports.read(0xcfe, 2)).toBe(0x1237);
    expect(pc.inb(0xcff)).toBe(0x12);
    pc.ports.write(0xcf8, 4, 0);
    expect(pc.ports.read(0xcfc, 4)).toBe(0xffffffff);
    // Another bus: nobody there.
    pc.ports.write(0xcf8, 4, 0x80010000);
    expect(pc.ports.read(0xcfc, 4)).toBe(0xffffffff);
    // Only double words reach the address register: CF9h is another one.
    pc.outb(0xcf8, 0x55);
    expect(pc.ports.read(0xcf8, 4)).toBe(0x80010000);
  });

  it('is mapped at PCIEXBAR on q35, once firmware has enabled it', () => {
    const q35 = new PcRig('q35');
    expect(q35.mmio.read(0xb0000000, 4)).toBe(0xffffffff);
    q35.platform.firmwareInit();
    expect(q35.mmio.read(0xb0000000, 4)).toBe(0x29c08086);
    expect(q35.mmio.read(0xb00f8000, 2)).toBe(0x8086);
    expect(q35.mmio.read(0xb00fb000, 4)).toBe(0x29308086);
    expect(q35.mmio.read(0xb0100000, 4)).toBe(0xffffffff);
    expect(q35.config(0, 0, 0x60)).toBe(0xb0000001);
    q35.setConfig(0, 0, 0x60, 0xe0000005);
    expect(q35.mmio.read(0xb0000000, 4)).toBe(0xffffffff);
    expect(q35.mmio.read(0xe0000000, 4)).toBe(0x29c08086);
  });
});

describe('firmwareInit', () => {
  it('places BARs and interrupt lines as SeaBIOS does on pc', () => {
    const pc = new PcRig('pc');
    pc.platform.pci.add(new Probe(), 'probe', { slot: 2, function: 0 });
    pc.platform.pci.add(new Probe(0x40), 'probe', { slot: 3, function: 0 });
    pc.platform.firmwareInit();
    expect([2, 3].map((slot) => pc.config(slot, 0, 0x10))).toEqual([0xc041, 0xc001]);
    expect([2, 3].map((slot) => pc.config(slot, 0, 0x14))).toEqual([0xfebfe000, 0xfebff000]);
    expect([2, 3].map((slot) => pc.config(slot, 0, 0x20))).toEqual([0xfebf400c, 0xfebf800c]);
    expect([2, 3].map((slot) => pc.config(slot, 0, 0x3c))).toEqual([0x010a, 0x010b]);
    expect(pc.config(2, 0, 4)).toBe(0x00100103);
    expect(pc.config(1, 3, 0x3c)).toBe(0x0109);
    expect(pc.config(1, 3, 0x40)).toBe(0x601);
    expect(pc.config(1, 0, 0x60)).toBe(0x0b0b0a0a);
    expect(pc.ports.read(0x4d0, 2)).toBe(0x0c00);
  });

  it('and on q35', () => {
    const q35 = new PcRig('q35');
    q35.platform.pci.add(new Probe(), 'probe', { slot: 1, function: 0 });
    q35.platform.pci.add(new Probe(0x40), 'probe', { slot: 3, function: 0 });
    q35.platform.firmwareInit();
    expect([1, 3].map((slot) => q35.config(slot, 0, 0x3c))).toEqual([0x010a, 0x010b]);
    expect(q35.config(31, 3, 0x3c)).toBe(0x010a);
    expect(q35.config(31, 3, 0x20)).toBe(0x701);
    expect(q35.config(31, 0, 0x60)).toBe(0x0b0b0a0a);
    expect(q35.config(31, 0, 0x68)).toBe(0x0b0b0a0a);
    expect(q35.config(31, 0, 0xf0)).toBe(0xfed1c001);
  });

  it('may be done again after a reset, with the same outcome', () => {
    const pc = new PcRig('pc');
    pc.platform.pci.add(new Probe(), 'probe');
    pc.platform.firmwareInit();
    const before = [0x04, 0x10, 0x14, 0x20, 0x3c].map((offset) => pc.config(3, 0, offset));
    pc.platform.reset();
    expect(pc.config(3, 0, 0x10)).toBe(1);
    pc.platform.firmwareInit();
    expect([0x04, 0x10, 0x14, 0x20, 0x3c].map((offset) => pc.config(3, 0, offset))).toEqual(before);
  });

  it('fills the memory sizes into CMOS', () => {
    const pc = new PcRig('pc');
    const cmos = (index: number): number => {
      pc.outb(0x70, index);
      return pc.inb(0x71);
    };
    expect(cmos(0x15) | (cmos(0x16) << 8)).toBe(640);
    expect(cmos(0x17) | (cmos(0x18) << 8)).toBe(31 * 1024);
    expect(cmos(0x34) | (cmos(0x35) << 8)).toBe(256);
    expect(cmos(0x5f)).toBe(0);
    expect(cmos(0x3d)).toBe(0x12);
  });
});

describe('BARs', () => {
  function placed() {
    const pc = new PcRig('pc');
    const fn = new Probe();
    pc.platform.pci.add(fn, 'probe', { slot: 4, function: 0 });
    return { pc, fn };
  }

  it('answer when the command register enables them', () => {
    const { pc, fn } = placed();
    pc.setConfig(4, 0, 0x10, 0xd000);
    expect(pc.ports.read(0xd000, 4)).toBe(0xffffffff);
    pc.setConfig(4, 0, 0x04, 1);
    expect(pc.ports.read(0xd004, 4)).toBe(0);
    pc.ports.write(0xd008, 2, 7);
    expect(fn.log).toEqual(['r0+4', 'w0+8=7']);
    pc.setConfig(4, 0, 0x04, 0);
    expect(pc.ports.read(0xd004, 4)).toBe(0xffffffff);
  });

  it('tell their size', () => {
    const { pc } = placed();
    pc.setConfig(4, 0, 0x04, 3);
    for (const [offset, size] of [
      [0x10, 0xffffffe1],
      [0x14, 0xfffff000],
      [0x20, 0xffffc00c],
      [0x24, 0xffffffff],
    ] as const) {
      pc.setConfig(4, 0, offset, 0xffffffff);
      expect(pc.config(4, 0, offset)).toBe(size);
    }
  });

  it('move, also above 4 GiB', () => {
    const { pc, fn } = placed();
    pc.setConfig(4, 0, 0x04, 2);
    pc.setConfig(4, 0, 0x20, 0xe0000000);
    expect(pc.mmio.read(0xe0000010, 4)).toBe(4);
    pc.setConfig(4, 0, 0x24, 8);
    expect(pc.mmio.read(0xe0000010, 4)).toBe(0xffffffff);
    expect(pc.mmio.read(0x8e0000010, 4)).toBe(4);
    expect(fn.log).toEqual(['r4+16', 'r4+16']);
  });

  it('on top of each other or of the chipset wait until there is room', () => {
    const { pc } = placed();
    pc.setConfig(4, 0, 0x04, 3);
    pc.setConfig(4, 0, 0x10, 0x60);
    expect(pc.guestErrors).toHaveLength(1);
    expect(pc.inb(0x64)).not.toBe(0);
    pc.setConfig(4, 0, 0x20, 0xfec00000);
    expect(pc.ioapic(1)).toBe(0x170020);
    const other = new Probe();
    pc.platform.pci.add(other, 'other', { slot: 5, function: 0 });
    pc.setConfig(4, 0, 0x10, 0xd000);
    pc.setConfig(5, 0, 0x10, 0xd000);
    pc.setConfig(5, 0, 0x04, 1);
    pc.ports.read(0xd000, 1);
    expect(other.log).toEqual([]);
    pc.setConfig(4, 0, 0x10, 0xd100);
    pc.ports.read(0xd000, 1);
    expect(other.log).toEqual(['r0+0']);
  });
});

describe('slots', () => {
  it('are given out from 2 on pc and 1 on q35, with the place of VGA kept on pc', () => {
    const pc = new PcRig('pc');
    expect(pc.platform.pci.add(new Probe(), 'a').slot).toBe(3);
    expect(pc.platform.pci.add(new Probe(), 'b').slot).toBe(4);
    expect(pc.platform.pci.add(new Probe(), 'c', { slot: 2, function: 0 }).slot).toBe(2);
    const bare = new PcRig('pc', { reserveVgaSlot: false });
    expect(bare.platform.pci.add(new Probe(), 'a').slot).toBe(2);
    expect(new PcRig('q35').platform.pci.add(new Probe(), 'a').slot).toBe(1);
  });

  it('are refused when taken or used up, naming who has them', () => {
    const pc = new PcRig('pc');
    pc.platform.pci.add(new Probe(), 'virtio-rng-pci', { slot: 5, function: 0 });
    expect(() => pc.platform.pci.add(new Probe(), 'virtio-blk-pci', { slot: 5, function: 0 })).toThrow(
      'PCI: slot 5 function 0 not available for virtio-blk-pci, in use by virtio-rng-pci',
    );
    expect(() => pc.platform.pci.add(new Probe(), 'x', { slot: 5, function: 1 })).toThrow('single function');
    for (let i = 0; i < 28; i++) pc.platform.pci.add(new Probe(), `p${i}`);
    expect(() => pc.platform.pci.add(new Probe(), 'last')).toThrow('no slot/function available for last');
  });

  it('hold several functions when function 0 says so', () => {
    const pc = new PcRig('pc');
    const first = new Probe();
    setMultiFunction(first);
    pc.platform.pci.add(first, 'a', { slot: 6, function: 0 });
    pc.platform.pci.add(new Probe(), 'b', { slot: 6, function: 1 });
    expect(pc.config(6, 1, 0)).toBe(0x10001af4);
    expect(pc.config(6, 0, 0x0c) & 0x800000).toBe(0x800000);
  });

  it('are emptied by unplugging: BARs, configuration and line go', () => {
    const pc = new PcRig('pc');
    const fn = new Probe();
    pc.platform.pci.add(fn, 'a', { slot: 4, function: 0 });
    pc.platform.firmwareInit();
    pc.initPics();
    const port = pc.config(4, 0, 0x10) & ~3;
    fn.setIntx(true);
    expect(pc.interrupt).toBe(true);
    pc.platform.pci.remove(fn);
    expect(pc.interrupt).toBe(false);
    expect(pc.config(4, 0, 0)).toBe(0xffffffff);
    expect(pc.ports.read(port, 1)).toBe(0xff);
    expect(pc.platform.pci.add(new Probe(), 'b', { slot: 4, function: 0 }).slot).toBe(4);
  });
});

describe('hot-plug by ACPI', () => {
  function running() {
    const pc = new PcRig('pc');
    pc.platform.firmwareInit();
    pc.setApic(0xf0, 0x1ff);
    pc.setApic(0x350, 0x10700);
    pc.setIoapic(0x10 + 2 * 9, 0x8039);
    const { power, pciHotplugPort } = pc.platform.info;
    pc.outb(power.gpe0Block + power.gpe0Length / 2, 0x02);
    const removed: string[] = [];
    pc.platform.hotplug.onRemoved = ({ label }) => removed.push(label);
    /** The GPE handler: acknowledges the interrupt and the event. */
    const handle = (): boolean => {
      if (pc.acknowledge() !== 0x39) return false;
      pc.outb(power.gpe0Block, 0x02);
      pc.setApic(0xb0, 0);
      return true;
    };
    const read = (offset: number): number => pc.ports.read(pciHotplugPort.base + offset, 4);
    const write = (offset: number, value: number): void =>
      pc.ports.write(pciHotplugPort.base + offset, 4, value);
    return { pc, removed, handle, read, write };
  }

  it('tells of a new function once', () => {
    const { pc, handle, read } = running();
    pc.platform.hotplug.add(pc.platform.pci, new Probe(), 'late', { slot: 5, function: 0 });
    expect(handle()).toBe(true);
    expect(read(0)).toBe(1 << 5);
    expect(read(0)).toBe(0);
    expect(pc.config(5, 0, 0)).toBe(0x10001af4);
    expect(handle()).toBe(false);
  });

  it('removes a function when the guest gives its slot back', () => {
    const { pc, handle, read, write, removed } = running();
    const fn = new Probe();
    pc.platform.hotplug.add(pc.platform.pci, fn, 'late', { slot: 5, function: 0 });
    handle();
    pc.platform.hotplug.requestRemove(pc.platform.pci, 5);
    expect(handle()).toBe(true);
    expect(read(4)).toBe(1 << 5);
    expect(pc.config(5, 0, 0)).toBe(0x10001af4);
    write(8, 1 << 5);
    expect(pc.config(5, 0, 0)).toBe(0xffffffff);
    expect(removed).toEqual(['late']);
    expect(read(4)).toBe(0);
  });

  it('never gives the chipset away', () => {
    const { pc, read, write } = running();
    expect(() => pc.platform.hotplug.requestRemove(pc.platform.pci, 1)).toThrow('not hot-pluggable');
    expect(read(0x0c)).toBe(0xfffffffc);
    write(8, 0xffffffff);
    expect(pc.config(0, 0, 0)).toBe(0x12378086);
    expect(pc.config(1, 3, 0)).toBe(0x71138086);
    // Another bus has no slots here.
    write(0x10, 1);
    expect(read(0x0c)).toBe(0);
    expect(read(0x10)).toBe(1);
  });

  it('finishes a removal at a reset', () => {
    const { pc, removed } = running();
    pc.platform.hotplug.add(pc.platform.pci, new Probe(), 'late', { slot: 5, function: 0 });
    pc.platform.hotplug.requestRemove(pc.platform.pci, 5);
    pc.platform.reset();
    expect(removed).toEqual(['late']);
    expect(pc.config(5, 0, 0)).toBe(0xffffffff);
  });

  it('does so a thousand times without leaving anything behind', () => {
    const { pc, write } = running();
    const ranges = pc.ports.ranges.length + pc.mmio.ranges.length;
    for (let i = 0; i < 1000; i++) {
      const fn = new Probe();
      const { slot } = pc.platform.hotplug.add(pc.platform.pci, fn, `p${i}`);
      pc.setConfig(slot, 0, 0x10, 0xd000);
      pc.setConfig(slot, 0, 0x20, 0xe0000000);
      pc.setConfig(slot, 0, 0x04, 7);
      fn.setIntx(true);
      expect(slot).toBe(3);
      pc.platform.hotplug.requestRemove(pc.platform.pci, slot);
      write(8, 1 << slot);
    }
    expect(pc.ports.ranges.length + pc.mmio.ranges.length).toBe(ranges);
  });
});

describe('interrupts of PCI functions', () => {
  it('INTx arrives at the ISA interrupt of its PIRQ on pc, shared and level-triggered', () => {
    const pc = new PcRig('pc');
    const [a, b] = [new Probe(), new Probe()];
    pc.platform.pci.add(a, 'a', { slot: 3, function: 0 });
    pc.platform.pci.add(b, 'b', { slot: 7, function: 0 });
    pc.platform.firmwareInit();
    pc.setApic(0xf0, 0x1ff);
    pc.setApic(0x350, 0x10700);
    pc.setIoapic(0x10 + 2 * 11, 0x804b);
    a.setIntx(true);
    b.setIntx(true);
    expect(pc.acknowledge()).toBe(0x4b);
    a.setIntx(false);
    pc.setApic(0xb0, 0);
    expect(pc.acknowledge()).toBe(0x4b);
    b.setIntx(false);
    pc.setApic(0xb0, 0);
    expect(pc.interrupt).toBe(false);
    expect(pc.platform.info.pciRoute(3, 0)).toEqual({ pirq: 2, gsi: 11 });
    // Routed away and off.
    pc.setIoapic(0x10 + 2 * 10, 0x804a);
    a.setIntx(true);
    expect(pc.acknowledge()).toBe(0x4b);
    pc.setApic(0xb0, 0);
    pc.acknowledge();
    pc.setConfig(1, 0, 0x60, 0x0b0a0a0a);
    pc.setApic(0xb0, 0);
    expect(pc.acknowledge()).toBe(0x4a);
    pc.setConfig(1, 0, 0x60, 0x0b800a0a);
    pc.setApic(0xb0, 0);
    expect(pc.interrupt).toBe(false);
  });

  it('INTx arrives at GSI 16-23 on q35', () => {
    const q35 = new PcRig('q35');
    const fn = new Probe();
    q35.platform.pci.add(fn, 'a', { slot: 2, function: 0 });
    q35.platform.firmwareInit();
    const { gsi } = q35.platform.info.pciRoute(2, 0);
    expect(gsi).toBe(22);
    q35.setApic(0xf0, 0x1ff);
    q35.setApic(0x350, 0x10700);
    q35.setIoapic(0x10 + 2 * gsi, 0x8056);
    fn.setIntx(true);
    expect(q35.acknowledge()).toBe(0x56);
  });

  it('MSI-X messages go to the local APIC', () => {
    const pc = new PcRig('pc');
    const fn = new Probe();
    pc.platform.pci.add(fn, 'a', { slot: 3, function: 0 });
    pc.platform.firmwareInit();
    pc.setApic(0xf0, 0x1ff);
    const table = pc.config(3, 0, 0x14);
    [0xfee00000, 0, 0x67, 0].forEach((value, i) => pc.mmio.write(table + 4 * i, 4, value));
    const capability = fn.msix!.capability;
    pc.setConfig(3, 0, capability, 0x80000000 | (pc.config(3, 0, capability) & 0xffff));
    fn.msix!.notify(0);
    expect(pc.interrupt).toBe(false);
    pc.setConfig(3, 0, 4, 0x107);
    fn.msix!.notify(0);
    expect(pc.acknowledge()).toBe(0x67);
  });
});

describe('platform', () => {
  it('has COM1 to COM4 on demand', () => {
    const pc = new PcRig('pc');
    expect(pc.inb(0x3fd)).toBe(0xff);
    expect(pc.platform.info.serialPorts).toEqual([]);
    const chardev = new TestChardev();
    pc.platform.attachSerial(0, chardev);
    pc.platform.attachSerial(1);
    expect(pc.platform.info.serialPorts.map((port) => port.port)).toEqual([0x3f8, 0x2f8]);
    pc.outb(0x3f8, 0x21);
    pc.outb(0x2f8, 0x22);
    expect(chardev.text).toBe('!');
    expect(() => pc.platform.attachSerial(0)).toThrow('already in use');
    expect(() => pc.platform.attachSerial(4)).toThrow('at most 4');
    pc.initPics();
    pc.outb(0x3f9, 0x02);
    expect(pc.acknowledge()).toBe(0x24);
  });

  it('reads ones where nothing is: VGA, parallel port, floppy', () => {
    const pc = new PcRig('pc');
    for (const port of [0x3c4, 0x3d4, 0x378, 0x3f4, 0x1f7]) expect(pc.inb(port)).toBe(0xff);
    expect(pc.inb(0x80)).toBe(0xff);
    pc.outb(0x80, 1);
  });

  it('keeps what is written to the DMA controllers', () => {
    const pc = new PcRig('pc');
    pc.outb(0x87, 0x12);
    pc.outb(0xc0, 0x34);
    expect(pc.inb(0x87)).toBe(0x12);
    expect(pc.inb(0xc0)).toBe(0x34);
    expect(pc.inb(0x08)).toBe(0);
  });

  it('takes a debug exit and a debug console', () => {
    const pc = new PcRig('pc');
    const exits: number[] = [];
    let text = '';
    addDebugExit(pc.ports, { iobase: 0xf4, iosize: 4, onExit: (status) => exits.push(status) });
    addDebugConsole(pc.ports, { onByte: (byte) => (text += String.fromCharCode(byte)) });
    pc.ports.write(0xf4, 4, 0x10);
    expect(exits).toEqual([0x21]);
    expect(pc.inb(0xe9)).toBe(0xe9);
    pc.outb(0xe9, 0x68);
    pc.outb(0xe9, 0x69);
    expect(text).toBe('hi');
  });

  it('hears of a panic', () => {
    const pc = new PcRig('pc');
    const events: number[] = [];
    addPvpanic(pc.ports, { onEvent: (event) => events.push(event) });
    expect(pc.inb(0x505)).toBe(3);
    pc.outb(0x505, 0x01);
    pc.outb(0x505, 0x80);
    expect(events).toEqual([1]);
  });

  it('goes back to its power-on state', () => {
    const fresh = new PcRig('q35');
    fresh.platform.reset();
    const used = new PcRig('q35');
    used.platform.firmwareInit();
    used.initPics();
    used.setApic(0xf0, 0x1ff);
    used.setIoapic(0x20, 0x8031);
    used.outb(0x43, 0x34);
    used.outb(0x40, 1);
    used.outb(0x40, 1);
    used.clock.advance(1e7);
    used.platform.reset();
    expect(used.interrupt).toBe(false);
    const state = ({ platform }: PcRig): unknown => [
      platform.pic.master.state.imr,
      platform.pic.slave.state,
      platform.ioapic.state,
      platform.lapics[0]!.state,
      platform.i8042.state,
      platform.fwCfg.state,
      platform.pci.functions.map(({ fn }) => [...fn.config]),
    ];
    expect(state(used)).toEqual(state(fresh));
  });

  it('is not thrown off by a guest that writes anything anywhere', () => {
    // A fixed pseudo-random sequence: what fails once fails again.
    let seed = 12345;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return Math.floor((seed / 2 ** 32) * limit);
    };
    for (const machine of ['pc', 'q35'] as const) {
      const pc = new PcRig(machine);
      pc.platform.attachSerial(0, new TestChardev());
      pc.platform.pci.add(new Probe(), 'a');
      pc.platform.firmwareInit();
      const sizes = [1, 2, 4] as const;
      const windows = [0xfee00000, 0xfec00000, 0xfed00000, 0xfed1c000, 0xfebf0000, 0xb0000000];
      for (let i = 0; i < 60_000; i++) {
        const size = sizes[random(3)]!;
        const value = random(4) === 0 ? random(256) : random(2 ** 32);
        if (random(2) === 0) {
          const ranges = pc.ports.ranges;
          const range = ranges[random(ranges.length)]!;
          const port = range.base + random(range.size);
          if (random(2) === 0) pc.ports.write(port, size, value);
          const got = pc.ports.read(port, size);
          expect(got >= 0 && got < 2 ** (8 * size)).toBe(true);
        } else {
          const address = windows[random(windows.length)]! + random(0x1000);
          if (random(2) === 0) pc.mmio.write(address, size, value);
          const got = pc.mmio.read(address, size);
          expect(got >= 0 && got < 2 ** (8 * size)).toBe(true);
        }
        if (i % 50 === 0) pc.clock.advance(random(100_000));
        if (pc.interrupt && random(3) === 0) pc.acknowledge();
        if (i % 10_000 === 9_999) {
          pc.platform.reset();
          pc.platform.firmwareInit();
        }
      }
    }
  }, 60_000);
});
