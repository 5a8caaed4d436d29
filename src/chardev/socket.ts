/**
 * `socket`: a unix or internet stream socket, as server (one client at a time, the others wait) or as client.
 * Without a peer the front end sees 'closed' and what it writes is dropped, as with QEMU.
 */
import { CharBase } from './base.ts';
import { connectedText, disconnectedText } from './address.ts';
import type { CharHost, HostListener, HostStream, SocketAddress, SocketLayers } from './host.ts';
import { TelnetStream } from './telnet.ts';

/** Milliseconds that a guest has to take what a peer left behind when the next peer is there already. */
const PATIENCE = 1000;

export interface SocketOptions {
  readonly address: SocketAddress;
  readonly server: boolean;
  /** Seconds between attempts of a client to connect (again); 0: never. */
  readonly reconnect: number;
  readonly telnet: boolean;
  readonly layers: SocketLayers;
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
  /** The user has been told that the server is not there. */
  #told = false;

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
      chardev.#listener = await host.listen(options.address, options.layers);
      const first = chardev.#acceptNext();
      if (wait) {
        host.warn(`info: Paravane waiting for connection on: ${chardev.describe()}`);
        await first;
      }
    } else if (options.reconnect > 0) void chardev.#tryConnect();
    else chardev.#connected(await host.connect(options.address, options.layers));
    return chardev;
  }

  describe(): string {
    const { server, telnet, layers } = this.#options;
    const address = this.#listener?.address ?? this.#options.address;
    const protocol = telnet ? 'telnet' : layers.websocket === true ? 'websocket' : 'tcp';
    return this.#stream === undefined
      ? disconnectedText(address, protocol, server)
      : connectedText(address, protocol, server, this.#stream);
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
  #connected(raw: HostStream): void {
    if (this.#ended) {
      void raw.close();
      return;
    }
    const stream = this.#options.telnet ? this.#speakTelnet(raw) : raw;
    if (!this.closing) return this.#adopt(stream);
    this.#next = stream;
    this.#cancelWait = this.#host.delay(PATIENCE, () => this.#adoptNext());
  }

  #speakTelnet(raw: HostStream): HostStream {
    const stream = new TelnetStream(raw);
    stream.onBreak = () => this.sendBreak();
    return stream;
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
      const stream = await this.#host.connect(this.#options.address, this.#options.layers);
      this.#told = false;
      this.#connected(stream);
    } catch (error) {
      if (!this.#told && !this.#ended)
        this.#host.warn(`Unable to connect character device ${this.id}: ${(error as Error).message}`);
      this.#told = true;
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#ended) return;
    this.#cancelRetry = this.#host.delay(this.#options.reconnect * 1000, () => void this.#tryConnect());
  }
}
