/**
 * The SMBus host controller of PIIX4 and ICH9, with nothing on its bus: every transaction ends with "no device".
 * Intel 82371AB data sheet, SMBus host interface; Intel ICH9 data sheet, chapter SMBus.
 */
import type { IoHandler } from '../../core/bus.ts';
import { byteHandler } from '../ports.ts';

export const SMBUS_SIZE = 0x40;

const HST_STS = 0;
const HST_CNT = 2;

/** Status bits that software clears by writing ones: interrupt, device error, collision, failed, in use … */
const STS_CLEARABLE = 0xfe;
const STS_DEV_ERR = 0x04;
const CNT_INTREN = 0x01;
const CNT_START = 0x40;

export class SmbusHost {
  state = { registers: new Uint8Array(16) };
  readonly handler: IoHandler;
  readonly #interrupt: (level: boolean) => void;

  /** @param interrupt level of the controller's interrupt */
  constructor(interrupt: (level: boolean) => void = () => {}) {
    this.#interrupt = interrupt;
    this.handler = byteHandler(SMBUS_SIZE, {
      read: (offset) => this.state.registers[offset] ?? 0,
      write: (offset, value) => this.#write(offset, value),
    });
  }

  reset(): void {
    this.state.registers.fill(0);
    this.#interrupt(false);
  }

  #write(offset: number, value: number): void {
    const { registers } = this.state;
    if (offset === HST_STS) {
      registers[HST_STS]! &= ~(value & STS_CLEARABLE);
    } else if (offset < registers.length) {
      registers[offset] = offset === HST_CNT ? value & ~CNT_START : value;
      if (offset === HST_CNT && (value & CNT_START) !== 0) registers[HST_STS]! |= STS_DEV_ERR;
    }
    this.#interrupt((registers[HST_STS]! & STS_DEV_ERR) !== 0 && (registers[HST_CNT]! & CNT_INTREN) !== 0);
  }
}
