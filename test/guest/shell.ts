/**
 * A guest's console as a program uses it: log in, run a command, get its output and exit status. For whole-VM tests;
 * the machine is made with the compiled library (`dist`), as users have it.
 */
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Console } from '../../src/index.ts';

/**
 * The newest guest of this name in the cache, or undefined: `paravane image build debian` makes one. `PARAVANE_TINY`
 * says which of Debian's kernels the tiny one is to have: `cloud`, or `generic`.
 */
export function cachedGuest(
  name: 'tiny' | 'debian',
): { kernel: string; initrd: string; disk: string } | undefined {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'paravane');
  const prefix = name === 'tiny' ? `tiny-${process.env['PARAVANE_TINY'] ?? 'cloud'}-` : `${name}-`;
  const found = existsSync(cache) ? readdirSync(cache).filter((entry) => entry.startsWith(prefix)) : [];
  const complete = found.filter((entry) => existsSync(join(cache, entry, 'kernel')));
  const folder = complete.at(-1);
  if (folder === undefined) return undefined;
  const [kernel, initrd, disk] = ['kernel', 'initrd', 'disk.raw'].map((file) => join(cache, folder, file));
  return { kernel: kernel!, initrd: initrd!, disk: disk! };
}

export interface Result {
  readonly status: number;
  /** What the command wrote, with line feeds only. */
  readonly text: string;
}

export class Shell {
  readonly #console: Console;
  #count = 0;

  constructor(console: Console) {
    this.#console = console;
  }

  /** Waits for getty, logs root in, and makes the shell fit for programs. */
  async login(): Promise<void> {
    await this.#console.waitFor('login: ');
    await this.#console.write('root\n');
    await this.#console.waitFor('# ');
    // Neither echo, nor a prompt, nor the kernel's messages, nor a line editor between output and us.
    await this.#console.write(
      "stty -echo -onlcr; dmesg -n 1; PS1= PS2=; bind 'set enable-bracketed-paste off'\n",
    );
    await this.run('true');
  }

  /** Runs a command, which may have several lines, and waits for its end. */
  async try(command: string): Promise<Result> {
    const mark = `end-${this.#count++}`;
    // The marks are put together by the shell, so that a line that is echoed nevertheless does not hold them.
    await this.#console.write(
      `echo; echo "begin-"${mark}; ${command}\nstatus=$?; echo; echo "${mark}:"$status\n`,
    );
    await this.#console.waitFor(new RegExp(`^begin-${mark}\\r?\\n`, 'm'));
    const text = await this.#console.waitFor(new RegExp(`^${mark}:(\\d+)\\r?\\n`, 'm'));
    const plain = text.replaceAll('\r', '');
    const at = plain.lastIndexOf(`${mark}:`);
    return { status: Number(plain.slice(at + mark.length + 1)), text: plain.slice(0, at).replace(/\n$/, '') };
  }

  /** As `try`. @throws when the command fails, with what it wrote */
  async run(command: string): Promise<string> {
    const { status, text } = await this.try(command);
    if (status !== 0) throw new Error(`in the guest: ${command}: exit status ${status}\n${text}`);
    return text;
  }

  /** Types without waiting for an answer, such as for `poweroff`. */
  async type(text: string): Promise<void> {
    await this.#console.write(text);
  }

  /** All output up to the pattern's end. */
  waitFor(pattern: string | RegExp): Promise<string> {
    return this.#console.waitFor(pattern);
  }
}
