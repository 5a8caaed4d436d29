/**
 * The chipset of machine `pc`: the i440FX host bridge, the PIIX3 ISA bridge and the PIIX4 power management function,
 * as configuration space shows them under QEMU. Memory timing and PAM registers are kept and mean nothing: all of low
 * memory is RAM. Intel 82441FX, 82371SB and 82371AB data sheets.
 */
import type { IoHandler } from '../../core/bus.ts';
import { PCI_STATUS, PciFunction } from '../../core/pci.ts';
import { setMultiFunction } from './bus.ts';
import { PIRQ_WRITABLE, type PirqRouter } from './pirq.ts';
import type { RangePlacer } from './placer.ts';
import { SMBUS_SIZE, SmbusHost } from './smbus.ts';

const INTEL = 0x8086;
/** Subsystem ids that QEMU gives to its own chipset functions: guests identify the platform by them. */
export const CHIPSET_SUBSYSTEM = { subsystemVendor: 0x1af4, subsystem: 0x1100 } as const;

/** DEVSEL# timing "medium" in the status register. */
const STATUS_DEVSEL_MEDIUM = 0x0200;
const STATUS_FAST_BACK = 0x0080;

// i440FX.
const I440FX_PAM = 0x59;
const I440FX_SMRAM = 0x72;
/** DRB7: the end of RAM in units of 8 MiB, as coreboot reads it under QEMU. */
const I440FX_DRB7 = 0x57;

export class I440fx extends PciFunction {
  /** @param ram bytes of guest RAM */
  constructor(ram: number) {
    super('i440FX', {
      vendor: INTEL,
      device: 0x1237,
      revision: 2,
      classCode: 0x060000,
      ...CHIPSET_SUBSYSTEM,
      interruptPin: 0,
    });
    for (let i = 0; i < 7; i++) this.writeMask[I440FX_PAM + i] = i === 0 ? 0xf0 : 0xff;
    this.writeMask[I440FX_SMRAM] = 0x7f;
    this.config[I440FX_DRB7] = Math.min(255, Math.floor(ram / 0x800000));
    this.reset();
  }

  override reset(): void {
    super.reset();
    this.config.fill(0, I440FX_PAM, I440FX_PAM + 7);
    this.config[I440FX_SMRAM] = 0x02;
  }

  /** Shadow RAM on, SMRAM closed: what SeaBIOS leaves. */
  firmwareInit(): void {
    this.config.set([0x10, 0x11, 0x11, 0x11, 0x11, 0x11, 0x33], I440FX_PAM);
    this.config[I440FX_SMRAM] = 0x0a;
  }
}

// PIIX3.
const PIIX3_PIRQRC = 0x60;
/** Power-on values that QEMU's PIIX3 shows, by offset. */
const PIIX3_DEFAULTS: readonly (readonly [number, number])[] = [
  [0x4c, 0x4d],
  [0x4e, 0x03],
  [0x60, 0x80],
  [0x61, 0x80],
  [0x62, 0x80],
  [0x63, 0x80],
  [0x69, 0x02],
  [0x70, 0x80],
  [0x76, 0x0c],
  [0x77, 0x0c],
  [0x78, 0x02],
  [0xa0, 0x08],
  [0xa8, 0x0f],
];

export class Piix3 extends PciFunction {
  readonly #router: PirqRouter;

  constructor(router: PirqRouter) {
    super('PIIX3', {
      vendor: INTEL,
      device: 0x7000,
      revision: 0,
      classCode: 0x060100,
      ...CHIPSET_SUBSYSTEM,
      interruptPin: 0,
    });
    this.#router = router;
    setMultiFunction(this);
    for (let i = 0; i < 4; i++) this.writeMask[PIIX3_PIRQRC + i] = PIRQ_WRITABLE;
    this.reset();
  }

  override reset(): void {
    super.reset();
    this.setWord(PCI_STATUS, STATUS_DEVSEL_MEDIUM);
    for (const [offset, value] of PIIX3_DEFAULTS) this.config[offset] = value;
    this.#route();
  }

  firmwareInit(irqs: readonly number[]): void {
    this.config.set(irqs, PIIX3_PIRQRC);
    this.#route();
  }

  protected override afterConfigWrite(offset: number, size: number): void {
    if (offset < PIIX3_PIRQRC + 4 && offset + size > PIIX3_PIRQRC) this.#route();
  }

  #route(): void {
    for (let i = 0; i < 4; i++) this.#router.setRoute(i, this.config[PIIX3_PIRQRC + i]!);
  }
}

// PIIX4 power management.
const PMBASE = 0x40;
const PMREGMISC = 0x80;
const SMBBASE = 0x90;
const SMBHSTCFG = 0xd2;
/** Where QEMU has the SMBus registers before firmware moves them. */
const SMBBASE_RESET = 0xb100;
/** DEVACTB: bit 25 says to firmware that SMM has been set up. */
const DEVACTB_SMM = 0x5b;
const PM_SIZE = 0x40;
const ENABLE = 0x01;

export class Piix4Pm extends PciFunction {
  readonly smbus = new SmbusHost();
  readonly #ports: RangePlacer;
  readonly #power: IoHandler;

  /** @param power the registers behind PMBASE */
  constructor(ports: RangePlacer, power: IoHandler) {
    super('PIIX4_PM', {
      vendor: INTEL,
      device: 0x7113,
      revision: 3,
      classCode: 0x068000,
      ...CHIPSET_SUBSYSTEM,
      interruptPin: 1,
    });
    this.#ports = ports;
    this.#power = power;
    this.writeMask[PMBASE] = 0xc0;
    this.writeMask[PMBASE + 1] = 0xff;
    this.writeMask[PMREGMISC] = ENABLE;
    this.writeMask[SMBBASE] = 0xf0;
    this.writeMask[SMBBASE + 1] = 0xff;
    this.writeMask[SMBHSTCFG] = 0x0f;
    this.reset();
  }

  override reset(): void {
    super.reset();
    this.setWord(PCI_STATUS, STATUS_DEVSEL_MEDIUM | STATUS_FAST_BACK);
    this.setDword(PMBASE, 1);
    this.setDword(SMBBASE, SMBBASE_RESET | 1);
    this.config[PMREGMISC] = 0;
    this.config[SMBHSTCFG] = 0x09;
    // Which legacy devices are there (DEVRESB, DEVRESC …): parallel none, COM1.
    this.config[DEVACTB_SMM] = 0;
    this.config[0x5f] = 0x10;
    this.config[0x63] = 0x60;
    this.config[0x67] = 0x08;
    this.smbus.reset();
    this.#place();
  }

  firmwareInit(pmBase: number, smbusBase: number): void {
    this.setDword(PMBASE, pmBase | 1);
    this.config[PMREGMISC] = ENABLE;
    this.config[DEVACTB_SMM] = 0x02;
    this.setDword(SMBBASE, smbusBase | 1);
    this.config[SMBHSTCFG] = 0x09;
    this.#place();
  }

  protected override afterConfigWrite(offset: number): void {
    if (offset >= PMBASE) this.#place();
  }

  #place(): void {
    const pm = this.word(PMBASE) & 0xffc0;
    const pmOn = (this.config[PMREGMISC]! & ENABLE) !== 0 && pm !== 0;
    this.#ports.place(
      'pm',
      pmOn ? { name: 'acpi-pm', base: pm, size: PM_SIZE, handler: this.#power } : undefined,
    );
    const smb = this.word(SMBBASE) & 0xfff0;
    const smbOn = (this.config[SMBHSTCFG]! & ENABLE) !== 0 && smb !== 0 && smb + SMBUS_SIZE <= 0x10000;
    this.#ports.place(
      'smbus',
      smbOn ? { name: 'pm-smbus', base: smb, size: SMBUS_SIZE, handler: this.smbus.handler } : undefined,
    );
  }
}
