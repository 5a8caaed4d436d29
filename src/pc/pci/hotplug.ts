/**
 * ACPI PCI hot-plug: the registers through which the guest's AML learns of functions that came or shall go, and gives
 * a slot back. QEMU docs/specs/acpi_pci_hotplug. Each bus that can be plugged has a selector (BSEL); what happens on
 * any of them travels as one general-purpose event.
 */
import type { AddressSpace } from '../../core/bus.ts';
import { UsageError } from '../../core/errors.ts';
import type { PciFunction } from '../../core/pci.ts';
import { PciBridge } from './bridge.ts';
import { type PciBus, type PlacedFunction, SLOTS } from './bus.ts';
import { PcieRootPort } from './root-port.ts';

// Registers, 32 bits each: slots added, slots to be removed, eject, removable slots, bus selector.
const PCI_UP = 0x00;
const PCI_DOWN = 0x04;
const PCI_EJECT = 0x08;
const PCI_REMOVABLE = 0x0c;
const PCI_SELECT = 0x10;

/** What has happened on one bus: a bit for each slot. */
export interface SlotEvents {
  up: number;
  down: number;
}

export interface PciHotplugState {
  /** By bus selector; a bus on which nothing has happened has none. */
  events: (SlotEvents | undefined)[];
  select: number;
}

export interface PciHotplugOptions {
  readonly ports: AddressSpace;
  readonly window: { readonly base: number; readonly size: number };
  readonly root: PciBus;
  /** Bits of the root bus's slots that belong to the chipset and stay. */
  readonly fixed: number;
  /** Buses behind bridges are told of by ACPI, too; otherwise it is native hot-plug for PCI Express ports. */
  readonly bridges: boolean;
  /** Sends the general-purpose event. */
  readonly raise: () => void;
}

export class PciHotplug {
  state: PciHotplugState = { events: [], select: 0 };
  /** A function has left its bus: the guest gave the slot back, or the machine was reset. */
  onRemoved: (placed: PlacedFunction) => void = () => {};
  readonly #root: PciBus;
  readonly #raise: () => void;
  readonly #fixed: number;
  readonly #bridges: boolean;
  /** Bridges that came while the machine ran go like other functions; the guest's tables know no slots behind them. */
  readonly #late = new Set<PciFunction>();

  constructor(options: PciHotplugOptions) {
    this.#root = options.root;
    this.#fixed = options.fixed;
    this.#bridges = options.bridges;
    this.#raise = options.raise;
    options.ports.add({
      name: 'acpi-pci-hotplug',
      base: options.window.base,
      size: options.window.size,
      handler: {
        read: (offset, size) => (size === 4 ? this.#read(offset) : 0),
        write: (offset, size, value) => {
          if (size === 4) this.#write(offset, value);
        },
      },
    });
  }

  /** The buses that can be plugged; a bus's place here is its selector. */
  get buses(): readonly PciBus[] {
    return this.#pluggable(this.#root);
  }

  /** Functions come and go on this bus while the machine runs, one way or the other. */
  supports(bus: PciBus): boolean {
    return nativePort(bus) !== undefined || this.buses.includes(bus);
  }

  /** A bus before those behind it, and of two bridges the later one first: QEMU's order. */
  #pluggable(bus: PciBus): PciBus[] {
    if (!this.#bridges) return bus.hotplug && bus === this.#root ? [bus] : [];
    const behind = bus.functions
      .flatMap(({ fn }) => (fn instanceof PciBridge && !this.#late.has(fn) ? [fn.secondary] : []))
      .toReversed();
    return [...(bus.hotplug ? [bus] : []), ...behind.flatMap((other) => this.#pluggable(other))];
  }

  /** Plugs a function into a running machine and tells the guest. @throws UsageError as `PciBus.add` */
  add(
    bus: PciBus,
    fn: PciFunction,
    label: string,
    addr?: { readonly slot: number; readonly function: number },
  ): PlacedFunction {
    const port = nativePort(bus);
    if (port !== undefined) {
      port.onRemoved = (gone) => this.onRemoved(gone);
      return port.plug(fn, label, addr);
    }
    const events = this.#eventsOf(bus);
    const placed = bus.add(fn, label, addr, true);
    if (fn instanceof PciBridge) this.#late.add(fn);
    events.up |= 1 << placed.slot;
    // A slot that was to be emptied and is filled again is not to be emptied any more.
    events.down &= ~(1 << placed.slot);
    this.#raise();
    return placed;
  }

  /**
   * Asks the guest to give a slot back; all of its functions go when it does (`onRemoved` for each). May be asked
   * again: a guest may have been too early in its boot to listen.
   * @returns for how many milliseconds it is not to be asked again
   * @throws UsageError for a slot of the chipset's, and on a bus that cannot be plugged
   */
  requestRemove(bus: PciBus, slot: number): number {
    const port = nativePort(bus);
    if (port !== undefined) {
      port.onRemoved = (gone) => this.onRemoved(gone);
      return port.requestUnplug();
    }
    const events = this.#eventsOf(bus);
    if (bus === this.#root && (this.#fixed & (1 << slot)) !== 0)
      throw new UsageError(`PCI: slot ${slot} is not hot-pluggable`);
    events.down |= 1 << slot;
    this.#raise();
    return 0;
  }

  /** Machine reset: what was to be removed is removed now, for the guest will not be asked again. */
  reset(): void {
    this.buses.forEach((bus, selector) => {
      const down = this.state.events[selector]?.down ?? 0;
      for (let slot = 0; slot < SLOTS; slot++) if ((down & (1 << slot)) !== 0) this.#eject(bus, slot);
    });
    this.state = { events: [], select: 0 };
  }

  /** QEMU's text where the bus has no slots that can be plugged. */
  #eventsOf(bus: PciBus): SlotEvents {
    const selector = this.buses.indexOf(bus);
    if (selector < 0) throw new UsageError(`Bus '${bus.name}' does not support hotplugging`);
    return (this.state.events[selector] ??= { up: 0, down: 0 });
  }

  #read(offset: number): number {
    const { select } = this.state;
    if (offset === PCI_SELECT) return select;
    const bus = this.buses[select];
    if (bus === undefined) return 0;
    if (offset === PCI_REMOVABLE) return ~this.#kept(bus) >>> 0;
    const events = this.state.events[select];
    if (events === undefined) return 0;
    switch (offset) {
      case PCI_UP: {
        const { up } = events;
        events.up = 0;
        return up >>> 0;
      }
      case PCI_DOWN:
        return events.down >>> 0;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    if (offset === PCI_SELECT) this.state.select = value;
    if (offset !== PCI_EJECT) return;
    const bus = this.buses[this.state.select];
    if (bus === undefined) return;
    for (let slot = 0; slot < SLOTS; slot++) if ((value & (1 << slot)) !== 0) this.#eject(bus, slot);
  }

  /** Slots that a guest cannot give back: the chipset's, and those of bridges that the tables describe. */
  #kept(bus: PciBus): number {
    let kept = bus === this.#root ? this.#fixed : 0;
    for (const { fn, slot } of bus.functions)
      if (fn instanceof PciBridge && !this.#late.has(fn)) kept |= 1 << slot;
    return kept;
  }

  #eject(bus: PciBus, slot: number): void {
    const events = this.state.events[this.buses.indexOf(bus)];
    if (events !== undefined) {
      events.up &= ~(1 << slot);
      events.down &= ~(1 << slot);
    }
    // A guest may eject any removable slot, asked or not.
    if ((this.#kept(bus) & (1 << slot)) !== 0) return;
    for (const placed of bus.functions) {
      if (placed.slot !== slot) continue;
      const behind = placed.fn instanceof PciBridge ? placed.fn.secondary.tree.toReversed() : [];
      for (const below of behind)
        for (const other of below.functions) {
          below.remove(other.fn);
          this.onRemoved(other);
        }
      bus.remove(placed.fn);
      this.#late.delete(placed.fn);
      this.onRemoved(placed);
    }
  }
}

/** The port that a bus is behind, where that does hot-plug by itself. */
function nativePort(bus: PciBus): PcieRootPort | undefined {
  const bridge = bus.upstream?.bridge;
  return bridge instanceof PcieRootPort && bridge.native ? bridge : undefined;
}
