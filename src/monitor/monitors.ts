/** The monitors of one machine: each on its chardev, all of them told of what happens. */
import type { Backends } from '../machine/backends.ts';
import type { PcBoard } from '../machine/board.ts';
import type { MonitorConfig } from '../machine/config.ts';
import type { MachineHost } from '../machine/host.ts';
import type { Machine } from '../machine/machine.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import { MuxChardev } from '../chardev/mux.ts';
import { EventLimit } from './event-limit.ts';
import { runHmp } from './hmp/run.ts';
import { HmpSession } from './hmp/session.ts';
import { COMMANDS } from './qmp/commands.ts';
import type { EventName } from './qmp/events.ts';
import { QmpSession } from './qmp/session.ts';
import type { JsonObject } from './json/value.ts';
import type { MonitorHost } from './target.ts';
import { MonitorTarget, QMP_VERSION, watchMachine } from './target.ts';

interface Session {
  emit?(event: JsonObject): void;
  /** The machine is complete: commands may come. */
  start(): void;
  close(): void;
}

export class Monitors {
  readonly target: MonitorTarget;
  readonly #sessions: Session[] = [];
  readonly #limit: EventLimit;
  readonly #forget: () => void;

  /** Puts a monitor on each chardev that the configuration has for one. They take no commands before `ready`. */
  constructor(machine: Machine, backends: Backends, host: MachineHost, os: MonitorHost = {}) {
    this.target = new MonitorTarget(machine, backends, host, os);
    this.#limit = new EventLimit(
      (milliseconds, call) => host.char.delay(milliseconds, call),
      (name, data) => this.#send(name, data),
    );
    for (const config of machine.config.monitors) {
      try {
        this.#sessions.push(this.#open(config));
      } catch (error) {
        throw blamed(config.origin, error);
      }
    }
    this.target.human = (line) => runHmp(line, this.target);
    this.target.emit = (name, data) => this.#limit.emit(name, data);
    const unwatch = watchMachine(this.target, this.target.emit);
    this.#forget = unwatch;
    void machine.wait().then(
      () => this.close(),
      () => this.close(),
    );
  }

  /** The machine is complete. */
  ready(board: PcBoard): void {
    this.target.board = board;
    board.platform.rtc.onSet = (seconds) => this.target.machine.events.emit('rtcChange', seconds);
    for (const session of this.#sessions) session.start();
  }

  close(): void {
    this.#forget();
    this.#limit.close();
    for (const session of this.#sessions.splice(0)) session.close();
  }

  #open(config: MonitorConfig): Session {
    const { target } = this;
    const mux = target.backends.chardevs.get(config.chardev)?.thing instanceof MuxChardev;
    const chardev = target.backends.claimChardev(config.chardev, 'monitor');
    target.monitorChardevs.add(config.chardev);
    const onBug = (error: unknown): void =>
      target.host.warn(`monitor: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    if (config.mode === 'readline') return new HmpSession(chardev, target, onBug);
    return new QmpSession(chardev, {
      target,
      commands: COMMANDS,
      version: QMP_VERSION,
      pretty: config.pretty,
      oob: !mux,
      onBug,
    });
  }

  #send(name: EventName, data: JsonObject | undefined): void {
    const now = this.target.host.time.wall();
    const seconds = Math.floor(now / 1000);
    const timestamp = { seconds, microseconds: Math.floor((now - seconds * 1000) * 1000) };
    const event = { timestamp, event: name, ...(data === undefined ? {} : { data }) };
    for (const session of this.#sessions) session.emit?.(event);
  }
}
