/**
 * The page tables as the processor stands now, leaf by leaf: for `info mem`, `info tlb` and core dumps with virtual
 * addresses. Reading them changes nothing. Intel SDM volume 3, chapter 4.
 */
import type { GuestMemory } from '../core/memory.ts';
import { readRegisters } from './registers.ts';
import type { MonitorTarget } from './target.ts';

const PRESENT = 1n;
const WRITE = 2n;
const USER = 4n;
const LARGE = 0x80n;
const ADDRESS = 0x000f_ffff_ffff_f000n;
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LMA = 1n << 10n;

/** Leaves that are looked at: tables that point at themselves have 2^36. */
const MAX_LEAVES = 2 ** 20;

export interface Leaf {
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly size: bigint;
  /** The entry itself. */
  readonly entry: bigint;
  /** What all levels together allow. */
  readonly user: boolean;
  readonly write: boolean;
}

export interface PageTables {
  readonly leaves: Iterable<Leaf>;
  /** Not all leaves were looked at. */
  readonly cut: () => boolean;
}

interface Walk {
  readonly memory: GuestMemory;
  readonly levels: number;
  /** Bytes of an entry. */
  readonly size: 4 | 8;
  readonly pse: boolean;
  count: number;
}

/** Undefined while paging is off. */
export function pageTables(target: MonitorTarget): PageTables | undefined {
  const registers = readRegisters(target);
  const value = (name: string): bigint => registers.get(name) ?? 0n;
  if ((value('cr0') & CR0_PG) === 0n) return undefined;
  const cr4 = value('cr4');
  const long = (value('efer') & EFER_LMA) !== 0n;
  const pae = (cr4 & CR4_PAE) !== 0n;
  const levels = long ? ((cr4 & CR4_LA57) === 0n ? 4 : 5) : pae ? 3 : 2;
  const walk: Walk = {
    memory: target.board.cpu.guestMemory,
    levels,
    size: pae || long ? 8 : 4,
    pse: (cr4 & CR4_PSE) !== 0n,
    count: 0,
  };
  const root = levels === 3 ? value('cr3') & 0xffffffe0n : value('cr3') & ADDRESS;
  return { leaves: descend(walk, levels, root, 0n, true, true), cut: () => walk.count >= MAX_LEAVES };
}

function* descend(
  walk: Walk,
  level: number,
  table: bigint,
  base: bigint,
  user: boolean,
  write: boolean,
): Generator<Leaf> {
  const { memory, levels, size } = walk;
  const bits = size === 4 ? 10 : levels === 3 && level === 3 ? 2 : 9;
  const shift = BigInt(size === 4 ? 12 + 10 * (level - 1) : 12 + 9 * (level - 1));
  const entries = 2 ** bits;
  const offset = memory.locate(Number(table), entries * size);
  if (offset < 0) return;
  // The four pointers of PAE have no access bits of their own.
  const limits = !(levels === 3 && level === 3);
  for (let index = 0; index < entries; index++) {
    const at = offset + index * size;
    const entry = size === 4 ? BigInt(memory.view.getUint32(at, true)) : memory.view.getBigUint64(at, true);
    if ((entry & PRESENT) === 0n) continue;
    if (++walk.count > MAX_LEAVES) return;
    const virtual = base | (BigInt(index) << shift);
    const mayUser = limits ? user && (entry & USER) !== 0n : user;
    const mayWrite = limits ? write && (entry & WRITE) !== 0n : write;
    const large = level > 1 && level <= 3 && limits && (entry & LARGE) !== 0n && (size === 8 || walk.pse);
    if (level === 1 || large)
      yield {
        virtual: canonical(virtual, levels),
        physical: leafAddress(entry, shift, size, large),
        size: 1n << shift,
        entry,
        user: mayUser,
        write: mayWrite,
      };
    else
      yield* descend(
        walk,
        level - 1,
        size === 4 ? entry & 0xfffff000n : entry & ADDRESS,
        virtual,
        mayUser,
        mayWrite,
      );
  }
}

function leafAddress(entry: bigint, shift: bigint, size: 4 | 8, large: boolean): bigint {
  if (size === 8) return entry & ADDRESS & ~((1n << shift) - 1n);
  // PSE-36: bits 13 to 20 are those from 32 on.
  return large ? (entry & 0xffc00000n) | ((entry & 0x1fe000n) << 19n) : entry & 0xfffff000n;
}

function canonical(virtual: bigint, levels: number): bigint {
  if (levels < 4) return virtual;
  const bits = levels === 4 ? 48 : 57;
  return BigInt.asUintN(64, BigInt.asIntN(bits, virtual));
}
