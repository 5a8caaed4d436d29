/**
 * A machine that runs: its state, what can be done to it (start, stop, reset, power button, quit), and how it ends.
 * What it is made of is the board's business (board.ts); when the processor gets its turns is the run loop's (run.ts).
 */
import { HostError } from '../core/errors.ts';
import type { Tracer } from '../core/trace.ts';
import type { CpuInterface } from '../x86/cpu.ts';
import type { MachineClock } from './clock.ts';
import type { MachineConfig } from './config.ts';
import { Emitter } from './events.ts';
import type { InstructionTime } from './icount.ts';
import { Pauses } from './pauses.ts';
import type { Yielder } from './run.ts';
import { RunLoop } from './run.ts';

/** Names as QMP's `query-status` gives them. */
export type MachineState =
  | 'prelaunch'
  | 'running'
  | 'paused'
  | 'io-error'
  | 'shutdown'
  | 'guest-panicked'
  | 'closed';

/** How a machine ended. */
export interface ExitInfo {
  /** QMP's `SHUTDOWN` reasons, as far as they can happen here. */
  readonly reason:
    | 'guest-shutdown'
    | 'guest-reset'
    | 'guest-panic'
    | 'host-qmp-quit'
    | 'host-signal'
    | 'host-error'
    | 'debug-exit';
  /** For the process: 0 unless something failed, or the debug exit device said otherwise. */
  readonly code: number;
  /** What failed, for `host-error`. */
  readonly error?: unknown;
}

/** What becomes of the machine when the guest does something final: QMP's `set-action`. */
export interface MachineActions {
  reboot: 'reset' | 'shutdown';
  shutdown: 'poweroff' | 'pause';
  panic: 'pause' | 'shutdown' | 'exit-failure' | 'none';
  watchdog: 'reset' | 'shutdown' | 'poweroff' | 'pause' | 'debug' | 'none' | 'inject-nmi';
}

export interface MachineEvents {
  /** The processor runs from now on. */
  resume: [];
  /** The processor stands still. */
  stop: [state: MachineState];
  reset: [guest: boolean];
  powerdown: [];
  /** The processor shut down: a fault while it delivered a double fault. A reset or the end follows. */
  tripleFault: [];
  shutdown: [info: ExitInfo];
  /** A device is gone; `path` is its place in QEMU's object tree. */
  deviceDeleted: [id: string | undefined, path: string];
  /** A program in the guest opened or closed a virtio-serial port that has an id. */
  portOpen: [id: string, open: boolean];
  /** The guest says that it has panicked, and what that leads to. */
  panic: [action: MachineActions['panic']];
  /** The guest set its clock: seconds from what it would have shown. */
  rtcChange: [offset: number];
  /** The guest changed which frames its card receives. */
  rxFilter: [id: string | undefined, path: string];
  /** The guest has this many bytes of RAM now. */
  balloon: [actual: number];
  blockError: [error: BlockErrorInfo];
  /** A driver in the guest broke a rule: the device, and what it did. Once for each. */
  guestError: [device: string, message: string];
  /** Something that is not implemented was used, or the host could not do something. Once for each. */
  warning: [message: string];
}

/** A disk request that failed, as QMP's `BLOCK_IO_ERROR` tells it. */
export interface BlockErrorInfo {
  /** The drive's id; empty for a disk on a node. */
  readonly device: string;
  /** The node at the root of its layers. */
  readonly node?: string | undefined;
  readonly operation: 'read' | 'write';
  readonly action: 'ignore' | 'report' | 'stop';
  readonly nospace: boolean;
  readonly reason: string;
}

/** What the hardware offers the machine around it. */
export interface Board {
  readonly cpu: CpuInterface;
  readonly tracer: Tracer;
  /** Every device and the processor back to their power-on state, and the kernel loaded again. */
  reset(): Promise<void>;
  /** Presses the power button; false when the guest has not asked to hear of it. */
  powerButton(): void;
  /** Finishes input and output that is under way, closes back ends. */
  close(): Promise<void>;
}

/** What devices may ask of the machine. Usable inside bus callbacks: all of it happens after the processor's turn. */
export interface MachineControl {
  /** The guest switched the power off. */
  powerOff(): void;
  /** The guest asked for a reset. */
  reset(): void;
  /** Ends the process with this code (isa-debug-exit). */
  exit(code: number): void;
  /** Stops the processor, such as after a failed write with werror=stop. */
  pause(state: 'paused' | 'io-error' | 'guest-panicked'): void;
}

type Request = { kind: 'reset'; guest: boolean } | { kind: 'exit'; info: ExitInfo };

export class Machine implements AsyncDisposable {
  readonly config: MachineConfig;
  readonly clock: MachineClock;
  readonly actions: MachineActions;
  readonly events = new Emitter<MachineEvents>();
  readonly #host: Yielder;
  readonly #icount: InstructionTime | undefined;
  #board: Board | undefined;
  #loop: RunLoop | undefined;
  #state: MachineState = 'prelaunch';
  #request: Request | undefined;
  #finished: Promise<ExitInfo>;
  #finish!: (info: ExitInfo) => void;
  #closing: Promise<void> | undefined;
  #exit: ExitInfo | undefined;
  /** Level of the interrupt line before there is a loop that takes it. */
  #interrupt = false;

  /** @param icount what the clock counts, when it counts instructions */
  constructor(config: MachineConfig, clock: MachineClock, host: Yielder, icount?: InstructionTime) {
    this.#icount = icount;
    this.config = config;
    this.actions = {
      reboot: config.rebootExits ? 'shutdown' : 'reset',
      shutdown: config.shutdownStops ? 'pause' : 'poweroff',
      panic: 'pause',
      watchdog: 'reset',
    };
    this.clock = clock;
    this.#host = host;
    this.#finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Calls for devices, to be handed to the board's builder. */
  readonly control: MachineControl = {
    powerOff: () => this.#guestPowerOff(),
    reset: () => this.#guestReset('guest-reset'),
    exit: (code) => this.#ask({ kind: 'exit', info: { reason: 'debug-exit', code } }),
    pause: (state) => (state === 'guest-panicked' ? this.#guestPanic() : this.#pause(state)),
  };

  /** The interrupt line of the processor, for the platform. */
  setInterrupt(level: boolean): void {
    this.#interrupt = level;
    this.#loop?.setInterrupt(level);
  }

  nmi(): void {
    this.#loop?.nmi();
  }

  /** The hardware is there: the machine can be started. */
  mount(board: Board): void {
    this.#board = board;
    this.#icount?.attach(board.cpu);
    const hooks = {
      onShutdown: () => this.#guestReset('triple-fault'),
      onRequest: () => this.#serve(),
    };
    // a call of the host's kernel at both ends of each slice: only for who asks
    const pauses = new Pauses(this.config.stats ? () => this.#host.processorTime?.() : undefined);
    this.#loop = new RunLoop(board.cpu, this.clock, this.#host, hooks, this.#icount, pauses);
    if (this.#interrupt) this.#loop.setInterrupt(true);
    this.#loop.run().catch((error: unknown) => this.#fail(error));
  }

  get board(): Board {
    if (this.#board === undefined) throw new HostError('the machine is not complete');
    return this.#board;
  }

  get state(): MachineState {
    return this.#state;
  }

  get running(): boolean {
    return this.#state === 'running';
  }

  /** How long the thread was kept from the host's event loop at a time (see RunLoop); undefined before the start. */
  get pauses(): RunLoop['pauses'] | undefined {
    return this.#loop?.pauses;
  }

  /** Nanoseconds that the processor slept because the guest had nothing to do. */
  get idleTime(): number {
    return this.#loop?.slept ?? 0;
  }

  /** Lets the processor run. Does nothing when it does already. */
  cont(): void {
    if (this.#state === 'closed' || this.#exit !== undefined) throw new HostError('the machine has ended');
    if (this.#state === 'running') return;
    if (this.#state === 'shutdown' || this.#state === 'guest-panicked')
      throw new HostError('Resetting the Virtual Machine is required');
    this.#state = 'running';
    this.#loop?.resume();
    this.events.emit('resume');
  }

  /** Stops the processor and machine time. */
  stop(): void {
    this.#pause('paused');
  }

  /** The reset button. Done when the machine stands at its first instruction again. */
  reset(): void {
    this.#ask({ kind: 'reset', guest: false });
  }

  /** The power button: what happens is the guest's decision. */
  powerdown(): void {
    this.board.powerButton();
    this.events.emit('powerdown');
  }

  /** Ends the machine at once, as pulling the plug would; disks are flushed. Resolves when all is closed. */
  async quit(info: ExitInfo = { reason: 'host-qmp-quit', code: 0 }): Promise<ExitInfo> {
    this.#ask({ kind: 'exit', info });
    return this.wait();
  }

  /** Resolves when the machine has ended and everything is closed. */
  async wait(): Promise<ExitInfo> {
    const info = await this.#finished;
    await this.#closing;
    return info;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.quit();
  }

  #pause(state: 'paused' | 'io-error' | 'guest-panicked' | 'shutdown'): void {
    if (this.#state === 'closed') return;
    if (this.#state !== 'running' && (state === 'paused' || this.#state === state)) return;
    this.#state = state;
    this.#loop?.pause();
    this.events.emit('stop', state);
  }

  #guestPanic(): void {
    const { panic } = this.actions;
    this.events.emit('panic', panic);
    if (panic === 'none') return;
    this.#pause('guest-panicked');
    if (panic !== 'pause')
      this.#ask({ kind: 'exit', info: { reason: 'guest-panic', code: panic === 'exit-failure' ? 1 : 0 } });
  }

  #guestPowerOff(): void {
    const info: ExitInfo = { reason: 'guest-shutdown', code: 0 };
    if (this.actions.shutdown !== 'pause') return this.#ask({ kind: 'exit', info });
    this.events.emit('shutdown', info);
    this.#pause('shutdown');
  }

  #guestReset(why: 'guest-reset' | 'triple-fault'): void {
    if (why === 'triple-fault') this.events.emit('tripleFault');
    if (this.actions.reboot === 'reset') return this.#ask({ kind: 'reset', guest: true });
    const info: ExitInfo = { reason: 'guest-reset', code: 0 };
    if (this.actions.shutdown !== 'pause') return this.#ask({ kind: 'exit', info });
    this.events.emit('shutdown', info);
    this.#pause('shutdown');
  }

  /** An end wins over a reset; the first end wins over later ones. */
  #ask(request: Request): void {
    if (this.#request?.kind === 'exit' || this.#exit !== undefined) return;
    this.#request = request;
    if (this.#loop === undefined) void this.#serve();
    else this.#loop.request();
  }

  async #serve(): Promise<void> {
    const request = this.#request;
    this.#request = undefined;
    if (request === undefined) return;
    if (request.kind === 'exit') return this.#end(request.info);
    await this.board.reset();
    this.#loop!.noteReset();
    // As after power-on: it stands before its first instruction, until `cont`.
    if (this.#state !== 'running') this.#state = 'prelaunch';
    this.events.emit('reset', request.guest);
  }

  #end(info: ExitInfo): void {
    if (this.#exit !== undefined) return;
    this.#exit = info;
    this.#loop?.end();
    this.clock.stop();
    this.#closing = (async () => {
      try {
        await this.#board?.close();
      } finally {
        this.#state = 'closed';
      }
    })();
    this.#closing.catch(() => {});
    this.events.emit('shutdown', info);
    this.#finish(info);
  }

  #fail(error: unknown): void {
    this.#end({ reason: 'host-error', code: 1, error });
  }
}
