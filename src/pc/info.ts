/**
 * What the rest of the machine may know about the assembled PC: the facts that ACPI tables, firmware stand-ins and
 * boot loaders are written from. Nothing here is a device; addresses are where the platform has put them after
 * `firmwareInit()` (the same places that SeaBIOS uses under QEMU's machines `pc` and `q35`).
 */

export type MachineType = 'pc' | 'q35';

/** A run of addresses: I/O ports or guest-physical memory, by context. */
export interface AddressWindow {
  readonly base: number;
  readonly size: number;
}

/** One entry "ISA IRQ `source` arrives at `gsi`" of the MADT (ACPI 6.4 §5.2.12.5). */
export interface IrqOverride {
  readonly source: number;
  readonly gsi: number;
  readonly polarity: 'conforming' | 'high' | 'low';
  readonly trigger: 'conforming' | 'edge' | 'level';
}

/** The fixed hardware of ACPI (ACPI 6.4 §4.8). All addresses are I/O ports, lengths are bytes. */
export interface PowerInfo {
  readonly base: number;
  /** PM1a_EVT_BLK, 4 bytes: status, enable. */
  readonly eventBlock: number;
  /** PM1a_CNT_BLK, 2 bytes. */
  readonly controlBlock: number;
  /** PM_TMR_BLK, 4 bytes; the counter is 24 bits wide and runs at 3.579545 MHz. */
  readonly timerBlock: number;
  readonly timerBits: 24 | 32;
  /** GPE0_BLK: the first half is status, the second enable. */
  readonly gpe0Block: number;
  readonly gpe0Length: number;
  /** SMI_CMD port, and what to write there to enter and leave ACPI mode. */
  readonly smiCommand: number;
  readonly acpiEnable: number;
  readonly acpiDisable: number;
  readonly sciIrq: number;
  /** SLP_TYP values of the sleep states that the control register acts on. */
  readonly sleepTypeS5: number;
  /** RESET_REG (a port) and RESET_VALUE. */
  readonly resetPort: number;
  readonly resetValue: number;
}

export interface SerialPortInfo {
  /** 0 is COM1. */
  readonly index: number;
  readonly port: number;
  readonly irq: number;
}

export interface PlatformInfo {
  readonly machine: MachineType;
  readonly cpuCount: number;
  /** Local APIC ids, by processor. */
  readonly apicIds: readonly number[];
  readonly lapicAddress: number;
  readonly ioapic: {
    readonly id: number;
    readonly address: number;
    readonly gsiBase: number;
    readonly pins: number;
  };
  readonly irqOverrides: readonly IrqOverride[];
  readonly power: PowerInfo;
  /** Guest RAM below and above 4 GiB, in bytes. */
  readonly ramBelow4G: number;
  readonly ramAbove4G: number;
  /** What PCI root bus 0 forwards: for _CRS. Ports 0-CF7h and D00h-FFFFh are forwarded too, as on every PC. */
  readonly pciMem32: AddressWindow;
  readonly pciMem64: AddressWindow;
  /** PCI Express configuration space (MCFG), on q35. Buses 0 to size / 1 MiB - 1. */
  readonly ecam: AddressWindow | undefined;
  /** Root complex register block, on q35: to be reserved. */
  readonly rcba: AddressWindow | undefined;
  readonly hpetAddress: number | undefined;
  /** Port ranges that the chipset decodes outside of BARs and guests would not know of: to be reserved in the DSDT. */
  readonly reservedPorts: readonly AddressWindow[];
  /**
   * PCI interrupt routing. `piix`: link devices LNKA-LNKD at configuration registers 60h-63h of 00:01.0, slot s pin p
   * (0 = INTA#) is link (s + p - 1) & 3 in both PIC and APIC mode. `ich9`: PIRQA-H at 60h-63h and 68h-6Bh of 00:1f.0;
   * in APIC mode PIRQA-H are GSI 16-23; slots 0-24 pin p use PIRQE-H by (s + p) & 3, slots 25-31 PIRQA-D by p.
   */
  readonly pciRouting: 'piix' | 'ich9';
  /** In APIC mode the GSI, and the PIRQ index (0 = A), of slot and pin (0 = INTA#) with the firmware's routing. */
  readonly pciRoute: (slot: number, pin: number) => { readonly pirq: number; readonly gsi: number };
  /** Serial ports that are present now. */
  readonly serialPorts: readonly SerialPortInfo[];
  readonly hasKeyboardController: boolean;
  /** ACPI PCI hot-plug registers (QEMU's layout), reserved even while hot-plug is not offered. */
  readonly pciHotplugPort: AddressWindow;
  /**
   * Buses whose slots can be plugged, in the order of their bus selectors: each by the device and function numbers
   * (slot * 8 + function) of the bridges between the root bus and it, none for the root bus itself.
   */
  readonly hotplugBuses: readonly (readonly number[])[];
  /** PCI Express ports do hot-plug by themselves, if the system takes it over. */
  readonly nativeHotplug: boolean;
  /** Registers of virtio devices outside PCI, and the interrupt that they share. */
  readonly virtioMmio: readonly AddressWindow[];
  readonly virtioMmioGsi: number;
  /** General-purpose event of PCI hot-plug: _E01. */
  readonly pciHotplugGpe: number;
  /** fw_cfg: selector at the base, DMA at +4. */
  readonly fwCfgPort: number;
}

/** The constants of both machines: available before a platform is built. */
export const PC = {
  lapicAddress: 0xfee00000,
  ioapicAddress: 0xfec00000,
  hpetAddress: 0xfed00000,
  /** Between I/O APIC and HPET nothing of the PC lies. */
  virtioMmioAddress: 0xfec80000,
  virtioMmioSize: 0x200,
  virtioMmioSlots: 32,
  /** Level-triggered and free: the PIRQs are at 10 and 11. */
  virtioMmioGsi: 5,
  ecamAddress: 0xb0000000,
  ecamSize: 0x10000000,
  rcbaAddress: 0xfed1c000,
  rcbaSize: 0x4000,
  pmBase: 0x600,
  smbusBase: 0x700,
  sciIrq: 9,
  fwCfgPort: 0x510,
  ioapicPins: 24,
  /** End of the 32-bit PCI window: the I/O APIC follows. */
  pciMem32End: 0xfec00000,
} as const;

/** Port and IRQ of COM1 to COM4. */
export const SERIAL_PORTS: readonly SerialPortInfo[] = [
  { index: 0, port: 0x3f8, irq: 4 },
  { index: 1, port: 0x2f8, irq: 3 },
  { index: 2, port: 0x3e8, irq: 4 },
  { index: 3, port: 0x2e8, irq: 3 },
];

/** PIRQ (0 = A) and GSI that a slot's pin (0 = INTA#) uses once `firmwareInit` has routed PIRQA-D to 10 10 11 11. */
export function pciRoute(machine: MachineType, slot: number, pin: number): { pirq: number; gsi: number } {
  if (machine === 'pc') {
    const pirq = (slot + pin - 1) & 3;
    return { pirq, gsi: pirq < 2 ? 10 : 11 };
  }
  const pirq = slot <= 24 ? 4 + ((slot + pin) & 3) : pin & 3;
  return { pirq, gsi: 16 + pirq };
}

/** How QEMU splits RAM at the 32-bit hole: bytes below 4 GiB for a machine with `ram` bytes. */
export function ramBelow4G(machine: MachineType, ram: number): number {
  if (machine === 'pc') return ram >= 0xe0000000 ? 0xc0000000 : ram;
  return ram >= 0xb0000000 ? 0x80000000 : ram;
}

/** Everything that does not change while the machine runs, apart from `serialPorts`. */
export function platformFacts(
  machine: MachineType,
  options: {
    readonly cpuCount: number;
    readonly ramBelow4G: number;
    readonly ramAbove4G: number;
    readonly hpet: boolean;
    readonly serialPorts?: readonly SerialPortInfo[];
    readonly hotplugBuses?: readonly (readonly number[])[];
    readonly nativeHotplug?: boolean;
    readonly virtioMmio?: readonly AddressWindow[];
  },
): PlatformInfo {
  const pc = machine === 'pc';
  const level = [5, 9, 10, 11].map(
    (irq): IrqOverride => ({ source: irq, gsi: irq, polarity: 'high', trigger: 'level' }),
  );
  const mem32Base = pc ? (options.ramBelow4G > 0xc0000000 ? 0xe0000000 : 0xc0000000) : 0xc0000000;
  const mem64Size = pc ? 2 ** 31 : 2 ** 35;
  const above = 2 ** 32 + options.ramAbove4G;
  return {
    machine,
    cpuCount: options.cpuCount,
    apicIds: Array.from({ length: options.cpuCount }, (_, index) => index),
    lapicAddress: PC.lapicAddress,
    ioapic: { id: 0, address: PC.ioapicAddress, gsiBase: 0, pins: PC.ioapicPins },
    irqOverrides: [{ source: 0, gsi: 2, polarity: 'conforming', trigger: 'conforming' }, ...level],
    power: {
      base: PC.pmBase,
      eventBlock: PC.pmBase,
      controlBlock: PC.pmBase + 4,
      timerBlock: PC.pmBase + 8,
      timerBits: 24,
      gpe0Block: pc ? 0xafe0 : PC.pmBase + 0x20,
      gpe0Length: pc ? 4 : 16,
      smiCommand: 0xb2,
      acpiEnable: pc ? 0xf1 : 2,
      acpiDisable: pc ? 0xf0 : 3,
      sciIrq: PC.sciIrq,
      sleepTypeS5: 0,
      resetPort: 0xcf9,
      resetValue: 0x0f,
    },
    ramBelow4G: options.ramBelow4G,
    ramAbove4G: options.ramAbove4G,
    pciMem32: { base: mem32Base, size: PC.pciMem32End - mem32Base },
    pciMem64: { base: Math.ceil(above / 2 ** 30) * 2 ** 30, size: mem64Size },
    ecam: pc ? undefined : { base: PC.ecamAddress, size: PC.ecamSize },
    rcba: pc ? undefined : { base: PC.rcbaAddress, size: PC.rcbaSize },
    hpetAddress: options.hpet ? PC.hpetAddress : undefined,
    reservedPorts: pc
      ? [
          { base: PC.pmBase, size: 0x40 },
          // Exactly what Linux takes from the function's own register: a larger range would be refused.
          { base: PC.smbusBase, size: 0x10 },
          { base: 0xafe0, size: 4 },
          { base: 0xae00, size: 0x18 },
        ]
      : [
          { base: PC.pmBase, size: 0x80 },
          { base: 0xcc0, size: 0x18 },
        ],
    pciRouting: pc ? 'piix' : 'ich9',
    pciRoute: (slot, pin) => pciRoute(machine, slot, pin),
    serialPorts: options.serialPorts ?? [],
    hasKeyboardController: true,
    pciHotplugPort: pc ? { base: 0xae00, size: 0x18 } : { base: 0xcc0, size: 0x18 },
    hotplugBuses: options.hotplugBuses ?? (pc ? [[]] : []),
    nativeHotplug: options.nativeHotplug === true,
    virtioMmio: options.virtioMmio ?? [],
    virtioMmioGsi: PC.virtioMmioGsi,
    pciHotplugGpe: 1,
    fwCfgPort: PC.fwCfgPort,
  };
}
