/**
 * The memory map that a PC's firmware hands to its system, and the layout that we leave below 1 MiB when there
 * is no firmware: that of SeaBIOS, so that a guest finds what it finds under QEMU. Types: ACPI 6.4 table 15.4.
 */
import type { GuestMemory } from '../../core/memory.ts';

export const E820_RAM = 1;
export const E820_RESERVED = 2;
export const E820_ACPI = 3;
export const E820_NVS = 4;

export interface E820Entry {
  readonly base: number;
  readonly size: number;
  readonly type: number;
}

/** Conventional memory ends here; the extended BIOS data area of 1 KiB follows. */
export const EBDA_BASE = 0x9fc00;
export const EBDA_SIZE = 0x400;
/** What a PC keeps for its BIOS below 1 MiB. */
export const BIOS_BASE = 0xf0000;
const MIB = 0x100000;

/**
 * The map of a machine with `memory`'s RAM.
 * @param acpiSize bytes kept at the top of the RAM below 4 GiB for ACPI tables (0: they are elsewhere)
 * @param reserved further reserved ranges, such as the ECAM window of q35
 */
export function buildE820(
  memory: GuestMemory,
  acpiSize = 0,
  reserved: readonly { base: number; size: number }[] = [],
): E820Entry[] {
  const entries: E820Entry[] = [
    { base: 0, size: EBDA_BASE, type: E820_RAM },
    { base: EBDA_BASE, size: EBDA_SIZE, type: E820_RESERVED },
    { base: BIOS_BASE, size: MIB - BIOS_BASE, type: E820_RESERVED },
  ];
  const low = lowMemoryEnd(memory);
  const high: E820Entry[] = [];
  for (const region of memory.regions) {
    const base = Math.max(region.gpa, MIB);
    let end = region.gpa + region.size;
    if (end <= base) continue;
    if (end === low) end -= acpiSize;
    (base >= 2 ** 32 ? high : entries).push({ base, size: end - base, type: E820_RAM });
  }
  if (acpiSize > 0) entries.push({ base: low - acpiSize, size: acpiSize, type: E820_RESERVED });
  for (const { base, size } of reserved) entries.push({ base, size, type: E820_RESERVED });
  return [...entries, ...high].sort((a, b) => a.base - b.base);
}

/** End of the RAM below 4 GiB. */
export function lowMemoryEnd(memory: GuestMemory): number {
  let end = 0;
  for (const region of memory.regions)
    if (region.gpa < 2 ** 32) end = Math.max(end, Math.min(region.gpa + region.size, 2 ** 32));
  return end;
}
