/** The chardev room's host on Node.js, put together: files, pipes, terminals, sockets. */
import type { CharHost } from '../../chardev/host.ts';
import { openPty } from '../linux/pty.ts';
import { openInput, openOutput, openPipe, openSink, openTty } from './char-file.ts';
import { connectSocket, listenOnSocket } from './socket.ts';
import { openStdio } from './terminal.ts';
import { NodeTls } from './tls.ts';
import { openUdp } from './udp.ts';

/** The chardev room's host on Node.js. */
export function nodeCharHost(
  warn: (message: string) => void = (message) => process.stderr.write(`${message}\n`),
): CharHost {
  return {
    stdio: openStdio,
    openSink,
    openOutput,
    openInput,
    openPipe,
    openTty,
    openPty,
    connect: connectSocket,
    listen: listenOnSocket,
    openUdp,
    openTls: (config) => new NodeTls(config),
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
