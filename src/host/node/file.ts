/**
 * Files for the block room. Small requests are done on return (they end in the page cache, in a microsecond or
 * two); large ones, and all that bypass the page cache, go through Node's thread pool. Data goes straight
 * between file and the given views, also where they lie in shared memory: preadv(2) and pwritev(2).
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { HostError } from '../../core/errors.ts';
import { subBuffers, totalLength, gather, scatter } from '../../block/buffers.ts';
import { BlockIoError } from '../../block/errors.ts';
import type { BlockHost, HostFile, ImageLock, OpenOptions } from '../../block/file.ts';
import { libc } from '../linux/libc.ts';
import { errnoName, errorText, hostError } from './errors.ts';

/** Requests up to this many bytes are done at once: about 0.1 ms of copying. */
const SYNC_LIMIT = 1 << 20;
/** Linux takes at most IOV_MAX buffers in one call; more are given in turns. */
const IOV_MAX = 1024;
/** Where QEMU keeps its locks in an image: first byte of those for permissions used, and for those refused. */
const LOCK_USES = 100;
const LOCK_REFUSES = 200;
const LOCK_NAMES = ['consistent read', 'write', 'write unchanged', 'resize'] as const;
/** Alignment that O_DIRECT asks of offsets, lengths and addresses on common disks (512-byte logical sectors). */
const DIRECT_ALIGN = 512;
/** stat(2): st_blocks counts 512 bytes. */
const STAT_BLOCK = 512;

export class NodeFile implements HostFile {
  readonly path: string;
  readonly writable: boolean;
  readonly kind: 'file' | 'device';
  readonly direct: boolean;
  readonly fd: number;
  /** False once fallocate said that this file cannot. */
  #canZero = true;
  #closed = false;
  /** Requests in other threads: the descriptor must stay theirs until they are done. */
  readonly #busy = new Set<Promise<unknown>>();

  constructor(fd: number, name: string, kind: 'file' | 'device', options: OpenOptions) {
    this.fd = fd;
    this.path = name;
    this.kind = kind;
    this.writable = options.write;
    this.direct = options.direct ?? false;
  }

  size(): number {
    const stat = fs.fstatSync(this.fd);
    return stat.isBlockDevice() ? deviceSize(stat.rdev, this.path) : stat.size;
  }

  get allocated(): number {
    return fs.fstatSync(this.fd).blocks * STAT_BLOCK;
  }

  read(offset: number, buffers: readonly Uint8Array[]): number | Promise<number> {
    const length = totalLength(buffers);
    if (this.direct) return this.#readDirect(offset, buffers, length);
    if (length > SYNC_LIMIT) return this.#readLater(offset, buffers, length);
    try {
      let done = 0;
      while (done < length) {
        const count = fs.readvSync(this.fd, rest(buffers, done), offset + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    } catch (error) {
      throw this.#failed('read', offset, error);
    }
  }

  async #readLater(offset: number, buffers: readonly Uint8Array[], length: number): Promise<number> {
    let done = 0;
    while (done < length) {
      const count = await this.#transfer('readv', offset + done, rest(buffers, done));
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(offset: number, buffers: readonly Uint8Array[]): void | Promise<void> {
    const length = totalLength(buffers);
    if (this.direct) return this.#writeLater(offset, aligned(buffers) ? buffers : [bounce(buffers)], length);
    if (length > SYNC_LIMIT) return this.#writeLater(offset, buffers, length);
    let done = 0;
    while (done < length) {
      let count: number;
      try {
        count = fs.writevSync(this.fd, rest(buffers, done), offset + done);
      } catch (error) {
        throw this.#failed('write', offset, error);
      }
      if (count === 0) throw this.#failed('write', offset, { code: 'ENOSPC' });
      done += count;
    }
  }

  async #writeLater(offset: number, buffers: readonly Uint8Array[], length: number): Promise<void> {
    let done = 0;
    while (done < length) {
      const count = await this.#transfer('writev', offset + done, rest(buffers, done));
      if (count === 0) throw this.#failed('write', offset, { code: 'ENOSPC' });
      done += count;
    }
  }

  /** Reads without the page cache end at the end of the file, and may stop short at any sector before it. */
  async #readDirect(offset: number, buffers: readonly Uint8Array[], length: number): Promise<number> {
    if (aligned(buffers)) return this.#readLater(offset, buffers, length);
    const own = alignedArray(length);
    const done = await this.#readLater(offset, [own], length);
    scatter(own.subarray(0, done), buffers);
    return done;
  }

  #transfer(call: 'readv' | 'writev', offset: number, buffers: readonly Uint8Array[]): Promise<number> {
    return this.#track(
      new Promise((resolve, reject) => {
        fs[call](this.fd, buffers as Uint8Array<ArrayBuffer>[], offset, (error, count) => {
          if (error === null) resolve(count);
          else reject(this.#failed(call === 'readv' ? 'read' : 'write', offset, error));
        });
      }),
    );
  }

  #track<T>(request: Promise<T>): Promise<T> {
    const entry: Promise<unknown> = request.then(
      () => this.#busy.delete(entry),
      () => this.#busy.delete(entry),
    );
    this.#busy.add(entry);
    return request;
  }

  sync(): Promise<void> {
    return this.#track(
      new Promise((resolve, reject) => {
        fs.fdatasync(this.fd, (error) => {
          if (error === null || error === undefined) resolve();
          else reject(new BlockIoError(errnoName(error), `${this.path}: flush: ${errorText(error)}`));
        });
      }),
    );
  }

  truncate(size: number): void {
    try {
      fs.ftruncateSync(this.fd, size);
    } catch (error) {
      throw new BlockIoError(errnoName(error), `${this.path}: resize to ${size}: ${errorText(error)}`);
    }
  }

  zero(offset: number, length: number, unmap: boolean): boolean | Promise<boolean> {
    const c = libc();
    if (c === undefined || !this.#canZero) return false;
    const settle = (errno: number): boolean => {
      if (errno === 0) return true;
      const name = c.errnoName(errno);
      if (name === 'EOPNOTSUPP' || name === 'ENOTSUP' || name === 'ENOSYS') this.#canZero = false;
      // EINVAL: not aligned as a block device wants it. Writing zeroes still works.
      else if (name !== 'EINVAL') throw this.#failed('zero', offset, { code: name });
      return false;
    };
    const result = c.zeroRange(this.fd, offset, length, unmap);
    return typeof result === 'number' ? settle(result) : this.#track(result).then(settle);
  }

  lock(lock: ImageLock): boolean {
    const c = libc();
    if (c === undefined) return false;
    for (const bit of lock.uses) if (!c.lockByte(this.fd, LOCK_USES + bit)) return false;
    for (const bit of lock.refuses) c.lockByte(this.fd, LOCK_REFUSES + bit);
    const refuse = (which: string): never => {
      throw new HostError(`Failed to get ${which} lock\nIs another process using the image [${this.path}]?`);
    };
    for (const bit of lock.uses) {
      if (c.isByteLocked(this.fd, LOCK_REFUSES + bit)) refuse(`"${LOCK_NAMES[bit]}"`);
    }
    for (const bit of lock.refuses) {
      if (c.isByteLocked(this.fd, LOCK_USES + bit)) refuse(`shared "${LOCK_NAMES[bit]}"`);
    }
    return true;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#busy.size > 0) await Promise.all(this.#busy);
    await new Promise<void>((resolve) => fs.close(this.fd, () => resolve()));
  }

  #failed(what: string, offset: number, error: unknown): BlockIoError {
    return new BlockIoError(errnoName(error), `${this.path}: ${what} at ${offset}: ${errorText(error)}`);
  }
}

/** What is still to be transferred after `done` bytes, no more buffers than one call takes. */
function rest(buffers: readonly Uint8Array[], done: number): Uint8Array<ArrayBuffer>[] {
  const list = done === 0 ? buffers : subBuffers(buffers, done);
  return (list.length > IOV_MAX ? list.slice(0, IOV_MAX) : list) as Uint8Array<ArrayBuffer>[];
}

/** WebAssembly memories start on a page; of other buffers nobody knows where they lie. */
function aligned(buffers: readonly Uint8Array[]): boolean {
  return buffers.every(
    (buffer) =>
      typeof SharedArrayBuffer !== 'undefined' &&
      buffer.buffer instanceof SharedArrayBuffer &&
      buffer.byteOffset % DIRECT_ALIGN === 0 &&
      buffer.length % DIRECT_ALIGN === 0,
  );
}

function alignedArray(length: number): Uint8Array {
  const pages = Math.max(1, Math.ceil(length / 65536));
  return new Uint8Array(new WebAssembly.Memory({ initial: pages }).buffer, 0, length);
}

function bounce(buffers: readonly Uint8Array[]): Uint8Array {
  const own = alignedArray(totalLength(buffers));
  own.set(gather(buffers));
  return own;
}

/** Bytes of a block device, from sysfs (fstat says 0 for them). Linux gives the size in 512-byte sectors. */
function deviceSize(rdev: number, name: string): number {
  const major = (Math.floor(rdev / 2 ** 32) & 0xfffff000) | ((rdev >>> 8) & 0xfff);
  const minor = (Math.floor(rdev / 2 ** 12) & 0xffffff00) | (rdev & 0xff);
  try {
    return Number(fs.readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'latin1')) * 512;
  } catch (error) {
    throw hostError(`Could not get the size of '${name}'`, error);
  }
}

function openFile(name: string, options: OpenOptions): NodeFile {
  let flags = options.write ? fs.constants.O_RDWR : fs.constants.O_RDONLY;
  // So that a FIFO given as a disk is refused below instead of blocking the process.
  flags |= fs.constants.O_NONBLOCK ?? 0;
  if (options.direct === true) flags |= fs.constants.O_DIRECT ?? 0;
  let fd: number;
  try {
    fd = fs.openSync(name, flags);
  } catch (error) {
    if (errnoName(error) === 'EISDIR') throw notRegular(name);
    throw hostError(`Could not open '${name}'`, error);
  }
  const stat = fs.fstatSync(fd);
  if (!stat.isFile() && !stat.isBlockDevice()) {
    fs.closeSync(fd);
    throw notRegular(name);
  }
  if (options.direct === true && stat.isFile() && stat.size >= DIRECT_ALIGN) {
    // Some file systems take O_DIRECT and then ask for more than 512-byte alignment: found out here, not later.
    try {
      fs.readSync(fd, alignedArray(DIRECT_ALIGN), 0, DIRECT_ALIGN, 0);
    } catch (error) {
      fs.closeSync(fd);
      throw hostError(`Could not open '${name}'`, error);
    }
  }
  return new NodeFile(fd, name, stat.isFile() ? 'file' : 'device', options);
}

function notRegular(name: string): HostError {
  return new HostError(`'file' driver requires '${name}' to be a regular file`);
}

/** A file without a name, in TMPDIR or the place for large temporary files. */
function temporaryFile(): NodeFile {
  const folder = process.env['TMPDIR'] ?? (fs.existsSync('/var/tmp') ? '/var/tmp' : os.tmpdir());
  let base: string | undefined;
  try {
    base = fs.mkdtempSync(path.join(folder, 'paravane-'));
    const name = path.join(base, 'overlay');
    const fd = fs.openSync(name, 'wx+', 0o600);
    fs.unlinkSync(name);
    fs.rmdirSync(base);
    return new NodeFile(fd, name, 'file', { write: true });
  } catch (error) {
    throw hostError(`Could not create temporary overlay in '${base ?? folder}'`, error);
  }
}

/** The block room's host on Node.js. `warn` goes to stderr unless given. */
export function nodeBlockHost(
  warn: (message: string) => void = (message) => process.stderr.write(`${message}\n`),
): BlockHost {
  return { open: openFile, temporary: temporaryFile, warn };
}
