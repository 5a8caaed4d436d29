/**
 * A byte stream over a `MessagePort`: a worker's chardev and the page's terminal are its two ends, and both are this
 * class. Ports know no flow control, so each end says how much it has taken (`credit`), and the other has never more
 * than a window's worth on the way.
 */
import type { HostStream } from '../../chardev/host.ts';

/** Bytes that may be on the way. */
const WINDOW = 262_144;
/** Credit is given back in portions of at least so many bytes. */
const PORTION = WINDOW / 8;

type PortMessage =
  | { readonly type: 'data'; readonly data: Uint8Array }
  | { readonly type: 'credit'; readonly bytes: number }
  | { readonly type: 'close' };

/** What is used of a `MessagePort`. */
export interface PortLike {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void;
  close(): void;
}

/** A message of the protocol; undefined for anything else that comes through the port. */
function readMessage(value: unknown): PortMessage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { type, data, bytes } = value as { type?: unknown; data?: unknown; bytes?: unknown };
  if (type === 'close') return { type };
  if (type === 'data' && data instanceof Uint8Array) return { type, data };
  if (type === 'credit' && typeof bytes === 'number' && bytes > 0) return { type, bytes };
  return undefined;
}

export class PortStream implements HostStream {
  onData: (data: Uint8Array) => void = () => {};
  onDrain: () => void = () => {};
  onClose: () => void = () => {};
  readonly #port: PortLike;
  /** Bytes that may be sent. */
  #credit = WINDOW;
  #blocked = false;
  #flowing = false;
  #gone = false;
  #kept: Uint8Array[] = [];
  #keptLength = 0;
  /** Bytes taken that the other end has not been told of. */
  #taken = 0;

  /** Takes the port over; the other end of the channel is to have a `PortStream` too. */
  constructor(port: PortLike) {
    this.#port = port;
    port.onmessage = ({ data }) => this.#message(readMessage(data));
  }

  #message(message: PortMessage | undefined): void {
    if (message === undefined || this.#gone) return;
    if (message.type === 'data') this.#arrived(message.data);
    else if (message.type === 'close') this.#end();
    else {
      this.#credit = Math.min(WINDOW, this.#credit + message.bytes);
      if (!this.#blocked) return;
      this.#blocked = false;
      this.onDrain();
    }
  }

  #arrived(data: Uint8Array): void {
    if (this.#flowing) {
      this.#take(data);
      return;
    }
    // An end that sends more than it may does not speak this protocol.
    if (this.#keptLength + data.length > WINDOW) return this.#end();
    this.#kept.push(data);
    this.#keptLength += data.length;
  }

  #take(data: Uint8Array): void {
    this.#taken += data.length;
    if (this.#taken >= PORTION) {
      this.#port.postMessage({ type: 'credit', bytes: this.#taken });
      this.#taken = 0;
    }
    this.onData(data);
  }

  #end(): void {
    // What was sent before the end still comes first.
    for (const data of this.#kept.splice(0)) this.onData(data);
    this.#gone = true;
    this.#port.close();
    this.onClose();
  }

  write(data: Uint8Array): number {
    if (this.#gone) return data.length;
    const count = Math.min(data.length, this.#credit);
    if (count < data.length) this.#blocked = true;
    if (count === 0) return 0;
    this.#credit -= count;
    // Not `slice`, which for Node's buffers is a view.
    const copy = new Uint8Array(data.subarray(0, count));
    this.#port.postMessage({ type: 'data', data: copy }, [copy.buffer]);
    return count;
  }

  pause(): void {
    this.#flowing = false;
  }

  resume(): void {
    this.#flowing = true;
    while (this.#kept.length > 0 && this.#flowing && !this.#gone) {
      const data = this.#kept.shift()!;
      this.#keptLength -= data.length;
      this.#take(data);
    }
  }

  close(): Promise<void> {
    if (!this.#gone) this.#port.postMessage({ type: 'close' });
    this.#gone = true;
    this.#port.close();
    return Promise.resolve();
  }
}
