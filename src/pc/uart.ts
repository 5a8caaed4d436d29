/**
 * A 16550A UART between the guest and a chardev. Bytes go as fast as both sides take them: nothing waits for a baud
 * rate. Where a real serial port is behind the chardev it gets speed, framing, break and modem lines. Flow control is
 * the chip's own: THRE stays low while the chardev takes nothing, and no byte is asked of the chardev that the receive
 * FIFO has no room for. National PC16550D data sheet (1995).
 */
import type { AddressSpace } from '../core/bus.ts';
import type { Chardev, CharFrontend, LineSettings, ModemInputs } from '../chardev/chardev.ts';
import type { Clock, Timer } from '../core/clock.ts';
import type { IrqLine } from '../core/irq.ts';
import type { Tracer } from '../core/trace.ts';
import { byteHandler } from './ports.ts';

// Registers; RBR/THR and IER are the divisor latch while LCR.DLAB is set.
const RBR_THR = 0;
const IER = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const IER_RDI = 0x01;
const IER_THRI = 0x02;
const IER_RLSI = 0x04;
const IER_MSI = 0x08;

const IIR_NONE = 0x01;
const IIR_MSI = 0x00;
const IIR_THRI = 0x02;
const IIR_RDI = 0x04;
const IIR_RLSI = 0x06;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFO_ENABLED = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_CLEAR_RX = 0x02;
const FCR_CLEAR_TX = 0x04;
const FCR_DMA = 0x08;

const LCR_STOP = 0x04;
const LCR_PARITY = 0x08;
const LCR_EVEN = 0x10;
const LCR_BREAK = 0x40;
const LCR_DLAB = 0x80;
/** Bits of LCR that say how characters are sent. */
const LCR_FRAME = 0x1f;

const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;

const LSR_DR = 0x01;
const LSR_OE = 0x02;
const LSR_BI = 0x10;
const LSR_ERRORS = 0x1e;
const LSR_THRE = 0x20;
const LSR_TEMT = 0x40;

const MSR_DCTS = 0x01;
const MSR_CTS = 0x10;
const MSR_DSR = 0x20;
const MSR_RI = 0x40;
const MSR_DCD = 0x80;

const FIFO_SIZE = 16;
const TRIGGERS = [1, 4, 8, 14] as const;
/**
 * Bytes waiting for the chardev. A driver that heeds THRE never has more than 16 here; one that does not gets this
 * much patience before its bytes are lost, as on the chip.
 */
const TRANSMIT_LIMIT = 1024;
/**
 * After the guest has emptied the receive FIFO, the next bytes come this much later, nanoseconds (160 KB/s at 16
 * bytes each). Without a pause a fast sender would keep an interrupt handler that drains the FIFO busy for ever.
 */
const REFILL_NS = 100_000;
/** Bits a second with a divisor of 1: 1.8432 MHz through 16. */
const BAUD_BASE = 115_200;
/** Nanoseconds between looks at a real port's modem lines while the guest wants to hear of changes. */
const MODEM_NS = 10_000_000;
/** What a port without modem lines has: somebody is there, and ready. */
const READY: ModemInputs = { cts: true, dsr: true, ri: false, dcd: true };

export interface UartState {
  ier: number;
  lcr: number;
  mcr: number;
  scr: number;
  fcr: number;
  divisor: number;
  /** Error and break bits of LSR; the others are computed. */
  lsrErrors: number;
  msrDelta: number;
  /** The transmitter-empty interrupt is due. */
  thrPending: boolean;
  readonly received: number[];
  readonly transmit: number[];
}

function initialState(): UartState {
  return {
    ier: 0,
    lcr: 0,
    mcr: MCR_OUT2,
    scr: 0,
    fcr: 0,
    divisor: 12,
    lsrErrors: 0,
    msrDelta: 0,
    thrPending: false,
    received: [],
    transmit: [],
  };
}

export class Uart16550 implements CharFrontend {
  state: UartState = initialState();
  readonly #name: string;
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #tracer: Tracer;
  readonly #byte = new Uint8Array(1);
  #chardev: Chardev | undefined;
  #detach: (() => void) | undefined;
  #refill: Timer | undefined;
  #modemPoll: Timer | undefined;
  /** Of the real port, when they were last looked at. */
  #modem: ModemInputs = READY;
  /** What the real port was last told of divisor and frame. */
  #told = -1;
  #unmap: (() => void) | undefined;

  constructor(options: {
    readonly ports: AddressSpace;
    readonly port: number;
    readonly irq: IrqLine;
    readonly clock: Clock;
    readonly tracer: Tracer;
    /** For messages: `serial0`. */
    readonly name: string;
  }) {
    this.#name = options.name;
    this.#clock = options.clock;
    this.#irq = options.irq;
    this.#tracer = options.tracer;
    const registers = {
      read: (offset: number) => this.#read(offset),
      write: (offset: number, value: number) => this.#write(offset, value),
    };
    this.#unmap = options.ports.add({
      name: options.name,
      base: options.port,
      size: 8,
      handler: byteHandler(8, registers),
    });
  }

  /** Connects the wire to `chardev`; without one, what the guest sends goes nowhere. */
  attach(chardev: Chardev): void {
    this.detach();
    this.#chardev = chardev;
    this.#detach = chardev.attach(this);
    this.#told = -1;
    // Until the guest has said something of the frame, the port is as the host opened it.
    if (this.state.lcr !== 0) this.#configureLine();
    this.#watchModem();
    chardev.acceptInput();
  }

  detach(): void {
    this.#detach?.();
    this.#detach = this.#chardev = undefined;
    this.#modem = READY;
    this.#modemPoll?.cancel();
    this.#modemPoll = undefined;
  }

  /** Takes the UART off its ports. */
  remove(): void {
    this.detach();
    this.#unmap?.();
    this.#unmap = undefined;
    this.#refill?.cancel();
    this.#irq.set(false);
  }

  reset(): void {
    const { transmit } = this.state;
    if ((this.state.lcr & LCR_BREAK) !== 0) this.#chardev?.line?.setBreak(false);
    // Bytes already given to the wire still go out: they were the guest's last words.
    this.state = { ...initialState(), transmit };
    this.#update();
    this.#chardev?.acceptInput();
  }

  // -- CharFrontend --------------------------------------------------------------------------------------------

  canReceive(): number {
    // In loopback the receiver is not on the wire; what arrives waits outside.
    if ((this.state.mcr & MCR_LOOP) !== 0 || this.#refill !== undefined) return 0;
    return this.#capacity - this.state.received.length;
  }

  receive(data: Uint8Array): void {
    for (const byte of data) this.#arrived(byte);
    this.#update();
  }

  event(event: 'opened' | 'closed' | 'break'): void {
    if (event !== 'break') return;
    // "Whenever a break occurs, only one zero character is loaded into the FIFO" (LSR, BI).
    this.state.lsrErrors |= LSR_BI;
    this.#arrived(0);
    this.#update();
  }

  writable(): void {
    this.#flush();
    this.#update();
  }

  // -- registers -----------------------------------------------------------------------------------------------

  get #fifo(): boolean {
    return (this.state.fcr & FCR_ENABLE) !== 0;
  }

  get #capacity(): number {
    return this.#fifo ? FIFO_SIZE : 1;
  }

  get #lsr(): number {
    const s = this.state;
    const empty = s.transmit.length === 0 ? LSR_THRE | LSR_TEMT : 0;
    return empty | s.lsrErrors | (s.received.length > 0 ? LSR_DR : 0);
  }

  get #msr(): number {
    const { mcr, msrDelta } = this.state;
    if ((mcr & MCR_LOOP) === 0) {
      const { cts, dsr, ri, dcd } = this.#modem;
      return (cts ? MSR_CTS : 0) | (dsr ? MSR_DSR : 0) | (ri ? MSR_RI : 0) | (dcd ? MSR_DCD : 0) | msrDelta;
    }
    // "The four modem control outputs are internally connected to the four modem control inputs" (MCR, loop).
    return (
      ((mcr & MCR_RTS) !== 0 ? MSR_CTS : 0) |
      ((mcr & MCR_DTR) !== 0 ? MSR_DSR : 0) |
      ((mcr & MCR_OUT1) !== 0 ? MSR_RI : 0) |
      ((mcr & MCR_OUT2) !== 0 ? MSR_DCD : 0) |
      msrDelta
    );
  }

  get #iir(): number {
    const s = this.state;
    if ((s.ier & IER_RLSI) !== 0 && s.lsrErrors !== 0) return IIR_RLSI;
    if ((s.ier & IER_RDI) !== 0 && s.received.length > 0) {
      const trigger = this.#fifo ? TRIGGERS[s.fcr >> 6]! : 1;
      // Below the trigger level the chip waits for four quiet character times; a chardev has handed over all that
      // it had, so the line is quiet now.
      return s.received.length >= trigger ? IIR_RDI : IIR_TIMEOUT;
    }
    if ((s.ier & IER_THRI) !== 0 && s.thrPending) return IIR_THRI;
    if ((s.ier & IER_MSI) !== 0 && s.msrDelta !== 0) return IIR_MSI;
    return IIR_NONE;
  }

  #read(offset: number): number {
    const s = this.state;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR: {
        if (dlab) return s.divisor & 0xff;
        const byte = s.received.shift();
        if (byte === undefined) return 0;
        if (s.received.length === 0) this.#drained();
        this.#update();
        return byte;
      }
      case IER:
        return dlab ? s.divisor >> 8 : s.ier;
      case IIR_FCR: {
        const iir = this.#iir;
        // "The THRE interrupt is reset by reading the IIR (if it is the source of the interrupt)" (table IV).
        if (iir === IIR_THRI) {
          s.thrPending = false;
          this.#update();
        }
        return iir | (this.#fifo ? IIR_FIFO_ENABLED : 0);
      }
      case LCR:
        return s.lcr;
      case MCR:
        return s.mcr;
      case LSR: {
        const lsr = this.#lsr;
        if (s.lsrErrors !== 0) {
          s.lsrErrors &= ~LSR_ERRORS;
          this.#update();
        }
        return lsr;
      }
      case MSR: {
        this.#lookAtModem();
        const msr = this.#msr;
        if (s.msrDelta !== 0) {
          s.msrDelta = 0;
          this.#update();
        }
        return msr;
      }
      default:
        return s.scr;
    }
  }

  #write(offset: number, value: number): void {
    const s = this.state;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR:
        if (dlab) s.divisor = (s.divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case IER:
        if (dlab) {
          s.divisor = (s.divisor & 0xff) | (value << 8);
          break;
        }
        // Enabling the interrupt while the transmitter is empty raises it at once.
        if ((value & ~s.ier & IER_THRI) !== 0 && s.transmit.length === 0) s.thrPending = true;
        s.ier = value & 0x0f;
        this.#watchModem();
        break;
      case IIR_FCR:
        this.#writeFcr(value);
        break;
      case LCR:
        if (((s.lcr ^ value) & LCR_BREAK) !== 0) this.#chardev?.line?.setBreak((value & LCR_BREAK) !== 0);
        s.lcr = value;
        this.#configureLine();
        break;
      case MCR:
        this.#writeMcr(value & 0x1f);
        break;
      case SCR:
        s.scr = value;
        break;
      default:
        // LSR and MSR are for reading; factory tests write them.
        return;
    }
    this.#update();
  }

  #writeFcr(value: number): void {
    const s = this.state;
    // "Changing from FIFO mode to 16450 mode and vice versa, data is cleared" (FCR0).
    const clear = (value ^ s.fcr) & FCR_ENABLE ? FCR_CLEAR_RX | FCR_CLEAR_TX : value;
    if ((clear & FCR_CLEAR_RX) !== 0 && s.received.length > 0) {
      s.received.length = 0;
      this.#drained();
    }
    // The transmit FIFO is empty on a real wire by the time that a driver resets it: nothing is thrown away here.
    s.fcr = (value & FCR_ENABLE) !== 0 ? value & (FCR_ENABLE | FCR_DMA | 0xc0) : 0;
  }

  #writeMcr(value: number): void {
    const s = this.state;
    const before = this.#msr;
    s.mcr = value;
    this.#noteModem(before);
    // "the MCR outputs are forced to their inactive state" in loopback: as with QEMU a real port keeps what it has.
    if ((value & MCR_LOOP) === 0)
      this.#chardev?.line?.setOutputs({ dtr: (value & MCR_DTR) !== 0, rts: (value & MCR_RTS) !== 0 });
    if ((before & 0xf0) !== 0 && (value & MCR_LOOP) === 0) this.#chardev?.acceptInput();
  }

  // -- a real port ---------------------------------------------------------------------------------------------

  /** Tells the port of speed and frame, once the divisor latch is closed and both of its halves are written. */
  #configureLine(): void {
    const { divisor, lcr } = this.state;
    const line = this.#chardev?.line;
    if (line === undefined || divisor === 0 || (lcr & LCR_DLAB) !== 0) return;
    const setting = (divisor << 8) | (lcr & LCR_FRAME);
    if (setting === this.#told) return;
    this.#told = setting;
    line.configure({
      baud: BAUD_BASE / divisor,
      dataBits: ((lcr & 3) + 5) as LineSettings['dataBits'],
      parity: (lcr & LCR_PARITY) === 0 ? 'none' : (lcr & LCR_EVEN) !== 0 ? 'even' : 'odd',
      stopBits: (lcr & LCR_STOP) !== 0 ? 2 : 1,
    });
  }

  #lookAtModem(): void {
    const inputs = this.#chardev?.line?.inputs();
    if (inputs === undefined) return;
    const before = this.#msr;
    this.#modem = inputs;
    this.#noteModem(before);
  }

  /** Delta bits 0, 1, 3 follow CTS, DSR, DCD; bit 2 only the end of RI. */
  #noteModem(before: number): void {
    const changed = (before ^ this.#msr) & 0xf0;
    let delta = (changed >> 4) & (MSR_DCTS | 0x02 | 0x08);
    if ((changed & MSR_RI) !== 0 && (before & MSR_RI) !== 0) delta |= 0x04;
    this.state.msrDelta |= delta;
  }

  /** Looks at the port's lines from time to time while their interrupt is enabled: the host does not tell. */
  #watchModem(): void {
    const wanted = (this.state.ier & IER_MSI) !== 0 && this.#chardev?.line?.inputs() !== undefined;
    if (!wanted || this.#modemPoll !== undefined) return;
    this.#modemPoll = this.#clock.schedule(this.#clock.now() + MODEM_NS, () => {
      this.#modemPoll = undefined;
      this.#lookAtModem();
      this.#update();
      this.#watchModem();
    });
  }

  // -- data ------------------------------------------------------------------------------------------------------

  #send(byte: number): void {
    const s = this.state;
    s.thrPending = false;
    if ((s.mcr & MCR_LOOP) !== 0) {
      this.#arrived(byte);
      s.thrPending = true;
      return;
    }
    if (s.transmit.length >= TRANSMIT_LIMIT) {
      this.#tracer.guestError(this.#name, 'writes to THR while LSR.THRE is clear: bytes are lost');
      return;
    }
    s.transmit.push(byte);
    this.#flush();
  }

  /** Gives the chardev what waits; the transmitter is empty again when it took everything. */
  #flush(): void {
    const { transmit } = this.state;
    if (transmit.length === 0) return;
    const chardev = this.#chardev;
    if (chardev === undefined) transmit.length = 0;
    else if (transmit.length === 1) {
      this.#byte[0] = transmit[0]!;
      if (chardev.write(this.#byte) > 0) transmit.length = 0;
    } else {
      transmit.splice(0, chardev.write(Uint8Array.from(transmit)));
    }
    if (transmit.length === 0) this.state.thrPending = true;
  }

  #arrived(byte: number): void {
    const { received } = this.state;
    if (received.length >= this.#capacity) {
      // Only loopback gets here, or a chardev that ignores `canReceive`.
      this.state.lsrErrors |= LSR_OE;
      if (this.#fifo) return;
      received.length = 0;
    }
    received.push(byte);
  }

  #drained(): void {
    if (this.#chardev === undefined || this.#refill !== undefined) return;
    this.#refill = this.#clock.schedule(this.#clock.now() + REFILL_NS, () => {
      this.#refill = undefined;
      this.#chardev?.acceptInput();
    });
  }

  #update(): void {
    this.#irq.set(this.#iir !== IIR_NONE);
  }
}
