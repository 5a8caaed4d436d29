/**
 * Cylinders, heads and sectors for a disk that has none. Partition tools of old print and align by them, and the
 * numbers have to be those that QEMU shows for the same image: a disk's partition table decides where it fits,
 * else the usual 16 heads and 63 sectors.
 */
import { SECTOR_SIZE } from './defs.ts';

export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** The classic PC partition table: signature and four entries. */
const MBR = { SIGNATURE: 510, ENTRIES: 446, ENTRY_SIZE: 16, END_HEAD: 5, END_SECTOR: 6, LENGTH: 12 } as const;

/** ATA's limit on cylinders; disks beyond 8 GB all show it. */
const MAX_CYLINDERS = 16383;

/** @param size of the disk in bytes  @param first its first 512 bytes, where they could be read */
export function guessGeometry(size: number, first?: Uint8Array): Geometry {
  const total = Math.floor(size / SECTOR_SIZE);
  const fromTable = first === undefined ? undefined : partitionGeometry(total, first);
  // More than 16 heads means that a BIOS translated addresses: the table tells nothing about the disk then.
  if (fromTable !== undefined && fromTable.heads <= 16) return fromTable;
  const cylinders = Math.floor(total / (16 * 63));
  return { cylinders: Math.min(Math.max(cylinders, 2), MAX_CYLINDERS), heads: 16, sectors: 63 };
}

function partitionGeometry(total: number, first: Uint8Array): Geometry | undefined {
  if (first.length < SECTOR_SIZE || first[MBR.SIGNATURE] !== 0x55 || first[MBR.SIGNATURE + 1] !== 0xaa) {
    return undefined;
  }
  const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
  for (let entry = 0; entry < 4; entry++) {
    const at = MBR.ENTRIES + entry * MBR.ENTRY_SIZE;
    const endHead = first[at + MBR.END_HEAD]!;
    const sectors = first[at + MBR.END_SECTOR]! & 63;
    if (view.getUint32(at + MBR.LENGTH, true) === 0 || endHead === 0 || sectors === 0) continue;
    const heads = endHead + 1;
    const cylinders = Math.floor(total / (heads * sectors));
    if (cylinders >= 1 && cylinders <= MAX_CYLINDERS) return { cylinders, heads, sectors };
  }
  return undefined;
}
