/**
 * The MC146818 real-time clock with 128 bytes of battery-backed memory at ports 70h and 71h, as Linux and SeaBIOS
 * expect it under QEMU. The time is the machine clock's wall time plus an offset that changes when a guest sets the
 * clock; update, alarm and periodic interrupts are computed, not ticked. Motorola MC146818A data sheet (1984).
 */
import type { AddressSpace } from '../core/bus.ts';
import type { Clock, Timer } from '../core/clock.ts';
import type { IrqLine } from '../core/irq.ts';
import { byteHandler } from './ports.ts';
import { MIN_PERIOD_NS, nsOfTick, ticksAt } from './ticks.ts';

export const RTC_SECONDS = 0;
export const RTC_SECONDS_ALARM = 1;
export const RTC_MINUTES = 2;
export const RTC_MINUTES_ALARM = 3;
export const RTC_HOURS = 4;
export const RTC_HOURS_ALARM = 5;
export const RTC_DAY_OF_WEEK = 6;
export const RTC_DAY_OF_MONTH = 7;
export const RTC_MONTH = 8;
export const RTC_YEAR = 9;
export const RTC_REG_A = 10;
export const RTC_REG_B = 11;
export const RTC_REG_C = 12;
export const RTC_REG_D = 13;
/** Where PCs keep the century; the FADT names it. PS/2s have it at 37h, which QEMU shows too. */
export const RTC_CENTURY = 0x32;
const RTC_PS2_CENTURY = 0x37;

const REG_A_UIP = 0x80;
const REG_A_RESET_DIVIDER = 0x60;
const REG_B_SET = 0x80;
const REG_B_PIE = 0x40;
const REG_B_AIE = 0x20;
const REG_B_UIE = 0x10;
const REG_B_DM = 0x04;
const REG_B_24H = 0x02;
const REG_C_IRQF = 0x80;
const REG_C_PF = 0x40;
const REG_C_AF = 0x20;
const REG_C_UF = 0x10;
/** Valid RAM and time: the battery is good. */
const REG_D_VRT = 0x80;

const PORT = 0x70;
const PERIODIC_HZ = 32_768;
/** "The update in progress bit ... goes high 244 µs before the update." */
const UIP_MS = 0.244;
/** The registers of a broken-down time, in the order of `fieldsOf`. */
const FIELDS = [
  RTC_SECONDS,
  RTC_MINUTES,
  RTC_HOURS,
  RTC_DAY_OF_MONTH,
  RTC_MONTH,
  RTC_YEAR,
  RTC_CENTURY,
] as readonly number[];
const TIME_REGISTERS = new Set([...FIELDS, RTC_DAY_OF_WEEK]);
/** An alarm register with the two top bits set matches anything. */
const ALARM_ANY = 0xc0;
const DAY_SECONDS = 86_400;

export interface RtcOptions {
  /** What the clock shows at start: UTC, the host's local time, or a fixed time (milliseconds since 1970). */
  readonly base?: 'utc' | 'localtime' | number;
  /** 'host': follows the wall clock; 'vm': the machine's clock, which stands still while the machine does. */
  readonly clock?: 'host' | 'vm';
}

export interface RtcState {
  index: number;
  readonly cmos: Uint8Array;
  /** Milliseconds from the clock source to what the registers show (as if UTC). */
  offset: number;
  /** While the registers are held (SET, or divider in reset): what they hold, by `FIELDS`. */
  held: number[] | undefined;
  /** The last second of the RTC that update and alarm flags are known for. */
  checked: number;
}

export class Rtc {
  state: RtcState;
  /** The guest has set the clock: seconds from what it would have shown. */
  onSet: (seconds: number) => void = () => {};
  readonly #initialOffset: number;
  readonly #clock: Clock;
  readonly #source: () => number;
  readonly #irq: IrqLine;
  #periodic: Timer | undefined;
  #second: Timer | undefined;
  #irqEnabled = true;

  /** @param irq IRQ 8 */
  constructor(ports: AddressSpace, clock: Clock, irq: IrqLine, options: RtcOptions = {}) {
    this.#clock = clock;
    this.#irq = irq;
    this.#source = options.clock === 'vm' ? () => clock.now() / 1e6 : () => clock.wallClock();
    const start = this.#source();
    let shown = clock.wallClock();
    if (typeof options.base === 'number') shown = options.base;
    else if (options.base === 'localtime') shown -= new Date(shown).getTimezoneOffset() * 60_000;
    const cmos = new Uint8Array(128);
    cmos[RTC_REG_A] = 0x26;
    cmos[RTC_REG_B] = REG_B_24H;
    cmos[RTC_REG_D] = REG_D_VRT;
    this.state = {
      index: 0,
      cmos,
      offset: shown - start,
      held: undefined,
      checked: Math.floor(shown / 1000),
    };
    this.#initialOffset = shown - start;
    const registers = {
      read: (offset: number) => (offset === 0 ? 0xff : this.read(this.state.index)),
      write: (offset: number, value: number) => {
        // Bit 7 is the NMI mask of old: there is no NMI behind it.
        if (offset === 0) this.state.index = value & 0x7f;
        else this.write(this.state.index, value);
      },
    };
    ports.add({ name: 'rtc', base: PORT, size: 2, handler: byteHandler(2, registers) });
  }

  /** Machine reset: the battery keeps time and memory; interrupts are off (data sheet, RESET). */
  reset(): void {
    const { cmos } = this.state;
    cmos[RTC_REG_B]! &= ~(REG_B_PIE | REG_B_AIE | REG_B_UIE | 0x08);
    cmos[RTC_REG_C] = 0;
    this.#irq.set(false);
    this.rearm();
  }

  /** False while the HPET's legacy replacement drives IRQ 8 instead. */
  set irqEnabled(enabled: boolean) {
    this.#irqEnabled = enabled;
    this.#update();
  }

  /** What the clock shows, milliseconds since 1970 as if it were UTC. */
  get time(): number {
    return this.state.held === undefined ? this.#source() + this.state.offset : timeOf(this.state.held);
  }

  /** Sets a byte of battery-backed memory, as firmware and set-up do. */
  setCmos(index: number, value: number): void {
    this.state.cmos[index] = value;
  }

  read(register: number): number {
    const { cmos } = this.state;
    const index = register === RTC_PS2_CENTURY ? RTC_CENTURY : register;
    if (TIME_REGISTERS.has(index)) return this.#timeRegister(index);
    switch (index) {
      case RTC_REG_A:
        return (cmos[RTC_REG_A]! & 0x7f) | (this.#updating() ? REG_A_UIP : 0);
      case RTC_REG_C: {
        this.#checkSeconds();
        const flags = cmos[RTC_REG_C]!;
        // "All bits which are high are cleared when the program reads register C."
        cmos[RTC_REG_C] = 0;
        this.#irq.set(false);
        return flags;
      }
      default:
        return cmos[index]!;
    }
  }

  write(register: number, value: number): void {
    const { cmos } = this.state;
    const index = register === RTC_PS2_CENTURY ? RTC_CENTURY : register;
    if (TIME_REGISTERS.has(index)) {
      this.#setTimeRegister(index, value);
      return;
    }
    switch (index) {
      case RTC_REG_A:
        cmos[RTC_REG_A] = value & 0x7f;
        this.#hold();
        break;
      case RTC_REG_B:
        cmos[RTC_REG_B] = (value & REG_B_SET) !== 0 ? value & ~REG_B_UIE : value;
        this.#hold();
        break;
      case RTC_REG_C:
      case RTC_REG_D:
        return;
      default:
        cmos[index] = value;
    }
    this.rearm();
  }

  /** Sets all timers from `state`: after a write that changes them, and after `state` was restored. */
  rearm(): void {
    this.#periodic?.cancel();
    this.#second?.cancel();
    this.#periodic = this.#second = undefined;
    if (this.#periodTicks() > 0 && (this.#b & REG_B_PIE) !== 0) this.#schedulePeriodic();
    if ((this.#b & (REG_B_AIE | REG_B_UIE)) !== 0) this.#scheduleSecond();
    this.#update();
  }

  // -- time registers ------------------------------------------------------------------------------------------

  get #b(): number {
    return this.state.cmos[RTC_REG_B]!;
  }

  #encode(value: number): number {
    return (this.#b & REG_B_DM) !== 0 ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }

  #decode(register: number): number {
    return (this.#b & REG_B_DM) !== 0 ? register : (register >> 4) * 10 + (register & 15);
  }

  #encodeHour(hour: number): number {
    if ((this.#b & REG_B_24H) !== 0) return this.#encode(hour);
    return this.#encode(hour % 12 === 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0);
  }

  #decodeHour(register: number): number {
    if ((this.#b & REG_B_24H) !== 0) return this.#decode(register);
    return (this.#decode(register & 0x7f) % 12) + ((register & 0x80) !== 0 ? 12 : 0);
  }

  #timeRegister(index: number): number {
    if (index === RTC_DAY_OF_WEEK) return this.#encode(new Date(this.time).getUTCDay() + 1);
    const value = (this.state.held ?? fieldsOf(this.time))[FIELDS.indexOf(index)]!;
    return index === RTC_HOURS ? this.#encodeHour(value) : this.#encode(value);
  }

  #setTimeRegister(index: number, register: number): void {
    // The day of the week follows from the date; a guest that keeps another week is not served.
    if (index === RTC_DAY_OF_WEEK) return;
    const fields = this.state.held ?? fieldsOf(this.time);
    fields[FIELDS.indexOf(index)] = index === RTC_HOURS ? this.#decodeHour(register) : this.#decode(register);
    // Held registers are set one by one and may be no date in between (31 February): they count when let go.
    if (this.state.held === undefined) this.#show(timeOf(fields));
    this.rearm();
  }

  #show(time: number): void {
    this.state.offset = time - this.#source();
    this.onSet(Math.round((this.state.offset - this.#initialOffset) / 1000));
    this.state.checked = Math.floor(time / 1000);
  }

  /** Stops the registers while SET is on or the divider is held in reset; lets them run on from there after. */
  #hold(): void {
    const hold =
      (this.#b & REG_B_SET) !== 0 ||
      (this.state.cmos[RTC_REG_A]! & REG_A_RESET_DIVIDER) === REG_A_RESET_DIVIDER;
    if (hold) {
      this.state.held ??= fieldsOf(this.time);
    } else if (this.state.held !== undefined) {
      const time = timeOf(this.state.held);
      this.state.held = undefined;
      this.#show(time);
    }
  }

  #updating(): boolean {
    return this.state.held === undefined && this.time % 1000 >= 1000 - UIP_MS;
  }

  // -- interrupts ----------------------------------------------------------------------------------------------

  /** Ticks of the 32768 Hz base in a period of the periodic interrupt; 0 for none (data sheet, table 5). */
  #periodTicks(): number {
    const rate = this.state.cmos[RTC_REG_A]! & 0x0f;
    if (rate === 0) return 0;
    return 1 << ((rate <= 2 ? rate + 7 : rate) - 1);
  }

  #schedulePeriodic(): void {
    const period = this.#periodTicks();
    const now = this.#clock.now();
    const tick = (Math.floor(ticksAt(now, PERIODIC_HZ) / period) + 1) * period;
    const at = Math.max(nsOfTick(tick, PERIODIC_HZ), now + MIN_PERIOD_NS);
    this.#periodic = this.#clock.schedule(at, () => {
      this.state.cmos[RTC_REG_C]! |= REG_C_PF;
      this.#update();
      this.#schedulePeriodic();
    });
  }

  #scheduleSecond(): void {
    if (this.state.held !== undefined) return;
    const wait = 1000 - (this.time % 1000);
    this.#second = this.#clock.schedule(this.#clock.now() + Math.ceil(wait * 1e6), () => {
      this.#checkSeconds();
      this.#update();
      this.#scheduleSecond();
    });
  }

  /** Sets the update and alarm flags for the seconds that have passed since they were last looked at. */
  #checkSeconds(): void {
    const now = Math.floor(this.time / 1000);
    const { checked, cmos } = this.state;
    if (now === checked) return;
    this.state.checked = now;
    if (now < checked) return;
    cmos[RTC_REG_C]! |= REG_C_UF;
    // An alarm repeats daily at the least: looking at one day of seconds finds it.
    const from = Math.max(checked + 1, now - DAY_SECONDS + 1);
    for (let second = from; second <= now; second++) {
      if (!this.#alarmMatches(second)) continue;
      cmos[RTC_REG_C]! |= REG_C_AF;
      break;
    }
  }

  #alarmMatches(second: number): boolean {
    const inDay = second % DAY_SECONDS;
    const { cmos } = this.state;
    const seconds = cmos[RTC_SECONDS_ALARM]!;
    const minutes = cmos[RTC_MINUTES_ALARM]!;
    const hours = cmos[RTC_HOURS_ALARM]!;
    return (
      (seconds >= ALARM_ANY || this.#decode(seconds) === inDay % 60) &&
      (minutes >= ALARM_ANY || this.#decode(minutes) === Math.floor(inDay / 60) % 60) &&
      (hours >= ALARM_ANY || this.#decodeHour(hours) === Math.floor(inDay / 3600))
    );
  }

  #update(): void {
    const { cmos } = this.state;
    // The enable bits of B stand at the same places as the flags of C.
    const active = (cmos[RTC_REG_C]! & this.#b & (REG_C_PF | REG_C_AF | REG_C_UF)) !== 0;
    if (active) cmos[RTC_REG_C]! |= REG_C_IRQF;
    else cmos[RTC_REG_C]! &= ~REG_C_IRQF;
    this.#irq.set(active && this.#irqEnabled);
  }
}

function fieldsOf(time: number): number[] {
  const date = new Date(time);
  const year = date.getUTCFullYear();
  return [
    date.getUTCSeconds(),
    date.getUTCMinutes(),
    date.getUTCHours(),
    date.getUTCDate(),
    date.getUTCMonth() + 1,
    year % 100,
    Math.floor(year / 100) % 100,
  ];
}

function timeOf(fields: readonly number[]): number {
  const [second, minute, hour, day, month, year, century] = fields as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  date.setUTCFullYear(century * 100 + year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  return date.getTime();
}
