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
 * Writes below this many bytes leave together, but for the first within a turn of the event loop. A serial port writes
 * single bytes and a program a few kilobytes, and each system call wakes the reader; but a program that waits for an
 * answer should not wait for the end of the turn.
 */
const SMALL = 16384;
/** Bytes of small writes that leave before the end of the turn: half of the limit, so that they are never in the way. */
const GATHER = OUTPUT_LIMIT / 2;
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
  #gathered: Buffer | undefined;
  #gatheredLength = 0;
  /** Something was written in this turn of the event loop. */
  #turn = false;

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
    if (data.length < SMALL && (this.#turn || !this.#plain)) return this.#gather(data);
    this.#flush();
    this.#atEndOfTurn();
    const sent = this.#sendNow(data);
    return sent === data.length ? sent : sent + this.#queue(data.subarray(sent));
  }

  /**
   * Gives the bytes to the system without a copy, an object for the write and a turn of the event loop, where
   * nothing waits in front of them. Returns how many it took.
   */
  #sendNow(data: Uint8Array): number {
    if (!this.#plain || this.#output.writableLength > 0) return 0;
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

  /** Copies what there is room for, and leaves it to Node. Returns how many bytes. */
  #queue(data: Uint8Array): number {
    const room = Math.max(0, OUTPUT_LIMIT - this.#output.writableLength);
    const count = Math.min(data.length, room);
    if (count < data.length) this.#blocked = true;
    if (count > 0) this.#output.write(Buffer.from(data.subarray(0, count)), this.#written);
    return count;
  }

  /** Keeps a small write for the end of the turn. Only what the stream holds can be in its way, and that drains. */
  #gather(data: Uint8Array): number {
    const room = Math.max(0, OUTPUT_LIMIT - this.#output.writableLength - this.#gatheredLength);
    const count = Math.min(data.length, room);
    if (count < data.length) this.#blocked = true;
    if (this.#gatheredLength + count > GATHER) this.#flush();
    this.#gathered ??= Buffer.allocUnsafeSlow(GATHER);
    this.#gathered.set(count === data.length ? data : data.subarray(0, count), this.#gatheredLength);
    this.#gatheredLength += count;
    this.#atEndOfTurn();
    return count;
  }

  #atEndOfTurn(): void {
    if (this.#turn) return;
    this.#turn = true;
    queueMicrotask(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#turn = false;
    this.#flush();
  };

  #flush(): void {
    const length = this.#gatheredLength;
    if (length === 0 || this.#output.destroyed) return;
    this.#gatheredLength = 0;
    const data = this.#gathered!.subarray(0, length);
    const sent = this.#sendNow(data);
    // Not bounded again: it was when it was taken.
    if (sent < length) this.#output.write(Buffer.from(data.subarray(sent)), this.#written);
  }

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
