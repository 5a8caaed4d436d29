/**
 * The 8042 keyboard controller at ports 60h and 64h, with a keyboard and a mouse behind it, the processor reset line
 * and the A20 gate (which is always open here). IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller".
 */
import type { AddressSpace } from '../core/bus.ts';
import type { IrqLine } from '../core/irq.ts';
import { byteHandler } from './ports.ts';
import { Ps2Keyboard, Ps2Mouse, translateScanCode } from './ps2.ts';

const DATA_PORT = 0x60;
const COMMAND_PORT = 0x64;

const STATUS_OBF = 0x01;
const STATUS_SYSTEM = 0x04;
const STATUS_COMMAND = 0x08;
const STATUS_UNLOCKED = 0x10;
const STATUS_AUX_OBF = 0x20;

const CONFIG_KBD_IRQ = 0x01;
const CONFIG_AUX_IRQ = 0x02;
const CONFIG_SYSTEM = 0x04;
const CONFIG_KBD_DISABLED = 0x10;
const CONFIG_AUX_DISABLED = 0x20;
const CONFIG_TRANSLATE = 0x40;

const OUTPUT_RESET = 0x01;
const OUTPUT_A20 = 0x02;
const OUTPUT_OBF = 0x10;
const OUTPUT_AUX_OBF = 0x20;

const COMMAND = {
  readConfig: 0x20,
  writeConfig: 0x60,
  auxDisable: 0xa7,
  auxEnable: 0xa8,
  auxTest: 0xa9,
  selfTest: 0xaa,
  kbdTest: 0xab,
  kbdDisable: 0xad,
  kbdEnable: 0xae,
  readInput: 0xc0,
  readOutput: 0xd0,
  writeOutput: 0xd1,
  kbdLoop: 0xd2,
  auxLoop: 0xd3,
  auxWrite: 0xd4,
  a20Off: 0xdd,
  a20On: 0xdf,
} as const;

/** Answers of the controller that wait for the output buffer; a driver has one outstanding. */
const REPLY_LIMIT = 16;

export interface I8042State {
  config: number;
  status: number;
  /** The byte at port 60h. */
  output: number;
  /** The command that the next write to port 60h belongs to. */
  expects: number;
  /** The last keyboard byte was F0h, which translation folds into the next. */
  breakCode: boolean;
  readonly replies: { value: number; aux: boolean }[];
}

function initialState(): I8042State {
  return {
    config: CONFIG_KBD_IRQ | CONFIG_AUX_IRQ,
    status: STATUS_COMMAND | STATUS_UNLOCKED,
    output: 0,
    expects: 0,
    breakCode: false,
    replies: [],
  };
}

export class I8042 {
  state: I8042State = initialState();
  readonly keyboard = new Ps2Keyboard();
  readonly mouse = new Ps2Mouse();
  readonly #kbdIrq: IrqLine;
  readonly #auxIrq: IrqLine;
  readonly #onReset: () => void;

  /**
   * @param kbdIrq IRQ 1
   * @param auxIrq IRQ 12
   * @param onReset the controller pulls the processor's reset line
   */
  constructor(ports: AddressSpace, kbdIrq: IrqLine, auxIrq: IrqLine, onReset: () => void) {
    this.#kbdIrq = kbdIrq;
    this.#auxIrq = auxIrq;
    this.#onReset = onReset;
    this.keyboard.onData = () => this.#fill();
    this.mouse.onData = () => this.#fill();
    const data = { read: () => this.#readData(), write: (_: number, v: number) => this.#writeData(v) };
    const command = { read: () => this.state.status, write: (_: number, v: number) => this.#command(v) };
    ports.add({ name: 'i8042-data', base: DATA_PORT, size: 1, handler: byteHandler(1, data) });
    ports.add({ name: 'i8042-cmd', base: COMMAND_PORT, size: 1, handler: byteHandler(1, command) });
    this.reset();
  }

  reset(): void {
    this.state = initialState();
    this.keyboard.reset();
    this.mouse.reset();
    this.#lines();
  }

  /** What firmware leaves: self test done, keyboard on and translated to set 1, mouse off. */
  firmwareInit(): void {
    this.state.config = CONFIG_KBD_IRQ | CONFIG_TRANSLATE | CONFIG_AUX_DISABLED;
    this.state.status |= STATUS_SYSTEM;
  }

  #readData(): number {
    const s = this.state;
    s.status &= ~(STATUS_OBF | STATUS_AUX_OBF);
    // The lines fall before the next byte is there: both are edge-triggered.
    this.#lines();
    const value = s.output;
    this.#fill();
    return value;
  }

  #writeData(value: number): void {
    const s = this.state;
    const command = s.expects;
    s.expects = 0;
    s.status &= ~STATUS_COMMAND;
    switch (command) {
      case 0:
        // "Writing to the keyboard enables its interface."
        s.config &= ~CONFIG_KBD_DISABLED;
        this.keyboard.write(value);
        break;
      case COMMAND.writeConfig:
        s.config = value;
        if ((value & CONFIG_SYSTEM) !== 0) s.status |= STATUS_SYSTEM;
        this.#lines();
        this.#fill();
        break;
      case COMMAND.kbdLoop:
        this.#reply(value, false);
        break;
      case COMMAND.auxLoop:
        this.#reply(value, true);
        break;
      case COMMAND.writeOutput:
        if ((value & OUTPUT_RESET) === 0) this.#onReset();
        break;
      case COMMAND.auxWrite:
        this.mouse.write(value);
        break;
    }
  }

  #command(value: number): void {
    const s = this.state;
    s.status |= STATUS_COMMAND;
    s.expects = 0;
    switch (value) {
      case COMMAND.readConfig:
        this.#reply(s.config, false);
        break;
      case COMMAND.writeConfig:
      case COMMAND.writeOutput:
      case COMMAND.kbdLoop:
      case COMMAND.auxLoop:
      case COMMAND.auxWrite:
        s.expects = value;
        break;
      case COMMAND.auxDisable:
        s.config |= CONFIG_AUX_DISABLED;
        break;
      case COMMAND.auxEnable:
        s.config &= ~CONFIG_AUX_DISABLED;
        this.#fill();
        break;
      case COMMAND.selfTest:
        s.status |= STATUS_SYSTEM;
        this.#reply(0x55, false);
        break;
      case COMMAND.auxTest:
      case COMMAND.kbdTest:
        this.#reply(0x00, false);
        break;
      case COMMAND.kbdDisable:
        s.config |= CONFIG_KBD_DISABLED;
        break;
      case COMMAND.kbdEnable:
        s.config &= ~CONFIG_KBD_DISABLED;
        this.#fill();
        break;
      case COMMAND.readInput:
        this.#reply(0x80, false);
        break;
      case COMMAND.readOutput:
        this.#reply(this.#outputPort(), false);
        break;
      case COMMAND.a20Off:
      case COMMAND.a20On:
        break;
      default:
        // F0h-FFh pulse the output lines whose bit is clear; line 0 is the processor's reset.
        if (value >= 0xf0 && (value & OUTPUT_RESET) === 0) this.#onReset();
    }
  }

  #outputPort(): number {
    const { status } = this.state;
    return (
      OUTPUT_RESET |
      OUTPUT_A20 |
      ((status & STATUS_OBF) !== 0 ? OUTPUT_OBF : 0) |
      ((status & STATUS_AUX_OBF) !== 0 ? OUTPUT_AUX_OBF : 0)
    );
  }

  #reply(value: number, aux: boolean): void {
    const { replies } = this.state;
    if (replies.length < REPLY_LIMIT) replies.push({ value, aux });
    this.#fill();
  }

  /** Puts the next byte into the output buffer if that is empty: answers first, then keyboard, then mouse. */
  #fill(): void {
    const s = this.state;
    while ((s.status & STATUS_OBF) === 0) {
      const reply = s.replies.shift();
      if (reply !== undefined) {
        this.#output(reply.value, reply.aux);
        return;
      }
      if ((s.config & CONFIG_KBD_DISABLED) === 0 && this.keyboard.state.queue.length > 0) {
        const code = this.#translate(this.keyboard.state.queue.shift()!);
        if (code === undefined) continue;
        this.#output(code, false);
        return;
      }
      if ((s.config & CONFIG_AUX_DISABLED) !== 0 || this.mouse.state.queue.length === 0) return;
      this.#output(this.mouse.state.queue.shift()!, true);
    }
  }

  /** A keyboard byte as the guest gets it; undefined for the F0h that translation swallows. */
  #translate(code: number): number | undefined {
    const s = this.state;
    if ((s.config & CONFIG_TRANSLATE) === 0) return code;
    if (code === 0xf0) {
      s.breakCode = true;
      return undefined;
    }
    const translated = translateScanCode(code) | (s.breakCode ? 0x80 : 0);
    s.breakCode = false;
    return translated;
  }

  #output(value: number, aux: boolean): void {
    const s = this.state;
    s.output = value;
    s.status = (s.status & ~STATUS_AUX_OBF) | STATUS_OBF | (aux ? STATUS_AUX_OBF : 0);
    this.#lines();
  }

  #lines(): void {
    const { config, status } = this.state;
    const full = (status & STATUS_OBF) !== 0;
    const aux = (status & STATUS_AUX_OBF) !== 0;
    this.#kbdIrq.set(full && !aux && (config & CONFIG_KBD_IRQ) !== 0);
    this.#auxIrq.set(full && aux && (config & CONFIG_AUX_IRQ) !== 0);
  }
}
