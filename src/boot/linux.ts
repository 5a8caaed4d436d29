/**
 * Loads what `-kernel` names, without firmware: a Linux bzImage (unpacked on the host), a bare vmlinux, a kernel
 * with a PVH entry, or a multiboot kernel; and says in which state the processor starts. Specification: the
 * Linux/x86 boot protocol (Documentation/x86/boot.rst).
 */
import { UsageError } from '../core/errors.ts';
import type { GuestMemory } from '../core/memory.ts';
import type { EntryState } from '../x86/cpu.ts';
import {
  type BzImage,
  isBzImage,
  parseBzImage,
  XLF_CAN_BE_LOADED_ABOVE_4G,
  XLF_KERNEL_64,
} from './bzimage.ts';
import { decompress, detectCompression, type HostDecompressor } from './decompress/index.ts';
import type { E820Entry } from '../pc/acpi/e820.ts';
import { elfExtent, type ElfImage, hex, isElf, loadElf, parseElf, physicalEntry, readElf } from './elf.ts';
import { findMultibootHeader, loadMultiboot } from './multiboot.ts';
import { placeInitrd, writeCmdline } from './place.ts';
import { findPvhEntry, loadPvh } from './pvh.ts';
import {
  BOOT_CS,
  BOOT_DS,
  GDT_LIMIT,
  LOW_LAYOUT,
  writeGdt,
  writeIdentityPageTables,
  writeZeroPage,
} from './zeropage.ts';

/** Keeps unpacked kernels between runs; `key` is made of the packed bytes. Failures count as absence. */
export interface KernelCache {
  open(key: string): Promise<KeptKernel | undefined>;
  set(key: string, data: Uint8Array): Promise<void>;
}

/** An unpacked kernel, which is read straight to where the guest has it. */
export interface KeptKernel {
  /** Bytes of the file. */
  readonly size: number;
  /** Fills `target` with what lies from `offset` on; false when there is not as much. */
  read(target: Uint8Array, offset: number): Promise<boolean>;
  close(): Promise<void>;
}

export interface LoadOptions {
  /** The file that `-kernel` names. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  readonly cmdline?: string | undefined;
  readonly e820: readonly E820Entry[];
  /** Guest-physical address of the ACPI RSDP; 0 or absent: the kernel searches for it. */
  readonly rsdp?: number | undefined;
  /** 32 random bytes for the kernel's generator; absent: none. */
  readonly rngSeed?: Uint8Array | undefined;
  readonly decompress?: HostDecompressor | undefined;
  readonly cache?: KernelCache | undefined;
}

/** Where protected-mode code goes that was not built for another address. */
const LOAD_HIGH = 0x100000;

/**
 * Puts the kernel, its initrd, command line and tables into guest RAM.
 * @returns the state in which the boot processor starts
 * @throws UsageError for a file that is no kernel, or a command line or initrd that does not fit
 */
export async function loadLinux(memory: GuestMemory, options: LoadOptions): Promise<EntryState> {
  const { kernel } = options;
  if (kernel.length === 0) throw new UsageError('kernel image is empty');
  if (isBzImage(kernel)) return loadBzImage(memory, options, parseBzImage(kernel));
  const multiboot = findMultibootHeader(kernel);
  if (multiboot !== undefined) return loadMultiboot(memory, options, multiboot);
  if (isElf(kernel)) {
    const elf = parseElf(kernel);
    const pvh = findPvhEntry(elf);
    if (pvh !== undefined) return loadPvh(memory, options, elf, pvh);
    return loadVmlinux(memory, options, elf, undefined);
  }
  if (detectCompression(kernel) !== undefined) {
    const unpacked = await decompress(kernel, 0, options.decompress);
    if (isElf(unpacked) || isBzImage(unpacked)) return loadLinux(memory, { ...options, kernel: unpacked });
  }
  throw new UsageError('kernel image is neither a Linux bzImage nor an x86 ELF file nor a multiboot kernel');
}

async function loadBzImage(memory: GuestMemory, options: LoadOptions, image: BzImage): Promise<EntryState> {
  const { payload, payloadSize } = image;
  if (payload === undefined) return loadPacked(memory, options, image);
  const format = detectCompression(payload);
  // A kernel that packs itself in a way that we do not know unpacks itself, too.
  if (format === undefined) return loadUnpacked(memory, options, image, payload);
  // gzip is the only one that the host unpacks by itself, in less time than a look into the cache takes
  const cache = format === 'gzip' ? undefined : options.cache;
  const key = cache === undefined ? '' : cacheKey(payload);
  const kept = await cache?.open(key).catch(() => undefined);
  try {
    const state = kept && (await loadKept(memory, options, image, kept));
    if (state !== undefined) return state;
  } finally {
    await kept?.close();
  }
  // All but gzip carry the unpacked size in four bytes after their data; gzip's own trailer ends with it.
  const packed = format === 'gzip' ? payload : payload.subarray(0, payload.length - 4);
  const unpacked = await decompress(packed, payloadSize, options.decompress);
  if (unpacked.length < payloadSize)
    throw new UsageError(`kernel image is damaged: it unpacks to ${unpacked.length} of ${payloadSize} bytes`);
  await cache?.set(key, unpacked).catch(() => {});
  return loadUnpacked(memory, options, image, unpacked);
}

/** Loads what a payload has become; one that is no ELF file goes its own way. */
function loadUnpacked(
  memory: GuestMemory,
  options: LoadOptions,
  image: BzImage,
  unpacked: Uint8Array,
): EntryState {
  if (!isElf(unpacked)) return loadPacked(memory, options, image);
  return loadVmlinux(memory, options, parseElf(unpacked), image);
}

/** Of an unpacked kernel's file: its header and its program headers, which follow on it. */
const KERNEL_HEADERS = 4096;

/** Loads what an earlier run has unpacked; undefined when that is not what it should be. */
async function loadKept(
  memory: GuestMemory,
  options: LoadOptions,
  image: BzImage,
  kept: KeptKernel,
): Promise<EntryState | undefined> {
  if (kept.size !== image.payloadSize) return undefined;
  const headers = new Uint8Array(Math.min(kept.size, KERNEL_HEADERS));
  const read = (target: Uint8Array, offset: number): Promise<boolean> =>
    kept.read(target, offset).catch(() => false);
  if (!(await read(headers, 0)) || !isElf(headers)) return undefined;
  let elf: ElfImage;
  try {
    elf = parseElf(headers, kept.size);
  } catch {
    return undefined;
  }
  checkExtent(elf);
  if (!(await readElf(memory, elf, read))) return undefined;
  return enterVmlinux(memory, options, elf, image);
}

/** Length and two 32-bit FNV-style sums over all of the data: collisions need intent, and the user owns both. */
function cacheKey(data: Uint8Array): string {
  let a = 0x811c9dc5;
  let b = 0x01234567;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i + 4 <= data.length; i += 4) {
    const word = view.getInt32(i, true);
    a = Math.imul(a ^ word, 0x01000193);
    b = Math.imul((b << 13) | (b >>> 19), 5) ^ word;
    a ^= a >>> 15;
  }
  const part = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return `vmlinux-${data.length.toString(16)}-${part(a)}${part(b)}`;
}

/** A kernel that is unpacked: its segments go where they were linked, its entry point takes boot_params. */
function loadVmlinux(
  memory: GuestMemory,
  options: LoadOptions,
  elf: ElfImage,
  image: BzImage | undefined,
): EntryState {
  checkExtent(elf);
  loadElf(memory, elf);
  return enterVmlinux(memory, options, elf, image);
}

function checkExtent(elf: ElfImage): void {
  const { start } = elfExtent(elf);
  if (start < LOAD_HIGH)
    throw new UsageError(
      `kernel wants to be loaded at ${hex(start)}, below 1 MiB, and has no multiboot header`,
    );
}

/** What comes with the segments, which are there. */
function enterVmlinux(
  memory: GuestMemory,
  options: LoadOptions,
  elf: ElfImage,
  image: BzImage | undefined,
): EntryState {
  const extent = elfExtent(elf);
  const end = Math.max(extent.end, image === undefined ? 0 : extent.start + image.initSize);
  writeBootParams(memory, options, image, { start: extent.start, end });
  return entry(memory, elf.bits === 64, physicalEntry(elf));
}

/** A kernel that unpacks itself: its protected-mode part goes to the address that it prefers. */
function loadPacked(memory: GuestMemory, options: LoadOptions, image: BzImage): EntryState {
  const at = image.relocatable ? image.prefAddress : LOAD_HIGH;
  const size = Math.max(image.initSize, image.protectedMode.length);
  if (memory.slice(at, size) === undefined)
    throw new UsageError(
      `kernel does not fit in the guest's memory: it needs RAM from ${hex(at)} to ${hex(at + size)}; ` +
        'give the guest more with -m',
    );
  memory.write(at, image.protectedMode);
  writeBootParams(memory, options, image, { start: at, end: at + size });
  const long = (image.xloadflags & XLF_KERNEL_64) !== 0;
  return entry(memory, long, long ? at + 0x200 : at);
}

function entry(memory: GuestMemory, long: boolean, rip: number): EntryState {
  writeGdt(memory, long);
  const common = {
    rip: BigInt(rip),
    rsp: BigInt(LOW_LAYOUT.stackTop),
    rsi: BigInt(LOW_LAYOUT.zeroPage),
    rbx: 0n,
    gdtBase: BigInt(LOW_LAYOUT.gdt),
    gdtLimit: GDT_LIMIT,
    codeSelector: BOOT_CS,
    dataSelector: BOOT_DS,
  };
  if (!long) return { mode: 'flat32', ...common };
  return { mode: 'long', ...common, cr3: BigInt(writeIdentityPageTables(memory)) };
}

function writeBootParams(
  memory: GuestMemory,
  options: LoadOptions,
  image: BzImage | undefined,
  kernel: { start: number; end: number },
): void {
  const cmdlineSize = image?.cmdlineSize ?? 2047;
  writeCmdline(memory, options.cmdline ?? '', cmdlineSize);
  const initrd = placeInitrd(memory, options, kernel, {
    // The field is the highest address of the last byte.
    limit: (image?.initrdAddrMax ?? 0x7fffffff) + 1,
    above4G: image === undefined || (image.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0,
  });
  writeZeroPage(memory, {
    ...(image === undefined ? {} : { setupHeader: image.setupHeader }),
    ...(options.rngSeed === undefined ? {} : { rngSeed: options.rngSeed }),
    protocol: image?.version ?? 0x20f,
    e820: options.e820,
    cmdline: LOW_LAYOUT.cmdline,
    cmdlineSize,
    initrd,
    initrdSize: initrd === 0 ? 0 : options.initrd!.length,
    rsdp: options.rsdp ?? 0,
  });
}
