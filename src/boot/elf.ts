/**
 * As much of ELF as a boot loader needs: program headers of little-endian x86 executables, 32- and 64-bit, and
 * their notes. Specification: System V ABI, "Object Files" and "Program Loading".
 */
import type { GuestMemory } from '../core/memory.ts';
import { UsageError } from '../core/errors.ts';

export const PT_LOAD = 1;
export const PT_NOTE = 4;
const EM_386 = 3;
const EM_X86_64 = 62;
/** ELF allows 65535; a kernel has a handful. */
const PROGRAM_HEADERS_MAX = 256;

export interface ElfSegment {
  readonly type: number;
  readonly offset: number;
  readonly vaddr: bigint;
  readonly paddr: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

export interface ElfImage {
  readonly bits: 32 | 64;
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  /** All of it, or its first bytes. */
  readonly file: Uint8Array;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly data: Uint8Array;
}

export function isElf(file: Uint8Array): boolean {
  return file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46;
}

/**
 * @param file the file, or as much of it as holds the program headers
 * @param size bytes of the whole file
 * @throws UsageError when the file is cut short or not an x86 executable
 */
export function parseElf(file: Uint8Array, size = file.length): ElfImage {
  if (!isElf(file)) throw new UsageError('not an ELF file');
  const bits = file[4] === 2 ? 64 : 32;
  if (file.length < (bits === 64 ? 64 : 52))
    throw new UsageError(`ELF file is cut short: ${file.length} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const machine = view.getUint16(18, true);
  if (file[5] !== 1 || (machine !== EM_386 && machine !== EM_X86_64))
    throw new UsageError(`ELF file is not for x86 (e_machine ${machine})`);
  const wide = bits === 64;
  const word = (at: number): number =>
    wide ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
  const entry = wide ? view.getBigUint64(24, true) : BigInt(view.getUint32(24, true));
  const table = word(wide ? 32 : 28);
  const entrySize = view.getUint16(wide ? 54 : 42, true);
  const count = view.getUint16(wide ? 56 : 44, true);
  if (count > PROGRAM_HEADERS_MAX || entrySize < (wide ? 56 : 32) || table + count * entrySize > file.length)
    throw new UsageError('ELF file is damaged: program headers lie outside the file');
  const segments: ElfSegment[] = [];
  for (let i = 0; i < count; i++) {
    const at = table + i * entrySize;
    const segment: ElfSegment = {
      type: view.getUint32(at, true),
      offset: word(at + (wide ? 8 : 4)),
      vaddr: wide ? view.getBigUint64(at + 16, true) : BigInt(view.getUint32(at + 8, true)),
      paddr: word(at + (wide ? 24 : 12)),
      fileSize: word(at + (wide ? 32 : 16)),
      memorySize: word(at + (wide ? 40 : 20)),
    };
    if (segment.type === PT_LOAD && segment.fileSize > segment.memorySize)
      throw new UsageError('ELF file is damaged: a segment is larger in the file than in memory');
    if (segment.offset + segment.fileSize > size)
      throw new UsageError(
        `ELF file is cut short: a segment ends at ${segment.offset + segment.fileSize}, the file at ${size}`,
      );
    segments.push(segment);
  }
  return { bits, entry, segments, file };
}

/** Physical [start, end) that the loadable segments take. */
export function elfExtent(elf: ElfImage): { start: number; end: number } {
  let start = Number.POSITIVE_INFINITY;
  let end = 0;
  for (const segment of elf.segments) {
    if (segment.type !== PT_LOAD || segment.memorySize === 0) continue;
    start = Math.min(start, segment.paddr);
    end = Math.max(end, segment.paddr + segment.memorySize);
  }
  if (end === 0) throw new UsageError('ELF file has nothing to load');
  return { start, end };
}

/**
 * Copies the loadable segments to their physical addresses, zeroes after them, straight into guest RAM.
 * @throws UsageError when the guest has no RAM there
 */
export function loadElf(memory: GuestMemory, elf: ElfImage): void {
  for (const { offset, target } of places(memory, elf))
    target.set(elf.file.subarray(offset, offset + target.length));
}

/**
 * As loadElf does, for a file that is read only now: each segment straight to where it belongs.
 * @param read fills `target` with the bytes from `offset` on; false when there are not as many
 * @returns false when `read` did; some of the segments are there then
 */
export async function readElf(
  memory: GuestMemory,
  elf: ElfImage,
  read: (target: Uint8Array, offset: number) => Promise<boolean>,
): Promise<boolean> {
  for (const { offset, target } of places(memory, elf))
    if (target.length > 0 && !(await read(target, offset))) return false;
  return true;
}

/** Where each loadable segment's bytes go; what comes behind them is zeroed when they are there. */
function* places(memory: GuestMemory, elf: ElfImage): Generator<{ offset: number; target: Uint8Array }> {
  for (const { type, offset, paddr, fileSize, memorySize } of elf.segments) {
    if (type !== PT_LOAD || memorySize === 0) continue;
    const target = memory.slice(paddr, memorySize);
    if (target === undefined)
      throw new UsageError(
        `kernel does not fit in the guest's memory: it needs RAM from ${hex(paddr)} to ${hex(paddr + memorySize)}; ` +
          'give the guest more with -m',
      );
    yield { offset, target: target.subarray(0, fileSize) };
    target.fill(0, fileSize);
    memory.noteWritten(paddr, memorySize);
  }
}

/** Physical address of the entry point: `e_entry` is virtual in some kernels, physical in Linux's vmlinux. */
export function physicalEntry(elf: ElfImage): number {
  for (const { type, vaddr, paddr, memorySize } of elf.segments) {
    if (type !== PT_LOAD) continue;
    if (elf.entry >= vaddr && elf.entry < vaddr + BigInt(memorySize))
      return paddr + Number(elf.entry - vaddr);
  }
  return Number(elf.entry);
}

/** The notes of all PT_NOTE segments; a damaged note ends its segment. */
export function* elfNotes(elf: ElfImage): Generator<ElfNote> {
  for (const segment of elf.segments) {
    if (segment.type !== PT_NOTE) continue;
    const view = new DataView(elf.file.buffer, elf.file.byteOffset + segment.offset, segment.fileSize);
    for (let at = 0; at + 12 <= segment.fileSize; ) {
      const nameSize = view.getUint32(at, true);
      const dataSize = view.getUint32(at + 4, true);
      const type = view.getUint32(at + 8, true);
      const data = at + 12 + Math.ceil(nameSize / 4) * 4;
      if (data + dataSize > segment.fileSize) break;
      const start = segment.offset + at + 12;
      const name = String.fromCharCode(
        ...elf.file.subarray(start, start + Math.max(0, Math.min(nameSize, 64) - 1)),
      );
      yield { name, type, data: elf.file.subarray(segment.offset + data, segment.offset + data + dataSize) };
      at = data + Math.ceil(dataSize / 4) * 4;
    }
  }
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
