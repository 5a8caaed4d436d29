/**
 * The library's machine: what a program starts, stops and talks to. A thin face on `Machine` (its life), the board
 * (what it is made of) and the chardevs of type `stream` (its consoles).
 */
import { UsageError } from '../core/errors.ts';
import type { TraceSink } from '../core/trace.ts';
import { formatCommandLine } from '../qapi/parse-command-line.ts';
import type { PcBoard } from './board.ts';
import { configure } from './configure.ts';
import { Console } from './console.ts';
import { createMachineFrom } from './create.ts';
import type { Listener } from './events.ts';
import type { MachineHost } from './host.ts';
import type { ExitInfo, Machine, MachineEvents, MachineState } from './machine.ts';
import type { MachineOptions } from './options.ts';
import { readMachineOptions } from './options.ts';

export class Vm implements AsyncDisposable {
  /** The consoles behind COM1, COM2, …, where their chardev is a stream (the default of COM1). */
  readonly serial: readonly (Console | undefined)[];
  /** The command line that makes the same machine. */
  readonly commandLine: string;
  readonly #machine: Machine;
  readonly #board: PcBoard;
  readonly #consoles: ReadonlyMap<string, Console>;
  readonly #signal: AbortSignal | undefined;

  /** @internal use `createMachine` */
  constructor(machine: Machine, board: PcBoard, commandLine: string, signal: AbortSignal | undefined) {
    this.#machine = machine;
    this.#board = board;
    this.#signal = signal;
    this.commandLine = commandLine;
    const consoles = new Map<string, Console>();
    for (const { id, type } of machine.config.chardevs)
      if (type === 'stream') consoles.set(id, new Console(board.backends.stream(id)));
    this.#consoles = consoles;
    this.serial = machine.config.serials.map((id) => (id === undefined ? undefined : consoles.get(id)));
    const abort = (): void => void this.quit().catch(() => {});
    signal?.addEventListener('abort', abort, { once: true });
    void machine.wait().then(
      () => signal?.removeEventListener('abort', abort),
      () => {},
    );
  }

  get state(): MachineState {
    return this.#machine.state;
  }

  /** Nanoseconds of machine time. */
  get time(): number {
    return this.#machine.clock.now();
  }

  /** Lets the processor run from the kernel's first instruction. */
  async start(): Promise<void> {
    // What nobody reads would stop the guest's console when it is full.
    for (const console of this.#consoles.values()) console.drainWhileUnused();
    this.#machine.cont();
  }

  /** Stops the processor and the machine's clock; `cont` goes on. */
  stop(): void {
    this.#machine.stop();
  }

  cont(): void {
    this.#machine.cont();
  }

  /** The reset button; resolves when the machine stands at its first instruction again. */
  async reset(): Promise<void> {
    const machine = this.#machine;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        forget();
        forgetEnd();
        resolve();
      };
      const forget = machine.events.on('reset', done);
      const forgetEnd = machine.events.on('shutdown', done);
      machine.reset();
    });
  }

  /** The power button: most guests shut down in order. `wait` says when they have. */
  powerdown(): void {
    this.#machine.powerdown();
  }

  /** Ends the machine at once; disks are flushed and closed. */
  quit(): Promise<ExitInfo> {
    return this.#machine.quit();
  }

  /** Resolves when the machine has ended; rejects when the host failed, or with the reason of an aborted signal. */
  async wait(): Promise<ExitInfo> {
    const info = await this.#machine.wait();
    this.#signal?.throwIfAborted();
    if (info.error !== undefined) throw info.error;
    return info;
  }

  /** The streams of `chardev: { backend: 'stream', id }`. */
  console(id: string): Console {
    const console = this.#consoles.get(id);
    if (console !== undefined) return console;
    const known = [...this.#consoles.keys()];
    throw new UsageError(
      `no console '${id}' (there ${known.length === 0 ? 'is none' : `is: ${known.join(', ')}`}; a console is a chardev of type stream)`,
    );
  }

  /** Calls `listener` at each `event`; the result takes it away again. */
  on<K extends keyof MachineEvents>(event: K, listener: Listener<MachineEvents[K]>): () => void {
    return this.#machine.events.on(event, listener);
  }

  /** Listens to the trace points whose name matches `glob`. */
  trace(glob: string, sink: TraceSink): void {
    this.#board.tracer.enable(glob, sink);
  }

  /** Guest-physical memory as a view, or undefined when [address, address + length) is not all RAM. */
  memory(address: number, length: number): Uint8Array | undefined {
    return this.#board.cpu.guestMemory.slice(address, length);
  }

  /** The processor's registers, as text. */
  registers(): string {
    return this.#board.cpu.describeRegisters();
  }

  /** The processor's figures: instructions, translations, exits by cause. */
  stats(): Record<string, number> {
    return this.#board.cpu.stats();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.quit();
  }
}

/**
 * Makes a machine on `host`. It stands before its first instruction until `start`.
 * @throws UsageError for what the options got wrong, HostError for what the host cannot do
 */
export async function createVm(options: MachineOptions, host: MachineHost): Promise<Vm> {
  options.signal?.throwIfAborted();
  const { given, kernel, initrd } = readMachineOptions(options);
  const config = configure(given, [], { kernel, initrd, streams: true });
  const { machine, board } = await createMachineFrom(config, host, { plug: options.plug });
  if (options.signal?.aborted) {
    await machine.quit();
    options.signal.throwIfAborted();
  }
  return new Vm(machine, board, `paravane ${formatCommandLine(given)}`.trim(), options.signal);
}
