/**
 * The two ways to configuration space: mechanism #1 by ports CF8h and CFCh (PCI 3.0 §3.2.2.3.2), with the reset
 * control register CF9h between them, and the memory-mapped window of PCI Express (PCIe 2.0 §7.2.2, ECAM).
 */
import type { AccessSize, AddressSpace, IoHandler } from '../../core/bus.ts';
import type { PciBus } from './bus.ts';

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 4;
const RESET_CONTROL = 1;

const ADDRESS_ENABLE = 0x80000000;

// CF9h: bit 1 chooses a full reset, bit 2 rising starts it (PIIX3 and ICH9 data sheets, reset control register).
const RESET_CPU = 0x04;
const RESET_SYSTEM = 0x02;

export interface ConfigPortsState {
  address: number;
  resetControl: number;
}

/** Buses by number: only those that exist. */
export type BusLookup = (bus: number) => PciBus | undefined;

export class ConfigPorts {
  state: ConfigPortsState = { address: 0, resetControl: 0 };
  readonly #lookup: BusLookup;
  readonly #onReset: () => void;

  constructor(ports: AddressSpace, lookup: BusLookup, onReset: () => void) {
    this.#lookup = lookup;
    this.#onReset = onReset;
    ports.add({
      name: 'pci-conf',
      base: CONFIG_ADDRESS,
      size: 8,
      handler: {
        read: (offset, size) => this.#read(offset, size),
        write: (offset, size, value) => this.#write(offset, size, value),
      },
    });
  }

  reset(): void {
    this.state = { address: 0, resetControl: 0 };
  }

  #read(offset: number, size: AccessSize): number {
    const ones = size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
    if (offset === 0 && size === 4) return this.state.address;
    if (offset === RESET_CONTROL && size === 1) return this.state.resetControl;
    if (offset < CONFIG_DATA) return ones;
    const { address } = this.state;
    if ((address & ADDRESS_ENABLE) === 0) return ones;
    const bus = this.#lookup((address >>> 16) & 0xff);
    return bus?.readConfig((address >>> 8) & 0xff, (address & 0xfc) + offset - CONFIG_DATA, size) ?? ones;
  }

  #write(offset: number, size: AccessSize, value: number): void {
    // "Only full double word writes to CONFIG_ADDRESS" are the register's; anything else passes to the bus.
    if (offset === 0 && size === 4) this.state.address = (value & ~3) >>> 0;
    else if (offset === RESET_CONTROL && size === 1) this.#writeReset(value);
    if (offset < CONFIG_DATA) return;
    const { address } = this.state;
    if ((address & ADDRESS_ENABLE) === 0) return;
    const bus = this.#lookup((address >>> 16) & 0xff);
    bus?.writeConfig((address >>> 8) & 0xff, (address & 0xfc) + offset - CONFIG_DATA, size, value);
  }

  #writeReset(value: number): void {
    const start = (value & RESET_CPU) !== 0;
    this.state.resetControl = value & (RESET_SYSTEM | 0x08);
    if (start) this.#onReset();
  }
}

/** The handler of an ECAM window: bus in bits 27-20, device and function 19-12, register 11-0. */
export function ecamHandler(lookup: BusLookup): IoHandler {
  return {
    read(offset: number, size: AccessSize): number {
      const bus = lookup(Math.floor(offset / 2 ** 20));
      return (
        bus?.readConfig((offset >>> 12) & 0xff, offset & 0xfff, size) ??
        (size === 4 ? 0xffffffff : (1 << (size * 8)) - 1)
      );
    },
    write(offset: number, size: AccessSize, value: number): void {
      lookup(Math.floor(offset / 2 ** 20))?.writeConfig((offset >>> 12) & 0xff, offset & 0xfff, size, value);
    },
  };
}
