/** Sockets for the user-mode network on Node.js. */
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import dns from 'node:dns';
import net from 'node:net';
import type { HostTcp, HostUdp, NetHost } from '../../net/user/host.ts';
import { openPing } from '../linux/ping.ts';
import { errorText } from './errors.ts';

class NodeTcp implements HostTcp {
  onConnect: () => void = () => {};
  onData: (data: Uint8Array) => void = () => {};
  onEnd: () => void = () => {};
  onDrain: () => void = () => {};
  onClose: (code: string | undefined) => void = () => {};
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #socket: net.Socket;
  #code: string | undefined;
  #told = false;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.remoteAddress = socket.remoteAddress ?? '';
    this.remotePort = socket.remotePort ?? 0;
    socket.setNoDelay(true);
    socket.on('connect', () => this.onConnect());
    socket.on('data', (data) => this.onData(data));
    socket.on('end', () => this.onEnd());
    socket.on('error', (error) => {
      this.#code = (error as NodeJS.ErrnoException).code ?? 'EIO';
    });
    socket.on('close', () => {
      if (this.#told) return;
      this.#told = true;
      this.onClose(this.#code);
    });
  }

  get pending(): number {
    return this.#socket.writableLength;
  }

  write(data: Uint8Array): void {
    if (!this.#socket.writable) return;
    this.#socket.write(Buffer.from(data), this.#written);
  }

  readonly #written = (): void => this.onDrain();

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(reset: boolean): void {
    this.#told = true;
    if (reset && !this.#socket.destroyed) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }
}

/** The errors of listening and binding in the C library's words, with their errno name. */
function socketError(error: unknown): Error {
  return Object.assign(new Error(errorText(error), { cause: error }), {
    code: (error as NodeJS.ErrnoException).code,
  });
}

function listen(
  address: string,
  port: number,
  onConnection: (connection: HostTcp) => void,
): Promise<{ readonly port: number; close(): void }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    onConnection(new NodeTcp(socket)),
  );
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(socketError(error)));
    server.listen({ host: address, port }, () => {
      server.on('error', () => {});
      resolve({ port: (server.address() as net.AddressInfo).port, close: () => void server.close() });
    });
  });
}

function openUdp(
  address: string,
  port: number,
  onMessage: (data: Uint8Array, address: string, port: number) => void,
): Promise<HostUdp> {
  const socket = dgram.createSocket('udp4');
  let open = true;
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => reject(socketError(error)));
    socket.on('message', (data, from) => onMessage(data, from.address, from.port));
    socket.bind({ address, port, exclusive: true }, () => {
      // Errors of single datagrams (unreachable, too long) are as silent as the network is.
      socket.on('error', () => {});
      resolve({
        port: socket.address().port,
        send(data, to, toPort) {
          if (open && toPort > 0) socket.send(Buffer.from(data), toPort, to, () => {});
        },
        close() {
          if (open) socket.close();
          open = false;
        },
      });
    });
  });
}

function resolvers(): string[] {
  // IPv6 servers are left out: the sockets here are IPv4.
  return dns.getServers().filter((server) => /^\d+\.\d+\.\d+\.\d+(:\d+)?$/.test(server));
}

function lookup(name: string, family: 4 | 6): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    dns.lookup(name, { family, all: true }, (error, addresses) => {
      if (error === null) resolve(addresses.map(({ address }) => address));
      else if (error.code === 'ENOTFOUND' || error.code === 'ENODATA') resolve([]);
      else reject(error);
    });
  });
}

/** The user-mode network's host on Node.js. */
export function nodeNetHost(): NetHost {
  return {
    connect(address, port) {
      // Node refuses port 0 by throwing; a guest may ask for it, and nobody is there.
      return new NodeTcp(net.connect({ host: address, port: port === 0 ? 1 : port, allowHalfOpen: true }));
    },
    listen,
    openUdp,
    openPing,
    resolvers,
    lookup,
    delay(milliseconds, call) {
      const timer = setTimeout(call, milliseconds);
      timer.unref();
      return () => clearTimeout(timer);
    },
    now: () => performance.now(),
    random32: () => randomBytes(4).readUInt32LE(0),
  };
}
