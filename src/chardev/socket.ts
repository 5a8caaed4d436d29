/**
 * `socket`: a unix or internet stream socket, as server (one client at a time, the others wait) or as client.
 * Without a peer the front end sees 'closed' and what it writes is dropped, as with QEMU.
 */
import { CharBase } from './base.ts';
import type { CharHost, HostListener, HostStream, SocketAddress } from './host.ts';

/** Milliseconds that a guest has to take what a peer left behind when the next peer is there already. */
const PATIENCE = 1000;

export interface SocketOptions {
  readonly address: SocketAddress;
  readonly server: boolean;
  /** Seconds between attempts of a client to connect (again); 0: never. */
  readonly reconnect: number;
}

export class SocketChardev extends CharBase {
  readonly type = 'socket';
  readonly #options: SocketOptions;
  readonly #host: CharHost;
  #listener: HostListener | undefined;
  #stream: HostStream | undefined;
  #cancelRetry: () => void = () => {};
  /** A peer that came while the last one's bytes were not all taken. */
  #next: HostStream | undefined;
  #cancelWait: () => void = () => {};
  #flow = false;
  #ended = false;

  private constructor(id: string, options: SocketOptions, host: CharHost) {
    super(id);
    this.#options = options;
    this.#host = host;
  }

  /**
   * Listens, or connects: a client whose server is not there fails, unless it is to try again.
   * @param wait a server is only done when its first client is there
   */
  static async create(
    id: string,
    options: SocketOptions,
    wait: boolean,
    host: CharHost,
  ): Promise<SocketChardev> {
    const chardev = new SocketChardev(id, options, host);
    if (options.server) {
      chardev.#listener = await host.listen(options.address);
      const first = chardev.#acceptNext();
      if (wait) {
        host.warn(`info: Paravane waiting for connection on: ${chardev.describe()}`);
        await first;
      }
    } else if (options.reconnect > 0) void chardev.#tryConnect();
    else chardev.#connected(await host.connect(options.address));
    return chardev;
  }

  describe(): string {
    const address = this.#listener?.address ?? this.#options.address;
    const server = this.#options.server ? ',server=on' : '';
    const peer = this.#stream?.peer;
    const state = this.#stream === undefined ? 'disconnected:' : '';
    if (address.type === 'unix') return `${state}unix:${address.path}${server}`;
    if (peer !== undefined && this.#stream?.local !== undefined) {
      return `tcp:${this.#stream.local}${server} <-> ${peer}`;
    }
    const host = address.host.includes(':') ? `[${address.host}]` : address.host;
    return `${state}tcp:${host}:${address.port}${server}`;
  }

  /** Drops the peer, as if it had gone (`chardev-change`, tests). */
  disconnect(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    stream.onClose();
    void stream.close();
  }

  protected send(data: Uint8Array): number {
    return this.#stream === undefined ? data.length : this.#stream.write(data);
  }

  protected override pauseInput(): void {
    this.#flow = false;
    this.#stream?.pause();
  }

  protected override resumeInput(): void {
    this.#flow = true;
    this.#stream?.resume();
  }

  protected async shutdown(): Promise<void> {
    this.#ended = true;
    this.#cancelRetry();
    this.#cancelWait();
    await this.#next?.close();
    const stream = this.#stream;
    this.#stream = undefined;
    await stream?.close();
    await this.#listener?.close();
  }

  /** A new peer. Bytes of the one before it that still wait get a second to be taken. */
  #connected(stream: HostStream): void {
    if (this.#ended) {
      void stream.close();
      return;
    }
    if (!this.closing) return this.#adopt(stream);
    this.#next = stream;
    this.#cancelWait = this.#host.delay(PATIENCE, () => this.#adoptNext());
  }

  #adopt(stream: HostStream): void {
    this.#stream = stream;
    stream.onData = (data) => this.deliver(data);
    stream.onDrain = () => this.drained();
    stream.onClose = () => {
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      void stream.close();
      this.setClosed();
      // A writer that waited for room need not: what it writes is dropped now.
      this.drained();
      if (this.#ended) return;
      if (this.#listener !== undefined) void this.#acceptNext();
      else if (this.#options.reconnect > 0) this.#retryLater();
    };
    this.setOpen();
    if (this.#flow) stream.resume();
  }

  #adoptNext(): void {
    this.#cancelWait();
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.#adopt(next);
  }

  protected override afterClosed(): void {
    this.#adoptNext();
  }

  async #acceptNext(): Promise<void> {
    const stream = await this.#listener!.accept();
    this.#connected(stream);
  }

  async #tryConnect(): Promise<void> {
    try {
      this.#connected(await this.#host.connect(this.#options.address));
    } catch {
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#ended) return;
    this.#cancelRetry = this.#host.delay(this.#options.reconnect * 1000, () => void this.#tryConnect());
  }
}
