/** The firmware's tables: checksums, pointers and fields; with `iasl` on the host also what a disassembler says. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../core/memory.ts';
import { type MachineType, platformFacts, SERIAL_PORTS } from '../info.ts';
import * as aml from './aml.ts';
import { buildE820, E820_RAM, E820_RESERVED } from './e820.ts';
import { buildFirmwareTables, firmwareE820, writeFirmwareTables } from './index.ts';
import * as res from './resources.ts';
import { uuidBytes } from './smbios.ts';

const MIB = 0x100000;
const UUID = '11223344-5566-7788-99aa-bbccddeeff00';

function facts(machine: MachineType, cpuCount = 2): ReturnType<typeof platformFacts> {
  return platformFacts(machine, {
    cpuCount,
    ramBelow4G: 512 * MIB,
    ramAbove4G: 0,
    hpet: true,
    serialPorts: SERIAL_PORTS.slice(0, 1),
  });
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 255, 0);

describe('AML', () => {
  it('writes integers in their shortest form (ACPI 6.4 §20.2.3)', () => {
    expect(aml.integer(0)).toEqual([0x00]);
    expect(aml.integer(1)).toEqual([0x01]);
    expect(aml.integer(0xff)).toEqual([0x0a, 0xff]);
    expect(aml.integer(0x100)).toEqual([0x0b, 0x00, 0x01]);
    expect(aml.integer(0x12345678)).toEqual([0x0c, 0x78, 0x56, 0x34, 0x12]);
    expect(aml.integer(2n ** 32n)).toEqual([0x0e, 0, 0, 0, 0, 1, 0, 0, 0]);
  });

  it('writes names with their prefixes (§20.2.2)', () => {
    const text = (bytes: aml.Aml): string => String.fromCharCode(...bytes);
    expect(text(aml.path('_SB'))).toBe('_SB_');
    expect(text(aml.path('\\_SB.PCI0'))).toBe('\\\x2e_SB_PCI0');
    expect(text(aml.path('\\_SB.PCI0.ISA'))).toBe('\\\x2f\x03_SB_PCI0ISA_');
    expect(text(aml.path('^X'))).toBe('^X___');
  });

  it('counts lengths with one, two and three bytes (§20.2.4)', () => {
    // Scope (\\) {...}: opcode, length, root name (5Ch 00h), body.
    const lengthOf = (body: number): readonly number[] =>
      aml
        .scope(
          '\\',
          Array.from({ length: body }, () => 0xa3),
        )
        .slice(1, 4);
    expect(lengthOf(60)[0]).toBe(63);
    expect(lengthOf(61).slice(0, 2)).toEqual([0x40 | (65 & 15), 65 >> 4]);
    expect(lengthOf(5000)).toEqual([0x80 | (5005 & 15), (5005 >> 4) & 255, 5005 >> 12]);
  });

  it('packs EISA ids (§19.6.36)', () => {
    expect(aml.eisaId('PNP0A03')).toEqual([0x0c, 0x41, 0xd0, 0x0a, 0x03]);
  });

  it('writes resource descriptors (§6.4)', () => {
    expect(res.ports(0x3f8, 8)).toEqual([0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8]);
    expect(res.irq(4)).toEqual([0x22, 0x10, 0x00]);
    expect(res.sharedInterrupt(11)).toEqual([0x89, 6, 0, 0x09, 1, 11, 0, 0, 0]);
  });
});

describe.each(['pc', 'q35'] as const)('firmware tables of %s', (machine) => {
  const info = facts(machine);
  const tables = buildFirmwareTables(info, { uuid: UUID, version: '9.8.7' });
  const memory = GuestMemory.create(512 * MIB);
  writeFirmwareTables(memory, tables);
  const view = memory.view;

  it('have right checksums, and the root leads to each of them', () => {
    const rsdp = memory.slice(tables.rsdp, 36)!;
    expect(String.fromCharCode(...rsdp.subarray(0, 8))).toBe('RSD PTR ');
    // Found by the old search, too: 16-byte aligned in E0000h-FFFFFh.
    expect(tables.rsdp % 16).toBe(0);
    expect([sum(rsdp.subarray(0, 20)), sum(rsdp)]).toEqual([0, 0]);
    for (const [signature, { bytes }] of tables.acpi)
      if (signature !== 'FACS') expect([signature, sum(bytes)]).toEqual([signature, 0]);
    const rsdt = view.getUint32(tables.rsdp + 16, true);
    const xsdt = Number(view.getBigUint64(tables.rsdp + 24, true));
    const count = (view.getUint32(rsdt + 4, true) - 36) / 4;
    const seen: string[] = [];
    for (let i = 0; i < count; i++) {
      const at = view.getUint32(rsdt + 36 + i * 4, true);
      expect(Number(view.getBigUint64(xsdt + 36 + i * 8, true))).toBe(at);
      seen.push(String.fromCharCode(...memory.slice(at, 4)!));
    }
    expect(seen).toEqual(
      machine === 'pc' ? ['FACP', 'APIC', 'HPET', 'WAET'] : ['FACP', 'APIC', 'HPET', 'MCFG', 'WAET'],
    );
  });

  it('describe the power management of the platform (FADT)', () => {
    const { address, bytes } = tables.acpi.get('FACP')!;
    expect(bytes.length).toBe(244);
    expect(view.getUint32(address + 36, true)).toBe(tables.acpi.get('FACS')!.address);
    expect(tables.acpi.get('FACS')!.address % 64).toBe(0);
    expect(view.getUint32(address + 40, true)).toBe(tables.acpi.get('DSDT')!.address);
    expect(view.getUint16(address + 46, true)).toBe(info.power.sciIrq);
    expect(view.getUint32(address + 56, true)).toBe(info.power.eventBlock);
    expect(view.getUint32(address + 64, true)).toBe(info.power.controlBlock);
    expect(view.getUint32(address + 76, true)).toBe(info.power.timerBlock);
    // RESET_REG: system I/O, 8 bits; RESET_VALUE.
    expect([...bytes.subarray(116, 120)]).toEqual([1, 8, 0, 1]);
    expect(Number(view.getBigUint64(address + 120, true))).toBe(info.power.resetPort);
    expect(bytes[128]).toBe(info.power.resetValue);
    expect((view.getUint32(address + 112, true) >> 10) & 1).toBe(1);
  });

  it('list the interrupt controllers (MADT)', () => {
    const { bytes } = tables.acpi.get('APIC')!;
    const entries: number[][] = [];
    for (let at = 44; at < bytes.length; at += bytes[at + 1]!)
      entries.push([...bytes.subarray(at, at + bytes[at + 1]!)]);
    expect(entries.map(([type]) => type)).toEqual([0, 0, 1, 2, 2, 2, 2, 2, 4]);
    expect(entries[1]).toEqual([0, 8, 1, 1, 1, 0, 0, 0]);
    // The timer is on pin 2; the SCI is level-triggered, active high.
    expect(entries[3]).toEqual([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    expect(entries.find((entry) => entry[0] === 2 && entry[3] === 9)).toEqual([
      2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0,
    ]);
  });

  it('tell the BIOS data area where the EBDA is', () => {
    expect(view.getUint16(0x400, true)).toBe(0x3f8);
    expect(view.getUint16(0x40e, true)).toBe(0x9fc0);
    expect(view.getUint16(0x413, true)).toBe(639);
    expect(memory.bytes[0x9fc00]).toBe(1);
  });

  it('hold SMBIOS structures that can be walked', () => {
    const at = 0xf0000;
    expect(String.fromCharCode(...memory.slice(at, 4)!)).toBe('_SM_');
    expect([sum(memory.slice(at, 31)!), sum(memory.slice(at + 16, 15)!)]).toEqual([0, 0]);
    const length = view.getUint16(at + 0x16, true);
    const start = view.getUint32(at + 0x18, true);
    const types: number[] = [];
    const strings: string[] = [];
    let largest = 0;
    let offset = start;
    while (offset < start + length) {
      const begin = offset;
      types.push(memory.bytes[offset]!);
      offset += memory.bytes[offset + 1]!;
      while (memory.bytes[offset] !== 0) {
        const end = memory.bytes.indexOf(0, offset);
        strings.push(String.fromCharCode(...memory.bytes.subarray(offset, end)));
        offset = end + 1;
      }
      offset += memory.bytes[offset - 1] === 0 && offset > begin + memory.bytes[begin + 1]! ? 1 : 2;
      largest = Math.max(largest, offset - begin);
    }
    expect(types).toEqual([0, 1, 3, 4, 4, 16, 17, 19, 32, 127]);
    expect(view.getUint16(at + 0x1c, true)).toBe(types.length);
    expect(view.getUint16(at + 8, true)).toBe(largest);
    expect(strings).toContain('Paravane');
    expect(strings).toContain('9.8.7');
    // Type 1: the UUID eight bytes into the structure.
    const system = start + memory.bytes[start + 1]! + strings.slice(0, 3).join(' ').length + 2;
    expect(Array.from(memory.slice(system + 8, 16)!)).toEqual(uuidBytes(UUID));
  });

  const hasIasl = spawnSync('iasl', ['-v']).status === 0;
  it.runIf(hasIasl)('disassemble and compile again without a warning', { timeout: 60_000 }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'paravane-acpi-'));
    try {
      for (const [signature, { bytes }] of tables.acpi) {
        writeFileSync(join(folder, `${signature}.aml`), bytes);
        const out = execFileSync('iasl', ['-d', `${signature}.aml`], { cwd: folder, stdio: 'pipe' });
        expect(out.toString()).not.toMatch(/warning|error/i);
      }
      const built = spawnSync('iasl', ['-tc', 'DSDT.dsl'], { cwd: folder });
      expect(`${built.stdout}`).toContain('0 Errors, 0 Warnings');
      const source = readFileSync(join(folder, 'DSDT.dsl'), 'utf8');
      expect(source).toContain('Device (COM1)');
      expect(source).toContain('Name (\\_S5, Package (0x04)');
      expect(source).toContain(machine === 'pc' ? 'EisaId ("PNP0A03")' : 'EisaId ("PNP0A08")');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('memory map', () => {
  it('is what SeaBIOS leaves: conventional memory, its own areas, RAM, what the chipset has', () => {
    const memory = GuestMemory.create(512 * MIB);
    expect(firmwareE820(memory, facts('q35'))).toEqual([
      { base: 0, size: 0x9fc00, type: E820_RAM },
      { base: 0x9fc00, size: 0x400, type: E820_RESERVED },
      { base: 0xf0000, size: 0x10000, type: E820_RESERVED },
      { base: MIB, size: 511 * MIB, type: E820_RAM },
      { base: 0xb0000000, size: 0x10000000, type: E820_RESERVED },
      { base: 0xfffc0000, size: 0x40000, type: E820_RESERVED },
    ]);
  });

  it('keeps room for tables at the top of low RAM, and shows RAM above 4 GiB', () => {
    const memory = new GuestMemory(new ArrayBuffer(3 * MIB), [
      { gpa: 0, size: 2 * MIB, offset: 0 },
      { gpa: 2 ** 32, size: MIB, offset: 2 * MIB },
    ]);
    expect(buildE820(memory, 0x10000).slice(3)).toEqual([
      { base: MIB, size: MIB - 0x10000, type: E820_RAM },
      { base: 2 * MIB - 0x10000, size: 0x10000, type: E820_RESERVED },
      { base: 2 ** 32, size: MIB, type: E820_RAM },
    ]);
  });
});

describe('uuidBytes', () => {
  it('turns the first three fields around (DSP0134 7.2.1)', () => {
    expect(
      uuidBytes('00112233-4455-6677-8899-aabbccddeeff')
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join(''),
    ).toBe('33221100554477668899aabbccddeeff');
    expect(() => uuidBytes('0011')).toThrow('not a UUID');
  });
});
