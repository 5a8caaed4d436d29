/**
 * The ACPI tables beside the DSDT, each as bytes. Specification: ACPI 6.4 chapter 5; HPET table: IA-PC HPET 1.0a
 * §3.2.4; MCFG: PCI Firmware 3.0 §4.1.2; WAET: Windows ACPI Emulated Devices Table.
 */
import type { PlatformInfo } from '../info.ts';

const HEADER_SIZE = 36;
const OEM_ID = 'PARAVN';
const OEM_TABLE_ID = 'PARAVANE';
const CREATOR_ID = 'PRVN';

/** A growing little-endian byte string. */
export class TableWriter {
  readonly bytes: number[] = [];

  u8(...values: number[]): this {
    this.bytes.push(...values.map((value) => value & 255));
    return this;
  }

  u16(value: number): this {
    return this.#number(value, 2);
  }

  u32(value: number): this {
    return this.#number(value, 4);
  }

  u64(value: number): this {
    return this.#number(value, 8);
  }

  text(value: string, length: number): this {
    for (let i = 0; i < length; i++) this.bytes.push(i < value.length ? value.charCodeAt(i) : 0);
    return this;
  }

  zeros(count: number): this {
    for (let i = 0; i < count; i++) this.bytes.push(0);
    return this;
  }

  /** A generic address structure (§5.2.3.2); address 0 makes one that is absent. */
  gas(port: number, bits: number): this {
    if (port === 0) return this.zeros(12);
    // System I/O; access size 1 byte, 2 words, 3 double words.
    const access = bits >= 32 ? 3 : bits === 16 ? 2 : 1;
    return this.u8(1, bits, 0, access).u64(port);
  }

  #number(value: number, size: number): this {
    const wide = BigInt(value);
    for (let i = 0; i < size; i++) this.bytes.push(Number((wide >> BigInt(8 * i)) & 0xffn));
    return this;
  }
}

/** Makes the sum of bytes [from, to) zero by setting the byte at `at`. */
export function setChecksum(bytes: Uint8Array, at: number, from = 0, to = bytes.length): void {
  bytes[at] = 0;
  let sum = 0;
  for (let i = from; i < to; i++) sum += bytes[i]!;
  bytes[at] = -sum & 255;
}

/** A table with the common header (§5.2.6) in front of `body`. */
export function table(signature: string, revision: number, body: readonly number[]): Uint8Array {
  const header = new TableWriter()
    .text(signature, 4)
    .u32(HEADER_SIZE + body.length)
    .u8(revision, 0)
    .text(OEM_ID, 6)
    .text(OEM_TABLE_ID, 8)
    .u32(1)
    .text(CREATOR_ID, 4)
    .u32(1);
  const bytes = new Uint8Array(HEADER_SIZE + body.length);
  bytes.set(header.bytes);
  bytes.set(body, HEADER_SIZE);
  setChecksum(bytes, 9);
  return bytes;
}

/** FADT flags (§5.2.9, table 5.10). */
const FADT_WBINVD = 1 << 0;
const FADT_PROC_C1 = 1 << 2;
/** There is no sleep button with fixed registers; the power button is one (bit 4 stays clear). */
const FADT_SLP_BUTTON = 1 << 5;
const FADT_RTC_S4 = 1 << 7;
const FADT_TMR_VAL_EXT = 1 << 8;
const FADT_RESET_REG_SUP = 1 << 10;
/** IAPC_BOOT_ARCH (table 5.11). */
const ARCH_LEGACY_DEVICES = 1 << 0;
const ARCH_8042 = 1 << 1;
const ARCH_NO_VGA = 1 << 2;
/** Latencies above 100 and 1000 µs say that C2 and C3 do not exist. */
const NO_C2 = 0xfff;
const CENTURY_REGISTER = 0x32;

export function fadt(info: PlatformInfo, options: { facs: number; dsdt: number; vga: boolean }): Uint8Array {
  const { power } = info;
  const flags =
    FADT_WBINVD |
    FADT_PROC_C1 |
    FADT_SLP_BUTTON |
    FADT_RTC_S4 |
    FADT_RESET_REG_SUP |
    (power.timerBits === 32 ? FADT_TMR_VAL_EXT : 0);
  const arch =
    ARCH_LEGACY_DEVICES | (info.hasKeyboardController ? ARCH_8042 : 0) | (options.vga ? 0 : ARCH_NO_VGA);
  const body = new TableWriter()
    .u32(options.facs)
    .u32(options.dsdt)
    // Interrupt model of ACPI 1.0; preferred profile: unspecified.
    .u8(1, 0)
    .u16(power.sciIrq)
    .u32(power.smiCommand)
    .u8(power.acpiEnable, power.acpiDisable, 0, 0)
    .u32(power.eventBlock)
    .u32(0)
    .u32(power.controlBlock)
    .u32(0)
    .u32(0)
    .u32(power.timerBlock)
    .u32(power.gpe0Block)
    .u32(0)
    // Lengths of the blocks: PM1 event, control, PM2, timer, GPE0, GPE1; GPE1 base; C-state support.
    .u8(4, 2, 0, 4, power.gpe0Length, 0, 0, 0)
    .u16(NO_C2)
    .u16(NO_C2)
    // Flush size and stride, duty offset and width, day and month alarm: none.
    .u16(0)
    .u16(0)
    .u8(0, 0, 0, 0, CENTURY_REGISTER)
    .u16(arch)
    .u8(0)
    .u32(flags)
    .gas(power.resetPort, 8)
    .u8(power.resetValue)
    .zeros(3)
    // X_FIRMWARE_CTRL must be zero when FIRMWARE_CTRL is used; X_DSDT may stand beside DSDT.
    .u64(0)
    .u64(options.dsdt)
    .gas(power.eventBlock, 32)
    .gas(0, 0)
    .gas(power.controlBlock, 16)
    .gas(0, 0)
    .gas(0, 0)
    .gas(power.timerBlock, 32)
    .gas(power.gpe0Block, power.gpe0Length * 8)
    .gas(0, 0);
  return table('FACP', 3, body.bytes);
}

/** The firmware control structure (§5.2.10): no header checksum, aligned to 64 by its placement. */
export function facs(): Uint8Array {
  return Uint8Array.from(new TableWriter().text('FACS', 4).u32(64).zeros(56).bytes);
}

/** Polarity and trigger of an interrupt source (table 5.26). */
const POLARITY = { conforming: 0, high: 1, low: 3 } as const;
const TRIGGER = { conforming: 0, edge: 1, level: 3 } as const;

export function madt(info: PlatformInfo): Uint8Array {
  const body = new TableWriter()
    .u32(info.lapicAddress)
    // PCAT_COMPAT: there are also two 8259s.
    .u32(1);
  info.apicIds.forEach((id, index) => body.u8(0, 8, index, id).u32(1));
  body.u8(1, 12, info.ioapic.id, 0).u32(info.ioapic.address).u32(info.ioapic.gsiBase);
  for (const { source, gsi, polarity, trigger } of info.irqOverrides)
    body
      .u8(2, 10, 0, source)
      .u32(gsi)
      .u16(POLARITY[polarity] | (TRIGGER[trigger] << 2));
  // NMI is wired to LINT1 of every processor.
  body.u8(4, 6, 0xff).u16(0).u8(1);
  return table('APIC', 3, body.bytes);
}

export function hpet(address: number): Uint8Array {
  // Vendor 8086h, legacy replacement, 64-bit counter, 3 comparators, revision 1: as the block's own ID register.
  const body = new TableWriter().u32(0x8086a201).u8(0, 0, 0, 0).u64(address).u8(0).u16(0).u8(0);
  return table('HPET', 1, body.bytes);
}

export function mcfg(base: number, size: number): Uint8Array {
  const body = new TableWriter()
    .zeros(8)
    .u64(base)
    .u16(0)
    .u8(0, size / 2 ** 20 - 1)
    .zeros(4);
  return table('MCFG', 1, body.bytes);
}

export function waet(): Uint8Array {
  // Bit 1: one read of the PM timer is enough.
  return table('WAET', 1, new TableWriter().u32(2).bytes);
}

export function rsdt(addresses: readonly number[]): Uint8Array {
  const body = new TableWriter();
  for (const address of addresses) body.u32(address);
  return table('RSDT', 1, body.bytes);
}

export function xsdt(addresses: readonly number[]): Uint8Array {
  const body = new TableWriter();
  for (const address of addresses) body.u64(address);
  return table('XSDT', 1, body.bytes);
}

/** The root pointer, revision 2 (§5.2.5.3): its first 20 bytes are those of revision 0. */
export function rsdp(rsdtAddress: number, xsdtAddress: number): Uint8Array {
  const bytes = Uint8Array.from(
    new TableWriter()
      .text('RSD PTR ', 8)
      .u8(0)
      .text(OEM_ID, 6)
      .u8(2)
      .u32(rsdtAddress)
      .u32(36)
      .u64(xsdtAddress)
      .zeros(4).bytes,
  );
  setChecksum(bytes, 8, 0, 20);
  setChecksum(bytes, 32);
  return bytes;
}
