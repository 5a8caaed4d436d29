/**
 * Stream sockets on Node.js for chardevs: unix, TCP and inherited ones, as client and as server, and what may lie on
 * top of them (TLS, WebSocket). Error texts are QEMU's: the path or address, and the reason.
 */
import dns from 'node:dns/promises';
import fs from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import type {
  HostListener,
  HostStream,
  InetAddress,
  SocketAddress,
  SocketLayers,
  UnixAddress,
} from '../../chardev/host.ts';
import { HostError, UsageError } from '../../core/errors.ts';
import { libc } from '../linux/libc.ts';
import { errorText, hostError } from './errors.ts';
import { NodeStream } from './stream.ts';
import { NodeTls } from './tls.ts';
import { acceptWebSocket } from './websocket.ts';

/** Clients that may wait while another is served, or be in the middle of a handshake; more are turned away. */
const MAX_WAITING = 16;
/** Milliseconds that a client's handshakes (TLS, WebSocket) may take before it is turned away. */
const HANDSHAKE_LIMIT = 10_000;

/** Bytes of `sun_path` (unix(7)): an abstract name that is not tight is filled up to so many. */
const SUN_PATH = 108;

/** The name behind the zero that says that it is abstract. */
const abstractName = ({ path, tight }: UnixAddress): string =>
  tight === false ? path.padEnd(SUN_PATH - 1, '\0') : path;

/**
 * A descriptor for an abstract name; undefined where Node.js has to do it by itself, which before version 22 fills all
 * names up.
 */
function abstractSocket(address: UnixAddress, listening: boolean): number | undefined {
  if (address.abstract !== true) return undefined;
  const c = libc();
  const fd = c?.abstractSocket(abstractName(address), listening);
  if (fd !== undefined && fd < 0) throw Object.assign(new Error(), { code: c!.errnoName(-fd) });
  return fd;
}

const nodePath = (address: UnixAddress): string =>
  address.abstract === true ? `\0${abstractName(address)}` : address.path;

async function connectUnix(address: UnixAddress): Promise<net.Socket> {
  try {
    const fd = abstractSocket(address, false);
    if (fd !== undefined) return new net.Socket({ fd, allowHalfOpen: true });
    return await connected({ path: nodePath(address) });
  } catch (error) {
    throw hostError(`Failed to connect to '${address.path}'`, error);
  }
}

/** Which family an address may be of; 0 for both. */
function family({ ipv4, ipv6 }: InetAddress): 0 | 4 | 6 {
  if (ipv4 === false && ipv6 === false) throw new UsageError('Cannot disable IPv4 and IPv6 at same time');
  if (ipv4 === true && ipv6 === true) return 0;
  if (ipv6 === true || ipv4 === false) return 6;
  return ipv4 === true || ipv6 === false ? 4 : 0;
}

/** The first address of a name. */
async function resolve(address: InetAddress): Promise<string> {
  const wanted = family(address);
  const literal = net.isIP(address.host);
  if (wanted !== 0 && literal !== 0 && literal !== wanted)
    throw new HostError(
      `address resolution failed for ${address.host}:${address.port}: Address family for hostname not supported`,
    );
  try {
    return (await dns.lookup(address.host, { family: wanted })).address;
  } catch (error) {
    throw hostError(`address resolution failed for ${address.host}:${address.port}`, error);
  }
}

function checkFd(fd: number): void {
  let found: boolean;
  try {
    found = fs.fstatSync(fd).isSocket();
  } catch {
    found = false;
  }
  if (!found) throw new HostError(`File descriptor '${fd}' is not a socket`);
}

const endName = (host: string | undefined, port: number | undefined): string =>
  host?.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** What `info chardev` tells of both ends of an internet socket; nothing of a unix one. */
function ends(socket: net.Socket): { readonly local?: string; readonly peer?: string } {
  if (socket.localAddress === undefined || socket.remoteAddress === undefined) return {};
  return {
    local: endName(socket.localAddress, socket.localPort),
    peer: endName(socket.remoteAddress, socket.remotePort),
  };
}

function tune(socket: net.Socket, address: SocketAddress): void {
  if (address.type !== 'inet') return;
  socket.setNoDelay(address.noDelay ?? false);
  if (address.keepAlive === true) socket.setKeepAlive(true);
}

function connected(options: net.NetConnectOpts): Promise<net.Socket> {
  return new Promise((fulfil, reject) => {
    const socket = net.connect({ ...options, allowHalfOpen: true } as net.NetConnectOpts);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      fulfil(socket);
    });
  });
}

async function openSocket(address: SocketAddress): Promise<net.Socket> {
  switch (address.type) {
    case 'fd':
      checkFd(address.fd);
      return new net.Socket({ fd: address.fd, allowHalfOpen: true });
    case 'unix':
      return connectUnix(address);
    case 'inet': {
      if (address.host === '') throw new UsageError('host and/or port not specified');
      const options = { host: address.host, port: address.port, family: family(address) };
      return connected(options).catch((error: NodeJS.ErrnoException) => {
        const where = `${address.host}:${address.port}`;
        if (error.syscall === 'getaddrinfo') throw hostError(`address resolution failed for ${where}`, error);
        // Several addresses of one name: Node reports them together, the last is what QEMU would tell.
        const last = error instanceof AggregateError ? (error.errors.at(-1) as Error) : error;
        throw hostError(`Failed to connect to '${where}'`, last);
      });
    }
  }
}

/** Connects. @throws HostError with the path or address and the reason */
export async function connectSocket(address: SocketAddress, layers: SocketLayers = {}): Promise<HostStream> {
  const socket = await openSocket(address);
  tune(socket, address);
  if (!(layers.tls instanceof NodeTls)) return new NodeStream(socket, socket, ends(socket));
  const name = address.type === 'inet' ? address.host : undefined;
  const secure = await layers.tls.connect(socket, name).catch((error: unknown) => {
    socket.destroy();
    throw hostError('TLS handshake failed', error);
  });
  return new NodeStream(secure, secure, ends(socket));
}

class NodeListener implements HostListener {
  readonly address: SocketAddress;
  readonly #server: net.Server;
  readonly #layers: SocketLayers;
  /** Clients that are ready to be served. */
  readonly #waiting: { readonly stream: Duplex; readonly socket: net.Socket }[] = [];
  /** Clients in the middle of a handshake. */
  readonly #greeting = new Set<net.Socket>();
  #taker: ((stream: HostStream) => void) | undefined;

  constructor(server: net.Server, address: SocketAddress, layers: SocketLayers) {
    this.#server = server;
    this.#layers = layers;
    this.address = address;
    server.on('connection', (socket) => this.#arrived(socket));
  }

  #arrived(socket: net.Socket): void {
    socket.on('error', () => {});
    if (this.#waiting.length + this.#greeting.size >= MAX_WAITING) {
      socket.destroy();
      return;
    }
    tune(socket, this.address);
    if (this.#layers.tls === undefined && this.#layers.websocket !== true)
      return this.#ready({ stream: socket, socket });
    // Half a connection is no use to a handshake.
    socket.allowHalfOpen = false;
    this.#greeting.add(socket);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_LIMIT);
    timer.unref();
    this.#handshakes(socket)
      .then((stream) => this.#ready({ stream, socket }))
      .catch(() => socket.destroy())
      .finally(() => {
        clearTimeout(timer);
        this.#greeting.delete(socket);
      });
  }

  async #handshakes(socket: net.Socket): Promise<Duplex> {
    const { tls, websocket } = this.#layers;
    const secure = tls instanceof NodeTls ? await tls.accept(socket) : socket;
    return websocket === true ? acceptWebSocket(secure) : secure;
  }

  #ready(client: { readonly stream: Duplex; readonly socket: net.Socket }): void {
    client.stream.on('error', () => {});
    const take = this.#taker;
    this.#taker = undefined;
    if (take === undefined) this.#waiting.push(client);
    else take(new NodeStream(client.stream, client.stream, ends(client.socket)));
  }

  accept(): Promise<HostStream> {
    let client = this.#waiting.shift();
    while (client?.stream.destroyed) client = this.#waiting.shift();
    if (client !== undefined)
      return Promise.resolve(new NodeStream(client.stream, client.stream, ends(client.socket)));
    return new Promise((fulfil) => {
      this.#taker = fulfil;
    });
  }

  close(): Promise<void> {
    this.#taker = undefined;
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
    for (const socket of this.#greeting) socket.destroy();
    // Not waited for: Node calls back only when all of the connections are gone.
    this.#server.close();
    return Promise.resolve();
  }
}

/** Listens. @throws HostError with the path or address and the reason */
export async function listenOnSocket(
  address: SocketAddress,
  layers: SocketLayers = {},
): Promise<HostListener> {
  switch (address.type) {
    case 'fd':
      checkFd(address.fd);
      return new NodeListener(await listening({ fd: address.fd }), address, layers);
    case 'unix':
      return new NodeListener(await listenUnix(address), address, layers);
    case 'inet':
      return listenInet(address, layers);
  }
}

async function listenUnix(address: UnixAddress): Promise<net.Server> {
  // What an earlier run left behind is in the way; anything but a socket is not ours to remove.
  const there = address.abstract === true ? undefined : fs.lstatSync(address.path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new HostError(`Failed to unlink socket ${address.path}: Is a directory`);
  if (there !== undefined && !there.isSocket())
    throw new HostError(`Failed to bind socket to ${address.path}: there is a file that is not a socket`);
  try {
    if (there !== undefined) fs.unlinkSync(address.path);
    const fd = abstractSocket(address, true);
    return await listening(fd === undefined ? { path: nodePath(address) } : { fd });
  } catch (error) {
    // libuv says EACCES for a folder that is not there, as Windows would.
    const missing = address.abstract !== true && !fs.existsSync(dirname(address.path));
    throw hostError(`Failed to bind socket to ${address.path}`, missing ? { code: 'ENOENT' } : error);
  }
}

async function listenInet(address: InetAddress, layers: SocketLayers): Promise<HostListener> {
  const any = address.ipv6 === true ? '::' : '0.0.0.0';
  const host = address.host === '' ? any : await resolve(address);
  const last = address.to ?? address.port;
  for (let port = address.port; ; port++) {
    try {
      const server = await listening({ host, port, ipv6Only: address.ipv4 !== true });
      const bound = server.address() as net.AddressInfo;
      return new NodeListener(server, { ...address, host: bound.address, port: bound.port }, layers);
    } catch (error) {
      const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (inUse && port < last) continue;
      const what = inUse ? 'Failed to find an available port' : 'Failed to bind socket';
      throw new HostError(`${what}: ${errorText(error)}`, { cause: error });
    }
  }
}

function listening(options: net.ListenOptions & { readonly fd?: number }): Promise<net.Server> {
  const server = net.createServer({ pauseOnConnect: false, allowHalfOpen: true });
  return new Promise((fulfil, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      server.on('error', () => {});
      fulfil(server);
    });
  });
}
