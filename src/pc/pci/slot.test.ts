/** Native hot-plug by a slot's registers, and the options of a root port. Values are those of QEMU 7.2. */
import { describe, expect, it } from 'vitest';
import { PciFunction } from '../../core/pci.ts';
import { PcRig } from '../rig.ts';
import type { PlacedFunction } from './bus.ts';
import { PcieRootPort, type RootPortOptions } from './root-port.ts';

const ECAM = 0xb0000000;
const BUTTON = 0x01;
const PRESENCE = 0x08;
const COMMAND = 0x10;
const PRESENT = 0x40;
const LOCKED = 0x80;
/** As Linux enables a slot's events; power on, or off, with the indicator. */
const ON = 0x01f1;
const BLINKING = 0x02f1;
const OFF = 0x07f1;

class Endpoint extends PciFunction {
  resets = 0;

  constructor() {
    const identity = { vendor: 0x1af4, device: 0x1044, revision: 1, classCode: 0x00ff00 };
    super('endpoint', { ...identity, subsystemVendor: 0x1af4, subsystem: 0x1100, interruptPin: 1 });
    const handler = { read: () => 0x44, write: () => {} };
    this.addBar(4, { name: 'mem', kind: 'mem32', size: 0x1000, handler });
  }

  override reset(): void {
    super.reset();
    this.resets++;
  }
}

function machine(options: Partial<RootPortOptions> = {}, cold?: PciFunction) {
  const rig = new PcRig('q35', { acpiHotplug: { root: true, bridges: false } });
  const { pci, hotplug } = rig.platform;
  const port = new PcieRootPort({
    ...{ busName: 'rp1', slot: 1, port: 0, hotplug: true, native: true, acs: true, multifunction: false },
    ...options,
  });
  pci.add(port, 'pcie-root-port,id=rp1');
  if (cold !== undefined) port.secondary.add(cold, 'cold');
  rig.platform.firmwareInit();
  const at = (offset: number, bus = 0): number => ECAM + bus * 0x100000 + (bus === 0 ? 0x8000 : 0) + offset;
  const read = (offset: number, bus?: number): number => rig.mmio.read(at(offset, bus), 4) >>> 0;
  const write = (offset: number, size: 1 | 2 | 4, value: number, bus?: number): void =>
    rig.mmio.write(at(offset, bus), size, value);
  const removed: PciFunction[] = [];
  hotplug.onRemoved = ({ fn }: PlacedFunction) => removed.push(fn);
  return {
    ...{ rig, pci, hotplug, port, read, removed },
    config: write,
    control: (value: number) => write(0x6c, 2, value),
    get status(): number {
      return read(0x6c) >>> 16;
    },
    get controls(): number {
      return read(0x6c) & 0xffff;
    },
    clear: (bits: number) => write(0x6e, 2, bits),
    /** Events that are interrupts, by the line of the pin. */
    get interrupt(): boolean {
      return (read(0x04) & 0x00080000) !== 0;
    },
    plug: (fn: PciFunction, addr?: { slot: number; function: number }) =>
      hotplug.add(port.secondary, fn, fn.name, addr),
    unplug: () => hotplug.requestRemove(port.secondary, 0),
  };
}

describe('native hot-plug', () => {
  it('ACPI has no part in it: no buses to select, and the system gets it by _OSC', () => {
    const { hotplug, pci, port, rig } = machine();
    expect(hotplug.buses).toEqual([]);
    expect(rig.platform.info).toMatchObject({ nativeHotplug: true, hotplugBuses: [] });
    expect(hotplug.supports(port.secondary)).toBe(true);
    expect(hotplug.supports(pci)).toBe(false);
  });

  it('shows what is there at the start, with power, link and no event', () => {
    const cold = machine({}, new Endpoint());
    expect(cold.read(0x6c)).toBe(0x004001c0);
    expect(cold.read(0x64) >>> 16).toBe(0x2011);
    const empty = machine();
    expect(empty.read(0x6c)).toBe(0x000007c0);
    expect(empty.read(0x64) >>> 16).toBe(0x0204);
    expect(empty.interrupt).toBe(false);
  });

  it('presses the button for what comes; what is in the slot answers when that has power', () => {
    const m = machine();
    m.control(OFF);
    expect(m.status).toBe(COMMAND);
    expect(m.interrupt).toBe(true);
    m.clear(COMMAND);
    expect(m.interrupt).toBe(false);
    const endpoint = new Endpoint();
    m.plug(endpoint);
    expect(m.status).toBe(PRESENT | PRESENCE | BUTTON);
    expect(m.read(0x64) >>> 16).toBe(0x2011);
    expect(m.interrupt).toBe(true);
    expect(m.read(0, 1)).toBe(0xffffffff);
    m.clear(PRESENCE | BUTTON);
    m.control(ON);
    expect(m.status).toBe(PRESENT | COMMAND);
    expect(m.read(0, 1)).toBe(0x10441af4);
    m.config(0x20, 4, m.port.memoryWindow.base, 1);
    m.config(0x04, 2, 7, 1);
    expect(m.rig.mmio.read(m.port.memoryWindow.base, 4)).toBe(0x44);
    expect(m.removed).toEqual([]);
  });

  it('asks the guest for what goes, and takes it out when the slot is switched off', () => {
    const endpoint = new Endpoint();
    const m = machine({}, endpoint);
    m.control(ON);
    m.clear(COMMAND);
    expect(m.unplug()).toBe(5000);
    expect(m.status).toBe(PRESENT | BUTTON);
    m.clear(BUTTON);
    m.control(BLINKING);
    expect(() => m.unplug()).toThrow('Hot-unplug failed: guest is busy (power indicator blinking)');
    m.clear(COMMAND);
    expect(m.removed).toEqual([]);
    // Power off: nothing answers any more. It is taken out when the indicator is off, too.
    m.control((BLINKING & ~0x0300) | 0x0700);
    expect(m.removed).toEqual([endpoint]);
    expect(m.status).toBe(PRESENCE | COMMAND);
    expect(m.read(0x64) >>> 16).toBe(0x0204);
    expect(m.read(0, 1)).toBe(0xffffffff);
  });

  it('resets what loses its power and keeps it in the slot while the indicator is on', () => {
    const endpoint = new Endpoint();
    const m = machine({}, endpoint);
    m.config(0x20, 4, m.port.memoryWindow.base, 1);
    m.config(0x04, 2, 7, 1);
    const { resets } = endpoint;
    m.control(0x05f1);
    expect(endpoint.resets).toBe(resets + 1);
    expect(m.removed).toEqual([]);
    expect(m.rig.mmio.read(m.port.memoryWindow.base, 4)).toBe(0xffffffff);
    m.control(ON);
    expect(m.read(0, 1)).toBe(0x10441af4);
    expect(m.read(0x20, 1)).toBe(0);
  });

  it('takes out at once what is in a slot that is off', () => {
    const m = machine();
    const endpoint = new Endpoint();
    m.plug(endpoint);
    m.unplug();
    expect(m.removed).toEqual([endpoint]);
    expect(m.status & (PRESENT | PRESENCE)).toBe(PRESENCE);
  });

  it('loses no event to a guest that clears all of them', () => {
    const m = machine();
    m.plug(new Endpoint());
    m.clear(0x1f);
    // Bits that were not set show that the guest has not looked.
    expect(m.status).toBe(PRESENT | PRESENCE | BUTTON);
    m.clear(PRESENCE);
    expect(m.status).toBe(PRESENT | BUTTON);
  });

  it('functions above 0 come first, function 0 is told', () => {
    const m = machine();
    m.plug(new Endpoint(), { slot: 0, function: 1 });
    expect(m.status).toBe(0);
    const first = new Endpoint();
    first.config[0x0e]! |= 0x80;
    m.plug(first, { slot: 0, function: 0 });
    expect(m.status).toBe(PRESENT | PRESENCE | BUTTON);
    expect(() => m.plug(new Endpoint(), { slot: 0, function: 2 })).toThrow(
      'PCI: slot 0 function 0 already occupied by endpoint, new func endpoint cannot be exposed to guest.',
    );
  });

  it('refuses what cannot be plugged, in QEMU’s words', () => {
    for (const off of [{ hotplug: false }, { nativeCapable: false }]) {
      const m = machine(off, new Endpoint());
      expect(() => m.plug(new Endpoint())).toThrow("Hot-plug failed: unsupported by the port device 'rp1'");
      expect(() => m.unplug()).toThrow("Hot-unplug failed: unsupported by the port device 'rp1'");
    }
    const m = machine({}, new Endpoint());
    m.control(ON | 0x0800);
    expect(m.status & LOCKED).toBe(LOCKED);
    expect(m.controls & 0x0800).toBe(0);
    expect(() => m.unplug()).toThrow('slot is electromechanically locked');
    m.control(ON | 0x0800);
    expect(m.status & LOCKED).toBe(0);
    expect(m.unplug()).toBe(5000);
  });

  it('keeps over a reset what was asked for and not given', () => {
    const endpoint = new Endpoint();
    const m = machine({}, endpoint);
    m.control(ON);
    m.unplug();
    m.rig.platform.reset();
    m.rig.platform.firmwareInit();
    expect(m.read(0x6c)).toBe(0x004001c0);
    expect(m.read(0, 1)).toBe(0x10441af4);
    expect(m.removed).toEqual([]);
  });

  it('survives a guest that writes anything into the port', { timeout: 30_000 }, () => {
    const m = machine({}, new Endpoint());
    let random = 54321;
    const next = (): number => (random = (Math.imul(random, 1103515245) + 12345) >>> 0);
    for (let i = 0; i < 3000; i++) m.config((next() >>> 8) & 0x7c, 4, next());
    m.rig.platform.reset();
    m.rig.platform.firmwareInit();
    expect(m.read(0)).toBe(0x000c1b36);
  });
});

describe('options of a root port', () => {
  it.each([
    [{ speed: 1 }, 0x00200601, 0x0201, 0x0000, 0x0000],
    [{ speed: 2 }, 0x00300602, 0x0202, 0x0000, 0x0002],
    [{ speed: 3 }, 0x00300603, 0x0203, 0x000e, 0x0003],
    [{ speed: 4, width: 1 }, 0x00300414, 0x0014, 0x001e, 0x0004],
    [{ speed: 1, width: 1 }, 0x00000411, 0x0011, 0x0000, 0x0000],
    [{ port: 7 }, 0x07300604, 0x0204, 0x001e, 0x0004],
  ])('the link of %j', (options, capabilities, status, speeds, target) => {
    const { read } = machine(options);
    expect(read(0x60)).toBe(capabilities);
    expect(read(0x64) >>> 16).toBe(status);
    expect(read(0x80)).toBe(speeds);
    expect(read(0x84)).toBe(target);
  });

  it.each([
    [{}, 0x000a007b, 0x07c0],
    [{ hotplug: false }, 0x000a001b, 0x07c0],
    [{ nativeCapable: false }, 0x000a001b, 0x07c0],
    [{ powerController: false }, 0x000a0079, 0x00c0],
    [{ slot: 3 }, 0x001a007b, 0x07c0],
  ])('the slot of %j', (options, capabilities, control) => {
    const { read } = machine(options);
    expect(read(0x68)).toBe(capabilities);
    expect(read(0x6c)).toBe(control);
  });
});
