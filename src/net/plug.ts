/**
 * The socket in the wall: what a card is plugged into, whatever netdev is behind it. The netdev may go away while the
 * card stays (`netdev_del`), and others may listen on the wire (`filter-dump`).
 */
import type { Netdev, NetFrontend, Offload, OffloadCaps } from './netdev.ts';

/** Hears every frame that passes: `rx` is what the guest receives. */
export type WireListener = (frame: Uint8Array, direction: 'rx' | 'tx') => void;

export class NetPlug implements Netdev {
  readonly id: string;
  readonly type: string;
  readonly txCaps: OffloadCaps;
  /** What it was, when it is gone. */
  #text = '';
  #inner: Netdev | undefined;
  #frontend: NetFrontend | undefined;
  #listeners: readonly WireListener[] = [];
  #detach: (() => void) | undefined;

  constructor(inner: Netdev) {
    this.id = inner.id;
    this.type = inner.type;
    this.txCaps = inner.txCaps;
    this.#inner = inner;
  }

  /** The netdev itself, as long as it is there. */
  get inner(): Netdev | undefined {
    return this.#inner;
  }

  get linkUp(): boolean {
    return this.#inner?.linkUp ?? false;
  }

  /** Hears of all frames from now on; the result stops that. */
  listen(listener: WireListener): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /** The netdev goes away, and with it the link. */
  async pull(): Promise<void> {
    const inner = this.#inner;
    this.#text = this.describe();
    this.#inner = undefined;
    this.#detach?.();
    this.#frontend?.linkChanged(false);
    await inner?.close();
  }

  send(frame: Uint8Array, offload?: Offload): void {
    for (const listener of this.#listeners) listener(frame, 'tx');
    this.#inner?.send(frame, offload);
  }

  acceptInput(): void {
    this.#inner?.acceptInput();
  }

  attach(frontend: NetFrontend): () => void {
    this.#frontend = frontend;
    this.#detach = this.#inner?.attach({
      get rxCaps() {
        return frontend.rxCaps;
      },
      receive: (frame, offload) => {
        const taken = frontend.receive(frame, offload);
        // What the card had no room for comes again.
        if (taken) for (const listener of this.#listeners) listener(frame, 'rx');
        return taken;
      },
      linkChanged: (up) => frontend.linkChanged(up),
    });
    return () => {
      this.#detach?.();
      this.#detach = undefined;
      this.#frontend = undefined;
    };
  }

  describe(): string {
    return this.#inner?.describe() ?? this.#text;
  }

  async close(): Promise<void> {
    await this.#inner?.close();
  }
}
