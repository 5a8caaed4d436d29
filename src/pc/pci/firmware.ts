/**
 * What firmware does to PCI before an operating system starts: numbers for all buses, addresses for all BARs and the
 * windows of bridges, interrupt line registers, decoding on. Placement follows SeaBIOS (largest alignment first, memory from the top of the window down), so that
 * `info pci` shows the same addresses here as under QEMU.
 */
import { UsageError } from '../../core/errors.ts';
import {
  PCI_BASE_ADDRESS_0,
  PCI_BRIDGE_CONTROL,
  PCI_BRIDGE_CTL_SERR,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_IO_BASE,
  PCI_IO_LIMIT,
  PCI_MEMORY_BASE,
  PCI_PREF_BASE_UPPER32,
  PCI_PREF_LIMIT_UPPER32,
  PCI_PREF_MEMORY_BASE,
  PCI_PRIMARY_BUS,
  PCI_SECONDARY_BUS,
  PCI_SUBORDINATE_BUS,
  type PciFunction,
} from '../../core/pci.ts';
import type { MachineType, PlatformInfo } from '../info.ts';
import { PciBridge } from './bridge.ts';
import type { PciBus } from './bus.ts';

/** What PIRQA-D (and E-H) are routed to. */
export const PIRQ_IRQS = [10, 10, 11, 11] as const;

/** A page each at the least, so that guests can give single BARs to user programs. */
const MEM_ALIGN = 4096;
const IO_BASE = 0xc000;
const IO_BASE_LOW = 0x1000;

/** A bridge's windows are at least this large, and aligned to it (PCI-to-PCI Bridge 1.2 §3.2.5.6, §3.2.5.8). */
const BRIDGE_IO_MIN = 0x1000;
/** SeaBIOS's choice: room for what is plugged later. */
const BRIDGE_MEM_MIN = 0x200000;

type Kind = 'io' | 'mem' | 'prefetch';
const KINDS: readonly Kind[] = ['io', 'mem', 'prefetch'];

/** What needs an address: a BAR, or the window of a bridge. */
interface Entry {
  readonly size: number;
  readonly align: number;
  /** Can be above 4 GiB. */
  readonly wide: boolean;
  readonly place: (address: number) => void;
}

/** What needs addresses on one bus, each list sorted as it will be placed. */
type Region = Record<Kind, Entry[]>;

/** Assigns everything that has no address yet and turns decoding on in all functions of the tree under `root`. */
export function assignResources(root: PciBus, info: PlatformInfo): void {
  numberBuses(root, { last: 0 });
  const buses = root.tree;
  const regions = new Map<PciBus, Region>();
  for (const bus of buses) regions.set(bus, barsOf(bus));
  // From the leaves to the root: what a bridge forwards is part of what its own bus needs.
  for (const bus of [...buses].sort((a, b) => b.number - a.number)) {
    if (bus.upstream === undefined) continue;
    const { bus: parent, bridge } = bus.upstream;
    for (const kind of KINDS) insert(regions.get(parent)![kind], windowOf(bridge, kind, regions.get(bus)!));
  }
  const { io, mem, prefetch } = regions.get(root)!;
  const ioSum = sum(io);
  if (ioSum > 0x10000 - IO_BASE_LOW)
    throw new UsageError('PCI: the I/O ports of all devices do not fit 64 KiB');
  place(io, ioSum < 0x10000 - IO_BASE ? IO_BASE : IO_BASE_LOW);
  placeMemory(mem, prefetch, info);
  enable(root, info, []);
}

/** Each bridge's bus gets the next number, and those behind it the numbers that follow. */
function numberBuses(bus: PciBus, count: { last: number }): void {
  const own = bus.number;
  for (const { fn } of bus.functions) {
    if (!(fn instanceof PciBridge)) continue;
    fn.writeConfig(PCI_PRIMARY_BUS, 1, own);
    fn.writeConfig(PCI_SECONDARY_BUS, 1, ++count.last);
    fn.writeConfig(PCI_SUBORDINATE_BUS, 1, 0xff);
    numberBuses(fn.secondary, count);
    fn.writeConfig(PCI_SUBORDINATE_BUS, 1, count.last);
  }
}

function barsOf(bus: PciBus): Region {
  const region: Region = { io: [], mem: [], prefetch: [] };
  for (const { fn } of bus.functions) {
    fn.bars.forEach((bar, index) => {
      if (bar === undefined || barAddress(fn, index) !== 0) return;
      const kind = bar.kind === 'io' ? 'io' : bar.prefetchable === true ? 'prefetch' : 'mem';
      const size = bar.kind === 'io' ? bar.size : Math.max(bar.size, MEM_ALIGN);
      const at = PCI_BASE_ADDRESS_0 + index * 4;
      insert(region[kind], {
        size,
        align: size,
        wide: bar.kind === 'mem64',
        place: (address) => {
          fn.writeConfig(at, 4, address % 2 ** 32);
          if (bar.kind === 'mem64') fn.writeConfig(at + 4, 4, Math.floor(address / 2 ** 32));
        },
      });
    });
  }
  return region;
}

/** The window that a bridge needs for what is behind it; one with a slot gets memory in any case. */
function windowOf(bridge: PciBridge, kind: Kind, behind: Region): Entry {
  const list = behind[kind];
  const align = Math.max(kind === 'io' ? BRIDGE_IO_MIN : BRIDGE_MEM_MIN, alignment(list));
  const slot = bridge.express ? kind !== 'io' : bridge.hotplug;
  const reserve = slot ? align : 0;
  const size = Math.ceil((sum(list) || reserve) / align) * align;
  return {
    size,
    align,
    wide: kind === 'prefetch' && list.every(({ wide }) => wide),
    place: (address) => {
      writeWindow(bridge, kind, address, address + size - 1);
      place(list, address);
    },
  };
}

/** A limit below the base closes the window. */
function writeWindow(bridge: PciBridge, kind: Kind, base: number, limit: number): void {
  if (kind === 'io') {
    bridge.writeConfig(PCI_IO_BASE, 1, (base >> 8) & 0xff);
    bridge.writeConfig(PCI_IO_LIMIT, 1, (limit >> 8) & 0xff);
    return;
  }
  const upper = (address: number): number => Math.floor((address % 2 ** 32) / 0x10000);
  const at = kind === 'mem' ? PCI_MEMORY_BASE : PCI_PREF_MEMORY_BASE;
  bridge.writeConfig(at, 2, upper(base));
  bridge.writeConfig(at + 2, 2, upper(limit));
  if (kind === 'mem') return;
  bridge.writeConfig(PCI_PREF_BASE_UPPER32, 4, Math.floor(base / 2 ** 32));
  bridge.writeConfig(PCI_PREF_LIMIT_UPPER32, 4, Math.floor(limit / 2 ** 32));
}

/** @param way slots of the bridges between the root and `bus`, from the root on */
function enable(bus: PciBus, info: PlatformInfo, way: readonly number[]): void {
  for (const { fn, slot } of bus.functions) {
    const pin = fn.byte(PCI_INTERRUPT_PIN);
    const [first = slot, ...behind] = [...way, slot];
    // Each bridge turns the pins by the slot of what is behind it.
    const turned = behind.reduce((total, one) => total + one, pin - 1) & 3;
    if (pin !== 0) fn.writeConfig(PCI_INTERRUPT_LINE, 1, interruptLine(info.machine, first, turned + 1));
    const command = fn.word(PCI_COMMAND) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_SERR;
    fn.writeConfig(PCI_COMMAND, 2, command);
    if (!(fn instanceof PciBridge)) continue;
    fn.writeConfig(PCI_BRIDGE_CONTROL, 2, fn.word(PCI_BRIDGE_CONTROL) | PCI_BRIDGE_CTL_SERR);
    enable(fn.secondary, info, [...way, slot]);
  }
}

function placeMemory(mem: Entry[], prefetch: Entry[], info: PlatformInfo): void {
  const { base, size } = info.pciMem32;
  // The region with the larger alignment goes below, which wastes less.
  let [low, high] = [mem, prefetch];
  if (alignment(low) < alignment(high)) [low, high] = [high, low];
  const highBase = alignDown(base + size - sum(high), alignment(high));
  const lowBase = alignDown(highBase - sum(low), alignment(low));
  if (lowBase >= base) {
    place(high, highBase);
    place(low, lowBase);
    return;
  }
  // Too much for 32 bits: what can be there moves above RAM.
  const narrow: Entry[] = [];
  const wide: Entry[] = [];
  for (const entry of [...mem, ...prefetch]) insert(entry.wide ? wide : narrow, entry);
  const narrowBase = alignDown(base + size - sum(narrow), alignment(narrow));
  if (narrowBase < base) throw new UsageError('PCI: the 32-bit BARs of all devices do not fit below 4 GiB');
  place(narrow, narrowBase);
  place(wide, Math.ceil(info.pciMem64.base / alignment(wide)) * alignment(wide));
}

/** The ISA interrupt that a pin's line register names. */
export function interruptLine(machine: MachineType, slot: number, pin: number): number {
  if (machine === 'pc') return PIRQ_IRQS[(pin - 1 + slot - 1) & 3]!;
  return PIRQ_IRQS[(pin - 1 + (slot <= 24 ? slot : 0)) & 3]!;
}

/** Keeps a list sorted, largest alignment first, then size; equal ones stay in the order they came. */
function insert(list: Entry[], entry: Entry): void {
  const at = list.findIndex(
    ({ align, size }) => align < entry.align || (align === entry.align && size < entry.size),
  );
  if (at < 0) list.push(entry);
  else list.splice(at, 0, entry);
}

function sum(list: readonly Entry[]): number {
  return list.reduce((total, entry) => total + entry.size, 0);
}

function alignment(list: readonly Entry[]): number {
  return list[0]?.align ?? 1;
}

function alignDown(value: number, to: number): number {
  return Math.floor(value / to) * to;
}

function place(list: readonly Entry[], base: number): void {
  let address = base;
  for (const entry of list) {
    entry.place(address);
    address += entry.size;
  }
}

function barAddress(fn: PciFunction, index: number): number {
  const at = PCI_BASE_ADDRESS_0 + index * 4;
  const bar = fn.bars[index]!;
  const low = (fn.dword(at) & (bar.kind === 'io' ? ~3 : ~15)) >>> 0;
  return bar.kind === 'mem64' ? low + fn.dword(at + 4) * 2 ** 32 : low;
}
