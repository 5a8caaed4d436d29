/**
 * Standard input and output as a chardev wants them: every key as it comes, no echo, and the terminal as it was
 * before on every way out of the process (but SIGKILL). Not a terminal: plain streams.
 */
import { HostError } from '../../core/errors.ts';
import type { HostTerminal } from '../../chardev/host.ts';
import { NodeStream } from './stream.ts';

/** Keys that mean signals where the terminal is not raw (termios: VINTR, VQUIT, VSUSP). */
const SIGNAL_KEYS: Readonly<Record<number, NodeJS.Signals>> = {
  0x03: 'SIGINT',
  0x1c: 'SIGQUIT',
  0x1a: 'SIGTSTP',
};

let inUse = false;

class NodeTerminal extends NodeStream implements HostTerminal {
  onResize: () => void = () => {};
  /** As any program, this one ends when its output has been taken (`| less`), however long that is. */
  protected override readonly closeLimit: number = Number.POSITIVE_INFINITY;
  readonly #signals: boolean;

  constructor(signals: boolean) {
    super(process.stdin, process.stdout, { endsWithInput: false });
    this.#signals = signals && process.stdin.isTTY === true;
    // Node makes terminals blocking: a terminal program that stops reading would stop the machine.
    const handle = (process.stdout as { _handle?: { setBlocking?: (on: boolean) => void } })._handle;
    if (process.stdout.isTTY) handle?.setBlocking?.(false);
    this.#raw(true);
    process.on('exit', this.#restore);
    process.on('SIGCONT', this.#continued);
    process.stdout.on('resize', this.#resized);
    if (this.#signals) this.#watchKeys();
  }

  size(): { readonly columns: number; readonly rows: number } | undefined {
    if (!process.stdout.isTTY) return undefined;
    return { columns: process.stdout.columns, rows: process.stdout.rows };
  }

  readonly #resized = (): void => this.onResize();
  readonly #restore = (): void => this.#raw(false);
  /** The shell has set the terminal its own way meanwhile. */
  readonly #continued = (): void => {
    this.#raw(false);
    this.#raw(true);
    this.onResize();
  };

  #raw(on: boolean): void {
    if (process.stdin.isTTY !== true || process.stdin.destroyed) return;
    try {
      process.stdin.setRawMode(on);
    } catch {
      // The terminal is gone: nothing to restore.
    }
  }

  /** The terminal is raw, so the keys that are to be signals are found here. */
  #watchKeys(): void {
    let sink: (data: Uint8Array) => void = this.onData;
    const filtered = (data: Uint8Array): void => {
      const plain = data.filter((byte) => SIGNAL_KEYS[byte] === undefined);
      if (plain.length > 0) sink(plain);
      for (const byte of data) {
        const signal = SIGNAL_KEYS[byte];
        if (signal === undefined) continue;
        if (signal === 'SIGTSTP') this.#raw(false);
        process.kill(process.pid, signal);
      }
    };
    Object.defineProperty(this, 'onData', {
      get: () => filtered,
      set: (next: (data: Uint8Array) => void) => {
        sink = next;
      },
    });
  }

  protected override release(): void {
    process.off('exit', this.#restore);
    process.off('SIGCONT', this.#continued);
    process.stdout.off('resize', this.#resized);
    this.#raw(false);
    process.stdin.pause();
    process.stdin.unref?.();
    inUse = false;
  }
}

/** The process's standard input and output; there is only one. */
export function openStdio(options: { readonly signals: boolean }): HostTerminal {
  if (inUse) throw new HostError('cannot use stdio by multiple character devices');
  inUse = true;
  return new NodeTerminal(options.signals);
}
