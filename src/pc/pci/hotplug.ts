/**
 * ACPI PCI hot-plug: the registers through which the guest's AML learns of functions that came or shall go, and gives
 * a slot back. QEMU docs/specs/acpi_pci_hotplug. Slots of one bus (BSEL 0); the events travel as GPE 1.
 */
import type { AddressSpace } from '../../core/bus.ts';
import { UsageError } from '../../core/errors.ts';
import type { PciFunction } from '../../core/pci.ts';
import type { PciBus, PlacedFunction } from './bus.ts';

// Registers, 32 bits each: slots added, slots to be removed, eject, removable slots, bus selector.
const PCI_UP = 0x00;
const PCI_DOWN = 0x04;
const PCI_EJECT = 0x08;
const PCI_REMOVABLE = 0x0c;
const PCI_SELECT = 0x10;

export interface PciHotplugState {
  /** One bit for each slot. */
  up: number;
  down: number;
  select: number;
}

export class PciHotplug {
  state: PciHotplugState = { up: 0, down: 0, select: 0 };
  /** A function has left its bus: the guest gave the slot back, or the machine was reset. */
  onRemoved: (placed: PlacedFunction) => void = () => {};
  readonly #bus: PciBus;
  readonly #raise: () => void;
  /** Slots that were there when the machine was built and belong to the chipset. */
  readonly #fixed: () => number;

  /**
   * @param fixed bits of the slots that cannot be removed
   * @param raise sends the general-purpose event
   */
  constructor(
    ports: AddressSpace,
    window: { readonly base: number; readonly size: number },
    bus: PciBus,
    fixed: () => number,
    raise: () => void,
  ) {
    this.#bus = bus;
    this.#fixed = fixed;
    this.#raise = raise;
    ports.add({
      name: 'acpi-pci-hotplug',
      base: window.base,
      size: window.size,
      handler: {
        read: (offset, size) => (size === 4 ? this.#read(offset) : 0),
        write: (offset, size, value) => {
          if (size === 4) this.#write(offset, value);
        },
      },
    });
  }

  /** Plugs a function into a running machine and tells the guest. @throws UsageError as `PciBus.add` */
  add(
    fn: PciFunction,
    label: string,
    addr?: { readonly slot: number; readonly function: number },
  ): PlacedFunction {
    const placed = this.#bus.add(fn, label, addr);
    this.state.up |= 1 << placed.slot;
    // A slot that was to be emptied and is filled again is not to be emptied any more.
    this.state.down &= ~(1 << placed.slot);
    this.#raise();
    return placed;
  }

  /**
   * Asks the guest to give a slot back; all of its functions go when it does (`onRemoved` for each). May be asked
   * again: a guest may have been too early in its boot to listen.
   * @throws UsageError for a slot of the chipset's
   */
  requestRemove(slot: number): void {
    if ((this.#fixed() & (1 << slot)) !== 0) throw new UsageError(`PCI: slot ${slot} is not hot-pluggable`);
    this.state.down |= 1 << slot;
    this.#raise();
  }

  /** Machine reset: what was to be removed is removed now, for the guest will not be asked again. */
  reset(): void {
    const { down } = this.state;
    for (let slot = 0; slot < 32; slot++) if ((down & (1 << slot)) !== 0) this.#eject(slot);
    this.state = { up: 0, down: 0, select: 0 };
  }

  #read(offset: number): number {
    // Only bus 0 has slots.
    if (offset !== PCI_SELECT && this.state.select !== 0) return 0;
    switch (offset) {
      case PCI_UP: {
        const { up } = this.state;
        this.state.up = 0;
        return up >>> 0;
      }
      case PCI_DOWN:
        return this.state.down >>> 0;
      case PCI_REMOVABLE:
        return ~this.#fixed() >>> 0;
      case PCI_SELECT:
        return this.state.select;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    if (offset === PCI_SELECT) this.state.select = value;
    if (offset !== PCI_EJECT || this.state.select !== 0) return;
    for (let slot = 0; slot < 32; slot++) if ((value & (1 << slot)) !== 0) this.#eject(slot);
  }

  #eject(slot: number): void {
    this.state.up &= ~(1 << slot);
    this.state.down &= ~(1 << slot);
    // A guest may eject any removable slot, asked or not; the chipset stays.
    if ((this.#fixed() & (1 << slot)) !== 0) return;
    for (const placed of this.#bus.functions) {
      if (placed.slot !== slot) continue;
      this.#bus.remove(placed.fn);
      this.onRemoved(placed);
    }
  }
}
