/**
 * What firmware does to PCI before an operating system starts: addresses for all BARs, interrupt line registers,
 * decoding on. Placement follows SeaBIOS (largest alignment first, memory from the top of the window down), so that
 * `info pci` shows the same addresses here as under QEMU.
 */
import { UsageError } from '../../core/errors.ts';
import {
  type BarSpec,
  PCI_BASE_ADDRESS_0,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  type PciFunction,
} from '../../core/pci.ts';
import type { MachineType, PlatformInfo } from '../info.ts';
import type { PciBus } from './bus.ts';

/** What PIRQA-D (and E-H) are routed to. */
export const PIRQ_IRQS = [10, 10, 11, 11] as const;

/** A page each at the least, so that guests can give single BARs to user programs. */
const MEM_ALIGN = 4096;
const IO_BASE = 0xc000;
const IO_BASE_LOW = 0x1000;

interface Entry {
  readonly fn: PciFunction;
  readonly index: number;
  readonly bar: BarSpec;
  readonly size: number;
}

/** Assigns everything that has no address yet and turns decoding on in all functions of `bus`. */
export function assignResources(bus: PciBus, info: PlatformInfo): void {
  const io: Entry[] = [];
  const mem: Entry[] = [];
  const prefetch: Entry[] = [];
  for (const { fn } of bus.functions) {
    fn.bars.forEach((bar, index) => {
      if (bar === undefined || barAddress(fn, index) !== 0) return;
      if (bar.kind === 'io') insert(io, { fn, index, bar, size: bar.size });
      else {
        insert(bar.prefetchable === true ? prefetch : mem, {
          fn,
          index,
          bar,
          size: Math.max(bar.size, MEM_ALIGN),
        });
      }
    });
  }
  const ioSum = sum(io);
  if (ioSum > 0x10000 - IO_BASE_LOW)
    throw new UsageError('PCI: the I/O ports of all devices do not fit 64 KiB');
  place(io, ioSum < 0x10000 - IO_BASE ? IO_BASE : IO_BASE_LOW);
  placeMemory(mem, prefetch, info);
  for (const { fn, slot } of bus.functions) {
    const pin = fn.byte(PCI_INTERRUPT_PIN);
    if (pin !== 0) fn.writeConfig(PCI_INTERRUPT_LINE, 1, interruptLine(info.machine, slot, pin));
    const command = fn.word(PCI_COMMAND) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_SERR;
    fn.writeConfig(PCI_COMMAND, 2, command);
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
  // Too much for 32 bits: the 64-bit BARs move above RAM.
  const wide = [...mem, ...prefetch].filter((entry) => entry.bar.kind === 'mem64');
  const narrow: Entry[] = [];
  for (const entry of [...mem, ...prefetch]) if (!wide.includes(entry)) insert(narrow, entry);
  const narrowBase = alignDown(base + size - sum(narrow), alignment(narrow));
  if (narrowBase < base) throw new UsageError('PCI: the 32-bit BARs of all devices do not fit below 4 GiB');
  place(narrow, narrowBase);
  const sorted: Entry[] = [];
  for (const entry of wide) insert(sorted, entry);
  place(sorted, Math.ceil(info.pciMem64.base / alignment(sorted)) * alignment(sorted));
}

/** The ISA interrupt that a pin's line register names. */
export function interruptLine(machine: MachineType, slot: number, pin: number): number {
  if (machine === 'pc') return PIRQ_IRQS[(pin - 1 + slot - 1) & 3]!;
  return PIRQ_IRQS[(pin - 1 + (slot <= 24 ? slot : 0)) & 3]!;
}

/** Keeps a list sorted by size, largest first; equal ones stay in the order they came. */
function insert(list: Entry[], entry: Entry): void {
  const at = list.findIndex((other) => other.size < entry.size);
  if (at < 0) list.push(entry);
  else list.splice(at, 0, entry);
}

function sum(list: readonly Entry[]): number {
  return list.reduce((total, entry) => total + entry.size, 0);
}

function alignment(list: readonly Entry[]): number {
  return list[0]?.size ?? 1;
}

function alignDown(value: number, to: number): number {
  return Math.floor(value / to) * to;
}

function place(list: readonly Entry[], base: number): void {
  let address = base;
  for (const { fn, index, bar, size } of list) {
    const at = PCI_BASE_ADDRESS_0 + index * 4;
    fn.writeConfig(at, 4, address % 2 ** 32);
    if (bar.kind === 'mem64') fn.writeConfig(at + 4, 4, Math.floor(address / 2 ** 32));
    address += size;
  }
}

function barAddress(fn: PciFunction, index: number): number {
  const at = PCI_BASE_ADDRESS_0 + index * 4;
  const bar = fn.bars[index]!;
  const low = (fn.dword(at) & (bar.kind === 'io' ? ~3 : ~15)) >>> 0;
  return bar.kind === 'mem64' ? low + fn.dword(at + 4) * 2 ** 32 : low;
}
