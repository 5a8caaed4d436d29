/**
 * The assembled PC: one of the two chipsets with its interrupt controllers, timers, clock, ports and PCI bus, wired
 * as on QEMU's machines `pc` and `q35`. It knows no virtio, no processor and no host: those are injected or plugged in.
 * `firmwareInit` leaves the state that SeaBIOS would, for guests that are booted without firmware.
 */
import type { Chardev } from '../chardev/chardev.ts';
import type { AddressSpace, IoHandler } from '../core/bus.ts';
import type { Clock } from '../core/clock.ts';
import { UsageError } from '../core/errors.ts';
import { type IrqLine, type MsiTarget, SharedIrqLine } from '../core/irq.ts';
import { PCI_INTERRUPT_LINE } from '../core/pci.ts';
import type { GuestMemory } from '../core/memory.ts';
import type { Tracer } from '../core/trace.ts';
import { IoApic } from './apic/io.ts';
import { type ApicProcessor, LocalApic } from './apic/local.ts';
import { ApicBus } from './apic/messages.ts';
import { lapicHandler } from './apic/window.ts';
import { fillCmos } from './cmos.ts';
import { E820_RAM, FW_CFG, FwCfg, encodeE820 } from './fwcfg.ts';
import { Hpet } from './hpet.ts';
import { I8042 } from './i8042.ts';
import {
  type AddressWindow,
  type MachineType,
  PC,
  type PlatformInfo,
  SERIAL_PORTS,
  type SerialPortInfo,
  pciRoute,
  platformFacts,
} from './info.ts';
import { DmaRegisters, Port92, addQuietPorts } from './legacy.ts';
import { PciBus, devfn } from './pci/bus.ts';
import { ConfigPorts, ecamHandler } from './pci/config.ts';
import { PIRQ_IRQS, assignResources } from './pci/firmware.ts';
import { PciHotplug } from './pci/hotplug.ts';
import { I440fx, Piix3, Piix4Pm } from './pci/i440fx.ts';
import { PirqRouter } from './pci/pirq.ts';
import { RangePlacer } from './pci/placer.ts';
import { Ich9Lpc, Ich9Smbus, Mch } from './pci/q35.ts';
import { PicPair } from './pic.ts';
import { Pit } from './pit.ts';
import { PowerManagement } from './power.ts';
import { powerBlock } from './power-block.ts';
import { Rtc, type RtcOptions } from './rtc.ts';
import { Uart16550 } from './uart.ts';

export interface PlatformOptions {
  readonly machine: MachineType;
  readonly ports: AddressSpace;
  readonly mmio: AddressSpace;
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly tracer: Tracer;
  /** One for each processor, in order of APIC ids. */
  readonly processors: readonly ApicProcessor[];
  /** The processors' TSC, ticks of a nanosecond; the clock unless given. */
  readonly readTsc?: () => number;
  readonly rtc?: RtcOptions;
  /** Default true. */
  readonly hpet?: boolean;
  /** Slot 2 (pc) or 1 (q35) stays free for a VGA adapter; default true on pc. */
  readonly reserveVgaSlot?: boolean;
  /** What ACPI tells of PCI hot-plug: slots of the root bus (of `pc`; default true), and those behind bridges. */
  readonly acpiHotplug?: { readonly root: boolean; readonly bridges: boolean };
  /** The guest switched the machine off (ACPI S5). */
  readonly onPowerOff: () => void;
  /** The guest asked for a reset. Called inside a register write: act on it when the processor has stopped. */
  readonly onReset: () => void;
  /** POST codes written to port 80h. */
  readonly onPostCode?: (code: number) => void;
}

/** The chipset's own functions, with what firmware does to them. */
interface Chipset {
  firmwareInit(): void;
  /** After interrupt lines have been given out. */
  finish?(): void;
}

export class Platform {
  readonly machine: MachineType;
  readonly bus = new ApicBus();
  readonly lapics: readonly LocalApic[];
  readonly ioapic: IoApic;
  readonly pic: PicPair;
  readonly pit: Pit;
  readonly rtc: Rtc;
  readonly hpet: Hpet | undefined;
  readonly i8042: I8042;
  readonly power: PowerManagement;
  readonly fwCfg: FwCfg;
  readonly pci: PciBus;
  /** Plugging into the running machine, with the guest told by ACPI. */
  readonly hotplug: PciHotplug;
  /** COM1 to COM4 by index, where attached. */
  readonly serial: (Uart16550 | undefined)[] = [];
  /** The processor that runs now: whose local APIC answers at FEE00000h. */
  currentCpu = 0;
  readonly #options: PlatformOptions;
  readonly #gsis: readonly SharedIrqLine[];
  readonly #chipset: Chipset;
  readonly #virtioMmio: AddressWindow[] = [];
  readonly #resets: (() => void)[];

  constructor(options: PlatformOptions) {
    this.#options = options;
    this.machine = options.machine;
    const { ports, mmio, memory, clock, tracer } = options;
    const reset = (): void => options.onReset();

    this.ioapic = new IoApic(mmio, this.bus, PC.ioapicAddress);
    this.pic = new PicPair(ports, { set: (level) => this.lapics[0]!.setLint0(level) });
    this.lapics = options.processors.map(
      (cpu, id) =>
        new LocalApic({
          id,
          bus: this.bus,
          cpu,
          clock,
          tracer,
          ...(id === 0 && { pic: this.pic }),
          ...(options.readTsc && { readTsc: options.readTsc }),
        }),
    );
    mmio.add({
      name: 'apic-msi',
      base: PC.lapicAddress,
      size: 0x100000,
      handler: lapicHandler(this.bus, () => this.lapics[this.currentCpu]!),
    });
    this.#gsis = Array.from({ length: PC.ioapicPins }, (_, gsi) => new SharedIrqLine(this.#gsiWire(gsi)));

    this.pit = new Pit(ports, clock, this.gsi(0));
    this.rtc = new Rtc(ports, clock, this.gsi(8), options.rtc);
    this.hpet = options.hpet === false ? undefined : this.#makeHpet();
    this.i8042 = new I8042(ports, this.gsi(1), this.gsi(12), reset);
    const dma = new DmaRegisters(ports);
    const port92 = new Port92(ports, reset);
    addQuietPorts(ports, options.onPostCode);
    this.fwCfg = new FwCfg(ports, memory);
    this.fwCfg.setNumber(FW_CFG.ramSize, memory.size, 8);
    this.fwCfg.setNumber(FW_CFG.cpuCount, options.processors.length, 2);
    this.fwCfg.setNumber(FW_CFG.maxCpus, options.processors.length, 2);
    const ram = memory.regions.map(({ gpa, size }) => ({ base: gpa, size, type: E820_RAM }));
    this.fwCfg.addFile({ name: 'etc/e820', data: encodeE820(ram) });

    const { power: facts } = this.info;
    this.power = new PowerManagement({
      ports,
      clock,
      tracer,
      sci: this.gsi(facts.sciIrq),
      gpe0Length: facts.gpe0Length,
      acpiEnable: facts.acpiEnable,
      acpiDisable: facts.acpiDisable,
      onPowerOff: options.onPowerOff,
    });
    const isa = Array.from({ length: 16 }, (_, irq) => this.gsi(irq));
    const router =
      options.machine === 'pc'
        ? new PirqRouter(4, isa)
        : new PirqRouter(8, isa, (pirq, level) => this.ioapic.setLine(16 + pirq, level));
    this.pci = new PciBus({
      name: options.machine === 'pc' ? 'pci.0' : 'pcie.0',
      kind: options.machine === 'pc' ? 'conventional' : 'root-complex',
      // The slots of q35's root bus cannot be plugged, in QEMU as here: that is what root ports are for.
      hotplug: options.machine === 'pc' && options.acpiHotplug?.root !== false,
      ports,
      mmio,
      tracer,
      msi: this.bus,
      intx: (slot, pin) => router.source(pciRoute(options.machine, slot, pin).pirq),
      firstSlot: options.machine === 'pc' ? 2 : 1,
    });
    if (options.reserveVgaSlot ?? options.machine === 'pc') {
      this.pci.reserveSlot(options.machine === 'pc' ? 2 : 1);
    }
    const lookup = (bus: number): PciBus | undefined => this.pci.withNumber(bus);
    const config = new ConfigPorts(ports, lookup, reset);
    this.#chipset =
      options.machine === 'pc' ? this.#makePc(router) : this.#makeQ35(router, ecamHandler(lookup));
    let fixed = 0;
    for (const { slot } of this.pci.functions) fixed |= 1 << slot;
    const { pciHotplugPort, pciHotplugGpe } = this.info;
    this.hotplug = new PciHotplug({
      ports,
      window: pciHotplugPort,
      root: this.pci,
      fixed,
      bridges: options.acpiHotplug?.bridges !== false,
      raise: () => this.power.raiseGpe(pciHotplugGpe),
    });
    // Devices before the controllers that their lines end in.
    this.#resets = [
      () => this.hotplug.reset(),
      () => this.pci.reset(),
      () => config.reset(),
      () => this.power.reset(),
      () => this.hpet?.reset(),
      () => this.pit.reset(),
      () => this.rtc.reset(),
      () => this.i8042.reset(),
      () => dma.reset(),
      () => port92.reset(),
      () => this.fwCfg.reset(),
      () => this.serial.forEach((uart) => uart?.reset()),
      () => this.ioapic.reset(),
      () => this.pic.reset(),
      () => this.lapics.forEach((lapic) => lapic.reset()),
    ];
    fillCmos(this.rtc, memory, options.processors.length);
  }

  /** What tables and loaders need to know; serial ports as they are now. */
  get info(): PlatformInfo {
    const below = ramIn(this.#options.memory, 0, 2 ** 32);
    // While the platform is built there is none yet.
    const hotplug = this.hotplug as PciHotplug | undefined;
    return platformFacts(this.machine, {
      cpuCount: this.#options.processors.length,
      ramBelow4G: below,
      ramAbove4G: ramIn(this.#options.memory, 2 ** 32, Number.POSITIVE_INFINITY),
      hpet: this.#options.hpet !== false,
      serialPorts: SERIAL_PORTS.filter((port) => this.serial[port.index] !== undefined),
      virtioMmio: this.#virtioMmio,
      nativeHotplug: this.#options.acpiHotplug?.bridges === false,
      hotplugBuses: hotplug === undefined ? [] : hotplug.buses.map((bus) => wayTo(bus)),
    });
  }

  /** Where devices send their message-signalled interrupts. */
  get msi(): MsiTarget {
    return this.bus;
  }

  /** A new source on global system interrupt 0-23; 0-15 are the ISA interrupts and reach the 8259 pair too. */
  gsi(gsi: number): IrqLine {
    const source = this.#gsis[gsi]!.source();
    let current = false;
    return {
      // Devices set their line at each register access; only changes travel on.
      set: (level) => {
        if (level === current) return;
        current = level;
        source.set(level);
      },
    };
  }

  /** A new source on ISA interrupt 0-15. */
  isaIrq(irq: number): IrqLine {
    return this.gsi(irq);
  }

  /**
   * Puts a 16550A at COM1 (0) to COM4 (3) and connects it to `chardev`.
   * @throws UsageError when there is no such port or it is taken
   */
  attachSerial(index: number, chardev?: Chardev): Uart16550 {
    const place: SerialPortInfo | undefined = SERIAL_PORTS[index];
    if (place === undefined)
      throw new UsageError(`-serial: a PC has at most ${SERIAL_PORTS.length} serial ports`);
    if (this.serial[index] !== undefined) throw new UsageError(`-serial: COM${index + 1} is already in use`);
    const { ports, clock, tracer } = this.#options;
    const uart = new Uart16550({
      ports,
      port: place.port,
      irq: this.isaIrq(place.irq),
      clock,
      tracer,
      name: `serial${index}`,
    });
    this.serial[index] = uart;
    if (chardev !== undefined) uart.attach(chardev);
    return uart;
  }

  /**
   * Maps the registers of a virtio device outside PCI, where the tables tell the guest of them.
   * @throws UsageError when all windows are taken
   */
  addVirtioMmio<T extends IoHandler>(make: (line: IrqLine) => T): T {
    const { virtioMmioAddress, virtioMmioSize: size, virtioMmioSlots, virtioMmioGsi } = PC;
    const slot = this.#virtioMmio.length;
    if (slot === virtioMmioSlots)
      throw new UsageError(`there are no more than ${virtioMmioSlots} virtio devices outside PCI`);
    const window = { base: virtioMmioAddress + slot * size, size };
    const handler = make(this.gsi(virtioMmioGsi));
    this.#options.mmio.add({ name: 'virtio-mmio', ...window, handler });
    this.#virtioMmio.push(window);
    return handler;
  }

  /** The power button: a guest in ACPI mode shuts down. */
  powerButton(): void {
    this.power.powerButton();
  }

  /** The NMI button: LINT1 of every processor, as `inject-nmi` does. */
  nmi(): void {
    for (const lapic of this.lapics) {
      lapic.setLint1(true);
      lapic.setLint1(false);
    }
  }

  /** Power-on reset of everything but RAM, the processors and the battery-backed memory. */
  reset(): void {
    this.currentCpu = 0;
    for (const resetOne of this.#resets) resetOne();
  }

  /** What SeaBIOS would leave behind: for guests booted without firmware. To be called after all devices are in. */
  firmwareInit(): void {
    const { ports } = this.#options;
    this.#chipset.firmwareInit();
    assignResources(this.pci, this.info);
    this.#chipset.finish?.();
    // 8259 pair at vectors 08h and 70h, everything masked but the cascade; PCI interrupts are level-triggered.
    for (const [base, vector, icw3] of [
      [0x20, 0x08, 0x04],
      [0xa0, 0x70, 0x02],
    ] as const) {
      ports.write(base, 1, 0x11);
      ports.write(base + 1, 1, vector);
      ports.write(base + 1, 1, icw3);
      ports.write(base + 1, 1, 0x01);
    }
    ports.write(0x21, 1, 0xfb);
    ports.write(0xa1, 1, 0xff);
    let elcr = 0;
    for (const irq of PIRQ_IRQS) elcr |= 1 << irq;
    ports.write(0x4d0, 2, elcr);
    // Channel 0 at 18.2 Hz.
    ports.write(0x43, 1, 0x34);
    ports.write(0x40, 1, 0);
    ports.write(0x40, 1, 0);
    this.i8042.firmwareInit();
  }

  // -- building --------------------------------------------------------------------------------------------------

  /** Where a global system interrupt ends: the I/O APIC (IRQ 0 at input 2), and the 8259 pair below 16. */
  #gsiWire(gsi: number): IrqLine {
    const pin = gsi === 0 ? 2 : gsi;
    if (gsi >= 16) return { set: (level) => this.ioapic.setLine(pin, level) };
    const isa = this.pic.line(gsi);
    return {
      set: (level) => {
        isa.set(level);
        this.ioapic.setLine(pin, level);
      },
    };
  }

  #makeHpet(): Hpet {
    const { mmio, clock, tracer } = this.#options;
    const lines = new Map<number, IrqLine>();
    return new Hpet({
      mmio,
      base: PC.hpetAddress,
      clock,
      tracer,
      gsi: (gsi) => {
        let line = lines.get(gsi);
        if (line === undefined) lines.set(gsi, (line = this.gsi(gsi)));
        return line;
      },
      routes: this.machine === 'pc' ? 0x04 : 0xff0104,
      legacy: (enabled) => {
        this.pit.irqEnabled = !enabled;
        this.rtc.irqEnabled = !enabled;
      },
    });
  }

  #makePc(router: PirqRouter): Chipset {
    const { ports, tracer } = this.#options;
    const host = new I440fx(this.#options.memory.size);
    const isa = new Piix3(router);
    const { power, info } = this;
    const pm = new Piix4Pm(new RangePlacer(ports, tracer), powerBlock(power.pm1));
    const { gpe0Block, gpe0Length } = info.power;
    ports.add({ name: 'acpi-gpe0', base: gpe0Block, size: gpe0Length, handler: power.gpe0 });
    this.pci.add(host, 'i440FX', { slot: 0, function: 0 });
    this.pci.add(isa, 'PIIX3', { slot: 1, function: 0 });
    this.pci.add(pm, 'PIIX4_PM', { slot: 1, function: 3 });
    return {
      firmwareInit: () => {
        host.firmwareInit();
        isa.firmwareInit(PIRQ_IRQS);
        pm.firmwareInit(PC.pmBase, PC.smbusBase);
      },
      // The PIIX4's pin is the SCI, not a PIRQ.
      finish: () => pm.writeConfig(PCI_INTERRUPT_LINE, 1, PC.sciIrq),
    };
  }

  #makeQ35(router: PirqRouter, ecam: IoHandler): Chipset {
    const { ports, mmio, tracer } = this.#options;
    const { power } = this;
    const host = new Mch(new RangePlacer(mmio, tracer), ecam);
    const lpc = new Ich9Lpc(
      new RangePlacer(ports, tracer),
      new RangePlacer(mmio, tracer),
      powerBlock(power.pm1, power.gpe0, tracer),
      router,
    );
    const smbus = new Ich9Smbus();
    this.pci.add(host, 'mch', { slot: 0, function: 0 });
    this.pci.add(lpc, 'ICH9-LPC', { slot: 31, function: 0 });
    this.pci.add(smbus, 'ICH9-SMB', { slot: 31, function: 3 });
    return {
      firmwareInit: () => {
        host.firmwareInit(PC.ecamAddress);
        lpc.firmwareInit(PC.pmBase, PC.rcbaAddress, PIRQ_IRQS);
        smbus.firmwareInit(PC.smbusBase);
      },
    };
  }
}

/** Device and function numbers of the bridges from the root to a bus. */
function wayTo(bus: PciBus): number[] {
  const { upstream } = bus;
  if (upstream === undefined) return [];
  const place = upstream.bus.placeOf(upstream.bridge)!;
  return [...wayTo(upstream.bus), devfn(place.slot, place.function)];
}

function ramIn(memory: GuestMemory, from: number, to: number): number {
  return memory.regions.reduce(
    (end, { gpa, size }) => (gpa >= from && gpa < to ? Math.max(end, gpa - from + size) : end),
    0,
  );
}
