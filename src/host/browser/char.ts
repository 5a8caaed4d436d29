/**
 * The chardev room's host in a page or a worker: no files, no terminals, no sockets but WebSockets. A
 * `-chardev pipe,path=NAME` is the `MessagePort` that the page gave under that name; a
 * `-chardev socket,host=,port=,websocket=on` is a WebSocket client.
 */
import type { CharHost, SocketAddress } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';
import type { PortLike } from './port-stream.ts';
import { PortStream } from './port-stream.ts';
import type { SocketLike } from './web-socket-stream.ts';
import { webSocketStream } from './web-socket-stream.ts';

export interface BrowserCharOptions {
  /** Ports by the names that -chardev pipe has for them. Each serves one chardev. */
  readonly ports?: ReadonlyMap<string, PortLike>;
  /** Connect by `wss:`, as a page that came over TLS has to. */
  readonly secure?: boolean;
  /** Makes a WebSocket; the page's own unless given. */
  readonly connect?: (url: string) => SocketLike;
  readonly inform?: (message: string) => void;
  readonly warn?: (message: string) => void;
}

const absent = (what: string) => (): never => {
  throw new HostError(`there are no ${what} in a page`);
};

function pageSocket(url: string): SocketLike {
  const { WebSocket } = globalThis as unknown as { WebSocket: new (url: string) => SocketLike };
  return new WebSocket(url);
}

export function browserCharHost(options: BrowserCharOptions = {}): CharHost {
  const ports = new Map(options.ports);
  const connect = options.connect ?? pageSocket;
  return {
    stdio: absent('terminals'),
    openSink: absent('files'),
    openOutput: absent('files'),
    openInput: absent('files'),
    openTty: absent('serial ports'),
    openPty: absent('pseudo-terminals'),
    openTls: absent('TLS credentials'),
    openPipe(path) {
      const port = ports.get(path);
      const known = [...ports.keys()].join(', ') || 'none';
      if (port === undefined)
        throw new HostError(`Could not open '${path}': no MessagePort has this name (there is: ${known})`);
      ports.delete(path);
      return new PortStream(port);
    },
    webSocketClient: true,
    async connect(address: SocketAddress, layers) {
      if (address.type !== 'inet' || layers?.websocket !== true)
        throw new HostError('a page can only connect by WebSocket: give host, port and websocket=on');
      const host = address.host.includes(':') ? `[${address.host}]` : address.host;
      const url = `${options.secure === true ? 'wss' : 'ws'}://${host}:${address.port}/`;
      return webSocketStream(connect(url), url);
    },
    listen: async () => absent('listening sockets')(),
    openUdp: async () => absent('UDP sockets')(),
    delay(milliseconds, call) {
      const timer = setTimeout(call, milliseconds);
      return () => clearTimeout(timer);
    },
    now: () => performance.now(),
    inform: options.inform ?? (() => {}),
    warn: options.warn ?? (() => {}),
  };
}
