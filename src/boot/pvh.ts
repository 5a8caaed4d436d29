/**
 * The PVH entry of Xen, which Linux (CONFIG_PVH), FreeBSD and small kernels offer to any loader: a 32-bit entry
 * point in an ELF note, and a structure in guest RAM. Specification: Xen's docs/misc/pvh.pandoc and
 * public/arch-x86/hvm/start_info.h.
 */
import type { GuestMemory } from '../core/memory.ts';
import type { EntryState } from '../x86/cpu.ts';
import { elfExtent, elfNotes, type ElfImage, loadElf } from './elf.ts';
import type { LoadOptions } from './linux.ts';
import { placeInitrd, writeCmdline } from './place.ts';
import { BOOT_CS, BOOT_DS, GDT_LIMIT, LOW_LAYOUT, writeGdt } from './zeropage.ts';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const XEN_HVM_START_MAGIC_VALUE = 0x336ec578;
/** The kernel copies what it needs; Linux takes COMMAND_LINE_SIZE, others less. */
const CMDLINE_MAX = 2047;

/** Physical address of the PVH entry point, or undefined. */
export function findPvhEntry(elf: ElfImage): number | undefined {
  for (const note of elfNotes(elf)) {
    if (note.name !== 'Xen' || note.type !== XEN_ELFNOTE_PHYS32_ENTRY || note.data.length < 4) continue;
    return new DataView(note.data.buffer, note.data.byteOffset, 4).getUint32(0, true);
  }
  return undefined;
}

export function loadPvh(memory: GuestMemory, options: LoadOptions, elf: ElfImage, rip: number): EntryState {
  loadElf(memory, elf);
  writeCmdline(memory, options.cmdline ?? '', CMDLINE_MAX);
  const initrd = placeInitrd(memory, options, elfExtent(elf), { limit: 2 ** 31, above4G: false });

  const info = new Uint8Array(56);
  const view = new DataView(info.buffer);
  const modules = LOW_LAYOUT.scratch;
  const map = LOW_LAYOUT.scratch + 32;
  view.setUint32(0, XEN_HVM_START_MAGIC_VALUE, true);
  // Version 1 has the memory map.
  view.setUint32(4, 1, true);
  view.setUint32(12, initrd === 0 ? 0 : 1, true);
  view.setBigUint64(16, BigInt(initrd === 0 ? 0 : modules), true);
  view.setBigUint64(24, BigInt(LOW_LAYOUT.cmdline), true);
  view.setBigUint64(32, BigInt(options.rsdp ?? 0), true);
  view.setBigUint64(40, BigInt(map), true);
  view.setUint32(48, options.e820.length, true);
  memory.write(LOW_LAYOUT.startInfo, info);

  if (initrd !== 0) {
    const entry = new DataView(new ArrayBuffer(32));
    entry.setBigUint64(0, BigInt(initrd), true);
    entry.setBigUint64(8, BigInt(options.initrd!.length), true);
    memory.write(modules, new Uint8Array(entry.buffer));
  }
  const table = new DataView(new ArrayBuffer(options.e820.length * 24));
  options.e820.forEach((entry, i) => {
    table.setBigUint64(i * 24, BigInt(entry.base), true);
    table.setBigUint64(i * 24 + 8, BigInt(entry.size), true);
    table.setUint32(i * 24 + 16, entry.type, true);
  });
  memory.write(map, new Uint8Array(table.buffer));

  writeGdt(memory, false);
  return {
    mode: 'flat32',
    rip: BigInt(rip),
    rsp: BigInt(LOW_LAYOUT.stackTop),
    rbx: BigInt(LOW_LAYOUT.startInfo),
    gdtBase: BigInt(LOW_LAYOUT.gdt),
    gdtLimit: GDT_LIMIT,
    codeSelector: BOOT_CS,
    dataSelector: BOOT_DS,
  };
}
