/**
 * The wire of a serial port of Linux: speed, framing, break and modem lines, as the guest's UART has them. Sources:
 * termios(3), ioctl_tty(2), the kernel's asm-generic/termbits.h.
 */
import type { LineSettings, ModemInputs, SerialLine } from '../../chardev/chardev.ts';
import type { Libc } from './libc.ts';

const TCGETS = 0x5401;
const TCSETS = 0x5402;
const TIOCMGET = 0x5415;
const TIOCMSET = 0x5418;
const TIOCSBRK = 0x5427;
const TIOCCBRK = 0x5428;

/** The kernel's struct termios: four 32-bit flag words, c_line, 19 control characters; room to spare. */
const TERMIOS_SIZE = 60;
const C_CFLAG = 8;

const CBAUD = 0o10017;
const CSIZE = 0o60;
const CSTOPB = 0o100;
const CREAD = 0o200;
const PARENB = 0o400;
const PARODD = 0o1000;
const CLOCAL = 0o4000;
const CRTSCTS = 0o20000000000;

/** Codes of the speeds that a 16550A with its usual crystal can have. */
const SPEEDS: readonly (readonly [baud: number, code: number])[] = [
  [50, 0o1],
  [75, 0o2],
  [110, 0o3],
  [134, 0o4],
  [150, 0o5],
  [200, 0o6],
  [300, 0o7],
  [600, 0o10],
  [1200, 0o11],
  [1800, 0o12],
  [2400, 0o13],
  [4800, 0o14],
  [9600, 0o15],
  [19200, 0o16],
  [38400, 0o17],
  [57600, 0o10001],
  [115200, 0o10002],
];

const TIOCM_DTR = 0x002;
const TIOCM_RTS = 0x004;
const TIOCM_CTS = 0x020;
const TIOCM_CAR = 0x040;
const TIOCM_RNG = 0x080;
const TIOCM_DSR = 0x100;

/** `cflag` with other settings: the nearest speed, and no flow control of the host's own. */
export function withSettings(cflag: number, settings: LineSettings): number {
  const distance = (baud: number): number => Math.abs(Math.log(baud / settings.baud));
  let [nearest] = SPEEDS;
  for (const speed of SPEEDS) if (distance(speed[0]) < distance(nearest![0])) nearest = speed;
  const kept = cflag & ~(CBAUD | CSIZE | CSTOPB | PARENB | PARODD | CRTSCTS);
  const size = (settings.dataBits - 5) << 4;
  const parity = settings.parity === 'none' ? 0 : settings.parity === 'even' ? PARENB : PARENB | PARODD;
  const stop = settings.stopBits === 2 ? CSTOPB : 0;
  return (kept | nearest![1] | size | parity | stop | CREAD | CLOCAL) >>> 0;
}

export class TtyLine implements SerialLine {
  readonly #libc: Pick<Libc, 'ioctl' | 'ioctlValue'>;
  readonly #fd: () => number | undefined;
  readonly #word = Buffer.alloc(4);

  /** @param fd of the port while it is open; its number may be another file's afterwards */
  constructor(libc: Pick<Libc, 'ioctl' | 'ioctlValue'>, fd: () => number | undefined) {
    this.#libc = libc;
    this.#fd = fd;
  }

  configure(settings: LineSettings): void {
    const termios = Buffer.alloc(TERMIOS_SIZE);
    if (!this.#call(TCGETS, termios)) return;
    termios.writeUInt32LE(withSettings(termios.readUInt32LE(C_CFLAG), settings), C_CFLAG);
    this.#call(TCSETS, termios);
  }

  setBreak(on: boolean): void {
    const fd = this.#fd();
    if (fd !== undefined) this.#libc.ioctlValue(fd, on ? TIOCSBRK : TIOCCBRK, 0);
  }

  setOutputs({ dtr, rts }: { readonly dtr: boolean; readonly rts: boolean }): void {
    const word = this.#word;
    if (!this.#call(TIOCMGET, word)) return;
    const others = word.readUInt32LE(0) & ~(TIOCM_DTR | TIOCM_RTS);
    word.writeUInt32LE((others | (dtr ? TIOCM_DTR : 0) | (rts ? TIOCM_RTS : 0)) >>> 0, 0);
    this.#call(TIOCMSET, word);
  }

  inputs(): ModemInputs | undefined {
    const word = this.#word;
    if (!this.#call(TIOCMGET, word)) return undefined;
    const lines = word.readUInt32LE(0);
    const has = (bit: number): boolean => (lines & bit) !== 0;
    return { cts: has(TIOCM_CTS), dsr: has(TIOCM_DSR), ri: has(TIOCM_RNG), dcd: has(TIOCM_CAR) };
  }

  #call(request: number, argument: Buffer): boolean {
    const fd = this.#fd();
    return fd !== undefined && this.#libc.ioctl(fd, request, argument) === 0;
  }
}
