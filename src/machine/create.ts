/** From a configuration to a machine that can be started: opens everything, builds the hardware, loads the kernel. */
import { Tracer } from '../core/trace.ts';
import { Backends } from './backends.ts';
import type { PcBoard } from './board.ts';
import { buildBoard } from './board.ts';
import { openBootFiles } from './boot.ts';
import { MachineClock } from './clock.ts';
import type { MachineConfig } from './config.ts';
import type { MachineHost } from './host.ts';
import { CountedFiles, InstructionTime, seededRandom } from './icount.ts';
import { Machine } from './machine.ts';
import { connectTrace, readEventFiles } from './tracing.ts';
import type { VirtioDevice } from '../virtio/device.ts';

/** What a caller adds to the configuration. */
export interface MachineExtras {
  /** Devices of the caller's own, behind those of the configuration. */
  readonly plug?: readonly VirtioDevice[] | undefined;
  /** Puts monitors on the chardevs that the configuration has for them, before devices claim theirs. */
  readonly attachMonitors?: (machine: Machine, backends: Backends) => void;
}

/** A machine and its hardware. */
export interface CreatedMachine {
  readonly machine: Machine;
  readonly board: PcBoard;
}

/**
 * Makes the machine; it stands before its first instruction until `machine.cont()`.
 * @throws UsageError for what the options got wrong, HostError for what the host cannot do
 */
export async function createMachineFrom(
  config: MachineConfig,
  anyHost: MachineHost,
  extras: MachineExtras = {},
): Promise<CreatedMachine> {
  const counted = config.icount === undefined ? undefined : new CountedFiles(anyHost.block);
  const host = changed(anyHost, {
    ...(config.seed === undefined ? {} : { random: seededRandom(config.seed) }),
    ...(counted === undefined ? {} : { block: counted }),
  });
  for (const note of config.notes) host.warn(note);
  const boot = await openBootFiles(config, host);
  const icount =
    config.icount === undefined
      ? undefined
      : new InstructionTime(config.icount, host.time, (message) => host.warn(message));
  if (icount !== undefined) icount.files = counted;
  const clock = new MachineClock(icount ?? host.time);
  const machine = new Machine(config, clock, host, icount);
  const tracer = new Tracer();
  const traceConfig = await readEventFiles(config.trace, host);
  const closeTrace = connectTrace(tracer, traceConfig, clock, host, machine);
  const keys = {
    onQuit: () => void machine.quit({ reason: 'host-signal', code: 0 }),
    onSave: () => host.warn('writing changes back to images is not available yet'),
    now: () => clock.now() / 1e6,
    escape: config.escapeKey,
  };
  const backends = await Backends.open(config, host, keys);
  try {
    extras.attachMonitors?.(machine, backends);
    const board = await buildBoard({
      config,
      host,
      clock,
      tracer,
      backends,
      files: boot,
      plug: extras.plug ?? [],
      control: machine.control,
      setInterrupt: (level) => machine.setInterrupt(level),
      nmi: () => machine.nmi(),
      onResume: (call) => machine.events.on('resume', call),
      events: machine.events,
    });
    machine.mount(board);
    machine.events.on('shutdown', closeTrace);
    return { machine, board };
  } catch (error) {
    await backends.close().catch(() => {});
    await boot.kernel?.close();
    await boot.initrd?.close();
    closeTrace();
    throw error;
  }
}

/** The host with some of its members replaced; it may be of a class. */
function changed(host: MachineHost, members: Partial<MachineHost>): MachineHost {
  if (Object.keys(members).length === 0) return host;
  return new Proxy(host, {
    get: (target, name) => {
      if (name in members) return members[name as keyof MachineHost];
      const value = target[name as keyof MachineHost] as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
