/**
 * A machine as a process, ours or QEMU's, with the same options: its QMP on standard input and output, a shell of the
 * tiny guest on its serial port. For tests that hold the two side by side. Not part of the library.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cachedGuest } from '../guest/shell.ts';

/** Tests and programs of test/ run in the project's folder. */
const MAIN = join(process.cwd(), 'dist/cli/main.js');

export type Program = 'paravane' | 'qemu';

/** Options of the command line; a function gets the folder of the machine. */
export type MachineOptions = readonly string[] | ((folder: string) => readonly string[]);

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

type Json = Readonly<Record<string, unknown>>;

export class MachineProcess {
  /** For files of the machine; removed at its end. */
  readonly folder: string;
  /** All that the guest wrote to its console and nobody has taken yet. */
  #text = '';
  #errors = '';
  #events: QmpEvent[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: Json[] = [];
  #console: net.Socket | undefined;
  #wake: () => void = () => {};
  #marks = 0;
  #ended = false;

  private constructor(program: Program, options: MachineOptions, folder: string) {
    this.folder = folder;
    const [command, ...first] =
      program === 'qemu' ? ['qemu-system-x86_64', '-accel', 'tcg'] : [process.execPath, MAIN];
    const serial = `socket,id=console,path=${join(folder, 'console')},server=on,wait=off`;
    const common = ['-nodefaults', '-display', 'none', '-m', '256', '-qmp', 'stdio'];
    this.#child = spawn(command!, [
      ...[...first, ...common, '-chardev', serial, '-serial', 'chardev:console'],
      ...(typeof options === 'function' ? options(folder) : options),
    ]);
    this.#child.stderr.on('data', (data: Buffer) => {
      this.#errors += data.toString();
    });
    this.#child.on('exit', () => {
      this.#ended = true;
      this.#wake();
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as Json;
      if (typeof message['event'] === 'string') this.#events.push(message as unknown as QmpEvent);
      else this.#answers.push(message);
      this.#wake();
    });
  }

  /** Starts it; it has answered, and its guest has not necessarily begun. */
  static async start(program: Program, options: MachineOptions): Promise<MachineProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'paravane-vm-'));
    const machine = new MachineProcess(program, options, folder);
    await machine.#until(() => machine.#answers.shift());
    await machine.run('qmp_capabilities');
    machine.#console = net.connect(join(folder, 'console')).setEncoding('latin1');
    machine.#console.on('data', (text: string) => {
      machine.#text += text;
      machine.#wake();
    });
    return machine;
  }

  /** The same with the tiny guest. @throws when there is none in the cache */
  static boot(program: Program, options: MachineOptions, append = ''): Promise<MachineProcess> {
    const guest = cachedGuest('tiny')!;
    const kernel = ['-kernel', guest.kernel, '-initrd', guest.initrd];
    return MachineProcess.start(program, (folder) => [
      ...[...kernel, '-append', `console=ttyS0 quiet ${append}`.trim()],
      ...(typeof options === 'function' ? options(folder) : options),
    ]);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What it wrote to standard error. */
  get errors(): string {
    return this.#errors;
  }

  /** A QMP command; gives its result, or its error's text. */
  async run(execute: string, given?: Json): Promise<unknown> {
    const message = given === undefined ? { execute } : { execute, arguments: given };
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
    const answer = await this.#until(() => this.#answers.shift());
    return answer['return'] ?? (answer['error'] as { readonly desc: string }).desc;
  }

  /** Waits until the guest's shell has a prompt, and makes it fit for programs. */
  async shell(): Promise<void> {
    await this.waitFor(/# /);
    await this.type('stty -echo; dmesg -n 1; PS1=; echo re""ady\n');
    await this.waitFor(/^ready\r?\n/m);
  }

  async type(text: string): Promise<void> {
    await new Promise<void>((resolve) => this.#console!.write(text, () => resolve()));
  }

  /** Runs a command in the guest and gives what it wrote. */
  async sh(command: string): Promise<string> {
    const mark = `mark-${this.#marks++}`;
    // The marks are put together by the shell: a line that is echoed does not hold them.
    await this.type(`echo; echo "begin-"${mark}; ${command}\necho; echo "end-"${mark}\n`);
    await this.waitFor(new RegExp(`^begin-${mark}\\r?\\n`, 'm'));
    const text = await this.waitFor(new RegExp(`^end-${mark}\\r?\\n`, 'm'));
    return text.replaceAll('\r', '').trim();
  }

  /** Waits for console output; gives what came before it. */
  waitFor(pattern: RegExp): Promise<string> {
    return this.#until(() => {
      const match = pattern.exec(this.#text);
      if (match === null) return undefined;
      const before = this.#text.slice(0, match.index);
      this.#text = this.#text.slice(match.index + match[0].length);
      return before;
    });
  }

  /** Waits until there has been such an event since the last `takeEvents`. */
  async waitForEvent(event: string, data: Json = {}): Promise<void> {
    const asked = (one: QmpEvent): boolean =>
      one.event === event && Object.entries(data).every(([key, value]) => one.data[key] === value);
    await this.#until(() => this.#events.find(asked));
  }

  /** Events since the last look, without their times. */
  takeEvents(): [string, unknown][] {
    return this.#events.splice(0).map(({ event, data }) => [event, data]);
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (!this.#ended) {
      this.#child.kill('SIGKILL');
      await ended;
    }
    this.#console?.destroy();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** @throws with the console's last words when the machine ends before `look` finds something */
  async #until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`the machine has ended: ${this.#errors}\n…${this.#text.slice(-2000)}`);
      await new Promise<void>((resolve) => {
        const others = this.#wake;
        this.#wake = () => {
          this.#wake = () => {};
          others();
          resolve();
        };
      });
    }
  }
}
