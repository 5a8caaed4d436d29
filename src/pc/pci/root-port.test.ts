import { describe, expect, it } from 'vitest';
import { Msix, PciFunction } from '../../core/pci.ts';
import { PcRig } from '../rig.ts';
import type { PlacedFunction } from './bus.ts';
import { PcieRootPort } from './root-port.ts';

const ECAM = 0xb0000000;

/** An endpoint with a BAR of each kind; the BARs' values say which was read. */
class Endpoint extends PciFunction {
  constructor() {
    super('endpoint', {
      vendor: 0x1af4,
      device: 0x1044,
      revision: 1,
      classCode: 0x00ff00,
      subsystemVendor: 0x1af4,
      subsystem: 0x1100,
      interruptPin: 1,
    });
    const handler = (value: number) => ({ read: () => value, write: () => {} });
    new Msix(this, 2, 1);
    this.addBar(4, { name: 'mem', kind: 'mem64', prefetchable: true, size: 0x4000, handler: handler(0x44) });
    this.addBar(0, { name: 'io', kind: 'io', size: 32, handler: handler(0x10) });
  }
}

/** q35 with two root ports; `ports` and `add` are those of the running machine. */
function machine(options: { plugged?: boolean; hotplug?: boolean } = {}) {
  const rig = new PcRig('q35');
  const { pci, hotplug } = rig.platform;
  const make = (id: string, slot: number): PcieRootPort => {
    const port = new PcieRootPort({
      busName: id,
      slot,
      port: 0,
      hotplug: options.hotplug ?? true,
      acs: true,
      multifunction: false,
    });
    pci.add(port, `pcie-root-port,id=${id}`);
    return port;
  };
  const ports = [make('rp0', 1), make('rp1', 2)] as const;
  const endpoint = new Endpoint();
  if (options.plugged === true) ports[0].secondary.add(endpoint, 'endpoint');
  rig.platform.firmwareInit();
  const at = (bus: number, slot: number, offset: number): number =>
    ECAM + bus * 0x100000 + slot * 0x8000 + offset;
  const read = (bus: number, slot: number, offset: number): number =>
    rig.mmio.read(at(bus, slot, offset), 4) >>> 0;
  const write = (bus: number, slot: number, offset: number, value: number): void =>
    rig.mmio.write(at(bus, slot, offset), 4, value);
  const { base } = rig.platform.info.pciHotplugPort;
  const acpi = {
    read: (offset: number): number => rig.ports.read(base + offset, 4) >>> 0,
    write: (offset: number, value: number): void => rig.ports.write(base + offset, 4, value),
  };
  const removed: PlacedFunction[] = [];
  hotplug.onRemoved = (placed) => removed.push(placed);
  return { rig, pci, hotplug, ports, endpoint, read, write, acpi, removed };
}

describe('a root port', () => {
  it('shows what QEMU’s shows', () => {
    const { read } = machine({ plugged: true });
    expect(read(0, 1, 0x00)).toBe(0x000c1b36);
    expect(read(0, 1, 0x08)).toBe(0x06040000);
    expect(read(0, 1, 0x0c)).toBe(0x00010000);
    // SSVID, MSI-X, PCI Express.
    expect(read(0, 1, 0x34)).toBe(0x54);
    expect(read(0, 1, 0x40)).toBe(0x0000000d);
    expect(read(0, 1, 0x44)).toBe(0x00001b36);
    expect(read(0, 1, 0x54)).toBe(0x01424810);
    expect(read(0, 1, 0x60)).toBe(0x00300604);
    expect(read(0, 1, 0x68)).toBe(0x000a007b);
    expect(read(0, 2, 0x68)).toBe(0x0012007b);
    // With something in the slot it has power, and the link is the endpoint's.
    expect(read(0, 1, 0x64)).toBe(0x00110000);
    expect(read(0, 1, 0x6c)).toBe(0x000001c0);
    expect(read(0, 2, 0x64)).toBe(0x02040000);
    expect(read(0, 2, 0x6c)).toBe(0x000007c0);
    expect(read(0, 1, 0x78)).toBe(0x00300020);
    expect(read(0, 1, 0x100)).toBe(0x14820001);
    expect(read(0, 1, 0x10c)).toBe(0x00462030);
    expect(read(0, 1, 0x114)).toBe(0x0000e000);
    expect(read(0, 1, 0x148)).toBe(0x0001000d);
    expect(read(0, 1, 0x14c)).toBe(0x0000005f);
  });

  it('gets its buses and windows from firmware as from SeaBIOS', () => {
    const { ports, endpoint, pci } = machine({ plugged: true });
    const [first, second] = ports;
    expect([first.secondaryNumber, first.subordinateNumber]).toEqual([1, 1]);
    expect([second.secondaryNumber, second.subordinateNumber]).toEqual([2, 2]);
    expect(first.memoryWindow).toEqual({ base: 0xfe400000, limit: 0xfe5fffff });
    expect(second.memoryWindow).toEqual({ base: 0xfe200000, limit: 0xfe3fffff });
    expect(first.prefetchableWindow).toEqual({ base: 0xfea00000, limit: 0xfebfffff });
    expect(second.prefetchableWindow).toEqual({ base: 0xfe800000, limit: 0xfe9fffff });
    // Of I/O there is as much as is needed: 4 KiB, or none.
    expect(first.ioWindow.limit - first.ioWindow.base).toBe(0xfff);
    expect(second.ioWindow.base).toBeGreaterThan(second.ioWindow.limit);
    expect(endpoint.mappings().map(({ base }) => base)).toEqual([
      first.ioWindow.base,
      0xfe400000,
      0xfea00000,
    ]);
    expect(pci.tree.map(({ name, number }) => [name, number])).toEqual([
      ['pcie.0', 0],
      ['rp0', 1],
      ['rp1', 2],
    ]);
    // The pin of what is behind is turned by the port's slot, as the port's own.
    expect(endpoint.byte(0x3c)).toBe(first.byte(0x3c));
  });

  it('forwards configuration to its bus alone, and nothing to a bus without a number', () => {
    const { read, write } = machine({ plugged: true });
    expect(read(1, 0, 0)).toBe(0x10441af4);
    expect(read(1, 1, 0)).toBe(0xffffffff);
    expect(read(2, 0, 0)).toBe(0xffffffff);
    write(0, 1, 0x18, 0x00070700);
    expect(read(1, 0, 0)).toBe(0xffffffff);
    expect(read(7, 0, 0)).toBe(0x10441af4);
    write(0, 1, 0x18, 0);
    expect(read(0, 0, 0)).toBe(0x29c08086);
    expect(read(7, 0, 0)).toBe(0xffffffff);
  });

  it('decodes what is behind it while its windows and enables say so', () => {
    const { rig, write, read, ports } = machine({ plugged: true });
    const io = ports[0].ioWindow.base;
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0x44);
    expect(rig.ports.read(io, 4)).toBe(0x10);
    // Memory space off: only ports are forwarded.
    const command = read(0, 1, 4);
    write(0, 1, 4, command & ~2);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0xffffffff);
    expect(rig.ports.read(io, 4)).toBe(0x10);
    write(0, 1, 4, command);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0x44);
    // A window that is closed: base above limit.
    const window = read(0, 1, 0x24);
    write(0, 1, 0x24, 0x0000fff0);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0xffffffff);
    write(0, 1, 0x24, window);
    // The upper half of the window's addresses counts, too.
    write(0, 1, 0x28, 1);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0xffffffff);
    write(0, 1, 0x28, 0);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0x44);
  });

  it('resets what is behind it by bridge control', () => {
    const { rig, write, read } = machine({ plugged: true });
    expect(read(1, 0, 0x20)).toBe(0xfea0000c);
    write(0, 1, 0x3c, 0x00400000);
    expect(read(1, 0, 0x20)).toBe(0x0000000c);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0xffffffff);
  });

  it('survives a guest that writes anything anywhere', () => {
    const { rig, pci, write, read } = machine({ plugged: true });
    let random = 12345;
    const next = (): number => (random = (Math.imul(random, 1103515245) + 12345) >>> 0);
    for (let i = 0; i < 20_000; i++)
      write(next() >>> 30, (next() >>> 16) & 3, (next() >>> 8) & 0x1fc, next());
    rig.platform.reset();
    rig.platform.firmwareInit();
    expect(read(1, 0, 0)).toBe(0x10441af4);
    expect(rig.mmio.read(0xfea00000, 4)).toBe(0x44);
    expect(pci.tree.map(({ number }) => number)).toEqual([0, 1, 2]);
  });
});

describe('hot-plug behind root ports', () => {
  it('tells of a function by the selector of its bus, and takes it when the guest gives it back', () => {
    const { hotplug, ports, acpi, read, removed, rig } = machine();
    const [first, second] = ports;
    // QEMU counts the latest bus first.
    expect(hotplug.buses.map(({ name }) => name)).toEqual(['rp1', 'rp0']);
    expect(rig.platform.info.hotplugBuses).toEqual([[2 * 8], [1 * 8]]);
    const endpoint = new Endpoint();
    hotplug.add(first.secondary, endpoint, 'hot');
    acpi.write(0x10, 0);
    expect(acpi.read(0)).toBe(0);
    acpi.write(0x10, 1);
    expect(acpi.read(0)).toBe(1);
    expect(acpi.read(0)).toBe(0);
    expect(read(1, 0, 0)).toBe(0x10441af4);
    hotplug.requestRemove(first.secondary, 0);
    expect(acpi.read(4)).toBe(1);
    // Giving back the same slot of the other bus is of no consequence.
    acpi.write(0x10, 0);
    acpi.write(8, 1);
    expect(removed).toEqual([]);
    acpi.write(0x10, 1);
    acpi.write(8, 1);
    expect(removed.map(({ fn, bus }) => [fn, bus.name])).toEqual([[endpoint, 'rp0']]);
    expect(read(1, 0, 0)).toBe(0xffffffff);
    expect(acpi.read(4)).toBe(0);
    hotplug.add(second.secondary, new Endpoint(), 'other');
    hotplug.requestRemove(second.secondary, 0);
    rig.platform.reset();
    expect(removed).toHaveLength(2);
    // No selector of a bus: nothing there.
    acpi.write(0x10, 2);
    acpi.write(8, 0xffffffff);
    expect([acpi.read(0), acpi.read(4), acpi.read(0x0c)]).toEqual([0, 0, 0]);
  });

  it('does so a thousand times without leaving anything behind', () => {
    const { hotplug, ports, acpi, rig, write } = machine();
    const ranges = rig.ports.ranges.length + rig.mmio.ranges.length;
    for (let i = 0; i < 1000; i++) {
      hotplug.add(ports[1].secondary, new Endpoint(), `p${i}`);
      write(2, 0, 0x20, 0xfe800000);
      write(2, 0, 0x04, 7);
      expect(rig.mmio.read(0xfe800000, 4)).toBe(0x44);
      hotplug.requestRemove(ports[1].secondary, 0);
      acpi.write(8, 1);
      expect(rig.mmio.read(0xfe800000, 4)).toBe(0xffffffff);
    }
    expect(rig.ports.ranges.length + rig.mmio.ranges.length).toBe(ranges);
  });

  it('is refused on the root bus, and behind a port with hotplug=off', () => {
    const { hotplug, pci, ports } = machine({ hotplug: false });
    expect(hotplug.buses).toEqual([]);
    for (const bus of [pci, ports[0].secondary])
      expect(() => hotplug.add(bus, new Endpoint(), 'hot')).toThrow(
        `Bus '${bus.name}' does not support hotplugging`,
      );
  });
});
