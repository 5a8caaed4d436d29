/** What the user-mode network needs of a host: sockets without privileges. `src/host/node/net.ts` has them. */

/** A TCP connection of the host. The callbacks are set at once after it was made. */
export interface HostTcp {
  onConnect: () => void;
  /** Comes only while not paused; the array may be kept. */
  onData: (data: Uint8Array) => void;
  /** The other side will send no more. */
  onEnd: () => void;
  /** The kernel has taken all or part of what was pending. */
  onDrain: () => void;
  /** It is gone, by an error (`code` is an errno name) or, without one, after both ends had ended. */
  onClose: (code: string | undefined) => void;
  /** Takes all of `data` (copied); who writes keeps `pending` within bounds. */
  write(data: Uint8Array): void;
  /** Bytes that were written and that the kernel has not taken. */
  readonly pending: number;
  pause(): void;
  resume(): void;
  /** Sends what is pending, then tells the other side that no more comes. */
  end(): void;
  /** Gives it up at once; with `reset` the other side hears of it as an error. */
  destroy(reset: boolean): void;
  /** Address and port of the other side. */
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export interface HostUdp {
  readonly port: number;
  /** Sends, or drops: the kernel's refusals are not told. The bytes are copied. */
  send(data: Uint8Array, address: string, port: number): void;
  close(): void;
}

/** Sends ICMP echo requests; the host puts an identifier of its own into them, and a checksum. */
export interface HostPing {
  send(message: Uint8Array, address: number): void;
  close(): void;
}

export interface NetHost {
  /** IPv4 `address`. Always answers with `onConnect` or `onClose`, later. */
  connect(address: string, port: number): HostTcp;
  /** Rejects with an error that has an errno name as `code`. */
  listen(
    address: string,
    port: number,
    onConnection: (connection: HostTcp) => void,
  ): Promise<{ readonly port: number; close(): void }>;
  /** Bound to `address` and `port` (0: any); `onMessage`'s array may be kept. */
  openUdp(
    address: string,
    port: number,
    onMessage: (data: Uint8Array, address: string, port: number) => void,
  ): Promise<HostUdp>;
  /** A way to ping; undefined where the host lets only root. */
  openPing?(onReply: (message: Uint8Array, address: number) => void): HostPing | undefined;
  /** The name servers that the host asks, as IPv4 addresses, `ADDRESS:PORT` where the port is not 53. */
  resolvers(): readonly string[];
  /** What the host's own resolver (hosts file and all) says; an empty list when it knows no such name. */
  lookup(name: string, family: 4 | 6): Promise<readonly string[]>;
  /** Calls once after so many milliseconds, unless cancelled. */
  delay(milliseconds: number, call: () => void): () => void;
  /** Milliseconds, monotonic. */
  now(): number;
  /** An unpredictable unsigned 32-bit number (initial sequence numbers, ports). */
  random32(): number;
}
