/** `info mem`, `info tlb` and the translation of single addresses, as QEMU prints them. */
import { translator } from '../memory.ts';
import { pageTables } from '../paging.ts';
import type { Leaf, PageTables } from '../paging.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';

/** Characters of one answer. More is no table that anybody reads, and would be held in memory as a whole. */
const MAX_TEXT = 4 * 2 ** 20;

const hex16 = (value: bigint): string => value.toString(16).padStart(16, '0');

/** Letters for bits of an entry, from no-execute down. */
const BITS: readonly (readonly [bigint, string])[] = [
  [1n << 63n, 'X'],
  [1n << 8n, 'G'],
  [1n << 7n, 'P'],
  [1n << 6n, 'D'],
  [1n << 5n, 'A'],
  [1n << 4n, 'C'],
  [1n << 3n, 'T'],
  [1n << 2n, 'U'],
  [1n << 1n, 'W'],
];

function collect(tables: PageTables, lines: Iterable<string>): string {
  const parts: string[] = [];
  let length = 0;
  for (const line of lines) {
    parts.push(line);
    length += line.length;
    if (length > MAX_TEXT) return `${parts.join('')}… (cut)\n`;
  }
  if (tables.cut()) parts.push('… (cut)\n');
  return parts.join('');
}

function* tlbLines(leaves: Iterable<Leaf>): Generator<string> {
  for (const { virtual, physical, entry, size } of leaves) {
    // In a 4 KiB entry bit 7 is the memory type.
    const bits = size === 4096n ? entry & ~(1n << 7n) : entry;
    const letters = BITS.map(([bit, letter]) => ((bits & bit) === 0n ? '-' : letter)).join('');
    yield `${hex16(virtual)}: ${hex16(physical)} ${letters}\n`;
  }
}

function* memLines(leaves: Iterable<Leaf>): Generator<string> {
  let run: { start: bigint; end: bigint; access: string } | undefined;
  const line = ({ start, end, access }: NonNullable<typeof run>): string =>
    `${hex16(start)}-${hex16(BigInt.asUintN(64, end))} ${hex16(end - start)} ${access}\n`;
  for (const { virtual, size, user, write } of leaves) {
    const access = `${user ? 'u' : '-'}r${write ? 'w' : '-'}`;
    if (run !== undefined && run.end === virtual && run.access === access) run.end += size;
    else {
      if (run !== undefined) yield line(run);
      run = { start: virtual, end: virtual + size, access };
    }
  }
  if (run !== undefined) yield line(run);
}

function show(target: MonitorTarget, lines: (leaves: Iterable<Leaf>) => Iterable<string>): string {
  const tables = pageTables(target);
  return tables === undefined ? 'PG disabled\n' : collect(tables, lines(tables.leaves));
}

export const pagingInfo: readonly HmpCommand[] = [
  {
    name: 'mem',
    takes: '',
    synopsis: '',
    help: 'what is mapped, in runs of the same access',
    run: (_, target) => show(target, memLines),
  },
  {
    name: 'tlb',
    takes: '',
    synopsis: '',
    help: 'what is mapped where, page by page',
    run: (_, target) => show(target, tlbLines),
  },
];

export const pagingCommands: readonly HmpCommand[] = [
  {
    name: 'gva2gpa',
    takes: 'addr:l',
    synopsis: 'addr',
    help: 'translate a virtual address',
    run: ({ addr }, target) => {
      const physical = translator(target)(BigInt.asUintN(64, addr as bigint));
      if (physical === undefined) return 'Unmapped\n';
      // C's `%#x` has no prefix for zero.
      return `gpa: ${physical === 0n ? '0' : `0x${physical.toString(16)}`}\n`;
    },
  },
];
