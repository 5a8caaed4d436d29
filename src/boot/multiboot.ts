/**
 * Multiboot 1 kernels: small operating systems and test kernels. Specification: "Multiboot Specification
 * version 0.6.96". Video modes, drives and APM tables are not offered.
 */
import { UsageError } from '../core/errors.ts';
import type { GuestMemory } from '../core/memory.ts';
import type { EntryState } from '../x86/cpu.ts';
import { E820_RAM } from '../pc/acpi/e820.ts';
import { elfExtent, hex, isElf, loadElf, parseElf, physicalEntry } from './elf.ts';
import type { LoadOptions } from './linux.ts';
import { placeInitrd, writeCmdline } from './place.ts';
import { BOOT_CS, BOOT_DS, GDT_LIMIT, LOW_LAYOUT, writeGdt } from './zeropage.ts';

const HEADER_MAGIC = 0x1badb002;
const LOADER_MAGIC = 0x2badb002;
/** The header lies, aligned to 4, within the first 8 KiB (§3.1). */
const SEARCH_END = 8192;
const HEADER_ADDRESSES = 1 << 16;
/** Flag bits 0 to 15 that we cannot honour refuse the kernel (§3.1.2); 0 alignment, 1 memory, 2 video. */
const KNOWN_REQUIRED = 0x0007;

const INFO_MEMORY = 1 << 0;
const INFO_CMDLINE = 1 << 2;
const INFO_MODS = 1 << 3;
const INFO_MMAP = 1 << 6;
const INFO_NAME = 1 << 9;

export interface MultibootHeader {
  readonly offset: number;
  readonly flags: number;
  readonly addresses:
    | { header: number; load: number; loadEnd: number; bssEnd: number; entry: number }
    | undefined;
}

/** The multiboot header in `kernel`, or undefined. */
export function findMultibootHeader(kernel: Uint8Array): MultibootHeader | undefined {
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.length);
  for (let at = 0; at + 12 <= Math.min(kernel.length, SEARCH_END); at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if (((HEADER_MAGIC + flags + view.getUint32(at + 8, true)) & 0xffffffff) !== 0) continue;
    if ((flags & HEADER_ADDRESSES) === 0 || at + 32 > kernel.length)
      return { offset: at, flags, addresses: undefined };
    const [header, load, loadEnd, bssEnd, entry] = [12, 16, 20, 24, 28].map((o) =>
      view.getUint32(at + o, true),
    );
    return {
      offset: at,
      flags,
      addresses: { header: header!, load: load!, loadEnd: loadEnd!, bssEnd: bssEnd!, entry: entry! },
    };
  }
  return undefined;
}

export function loadMultiboot(
  memory: GuestMemory,
  options: LoadOptions,
  header: MultibootHeader,
): EntryState {
  const required = header.flags & 0xffff & ~KNOWN_REQUIRED;
  if (required !== 0)
    throw new UsageError(`multiboot kernel requires features that we lack (flags ${hex(required)})`);
  const { extent, entry } =
    header.addresses === undefined
      ? loadAsElf(memory, options.kernel)
      : loadByAddresses(memory, options.kernel, header);

  // The boot command line starts with the name of the image, as loaders that read menus give it.
  writeCmdline(memory, `kernel${options.cmdline ? ` ${options.cmdline}` : ''}`, 4096);
  const module = placeInitrd(memory, options, extent, { limit: 2 ** 32, above4G: false });

  const info = new DataView(new ArrayBuffer(120));
  const modules = LOW_LAYOUT.scratch;
  const name = LOW_LAYOUT.scratch + 16;
  const map = LOW_LAYOUT.scratch + 64;
  let flags = INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_NAME;
  info.setUint32(4, 639, true);
  const above = options.e820.find((each) => each.type === E820_RAM && each.base === 0x100000);
  info.setUint32(8, Math.min(above?.size ?? 0, 2 ** 32 - 0x100000) / 1024, true);
  info.setUint32(16, LOW_LAYOUT.cmdline, true);
  if (module !== 0) {
    flags |= INFO_MODS;
    info.setUint32(20, 1, true);
    info.setUint32(24, modules, true);
    const entryView = new DataView(new ArrayBuffer(16));
    entryView.setUint32(0, module, true);
    entryView.setUint32(4, module + options.initrd!.length, true);
    memory.write(modules, new Uint8Array(entryView.buffer));
  }
  info.setUint32(44, options.e820.length * 24, true);
  info.setUint32(48, map, true);
  info.setUint32(64, name, true);
  info.setUint32(0, flags, true);
  memory.write(LOW_LAYOUT.startInfo, new Uint8Array(info.buffer));
  memory.write(name, new TextEncoder().encode('paravane\0'));
  const table = new DataView(new ArrayBuffer(options.e820.length * 24));
  options.e820.forEach((each, i) => {
    table.setUint32(i * 24, 20, true);
    table.setBigUint64(i * 24 + 4, BigInt(each.base), true);
    table.setBigUint64(i * 24 + 12, BigInt(each.size), true);
    table.setUint32(i * 24 + 20, each.type, true);
  });
  memory.write(map, new Uint8Array(table.buffer));

  writeGdt(memory, false);
  return {
    mode: 'flat32',
    rip: BigInt(entry),
    rsp: BigInt(LOW_LAYOUT.stackTop),
    rax: BigInt(LOADER_MAGIC),
    rbx: BigInt(LOW_LAYOUT.startInfo),
    gdtBase: BigInt(LOW_LAYOUT.gdt),
    gdtLimit: GDT_LIMIT,
    codeSelector: BOOT_CS,
    dataSelector: BOOT_DS,
  };
}

interface Loaded {
  extent: { start: number; end: number };
  entry: number;
}

function loadAsElf(memory: GuestMemory, kernel: Uint8Array): Loaded {
  if (!isElf(kernel)) throw new UsageError('multiboot kernel gives no load addresses and is no ELF file');
  const elf = parseElf(kernel);
  loadElf(memory, elf);
  return { extent: elfExtent(elf), entry: physicalEntry(elf) };
}

/** The "a.out kludge" (§3.1.3): the header itself says what goes where. */
function loadByAddresses(memory: GuestMemory, kernel: Uint8Array, header: MultibootHeader): Loaded {
  const { header: headerAt, load, loadEnd, bssEnd, entry } = header.addresses!;
  const start = header.offset - (headerAt - load);
  const size = loadEnd === 0 ? kernel.length - start : loadEnd - load;
  if (start < 0 || size < 0 || start + size > kernel.length)
    throw new UsageError('multiboot kernel is cut short: its load addresses reach outside the file');
  const end = Math.max(load + size, bssEnd);
  const target = memory.slice(load, end - load);
  if (target === undefined)
    throw new UsageError(`multiboot kernel does not fit: it needs RAM from ${hex(load)} to ${hex(end)}`);
  target.fill(0);
  target.set(kernel.subarray(start, start + size));
  memory.noteWritten(load, end - load);
  return { extent: { start: load, end }, entry };
}
