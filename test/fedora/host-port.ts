/**
 * A program on the host that talks to a port: a socket whose bytes are compared with the pattern that the guest's
 * program writes (`pattern` of test/guest/port-agent.c), that can stop reading, and that knows when it was told to wait.
 */
import * as net from 'node:net';
import { delay, within } from './vm.ts';

/** The bytes [offset, offset + length) of a stream with this seed. */
export function pattern(offset: number, length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0, at = offset; i < length; i++, at++)
    bytes[i] = at * 7 + Math.floor(at / 256) * 13 + Math.floor(at / 65536) * 31 + seed;
  return bytes;
}

export type Address = { readonly path: string } | { readonly port: number; readonly host?: string };

export class HostPort {
  readonly socket: net.Socket;
  #chunks: Buffer[] = [];
  #length = 0;
  #notify: (() => void) | undefined;
  ended = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (data: Buffer) => {
      this.#chunks.push(data);
      this.#length += data.length;
      this.#notify?.();
    });
    socket.on('close', () => {
      this.ended = true;
      this.#notify?.();
    });
    socket.on('end', () => {
      this.ended = true;
      this.#notify?.();
    });
  }

  /** Connects, trying again while nobody listens yet. */
  static async connect(address: Address): Promise<HostPort> {
    for (let attempt = 0; ; attempt++) {
      const socket = net.connect(address as net.NetConnectOpts);
      const error = await new Promise<Error | undefined>((resolve) => {
        socket.once('connect', () => resolve(undefined));
        socket.once('error', resolve);
      });
      if (error === undefined) return new HostPort(socket);
      if (attempt > 100) throw error;
      await delay(50);
    }
  }

  /** Bytes that came and were not taken. */
  get length(): number {
    return this.#length;
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data);
  }

  /** Sends `total` bytes of the pattern, no faster than they are taken; done when the system has them. */
  async fill(total: number, seed: number, chunk = 65536): Promise<void> {
    for (let done = 0; done < total; ) {
      const length = Math.min(chunk, total - done);
      const bytes = pattern(done, length, seed);
      done += length;
      if (!this.socket.write(bytes)) await new Promise((resolve) => this.socket.once('drain', resolve));
    }
  }

  /** Takes exactly `count` bytes. */
  async take(count: number, milliseconds = 600_000): Promise<Buffer> {
    const deadline = Date.now() + milliseconds;
    while (this.#length < count) {
      if (this.ended) throw new Error(`the port's socket ended after ${this.#length} of ${count} bytes`);
      const more = new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
      await within(more, Math.max(1, deadline - Date.now()), `${count} bytes (${this.#length} so far)`);
    }
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = all.length > count ? [all.subarray(count)] : [];
    this.#length = all.length - count;
    return all.subarray(0, count);
  }

  /** Takes `count` bytes and forgets them, as they come: nothing is kept of what may be much. */
  async skip(count: number, milliseconds = 600_000): Promise<void> {
    for (let left = count; left > 0; ) {
      const length = Math.max(1, Math.min(left, this.#length));
      await this.take(length, milliseconds);
      left -= length;
    }
  }

  /** Takes what comes until nothing has come for `milliseconds`. */
  async rest(milliseconds = 300): Promise<Buffer> {
    for (let before = -1; before !== this.#length; ) {
      before = this.#length;
      await delay(milliseconds);
    }
    return this.take(this.#length);
  }

  /** Reads `total` bytes and compares them; says where the first wrong one is. */
  async drain(total: number, seed: number, milliseconds = 600_000): Promise<string> {
    for (let done = 0; done < total; ) {
      const bytes = await this.take(Math.max(1, Math.min(this.#length, total - done)), milliseconds);
      const right = pattern(done, bytes.length, seed);
      if (!bytes.equals(right)) return `wrong at ${done + bytes.findIndex((byte, i) => byte !== right[i])}`;
      done += bytes.length;
    }
    return 'equal';
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  async close(): Promise<void> {
    if (!this.socket.destroyed) {
      const closed = new Promise((resolve) => this.socket.once('close', resolve));
      this.socket.destroy();
      await closed;
    }
  }
}
