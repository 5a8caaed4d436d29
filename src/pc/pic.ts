/**
 * The PC's two cascaded 8259A interrupt controllers with their edge/level control registers (ELCR). Intel 8259A data
 * sheet (1988) for the initialization and operation command words; ELCR as in the PIIX3 and ICH9 data sheets.
 */
import type { AddressSpace } from '../core/bus.ts';
import type { IrqLine } from '../core/irq.ts';
import { byteHandler } from './ports.ts';

const MASTER_PORT = 0x20;
const SLAVE_PORT = 0xa0;
const ELCR_PORT = 0x4d0;

// ICW1 and OCW2/3 share the even port; bits 4 and 3 tell them apart.
const ICW1 = 0x10;
const ICW1_IC4 = 0x01;
const ICW1_SNGL = 0x02;
const ICW4_AEOI = 0x02;
const ICW4_SFNM = 0x10;
const OCW3 = 0x08;
const OCW3_POLL = 0x04;
const OCW3_READ = 0x02;
const OCW3_ESMM = 0x40;

// OCW2 commands, bits 7-5.
const OCW2 = {
  rotateAutoEoiClear: 0,
  eoi: 1,
  specificEoi: 3,
  rotateAutoEoiSet: 4,
  rotateEoi: 5,
  setPriority: 6,
  rotateSpecificEoi: 7,
} as const;

/** Line 2 of the master carries the slave. */
const CASCADE = 2;
/** What an acknowledge cycle yields when the request has gone away meanwhile. */
const SPURIOUS = 7;
const NONE = 8;

export interface PicState {
  irr: number;
  imr: number;
  isr: number;
  /** Level of each input. */
  lines: number;
  elcr: number;
  vectorBase: number;
  /** The highest priority belongs to this line. */
  priorityBase: number;
  /** 0: ready; 2, 3, 4: the next write to the odd port is that ICW. */
  expectIcw: number;
  needIcw4: boolean;
  single: boolean;
  autoEoi: boolean;
  rotateOnAutoEoi: boolean;
  specialFullyNested: boolean;
  specialMask: boolean;
  readIsr: boolean;
  poll: boolean;
}

function initialState(): PicState {
  return {
    irr: 0,
    imr: 0,
    isr: 0,
    lines: 0,
    elcr: 0,
    vectorBase: 0,
    priorityBase: 0,
    expectIcw: 0,
    needIcw4: false,
    single: false,
    autoEoi: false,
    rotateOnAutoEoi: false,
    specialFullyNested: false,
    specialMask: false,
    readIsr: false,
    poll: false,
  };
}

/** One 8259A. */
export class Pic8259 {
  state: PicState = initialState();
  readonly #isMaster: boolean;
  readonly #elcrMask: number;
  readonly #output: (level: boolean) => void;

  /** @param elcrMask the lines that may be level-triggered */
  constructor(isMaster: boolean, elcrMask: number, output: (level: boolean) => void) {
    this.#isMaster = isMaster;
    this.#elcrMask = elcrMask;
    this.#output = output;
  }

  /** Power-on state. The lines keep their level: what drives them does not reset with us. */
  reset(): void {
    const { lines } = this.state;
    this.state = { ...initialState(), lines };
    this.#update();
  }

  setLine(line: number, level: boolean): void {
    const s = this.state;
    const bit = 1 << line;
    const was = (s.lines & bit) !== 0;
    if (level) s.lines |= bit;
    else s.lines &= ~bit;
    if ((s.elcr & bit) !== 0) {
      if (level) s.irr |= bit;
      else s.irr &= ~bit;
    } else if (level && !was) {
      s.irr |= bit;
    } else if (!level && this.#isMaster && line === CASCADE) {
      // The slave takes its request back when its cause goes away: without this the master would go on asking, and
      // the guest would see a spurious IRQ 15. The other edge inputs keep their latched request.
      s.irr &= ~bit;
    }
    this.#update();
  }

  /** The line to serve now, or -1: the highest request that is not masked and above what is in service. */
  pending(): number {
    const s = this.state;
    const request = this.#priority(s.irr & ~s.imr);
    if (request === NONE) return -1;
    // "In the special mask mode, when a mask bit is set in OCW1, it inhibits further interrupts at that level and
    // enables interrupts from all other levels" (8259A, special mask mode).
    let inService = s.specialMask ? s.isr & ~s.imr : s.isr;
    // A slave's further requests pass the master in special fully nested mode.
    if (s.specialFullyNested && this.#isMaster) inService &= ~(1 << CASCADE);
    return request < this.#priority(inService) ? (request + s.priorityBase) & 7 : -1;
  }

  /** The acknowledge cycle for `line`. */
  acknowledge(line: number): void {
    const s = this.state;
    if (s.autoEoi) {
      if (s.rotateOnAutoEoi) s.priorityBase = (line + 1) & 7;
    } else {
      s.isr |= 1 << line;
    }
    // A level-triggered request stays as long as its line is high.
    if ((s.elcr & (1 << line)) === 0) s.irr &= ~(1 << line);
    // INT drops with the acknowledge and rises again for what is left: the edge that a slave's master needs.
    this.#output(false);
    this.#update();
  }

  read(offset: number): number {
    const s = this.state;
    if (s.poll) {
      // "The next RD pulse is treated as an interrupt acknowledge" (8259A, poll command).
      s.poll = false;
      const line = this.pending();
      if (line < 0) return 0;
      this.acknowledge(line);
      return 0x80 | line;
    }
    if (offset === 1) return s.imr;
    return s.readIsr ? s.isr : s.irr;
  }

  write(offset: number, value: number): void {
    if (offset === 1) this.#writeOdd(value);
    else if ((value & ICW1) !== 0) this.#startInit(value);
    else if ((value & OCW3) !== 0) this.#ocw3(value);
    else this.#ocw2(value >> 5, value & 7);
    this.#update();
  }

  get elcr(): number {
    return this.state.elcr;
  }

  set elcr(value: number) {
    this.state.elcr = value & this.#elcrMask;
  }

  #startInit(value: number): void {
    const s = this.state;
    const { lines, elcr } = s;
    // "The edge sense circuit is reset, IMR is cleared, line 7 is assigned priority 7, special mask mode is cleared
    // and status read is set to IRR" (8259A, ICW1). Level-triggered requests are still there.
    this.state = {
      ...initialState(),
      lines,
      elcr,
      irr: s.irr & elcr,
      expectIcw: 2,
      needIcw4: (value & ICW1_IC4) !== 0,
      single: (value & ICW1_SNGL) !== 0,
    };
  }

  #writeOdd(value: number): void {
    const s = this.state;
    switch (s.expectIcw) {
      case 2:
        s.vectorBase = value & 0xf8;
        s.expectIcw = s.single ? (s.needIcw4 ? 4 : 0) : 3;
        break;
      case 3:
        // The wiring of the cascade is fixed on a PC: what ICW3 says of it is not looked at.
        s.expectIcw = s.needIcw4 ? 4 : 0;
        break;
      case 4:
        s.specialFullyNested = (value & ICW4_SFNM) !== 0;
        s.autoEoi = (value & ICW4_AEOI) !== 0;
        s.expectIcw = 0;
        break;
      default:
        s.imr = value;
    }
  }

  #ocw3(value: number): void {
    const s = this.state;
    if ((value & OCW3_POLL) !== 0) s.poll = true;
    if ((value & OCW3_READ) !== 0) s.readIsr = (value & 1) !== 0;
    if ((value & OCW3_ESMM) !== 0) s.specialMask = (value & 0x20) !== 0;
  }

  #ocw2(command: number, line: number): void {
    const s = this.state;
    switch (command) {
      case OCW2.rotateAutoEoiClear:
      case OCW2.rotateAutoEoiSet:
        s.rotateOnAutoEoi = command === OCW2.rotateAutoEoiSet;
        break;
      case OCW2.eoi:
      case OCW2.rotateEoi: {
        const priority = this.#priority(s.isr);
        if (priority === NONE) break;
        const served = (priority + s.priorityBase) & 7;
        s.isr &= ~(1 << served);
        if (command === OCW2.rotateEoi) s.priorityBase = (served + 1) & 7;
        break;
      }
      case OCW2.specificEoi:
      case OCW2.rotateSpecificEoi:
        s.isr &= ~(1 << line);
        if (command === OCW2.rotateSpecificEoi) s.priorityBase = (line + 1) & 7;
        break;
      case OCW2.setPriority:
        s.priorityBase = (line + 1) & 7;
        break;
    }
  }

  /** Distance of the highest set bit from the line of highest priority: 0 (highest) to 7, 8 for none. */
  #priority(bits: number): number {
    if (bits === 0) return NONE;
    let priority = 0;
    while ((bits & (1 << ((priority + this.state.priorityBase) & 7))) === 0) priority++;
    return priority;
  }

  #update(): void {
    this.#output(this.pending() >= 0);
  }
}

/** The master and the slave as a PC wires them. */
export class PicPair {
  readonly master: Pic8259;
  readonly slave: Pic8259;

  /** @param intr the processor's (or local APIC's LINT0) interrupt input */
  constructor(ports: AddressSpace, intr: IrqLine) {
    this.master = new Pic8259(true, 0xf8, (level) => intr.set(level));
    this.slave = new Pic8259(false, 0xde, (level) => this.master.setLine(CASCADE, level));
    for (const [name, chip, base] of [
      ['pic-master', this.master, MASTER_PORT],
      ['pic-slave', this.slave, SLAVE_PORT],
    ] as const) {
      const registers = {
        read: (offset: number) => chip.read(offset),
        write: (offset: number, value: number) => chip.write(offset, value),
      };
      ports.add({ name, base, size: 2, handler: byteHandler(2, registers) });
    }
    const elcr = {
      read: (offset: number) => (offset === 0 ? this.master : this.slave).elcr,
      write: (offset: number, value: number) => {
        (offset === 0 ? this.master : this.slave).elcr = value;
      },
    };
    ports.add({ name: 'elcr', base: ELCR_PORT, size: 2, handler: byteHandler(2, elcr) });
  }

  reset(): void {
    this.slave.reset();
    this.master.reset();
  }

  /** Input `irq` (0-15). IRQ 2 is the cascade and has no input of its own. */
  line(irq: number): IrqLine {
    return irq < 8
      ? { set: (level) => irq !== CASCADE && this.master.setLine(irq, level) }
      : { set: (level) => this.slave.setLine(irq - 8, level) };
  }

  /** True while INTR is high. */
  get intr(): boolean {
    return this.master.pending() >= 0;
  }

  /** The vector for an interrupt acknowledge cycle; a spurious one (IRQ 7 or 15) when nothing asks any more. */
  acknowledge(): number {
    const line = this.master.pending();
    if (line < 0) return this.master.state.vectorBase | SPURIOUS;
    if (line !== CASCADE) {
      this.master.acknowledge(line);
      return this.master.state.vectorBase | line;
    }
    const slaveLine = this.slave.pending();
    this.master.acknowledge(CASCADE);
    if (slaveLine < 0) return this.slave.state.vectorBase | SPURIOUS;
    this.slave.acknowledge(slaveLine);
    return this.slave.state.vectorBase | slaveLine;
  }
}
