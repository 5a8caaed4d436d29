/**
 * Pseudo-terminals (pty(7)). The master end is kept open all the time; whether someone has the other end open is
 * asked of the kernel when it matters: without anyone, a master hangs up.
 */
import fs from 'node:fs';
import { Duplex } from 'node:stream';
import type { HostPty } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';
import { hostError } from '../node/errors.ts';
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
  onConnected: (connected: boolean) => void = () => {};

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
        this.#setConnected(true);
        // Where there was some, there may be more.
        interval = 0;
        this.#wanted = this.push(data.subarray(0, count));
      } catch (error) {
        this.#setConnected((error as NodeJS.ErrnoException).code === 'EAGAIN');
        if (this.connected) interval = BUSY_INTERVAL;
      }
    }
    if (this.destroyed) return;
    this.#timer = setTimeout(() => this.#poll(), interval);
    this.#timer.unref();
  }

  #setConnected(connected: boolean): void {
    if (this.connected === connected) return;
    this.connected = connected;
    this.onConnected(connected);
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

class PtyStream extends NodeStream {
  readonly #link: string | undefined;

  constructor(master: PtyMaster, link: string | undefined) {
    super(master, master);
    this.#link = link;
  }

  protected override release(): void {
    if (this.#link !== undefined) fs.rmSync(this.#link, { force: true });
    super.release();
  }
}

/** A symbolic link to the pseudo-terminal, in place of an older link. */
function makeLink(target: string, path: string): void {
  try {
    if (fs.lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) fs.unlinkSync(path);
    fs.symlinkSync(target, path);
  } catch (error) {
    throw hostError(`Failed to create PTY symlink '${path}'`, error);
  }
}

/** Opens a new one, raw. */
export function openPty(link?: string): HostPty {
  const c = libc();
  if (c === undefined) throw new HostError('chardev: pty: needs Linux and the package koffi');
  let fd: number;
  let number: number;
  try {
    const { O_RDWR, O_NOCTTY, O_NONBLOCK } = fs.constants;
    fd = fs.openSync('/dev/ptmx', O_RDWR | O_NOCTTY | O_NONBLOCK);
    number = c.unlockPty(fd);
    if (number < 0) throw new HostError('no number was given');
    c.makeRaw(fd);
    // Only once the other side was open and closed does the master tell that nobody is there.
    fs.closeSync(fs.openSync(`/dev/pts/${number}`, O_RDWR | O_NOCTTY));
  } catch (error) {
    throw hostError('Failed to create PTY', error);
  }
  const name = `/dev/pts/${number}`;
  const master = new PtyMaster(fd);
  if (link !== undefined) {
    try {
      makeLink(name, link);
    } catch (error) {
      master.destroy();
      throw error;
    }
  }
  const pty: HostPty = {
    stream: new PtyStream(master, link),
    name,
    connected: () => master.connected,
    onConnected: () => {},
  };
  master.onConnected = (connected) => pty.onConnected(connected);
  return pty;
}
