/**
 * The DSDT: the devices that a PC's operating system cannot find by itself, written for the platform that
 * `PlatformInfo` describes. Sleep state S5, the PCI root bridge with its windows and interrupt routing, the ISA
 * devices, the processors. Specification: ACPI 6.4 chapters 6, 7 and 9.
 */
import type { PlatformInfo } from '../info.ts';
import * as aml from './aml.ts';
import { hotplugEvent, hotplugSlots } from './hotplug.ts';
import type { Aml } from './aml.ts';
import * as res from './resources.ts';

const { device, give, method, name, pack, scope } = aml;

/** _STA: present, enabled, shown, functioning. */
const STA_PRESENT = 0x0f;
/** The same without "shown in the user interface". */
const STA_HIDDEN = 0x0b;
/** Present and functioning but disabled. */
const STA_DISABLED = 0x09;
/** Set in a PIRQ route register when the line is not routed (PIIX3 data sheet 2.2.10, ICH9 13.1.12). */
const PIRQ_OFF = 0x80;
/** ISA interrupts that PCI may share, as SeaBIOS and QEMU choose them. */
const PCI_IRQS = [5, 10, 11];
/** Flag of a method that creates names while it runs: two processors must not be in it at once (§19.6.85). */
const SERIALIZED = 8;
/** _OSC: the system gets PME (bit 2), AER (3) and the capability structure (4). */
const OSC_CONTROL = 0x1c;
const OSC_NATIVE_HOTPLUG = 0x01;
const PCI_SLOTS = 32;
const PCI_PINS = 4;
const LINK_LETTERS = 'ABCDEFGH';

/** The definition block without its table header. */
export function buildDsdtBody(info: PlatformInfo): Aml {
  return [
    // Which interrupt controller the system uses: 0 PIC, 1 APIC (§5.8.1).
    ...name('\\PICF', 0),
    ...method('\\_PIC', 1, aml.store(aml.arg(0), '\\PICF')),
    ...name('\\_S5', pack(info.power.sleepTypeS5, info.power.sleepTypeS5, 0, 0)),
    ...scope('\\_SB', ...processors(info), rootBridge(info), ...links(info), ...systemDevices(info)),
    ...(info.hotplugBuses.length > 0 ? hotplugEvent(info) : []),
  ];
}

function processors(info: PlatformInfo): Aml[] {
  return info.apicIds.map((_, index) =>
    device(
      `C${index.toString(16).toUpperCase().padStart(3, '0')}`,
      name('_HID', aml.string('ACPI0007')),
      name('_UID', index),
    ),
  );
}

function rootBridge(info: PlatformInfo): Aml {
  const express = info.ecam !== undefined;
  const { pciMem32, pciMem64 } = info;
  const windows = [
    res.wordBus(0, busCount(info) - 1),
    res.ports(0xcf8, 8),
    res.wordIo(0x0000, 0x0cf7),
    res.wordIo(0x0d00, 0xffff),
    res.dwordMemory(0xa0000, 0xbffff, true),
    res.dwordMemory(pciMem32.base, pciMem32.base + pciMem32.size - 1),
    ...(pciMem64.size > 0 ? [res.qwordMemory(pciMem64.base, pciMem64.base + pciMem64.size - 1, true)] : []),
  ];
  const identity = express
    ? [name('_HID', aml.eisaId('PNP0A08')), name('_CID', aml.eisaId('PNP0A03'))]
    : [name('_HID', aml.eisaId('PNP0A03'))];
  return device(
    'PCI0',
    ...identity,
    name('_UID', 0),
    name('_BBN', 0),
    name('_CRS', res.template(...windows)),
    ...(express ? [operatingSystemCapabilities(info)] : []),
    ...interruptRouting(info),
    isaBridge(info),
    ...(info.hotplugBuses.length > 0 ? hotplugSlots(info) : []),
  );
}

function busCount(info: PlatformInfo): number {
  return info.ecam === undefined ? 256 : Math.min(256, info.ecam.size / 2 ** 20);
}

/**
 * _OSC of a PCI Express root (PCI Firmware 3.0 §4.5). Native hot-plug is the system's where slots are not plugged by
 * way of ACPI, as in QEMU 7.2.
 */
function operatingSystemCapabilities(info: PlatformInfo): Aml {
  const uuid = [
    0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66,
  ];
  return method(
    '_OSC',
    4 | SERIALIZED,
    aml.dwordField(aml.arg(3), 0, 'CDW1'),
    aml.when(
      aml.equal(aml.arg(0), aml.buffer(uuid)),
      aml.dwordField(aml.arg(3), 4, 'CDW2'),
      aml.dwordField(aml.arg(3), 8, 'CDW3'),
      aml.and('CDW3', OSC_CONTROL | (info.nativeHotplug ? OSC_NATIVE_HOTPLUG : 0), aml.local(0)),
      // Unknown revision; capabilities masked.
      aml.when(aml.not(aml.equal(aml.arg(1), 1)), aml.or('CDW1', 0x08, 'CDW1')),
      aml.when(aml.not(aml.equal('CDW3', aml.local(0))), aml.or('CDW1', 0x10, 'CDW1')),
      aml.store(aml.local(0), 'CDW3'),
      give(aml.arg(3)),
    ),
    // Unrecognised UUID.
    aml.or('CDW1', 0x04, 'CDW1'),
    give(aml.arg(3)),
  );
}

/** _PRT (§6.2.13): for each slot and pin the link device behind it. */
function interruptRouting(info: PlatformInfo): Aml[] {
  const table = (prefix: string): Aml[] => {
    const entries: Aml[] = [];
    for (let slot = 0; slot < PCI_SLOTS; slot++)
      for (let pin = 0; pin < PCI_PINS; pin++) {
        const link = `${prefix}${LINK_LETTERS[info.pciRoute(slot, pin).pirq]}`;
        entries.push(pack(slot * 0x10000 + 0xffff, pin, `\\_SB.${link}`, 0));
      }
    return entries;
  };
  // One package holds at most 255 elements; 32 slots of 4 pins are 128.
  if (info.pciRouting === 'piix') return [name('_PRT', pack(...table('LNK')))];
  return [
    name('PRTP', pack(...table('LNK'))),
    name('PRTA', pack(...table('GSI'))),
    method('_PRT', 0, aml.when('\\PICF', give('PRTA')), give('PRTP')),
  ];
}

/** The ISA or LPC bridge: its route registers and the devices behind it. */
function isaBridge(info: PlatformInfo): Aml {
  const piix = info.pciRouting === 'piix';
  const registers = (letters: string): [string, number][] =>
    [...letters].map((letter) => [`PRQ${letter}`, 8]);
  const fields = piix
    ? [aml.region('PIRQ', aml.REGION.PCI_Config, 0x60, 4), aml.byteFields('PIRQ', registers('ABCD'))]
    : [
        aml.region('PIRQ', aml.REGION.PCI_Config, 0x60, 12),
        aml.byteFields('PIRQ', [...registers('ABCD'), [undefined, 32], ...registers('EFGH')]),
      ];
  return device(
    'ISA',
    name('_ADR', piix ? 0x00010000 : 0x001f0000),
    ...fields,
    ...(info.hasKeyboardController ? keyboardController() : []),
    ...info.serialPorts.map(({ index, port, irq }) =>
      device(
        `COM${index + 1}`,
        name('_HID', aml.eisaId('PNP0501')),
        name('_UID', index + 1),
        name('_STA', STA_PRESENT),
        name('_CRS', res.template(res.ports(port, 8), res.irq(irq))),
      ),
    ),
    device(
      'RTC',
      name('_HID', aml.eisaId('PNP0B00')),
      name('_CRS', res.template(res.ports(0x70, 8), res.irq(8))),
    ),
  );
}

function keyboardController(): Aml[] {
  return [
    device(
      'KBD',
      name('_HID', aml.eisaId('PNP0303')),
      name('_STA', STA_PRESENT),
      name('_CRS', res.template(res.ports(0x60, 1), res.ports(0x64, 1), res.irq(1))),
    ),
    device(
      'MOU',
      name('_HID', aml.eisaId('PNP0F13')),
      name('_STA', STA_PRESENT),
      name('_CRS', res.template(res.irq(12))),
    ),
  ];
}

/** PCI interrupt link devices (§6.2.13.1): routes that the system may choose. */
function links(info: PlatformInfo): Aml[] {
  const piix = info.pciRouting === 'piix';
  const letters = LINK_LETTERS.slice(0, piix ? 4 : 8).split('');
  const routable = letters.map((letter, index) => {
    const register = `\\_SB.PCI0.ISA.PRQ${letter}`;
    return device(
      `LNK${letter}`,
      name('_HID', aml.eisaId('PNP0C0F')),
      name('_UID', index),
      name('_PRS', res.template(res.sharedInterrupt(...PCI_IRQS))),
      method('_STA', 0, aml.when(aml.and(register, PIRQ_OFF), give(STA_DISABLED)), give(STA_HIDDEN)),
      method('_DIS', 0, aml.or(register, PIRQ_OFF, register)),
      name('BUF', res.template(res.sharedInterrupt(0))),
      method(
        '_CRS',
        0 | SERIALIZED,
        // The interrupt number lies behind tag, length, flags and count.
        aml.dwordField('BUF', 5, 'NUM'),
        aml.when(aml.less(register, PIRQ_OFF), aml.store(register, 'NUM')),
        give('BUF'),
      ),
      method('_SRS', 1 | SERIALIZED, aml.dwordField(aml.arg(0), 5, 'NUM'), aml.store('NUM', register)),
    );
  });
  if (piix) return routable;
  // In APIC mode the ICH9's PIRQs are pins 16 to 23 and cannot be moved.
  const fixed = letters.map((letter, index) => {
    const interrupt = res.template(res.sharedInterrupt(16 + index));
    return device(
      `GSI${letter}`,
      name('_HID', aml.eisaId('PNP0C0F')),
      name('_UID', 16 + index),
      name('_PRS', interrupt),
      name('_CRS', interrupt),
      method('_SRS', 1),
    );
  });
  return [...routable, ...fixed];
}

function systemDevices(info: PlatformInfo): Aml[] {
  const reserved = info.reservedPorts.map(({ base, size }) => res.ports(base, size));
  const memory = [info.ecam, info.rcba].flatMap((window) =>
    window === undefined ? [] : [res.memory32(window.base, window.size)],
  );
  return [
    // Motherboard resources: nobody else may be put there; an ECAM that is not reserved is not used by Linux.
    device(
      'MBRD',
      name('_HID', aml.eisaId('PNP0C02')),
      name('_UID', 1),
      name('_CRS', res.template(...reserved, ...memory)),
    ),
    ...(info.hpetAddress === undefined
      ? []
      : [
          device(
            'HPET',
            name('_HID', aml.eisaId('PNP0103')),
            name('_UID', 0),
            name('_STA', STA_PRESENT),
            name('_CRS', res.template(res.memory32(info.hpetAddress, 0x400, false))),
          ),
        ]),
    ...info.virtioMmio.map(({ base, size }, index) =>
      device(
        `VR${index.toString(16).toUpperCase().padStart(2, '0')}`,
        name('_HID', aml.string('LNRO0005')),
        name('_UID', index),
        name('_STA', STA_PRESENT),
        name('_CRS', res.template(res.memory32(base, size), res.sharedInterrupt(info.virtioMmioGsi))),
      ),
    ),
    device(
      'FWCF',
      name('_HID', aml.string('QEMU0002')),
      name('_STA', STA_HIDDEN),
      name('_CRS', res.template(res.ports(info.fwCfgPort, 12))),
    ),
  ];
}
