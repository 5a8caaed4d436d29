/**
 * The I/O APIC: 24 inputs, each with a redirection entry that turns it into a message to local APICs. Intel 82093AA
 * data sheet (1996), with version 20h (an EOI register) as QEMU has it. The polarity bits are kept but mean nothing:
 * a line here is asserted or not, whichever voltage that would be.
 */
import type { AddressSpace } from '../../core/bus.ts';
import type { IrqLine } from '../../core/irq.ts';
import { type ApicBus, DELIVERY } from './messages.ts';

const WINDOW_SIZE = 0x1000;
const IOREGSEL = 0x00;
const IOWIN = 0x10;
const EOI = 0x40;

const REG_ID = 0x00;
const REG_VERSION = 0x01;
const REG_ARBITRATION = 0x02;
const REG_TABLE = 0x10;

const PINS = 24;
const VERSION = 0x20;

// Redirection entry, low half; the high half holds the destination in its top byte.
const ENTRY_LOGICAL = 0x800;
const ENTRY_DELIVERY_STATUS = 0x1000;
const ENTRY_REMOTE_IRR = 0x4000;
const ENTRY_LEVEL = 0x8000;
const ENTRY_MASKED = 0x10000;
const ENTRY_READ_ONLY = ENTRY_DELIVERY_STATUS | ENTRY_REMOTE_IRR;
const ENTRY_WRITABLE = 0x1ffff & ~ENTRY_READ_ONLY;

export interface IoApicState {
  id: number;
  select: number;
  /** Level of each input. */
  lines: number;
  /** Requests: follows the line when level-triggered; set by an edge until it is sent. */
  irr: number;
  readonly low: Uint32Array;
  readonly high: Uint32Array;
}

function initialState(lines: number): IoApicState {
  return {
    id: 0,
    select: 0,
    lines,
    irr: 0,
    low: new Uint32Array(PINS).fill(ENTRY_MASKED),
    high: new Uint32Array(PINS),
  };
}

export class IoApic {
  state: IoApicState = initialState(0);
  readonly #bus: ApicBus;

  constructor(mmio: AddressSpace, bus: ApicBus, base: number) {
    this.#bus = bus;
    bus.onEoi((vector) => this.#endOfInterrupt(vector));
    mmio.add({
      name: 'ioapic',
      base,
      size: WINDOW_SIZE,
      handler: {
        read: (offset, size) => {
          if (offset === IOREGSEL) return this.state.select;
          // "Access to the window register must be by double words" (82093AA §3.1.2).
          return offset === IOWIN && size === 4 ? this.#readRegister(this.state.select) : 0;
        },
        write: (offset, size, value) => {
          if (offset === IOREGSEL) this.state.select = value & 0xff;
          else if (size !== 4) return;
          else if (offset === IOWIN) this.#writeRegister(this.state.select, value);
          else if (offset === EOI) this.#endOfInterrupt(value & 0xff);
        },
      },
    });
  }

  /** All entries masked. Lines keep their level: what drives them does not reset with us. */
  reset(): void {
    this.state = initialState(this.state.lines);
  }

  line(pin: number): IrqLine {
    return { set: (level) => this.setLine(pin, level) };
  }

  setLine(pin: number, level: boolean): void {
    const s = this.state;
    const bit = 1 << pin;
    const rising = level && (s.lines & bit) === 0;
    if (level) s.lines |= bit;
    else s.lines &= ~bit;
    const entry = s.low[pin]!;
    if ((entry & ENTRY_LEVEL) !== 0) {
      if (level) s.irr |= bit;
      else s.irr &= ~bit;
      this.#serve(pin);
    } else if (rising && (entry & ENTRY_MASKED) === 0) {
      // "Edge-sensitive interrupts are ignored while the pin is masked" (82093AA §3.2.4).
      s.irr |= bit;
      this.#serve(pin);
    }
  }

  /** One line for `info pic`. */
  describe(): string[] {
    const lines: string[] = [];
    for (let pin = 0; pin < PINS; pin++) {
      const low = this.state.low[pin]!;
      lines.push(
        `pin ${pin} 0x${this.state.high[pin]!.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}` +
          ` vec=${low & 0xff} ${(low & ENTRY_LEVEL) !== 0 ? 'level' : 'edge'}` +
          `${(low & ENTRY_MASKED) !== 0 ? ' masked' : ''}`,
      );
    }
    return lines;
  }

  #readRegister(index: number): number {
    const s = this.state;
    switch (index) {
      case REG_ID:
      case REG_ARBITRATION:
        return (s.id << 24) >>> 0;
      case REG_VERSION:
        return VERSION | ((PINS - 1) << 16);
    }
    const at = index - REG_TABLE;
    if (at < 0 || at >= PINS * 2) return 0;
    return ((at & 1) !== 0 ? s.high : s.low)[at >> 1]!;
  }

  #writeRegister(index: number, value: number): void {
    const s = this.state;
    if (index === REG_ID) {
      s.id = (value >>> 24) & 0x0f;
      return;
    }
    const at = index - REG_TABLE;
    if (at < 0 || at >= PINS * 2) return;
    const pin = at >> 1;
    if ((at & 1) !== 0) {
      s.high[pin] = value & 0xff000000;
      return;
    }
    let entry = (s.low[pin]! & ENTRY_READ_ONLY) | (value & ENTRY_WRITABLE);
    const bit = 1 << pin;
    if ((entry & ENTRY_LEVEL) === 0) {
      // Linux clears a stuck remote IRR by making the pin edge-triggered for a moment.
      entry &= ~ENTRY_REMOTE_IRR;
      if ((s.low[pin]! & ENTRY_LEVEL) !== 0) s.irr &= ~bit;
    } else if ((s.lines & bit) !== 0) {
      s.irr |= bit;
    }
    s.low[pin] = entry;
    this.#serve(pin);
  }

  #serve(pin: number): void {
    const s = this.state;
    const entry = s.low[pin]!;
    const bit = 1 << pin;
    if ((s.irr & bit) === 0 || (entry & ENTRY_MASKED) !== 0) return;
    const level = (entry & ENTRY_LEVEL) !== 0;
    if (level) {
      // A level is sent once until its EOI comes back.
      if ((entry & ENTRY_REMOTE_IRR) !== 0) return;
      s.low[pin] = entry | ENTRY_REMOTE_IRR;
    } else {
      s.irr &= ~bit;
    }
    const delivery = (entry >>> 8) & 7;
    // ExtINT through a pin would need an 8259 behind it; here the 8259 pair is at LINT0 (virtual wire mode A).
    if (delivery === DELIVERY.extInt) return;
    this.#bus.deliver({
      destination: s.high[pin]! >>> 24,
      logical: (entry & ENTRY_LOGICAL) !== 0,
      delivery,
      vector: entry & 0xff,
      level,
    });
  }

  #endOfInterrupt(vector: number): void {
    const s = this.state;
    for (let pin = 0; pin < PINS; pin++) {
      const entry = s.low[pin]!;
      if ((entry & 0xff) !== vector || (entry & ENTRY_REMOTE_IRR) === 0) continue;
      s.low[pin] = entry & ~ENTRY_REMOTE_IRR;
      this.#serve(pin);
    }
  }
}
