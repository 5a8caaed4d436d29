/**
 * The chipset of machine `q35`: the MCH with the PCI Express configuration window, and of the ICH9 the LPC bridge and
 * the SMBus function, as configuration space shows them under QEMU. Intel 3 Series (G33/Q35) and ICH9 data sheets.
 */
import type { IoHandler } from '../../core/bus.ts';
import { PCI_BASE_ADDRESS_0, PciFunction } from '../../core/pci.ts';
import { setMultiFunction } from './bus.ts';
import { CHIPSET_SUBSYSTEM } from './i440fx.ts';
import { PIRQ_WRITABLE, type PirqRouter } from './pirq.ts';
import type { RangePlacer } from './placer.ts';
import { SMBUS_SIZE, SmbusHost } from './smbus.ts';

const INTEL = 0x8086;

// MCH.
const PCIEXBAR = 0x60;
const PCIEXBAR_ENABLE = 0x01;
/** Bits 2-1: 256, 128 or 64 MiB. */
const PCIEXBAR_SIZES = [0x10000000, 0x8000000, 0x4000000] as const;
/** QEMU's extended TSEG size, MiB: firmware asks for it by writing FFFFh and reads this. */
const MCH_EXT_TSEG = 0x50;
const MCH_PAM = 0x90;
const MCH_SMRAM = 0x9d;
const MCH_ESMRAMC = 0x9e;

export class Mch extends PciFunction {
  readonly #mmio: RangePlacer;
  readonly #ecam: IoHandler;

  /** @param ecam what answers in the window of PCIEXBAR */
  constructor(mmio: RangePlacer, ecam: IoHandler) {
    super('mch', {
      vendor: INTEL,
      device: 0x29c0,
      revision: 0,
      classCode: 0x060000,
      ...CHIPSET_SUBSYSTEM,
      interruptPin: 0,
    });
    this.#mmio = mmio;
    this.#ecam = ecam;
    this.writeMask.set([0x07, 0x00, 0x00, 0xfc, 0x0f], PCIEXBAR);
    for (let i = 0; i < 7; i++) this.writeMask[MCH_PAM + i] = i === 0 ? 0xf0 : 0xff;
    this.writeMask[MCH_SMRAM] = 0x7f;
    this.writeMask[MCH_ESMRAMC] = 0x87;
    this.reset();
  }

  override reset(): void {
    super.reset();
    this.setDword(PCIEXBAR, 0xb0000000);
    this.setDword(PCIEXBAR + 4, 0);
    this.config.fill(0, MCH_PAM, MCH_PAM + 7);
    this.config[MCH_SMRAM] = 0x02;
    this.config[MCH_ESMRAMC] = 0x38;
    this.config[MCH_EXT_TSEG] = 16;
    this.#place();
  }

  firmwareInit(ecamBase: number): void {
    this.setDword(PCIEXBAR, ecamBase | PCIEXBAR_ENABLE);
    this.config.set([0x10, 0x11, 0x11, 0x11, 0x11, 0x11, 0x33], MCH_PAM);
    this.config[MCH_SMRAM] = 0x0a;
    this.#place();
  }

  protected override afterConfigWrite(offset: number, size: number): void {
    if (offset < PCIEXBAR + 8 && offset + size > PCIEXBAR) this.#place();
  }

  #place(): void {
    const low = this.dword(PCIEXBAR);
    const size = PCIEXBAR_SIZES[(low >>> 1) & 3];
    const on = (low & PCIEXBAR_ENABLE) !== 0 && size !== undefined;
    const base = this.dword(PCIEXBAR + 4) * 2 ** 32 + (on ? (low & 0xfc000000 & -size) >>> 0 : 0);
    this.#mmio.place('ecam', on ? { name: 'pcie-mmcfg-mmio', base, size, handler: this.#ecam } : undefined);
  }
}

// ICH9 LPC.
const PMBASE = 0x40;
const ACPI_CNTL = 0x44;
const ACPI_ENABLE = 0x80;
const PIRQ_A = 0x60;
const PIRQ_E = 0x68;
const RCBA = 0xf0;
const RCBA_ENABLE = 0x01;
const RCBA_SIZE = 0x4000;
const PM_SIZE = 0x80;

/** D31IR to D25IR at 3140h of the RCRB: pin A to PIRQA, B to PIRQB … */
const RCRB_ROUTES = 0x3140;
const RCRB_ROUTE_DEFAULT = 0x3210;

export class Ich9Lpc extends PciFunction {
  /** Chipset configuration registers (RCRB): kept, without effect but for what software reads back. */
  readonly rcrb = new Uint8Array(RCBA_SIZE);
  readonly #ports: RangePlacer;
  readonly #mmio: RangePlacer;
  readonly #power: IoHandler;
  readonly #router: PirqRouter;

  constructor(ports: RangePlacer, mmio: RangePlacer, power: IoHandler, router: PirqRouter) {
    super('ICH9-LPC', {
      vendor: INTEL,
      device: 0x2918,
      revision: 2,
      classCode: 0x060100,
      ...CHIPSET_SUBSYSTEM,
      interruptPin: 0,
    });
    this.#ports = ports;
    this.#mmio = mmio;
    this.#power = power;
    this.#router = router;
    setMultiFunction(this);
    this.writeMask[PMBASE] = 0x80;
    this.writeMask[PMBASE + 1] = 0xff;
    this.writeMask[ACPI_CNTL] = 0x87;
    for (let i = 0; i < 4; i++) {
      this.writeMask[PIRQ_A + i] = PIRQ_WRITABLE;
      this.writeMask[PIRQ_E + i] = PIRQ_WRITABLE;
    }
    this.writeMask.set([0x01, 0xc0, 0xff, 0xff], RCBA);
    this.reset();
  }

  override reset(): void {
    super.reset();
    this.setDword(PMBASE, 1);
    this.config[ACPI_CNTL] = 0;
    this.config.fill(0x80, PIRQ_A, PIRQ_A + 4);
    this.config.fill(0x80, PIRQ_E, PIRQ_E + 4);
    this.config[0x82] = 0x01;
    this.config[0xa0] = 0x00;
    this.setDword(RCBA, 0);
    this.rcrb.fill(0);
    for (let i = 0; i < 7; i++) {
      this.rcrb[RCRB_ROUTES + 2 * i] = RCRB_ROUTE_DEFAULT & 0xff;
      this.rcrb[RCRB_ROUTES + 2 * i + 1] = RCRB_ROUTE_DEFAULT >> 8;
    }
    this.#changed();
  }

  firmwareInit(pmBase: number, rcbaBase: number, irqs: readonly number[]): void {
    this.setDword(PMBASE, pmBase | 1);
    this.config[ACPI_CNTL] = ACPI_ENABLE;
    this.config.set(irqs, PIRQ_A);
    this.config.set(irqs, PIRQ_E);
    this.config[0xa0] = 0x10;
    this.setDword(RCBA, rcbaBase | RCBA_ENABLE);
    this.#changed();
  }

  protected override afterConfigWrite(offset: number): void {
    if (offset >= PMBASE) this.#changed();
  }

  #changed(): void {
    for (let i = 0; i < 4; i++) {
      this.#router.setRoute(i, this.config[PIRQ_A + i]!);
      this.#router.setRoute(4 + i, this.config[PIRQ_E + i]!);
    }
    const pm = this.word(PMBASE) & 0xff80;
    const pmOn = (this.config[ACPI_CNTL]! & ACPI_ENABLE) !== 0 && pm !== 0;
    this.#ports.place(
      'pm',
      pmOn ? { name: 'acpi-pm', base: pm, size: PM_SIZE, handler: this.#power } : undefined,
    );
    const rcba = this.dword(RCBA);
    const base = (rcba & 0xffffc000) >>> 0;
    this.#mmio.place(
      'rcba',
      (rcba & RCBA_ENABLE) !== 0
        ? { name: 'lpc-rcrb-mmio', base, size: RCBA_SIZE, handler: this.#rcrbHandler }
        : undefined,
    );
  }

  readonly #rcrbHandler: IoHandler = {
    read: (offset, size) => {
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.rcrb[offset + i] ?? 0);
      return value;
    },
    write: (offset, size, value) => {
      // Interrupt routes of slots 25-31 are fixed here (and in the tables): the registers keep what they say.
      if (offset >= RCRB_ROUTES - 0x40 && offset < RCRB_ROUTES + 16) return;
      for (let i = 0; i < size; i++) this.rcrb[offset + i] = (value >>> (i * 8)) & 0xff;
    },
  };
}

const HOSTC = 0x40;

export class Ich9Smbus extends PciFunction {
  readonly smbus: SmbusHost;

  constructor() {
    super('ICH9-SMB', {
      vendor: INTEL,
      device: 0x2930,
      revision: 2,
      classCode: 0x0c0500,
      ...CHIPSET_SUBSYSTEM,
      interruptPin: 1,
    });
    this.smbus = new SmbusHost((level) => this.setIntx(level));
    this.addBar(4, { name: 'pm-smbus', kind: 'io', size: SMBUS_SIZE, handler: this.smbus.handler });
    setMultiFunction(this);
    this.writeMask[HOSTC] = 0x1f;
    this.reset();
  }

  override reset(): void {
    super.reset();
    this.config[HOSTC] = 0;
    this.smbus.reset();
  }

  firmwareInit(base: number): void {
    this.setDword(PCI_BASE_ADDRESS_0 + 16, base | 1);
    this.config[HOSTC] = 0x01;
  }
}
