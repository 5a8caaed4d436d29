/**
 * What firmware would leave in memory for the operating system, for machines that boot without firmware: BIOS
 * data area, extended BIOS data area, SMBIOS and ACPI tables, all below 1 MiB, and the memory map.
 */
import { assert } from '../../core/errors.ts';
import type { GuestMemory } from '../../core/memory.ts';
import { BIOS_BASE, buildE820, EBDA_BASE, EBDA_SIZE, type E820Entry } from './e820.ts';
import type { PlatformInfo } from '../info.ts';
import { buildDsdtBody } from './dsdt.ts';
import { buildSmbios, type SmbiosOptions } from './smbios.ts';
import { fadt, facs, hpet, madt, mcfg, rsdp, rsdt, table, waet, xsdt } from './tables.ts';

export interface MemoryBlob {
  readonly address: number;
  readonly bytes: Uint8Array;
}

export interface FirmwareTables {
  /** What must be copied into guest RAM. */
  readonly blobs: readonly MemoryBlob[];
  /** Address of the ACPI root pointer. */
  readonly rsdp: number;
  /** The ACPI tables by signature, for tools and tests. */
  readonly acpi: ReadonlyMap<string, MemoryBlob>;
}

export interface FirmwareOptions {
  readonly uuid?: string | undefined;
  /** Version shown in SMBIOS: the program's. */
  readonly version?: string;
  /** True when there is a VGA-compatible adapter. */
  readonly vga?: boolean;
}

const BIOS_END = 0x100000;
const PRODUCT = {
  pc: 'Standard PC (i440FX + PIIX, 1996)',
  q35: 'Standard PC (Q35 + ICH9, 2009)',
} as const;

export function buildFirmwareTables(info: PlatformInfo, options: FirmwareOptions = {}): FirmwareTables {
  const blobs: MemoryBlob[] = [biosDataArea(info), { address: EBDA_BASE, bytes: extendedBiosDataArea() }];
  let free = BIOS_BASE;
  const place = (bytes: Uint8Array, alignment: number): number => {
    const address = Math.ceil(free / alignment) * alignment;
    assert(address + bytes.length <= BIOS_END, 'firmware tables do not fit below 1 MiB', {
      size: bytes.length,
    });
    free = address + bytes.length;
    blobs.push({ address, bytes });
    return address;
  };
  const smbios: SmbiosOptions = {
    uuid: options.uuid,
    product: PRODUCT[info.machine],
    version: options.version ?? '0.1.0',
    cpuCount: info.cpuCount,
    ramBelow4G: info.ramBelow4G,
    ramAbove4G: info.ramAbove4G,
  };
  place(buildSmbios(free, smbios), 16);

  const acpi = new Map<string, MemoryBlob>();
  const placeTable = (bytes: Uint8Array, alignment = 16): number => {
    const address = place(bytes, alignment);
    acpi.set(String.fromCharCode(...bytes.subarray(0, 4)), { address, bytes });
    return address;
  };
  const facsAt = placeTable(facs(), 64);
  const dsdtAt = placeTable(table('DSDT', 2, buildDsdtBody(info)));
  const roots = [
    placeTable(fadt(info, { facs: facsAt, dsdt: dsdtAt, vga: options.vga ?? false })),
    placeTable(madt(info)),
    ...(info.hpetAddress === undefined ? [] : [placeTable(hpet(info.hpetAddress))]),
    ...(info.ecam === undefined ? [] : [placeTable(mcfg(info.ecam.base, info.ecam.size))]),
    placeTable(waet()),
  ];
  const rsdtAt = placeTable(rsdt(roots));
  const xsdtAt = placeTable(xsdt(roots));
  return { blobs, rsdp: place(rsdp(rsdtAt, xsdtAt), 16), acpi };
}

/** Copies the tables into guest RAM. */
export function writeFirmwareTables(memory: GuestMemory, tables: FirmwareTables): void {
  // The rest of the BIOS area reads as zeroes, not as what an earlier run left there.
  memory.slice(BIOS_BASE, BIOS_END - BIOS_BASE)?.fill(0);
  for (const { address, bytes } of tables.blobs)
    assert(memory.write(address, bytes), 'no RAM below 1 MiB', { address });
  memory.noteWritten(BIOS_BASE, BIOS_END - BIOS_BASE);
}

/** The map as SeaBIOS gives it: RAM, its own areas, the ECAM window, the flash at the end of 4 GiB. */
export function firmwareE820(memory: GuestMemory, info: PlatformInfo): E820Entry[] {
  const ecam = info.ecam === undefined ? [] : [info.ecam];
  return buildE820(memory, 0, [...ecam, { base: 0xfffc0000, size: 0x40000 }]);
}

/** The BIOS data area at 400h: serial ports, the segment of the EBDA, kilobytes of conventional memory. */
function biosDataArea(info: PlatformInfo): MemoryBlob {
  const view = new DataView(new ArrayBuffer(0x100));
  for (const { index, port } of info.serialPorts) view.setUint16(index * 2, port, true);
  view.setUint16(0x0e, EBDA_BASE >> 4, true);
  view.setUint16(0x13, EBDA_BASE / 1024, true);
  return { address: 0x400, bytes: new Uint8Array(view.buffer) };
}

/** The EBDA starts with its size in KiB. */
function extendedBiosDataArea(): Uint8Array {
  const bytes = new Uint8Array(EBDA_SIZE);
  bytes[0] = EBDA_SIZE / 1024;
  return bytes;
}
