/**
 * The server's side of a WebSocket (RFC 6455) on a connection that is there already: the handshake; then
 * websocket-stream.ts has it. As with QEMU any path is served, and of subprotocols the one called `binary`.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { HostError } from '../../core/errors.ts';
import { WebSocketDuplex } from './websocket-stream.ts';

const PROTOCOL = 'binary';

/** What a server puts behind the client's key before it hashes them (§1.3). */
const KEY_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Sixteen bytes in base64 (§4.2.1). */
const KEY = /^[+/0-9A-Za-z]{22}==$/;

const refusal = (status: string, headers = ''): string =>
  `HTTP/1.1 ${status}\r\nConnection: close\r\n${headers}\r\n`;

/** The answer to a handshake, and what is wrong with it where it is refused. */
function answer(request: IncomingMessage): { readonly text: string; readonly error?: string } {
  const { upgrade, 'sec-websocket-version': version, 'sec-websocket-key': key } = request.headers;
  if (request.method !== 'GET' || upgrade?.toLowerCase() !== 'websocket')
    return { text: refusal('400 Bad Request'), error: 'not a WebSocket client' };
  if (version !== '13')
    return {
      text: refusal('426 Upgrade Required', 'Sec-WebSocket-Version: 13\r\n'),
      error: `WebSocket client of version ${version}`,
    };
  if (key === undefined || !KEY.test(key))
    return { text: refusal('400 Bad Request'), error: 'WebSocket client without a key' };
  const offered = request.headers['sec-websocket-protocol'];
  if (offered !== undefined && !offered.split(',').some((name) => name.trim() === PROTOCOL))
    return {
      text: refusal('400 Bad Request'),
      error: `WebSocket client without the subprotocol '${PROTOCOL}'`,
    };
  const accept = createHash('sha1').update(`${key}${KEY_SUFFIX}`).digest('base64');
  const protocol = offered === undefined ? '' : `Sec-WebSocket-Protocol: ${PROTOCOL}\r\n`;
  return {
    text: `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${protocol}\r\n`,
  };
}

/** The byte stream of the client on `socket`; rejects when it is no WebSocket client, which it has then been told. */
export async function acceptWebSocket(socket: Duplex): Promise<Duplex> {
  // loaded when first needed: it takes its time at every start
  const { default: http } = await import('node:http');
  if (socket.destroyed) throw new HostError('the client went away during the handshake');
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new HostError('the client went away during the handshake'));
    // A server that listens nowhere, for its parser.
    const server = http.createServer((_request, response) => {
      response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end();
      reject(new HostError('not a WebSocket client'));
    });
    server.on('upgrade', (request, _connection, head) => {
      const { text, error } = answer(request);
      socket.off('close', gone);
      if (error !== undefined) {
        socket.end(text);
        reject(new HostError(error));
        return;
      }
      socket.write(text);
      resolve(new WebSocketDuplex(socket, head));
    });
    server.on('clientError', (error) => {
      socket.destroy();
      reject(error);
    });
    socket.once('close', gone);
    server.emit('connection', socket);
  });
}
