/**
 * The host's side of the guest's program (test/guest/port-agent.c): system calls in the guest, by name, over the
 * serial console. A call that blocks there is a promise that is pending here.
 */
import { delay, type VmProcess, within } from './vm.ts';

/** Milliseconds without an answer after which a call counts as blocked. */
const BLOCKED_AFTER = 1500;

export class Agent {
  readonly #vm: VmProcess;
  readonly #answers = new Map<number, (answer: string) => void>();
  #next = 1;
  readonly #files = new Set<number>();
  #running = true;

  private constructor(vm: VmProcess) {
    this.#vm = vm;
  }

  /** Copies the program out of the disk `device` and starts it in place of the shell. */
  static async start(vm: VmProcess, device: string, size: number): Promise<Agent> {
    await vm.run(`[ -x /tmp/agent ] || { head -c ${size} ${device} >/tmp/agent && chmod +x /tmp/agent; }`);
    const agent = new Agent(vm);
    vm.type('/tmp/agent\n');
    await vm.console.waitFor(/^#0 ready\r?\n/m);
    void agent.#listen();
    return agent;
  }

  async #listen(): Promise<void> {
    while (this.#running) {
      let line: string;
      try {
        line = await this.#vm.console.waitFor('\n', 2 ** 31 - 1);
      } catch {
        return;
      }
      const match = /#(\d+) (.*?)\r?\n$/.exec(line);
      if (match === null) continue;
      const id = Number(match[1]);
      this.#answers.get(id)?.(match[2]!);
      this.#answers.delete(id);
    }
  }

  /** Starts a call; `id` is for `interrupt`. */
  start(...words: (string | number)[]): { readonly id: number; readonly answer: Promise<string> } {
    const id = this.#next++;
    const answer = new Promise<string>((resolve) => this.#answers.set(id, resolve));
    this.#vm.type(`${id} ${words.join(' ')}\n`);
    return { id, answer };
  }

  /** A call and its answer. */
  call(...words: (string | number)[]): Promise<string> {
    return within(this.start(...words).answer, 600_000, words.join(' '));
  }

  /** A descriptor. @throws Error where the guest cannot open it */
  async open(path: string, ...flags: string[]): Promise<number> {
    const answer = await this.call('open', path, ...flags);
    if (!/^\d+$/.test(answer)) throw new Error(`open ${path}: ${answer}`);
    this.#files.add(Number(answer));
    return Number(answer);
  }

  /** After a case that failed: interrupts what is under way, and closes what it has opened. */
  async reset(): Promise<void> {
    for (const id of this.#answers.keys()) await this.call('interrupt', id);
    for (const fd of this.#files) await this.call('close', fd);
    this.#files.clear();
  }

  /** The answer when it comes soon, `blocked` otherwise. */
  static soon(answer: Promise<string>, milliseconds = BLOCKED_AFTER): Promise<string> {
    return Promise.race([answer, delay(milliseconds).then(() => 'blocked')]);
  }

  /** Ends the program: the shell is back. */
  async exit(): Promise<void> {
    this.#running = false;
    this.#vm.type('0 exit\n');
    await delay(300);
    await this.#vm.run('true');
  }
}
