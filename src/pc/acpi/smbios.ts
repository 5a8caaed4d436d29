/**
 * SMBIOS 2.8 tables: what `dmidecode` and the kernel's "DMI:" line show. The layout of QEMU's tables with our
 * names. Specification: DMTF DSP0134 2.8.
 */
import { UsageError } from '../../core/errors.ts';
import { setChecksum, TableWriter } from './tables.ts';

export interface SmbiosOptions {
  /** As `-uuid` gives it; all zeroes ("not settable") when absent. */
  readonly uuid?: string | undefined;
  readonly product: string;
  readonly version: string;
  readonly cpuCount: number;
  readonly ramBelow4G: number;
  readonly ramAbove4G: number;
}

const MANUFACTURER = 'Paravane';
/** A type 17 structure describes at most this much in its 16-bit field of MiB (7.18.5: 32 GiB - 1 MiB). */
const MODULE_MAX = 16 * 2 ** 30;

/** One structure: type, handle, formatted area after the 4-byte header, then its strings. */
function structure(
  out: TableWriter,
  type: number,
  handle: number,
  area: TableWriter,
  strings: string[] = [],
): void {
  out.u8(type, area.bytes.length + 4).u16(handle);
  out.bytes.push(...area.bytes);
  for (const each of strings) out.text(each, each.length + 1);
  // The string set ends with an extra zero; without strings there are two (6.1.3).
  out.u8(0);
  if (strings.length === 0) out.u8(0);
}

/** A UUID in the mixed byte order of 7.2.1: the first three fields little-endian. */
export function uuidBytes(text: string): number[] {
  const digits = text.replaceAll('-', '');
  if (!/^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(text))
    throw new UsageError(`'${text}' is not a UUID`);
  const bytes = Array.from({ length: 16 }, (_, i) => Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16));
  return [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map((i) => bytes[i]!);
}

function structures(options: SmbiosOptions): { bytes: Uint8Array; count: number; largest: number } {
  const out = new TableWriter();
  const starts: number[] = [];
  const add = (type: number, handle: number, area: TableWriter, strings: string[] = []): void => {
    starts.push(out.bytes.length);
    structure(out, type, handle, area, strings);
  };
  const writer = (): TableWriter => new TableWriter();

  // 7.1 BIOS: segment, size, characteristics "not supported"; extension byte 2: virtual machine.
  add(0, 0x000, writer().u8(1, 2).u16(0xe800).u8(3, 0).u64(8).u8(0, 0x14, 0, 0, 0xff, 0xff), [
    MANUFACTURER,
    options.version,
    '04/01/2014',
  ]);
  // 7.2 System: wake-up by power switch.
  const uuid =
    options.uuid === undefined ? Array.from<number>({ length: 16 }).fill(0) : uuidBytes(options.uuid);
  add(1, 0x100, writer().u8(1, 2, 3, 0, ...uuid, 6, 0, 0), [MANUFACTURER, options.product, options.version]);
  // 7.4 Chassis: other; states safe, security unknown.
  add(3, 0x300, writer().u8(1, 1, 2, 0, 0, 3, 3, 3, 2).u32(0).u8(0, 0, 0, 0, 0), [
    MANUFACTURER,
    options.version,
  ]);
  for (let cpu = 0; cpu < options.cpuCount; cpu++) {
    // 7.5 Processor: central, family other; populated and enabled.
    const area = writer().u8(1, 3, 1, 2).u64(0).u8(3, 0).u16(0).u16(2000).u16(2000).u8(0x41, 1);
    area.u16(0xffff).u16(0xffff).u16(0xffff).u8(0, 0, 0, 1, 1, 1).u16(2).u16(1);
    add(4, 0x400 + cpu, area, [`CPU ${cpu}`, MANUFACTURER, options.version]);
  }
  addMemory(options, add);
  // 7.33 Boot: no error.
  add(32, 0x2000, writer().zeros(7));
  add(127, 0x7f00, writer());
  const bytes = Uint8Array.from(out.bytes);
  const ends = [...starts.slice(1), bytes.length];
  return { bytes, count: starts.length, largest: Math.max(...starts.map((start, i) => ends[i]! - start)) };
}

function addMemory(
  options: SmbiosOptions,
  add: (type: number, handle: number, area: TableWriter, strings?: string[]) => void,
): void {
  const total = options.ramBelow4G + options.ramAbove4G;
  const modules = Math.max(1, Math.ceil(total / MODULE_MAX));
  // 7.17 Array: other location, system memory, multi-bit ECC; capacity in KiB.
  const array = new TableWriter()
    .u8(1, 3, 6)
    .u32(Math.min(total / 1024, 0x7fffffff))
    .u16(0xfffe)
    .u16(modules)
    .u64(0);
  add(16, 0x1000, array);
  for (let i = 0; i < modules; i++) {
    const size = Math.min(MODULE_MAX, total - i * MODULE_MAX) / 2 ** 20;
    // 7.18 Device: DIMM, RAM.
    const area = new TableWriter()
      .u16(0x1000)
      .u16(0xfffe)
      .u16(0xffff)
      .u16(0xffff)
      .u16(size)
      .u8(9, 0, 1, 0, 7)
      .u16(2);
    area.u16(0).u8(2, 0, 0, 0, 0).u32(0).u16(0).u16(0).u16(0).u16(0);
    add(17, 0x1100 + i, area, [`DIMM ${i}`, MANUFACTURER]);
  }
  // 7.20 Mapped addresses, in KiB, ends inclusive.
  const range = (base: number, size: number): TableWriter =>
    new TableWriter()
      .u32(base / 1024)
      .u32((base + size) / 1024 - 1)
      .u16(0x1000)
      .u8(1)
      .u64(0)
      .u64(0);
  add(19, 0x1300, range(0, options.ramBelow4G));
  if (options.ramAbove4G > 0) add(19, 0x1301, range(2 ** 32, options.ramAbove4G));
}

/** The entry point (16-byte aligned, in F0000h-FFFFFh) and the structures right behind it. */
export function buildSmbios(address: number, options: SmbiosOptions): Uint8Array {
  const { bytes: body, count, largest } = structures(options);
  const tableAddress = address + 32;
  const entry = new TableWriter()
    .text('_SM_', 4)
    .u8(0, 31, 2, 8)
    .u16(largest)
    .u8(0)
    .zeros(5)
    .text('_DMI_', 5)
    .u8(0)
    .u16(body.length)
    .u32(tableAddress)
    .u16(count)
    .u8(0x28);
  const bytes = new Uint8Array(32 + body.length);
  bytes.set(entry.bytes);
  // The intermediate checksum covers "_DMI_" to the end, the first one all 31 bytes (5.2.1).
  setChecksum(bytes, 21, 16, 31);
  setChecksum(bytes, 4, 0, 31);
  bytes.set(body, 32);
  return bytes;
}
