/** A host for tests of the user-mode network: sockets that the test holds the other end of, and time by hand. */
import type { HostPing, HostTcp, HostUdp, NetHost } from './host.ts';

export class FakeTcp implements HostTcp {
  onConnect: () => void = () => {};
  onData: (data: Uint8Array) => void = () => {};
  onEnd: () => void = () => {};
  onDrain: () => void = () => {};
  onClose: (code: string | undefined) => void = () => {};
  remoteAddress = '127.0.0.1';
  remotePort = 40000;
  pending = 0;
  /** Bytes stay pending until `take`. */
  slow = false;
  written: number[] = [];
  paused = false;
  ended = false;
  destroyed: 'no' | 'closed' | 'reset' = 'no';

  write(data: Uint8Array): void {
    this.written.push(...data);
    if (this.slow) this.pending += data.length;
  }
  take(count: number): void {
    this.pending -= count;
    this.onDrain();
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {
    this.ended = true;
  }
  destroy(reset: boolean): void {
    this.destroyed = reset ? 'reset' : 'closed';
  }
}

export interface FakeUdp extends HostUdp {
  readonly sent: { data: Uint8Array; address: string; port: number }[];
  readonly bound: string;
  onMessage: (data: Uint8Array, address: string, port: number) => void;
  open: boolean;
}

export class FakeNetHost implements NetHost {
  readonly tcp: { socket: FakeTcp; address: string; port: number }[] = [];
  readonly udp: FakeUdp[] = [];
  readonly listeners: { address: string; port: number; connect: (socket: HostTcp) => void; open: boolean }[] =
    [];
  servers: string[] = [];
  names: Record<string, string[]> = {};
  openPing?: (onReply: (message: Uint8Array, address: number) => void) => HostPing | undefined;
  #now = 0;
  #timers: { at: number; call: () => void }[] = [];
  #next = 5000;

  connect(address: string, port: number): HostTcp {
    const socket = new FakeTcp();
    this.tcp.push({ socket, address, port });
    return socket;
  }

  listen(
    address: string,
    port: number,
    connect: (socket: HostTcp) => void,
  ): Promise<{ readonly port: number; close(): void }> {
    if (port === 1) {
      return Promise.reject(Object.assign(new Error('Permission denied'), { code: 'EACCES' }));
    }
    const listener = { address, port, connect, open: true };
    this.listeners.push(listener);
    return Promise.resolve({
      port: port === 0 ? this.#next++ : port,
      close: () => {
        listener.open = false;
      },
    });
  }

  openUdp(
    address: string,
    port: number,
    onMessage: (data: Uint8Array, address: string, port: number) => void,
  ): Promise<HostUdp> {
    const socket: FakeUdp = {
      port: port === 0 ? this.#next++ : port,
      bound: address,
      sent: [],
      open: true,
      onMessage,
      send: (data, to, toPort) => void socket.sent.push({ data: data.slice(), address: to, port: toPort }),
      close: () => {
        socket.open = false;
      },
    };
    this.udp.push(socket);
    return Promise.resolve(socket);
  }

  resolvers(): readonly string[] {
    return this.servers;
  }

  lookup(name: string, family: 4 | 6): Promise<readonly string[]> {
    return Promise.resolve(
      (this.names[name] ?? []).filter((address) => address.includes(':') === (family === 6)),
    );
  }

  delay(milliseconds: number, call: () => void): () => void {
    const timer = { at: this.#now + milliseconds, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass and timers fire. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.call();
    }
    this.#now = end;
  }

  now(): number {
    return this.#now;
  }

  random32(): number {
    // Close to the wrap of sequence numbers, so that every test crosses it.
    return 0xfffffff0;
  }
}
