/** The command line: what the words mean, the machine's life as a process, and the exit code. */
import type { PcBoard } from '../machine/board.ts';
import { createMachineFrom } from '../machine/create.ts';
import type { MachineConfig } from '../machine/config.ts';
import { configure } from '../machine/configure.ts';
import type { MachineHost } from '../machine/host.ts';
import type { ExitInfo, Machine } from '../machine/machine.ts';
import { VERSION } from '../machine/version.ts';
import type { CliProcess } from '../host/node/cli-process.ts';
import { monitorHost } from '../host/node/monitor-host.ts';
import { Monitors } from '../monitor/monitors.ts';
import { parseCommandLine } from '../qapi/parse-command-line.ts';
import { findHelp } from './help.ts';
import { imageCommand } from './image.ts';
import type { Messages } from './messages.ts';
import { EXIT, explain, messages } from './messages.ts';
import { runCommand } from './run.ts';
import { usage } from './usage.ts';

export interface Cli {
  readonly process: CliProcess;
  readonly host: MachineHost;
  readonly messages: Messages;
}

/** Runs the command line to its end; the result is the exit code. */
export async function cli(
  process: CliProcess,
  makeHost: (warn: (text: string) => void) => MachineHost,
): Promise<number> {
  const say = messages(process);
  const context: Cli = { process, messages: say, host: makeHost((text) => say.warn(text)) };
  try {
    return await dispatch(context);
  } catch (error) {
    const { text, code } = explain(error);
    say.error(text);
    return code;
  }
}

async function dispatch(context: Cli): Promise<number> {
  const { process } = context;
  const { argv } = process;
  const [verb] = argv;
  if (verb === 'run') return runCommand(context, argv.slice(1));
  if (verb === 'image') return imageCommand(context, argv.slice(1));
  if (verb === undefined) {
    process.stderr(usage());
    return EXIT.usage;
  }
  if (argv.some((word) => ['-h', '-help', '--help'].includes(word))) {
    process.stdout(usage());
    return EXIT.done;
  }
  if (argv.some((word) => ['-version', '--version'].includes(word))) {
    process.stdout(`Paravane ${VERSION}\n`);
    return EXIT.done;
  }
  const answer = findHelp(argv);
  if (answer !== undefined) {
    process.stdout(`${answer}\n`);
    return EXIT.done;
  }
  const { given, images } = parseCommandLine(argv);
  return runMachine(context, configure(given, images));
}

/** Starts a machine, waits for its end, says how it ended. */
export async function runMachine(context: Cli, config: MachineConfig): Promise<number> {
  const { process, host } = context;
  context.messages.timestamps = config.timestamps;
  if (config.processTitle !== undefined) process.setTitle(config.processTitle);
  let monitors: Monitors | undefined;
  const { machine, board } = await createMachineFrom(config, host, {
    attachMonitors: (made, backends) => {
      monitors = new Monitors(made, backends, host, monitorHost);
    },
  });
  monitors?.ready(board);
  let removePidFile: (() => void) | undefined;
  let stopListening: (() => void) | undefined;
  try {
    if (config.pidfile !== undefined) removePidFile = process.writePidFile(config.pidfile);
    stopListening = watch(context, machine);
    if (config.kernel === undefined)
      context.messages.note(
        "nothing to boot: there is no -kernel, and no firmware yet that could start a disk's own loader",
      );
    if (!config.startPaused) machine.cont();
    else if (config.monitors.length === 0)
      context.messages.note('the processor is not started (-S), and there is no monitor to start it');
    const info = await machine.wait();
    if (config.stats) printStats(context, machine, board);
    return exitCode(context, info);
  } catch (error) {
    await machine.quit({ reason: 'host-error', code: EXIT.failed, error }).catch(() => {});
    throw error;
  } finally {
    stopListening?.();
    removePidFile?.();
  }
}

/** Signals, and what the user should hear of. */
function watch(context: Cli, machine: Machine): () => void {
  const { process, messages: say } = context;
  machine.events.on('stop', (state) => {
    if (state === 'io-error')
      say.warn('the machine stopped after a failed disk write; the monitor can let it go on (cont)');
    if (state === 'guest-panicked') say.warn('the guest panicked');
  });
  let faulted = false;
  machine.events.on('tripleFault', () => {
    // A program that is no kernel faults again after each reset, hundreds of times in a second.
    if (faulted) return;
    faulted = true;
    const what = machine.config.rebootExits ? 'the machine ends' : 'the machine is reset';
    say.warn(`triple fault in the guest: ${what}`);
  });
  return process.onSignal((signal) => {
    say.note(`terminating on signal ${signal}`);
    void machine.quit({ reason: 'host-signal', code: EXIT.done });
  });
}

function exitCode(context: Cli, info: ExitInfo): number {
  if (info.error !== undefined) {
    const { text, code } = explain(info.error);
    context.messages.error(text);
    return code;
  }
  return info.code;
}

function printStats(context: Cli, machine: Machine, { cpu }: PcBoard): void {
  const seconds = machine.clock.now() / 1e9;
  const idle = machine.idleTime / 1e9;
  const { pauses } = machine;
  const lines: Record<string, number> = { seconds, idleSeconds: idle, ...cpu.stats() };
  if (pauses !== undefined)
    for (const [name, figures] of [
      ['Slice', pauses.slices],
      ['Turn', pauses.turns],
    ] as const) {
      const plural = `${name.toLowerCase()}s`;
      lines[plural] = figures.count;
      lines[`longest${name}Milliseconds`] = figures.longest / 1e6;
      lines[`longest${name}AtSeconds`] = figures.longestAt / 1e9;
      lines[`${plural}Over20Milliseconds`] = figures.over20;
      if (figures.longestOnProcessor === undefined) continue;
      lines[`longest${name}OnProcessorMilliseconds`] = figures.longestOnProcessor / 1e6;
      lines[`${plural}Over20OnProcessorMilliseconds`] = figures.over20OnProcessor ?? 0;
    }
  for (const [name, value] of Object.entries(lines))
    context.process.stderr(`${name.padEnd(28)} ${Number.isInteger(value) ? value : value.toFixed(3)}\n`);
  const { symbols } = machine.config;
  const text = symbols === undefined ? undefined : context.process.readText(symbols);
  const report = cpu.report?.(text);
  if (report !== undefined) context.process.stderr(report);
}
