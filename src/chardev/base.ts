/**
 * What all chardevs share: the one front end, input that waits until the front end has room, and the log file.
 * A subclass moves bytes to and from the host.
 */
import { assert } from '../core/errors.ts';
import type { Chardev, CharEvent, CharFrontend } from './chardev.ts';
import type { HostSink } from './host.ts';

export abstract class CharBase implements Chardev {
  readonly id: string;
  abstract readonly type: string;
  protected frontend: CharFrontend | undefined;
  #open = false;
  /** Input that the front end had no room for: at most what one delivery of the host brought. */
  #pending: Uint8Array | undefined;
  /** The peer went away, but its last bytes are still in `#pending`. */
  #closing = false;
  #pumping = false;
  #log: HostSink | undefined;

  constructor(id: string) {
    this.id = id;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Everything that the front end writes is copied to the sink as well (`logfile=`). */
  logTo(sink: HostSink | undefined): void {
    this.#log = sink;
  }

  write(data: Uint8Array): number {
    if (data.length === 0) return 0;
    const count = this.send(data);
    if (count > 0) this.#log?.write(count === data.length ? data : data.subarray(0, count));
    return count;
  }

  acceptInput(): void {
    this.#pump();
  }

  attach(frontend: CharFrontend): () => void {
    assert(this.frontend === undefined, `chardev '${this.id}' is already in use`);
    this.frontend = frontend;
    if (this.#open) frontend.event('opened');
    this.#pump();
    return () => {
      if (this.frontend !== frontend) return;
      this.frontend = undefined;
      this.pauseInput();
    };
  }

  sendBreak(): void {
    this.event('break');
  }

  abstract describe(): string;

  async close(): Promise<void> {
    this.#pending = undefined;
    this.#log?.close();
    this.#log = undefined;
    await this.shutdown();
  }

  /** Takes bytes for the host (copied), returns how many. */
  protected abstract send(data: Uint8Array): number;
  /** No room: `deliver` must not be called until `resumeInput`. */
  protected pauseInput(): void {}
  protected resumeInput(): void {}
  protected abstract shutdown(): Promise<void>;

  /** Input from the host. All of it reaches the front end, as fast as that takes it. */
  protected deliver(data: Uint8Array): void {
    if (data.length === 0) return;
    if (this.#pending === undefined) this.#pending = data;
    else {
      const both = new Uint8Array(this.#pending.length + data.length);
      both.set(this.#pending);
      both.set(data, this.#pending.length);
      this.#pending = both;
    }
    this.#pump();
  }

  /** Bytes that wait for the front end. */
  protected get waiting(): number {
    return this.#pending?.length ?? 0;
  }

  /** True while the last bytes of a peer that is gone wait for the front end. */
  protected get closing(): boolean {
    return this.#closing;
  }

  protected event(event: CharEvent): void {
    this.frontend?.event(event);
  }

  /** The front end may write again. */
  protected drained(): void {
    this.frontend?.writable();
  }

  protected setOpen(): void {
    // What an earlier peer left unread belongs to it; the new one starts clean, after a 'closed'.
    if (this.#closing) this.#finishClosing();
    if (this.#open) return;
    this.#open = true;
    this.event('opened');
    this.#pump();
  }

  /** The peer is gone. The front end hears of it when it has taken the peer's last bytes. */
  protected setClosed(): void {
    if (!this.#open || this.#closing) return;
    this.#closing = true;
    if (this.#pending === undefined) this.#finishClosing();
  }

  /** Called when the front end has heard that the peer is gone. */
  protected afterClosed(): void {}

  #finishClosing(): void {
    this.#pending = undefined;
    this.#closing = false;
    this.#open = false;
    this.event('closed');
    this.afterClosed();
  }

  #pump(): void {
    // A front end may ask for more from inside `receive`.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#pending !== undefined && this.frontend !== undefined) {
        const room = this.frontend.canReceive();
        if (room <= 0) break;
        const data = this.#pending;
        this.#pending = data.length > room ? data.subarray(room) : undefined;
        this.frontend.receive(data.length > room ? data.subarray(0, room) : data);
      }
    } finally {
      this.#pumping = false;
    }
    if (this.#pending === undefined && this.#closing) this.#finishClosing();
    // One delivery is read ahead even when there is no room: that is how the peer's end is noticed. What comes
    // after it stays in the host's buffers, and so makes the peer wait.
    if (this.#pending === undefined && this.frontend !== undefined) this.resumeInput();
    else this.pauseInput();
  }
}
