/**
 * What the chardev room needs of a host: byte streams with flow control, listening sockets, a terminal. Node's
 * is in `src/host/node/char.ts`.
 */

/** A byte stream to the outside. The callbacks are set by its one user, before it lets data flow. */
export interface HostStream {
  /** Input; the array may be kept. Comes only while resumed: a stream starts paused. */
  onData: (data: Uint8Array) => void;
  /** There is room again after a `write` that took less than it was given. */
  onDrain: () => void;
  /** The other side is gone, once; nothing comes after it. */
  onClose: () => void;
  /** Takes up to `data.length` bytes (copied) and returns how many; what it took is bounded. */
  write(data: Uint8Array): number;
  pause(): void;
  resume(): void;
  /** Sends what was taken, then closes; gives up after a second. `onClose` is not called. */
  close(): Promise<void>;
  /** Both ends' addresses as `host:port`, for internet sockets. */
  readonly local?: string;
  readonly peer?: string;
}

export interface HostTerminal extends HostStream {
  /** Undefined when the output is no terminal. */
  size(): { readonly columns: number; readonly rows: number } | undefined;
  onResize: () => void;
}

export type SocketAddress =
  | { readonly type: 'unix'; readonly path: string; readonly abstract?: boolean }
  | {
      readonly type: 'inet';
      readonly host: string;
      readonly port: number;
      /** Last port to try when listening. */
      readonly to?: number;
      readonly ipv4?: boolean;
      readonly ipv6?: boolean;
      readonly noDelay?: boolean;
    };

export interface HostListener {
  /** Where it listens; the port is the real one. */
  readonly address: SocketAddress;
  /** The next waiting connection, or the next to come. One call at a time. */
  accept(): Promise<HostStream>;
  close(): Promise<void>;
}

/** A file that is written from its start, or appended to. */
export interface HostSink {
  /** Takes all, or throws. */
  write(data: Uint8Array): void;
  close(): void;
}

export interface CharHost {
  /** Standard input and output. `signals`: Ctrl-C and Ctrl-\ still reach the process. */
  stdio(options: { readonly signals: boolean }): HostTerminal;
  openSink(path: string, append: boolean): HostSink;
  /** One file for both ways, or `PATH.in` and `PATH.out`. */
  openPipe(path: string): HostStream;
  /** A serial port or another terminal device. */
  openTty(path: string): HostStream;
  /** A new pseudo-terminal; `name` is the side that others open. */
  openPty(): { readonly stream: HostStream; readonly name: string; readonly connected: () => boolean };
  connect(address: SocketAddress): Promise<HostStream>;
  listen(address: SocketAddress): Promise<HostListener>;
  /** Calls once, after so many milliseconds; returns the cancel. Does not keep the process alive. */
  delay(milliseconds: number, call: () => void): () => void;
  /** Milliseconds, from any start. */
  now(): number;
  /** For the user: what QEMU prints on standard output (a pty's name) or standard error (the rest). */
  inform(message: string): void;
  warn(message: string): void;
}
