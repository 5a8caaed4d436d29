/**
 * boot_params, the "zero page" that Linux reads everything about its machine from (Documentation/x86/
 * zero-page.rst), and the descriptor and page tables that its entry points ask for ("64-bit Boot Protocol").
 */
import type { GuestMemory } from '../core/memory.ts';
import { assert } from '../core/errors.ts';
import { HDR, HDR_MAGIC, LOADED_HIGH } from './bzimage.ts';
import type { E820Entry } from '../pc/acpi/e820.ts';

/** Where a direct boot keeps its own structures: all in the first 640 KiB, which the kernel reserves early. */
export const LOW_LAYOUT = {
  gdt: 0x500,
  startInfo: 0x6000,
  zeroPage: 0x7000,
  stackTop: 0x8ff0,
  pageTables: 0x9000,
  rngSeed: 0xf000,
  cmdline: 0x20000,
  /** Multiboot modules' strings, PVH lists. */
  scratch: 0x30000,
  end: 0x90000,
} as const;

export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;
export const GDT_LIMIT = 0x1f;

const BP = {
  acpi_rsdp_addr: 0x070,
  ext_ramdisk_image: 0x0c0,
  ext_ramdisk_size: 0x0c4,
  ext_cmd_line_ptr: 0x0c8,
  e820_entries: 0x1e8,
  e820_table: 0x2d0,
} as const;
/** E820_MAX_ENTRIES_ZEROPAGE */
const E820_MAX = 128;
const SETUP_RNG_SEED = 9;

export interface ZeroPage {
  /** The image's header from 1F1h on; without one (a bare vmlinux) a minimal header is made. */
  readonly setupHeader?: Uint8Array;
  readonly protocol: number;
  readonly e820: readonly E820Entry[];
  readonly cmdline: number;
  readonly cmdlineSize: number;
  readonly initrd: number;
  readonly initrdSize: number;
  /** Address of the RSDP, 0 to let the kernel search for it. */
  readonly rsdp: number;
  /** Seed for the kernel's random number generator (SETUP_RNG_SEED, read since Linux 6.0). */
  readonly rngSeed?: Uint8Array;
}

export function writeZeroPage(memory: GuestMemory, page: ZeroPage): void {
  const at = LOW_LAYOUT.zeroPage;
  const bytes = memory.slice(at, 4096);
  assert(bytes !== undefined && page.e820.length <= E820_MAX, 'no place for boot_params');
  bytes.fill(0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 4096);
  if (page.setupHeader !== undefined) bytes.set(page.setupHeader, HDR.setup_sects);
  else {
    view.setUint16(HDR.boot_flag, 0xaa55, true);
    view.setUint32(HDR.header, HDR_MAGIC, true);
    view.setUint16(HDR.version, 0x20c, true);
    bytes[HDR.loadflags] = LOADED_HIGH;
    view.setUint32(HDR.kernel_alignment, 0x1000000, true);
    view.setUint32(HDR.cmdline_size, page.cmdlineSize, true);
  }
  // "Undefined": no loader that the kernel knows a quirk of.
  bytes[HDR.type_of_loader] = 0xff;
  view.setUint16(HDR.vid_mode, 0xffff, true);
  view.setUint32(HDR.cmd_line_ptr, page.cmdline, true);
  setSplit(view, HDR.ramdisk_image, BP.ext_ramdisk_image, page.initrd);
  setSplit(view, HDR.ramdisk_size, BP.ext_ramdisk_size, page.initrdSize);
  view.setBigUint64(HDR.setup_data, 0n, true);
  // The field was padding before protocol 2.14; zero there then, as the kernel expects.
  if (page.protocol >= 0x20e) view.setBigUint64(BP.acpi_rsdp_addr, BigInt(page.rsdp), true);
  bytes[BP.e820_entries] = page.e820.length;
  page.e820.forEach((entry, i) => {
    const offset = BP.e820_table + i * 20;
    view.setBigUint64(offset, BigInt(entry.base), true);
    view.setBigUint64(offset + 8, BigInt(entry.size), true);
    view.setUint32(offset + 16, entry.type, true);
  });
  if (page.rngSeed !== undefined && page.protocol >= 0x209) {
    view.setBigUint64(HDR.setup_data, BigInt(LOW_LAYOUT.rngSeed), true);
    const node = new Uint8Array(16 + page.rngSeed.length);
    const nodeView = new DataView(node.buffer);
    nodeView.setUint32(8, SETUP_RNG_SEED, true);
    nodeView.setUint32(12, page.rngSeed.length, true);
    node.set(page.rngSeed, 16);
    memory.write(LOW_LAYOUT.rngSeed, node);
  }
  memory.noteWritten(at, 4096);
}

function setSplit(view: DataView, low: number, high: number, value: number): void {
  view.setUint32(low, value % 2 ** 32, true);
  view.setUint32(high, Math.floor(value / 2 ** 32), true);
}

/** Flat code and data descriptors at the selectors that the boot protocol names; `long` sets the L bit. */
export function writeGdt(memory: GuestMemory, long: boolean): void {
  const gdt = new Uint8Array(GDT_LIMIT + 1);
  const view = new DataView(gdt.buffer);
  // Present, code, execute/read; 4 GiB limit in pages; L for 64-bit, D for 32-bit (SDM 3.4.5).
  view.setBigUint64(BOOT_CS, long ? 0x00af9b000000ffffn : 0x00cf9b000000ffffn, true);
  // Present, data, read/write.
  view.setBigUint64(BOOT_DS, 0x00cf93000000ffffn, true);
  memory.write(LOW_LAYOUT.gdt, gdt);
}

/** Identity page tables for the first 4 GiB in 2 MiB pages; returns the address for CR3. */
export function writeIdentityPageTables(memory: GuestMemory): number {
  const pml4 = LOW_LAYOUT.pageTables;
  const tables = new Uint8Array(6 * 4096);
  const view = new DataView(tables.buffer);
  // Present and writable; in the leaves also accessed, dirty and PS.
  view.setBigUint64(0, BigInt(pml4 + 4096) | 3n, true);
  for (let gib = 0; gib < 4; gib++)
    view.setBigUint64(4096 + gib * 8, BigInt(pml4 + (2 + gib) * 4096) | 3n, true);
  for (let i = 0; i < 2048; i++) view.setBigUint64(8192 + i * 8, (BigInt(i) << 21n) | 0xe3n, true);
  memory.write(pml4, tables);
  return pml4;
}
