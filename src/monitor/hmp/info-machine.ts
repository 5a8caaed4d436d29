/** `info` about the machine as a whole and its processor. */
import type { FileSource, MachineConfig } from '../../machine/config.ts';
import { balloonActual } from '../qmp/commands/memory.ts';
import { runState, uuidOf } from '../qmp/commands/status.ts';
import { QMP_VERSION } from '../target.ts';
import type { MonitorTarget } from '../target.ts';
import { printedPoints } from '../tracing.ts';
import type { HmpCommand } from './command.ts';
import { plainly } from './error.ts';

const info = (name: string, help: string, run: (target: MonitorTarget) => string): HmpCommand => ({
  name,
  takes: '',
  synopsis: '',
  help,
  run: (_, target) => run(target),
});

const LABEL_WIDTH = 28;

/** There is no firmware: the kernel and its companions are what is loaded. */
function romText({ kernel, initrd }: MachineConfig): string {
  const line = (what: string, source: FileSource | undefined): string => {
    if (source === undefined) return '';
    const size = typeof source === 'string' ? '' : ` size=0x${source.length.toString(16).padStart(6, '0')}`;
    return `loader=${what}${size} name="${typeof source === 'string' ? source : ''}"\n`;
  };
  return line('kernel', kernel) + line('initrd', initrd);
}

export const machineInfo: readonly HmpCommand[] = [
  info('version', 'the version of QEMU that this speaks like, and its own', () => {
    const { major, minor, micro, package: name } = QMP_VERSION;
    return `${major}.${minor}.${micro} (${name})\n`;
  }),
  info('status', 'whether the processor runs', ({ machine }) => {
    const state = runState(machine.state);
    const why = state === 'running' || state === 'paused' ? '' : ` (${state})`;
    return `VM status: ${machine.running ? 'running' : 'paused'}${why}\n`;
  }),
  info('name', 'the name of the guest', ({ machine }) =>
    machine.config.name === undefined ? '' : `${machine.config.name}\n`,
  ),
  info('uuid', 'the UUID of the machine', ({ machine }) => `${uuidOf(machine.config.uuid)}\n`),
  info('kvm', 'whether KVM is used', () => 'kvm support: disabled\n'),
  info('cpus', 'the processors', ({ os }) => `* CPU #0: thread_id=${os.threadId ?? 0}\n`),
  {
    name: 'registers',
    takes: 'all:-a,vcpu:i?',
    synopsis: '[-a|vcpu]',
    help: "the processor's registers",
    run: ({ vcpu }, { board }) =>
      vcpu === undefined || vcpu === 0n
        ? `\nCPU#0\n${board.cpu.describeRegisters()}`
        : `CPU#${String(vcpu)} not available\n`,
  },
  info('jit', "the translator's figures", ({ board, machine }) =>
    Object.entries({ ...board.cpu.stats(), idleSeconds: machine.idleTime / 1e9 })
      .map(
        ([name, value]) =>
          `${name.padEnd(LABEL_WIDTH)} ${Number.isInteger(value) ? value : value.toFixed(3)}\n`,
      )
      .join(''),
  ),
  info(
    'memory_size_summary',
    'bytes of RAM',
    ({ machine }) => `base memory: ${machine.config.memory}\nplugged memory: 0\n`,
  ),
  info(
    'balloon',
    'megabytes that the guest has, less what is in its balloon',
    (target) => `balloon: actual=${Math.floor(balloonActual(target) / 2 ** 20)}\n`,
  ),
  info('snapshots', 'snapshots of the machine', () => 'no block device can store vmstate for snapshot\n'),
  info('roms', 'what firmware and loaders put into memory', ({ machine }) => romText(machine.config)),
  info('iothreads', 'threads for input and output', ({ backends, os }) =>
    [...backends.objects.values()]
      .filter(({ type }) => type === 'iothread')
      .map(
        ({ id }) =>
          `${id}:\n  thread_id=${os.threadId ?? 0}\n  poll-max-ns=0\n  poll-grow=0\n  poll-shrink=0\n  aio-max-batch=0\n`,
      )
      .join(''),
  ),
  {
    name: 'trace-events',
    takes: 'name:s?',
    synopsis: '[name]',
    help: 'trace points, and whether they are printed',
    run: ({ name }, target) => {
      const points = plainly(() => printedPoints(target, name === undefined ? '*' : String(name)));
      return points.map((point) => `${point.name} : state ${point.on ? 1 : 0}\n`).join('');
    },
  },
];
