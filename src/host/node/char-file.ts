/** Files, FIFOs and serial ports on Node.js for chardevs. Error texts are QEMU's: the path, and the reason. */
import fs from 'node:fs';
import net from 'node:net';
import tty from 'node:tty';
import type { HostOutput, HostSink, HostStream, HostTty } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';
import { libc } from '../linux/libc.ts';
import { TtyLine } from '../linux/serial-line.ts';
import { hostError } from './errors.ts';
import { NodeStream } from './stream.ts';

function open(path: string, flags: number | string, what = 'open', shown = path): number {
  try {
    return fs.openSync(path, flags, 0o666);
  } catch (error) {
    throw hostError(`Could not ${what} '${shown}'`, error);
  }
}

function fileSink(fd: number): HostSink {
  return {
    write(data) {
      for (let done = 0; done < data.length; ) done += fs.writeSync(fd, data, done);
    },
    close: () => fs.closeSync(fd),
  };
}

/** A log file. */
export const openSink = (path: string, append: boolean): HostSink =>
  fileSink(open(path, append ? 'a' : 'w', 'create'));

/** A file's output is done at once; what may have to wait (a FIFO, a terminal) is a stream. */
export function openOutput(path: string, append: boolean): HostOutput {
  const kind = fs.statSync(path, { throwIfNoEntry: false });
  if (kind?.isFIFO()) {
    // Open for both ways: it does not wait for a reader, and outlives one.
    const fd = open(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    const socket = new net.Socket({ fd, readable: false, writable: true });
    return new NodeStream(socket, socket, { endsWithInput: false });
  }
  const fd = open(path, append ? 'a' : 'w');
  if (tty.isatty(fd)) {
    const terminal = new tty.WriteStream(fd);
    (terminal as unknown as { _handle?: { setBlocking?(on: boolean): void } })._handle?.setBlocking?.(false);
    return new NodeStream(terminal as unknown as net.Socket, terminal, { endsWithInput: false });
  }
  const sink = fileSink(fd);
  return {
    onDrain: () => {},
    write(data) {
      sink.write(data);
      return data.length;
    },
    close: async () => sink.close(),
  };
}

/** Input and no output: what is written to it is dropped. */
export function openInput(path: string): HostStream {
  const kind = fs.statSync(path, { throwIfNoEntry: false });
  const nowhere = new net.Socket();
  if (kind?.isFIFO()) {
    const fd = open(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    return new NodeStream(new net.Socket({ fd, readable: true, writable: false }), nowhere);
  }
  const fd = open(path, 'r');
  if (tty.isatty(fd)) return new NodeStream(new tty.ReadStream(fd), nowhere);
  return new NodeStream(fs.createReadStream(path, { fd }), nowhere);
}

function openFifo(path: string, shown: string, readable: boolean, writable: boolean): net.Socket {
  // Open for both ways, so that opening does not wait and a reader that leaves does not end it.
  const fd = open(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK, 'open', shown);
  if (fs.fstatSync(fd).isFIFO()) return new net.Socket({ fd, readable, writable });
  fs.closeSync(fd);
  throw new HostError(`'${path}' is not a FIFO`);
}

/** `PATH.in` and `PATH.out`, or else `PATH` for both ways. */
export function openPipe(path: string): HostStream {
  if (!fs.existsSync(`${path}.in`) || !fs.existsSync(`${path}.out`)) {
    const both = openFifo(path, path, true, true);
    return new NodeStream(both, both);
  }
  const input = openFifo(`${path}.in`, path, true, false);
  try {
    return new NodeStream(input, openFifo(`${path}.out`, path, false, true));
  } catch (error) {
    input.destroy();
    throw error;
  }
}

/** As QEMU opens a port. */
const FIRST_SETTINGS = { baud: 115_200, dataBits: 8, parity: 'none', stopBits: 1 } as const;

/** A serial port, raw; or another character device, as it is. */
export function openTty(path: string): HostTty {
  const { O_RDWR, O_NOCTTY, O_NONBLOCK } = fs.constants;
  const fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (tty.isatty(fd)) {
    const c = libc();
    c?.makeRaw(fd);
    const port = new tty.ReadStream(fd);
    const stream = new NodeStream(port, port);
    // Node.js may have opened the terminal anew: any descriptor of it will do, as long as it is open.
    const line = c && new TtyLine(c, () => (port as { _handle?: { fd?: number } })._handle?.fd);
    line?.configure(FIRST_SETTINGS);
    return line === undefined ? stream : Object.assign(stream, { line });
  }
  if (!fs.fstatSync(fd).isCharacterDevice()) {
    fs.closeSync(fd);
    throw new HostError(`Could not open '${path}': not a device`);
  }
  const input = fs.createReadStream(path, { fd, autoClose: false });
  const output = fs.createWriteStream(path, { fd });
  return new NodeStream(input, output, { endsWithInput: false });
}
