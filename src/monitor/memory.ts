/**
 * Guest memory as monitors look at it: physical, or virtual through the processor's page tables. Looking changes
 * nothing: no accessed bits, no devices. Intel SDM volume 3, chapter 4.
 */
import type { GuestMemory } from '../core/memory.ts';
import { readRegisters } from './registers.ts';
import type { MonitorTarget } from './target.ts';

const PAGE = 4096n;
const PRESENT = 1n;
const LARGE = 0x80n;
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LMA = 1n << 10n;
const ADDRESS = 0x000f_ffff_ffff_f000n;

const asAddress = (value: bigint | number): bigint => BigInt.asUintN(64, BigInt(value));

/** RAM as it is; the rest reads as zeroes, as with QEMU's `xp`. Undefined when none of it is RAM. */
export function readPhysical(
  { board }: MonitorTarget,
  from: bigint | number,
  size: number,
): Uint8Array | undefined {
  const start = Number(asAddress(from));
  const data = new Uint8Array(size);
  let any = size === 0;
  for (const region of board.cpu.guestMemory.regions) {
    const low = Math.max(start, region.gpa);
    const high = Math.min(start + size, region.gpa + region.size);
    if (low >= high) continue;
    data.set(board.cpu.guestMemory.slice(low, high - low)!, low - start);
    any = true;
  }
  return any ? data : undefined;
}

/** The same, but undefined as well where nobody answers: neither RAM nor a device or ROM begins to cover it. */
export function readMapped(
  target: MonitorTarget,
  from: bigint | number,
  size: number,
): Uint8Array | undefined {
  const data = readPhysical(target, from, size);
  if (data !== undefined) return data;
  const at = Number(asAddress(from));
  const mapped = target.board.mmio.ranges.some((range) => at >= range.base && at < range.base + range.size);
  return mapped ? new Uint8Array(size) : undefined;
}

/** Undefined when a page of it is not mapped. */
export function readVirtual(
  target: MonitorTarget,
  from: bigint | number,
  size: number,
): Uint8Array | undefined {
  const translate = translator(target);
  const data = new Uint8Array(size);
  for (let done = 0; done < size; ) {
    const address = asAddress(asAddress(from) + BigInt(done));
    const length = Math.min(size - done, Number(PAGE - (address % PAGE)));
    const physical = translate(address);
    if (physical === undefined) return undefined;
    const part = readMapped(target, physical, length);
    if (part === undefined) return undefined;
    data.set(part, done);
    done += length;
  }
  return data;
}

/** From virtual to physical addresses, as the processor stands now. */
export function translator(target: MonitorTarget): (address: bigint) => bigint | undefined {
  const registers = readRegisters(target);
  const value = (name: string): bigint => registers.get(name) ?? 0n;
  if ((value('cr0') & CR0_PG) === 0n) return (address) => address;
  const memory = target.board.cpu.guestMemory;
  const cr4 = value('cr4');
  const long = (value('efer') & EFER_LMA) !== 0n;
  if ((cr4 & CR4_PAE) === 0n)
    return (address) => walk32(memory, value('cr3'), address & 0xffffffffn, (cr4 & CR4_PSE) !== 0n);
  const levels = long ? ((cr4 & CR4_LA57) === 0n ? 4 : 5) : 3;
  return (address) => walk(memory, value('cr3'), long ? address : address & 0xffffffffn, levels);
}

function entry(memory: GuestMemory, at: bigint, size: 4 | 8): bigint | undefined {
  const offset = memory.locate(Number(at), size);
  if (offset < 0) return undefined;
  return size === 4 ? BigInt(memory.view.getUint32(offset, true)) : memory.view.getBigUint64(offset, true);
}

/** Entries of eight bytes: PAE, 4-level and 5-level paging. */
function walk(memory: GuestMemory, cr3: bigint, address: bigint, levels: number): bigint | undefined {
  let table = levels === 3 ? cr3 & 0xffffffe0n : cr3 & ADDRESS;
  for (let level = levels; level > 0; level--) {
    const shift = BigInt(12 + 9 * (level - 1));
    const mask = levels === 3 && level === 3 ? 3n : 0x1ffn;
    const found = entry(memory, table + ((address >> shift) & mask) * 8n, 8);
    if (found === undefined || (found & PRESENT) === 0n) return undefined;
    const isPage = level === 1 || (level <= 3 && (found & LARGE) !== 0n && !(levels === 3 && level === 3));
    if (isPage) {
      const inside = (1n << shift) - 1n;
      return (found & ADDRESS & ~inside) | (address & inside);
    }
    table = found & ADDRESS;
  }
  return undefined;
}

/** Two levels of four-byte entries. */
function walk32(memory: GuestMemory, cr3: bigint, address: bigint, large: boolean): bigint | undefined {
  const directory = entry(memory, (cr3 & 0xfffff000n) + (address >> 22n) * 4n, 4);
  if (directory === undefined || (directory & PRESENT) === 0n) return undefined;
  if (large && (directory & LARGE) !== 0n)
    return (directory & 0xffc00000n) | ((directory & 0x1fe000n) << 19n) | (address & 0x3fffffn);
  const found = entry(memory, (directory & 0xfffff000n) + ((address >> 12n) & 0x3ffn) * 4n, 4);
  if (found === undefined || (found & PRESENT) === 0n) return undefined;
  return (found & 0xfffff000n) | (address & 0xfffn);
}
