/**
 * A host for tests: files in memory, a clock that moves as the fake processor runs, and a processor whose program is
 * a JavaScript function. Not part of the library.
 */
import { HostError } from '../core/errors.ts';
import type { RamRegion } from '../core/memory.ts';
import { GuestMemory } from '../core/memory.ts';
import type { CpuBus, CpuInterface, EntryState, RunResult } from '../x86/cpu.ts';
import { ramRegions } from './ram.ts';
import type { CpuRequest, MachineHost, OpenFile } from './host.ts';

/** Runs `program` as if it were guest code: each call is one turn of `run`. */
export class FakeCpu implements CpuInterface {
  readonly guestMemory: GuestMemory;
  readonly bus: CpuBus;
  readonly request: CpuRequest;
  instructionCount = 0;
  interrupt = false;
  entered: EntryState | undefined;
  resets = 0;
  stopped = false;
  readonly #host: FakeHost;

  constructor(request: CpuRequest, host: FakeHost) {
    this.request = request;
    this.bus = request.bus;
    this.#host = host;
    let offset = 0;
    const regions = ramRegions(request.ramBelow4G, request.ramAbove4G).map(({ gpa, size }): RamRegion => {
      const region = { gpa, size, offset };
      offset += size;
      return region;
    });
    this.guestMemory = new GuestMemory(new ArrayBuffer(offset), regions);
  }

  mapRom(): void {}
  reset(): void {
    this.resets++;
    this.entered = undefined;
  }
  enter(state: EntryState): void {
    this.entered = state;
  }
  run(budget: number): RunResult {
    this.instructionCount += budget;
    this.#host.nanoseconds += budget;
    return this.#host.program(this, budget);
  }
  setInterrupt(level: boolean): void {
    this.interrupt = level;
  }
  nmi(): void {}
  stop(): void {
    this.stopped = true;
  }
  stats(): Record<string, number> {
    return { instructions: this.instructionCount };
  }
  describeRegisters(): string {
    return '';
  }
}

export class FakeHost implements MachineHost {
  nanoseconds = 0;
  readonly files = new Map<string, Uint8Array>();
  readonly warnings: string[] = [];
  readonly output: string[] = [];
  readonly logs = new Map<string, string[]>();
  cpu: FakeCpu | undefined;
  /** What the guest does in one turn. */
  program: (cpu: FakeCpu, budget: number) => RunResult = () => 'halted';

  readonly time = {
    monotonic: () => this.nanoseconds,
    wall: () => Date.UTC(2024, 0, 1) + this.nanoseconds / 1e6,
  };
  readonly localOffset = 0;
  readonly block: MachineHost['block'] = {
    open: (path) => {
      throw new HostError(`Could not open '${path}': No such file or directory`);
    },
    temporary: () => undefined,
    warn: (message) => this.warn(message),
  };
  readonly char = {
    stdio: () => {
      throw new HostError('no terminal in tests');
    },
    openSink: (path: string) => ({
      write: (data: Uint8Array) => void this.output.push(`${path}:${new TextDecoder().decode(data)}`),
      close: () => {},
    }),
    inform: (message: string) => this.warn(message),
    warn: (message: string) => this.warn(message),
    now: () => this.nanoseconds / 1e6,
    delay: () => () => {},
  } as unknown as MachineHost['char'];

  readFile(path: string): Promise<Uint8Array> {
    const file = this.files.get(path);
    if (file !== undefined) return Promise.resolve(file);
    return Promise.reject(new HostError(`Could not open '${path}': No such file or directory`));
  }
  async openFile(path: string): Promise<OpenFile> {
    await this.readFile(path);
    return { read: () => this.readFile(path), close: async () => {} };
  }
  openRandom(path: string): ReturnType<MachineHost['openRandom']> {
    if (!this.files.has(path)) throw new HostError(`Could not open '${path}': No such file or directory`);
    return { fill: async (view) => void view.fill(4), close: async () => {} };
  }
  random(view: Uint8Array): void {
    view.fill(7);
  }
  createCpu(request: CpuRequest): Promise<CpuInterface> {
    this.cpu = new FakeCpu(request, this);
    return Promise.resolve(this.cpu);
  }
  createNetdev: MachineHost['createNetdev'] = ({ id, type }) =>
    Promise.resolve({
      id,
      type,
      txCaps: { csum: false, tso4: false, tso6: false, ufo: false },
      linkUp: true,
      send: () => {},
      acceptInput: () => {},
      attach: () => () => {},
      describe: () => type,
      close: () => Promise.resolve(),
    });
  openLog(path: string): ReturnType<MachineHost['openLog']> {
    const lines: string[] = [];
    this.logs.set(path, lines);
    return { line: (text) => void lines.push(text), close: () => {} };
  }
  warn(message: string): void {
    this.warnings.push(message);
  }
  yieldToHost(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
  sleep(milliseconds: number, wake: Parameters<MachineHost['sleep']>[1]): Promise<void> {
    if (Number.isFinite(milliseconds)) this.nanoseconds += milliseconds * 1e6;
    return new Promise((resolve) => {
      const forget = wake.listen(done);
      const timer = Number.isFinite(milliseconds) ? setTimeout(done, 0) : undefined;
      function done(): void {
        clearTimeout(timer);
        queueMicrotask(() => forget());
        resolve();
      }
    });
  }
  nap(milliseconds: number): void {
    this.nanoseconds += milliseconds * 1e6;
  }
}
