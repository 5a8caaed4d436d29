/**
 * PCI interrupt routing as PIIX3 and ICH9 do it: the chipset's PIRQ inputs, each shared by many pins, are steered to
 * ISA interrupts by a register each, and on the ICH9 also reach I/O APIC inputs of their own. Intel 82371SB data
 * sheet, PIRQRC; Intel ICH9 data sheet, PIRQ[n]_ROUT.
 */
import { type IrqLine, SharedIrqLine } from '../../core/irq.ts';

/** Bit 7 set: not routed to an ISA interrupt; bits 3-0 the interrupt. */
const ROUTE_DISABLED = 0x80;
export const PIRQ_WRITABLE = 0x8f;

export class PirqRouter {
  /** Level and routing register of each PIRQ. */
  state: { levels: boolean[]; routes: number[] };
  readonly #inputs: SharedIrqLine[];
  readonly #isa: readonly IrqLine[];
  readonly #apic: ((pirq: number, level: boolean) => void) | undefined;

  /**
   * @param count 4 (PIIX3) or 8 (ICH9)
   * @param isa lines of the 16 ISA interrupts
   * @param apic told of each PIRQ's level, where PIRQs have I/O APIC inputs
   */
  constructor(count: number, isa: readonly IrqLine[], apic?: (pirq: number, level: boolean) => void) {
    this.#isa = isa;
    this.#apic = apic;
    this.state = {
      levels: Array.from({ length: count }, () => false),
      routes: Array.from({ length: count }, () => ROUTE_DISABLED),
    };
    this.#inputs = this.state.levels.map(
      (_, pirq) => new SharedIrqLine({ set: (level) => this.#setLevel(pirq, level) }),
    );
  }

  /** A new source on PIRQ `pirq` (0 = A). */
  source(pirq: number): IrqLine {
    return this.#inputs[pirq]!.source();
  }

  setRoute(pirq: number, value: number): void {
    const old = this.state.routes[pirq]!;
    this.state.routes[pirq] = value;
    this.#updateIsa(old);
    this.#updateIsa(value);
  }

  #setLevel(pirq: number, level: boolean): void {
    if (this.state.levels[pirq] === level) return;
    this.state.levels[pirq] = level;
    this.#updateIsa(this.state.routes[pirq]!);
    this.#apic?.(pirq, level);
  }

  /** An ISA interrupt is high while any PIRQ routed to it is. */
  #updateIsa(route: number): void {
    if ((route & ROUTE_DISABLED) !== 0) return;
    const irq = route & 15;
    const { levels, routes } = this.state;
    this.#isa[irq]!.set(
      levels.some((level, i) => level && (routes[i]! & ROUTE_DISABLED) === 0 && (routes[i]! & 15) === irq),
    );
  }
}
