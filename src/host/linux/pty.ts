/**
 * Pseudo-terminals (pty(7)). The master end is kept open all the time; whether someone has the other end open is
 * asked of the kernel when it matters: without anyone, a master hangs up.
 */
import fs from 'node:fs';
import { Duplex } from 'node:stream';
import type { HostStream } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';
import { errorText } from '../node/errors.ts';
import { NodeStream } from '../node/stream.ts';
import { libc } from './libc.ts';

/** How often input is looked for, in milliseconds: soon after there was some, seldom while nobody is there. */
const BUSY_INTERVAL = 4;
const IDLE_INTERVAL = 100;
const CHUNK = 4096;

/** A duplex over the master's descriptor, without blocking and without Node's reopening of terminals. */
class PtyMaster extends Duplex {
  readonly #fd: number;
  #timer: NodeJS.Timeout | undefined;
  #wanted = false;
  connected = false;

  constructor(fd: number) {
    super({ readableHighWaterMark: CHUNK });
    this.#fd = fd;
    this.#poll();
  }

  override _read(): void {
    this.#wanted = true;
  }

  /** Reads what is there; EIO says that nobody has the other side open, EAGAIN that nothing was typed. */
  #poll(): void {
    let interval = IDLE_INTERVAL;
    if (this.#wanted || !this.connected) {
      try {
        const data = Buffer.alloc(CHUNK);
        const count = fs.readSync(this.#fd, data);
        this.connected = true;
        interval = BUSY_INTERVAL;
        this.#wanted = this.push(data.subarray(0, count));
      } catch (error) {
        this.connected = (error as NodeJS.ErrnoException).code === 'EAGAIN';
        if (this.connected) interval = BUSY_INTERVAL;
      }
    }
    this.#timer = setTimeout(() => this.#poll(), interval);
    this.#timer.unref();
  }

  override _write(data: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    let count = 0;
    try {
      count = fs.writeSync(this.#fd, data);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return done();
    }
    if (count === data.length || !this.connected) return done();
    setTimeout(() => this._write(data.subarray(count), '', done), BUSY_INTERVAL).unref();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    fs.close(this.#fd, () => done(error));
  }
}

/** Opens a new one, raw; `name` is what others open. */
export function openPty(): { stream: HostStream; name: string; connected: () => boolean } {
  const c = libc();
  if (c === undefined) throw new HostError('chardev: pty: needs Linux and the package koffi');
  try {
    const fd = fs.openSync(
      '/dev/ptmx',
      fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK,
    );
    const number = c.unlockPty(fd);
    if (number < 0) throw new HostError('Failed to create PTY');
    c.makeRaw(fd);
    // Only once the other side was open and closed does the master tell that nobody is there.
    fs.closeSync(fs.openSync(`/dev/pts/${number}`, fs.constants.O_RDWR | fs.constants.O_NOCTTY));
    const master = new PtyMaster(fd);
    return {
      stream: new NodeStream(master, master),
      name: `/dev/pts/${number}`,
      connected: () => master.connected,
    };
  } catch (error) {
    throw new HostError(`Failed to create PTY: ${errorText(error)}`, { cause: error });
  }
}
