/** The monitor for people on one chardev: banner, prompt, a line at a time. Behind a mux it speaks when it has the keyboard. */
import type { Chardev, CharEvent } from '../../chardev/chardev.ts';
import { VERSION } from '../../machine/version.ts';
import { Output } from '../output.ts';
import type { MonitorTarget } from '../target.ts';
import { completeHmp } from './complete.ts';
import { Readline } from './readline.ts';
import { runHmp } from './run.ts';

const PROMPT = '(qemu) ';
/** Bytes of output that may wait before no more keys are read. */
const OUTPUT_HIGH = 65536;
const CHUNK = 4096;

export class HmpSession {
  readonly #chardev: Chardev;
  readonly #target: MonitorTarget;
  readonly #onBug: (error: unknown) => void;
  readonly #output: Output;
  readonly #readline: Readline;
  #detach: () => void = () => {};
  /** Typed while a command was under way. */
  #typed: Uint8Array[] = [];
  #busy = false;
  #focused: boolean;
  #greeted = false;

  constructor(chardev: Chardev, target: MonitorTarget, onBug: (error: unknown) => void) {
    this.#chardev = chardev;
    this.#target = target;
    this.#onBug = onBug;
    // The first thing that a mux does is to say who has the keyboard.
    this.#focused = chardev.type !== 'mux';
    this.#output = new Output(chardev, () => chardev.acceptInput());
    this.#readline = new Readline(PROMPT, {
      print: (text) => void this.#output.write(text),
      line: (text) => this.#line(text),
      complete: (before) => completeHmp(before, target),
    });
    this.#detach = chardev.attach({
      canReceive: () => (target.ready && !this.#busy && this.#output.waiting < OUTPUT_HIGH ? CHUNK : 0),
      receive: (data) => this.#keys(data),
      event: (event) => this.#event(event),
      writable: () => this.#output.drain(),
    });
  }

  /** The machine is complete: commands are taken from now on. */
  start(): void {
    this.#greet();
    this.#chardev.acceptInput();
  }

  close(): void {
    this.#detach();
  }

  #event(event: CharEvent): void {
    switch (event) {
      case 'mux-in':
        this.#focused = true;
        if (this.#greeted) this.#readline.showPrompt();
        else this.#greet();
        break;
      case 'mux-out':
        if (this.#greeted) this.#output.write('\r\n');
        this.#focused = false;
        break;
      case 'opened':
        this.#greeted = false;
        this.#greet();
        break;
      case 'closed':
        this.#greeted = false;
        this.#output.clear();
        this.#typed = [];
        break;
      default:
    }
  }

  #greet(): void {
    if (this.#greeted || !this.#focused || !this.#target.ready || !this.#chardev.open) return;
    this.#greeted = true;
    this.#output.write(`Paravane ${VERSION} monitor - type 'help' for more information\r\n`);
    this.#readline.showPrompt();
  }

  #keys(data: Uint8Array): void {
    for (let rest = data; rest.length > 0; ) {
      if (this.#busy) {
        // What follows a line in the same packet waits for the line's command.
        this.#typed.push(rest.slice());
        return;
      }
      rest = rest.subarray(this.#readline.feed(rest));
    }
  }

  #line(line: string): void {
    this.#busy = true;
    const done = (text: string): void => {
      this.#output.write(text);
      this.#busy = false;
      this.#readline.showPrompt();
    };
    const failed = (error: unknown): void => {
      this.#onBug(error);
      done(`internal error: ${String(error)}\r\n`);
    };
    try {
      const result = runHmp(line, this.#target, this.#readline.history);
      if (typeof result === 'string') return done(result);
      result.then(done, failed).finally(() => {
        for (const data of this.#typed.splice(0)) this.#keys(data);
        this.#chardev.acceptInput();
      });
    } catch (error) {
      failed(error);
    }
  }
}
