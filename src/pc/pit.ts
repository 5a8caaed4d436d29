/**
 * The 8254 programmable interval timer with its three channels, and port 61h, through which software sees the
 * refresh toggle, gates channel 2 and drives the speaker (which is silent here). Intel 8254 data sheet (1993). Nothing
 * counts down: a channel remembers when it was loaded, and everything else is computed from the clock.
 */
import type { AddressSpace } from '../core/bus.ts';
import type { Clock, Timer } from '../core/clock.ts';
import type { IrqLine } from '../core/irq.ts';
import { byteHandler } from './ports.ts';
import { MIN_PERIOD_NS, nsOfTick, ticksAt } from './ticks.ts';

/** Hz of all three channels: a third of the colour-burst crystal's 14.31818 MHz, divided by four. */
export const PIT_HZ = 1_193_182;

/** Edges that are made up for at most: a host that slept for minutes is not made up for. */
const MOST_OWED = 100;

const PIT_PORT = 0x40;
const SPEAKER_PORT = 0x61;
const CONTROL = 3;

// Control word: channel 7-6, access 5-4, mode 3-1, BCD 0. Channel 3 is the read-back command.
const READ_BACK = 3;
const READ_BACK_NO_COUNT = 0x20;
const READ_BACK_NO_STATUS = 0x10;
const ACCESS_LATCH = 0;
const ACCESS_LOW = 1;
const ACCESS_HIGH = 2;
const ACCESS_WORD = 3;
const STATUS_OUT = 0x80;
const STATUS_NULL_COUNT = 0x40;

// Port 61h.
const SPEAKER_GATE2 = 0x01;
const SPEAKER_DATA = 0x02;
const SPEAKER_REFRESH = 0x10;
const SPEAKER_OUT2 = 0x20;

export interface PitChannelState {
  /** The count register's value: 1 to 65536 (10000 in BCD). */
  count: number;
  mode: number;
  bcd: boolean;
  access: number;
  gate: boolean;
  /** When `count` was loaded (or the gate restarted it), nanoseconds. */
  loadTime: number;
  /** Modes 0 and 4 with a low gate: nanoseconds counted so far. */
  stoppedAfter: number;
  /** False from a control word until the first count is written: the channel does not count. */
  counting: boolean;
  latched: number | undefined;
  latchedStatus: number | undefined;
  /** The next byte read or written is the high one. */
  readHigh: boolean;
  writeHigh: boolean;
  writeLow: number;
}

function initialChannel(index: number): PitChannelState {
  return {
    count: 0x10000,
    mode: 3,
    bcd: false,
    access: ACCESS_WORD,
    gate: index !== 2,
    loadTime: 0,
    stoppedAfter: 0,
    counting: false,
    latched: undefined,
    latchedStatus: undefined,
    readHigh: false,
    writeHigh: false,
    writeLow: 0,
  };
}

export interface PitState {
  readonly channels: PitChannelState[];
  speakerData: boolean;
}

export class Pit {
  state: PitState;
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  #timer: Timer | undefined;
  #irqEnabled = true;
  /** Periods of channel 0 since it was loaded that are dealt with, and how many edges are still to come for them. */
  #counted = 0;
  #owed = 0;

  /** @param irq IRQ 0, driven by the output of channel 0 */
  constructor(ports: AddressSpace, clock: Clock, irq: IrqLine) {
    this.#clock = clock;
    this.#irq = irq;
    this.state = { channels: [0, 1, 2].map(initialChannel), speakerData: false };
    const pit = {
      read: (offset: number) => (offset === CONTROL ? 0 : this.#readCount(this.state.channels[offset]!)),
      write: (offset: number, value: number) => {
        if (offset === CONTROL) this.#control(value);
        else this.#writeCount(offset, value);
      },
    };
    ports.add({ name: 'pit', base: PIT_PORT, size: 4, handler: byteHandler(4, pit) });
    const speaker = {
      read: () => this.#readSpeaker(),
      write: (_: number, v: number) => this.#writeSpeaker(v),
    };
    ports.add({ name: 'pcspk', base: SPEAKER_PORT, size: 1, handler: byteHandler(1, speaker) });
  }

  reset(): void {
    this.state = { channels: [0, 1, 2].map(initialChannel), speakerData: false };
    this.#schedule();
  }

  /** False while the HPET's legacy replacement drives IRQ 0 instead. */
  set irqEnabled(enabled: boolean) {
    this.#irqEnabled = enabled;
    this.#schedule();
  }

  /** Level of a channel's OUT pin now. */
  output(channel: number): boolean {
    return outputAt(this.state.channels[channel]!, this.#clock.now());
  }

  /** To be called after `state` was replaced by a snapshot's. */
  rearm(): void {
    this.#schedule();
  }

  // -- registers -----------------------------------------------------------------------------------------------

  #control(value: number): void {
    const channel = value >> 6;
    if (channel === READ_BACK) {
      for (let index = 0; index < 3; index++) {
        if ((value & (2 << index)) === 0) continue;
        const c = this.state.channels[index]!;
        if ((value & READ_BACK_NO_COUNT) === 0) this.#latch(c);
        // "If both count and status of a counter are latched, the first read returns the status" (read-back).
        if ((value & READ_BACK_NO_STATUS) === 0 && c.latchedStatus === undefined)
          c.latchedStatus = this.#status(c);
      }
      return;
    }
    const c = this.state.channels[channel]!;
    const access = (value >> 4) & 3;
    if (access === ACCESS_LATCH) {
      this.#latch(c);
      return;
    }
    const mode = (value >> 1) & 7;
    Object.assign(c, initialChannel(channel), {
      access,
      // "X10" and "X11" are modes 2 and 3.
      mode: mode > 5 ? mode - 4 : mode,
      bcd: (value & 1) !== 0,
      gate: c.gate,
    });
    if (channel === 0) this.#schedule();
  }

  #status(c: PitChannelState): number {
    return (
      (outputAt(c, this.#clock.now()) ? STATUS_OUT : 0) |
      (c.counting ? 0 : STATUS_NULL_COUNT) |
      (c.access << 4) |
      (c.mode << 1) |
      (c.bcd ? 1 : 0)
    );
  }

  #latch(c: PitChannelState): void {
    // "If a counter is latched and then latched again before the count is read, the second command is ignored."
    c.latched ??= toRegister(c, countAt(c, this.#clock.now()));
  }

  #readCount(c: PitChannelState): number {
    if (c.latchedStatus !== undefined) {
      const status = c.latchedStatus;
      c.latchedStatus = undefined;
      return status;
    }
    const value = c.latched ?? toRegister(c, countAt(c, this.#clock.now()));
    if (c.access !== ACCESS_WORD) {
      c.latched = undefined;
      return c.access === ACCESS_LOW ? value & 0xff : value >> 8;
    }
    const high = c.readHigh;
    c.readHigh = !high;
    if (high) c.latched = undefined;
    return high ? value >> 8 : value & 0xff;
  }

  #writeCount(index: number, value: number): void {
    const c = this.state.channels[index]!;
    switch (c.access) {
      case ACCESS_LOW:
        this.#load(index, value);
        break;
      case ACCESS_HIGH:
        this.#load(index, value << 8);
        break;
      default:
        if (c.writeHigh) this.#load(index, c.writeLow | (value << 8));
        else c.writeLow = value;
        c.writeHigh = !c.writeHigh;
    }
  }

  #load(index: number, register: number): void {
    const c = this.state.channels[index]!;
    const value = c.bcd ? fromBcd(register) : register;
    // "A count of 0 is 65536 for binary and 10000 for BCD counting."
    c.count = value === 0 ? (c.bcd ? 10000 : 0x10000) : value;
    c.loadTime = this.#clock.now();
    c.stoppedAfter = 0;
    // Modes 1 and 5 wait for the gate's rising edge.
    c.counting = c.mode !== 1 && c.mode !== 5;
    if (index === 0) this.#schedule();
  }

  #setGate(c: PitChannelState, gate: boolean): void {
    if (gate === c.gate) return;
    const now = this.#clock.now();
    if (c.mode === 0 || c.mode === 4) {
      // A low gate stops the count where it is, a high one lets it go on.
      if (gate) c.loadTime = now - c.stoppedAfter;
      else c.stoppedAfter = now - c.loadTime;
    } else if (gate) {
      // A rising gate (re)starts it.
      c.loadTime = now;
      c.counting = true;
    }
    c.gate = gate;
  }

  #readSpeaker(): number {
    const c = this.state.channels[2]!;
    // The refresh bit toggles every 15.08 microseconds; some BIOSes time short delays by it.
    const refresh = Math.floor(this.#clock.now() / 15085) & 1;
    return (
      (c.gate ? SPEAKER_GATE2 : 0) |
      (this.state.speakerData ? SPEAKER_DATA : 0) |
      (refresh !== 0 ? SPEAKER_REFRESH : 0) |
      (this.output(2) ? SPEAKER_OUT2 : 0)
    );
  }

  #writeSpeaker(value: number): void {
    this.state.speakerData = (value & SPEAKER_DATA) !== 0;
    this.#setGate(this.state.channels[2]!, (value & SPEAKER_GATE2) !== 0);
  }

  // -- IRQ 0 ---------------------------------------------------------------------------------------------------

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const c = this.state.channels[0]!;
    const now = this.#clock.now();
    if (!this.#irqEnabled) {
      this.#irq.set(false);
      return;
    }
    this.#irq.set(outputAt(c, now));
    this.#owed = 0;
    this.#counted = Math.floor(ticksAt(now - c.loadTime, PIT_HZ) / c.count);
    const next = nextChange(c, now);
    if (next === undefined) return;
    this.#timer = this.#clock.schedule(next, () => this.#fire());
  }

  #fire(): void {
    const c = this.state.channels[0]!;
    if (!isPeriodic(c)) {
      this.#schedule();
      return;
    }
    // A rising edge for each period that ended. OUT is low for only one tick in mode 2, so the edge is made here.
    this.#irq.set(false);
    this.#irq.set(true);
    const now = this.#clock.now();
    const period = c.count;
    const periods = Math.floor(ticksAt(now - c.loadTime, PIT_HZ) / period);
    // When a busy host lets us come late, the missed ones follow soon, one by one, as QEMU's lost_tick_policy=delay has
    // it: Linux decides by five of them within a few milliseconds of its own whether the timer is connected.
    const length = nsOfTick(period, PIT_HZ);
    const ended = this.#owed + periods - this.#counted;
    this.#owed = length < 2 * MIN_PERIOD_NS ? 0 : Math.max(0, Math.min(ended, MOST_OWED + 1) - 1);
    this.#counted = periods;
    const nextTick = c.loadTime + nsOfTick((periods + 1) * period, PIT_HZ);
    const soon = this.#owed > 0 ? Math.min(nextTick, now + length / 8) : nextTick;
    const next = Math.max(soon, now + MIN_PERIOD_NS);
    this.#timer = this.#clock.schedule(next, () => this.#fire());
  }
}

function isPeriodic(c: PitChannelState): boolean {
  return c.mode === 2 || c.mode === 3;
}

function fromBcd(register: number): number {
  let value = 0;
  for (let shift = 12; shift >= 0; shift -= 4) value = value * 10 + ((register >> shift) & 15);
  return value;
}

/** A count as software reads it: 16 bits, or four decimal digits. */
function toRegister(c: PitChannelState, count: number): number {
  if (!c.bcd) return count & 0xffff;
  let rest = count % 10000;
  let register = 0;
  for (let shift = 0; shift < 16; shift += 4) {
    register |= (rest % 10) << shift;
    rest = Math.floor(rest / 10);
  }
  return register;
}

function elapsedTicks(c: PitChannelState, now: number): number {
  if (!c.counting) return 0;
  const stopped = !c.gate && (c.mode === 0 || c.mode === 4);
  return ticksAt(stopped ? c.stoppedAfter : now - c.loadTime, PIT_HZ);
}

function countAt(c: PitChannelState, now: number): number {
  const ticks = elapsedTicks(c, now);
  const wrap = c.bcd ? 10000 : 0x10000;
  switch (c.mode) {
    case 2:
      return c.count - (ticks % c.count);
    case 3:
      // Mode 3 counts down by two, twice in each period.
      return c.count - ((2 * ticks) % c.count);
    default:
      return (((c.count - ticks) % wrap) + wrap) % wrap;
  }
}

function outputAt(c: PitChannelState, now: number): boolean {
  if (!c.counting) return c.mode !== 0;
  const ticks = elapsedTicks(c, now);
  switch (c.mode) {
    case 0:
      return ticks >= c.count;
    case 1:
      return ticks >= c.count;
    case 2:
      // Low during the last tick of each period.
      return !c.gate || ticks % c.count !== c.count - 1;
    case 3:
      return !c.gate || ticks % c.count < (c.count + 1) >> 1;
    default:
      // Strobes: low for the one tick in which the count reaches 0.
      return ticks !== c.count;
  }
}

/** When channel 0's interrupt line changes next: the end of the period (2, 3), or the one change of the others. */
function nextChange(c: PitChannelState, now: number): number | undefined {
  if (!c.counting) return undefined;
  const ticks = elapsedTicks(c, now);
  const at = (tick: number): number => c.loadTime + nsOfTick(tick, PIT_HZ);
  if (isPeriodic(c)) return at((Math.floor(ticks / c.count) + 1) * c.count);
  if (ticks < c.count) return at(c.count);
  if (c.mode >= 4 && ticks < c.count + 1) return at(c.count + 1);
  return undefined;
}
