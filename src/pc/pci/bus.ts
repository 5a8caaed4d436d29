/**
 * A PCI bus: which function sits where, configuration accesses by number, BARs put into the address spaces, INTx pins
 * wired to the chipset's interrupt lines. Functions come and go while the machine runs; a bridge brings a bus of its
 * own, which decodes what the bridge forwards. PCI 3.0 §3.2.2, §6; PCI-to-PCI Bridge Architecture 1.2.
 */
import type { AccessSize, AddressSpace } from '../../core/bus.ts';
import { UsageError, assert } from '../../core/errors.ts';
import type { IrqLine, MsiTarget } from '../../core/irq.ts';
import { type PciFunction, PCI_HEADER_TYPE, PCI_INTERRUPT_PIN } from '../../core/pci.ts';
import type { Tracer } from '../../core/trace.ts';
import { PciBridge } from './bridge.ts';
import { RangePlacer } from './placer.ts';

export const SLOTS = 32;
export const FUNCTIONS = 8;
const HEADER_MULTI_FUNCTION = 0x80;

/** Device and function number in one byte, as configuration addresses hold them. */
export function devfn(slot: number, fn: number): number {
  return (slot << 3) | fn;
}

export interface PlacedFunction {
  readonly fn: PciFunction;
  readonly bus: PciBus;
  readonly slot: number;
  readonly function: number;
  /** For messages: `virtio-blk-pci`, or with its id: `virtio-blk-pci,id=d0`. */
  readonly label: string;
}

/** What a bus is to the devices on it: `port` is the link behind a PCI Express port, whose devices are endpoints. */
export type PciBusKind = 'conventional' | 'root-complex' | 'port';

export interface PciBusOptions {
  /** `pci.0` or `pcie.0`, or the id of the bridge that has it. */
  readonly name: string;
  readonly kind: PciBusKind;
  /** Functions can be plugged and unplugged while the machine runs. */
  readonly hotplug: boolean;
  readonly ports: AddressSpace;
  readonly mmio: AddressSpace;
  readonly tracer: Tracer;
  readonly msi: MsiTarget;
  /** A new source on the line that pin (0 = INTA#) of a slot is wired to. */
  readonly intx: (slot: number, pin: number) => IrqLine;
  /** Automatic placement starts here. */
  readonly firstSlot: number;
}

/** The bridge that a bus is behind. */
export interface Upstream {
  readonly bus: PciBus;
  readonly bridge: PciBridge;
}

export class PciBus {
  readonly name: string;
  readonly kind: PciBusKind;
  readonly hotplug: boolean;
  readonly #options: PciBusOptions;
  /** Undefined for the root bus. */
  readonly upstream: Upstream | undefined;
  readonly #functions = new Map<number, PlacedFunction>();
  /** Shared by all buses of a tree: what one of them maps, another must not. */
  readonly #ioPlacer: RangePlacer;
  readonly #memPlacer: RangePlacer;
  readonly #reserved = new Set<number>();
  /** Off behind a port whose slot is off: nothing there answers. */
  #power = true;

  constructor(options: PciBusOptions, upstream?: Upstream) {
    this.name = options.name;
    this.kind = options.kind;
    this.hotplug = options.hotplug;
    this.#options = options;
    this.upstream = upstream;
    const { ports, mmio, tracer } = options;
    this.#ioPlacer = upstream === undefined ? new RangePlacer(ports, tracer) : upstream.bus.#ioPlacer;
    this.#memPlacer = upstream === undefined ? new RangePlacer(mmio, tracer) : upstream.bus.#memPlacer;
  }

  /** The number by which configuration accesses reach it now; 0 for the root bus, and for one that none reach. */
  get number(): number {
    return this.upstream?.bridge.secondaryNumber ?? 0;
  }

  /** This bus and all behind it, each before those behind it. */
  get tree(): readonly PciBus[] {
    const behind = this.functions.flatMap(({ fn }) => (fn instanceof PciBridge ? [fn.secondary] : []));
    return [this, ...behind.flatMap((bus) => bus.tree)];
  }

  /** The bus of this tree that configuration accesses with this bus number reach. */
  withNumber(number: number): PciBus | undefined {
    if (this.upstream === undefined && number === 0) return this;
    for (const { fn } of this.#functions.values()) {
      if (!(fn instanceof PciBridge)) continue;
      const { secondaryNumber, subordinateNumber } = fn;
      // A bridge without a number forwards nothing: 0 is the root bus.
      if (secondaryNumber === 0) continue;
      if (number === secondaryNumber) return fn.secondary;
      if (number > secondaryNumber && number <= subordinateNumber) return fn.secondary.withNumber(number);
    }
    return undefined;
  }

  /** All functions by slot, then function. */
  get functions(): readonly PlacedFunction[] {
    return [...this.#functions.entries()].sort((a, b) => a[0] - b[0]).map(([, placed]) => placed);
  }

  at(slot: number, fn: number): PciFunction | undefined {
    return this.#functions.get(devfn(slot, fn))?.fn;
  }

  /** Where a function is, on this bus or behind it. */
  placeOf(fn: PciFunction): PlacedFunction | undefined {
    for (const placed of this.#functions.values()) {
      if (placed.fn === fn) return placed;
      const behind = placed.fn instanceof PciBridge ? placed.fn.secondary.placeOf(fn) : undefined;
      if (behind !== undefined) return behind;
    }
    return undefined;
  }

  /** Keeps a slot out of automatic placement (the VGA adapter's, say). */
  reserveSlot(slot: number): void {
    this.#reserved.add(slot);
  }

  /**
   * Plugs a function in, at `addr` or at function 0 of the first free slot. May be called while the machine runs.
   * @param addr slot 0-31 and function 0-7, or undefined
   * @param running the machine was complete already
   * @throws UsageError when the place is taken or there is none
   */
  add(
    fn: PciFunction,
    label: string,
    addr?: { readonly slot: number; readonly function: number },
    running = false,
  ): PlacedFunction {
    const { slot, function: number } = addr ?? { slot: this.#freeSlot(label), function: 0 };
    if (slot < 0 || slot >= SLOTS || number < 0 || number >= FUNCTIONS) {
      throw new UsageError(`${label}: PCI address ${slot.toString(16)}.${number} does not exist`);
    }
    const taken = this.#functions.get(devfn(slot, number));
    if (taken !== undefined) {
      throw new UsageError(
        `PCI: slot ${slot} function ${number} not available for ${label.split(',')[0]}, in use by ${taken.label}`,
      );
    }
    const first = this.#functions.get(devfn(slot, 0));
    // Guests have looked at the slot already.
    if (running && first !== undefined)
      throw new UsageError(
        `PCI: slot ${slot} function 0 already occupied by ${first.fn.name}, new func ${fn.name} cannot be exposed to guest.`,
      );
    this.#checkMultiFunction(fn, slot, number);
    const placed = { fn, bus: this, slot, function: number, label };
    this.#functions.set(devfn(slot, number), placed);
    const pin = fn.byte(PCI_INTERRUPT_PIN);
    const nowhere: IrqLine = { set: () => {} };
    fn.connect({
      intx: pin === 0 ? nowhere : this.#options.intx(slot, (pin - 1) & 3),
      msi: this.#options.msi,
      mappingChanged: () => this.#remap(placed),
    });
    if (fn instanceof PciBridge) fn.attach(this.#behind(fn, slot));
    this.upstream?.bridge.populated(running);
    this.#remap(placed);
    return placed;
  }

  /** The bus of a bridge in `slot`. Its pins are swizzled (PCI-to-PCI Bridge Architecture 1.2 §9.1). */
  #behind(bridge: PciBridge, slot: number): PciBus {
    const options: PciBusOptions = {
      ...this.#options,
      name: bridge.busName,
      kind: bridge.express ? 'port' : 'conventional',
      hotplug: bridge.hotplug,
      intx: (behind, pin) => this.#options.intx(slot, (behind + pin) & 3),
      firstSlot: 0,
    };
    return new PciBus(options, { bus: this, bridge });
  }

  /** Unplugs a function: its BARs vanish, its interrupt line falls. */
  remove(fn: PciFunction): void {
    const placed = this.placeOf(fn);
    assert(placed?.bus === this, `${this.name}: function is not on this bus`);
    if (fn instanceof PciBridge) for (const other of fn.secondary.functions) fn.secondary.remove(other.fn);
    fn.disconnect();
    for (let index = 0; index < 6; index++) {
      const key = this.#barKey(placed, index);
      this.#ioPlacer.place(key, undefined);
      this.#memPlacer.place(key, undefined);
    }
    this.#functions.delete(devfn(placed.slot, placed.function));
  }

  reset(): void {
    for (const { fn } of this.functions) fn.reset();
  }

  /** Without power functions are as after a reset, decode nothing and do not answer. */
  setPower(on: boolean): void {
    if (this.#power === on) return;
    this.#power = on;
    if (!on) this.reset();
    for (const placed of this.#functions.values()) this.#remap(placed);
  }

  /** A configuration read; a function that is not there reads as ones (§3.2.2.3.4, master abort). */
  readConfig(address: number, offset: number, size: AccessSize): number {
    const placed = this.#functions.get(address);
    if (placed === undefined || !this.#power) return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
    return placed.fn.readConfig(offset, size) >>> 0;
  }

  writeConfig(address: number, offset: number, size: AccessSize, value: number): void {
    if (this.#power) this.#functions.get(address)?.fn.writeConfig(offset, size, value);
  }

  #freeSlot(label: string): number {
    for (let slot = this.#options.firstSlot; slot < SLOTS; slot++) {
      if (this.#reserved.has(slot)) continue;
      let free = true;
      for (let n = 0; n < FUNCTIONS; n++) free &&= !this.#functions.has(devfn(slot, n));
      if (free) return slot;
    }
    throw new UsageError(`PCI: no slot/function available for ${label}, all in use or reserved`);
  }

  /** Functions above 0 need a function 0 that says so, or guests never look at them (§6.2.1, header type). */
  #checkMultiFunction(fn: PciFunction, slot: number, number: number): void {
    const first = this.#functions.get(devfn(slot, 0));
    if (number !== 0) {
      if (first === undefined || (first.fn.byte(PCI_HEADER_TYPE) & HEADER_MULTI_FUNCTION) !== 0) return;
      throw new UsageError(
        `PCI: single function device can't be populated in function ${slot.toString(16)}.${number}`,
      );
    }
    if ((fn.byte(PCI_HEADER_TYPE) & HEADER_MULTI_FUNCTION) !== 0) return;
    for (let n = 1; n < FUNCTIONS; n++) {
      if (!this.#functions.has(devfn(slot, n))) continue;
      throw new UsageError(
        `PCI: ${slot.toString(16)}.0 indicates single function, but ${slot.toString(16)}.${n} is already populated.`,
      );
    }
  }

  /** Whether an access to these addresses gets to this bus. */
  #reaches(space: 'io' | 'mem', base: number, size: number): boolean {
    if (!this.#power) return false;
    const up = this.upstream;
    return up === undefined || (up.bridge.forwards(space, base, size) && up.bus.#reaches(space, base, size));
  }

  #remap(placed: PlacedFunction): void {
    const mappings = placed.fn.mappings();
    for (let index = 0; index < 6; index++) {
      const key = this.#barKey(placed, index);
      const mapping = mappings.find(
        (one) => one.index === index && this.#reaches(one.space, one.base, one.bar.size),
      );
      const range = mapping && {
        name: mapping.bar.name,
        base: mapping.base,
        size: mapping.bar.size,
        handler: mapping.bar.handler,
      };
      this.#ioPlacer.place(key, mapping?.space === 'io' ? range : undefined);
      this.#memPlacer.place(key, mapping?.space === 'mem' ? range : undefined);
    }
    // What a bridge forwards has changed: so has what is decoded behind it.
    if (placed.fn instanceof PciBridge) {
      const { secondary } = placed.fn;
      for (const other of secondary.#functions.values()) secondary.#remap(other);
    }
  }

  /** Unique in the tree: the way of devices and functions from the root. */
  #barKey(placed: PlacedFunction, index: number): string {
    return `${this.#way}${devfn(placed.slot, placed.function)}.${index}`;
  }

  get #way(): string {
    if (this.upstream === undefined) return '';
    const { bus, bridge } = this.upstream;
    const { slot, function: number } = bus.placeOf(bridge)!;
    return `${bus.#way}${devfn(slot, number)}/`;
  }
}

/** Marks a function as one of several in its slot: to be set on function 0 (`multifunction=on`). */
export function setMultiFunction(fn: PciFunction): void {
  fn.config[PCI_HEADER_TYPE]! |= HEADER_MULTI_FUNCTION;
}
