/**
 * A machine in a process of its own, ours or QEMU's, with the same command line but for the program: the serial
 * console on the process's standard streams, QMP on a unix socket. What the comparisons of virtio-serial and their
 * bench start; nothing here is imported from `src`, so that what is tested is the program as users have it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Peer = 'paravane' | 'qemu';

export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  /** Root disk; without one the initrd is the whole system. */
  readonly disk?: string;
}

export interface VmOptions {
  readonly peer: Peer;
  readonly guest: GuestFiles;
  /** Behind the common part: chardevs and devices. */
  readonly args?: readonly string[];
  readonly smp?: number;
  /** Kernel command line in place of the usual one. */
  readonly append?: string;
  /** Node.js that runs ours; the one that runs this unless given. */
  readonly node?: string;
  /** `main.js` of another build of ours. */
  readonly program?: string;
  readonly nodeArgs?: readonly string[];
}

/** Milliseconds after which a guest that says nothing of what is waited for counts as stuck. */
const PATIENCE = 900_000;

export const delay = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** `promise`, or an error that says what was waited for. */
export async function within<T>(promise: Promise<T>, milliseconds: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A folder for sockets and files, removed at the end of the process. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'paravane-ports-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  // So that what ends at 'exit' ends with a Ctrl-C, too: machines, and this folder.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  return folder;
}

/** Builds the guest's program (port-agent.c) into a disk image; undefined where there is no gcc. */
export function buildAgent(folder: string): { image: string; size: number } | undefined {
  const image = join(folder, 'agent.img');
  const source = join(process.cwd(), 'test/guest/port-agent.c');
  const { status } = spawnSync('gcc', ['-O2', '-static', '-pthread', '-o', image, source]);
  if (status !== 0) return undefined;
  const { size } = statSync(image);
  // A disk has whole sectors.
  writeFileSync(image, Buffer.concat([readFileSync(image)], Math.ceil(size / 512) * 512));
  return { image, size };
}

/** Text that comes in, and those who wait for a part of it. */
export class TextStream {
  #text = '';
  #waiting: (() => void) | undefined;
  #ended = false;
  /** All that came, for messages. */
  log = '';

  push(text: string): void {
    this.#text += text;
    this.log = (this.log + text).slice(-20_000);
    this.#waiting?.();
  }

  end(): void {
    this.#ended = true;
    this.#waiting?.();
  }

  /** All up to the pattern's end, which is taken out. */
  async waitFor(pattern: string | RegExp, milliseconds = PATIENCE): Promise<string> {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      const found =
        typeof pattern === 'string'
          ? { index: this.#text.indexOf(pattern), length: pattern.length }
          : { index: this.#text.search(pattern), length: pattern.exec(this.#text)?.[0].length ?? 0 };
      if (found.index >= 0) {
        const end = found.index + found.length;
        const taken = this.#text.slice(0, end);
        this.#text = this.#text.slice(end);
        return taken;
      }
      const left = deadline - Date.now();
      const panic = this.#text.includes('end Kernel panic');
      if (this.#ended || panic || left <= 0)
        throw new Error(
          `${this.#ended ? 'ended' : panic ? 'the guest panicked' : 'timed out'} waiting for ${String(pattern)}; last:\n${this.log.slice(-800)}`,
        );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** A QMP client of the simplest sort: one command at a time, events kept. */
export class Qmp {
  readonly events: { event: string; data?: Record<string, unknown> }[] = [];
  readonly #socket: net.Socket;
  #answer: ((message: { return?: unknown; error?: { desc: string } }) => void) | undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    let rest = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
      const lines = (rest + data.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines.filter((each) => each.trim() !== '')) {
        const message = JSON.parse(line) as { event?: string; QMP?: object };
        if (message.event !== undefined) this.events.push(message as { event: string });
        else if (message.QMP === undefined) this.#answer?.(message as { return?: unknown });
      }
    });
  }

  static async connect(path: string): Promise<Qmp> {
    for (let attempt = 0; ; attempt++) {
      const socket = net.connect(path);
      const error = await new Promise<Error | undefined>((resolve) => {
        socket.once('connect', () => resolve(undefined));
        socket.once('error', resolve);
      });
      if (error === undefined) {
        const qmp = new Qmp(socket);
        await qmp.call('qmp_capabilities');
        return qmp;
      }
      if (attempt > 600) throw error;
      await delay(50);
    }
  }

  /** @throws Error with the answer's `desc` */
  async call(execute: string, args?: object): Promise<unknown> {
    const answer = new Promise<{ return?: unknown; error?: { desc: string } }>((resolve) => {
      this.#answer = resolve;
    });
    this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    const { error, return: value } = await within(answer, 60_000, execute);
    if (error !== undefined) throw new Error(error.desc);
    return value;
  }

  close(): void {
    this.#socket.destroy();
  }
}

let machines = 0;

export class VmProcess {
  readonly peer: Peer;
  readonly console = new TextStream();
  readonly errors = new TextStream();
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly #qmpPath: string;
  #qmp: Qmp | undefined;
  #count = 0;

  constructor(options: VmOptions, folder: string) {
    this.peer = options.peer;
    mkdirSync(folder, { recursive: true });
    this.#qmpPath = join(folder, `qmp${machines++}`);
    const { guest } = options;
    const root = guest.disk === undefined ? '' : ' root=/dev/vda rw';
    const line = [
      ...['-m', guest.disk === undefined ? '256' : '1G', '-smp', String(options.smp ?? 1)],
      ...['-display', 'none', '-nic', 'none', '-monitor', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-qmp', `unix:${this.#qmpPath},server=on,wait=off`],
      ...['-kernel', guest.kernel, '-initrd', guest.initrd],
      ...['-append', options.append ?? `console=ttyS0 quiet${root}`],
      ...(guest.disk === undefined
        ? []
        : ['-drive', `file=${guest.disk},if=virtio,format=raw,snapshot=on,file.locking=off`]),
      ...(options.args ?? []),
    ];
    const [program, before] =
      options.peer === 'qemu'
        ? ['qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max']]
        : [
            options.node ?? process.execPath,
            [...(options.nodeArgs ?? []), options.program ?? join(process.cwd(), 'dist/cli/main.js')],
          ];
    this.child = spawn(program, [...before, ...line], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin!.on('error', () => {});
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => this.console.push(text));
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.errors.push(text));
    this.exited = new Promise((resolve) => {
      this.child.on('error', () => resolve(null));
      this.child.on('close', (code) => {
        this.console.end();
        this.errors.end();
        resolve(code);
      });
    });
    process.on('exit', () => this.child.kill('SIGKILL'));
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Waits for a shell on the serial console, as root, without echo and prompt. */
  async shell(): Promise<void> {
    const seen = await this.console.waitFor(/login: |# /);
    if (seen.endsWith('login: ')) {
      this.type('root\n');
      await this.console.waitFor('# ');
      this.type("bind 'set enable-bracketed-paste off'\n");
    }
    this.type('stty -echo; dmesg -n 1; PS1= PS2=\n');
    await this.run('true');
  }

  /** Runs a command in the guest: its output, and its exit status when that is not 0. */
  async run(command: string, milliseconds = PATIENCE): Promise<string> {
    const mark = `end-${this.#count++}`;
    // The shell puts the marks together, so that an echoed line does not hold them.
    this.type(`echo; echo "begin-"${mark}; ${command}\nstatus=$?; echo; echo "${mark}:"$status\n`);
    await this.console.waitFor(new RegExp(`^begin-${mark}\\r?\\n`, 'm'), milliseconds);
    const text = await this.console.waitFor(new RegExp(`^${mark}:\\d+\\r?\\n`, 'm'), milliseconds);
    const plain = text.replaceAll('\r', '');
    const at = plain.lastIndexOf(`${mark}:`);
    const output = plain.slice(0, at).replace(/\n$/, '').trimEnd();
    const status = Number.parseInt(plain.slice(at + mark.length + 1), 10);
    if (status !== 0) throw new Error(`in the guest: ${command}: exit status ${status}\n${output}`);
    return output;
  }

  async qmp(): Promise<Qmp> {
    this.#qmp ??= await Qmp.connect(this.#qmpPath);
    return this.#qmp;
  }

  /** Ends the process at once. */
  async kill(): Promise<void> {
    this.#qmp?.close();
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await this.exited;
    clearTimeout(timer);
  }
}
