/** Kernel images made by hand, for tests of the loaders. */
import { gzipSync } from 'node:zlib';
import { HDR, HDR_MAGIC } from '../../src/boot/bzimage.ts';

const MIB = 0x100000;
/** Where Linux is linked to, and these are loaded. */
export const ENTRY = 0x1000000;

/** An ELF executable with one segment of `text` at `paddr` and 4 KiB of zeroes behind, and perhaps a note. */
export function makeElf(bits: 32 | 64, text: Uint8Array, paddr = ENTRY, note?: Uint8Array): Uint8Array {
  const wide = bits === 64;
  const headers = wide ? 64 + 2 * 56 : 52 + 2 * 32;
  const file = new Uint8Array(headers + text.length + (note?.length ?? 0));
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  view.setUint16(18, wide ? 62 : 3, true);
  const word = (at: number, value: number): void => {
    if (wide) view.setBigUint64(at, BigInt(value), true);
    else view.setUint32(at, value, true);
  };
  word(24, paddr + 8);
  word(wide ? 32 : 28, wide ? 64 : 52);
  view.setUint16(wide ? 54 : 42, wide ? 56 : 32, true);
  view.setUint16(wide ? 56 : 44, note === undefined ? 1 : 2, true);
  const segment = (index: number, type: number, offset: number, size: number, memory: number): void => {
    const at = (wide ? 64 : 52) + index * (wide ? 56 : 32);
    view.setUint32(at, type, true);
    const fields = wide ? [8, 16, 24, 32, 40] : [4, 8, 12, 16, 20];
    [offset, 0xc0000000 + paddr, paddr, size, memory].forEach((value, i) => word(at + fields[i]!, value));
  };
  segment(0, 1, headers, text.length, text.length + 4096);
  if (note !== undefined) segment(1, 4, headers + text.length, note.length, note.length);
  file.set(text, headers);
  if (note !== undefined) file.set(note, headers + text.length);
  return file;
}

export const TEXT = Uint8Array.from({ length: 100 }, (_, i) => i + 1);

export interface ImageOptions {
  payload?: Uint8Array;
  version?: number;
  xloadflags?: number;
  initrdAddrMax?: number;
}

/** A bzImage with one setup sector; the payload stands 100h bytes into its protected-mode part. */
export function makeBzImage(options: ImageOptions = {}): Uint8Array {
  const elf = makeElf(64, TEXT);
  const payload = options.payload ?? gzipSync(elf);
  const protectedSize = Math.ceil((0x300 + payload.length) / 16) * 16;
  const image = new Uint8Array(1024 + protectedSize);
  const view = new DataView(image.buffer);
  image[HDR.setup_sects] = 1;
  view.setUint32(HDR.syssize, protectedSize / 16, true);
  view.setUint16(HDR.boot_flag, 0xaa55, true);
  image.set([0xeb, 0x66], HDR.jump);
  view.setUint32(HDR.header, HDR_MAGIC, true);
  view.setUint16(HDR.version, options.version ?? 0x20f, true);
  image[HDR.loadflags] = 1;
  view.setUint32(HDR.initrd_addr_max, options.initrdAddrMax ?? 0x7fffffff, true);
  view.setUint32(HDR.kernel_alignment, 0x200000, true);
  image[HDR.relocatable_kernel] = 1;
  view.setUint16(HDR.xloadflags, options.xloadflags ?? 3, true);
  view.setUint32(HDR.cmdline_size, 2047, true);
  view.setUint32(HDR.payload_offset, 0x100, true);
  view.setUint32(HDR.payload_length, payload.length, true);
  view.setBigUint64(HDR.pref_address, BigInt(ENTRY), true);
  view.setUint32(HDR.init_size, 2 * MIB, true);
  image.set([0xaa, 0xbb], 1024);
  image.set(payload, 1024 + 0x100);
  return image;
}

/** An ELF note as PVH kernels have it. */
export function makePvhNote(entry: number): Uint8Array {
  const note = new Uint8Array(20);
  const fields = new DataView(note.buffer);
  fields.setUint32(0, 4, true); // namesz
  fields.setUint32(4, 4, true); // descsz
  fields.setUint32(8, 18, true); // XEN_ELFNOTE_PHYS32_ENTRY
  note.set([0x58, 0x65, 0x6e], 12); // "Xen"
  fields.setUint32(16, entry, true);
  return note;
}
