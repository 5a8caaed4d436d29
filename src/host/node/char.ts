/** The chardev room's host on Node.js: files, pipes, terminals and sockets. */
import fs from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import tty from 'node:tty';
import type { CharHost, HostListener, HostSink, HostStream, SocketAddress } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';
import { libc } from '../linux/libc.ts';
import { openPty } from '../linux/pty.ts';
import { errorText, hostError } from './errors.ts';
import { NodeStream } from './stream.ts';
import { openStdio } from './terminal.ts';

/** Clients that may wait while another is served; more are turned away. */
const MAX_WAITING = 16;

function openSink(path: string, append: boolean): HostSink {
  let fd: number;
  try {
    fd = fs.openSync(path, append ? 'a' : 'w', 0o666);
  } catch (error) {
    throw hostError(`Could not open '${path}'`, error);
  }
  return {
    write(data) {
      for (let done = 0; done < data.length; ) done += fs.writeSync(fd, data, done);
    },
    close: () => fs.closeSync(fd),
  };
}

/** FIFOs are opened for both ways, so that opening does not wait and a reader that leaves does not end it. */
function openPipe(path: string): HostStream {
  const open = (name: string, readable: boolean, writable: boolean): net.Socket => {
    let fd: number;
    try {
      fd = fs.openSync(name, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    } catch (error) {
      throw hostError(`Could not open '${path}'`, error);
    }
    if (fs.fstatSync(fd).isFIFO()) return new net.Socket({ fd, readable, writable });
    fs.closeSync(fd);
    throw new HostError(`'${name}' is not a FIFO`);
  };
  if (!fs.existsSync(`${path}.in`) || !fs.existsSync(`${path}.out`)) {
    const both = open(path, true, true);
    return new NodeStream(both, both);
  }
  const input = open(`${path}.in`, true, false);
  try {
    return new NodeStream(input, open(`${path}.out`, false, true));
  } catch (error) {
    input.destroy();
    throw error;
  }
}

function openTty(path: string): HostStream {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
  } catch (error) {
    throw hostError(`Could not open '${path}'`, error);
  }
  if (!tty.isatty(fd)) {
    fs.closeSync(fd);
    throw new HostError(`Could not open '${path}': not a terminal device`);
  }
  libc()?.makeRaw(fd);
  const port = new tty.ReadStream(fd);
  return new NodeStream(port, port);
}

function target(address: SocketAddress): net.TcpNetConnectOpts | net.IpcNetConnectOpts {
  if (address.type === 'unix') return { path: socketPath(address) };
  const family =
    address.ipv4 === true && address.ipv6 !== true ? 4 : address.ipv6 === true && !address.ipv4 ? 6 : 0;
  return { host: address.host === '' ? 'localhost' : address.host, port: address.port, family };
}

function socketPath(address: SocketAddress & { type: 'unix' }): string {
  return address.abstract === true ? `\0${address.path}` : address.path;
}

function streamOf(socket: net.Socket, address: SocketAddress): NodeStream {
  if (address.type === 'unix') return new NodeStream(socket, socket);
  socket.setNoDelay(address.noDelay ?? false);
  const name = (host: string | undefined, port: number | undefined): string =>
    host?.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new NodeStream(socket, socket, {
    local: name(socket.localAddress, socket.localPort),
    peer: name(socket.remoteAddress, socket.remotePort),
  });
}

/** Fails with QEMU's words: the path or address, and the reason. */
function connect(address: SocketAddress): Promise<HostStream> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ ...target(address), allowHalfOpen: true });
    socket.once('connect', () => {
      socket.off('error', failed);
      resolve(streamOf(socket, address));
    });
    const failed = (error: Error): void => {
      if (address.type === 'unix') reject(hostError(`Failed to connect socket ${address.path}`, error));
      else if ((error as NodeJS.ErrnoException).syscall === 'getaddrinfo') {
        reject(hostError(`address resolution failed for ${address.host}:${address.port}`, error));
      } else {
        // Several addresses of one name: Node reports them together, the first says enough.
        const first = error instanceof AggregateError ? (error.errors[0] as Error) : error;
        reject(hostError(`Failed to connect to '${address.host}:${address.port}'`, first));
      }
    };
    socket.once('error', failed);
  });
}

class NodeListener implements HostListener {
  readonly address: SocketAddress;
  readonly #server: net.Server;
  readonly #waiting: net.Socket[] = [];
  #taker: ((stream: HostStream) => void) | undefined;

  constructor(server: net.Server, address: SocketAddress) {
    this.#server = server;
    this.address = address;
    server.on('connection', (socket) => this.#arrived(socket));
  }

  #arrived(socket: net.Socket): void {
    socket.on('error', () => {});
    if (this.#taker !== undefined) {
      const take = this.#taker;
      this.#taker = undefined;
      take(streamOf(socket, this.address));
    } else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(socket);
    else socket.destroy();
  }

  accept(): Promise<HostStream> {
    let socket = this.#waiting.shift();
    while (socket?.destroyed) socket = this.#waiting.shift();
    if (socket !== undefined) return Promise.resolve(streamOf(socket, this.address));
    return new Promise((resolve) => {
      this.#taker = resolve;
    });
  }

  close(): Promise<void> {
    this.#taker = undefined;
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    // Not waited for: Node calls back only when all of the connections are gone.
    this.#server.close();
    return Promise.resolve();
  }
}

async function listen(address: SocketAddress): Promise<HostListener> {
  if (address.type === 'unix') {
    // What an earlier run left behind is in the way; anything but a socket is not ours to remove.
    if (address.abstract !== true && fs.lstatSync(address.path, { throwIfNoEntry: false })?.isSocket()) {
      fs.unlinkSync(address.path);
    }
    try {
      return new NodeListener(await listenOn({ path: socketPath(address) }), address);
    } catch (error) {
      // libuv says EACCES for a folder that is not there, as Windows would.
      const missing = address.abstract !== true && !fs.existsSync(dirname(address.path));
      throw hostError(`Failed to bind socket to ${address.path}`, missing ? { code: 'ENOENT' } : error);
    }
  }
  const last = address.to ?? address.port;
  for (let port = address.port; ; port++) {
    try {
      const host = address.host === '' ? (address.ipv6 === true ? '::' : '0.0.0.0') : address.host;
      const server = await listenOn({ host, port, ipv6Only: address.ipv4 !== true });
      const bound = server.address() as net.AddressInfo;
      return new NodeListener(server, { ...address, host: bound.address, port: bound.port });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE' && port < last) continue;
      if ((error as NodeJS.ErrnoException).syscall === 'getaddrinfo') {
        throw hostError(`address resolution failed for ${address.host}:${address.port}`, error);
      }
      throw new HostError(`Failed to find an available port: ${errorText(error)}`, { cause: error });
    }
  }
}

function listenOn(options: net.ListenOptions): Promise<net.Server> {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve(server);
    });
  });
}

/** The chardev room's host on Node.js. */
export function nodeCharHost(
  warn: (message: string) => void = (message) => process.stderr.write(`${message}\n`),
): CharHost {
  return {
    stdio: openStdio,
    openSink,
    openPipe,
    openTty,
    openPty,
    connect,
    listen,
    delay(milliseconds, call) {
      const timer = setTimeout(call, milliseconds);
      timer.unref();
      return () => clearTimeout(timer);
    },
    now: () => performance.now(),
    inform: (message) => process.stdout.write(`${message}\n`),
    warn,
  };
}
