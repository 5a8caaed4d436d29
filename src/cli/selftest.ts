/**
 * The self-test of the tiny guest: a machine with one device of each kind, a service on the host for each that needs
 * one, and the guest's verdicts one on a line. Exit code 0 when all passed and the guest powered off.
 */
import type { Guest } from '../host/node/guests.ts';
import { startEchoServer } from '../host/node/echo-server.ts';
import { temporaryDisk } from '../host/node/temporary-disk.ts';
import { HostError } from '../core/errors.ts';
import { createMachineFrom } from '../machine/create.ts';
import { configure } from '../machine/configure.ts';
import { parseCommandLine, shellQuote } from '../qapi/parse-command-line.ts';
import type { Cli } from './cli.ts';
import { EXIT } from './messages.ts';
import { guestOptions } from './run.ts';

/** MiB of the scratch disk, and of what the guest overwrites on it. */
const DISK_MIB = 16;
const SCRATCH_MIB = 4;
/** A guest that says nothing for so long hangs. */
const SILENCE_MS = 180_000;

/** Lines out of a stream of bytes. */
async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  const reader = stream.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    rest += decoder.decode(value, { stream: true });
    const found = rest.split(/\r*\n/);
    rest = found.pop()!;
    yield* found;
  }
  if (rest !== '') yield rest;
}

/** Sends back what the guest sends, until the stream ends. */
async function echo(port: {
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
}): Promise<void> {
  await port.readable.pipeTo(port.writable, { preventClose: true });
}

export async function runSelfTest(context: Cli, guest: Guest, options: readonly string[]): Promise<number> {
  const { process, host } = context;
  const disk = temporaryDisk(DISK_MIB * 2 ** 20);
  const server = await startEchoServer();
  try {
    const cmdline = `paravane.selftest paravane.scratch=${SCRATCH_MIB} paravane.tcp=${server.port}`;
    const words = [
      ...guestOptions('tiny', guest, cmdline).map((word) => (word === '-nographic' ? '-no-reboot' : word)),
      ...['-display', 'none', '-serial', 'chardev:console', '-monitor', 'none'],
      ...['-chardev', 'stream,id=console', '-chardev', 'stream,id=echo'],
      ...['-device', 'virtserialport,chardev=echo,name=echo'],
      ...['-drive', `file=${disk.path},if=virtio,format=raw`],
      ...options,
    ];
    process.stderr(`Testing tiny: paravane ${words.map(shellQuote).join(' ')}\n`);
    const { given, images } = parseCommandLine(words);
    const config = configure(given, images, { streams: true });
    const { machine, board } = await createMachineFrom(config, host);
    const console = board.backends.stream('console');
    echo(board.backends.stream('echo')).catch(() => {});
    let silence: ReturnType<typeof setTimeout> | undefined;
    const listen = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        const error = new HostError(`the guest said nothing for ${SILENCE_MS / 1000} seconds`);
        void machine.quit({ reason: 'host-error', code: EXIT.failed, error });
      }, SILENCE_MS);
    };
    listen();
    machine.cont();
    let passed = 0;
    let failed = 0;
    let summary = false;
    const tail: string[] = [];
    for await (const line of lines(console.readable)) {
      listen();
      tail.push(line);
      if (tail.length > 20) tail.shift();
      if (/^(not )?ok - /.test(line)) {
        process.stdout(`${line}\n`);
        if (line.startsWith('not')) failed++;
        else passed++;
      }
      if (line.startsWith('selftest: ')) {
        summary = true;
        process.stdout(`${line}\n`);
      }
    }
    clearTimeout(silence);
    const info = await machine.wait();
    const complete = summary && info.reason === 'guest-shutdown';
    if (!complete) {
      context.messages.error(`the self-test did not finish (${info.reason}); the guest's last lines:`);
      for (const line of tail) process.stderr(`    ${line}\n`);
      if (info.error instanceof Error) context.messages.error(info.error.message);
    }
    return complete && failed === 0 && passed > 0 ? EXIT.done : EXIT.failed;
  } finally {
    await server.close();
    disk.remove();
  }
}
