/**
 * The slot of a PCI Express port: its capability, control and status registers, and native hot-plug by them: presence,
 * the attention button, the power controller, the indicators and the event that is an interrupt of the port. What a
 * command asks for is done at once. PCI Express Base 3.0 §6.7.3 (hot-plug), §7.8.9 to §7.8.11 (registers).
 */
import { UsageError } from '../../core/errors.ts';
import type { PciFunction } from '../../core/pci.ts';

// From the start of the PCI Express capability.
const LNKSTA = 0x12;
const SLTCAP = 0x14;
const SLTCTL = 0x18;
const SLTSTA = 0x1a;

/** "Data Link Layer Link Active" (§7.8.8). */
const LNKSTA_DLLLA = 0x2000;

// Slot capabilities.
const ABP = 0x01;
const PCP = 0x02;
const AIP = 0x08;
const PIP = 0x10;
const HPS = 0x20;
const HPC = 0x40;
const EIP = 0x20000;
const NUMBER_SHIFT = 19;

// Slot control: enables of events have the places of the events in slot status.
const HPIE = 0x0020;
const AIC = 0x00c0;
const AIC_OFF = 0x00c0;
const PIC = 0x0300;
const PIC_ON = 0x0100;
const PIC_BLINK = 0x0200;
const PIC_OFF = 0x0300;
const PCC_OFF = 0x0400;
/** "Electromechanical Interlock Control: reads always return 0" (§7.8.10). */
const EIC = 0x0800;

// Slot status.
const BUTTON = 0x01;
const PRESENCE_CHANGED = 0x08;
const COMMAND_COMPLETED = 0x10;
const EVENTS = BUTTON | PRESENCE_CHANGED | COMMAND_COMPLETED;
/** Those that software may try to clear: power fault and latch, which never happen here, among them. */
const ALL_EVENTS = 0x1f;
const PRESENT = 0x40;
const LOCKED = 0x80;

/** A guest that was asked for a device has this long, in milliseconds of its time, before it may be asked again. */
const PATIENCE = 5000;

export interface SlotOptions {
  /** Number on the chassis, 13 bits. */
  readonly number: number;
  /** Devices come and go while the machine runs. */
  readonly hotplug: boolean;
  readonly powerController: boolean;
  /** The guest is told by these registers, and not by ACPI. */
  readonly native: boolean;
}

/** What the slot does to its surroundings. */
export interface SlotCalls {
  /** Something is in the slot: function 0. */
  populated(): boolean;
  /** Power for what is in the slot. */
  power(on: boolean): void;
  /** Everything in the slot is taken out. */
  empty(): void;
  /** Events are waiting, or are not any more: the port's interrupt. */
  signal(level: boolean): void;
}

export class ExpressSlot {
  readonly #fn: PciFunction;
  readonly #at: number;
  readonly #options: SlotOptions;
  readonly #calls: SlotCalls;
  #signalled = false;

  /** @param at where the PCI Express capability starts in the function's configuration space */
  constructor(fn: PciFunction, at: number, options: SlotOptions, calls: SlotCalls) {
    this.#fn = fn;
    this.#at = at;
    this.#options = options;
    this.#calls = calls;
    const { number, hotplug, powerController } = options;
    const capabilities =
      ABP |
      AIP |
      PIP |
      EIP |
      (hotplug ? HPS | HPC : 0) |
      (powerController ? PCP : 0) |
      (number << NUMBER_SHIFT);
    fn.setDword(at + SLTCAP, capabilities >>> 0);
    const writable = HPIE | AIC | PIC | EIC | EVENTS | (powerController ? PCC_OFF : 0);
    fn.writeMask.set([writable & 0xff, writable >> 8], at + SLTCTL);
    fn.clearMask[at + SLTSTA] = ALL_EVENTS;
  }

  get #control(): number {
    return this.#fn.word(this.#at + SLTCTL);
  }

  get #status(): number {
    return this.#fn.word(this.#at + SLTSTA);
  }

  #setStatus(status: number): void {
    this.#fn.setWord(this.#at + SLTSTA, status);
  }

  /** Link and presence as they are with something in the slot, or without. Only native hot-plug shows them. */
  #present(present: boolean): void {
    const at = this.#at + LNKSTA;
    this.#setStatus((this.#status & ~PRESENT) | (present ? PRESENT : 0));
    this.#fn.setWord(at, (this.#fn.word(at) & ~LNKSTA_DLLLA) | (present ? LNKSTA_DLLLA : 0));
  }

  /** Power off and its indicator, too: what is in the slot may be taken out (§6.7.1.1.2). */
  static #off(control: number): boolean {
    return (control & PCC_OFF) !== 0 && (control & PIC) === PIC_OFF;
  }

  reset(): void {
    const { powerController } = this.#options;
    const populated = this.#calls.populated();
    const power = powerController ? (populated ? PIC_ON : PIC_OFF | PCC_OFF) : 0;
    this.#fn.setWord(this.#at + SLTCTL, AIC_OFF | power);
    this.#setStatus(this.#status & ~(LOCKED | EVENTS));
    this.#updatePower();
    this.#signalled = false;
    this.#calls.signal(false);
  }

  /** A function was put in while the machine was being made: no event is needed. */
  coldPlugged(): void {
    if (this.#options.native) this.#present(true);
    this.reset();
  }

  /** A function was put in, and the guest is told by ACPI. */
  plugged(): void {
    this.#fn.setWord(this.#at + SLTCTL, this.#control & ~PCC_OFF);
    this.#updatePower();
  }

  /** @throws UsageError with QEMU's text when nothing can be put in */
  checkPlug(port: string): void {
    if (!this.#options.hotplug)
      throw new UsageError(`Hot-plug failed: unsupported by the port device '${port}'`);
    this.#checkLock();
  }

  #checkLock(): void {
    if ((this.#status & LOCKED) !== 0)
      throw new UsageError('slot is electromechanically locked: Device or resource busy');
  }

  /** A function was put in while the machine runs. The guest hears of it when function 0 is there (§6.7.3). */
  plug(): void {
    if (!this.#calls.populated()) return;
    this.#present(true);
    this.#event(PRESENCE_CHANGED | BUTTON);
    this.#updatePower();
  }

  /**
   * The device is to be taken out: at once when the slot is off, otherwise the attention button is pressed.
   * @returns for how many milliseconds the guest is not to be asked again
   * @throws UsageError with QEMU's text
   */
  requestUnplug(port: string): number {
    if (!this.#options.hotplug)
      throw new UsageError(`Hot-unplug failed: unsupported by the port device '${port}'`);
    this.#checkLock();
    if ((this.#control & PIC) === PIC_BLINK)
      throw new UsageError('Hot-unplug failed: guest is busy (power indicator blinking)');
    if (ExpressSlot.#off(this.#control)) {
      this.#empty();
      this.#notify();
    } else {
      this.#event(BUTTON);
    }
    return PATIENCE;
  }

  /** The slot's registers as they are, to be given to `written` after a write of the guest's. */
  get registers(): { readonly control: number; readonly status: number } {
    return { control: this.#control, status: this.#status };
  }

  /** The guest has written to configuration space; `before` is what the registers held. */
  written(offset: number, size: number, value: number, before: { control: number; status: number }): void {
    const covers = (register: number): boolean => offset < register + 2 && offset + size > register;
    const status = this.#at + SLTSTA;
    if (covers(status)) {
      // Guests clear everything at their start. An event that came since they looked must not be lost by that.
      const bits = offset <= status ? value >>> ((status - offset) * 8) : 0;
      if ((bits & ~before.status & ALL_EVENTS) !== 0)
        this.#setStatus((this.#status & ~ALL_EVENTS) | (before.status & ALL_EVENTS));
      this.#notify();
    }
    if (!covers(this.#at + SLTCTL)) return;
    const control = this.#control;
    if ((control & EIC) !== 0) {
      this.#fn.setWord(this.#at + SLTCTL, control & ~EIC);
      this.#setStatus(this.#status ^ LOCKED);
    }
    // A slot that was off already keeps what is in it: guests write that before they switch it on.
    if ((this.#status & PRESENT) !== 0 && ExpressSlot.#off(control) && !ExpressSlot.#off(before.control))
      this.#empty();
    this.#updatePower();
    this.#notify();
    // "Command Completed: set when a hot-plug command has completed" (§7.8.11): all are, at once.
    this.#event(COMMAND_COMPLETED);
  }

  #empty(): void {
    this.#calls.empty();
    this.#present(false);
    this.#setStatus(this.#status | PRESENCE_CHANGED);
  }

  #updatePower(): void {
    if (this.#options.powerController) this.#calls.power((this.#control & PCC_OFF) === 0);
  }

  #event(events: number): void {
    if ((this.#status & events) === events) return;
    this.#setStatus(this.#status | events);
    this.#notify();
  }

  /** "an interrupt is generated when the logical AND of enables and events goes from 0 to 1" (§6.7.3.4). */
  #notify(): void {
    const control = this.#control;
    const level = (control & HPIE) !== 0 && (control & this.#status & EVENTS) !== 0;
    if (level === this.#signalled) return;
    this.#signalled = level;
    this.#calls.signal(level);
  }
}
