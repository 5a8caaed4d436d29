/**
 * A local APIC in xAPIC and x2APIC mode: priorities, acceptance and acknowledgement of interrupts, LVT, timer, errors
 * and interprocessor interrupts, and the 8259 pair on LINT0. The processor asks it for vectors; devices reach it
 * through `ApicBus`. Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller (APIC)".
 */
import type { Clock } from '../../core/clock.ts';
import type { Tracer } from '../../core/trace.ts';
import { type ApicBus, type ApicMessage, type ApicReceiver, DELIVERY } from './messages.ts';
import * as r from './registers.ts';
import { ApicTimer } from './timer.ts';

/** What the local APIC does to its processor. */
export interface ApicProcessor {
  /** Level of the interrupt request (`CpuInterface.setInterrupt`). */
  setInterrupt(level: boolean): void;
  nmi(): void;
  /** INIT and start-up messages of other processors; absent where there is only one. */
  init?(): void;
  startup?(vector: number): void;
}

/** The 8259 pair as LINT0 sees it. */
export interface ExtIntSource {
  readonly intr: boolean;
  acknowledge(): number;
}

export interface LocalApicState {
  /** IA32_APIC_BASE. */
  baseLow: number;
  baseHigh: number;
  id: number;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  esr: number;
  /** Errors since the last write to ESR. */
  errors: number;
  icrLow: number;
  icrHigh: number;
  readonly isr: Uint32Array;
  readonly tmr: Uint32Array;
  readonly irr: Uint32Array;
  readonly lvt: Uint32Array;
  lint0: boolean;
  lint1: boolean;
}

const PHYSICAL_BITS = 40;

export class LocalApic implements ApicReceiver {
  state: LocalApicState;
  readonly timer: ApicTimer;
  readonly #initialId: number;
  readonly #bus: ApicBus;
  readonly #cpu: ApicProcessor;
  readonly #pic: ExtIntSource | undefined;
  readonly #tracer: Tracer;
  #level = false;

  constructor(options: {
    readonly id: number;
    readonly bus: ApicBus;
    readonly cpu: ApicProcessor;
    readonly clock: Clock;
    readonly tracer: Tracer;
    /** On the boot processor only. */
    readonly pic?: ExtIntSource;
    /** The processor's TSC; the clock's nanoseconds unless given. */
    readonly readTsc?: () => number;
  }) {
    this.#initialId = options.id;
    this.#bus = options.bus;
    this.#cpu = options.cpu;
    this.#pic = options.pic;
    this.#tracer = options.tracer;
    const { clock } = options;
    this.timer = new ApicTimer(clock, options.readTsc ?? (() => clock.now()), () => this.#deliverLvt(0));
    this.state = this.#initialState();
    options.bus.receivers.push(this);
  }

  #initialState(): LocalApicState {
    const lvt = new Uint32Array(6).fill(r.LVT_MASKED);
    // Firmware leaves LINT0 of the boot processor as ExtINT ("virtual wire mode"), so that the 8259 pair works
    // before an operating system knows of APICs.
    if (this.#pic !== undefined) lvt[r.APIC_LVT_LINT0 - r.APIC_LVT_TIMER] = DELIVERY.extInt << 8;
    return {
      baseLow: 0xfee00000 | r.BASE_ENABLE | (this.#pic !== undefined ? r.BASE_BSP : 0),
      baseHigh: 0,
      id: this.#initialId,
      tpr: 0,
      ldr: 0,
      dfr: 0xffffffff,
      svr: 0xff,
      esr: 0,
      errors: 0,
      icrLow: 0,
      icrHigh: 0,
      isr: new Uint32Array(8),
      tmr: new Uint32Array(8),
      irr: new Uint32Array(8),
      lvt,
      lint0: false,
      lint1: false,
    };
  }

  /** Power-on reset. */
  reset(): void {
    const { lint0, lint1 } = this.state;
    this.state = { ...this.#initialState(), lint0, lint1 };
    this.timer.reset();
    this.update();
  }

  get enabled(): boolean {
    return (this.state.baseLow & r.BASE_ENABLE) !== 0;
  }

  get x2apic(): boolean {
    return (this.state.baseLow & r.BASE_EXTD) !== 0;
  }

  get #softwareEnabled(): boolean {
    return this.enabled && (this.state.svr & r.SVR_ENABLE) !== 0;
  }

  // -- towards the processor -----------------------------------------------------------------------------------

  /** The vector to take now, or -1 when there is none after all. */
  acknowledgeInterrupt(): number {
    const vector = this.#deliverable();
    if (vector >= 0) {
      clearBit(this.state.irr, vector);
      setBit(this.state.isr, vector);
      this.update();
      return vector;
    }
    if (!this.#extIntPending()) return -1;
    const external = this.#pic!.acknowledge();
    this.update();
    return external;
  }

  readCr8(): number {
    return this.state.tpr >> 4;
  }

  writeCr8(value: number): void {
    this.state.tpr = (value & 15) << 4;
    this.update();
  }

  /** Recomputes the interrupt request to the processor. */
  update(): void {
    const level = this.#deliverable() >= 0 || this.#extIntPending();
    if (level === this.#level) return;
    this.#level = level;
    this.#cpu.setInterrupt(level);
  }

  /** The request that may interrupt now: its class is above the processor priority's. */
  #deliverable(): number {
    if (!this.#softwareEnabled) return -1;
    const request = highest(this.state.irr);
    return request >= 0 && request >> 4 > this.priority >> 4 ? request : -1;
  }

  #extIntPending(): boolean {
    const pic = this.#pic;
    if (pic === undefined || !pic.intr) return false;
    // With the APIC disabled in IA32_APIC_BASE, LINT0 is the processor's INTR pin (SDM, "Enabling or Disabling").
    if (!this.enabled) return true;
    const lint0 = this.state.lvt[3]!;
    return (lint0 & r.LVT_MASKED) === 0 && ((lint0 >> 8) & 7) === DELIVERY.extInt;
  }

  /** The processor priority register: the higher of TPR and the highest vector in service (SDM, PPR). */
  get priority(): number {
    const inService = Math.max(0, highest(this.state.isr));
    const { tpr } = this.state;
    return tpr >> 4 >= inService >> 4 ? tpr : inService & 0xf0;
  }

  // -- from other controllers ----------------------------------------------------------------------------------

  matches(message: ApicMessage): boolean {
    if (!this.enabled) return false;
    const { destination } = message;
    const s = this.state;
    if (destination === (message.wide === true ? 0xffffffff : 0xff)) return true;
    if (!message.logical) return destination === s.id;
    if (this.x2apic) {
      // An 8-bit logical destination (MSI, I/O APIC) reaches cluster 0.
      return destination >>> 16 === s.ldr >>> 16 && (destination & s.ldr & 0xffff) !== 0;
    }
    const own = s.ldr >>> 24;
    // Flat model, or clusters of four (SDM, "Logical Destination Mode").
    if (s.dfr >>> 28 === 0xf) return (own & destination) !== 0;
    return own >> 4 === (destination & 0xff) >> 4 && (own & destination & 0x0f) !== 0;
  }

  receive(message: ApicMessage): void {
    switch (message.delivery) {
      case DELIVERY.fixed:
      case DELIVERY.lowestPriority:
        this.#accept(message.vector, message.level);
        break;
      case DELIVERY.nmi:
        this.#cpu.nmi();
        break;
      case DELIVERY.init:
        this.#cpu.init?.();
        break;
      case DELIVERY.startup:
        this.#cpu.startup?.(message.vector);
        break;
      default:
        this.#tracer.warn('apic', `delivery mode ${message.delivery} is not implemented`);
    }
  }

  /** LINT0: the output of the 8259 pair. */
  setLint0(level: boolean): void {
    const rising = level && !this.state.lint0;
    this.state.lint0 = level;
    const mode = (this.state.lvt[3]! >> 8) & 7;
    // As a fixed or NMI source it is an edge; as ExtINT it is looked at through `intr`.
    if (rising && this.enabled && mode !== DELIVERY.extInt) this.#deliverLvt(3);
    this.update();
  }

  /** LINT1: the NMI button. */
  setLint1(level: boolean): void {
    const rising = level && !this.state.lint1;
    this.state.lint1 = level;
    if (rising) this.#deliverLvt(4);
  }

  #accept(vector: number, level: boolean): void {
    // "Vectors 0 to 15 are illegal" (SDM, "Valid Interrupt Vectors").
    if (vector < 16) {
      this.#error(r.ESR_RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    // While disabled by software, messages are not accepted ("Local APIC State After It Has Been Software Disabled").
    if (!this.#softwareEnabled) return;
    setBit(this.state.irr, vector);
    if (level) setBit(this.state.tmr, vector);
    else clearBit(this.state.tmr, vector);
    this.update();
  }

  #deliverLvt(index: number): void {
    const entry = this.state.lvt[index]!;
    if ((entry & r.LVT_MASKED) !== 0 || !this.enabled) return;
    const delivery = (entry >> 8) & 7;
    // Timer and error entries have no delivery mode: the bits are zero, which is fixed.
    if (delivery === DELIVERY.fixed) this.#accept(entry & 0xff, (entry & r.LVT_LEVEL) !== 0 && index === 3);
    else if (delivery === DELIVERY.nmi) this.#cpu.nmi();
    else if (delivery !== DELIVERY.extInt) this.#tracer.warn('apic', `LVT delivery mode ${delivery}`);
  }

  #error(bit: number): void {
    this.state.errors |= bit;
    const entry = this.state.lvt[5]!;
    // A bad vector in the error entry itself is not reported again, or it would never end.
    if ((entry & r.LVT_MASKED) === 0 && (entry & 0xff) >= 16) this.#deliverLvt(5);
  }

  // -- registers -----------------------------------------------------------------------------------------------

  /** @param index the register's offset in the page / 16 */
  readRegister(index: number): number {
    const s = this.state;
    if (index >= r.APIC_ISR && index < r.APIC_ESR) {
      const bits = index < r.APIC_TMR ? s.isr : index < r.APIC_IRR ? s.tmr : s.irr;
      return bits[index & 7]!;
    }
    if (index >= r.APIC_LVT_TIMER && index <= r.APIC_LVT_ERROR) return s.lvt[index - r.APIC_LVT_TIMER]!;
    switch (index) {
      case r.APIC_ID:
        return this.x2apic ? s.id : (s.id << 24) >>> 0;
      case r.APIC_VERSION:
        return r.APIC_VERSION_VALUE;
      case r.APIC_TPR:
        return s.tpr;
      case r.APIC_APR:
      case r.APIC_PPR:
        return this.priority;
      case r.APIC_EOI:
        return 0;
      case r.APIC_LDR:
        return s.ldr;
      case r.APIC_DFR:
        return s.dfr;
      case r.APIC_SVR:
        return s.svr;
      case r.APIC_ESR:
        return s.esr;
      case r.APIC_ICR_LOW:
        return s.icrLow;
      case r.APIC_ICR_HIGH:
        return s.icrHigh;
      case r.APIC_INITIAL_COUNT:
        return this.timer.state.initialCount;
      case r.APIC_CURRENT_COUNT:
        return this.timer.currentCount;
      case r.APIC_DIVIDE:
        return this.timer.state.divide;
      default:
        this.#error(r.ESR_ILLEGAL_REGISTER);
        return 0;
    }
  }

  writeRegister(index: number, value: number): void {
    const s = this.state;
    if (index >= r.APIC_LVT_TIMER && index <= r.APIC_LVT_ERROR) {
      this.#writeLvt(index - r.APIC_LVT_TIMER, value);
      return;
    }
    switch (index) {
      case r.APIC_ID:
        if (!this.x2apic) s.id = value >>> 24;
        break;
      case r.APIC_TPR:
        s.tpr = value & 0xff;
        this.update();
        break;
      case r.APIC_EOI:
        this.#endOfInterrupt();
        break;
      case r.APIC_LDR:
        s.ldr = (value & 0xff000000) >>> 0;
        break;
      case r.APIC_DFR:
        s.dfr = (value | 0x0fffffff) >>> 0;
        break;
      case r.APIC_SVR:
        this.#writeSvr(value);
        break;
      case r.APIC_ESR:
        // "A write (of any value) to the ESR must be done to update the register before reading it."
        s.esr = s.errors;
        s.errors = 0;
        break;
      case r.APIC_ICR_LOW:
        s.icrLow = (value & ~r.ICR_PENDING) >>> 0;
        this.#sendIpi();
        break;
      case r.APIC_ICR_HIGH:
        s.icrHigh = value;
        break;
      case r.APIC_INITIAL_COUNT:
        this.timer.initialCount = value;
        break;
      case r.APIC_DIVIDE:
        this.timer.divide = value;
        break;
      case r.APIC_VERSION:
      case r.APIC_PPR:
      case r.APIC_CURRENT_COUNT:
        break;
      default:
        this.#error(r.ESR_ILLEGAL_REGISTER);
    }
  }

  #writeSvr(value: number): void {
    const s = this.state;
    s.svr = value & r.SVR_WRITABLE;
    // "All LVT entries ... are set to the masked state" while the APIC is software-disabled.
    if ((s.svr & r.SVR_ENABLE) === 0) for (let i = 0; i < 6; i++) s.lvt[i]! |= r.LVT_MASKED;
    this.update();
  }

  #writeLvt(index: number, value: number): void {
    const s = this.state;
    let entry = value & r.LVT_WRITABLE[index]!;
    if ((s.svr & r.SVR_ENABLE) === 0) entry |= r.LVT_MASKED;
    s.lvt[index] = entry;
    if (index === 0) {
      const mode = entry & r.LVT_TIMER_MODE;
      this.timer.mode =
        mode === r.TIMER_TSC_DEADLINE ? 'deadline' : mode === r.TIMER_PERIODIC ? 'periodic' : 'one-shot';
    }
    // A LINT0 that was high while masked delivers when it becomes a fixed entry.
    if (index === 3 && s.lint0 && ((entry >> 8) & 7) === DELIVERY.fixed) this.#deliverLvt(3);
    this.update();
  }

  #endOfInterrupt(): void {
    const s = this.state;
    const vector = highest(s.isr);
    if (vector < 0) return;
    clearBit(s.isr, vector);
    if (testBit(s.tmr, vector)) this.#bus.broadcastEoi(vector);
    this.update();
  }

  #sendIpi(): void {
    const { icrLow, icrHigh } = this.state;
    const delivery = (icrLow >> 8) & 7;
    const vector = icrLow & 0xff;
    // INIT level de-assert does nothing on processors after the Pentium (SDM, ICR, level).
    if (delivery === DELIVERY.init && (icrLow & r.ICR_ASSERT) === 0) return;
    if ((delivery === DELIVERY.fixed || delivery === DELIVERY.lowestPriority) && vector < 16) {
      this.#error(r.ESR_SEND_ILLEGAL_VECTOR);
      return;
    }
    const message: ApicMessage = {
      destination: this.x2apic ? icrHigh : icrHigh >>> 24,
      wide: this.x2apic,
      logical: (icrLow & r.ICR_LOGICAL) !== 0,
      delivery,
      vector,
      // Interprocessor interrupts are edges whatever the trigger bit says, but for INIT.
      level: false,
    };
    const shorthand = (icrLow >> 18) & 3;
    if (shorthand === 0) this.#bus.deliver(message);
    else if (shorthand === 1) this.receive(message);
    else {
      for (const receiver of this.#bus.receivers) {
        if (shorthand === 2 || receiver !== this) receiver.receive(message);
      }
    }
  }

  // -- model-specific registers ----------------------------------------------------------------------------------

  /** IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC registers; undefined for one that does not exist now. */
  readMsr(index: number): { low: number; high: number } | undefined {
    const s = this.state;
    if (index === r.MSR_APIC_BASE) return { low: s.baseLow >>> 0, high: s.baseHigh };
    if (index === r.MSR_TSC_DEADLINE) {
      const { deadlineLow, deadlineHigh } = this.timer.state;
      return { low: deadlineLow, high: deadlineHigh };
    }
    const register = this.#x2apicRegister(index);
    if (register === undefined || register === r.APIC_EOI || register === r.APIC_SELF_IPI) return undefined;
    if (register === r.APIC_ICR_LOW) return { low: s.icrLow, high: s.icrHigh };
    return { low: this.readRegister(register) >>> 0, high: 0 };
  }

  /** False when the write must raise #GP. */
  writeMsr(index: number, low: number, high: number): boolean {
    if (index === r.MSR_APIC_BASE) return this.#writeBase(low >>> 0, high >>> 0);
    if (index === r.MSR_TSC_DEADLINE) {
      this.timer.setDeadline(low >>> 0, high >>> 0);
      return true;
    }
    const register = this.#x2apicRegister(index);
    if (register === undefined || isReadOnlyX2apic(register)) return false;
    if (register === r.APIC_ICR_LOW) {
      this.state.icrHigh = high >>> 0;
      this.writeRegister(register, low >>> 0);
      return true;
    }
    if (high !== 0) return false;
    // "A write of a non-zero value causes #GP" (SDM, x2APIC register address space: EOI and ESR).
    if ((register === r.APIC_EOI || register === r.APIC_ESR) && low !== 0) return false;
    if (register === r.APIC_SELF_IPI) {
      if (low >>> 8 !== 0) return false;
      this.#accept(low & 0xff, false);
      return true;
    }
    this.writeRegister(register, low >>> 0);
    return true;
  }

  /** The register behind MSR `index`, if there is one and x2APIC mode is on. DFR and the upper ICR have none. */
  #x2apicRegister(index: number): number | undefined {
    if (!this.x2apic || index < r.MSR_X2APIC_FIRST || index > r.MSR_X2APIC_LAST) return undefined;
    const register = index - r.MSR_X2APIC_FIRST;
    return X2APIC_REGISTERS.has(register) ? register : undefined;
  }

  #writeBase(low: number, high: number): boolean {
    const s = this.state;
    if (high >>> (PHYSICAL_BITS - 32) !== 0 || (low & 0x2ff) !== 0) return false;
    const enable = (low & r.BASE_ENABLE) !== 0;
    const extended = (low & r.BASE_EXTD) !== 0;
    // "Valid transitions" of the x2APIC state machine (SDM, "x2APIC State Transitions"); all others are #GP.
    if (extended && !enable) return false;
    if (this.x2apic && enable && !extended) return false;
    if (!this.enabled && extended) return false;
    if (low >>> 12 !== s.baseLow >>> 12 || high !== s.baseHigh) {
      this.#tracer.warn('apic', 'moving the local APIC with IA32_APIC_BASE is not implemented');
    }
    const wasEnabled = this.enabled;
    const wasX2apic = this.x2apic;
    if (!enable && wasEnabled) {
      const { lint0, lint1 } = s;
      this.state = { ...this.#initialState(), lint0, lint1 };
      this.timer.reset();
    }
    this.state.baseLow = ((low & ~r.BASE_BSP) | (s.baseLow & r.BASE_BSP)) >>> 0;
    this.state.baseHigh = high;
    if (extended && !wasX2apic) {
      // "The logical x2APIC ID is derived from the x2APIC ID" (SDM).
      this.state.id = this.#initialId;
      this.state.ldr = ((this.#initialId >>> 4) << 16) | (1 << (this.#initialId & 15));
    }
    this.update();
    return true;
  }
}

const X2APIC_REGISTERS = new Set<number>([
  r.APIC_ID,
  r.APIC_VERSION,
  r.APIC_TPR,
  r.APIC_PPR,
  r.APIC_EOI,
  r.APIC_LDR,
  r.APIC_SVR,
  ...Array.from({ length: 24 }, (_, i) => r.APIC_ISR + i),
  r.APIC_ESR,
  r.APIC_ICR_LOW,
  ...Array.from({ length: 6 }, (_, i) => r.APIC_LVT_TIMER + i),
  r.APIC_INITIAL_COUNT,
  r.APIC_CURRENT_COUNT,
  r.APIC_DIVIDE,
  r.APIC_SELF_IPI,
]);

function isReadOnlyX2apic(register: number): boolean {
  return (
    register === r.APIC_ID ||
    register === r.APIC_VERSION ||
    register === r.APIC_PPR ||
    register === r.APIC_LDR ||
    register === r.APIC_CURRENT_COUNT ||
    (register >= r.APIC_ISR && register < r.APIC_ESR)
  );
}

/** The highest vector in 256 bits, or -1. */
function highest(bits: Uint32Array): number {
  for (let word = 7; word >= 0; word--) {
    if (bits[word] !== 0) return word * 32 + 31 - Math.clz32(bits[word]!);
  }
  return -1;
}

function setBit(bits: Uint32Array, vector: number): void {
  bits[vector >> 5]! |= 1 << (vector & 31);
}

function clearBit(bits: Uint32Array, vector: number): void {
  bits[vector >> 5]! &= ~(1 << (vector & 31));
}

function testBit(bits: Uint32Array, vector: number): boolean {
  return (bits[vector >> 5]! & (1 << (vector & 31))) !== 0;
}
