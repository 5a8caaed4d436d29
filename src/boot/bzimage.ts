/**
 * The header of a Linux bzImage: what it is, what it can do, where its packed payload lies. Offsets and meanings
 * are those of the Linux/x86 boot protocol (Documentation/x86/boot.rst, "The Real-Mode Kernel Header").
 */
import { UsageError } from '../core/errors.ts';

/** Offsets in the file and, for those up to `END_OF_HEADER`, in boot_params. */
export const HDR = {
  setup_sects: 0x1f1,
  root_flags: 0x1f2,
  syssize: 0x1f4,
  vid_mode: 0x1fa,
  boot_flag: 0x1fe,
  jump: 0x200,
  header: 0x202,
  version: 0x206,
  type_of_loader: 0x210,
  loadflags: 0x211,
  code32_start: 0x214,
  ramdisk_image: 0x218,
  ramdisk_size: 0x21c,
  heap_end_ptr: 0x224,
  cmd_line_ptr: 0x228,
  initrd_addr_max: 0x22c,
  kernel_alignment: 0x230,
  relocatable_kernel: 0x234,
  min_alignment: 0x235,
  xloadflags: 0x236,
  cmdline_size: 0x238,
  payload_offset: 0x248,
  payload_length: 0x24c,
  setup_data: 0x250,
  pref_address: 0x258,
  init_size: 0x260,
} as const;

/** "HdrS" */
export const HDR_MAGIC = 0x53726448;
export const LOADED_HIGH = 0x01;
/** A 64-bit entry point lies 200h after the start of the protected-mode code (protocol 2.12). */
export const XLF_KERNEL_64 = 0x01;
export const XLF_CAN_BE_LOADED_ABOVE_4G = 0x02;

export interface BzImage {
  /** Protocol version, major in the high byte (0x20f is 2.15). */
  readonly version: number;
  readonly loadedHigh: boolean;
  readonly xloadflags: number;
  /** Highest address that the initrd's last byte may have. */
  readonly initrdAddrMax: number;
  /** Longest command line in bytes, without the terminating zero. */
  readonly cmdlineSize: number;
  readonly relocatable: boolean;
  readonly kernelAlignment: number;
  readonly prefAddress: number;
  /** Bytes of RAM that the kernel needs from its load address before it reads the memory map. */
  readonly initSize: number;
  /** The real-mode header as it must be copied to boot_params: file bytes 1F1h up to its end. */
  readonly setupHeader: Uint8Array;
  /** The protected-mode part: what is loaded when the kernel unpacks itself. */
  readonly protectedMode: Uint8Array;
  /** The packed kernel without its trailing size, and that size; undefined before protocol 2.08. */
  readonly payload: Uint8Array | undefined;
  readonly payloadSize: number;
}

/** True when the bytes at 202h say that this is a Linux kernel image. */
export function isBzImage(kernel: Uint8Array): boolean {
  return kernel.length > 0x206 && u32(kernel, HDR.header) === HDR_MAGIC;
}

/**
 * Reads the header of a bzImage.
 * @throws UsageError when the file is cut short, or of a kind that cannot be booted
 */
export function parseBzImage(kernel: Uint8Array): BzImage {
  if (kernel.length < 0x268)
    throw new UsageError(`kernel image is cut short: ${kernel.length} bytes hold no header`);
  if (!isBzImage(kernel)) throw new UsageError('kernel image has no Linux boot header ("HdrS" at 202h)');
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.length);
  const version = view.getUint16(HDR.version, true);
  const loadflags = kernel[HDR.loadflags]!;
  if (version < 0x200 || (loadflags & LOADED_HIGH) === 0)
    throw new UsageError(
      `kernel image is a zImage of boot protocol ${describeVersion(version)}; a bzImage (2.00 or later) is needed`,
    );
  // Zero means four, from when the field did not exist (§"Details of Header Fields", setup_sects).
  const setupSectors = kernel[HDR.setup_sects]! || 4;
  const start = (setupSectors + 1) * 512;
  const protectedSize = version >= 0x204 ? view.getUint32(HDR.syssize, true) * 16 : kernel.length - start;
  // syssize counts 16-byte units, so the file may end up to 15 bytes before it.
  if (start >= kernel.length || start + protectedSize - 15 > kernel.length)
    throw new UsageError(
      `kernel image is cut short: its header tells of ${start + protectedSize} bytes, the file has ${kernel.length}`,
    );
  // The jump at 200h leads past the header: its displacement is the header's length from 202h on.
  const headerEnd = Math.min(0x202 + kernel[0x201]!, 0x290);
  const protectedMode = kernel.subarray(start, Math.min(kernel.length, start + protectedSize));
  let payload: Uint8Array | undefined;
  let payloadSize = 0;
  if (version >= 0x208) {
    const offset = view.getUint32(HDR.payload_offset, true);
    const length = view.getUint32(HDR.payload_length, true);
    if (length > 0) {
      if (offset + length > protectedMode.length)
        throw new UsageError(
          `kernel image is damaged: payload of ${length} bytes at ${offset} in ${protectedMode.length} bytes`,
        );
      payload = protectedMode.subarray(offset, offset + length);
      payloadSize = length >= 4 ? u32(payload, length - 4) : 0;
    }
  }
  return {
    version,
    loadedHigh: true,
    xloadflags: version >= 0x20c ? view.getUint16(HDR.xloadflags, true) : 0,
    initrdAddrMax: version >= 0x203 ? view.getUint32(HDR.initrd_addr_max, true) : 0x37ffffff,
    cmdlineSize: version >= 0x206 ? view.getUint32(HDR.cmdline_size, true) : 255,
    relocatable: version >= 0x205 && kernel[HDR.relocatable_kernel] !== 0,
    kernelAlignment: version >= 0x205 ? view.getUint32(HDR.kernel_alignment, true) : 0x100000,
    prefAddress: version >= 0x20a ? Number(view.getBigUint64(HDR.pref_address, true)) : 0x100000,
    initSize: version >= 0x20a ? view.getUint32(HDR.init_size, true) : protectedSize * 4,
    setupHeader: kernel.subarray(HDR.setup_sects, headerEnd),
    protectedMode,
    payload,
    payloadSize,
  };
}

function describeVersion(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`;
}

function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
}
