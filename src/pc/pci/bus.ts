/**
 * A PCI bus: which function sits where, configuration accesses by number, BARs put into the address spaces, INTx pins
 * wired to the chipset's interrupt lines. Functions come and go while the machine runs. PCI 3.0 §3.2.2, §6.
 */
import type { AccessSize, AddressSpace } from '../../core/bus.ts';
import { UsageError, assert } from '../../core/errors.ts';
import type { IrqLine, MsiTarget } from '../../core/irq.ts';
import { type PciFunction, PCI_HEADER_TYPE, PCI_INTERRUPT_PIN } from '../../core/pci.ts';
import type { Tracer } from '../../core/trace.ts';
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
  readonly slot: number;
  readonly function: number;
  /** For messages: `virtio-blk-pci`, or with its id. */
  readonly label: string;
}

export interface PciBusOptions {
  /** `pci.0` or `pcie.0`. */
  readonly name: string;
  readonly ports: AddressSpace;
  readonly mmio: AddressSpace;
  readonly tracer: Tracer;
  readonly msi: MsiTarget;
  /** A new source on the line that pin (0 = INTA#) of a slot is wired to. */
  readonly intx: (slot: number, pin: number) => IrqLine;
  /** Automatic placement starts here. */
  readonly firstSlot: number;
}

export class PciBus {
  readonly name: string;
  readonly #options: PciBusOptions;
  readonly #functions = new Map<number, PlacedFunction>();
  readonly #ioPlacer: RangePlacer;
  readonly #memPlacer: RangePlacer;
  readonly #reserved = new Set<number>();

  constructor(options: PciBusOptions) {
    this.name = options.name;
    this.#options = options;
    this.#ioPlacer = new RangePlacer(options.ports, options.tracer);
    this.#memPlacer = new RangePlacer(options.mmio, options.tracer);
  }

  /** All functions by slot, then function. */
  get functions(): readonly PlacedFunction[] {
    return [...this.#functions.entries()].sort((a, b) => a[0] - b[0]).map(([, placed]) => placed);
  }

  at(slot: number, fn: number): PciFunction | undefined {
    return this.#functions.get(devfn(slot, fn))?.fn;
  }

  placeOf(fn: PciFunction): PlacedFunction | undefined {
    for (const placed of this.#functions.values()) if (placed.fn === fn) return placed;
    return undefined;
  }

  /** Keeps a slot out of automatic placement (the VGA adapter's, say). */
  reserveSlot(slot: number): void {
    this.#reserved.add(slot);
  }

  /**
   * Plugs a function in, at `addr` or at function 0 of the first free slot. May be called while the machine runs.
   * @param addr slot 0-31 and function 0-7, or undefined
   * @throws UsageError when the place is taken or there is none
   */
  add(
    fn: PciFunction,
    label: string,
    addr?: { readonly slot: number; readonly function: number },
  ): PlacedFunction {
    const { slot, function: number } = addr ?? { slot: this.#freeSlot(label), function: 0 };
    if (slot < 0 || slot >= SLOTS || number < 0 || number >= FUNCTIONS) {
      throw new UsageError(`${label}: PCI address ${slot.toString(16)}.${number} does not exist`);
    }
    const taken = this.#functions.get(devfn(slot, number));
    if (taken !== undefined) {
      throw new UsageError(
        `PCI: slot ${slot} function ${number} not available for ${label}, in use by ${taken.label}`,
      );
    }
    this.#checkMultiFunction(fn, label, slot, number);
    const placed = { fn, slot, function: number, label };
    this.#functions.set(devfn(slot, number), placed);
    const pin = fn.byte(PCI_INTERRUPT_PIN);
    const nowhere: IrqLine = { set: () => {} };
    fn.connect({
      intx: pin === 0 ? nowhere : this.#options.intx(slot, (pin - 1) & 3),
      msi: this.#options.msi,
      mappingChanged: () => this.#remap(placed),
    });
    this.#remap(placed);
    return placed;
  }

  /** Unplugs a function: its BARs vanish, its interrupt line falls. */
  remove(fn: PciFunction): void {
    const placed = this.placeOf(fn);
    assert(placed !== undefined, `${this.name}: function is not on this bus`);
    fn.disconnect();
    for (let index = 0; index < 6; index++) {
      const key = barKey(placed, index);
      this.#ioPlacer.place(key, undefined);
      this.#memPlacer.place(key, undefined);
    }
    this.#functions.delete(devfn(placed.slot, placed.function));
  }

  reset(): void {
    for (const { fn } of this.functions) fn.reset();
  }

  /** A configuration read; a function that is not there reads as ones (§3.2.2.3.4, master abort). */
  readConfig(address: number, offset: number, size: AccessSize): number {
    const placed = this.#functions.get(address);
    if (placed === undefined) return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
    return placed.fn.readConfig(offset, size) >>> 0;
  }

  writeConfig(address: number, offset: number, size: AccessSize, value: number): void {
    this.#functions.get(address)?.fn.writeConfig(offset, size, value);
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
  #checkMultiFunction(fn: PciFunction, label: string, slot: number, number: number): void {
    const first = this.#functions.get(devfn(slot, 0));
    if (number !== 0) {
      if (first === undefined || (first.fn.byte(PCI_HEADER_TYPE) & HEADER_MULTI_FUNCTION) !== 0) return;
      throw new UsageError(
        `PCI: single function device can't be populated in function ${slot.toString(16)}.${number}`,
      );
    }
    if ((fn.byte(PCI_HEADER_TYPE) & HEADER_MULTI_FUNCTION) !== 0) return;
    for (let n = 1; n < FUNCTIONS; n++) {
      const other = this.#functions.get(devfn(slot, n));
      if (other === undefined) continue;
      throw new UsageError(
        `PCI: ${slot.toString(16)}.0 indicates single function, but ${slot.toString(16)}.${n} is already populated` +
          ` (${label}, ${other.label}).`,
      );
    }
  }

  #remap(placed: PlacedFunction): void {
    const mappings = placed.fn.mappings();
    for (let index = 0; index < 6; index++) {
      const key = barKey(placed, index);
      const mapping = mappings.find((candidate) => candidate.index === index);
      const range = mapping && {
        name: mapping.bar.name,
        base: mapping.base,
        size: mapping.bar.size,
        handler: mapping.bar.handler,
      };
      this.#ioPlacer.place(key, mapping?.space === 'io' ? range : undefined);
      this.#memPlacer.place(key, mapping?.space === 'mem' ? range : undefined);
    }
  }
}

function barKey(placed: PlacedFunction, index: number): string {
  return `${devfn(placed.slot, placed.function)}.${index}`;
}

/** Marks a function as one of several in its slot: to be set on function 0 (`multifunction=on`). */
export function setMultiFunction(fn: PciFunction): void {
  fn.config[PCI_HEADER_TYPE]! |= HEADER_MULTI_FUNCTION;
}
