/** The two ways in which a device asks for attention: a level-triggered line, and a message. */

/** One interrupt line. `set` is idempotent; who owns the line decides whether it is level- or edge-sensitive. */
export interface IrqLine {
  set(level: boolean): void;
}

/** Where message-signalled interrupts go: a 32-bit write of `data` to `address` (PCI 3.0 §6.8). */
export interface MsiTarget {
  send(address: number, data: number): void;
}

/** A line that several sources share: high while any of them holds it high (PCI INTx, wired-or). */
export class SharedIrqLine {
  readonly #line: IrqLine;
  readonly #high = new Set<number>();
  #next = 0;

  constructor(line: IrqLine) {
    this.#line = line;
  }

  /** A new source on the line. */
  source(): IrqLine {
    const id = this.#next++;
    return {
      set: (level) => {
        if (level) this.#high.add(id);
        else this.#high.delete(id);
        this.#line.set(this.#high.size > 0);
      },
    };
  }
}
