/**
 * Node's duplex streams as `HostStream`s: bounded output, exact flow control both ways. Node pauses a stream only
 * between chunks, so a chunk that comes after `pause` is kept.
 */
import * as fs from 'node:fs';
import * as net from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { HostStream } from '../../chardev/host.ts';

/** Bytes that wait to be sent before `write` takes less than it is given. */
const OUTPUT_LIMIT = 65536;
/**
 * Writes below this many bytes leave as one, but for the first within a turn of the event loop: a serial port writes
 * single bytes, and a program that waits for an answer to a single byte should not wait for the end of the turn.
 */
const GATHER = 4096;
/** Milliseconds that a peer gets to take the last bytes. */
const CLOSE_LIMIT = 1000;

export class NodeStream implements HostStream {
  onData: (data: Uint8Array) => void = () => {};
  onDrain: () => void = () => {};
  onClose: () => void = () => {};
  readonly local?: string;
  readonly peer?: string;
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #endsWithInput: boolean;
  /** The output is a plain socket of the system. */
  readonly #plain: boolean;
  /** How long `close` waits for the other side to take what was accepted, in milliseconds. */
  protected readonly closeLimit: number = CLOSE_LIMIT;
  #flowing = false;
  #blocked = false;
  #gone = false;
  #kept: Uint8Array[] = [];
  #gathered = Buffer.alloc(0);
  #gatheredLength = 0;
  /** Something is to be done at the end of this turn of the event loop. */
  #turn = false;
  /** A small write left at once in this turn. */
  #sentSmall = false;

  /**
   * @param options.endsWithInput the end of input means that the other side is gone (sockets), and not only that
   * it will send no more (standard input)
   */
  constructor(
    input: Readable,
    output: Writable,
    options: { readonly endsWithInput?: boolean; readonly local?: string; readonly peer?: string } = {},
  ) {
    this.#input = input;
    this.#output = output;
    this.#endsWithInput = options.endsWithInput ?? true;
    this.#plain = output.constructor === net.Socket;
    if (options.local !== undefined) this.local = options.local;
    if (options.peer !== undefined) this.peer = options.peer;
    input.pause();
    input.on('data', this.#data);
    input.on('end', this.#end);
    input.on('error', this.#fail);
    input.on('close', this.#end);
    if ((output as unknown) !== input) {
      output.on('error', this.#fail);
      output.on('close', this.#fail);
    }
  }

  readonly #data = (data: Uint8Array): void => {
    if (this.#flowing) this.onData(data);
    else this.#kept.push(data);
  };

  readonly #end = (): void => {
    if (this.#endsWithInput) this.#fail();
  };

  readonly #fail = (): void => {
    if (this.#gone) return;
    // What was read before the end still comes first.
    for (const data of this.#kept.splice(0)) this.onData(data);
    this.#gone = true;
    this.onClose();
  };

  write(data: Uint8Array): number {
    if (this.#gone || this.#output.destroyed || !this.#output.writable) return data.length;
    const sent = this.#sendNow(data);
    const room = OUTPUT_LIMIT - this.#output.writableLength - this.#gatheredLength;
    const count = Math.min(data.length - sent, Math.max(0, room));
    const rest = data.subarray(sent, sent + count);
    if (sent + count < data.length) this.#blocked = true;
    if (count >= GATHER) {
      this.#flush();
      this.#output.write(Buffer.from(rest), this.#written);
    } else if (count > 0) this.#gather(rest);
    return sent + count;
  }

  /**
   * Gives the bytes to the system without a copy, an object for the write and a turn of the event loop, where
   * nothing waits in front of them. Returns how many it took.
   */
  #sendNow(data: Uint8Array): number {
    if (!this.#plain || this.#gatheredLength > 0 || this.#output.writableLength > 0) return 0;
    if (data.length < GATHER) {
      if (this.#sentSmall) return 0;
      this.#sentSmall = true;
      this.#atEndOfTurn();
    }
    // Read anew each time: once the socket is destroyed, the number may be another file's.
    const fd = (this.#output as Writable & { _handle?: { fd?: number } })._handle?.fd;
    if (fd === undefined || fd < 0) return 0;
    let sent = 0;
    try {
      while (sent < data.length) sent += fs.writeSync(fd, data, sent);
    } catch {
      // Full (EAGAIN), or the peer is gone: the stream waits for room, or finds out.
    }
    return sent;
  }

  #gather(data: Uint8Array): void {
    if (this.#gatheredLength + data.length > GATHER) this.#flush();
    if (this.#gatheredLength === 0) {
      this.#gathered = Buffer.allocUnsafe(GATHER);
      this.#atEndOfTurn();
    }
    this.#gathered.set(data, this.#gatheredLength);
    this.#gatheredLength += data.length;
  }

  #atEndOfTurn(): void {
    if (this.#turn) return;
    this.#turn = true;
    queueMicrotask(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#turn = false;
    this.#sentSmall = false;
    this.#flush();
  };

  readonly #flush = (): void => {
    const length = this.#gatheredLength;
    this.#gatheredLength = 0;
    if (length > 0 && !this.#output.destroyed)
      this.#output.write(this.#gathered.subarray(0, length), this.#written);
  };

  readonly #written = (): void => {
    if (!this.#blocked || this.#gone || this.#output.writableLength > OUTPUT_LIMIT / 2) return;
    this.#blocked = false;
    this.onDrain();
  };

  pause(): void {
    if (!this.#flowing) return;
    this.#flowing = false;
    this.#input.pause();
  }

  resume(): void {
    if (this.#flowing || this.#gone) return;
    this.#flowing = true;
    while (this.#kept.length > 0 && this.#flowing) this.onData(this.#kept.shift()!);
    if (this.#flowing) this.#input.resume();
  }

  async close(): Promise<void> {
    this.#flush();
    this.#gone = true;
    this.#input.off('data', this.#data);
    this.#input.pause();
    if (this.#output.writableLength > 0 && !this.#output.destroyed) {
      await new Promise<void>((resolve) => {
        const timer =
          this.closeLimit === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, this.closeLimit);
        const done = (): void => {
          clearTimeout(timer);
          resolve();
        };
        this.#output.write('', done);
        this.#output.once('close', done);
      });
    }
    this.release();
  }

  /** Gives the streams up; standard input and output stay open. */
  protected release(): void {
    // Ended first, so that what was accepted reaches the peer; a peer that does not take it is cut off.
    const output = this.#output;
    output.end(() => output.destroy());
    setTimeout(() => output.destroy(), CLOSE_LIMIT).unref();
    if ((this.#input as unknown) !== output) this.#input.destroy();
  }
}
