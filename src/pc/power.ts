/**
 * The ACPI fixed hardware of the PIIX4 and ICH9: PM1 event and control registers, PM timer, GPE0, and the APM ports
 * that switch ACPI mode on. ACPI 6.4 §4.8. Where the registers stand is the chipset's business (PMBASE).
 */
import type { AccessSize, AddressSpace, IoHandler } from '../core/bus.ts';
import type { Clock, Timer } from '../core/clock.ts';
import type { IrqLine } from '../core/irq.ts';
import type { Tracer } from '../core/trace.ts';
import { byteHandler } from './ports.ts';
import { nsOfTick, ticksAt } from './ticks.ts';

export const PM_TIMER_HZ = 3_579_545;
const APM_PORT = 0xb2;

const PM1_STATUS = 0;
const PM1_ENABLE = 2;
const PM1_CONTROL = 4;
const PM_TIMER = 8;

/** Bits of PM1 status and enable. */
const TMR = 0x0001;
const PWRBTN = 0x0100;
const SLPBTN = 0x0200;
const RTC = 0x0400;
const WAK = 0x8000;
const SCI_SOURCES = TMR | 0x0020 | PWRBTN | SLPBTN | RTC;
const STATUS_BITS = SCI_SOURCES | WAK | 0x0010;

const SCI_EN = 0x0001;
const SLP_EN = 0x2000;
const SLP_TYP_SHIFT = 10;

const SLEEP_S5 = 0;
const SLEEP_S3 = 1;

const TIMER_MASK = 0xffffff;
/** TMR_STS is set whenever the most significant bit of the 24 changes. */
const TIMER_HALF = 0x800000;

export interface PowerState {
  status: number;
  enable: number;
  control: number;
  /** Ticks at which the timer's top bit changes next, for which TMR_STS is not yet set. */
  nextOverflow: number;
  /** One byte per eight events. */
  readonly gpeStatus: Uint8Array;
  readonly gpeEnable: Uint8Array;
  apmControl: number;
  apmData: number;
}

export class PowerManagement {
  state: PowerState;
  /** PM1 and PM timer, 12 bytes from the base. */
  readonly pm1: IoHandler;
  /** GPE0: status bytes, then enable bytes. */
  readonly gpe0: IoHandler;
  readonly #clock: Clock;
  readonly #sci: IrqLine;
  readonly #tracer: Tracer;
  readonly #onPowerOff: () => void;
  readonly #gpeBytes: number;
  readonly #enableValue: number;
  readonly #disableValue: number;
  #timer: Timer | undefined;

  constructor(options: {
    readonly ports: AddressSpace;
    readonly clock: Clock;
    readonly tracer: Tracer;
    readonly sci: IrqLine;
    /** Length of the GPE0 block, bytes. */
    readonly gpe0Length: number;
    /** What the APM control port takes for "ACPI mode on" and "off". */
    readonly acpiEnable: number;
    readonly acpiDisable: number;
    readonly onPowerOff: () => void;
  }) {
    this.#clock = options.clock;
    this.#sci = options.sci;
    this.#tracer = options.tracer;
    this.#onPowerOff = options.onPowerOff;
    this.#gpeBytes = options.gpe0Length / 2;
    this.#enableValue = options.acpiEnable;
    this.#disableValue = options.acpiDisable;
    this.state = this.#initialState();
    this.pm1 = {
      read: (offset, size) => this.#readPm1(offset, size),
      write: (offset, size, value) => {
        for (let i = 0; i < size; i++) this.#writePm1(offset + i, (value >>> (i * 8)) & 0xff);
      },
    };
    this.gpe0 = byteHandler(options.gpe0Length, {
      read: (offset) => this.#readGpe(offset),
      write: (offset, value) => this.#writeGpe(offset, value),
    });
    const apm = {
      read: (offset: number) => (offset === 0 ? this.state.apmControl : this.state.apmData),
      write: (offset: number, value: number) => {
        if (offset === 0) this.#writeApm(value);
        else this.state.apmData = value;
      },
    };
    options.ports.add({ name: 'apm-io', base: APM_PORT, size: 2, handler: byteHandler(2, apm) });
  }

  #initialState(): PowerState {
    return {
      status: 0,
      enable: 0,
      control: 0,
      nextOverflow: this.#overflowAfter(this.#ticks),
      gpeStatus: new Uint8Array(this.#gpeBytes),
      gpeEnable: new Uint8Array(this.#gpeBytes),
      apmControl: 0,
      apmData: 0,
    };
  }

  reset(): void {
    this.state = this.#initialState();
    this.#update();
  }

  /** To be called after `state` was replaced by a snapshot's. */
  rearm(): void {
    this.#update();
  }

  /** The power button was pressed: a guest in ACPI mode shuts down. */
  powerButton(): void {
    this.state.status |= PWRBTN;
    this.#update();
  }

  /** A general-purpose event (bit `event` of GPE0) happened; the guest clears it. */
  raiseGpe(event: number): void {
    this.state.gpeStatus[event >> 3]! |= 1 << (event & 7);
    this.#update();
  }

  /** True once the guest has switched to ACPI mode. */
  get acpiMode(): boolean {
    return (this.state.control & SCI_EN) !== 0;
  }

  get #ticks(): number {
    return ticksAt(this.#clock.now(), PM_TIMER_HZ);
  }

  #overflowAfter(ticks: number): number {
    return (Math.floor(ticks / TIMER_HALF) + 1) * TIMER_HALF;
  }

  // -- PM1 and timer -------------------------------------------------------------------------------------------

  #readPm1(offset: number, size: AccessSize): number {
    const aligned = offset & ~3;
    let value = 0;
    if (aligned === PM1_STATUS) {
      this.#checkTimer();
      value = this.state.status | (this.state.enable << 16);
    } else if (aligned === PM1_CONTROL) {
      value = this.state.control;
    } else if (aligned === PM_TIMER) {
      value = this.#ticks & TIMER_MASK;
    }
    value >>>= (offset & 3) * 8;
    return size === 4 ? value >>> 0 : value & ((1 << (size * 8)) - 1);
  }

  #writePm1(offset: number, byte: number): void {
    const s = this.state;
    const shift = (offset & 1) * 8;
    const bits = byte << shift;
    const keep = ~(0xff << shift);
    switch (offset & ~1) {
      case PM1_STATUS:
        this.#checkTimer();
        s.status &= ~(bits & STATUS_BITS);
        break;
      case PM1_ENABLE:
        s.enable = ((s.enable & keep) | bits) & SCI_SOURCES;
        break;
      case PM1_CONTROL:
        s.control = ((s.control & keep) | bits) & ~SLP_EN;
        // "SLP_EN is a write-only bit; setting it starts the transition to the SLP_TYP state" (§4.8.3.2.1).
        if ((bits & SLP_EN) !== 0) this.#sleep((s.control >> SLP_TYP_SHIFT) & 7);
        return;
      default:
        return;
    }
    this.#update();
  }

  #sleep(type: number): void {
    if (type === SLEEP_S5) this.#onPowerOff();
    else if (type === SLEEP_S3) this.#tracer.warn('acpi', 'suspend to RAM (S3) is not implemented');
    else this.#tracer.warn('acpi', `sleep type ${type} is not implemented`);
  }

  /** Sets TMR_STS for each change of the timer's top bit that has passed. */
  #checkTimer(): void {
    const ticks = this.#ticks;
    if (ticks < this.state.nextOverflow) return;
    this.state.status |= TMR;
    this.state.nextOverflow = this.#overflowAfter(ticks);
  }

  #update(): void {
    const s = this.state;
    this.#checkTimer();
    const events = (s.status & s.enable & SCI_SOURCES) !== 0;
    this.#sci.set(events || s.gpeStatus.some((bits, i) => (bits & s.gpeEnable[i]!) !== 0));
    this.#timer?.cancel();
    this.#timer = undefined;
    // Without TMR_EN the overflow is only looked for when somebody reads.
    if ((s.enable & TMR) === 0 || (s.status & TMR) !== 0) return;
    const at = nsOfTick(s.nextOverflow, PM_TIMER_HZ);
    this.#timer = this.#clock.schedule(at, () => this.#update());
  }

  // -- GPE0 and APM ----------------------------------------------------------------------------------------------

  #readGpe(offset: number): number {
    const { gpeStatus, gpeEnable } = this.state;
    return offset < this.#gpeBytes ? gpeStatus[offset]! : gpeEnable[offset - this.#gpeBytes]!;
  }

  #writeGpe(offset: number, value: number): void {
    const { gpeStatus, gpeEnable } = this.state;
    if (offset < this.#gpeBytes) gpeStatus[offset]! &= ~value;
    else gpeEnable[offset - this.#gpeBytes] = value;
    this.#update();
  }

  #writeApm(value: number): void {
    this.state.apmControl = value;
    // What an SMI handler would do: there is none, so the switch happens here.
    if (value === this.#enableValue) this.state.control |= SCI_EN;
    else if (value === this.#disableValue) this.state.control &= ~SCI_EN;
  }
}
