/**
 * The server's side of a WebSocket (RFC 6455) on a connection that is there already: the handshake, then a byte
 * stream in binary messages. As with QEMU any path is served, and of subprotocols the one called `binary`.
 */
import type { Duplex } from 'node:stream';
import { HostError } from '../../core/errors.ts';

/** Bytes of one message. A message is only passed on when it is complete, so this bounds what a client can make us keep. */
const MAX_MESSAGE = 16 << 20;

const PROTOCOL = 'binary';

/** The byte stream of the client on `socket`; rejects when it is no WebSocket client, which it has then been told. */
export async function acceptWebSocket(socket: Duplex): Promise<Duplex> {
  // loaded when first needed: they take forty milliseconds of every start
  const [{ default: http }, { createWebSocketStream, WebSocketServer }] = await Promise.all([
    import('node:http'),
    import('ws'),
  ]);
  if (socket.destroyed) throw new HostError('the client went away during the handshake');
  return new Promise((resolve, reject) => {
    const sockets = new WebSocketServer({
      noServer: true,
      maxPayload: MAX_MESSAGE,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
    });
    // A server that listens nowhere, for its parser.
    const server = http.createServer((_request, response) => {
      response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end();
      reject(new HostError('not a WebSocket client'));
    });
    server.on('upgrade', (request, connection, head) => {
      const offered = request.headers['sec-websocket-protocol'];
      if (offered !== undefined && !offered.split(',').some((name) => name.trim() === PROTOCOL)) {
        connection.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
        reject(new HostError(`WebSocket client without the subprotocol '${PROTOCOL}'`));
        return;
      }
      sockets.handleUpgrade(request, connection, head, (ws) => {
        resolve(createWebSocketStream(ws, { allowHalfOpen: false }));
      });
    });
    server.on('clientError', (error) => {
      socket.destroy();
      reject(error);
    });
    socket.once('close', () => reject(new HostError('the client went away during the handshake')));
    server.emit('connection', socket);
  });
}
