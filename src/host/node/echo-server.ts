/** A TCP service on the loopback address that sends back what it gets: the other side of the guest's network test. */
import * as net from 'node:net';
import { hostError } from './errors.ts';

export interface EchoServer {
  readonly port: number;
  close(): Promise<void>;
}

export async function startEchoServer(): Promise<EchoServer> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(hostError('cannot listen on 127.0.0.1', error)));
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as net.AddressInfo;
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.unref();
        setImmediate(resolve);
      }),
  };
}
