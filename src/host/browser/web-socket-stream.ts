/**
 * A byte stream over a page's `WebSocket`, as client: binary messages one behind the other. A `WebSocket` cannot be
 * told to wait, so what comes while the guest takes nothing is kept up to a bound; a server that goes beyond it is
 * cut off rather than half heard.
 */
import type { HostStream } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';

/** Bytes that wait to be sent before `write` takes less than it is given. */
const OUTPUT_LIMIT = 262_144;
/** Bytes that wait for the guest before the connection is given up. */
const INPUT_LIMIT = 16 << 20;
/** Milliseconds between looks at what has been sent: there is no event for it. */
const DRAIN_INTERVAL = 10;
/** Close codes for applications begin here (RFC 6455, 7.4.2). */
const TOO_SLOW = 4000;

/** What is used of a `WebSocket`. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
}

class WebSocketStream implements HostStream {
  onData: (data: Uint8Array) => void = () => {};
  onDrain: () => void = () => {};
  onClose: () => void = () => {};
  readonly #socket: SocketLike;
  #flowing = false;
  #gone = false;
  #kept: Uint8Array[] = [];
  #keptLength = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(socket: SocketLike) {
    this.#socket = socket;
    socket.onmessage = (event: { readonly data: unknown }) => this.#arrived(event.data);
    socket.onclose = () => this.#end();
  }

  #arrived(message: unknown): void {
    if (this.#gone) return;
    const data =
      typeof message === 'string'
        ? new TextEncoder().encode(message)
        : message instanceof ArrayBuffer
          ? new Uint8Array(message)
          : undefined;
    if (data === undefined) return;
    if (this.#flowing) return this.onData(data);
    this.#kept.push(data);
    this.#keptLength += data.length;
    if (this.#keptLength <= INPUT_LIMIT) return;
    this.#socket.close(TOO_SLOW, 'the guest does not read');
    this.#end();
  }

  #end(): void {
    if (this.#gone) return;
    for (const data of this.#kept.splice(0)) this.onData(data);
    this.#gone = true;
    clearInterval(this.#timer);
    this.onClose();
  }

  write(data: Uint8Array): number {
    if (this.#gone) return data.length;
    const count = Math.min(data.length, Math.max(0, OUTPUT_LIMIT - this.#socket.bufferedAmount));
    if (count > 0) this.#socket.send(new Uint8Array(data.subarray(0, count)));
    if (count < data.length) this.#watch();
    return count;
  }

  #watch(): void {
    this.#timer ??= setInterval(() => {
      if (this.#socket.bufferedAmount > OUTPUT_LIMIT / 2) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.onDrain();
    }, DRAIN_INTERVAL);
  }

  pause(): void {
    this.#flowing = false;
  }

  resume(): void {
    this.#flowing = true;
    while (this.#kept.length > 0 && this.#flowing) {
      const data = this.#kept.shift()!;
      this.#keptLength -= data.length;
      this.onData(data);
    }
  }

  close(): Promise<void> {
    this.#gone = true;
    clearInterval(this.#timer);
    this.#socket.close();
    return Promise.resolve();
  }
}

/** The stream of `socket` when it is open. @throws HostError when the server is not there */
export function webSocketStream(socket: SocketLike, url: string): Promise<HostStream> {
  socket.binaryType = 'arraybuffer';
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(new WebSocketStream(socket));
    // A page is not told the reason.
    socket.onerror = () => reject(new HostError(`Failed to connect to '${url}'`));
  });
}
