/**
 * What the chardev room needs of a host: byte streams with flow control, listening sockets, a terminal. Node's
 * is in `src/host/node/char.ts`.
 */

import type { SerialLine } from './chardev.ts';

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

/** A serial port, or another device that is opened like one. */
export interface HostTty extends HostStream {
  readonly line?: SerialLine | undefined;
}

export interface HostTerminal extends HostStream {
  /** Undefined when the output is no terminal. */
  size(): { readonly columns: number; readonly rows: number } | undefined;
  onResize: () => void;
}

export interface UnixAddress {
  readonly type: 'unix';
  readonly path: string;
  /** The path is a name in Linux's abstract namespace (unix(7)); `tight`: without zeroes behind it. */
  readonly abstract?: boolean;
  readonly tight?: boolean;
}

export interface InetAddress {
  readonly type: 'inet';
  readonly host: string;
  readonly port: number;
  /** Last port to try when listening. */
  readonly to?: number;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
}

/** A socket that this process was started with. */
export interface FdAddress {
  readonly type: 'fd';
  readonly fd: number;
}

export type SocketAddress = UnixAddress | InetAddress | FdAddress;

/** Keys and certificates, as `CharHost.openTls` read them; what is inside is the host's business. */
export interface HostTls {
  readonly endpoint: 'client' | 'server';
}

/** Properties of `-object tls-creds-x509` and `tls-creds-psk`. */
export interface TlsConfig {
  readonly type: 'tls-creds-x509' | 'tls-creds-psk';
  readonly dir: string;
  readonly endpoint: 'client' | 'server';
  /** The other side has to prove who it is. */
  readonly verifyPeer: boolean;
  /** GnuTLS's priority string. */
  readonly priority?: string;
  /** The name that a client gives with a pre-shared key. */
  readonly username: string;
}

/** What lies between the socket and the bytes. */
export interface SocketLayers {
  readonly tls?: HostTls;
  readonly websocket?: boolean;
}

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

/** A file for output that may be a FIFO or a terminal, and so may have to wait. */
export interface HostOutput {
  onDrain: () => void;
  /** Takes up to `data.length` bytes (copied) and returns how many; throws when the file cannot be written. */
  write(data: Uint8Array): number;
  close(): Promise<void>;
}

export interface HostPty {
  readonly stream: HostStream;
  /** The side that others open. */
  readonly name: string;
  /** True while someone has it open. */
  readonly connected: () => boolean;
  onConnected: (connected: boolean) => void;
}

export interface CharHost {
  /** Standard input and output. `signals`: Ctrl-C and Ctrl-\ still reach the process. */
  stdio(options: { readonly signals: boolean }): HostTerminal;
  /** A log file, made when it is not there. */
  openSink(path: string, append: boolean): HostSink;
  openOutput(path: string, append: boolean): HostOutput;
  openInput(path: string): HostStream;
  /** One file for both ways, or `PATH.in` and `PATH.out`. */
  openPipe(path: string): HostStream;
  /** A serial port or another device. */
  openTty(path: string): HostTty;
  /** A new pseudo-terminal; with `link`, a symbolic link leads to it until it is closed. */
  openPty(link?: string): HostPty;
  connect(address: SocketAddress, layers?: SocketLayers): Promise<HostStream>;
  /** `connect` speaks WebSocket: in a browser, where there is nothing else. */
  readonly webSocketClient?: true;
  listen(address: SocketAddress, layers?: SocketLayers): Promise<HostListener>;
  /** Each write is one datagram to `remote`, or is not taken at all. */
  openUdp(remote: InetAddress, local: InetAddress): Promise<HostStream>;
  /** Reads keys and certificates; throws a `HostError` that names the file, a `UsageError` for what is not supported. */
  openTls(config: TlsConfig): HostTls;
  /** Calls once, after so many milliseconds; returns the cancel. Does not keep the process alive. */
  delay(milliseconds: number, call: () => void): () => void;
  /** Milliseconds, from any start. */
  now(): number;
  /** For the user: what QEMU prints on standard output (a pty's name) or standard error (the rest). */
  inform(message: string): void;
  warn(message: string): void;
}
