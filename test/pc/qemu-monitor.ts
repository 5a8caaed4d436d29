/**
 * A stopped QEMU as a reference for registers: accesses go through its monitor (`i`, `o`, `xp`), one at a time, with
 * its clock standing still. Used by tests that compare our devices with QEMU's; they skip where it is not installed.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

/** True when `qemu-system-x86_64` can be run here. */
export function haveQemu(): boolean {
  return spawnSync('qemu-system-x86_64', ['--version']).status === 0;
}

const LETTER = { 1: 'b', 2: 'h', 4: 'w' } as const;

export class QemuRegisters {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: ((answer: string) => void)[] = [];

  constructor(machine: string, extra: readonly string[] = []) {
    const options = `-machine ${machine} -accel tcg -m 32 -S -nodefaults -display none -serial null -qmp stdio`;
    const clock = ['-rtc', 'base=2024-02-29T23:59:58,clock=vm'];
    this.#child = spawn('qemu-system-x86_64', [...options.split(' '), ...clock, ...extra]);
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as { return?: unknown; error?: { desc: string } };
      if (message.error !== undefined) throw new Error(message.error.desc);
      if ('return' in message) this.#waiting.shift()!(String(message.return));
    });
    void this.#send({ execute: 'qmp_capabilities' });
  }

  async in(port: number, size: 1 | 2 | 4): Promise<number> {
    const answer = await this.#hmp(`i /${LETTER[size]} ${port}`);
    return Number.parseInt(/= 0x([0-9a-f]+)/.exec(answer)![1]!, 16);
  }

  async out(port: number, size: 1 | 2 | 4, value: number): Promise<void> {
    await this.#hmp(`o /${LETTER[size]} ${port} ${value >>> 0}`);
  }

  /** A double word of guest-physical memory. */
  async memory(address: number): Promise<number> {
    const answer = await this.#hmp(`xp /1wx ${address}`);
    return Number.parseInt(/: 0x([0-9a-f]+)/.exec(answer)![1]!, 16);
  }

  /** Lets the guest (its firmware) run for `ms` milliseconds of our time, then stops it again. */
  async run(ms: number): Promise<void> {
    await this.#send({ execute: 'cont' });
    await new Promise((resolve) => setTimeout(resolve, ms));
    await this.#send({ execute: 'stop' });
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #hmp(line: string): Promise<string> {
    return this.#send({ execute: 'human-monitor-command', arguments: { 'command-line': line } });
  }

  #send(command: unknown): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    });
  }
}
