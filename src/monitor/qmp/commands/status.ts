/** What the machine is and how it stands. */
import type { MachineState } from '../../../machine/machine.ts';
import { command } from '../command.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

/** QMP's run states, as far as they happen here. */
const RUN_STATES = ['prelaunch', 'running', 'paused', 'io-error', 'shutdown', 'guest-panicked'] as const;

/** A machine that has ended is shutting down as long as anybody can ask. */
export const runState = (state: MachineState): string => (state === 'closed' ? 'shutdown' : state);

const NO_UUID = '00000000-0000-0000-0000-000000000000';
export const uuidOf = (uuid: string | undefined): string => uuid ?? NO_UUID;

export const statusCommands = [
  command({
    name: 'query-status',
    help: 'Whether the processor runs, or why not',
    returns: object({ running: bool, singlestep: bool, status: oneOf(...RUN_STATES) }),
    run: (_, { machine }) => ({
      status: runState(machine.state),
      singlestep: false,
      running: machine.running,
    }),
  }),
  command({
    name: 'query-name',
    help: 'The name of the guest (-name)',
    returns: object({ 'name?': str }),
    run: (_, { machine }) => ({ name: machine.config.name }),
  }),
  command({
    name: 'query-uuid',
    help: 'The UUID of the machine (-uuid)',
    returns: object({ UUID: str }),
    run: (_, { machine }) => ({ UUID: uuidOf(machine.config.uuid) }),
  }),
  command({
    name: 'query-kvm',
    help: 'Whether KVM is there and used',
    returns: object({ enabled: bool, present: bool }),
    run: () => ({ enabled: false, present: false }),
  }),
  command({
    name: 'query-target',
    help: 'What kind of computer the guest sees',
    returns: object({ arch: oneOf('x86_64') }),
    run: () => ({ arch: 'x86_64' }),
  }),
  command({
    name: 'query-machines',
    help: 'Machine types',
    returns: array(
      object({
        name: str,
        'alias?': str,
        'is-default?': bool,
        'cpu-max': int,
        'hotpluggable-cpus': bool,
        'numa-mem-supported': bool,
        deprecated: bool,
        'default-cpu-type?': str,
        'default-ram-id?': str,
      }),
    ),
    run: () =>
      [
        { name: 'pc-i440fx-7.2', alias: 'pc', 'is-default': true },
        { name: 'pc-q35-7.2', alias: 'q35' },
      ].map((one) => ({
        ...one,
        'hotpluggable-cpus': false,
        'numa-mem-supported': false,
        'default-cpu-type': 'max-x86_64-cpu',
        'cpu-max': 1,
        deprecated: false,
        'default-ram-id': 'pc.ram',
      })),
  }),
  command({
    name: 'query-iothreads',
    help: 'Threads for input and output (-object iothread)',
    returns: array(
      object({
        id: str,
        'thread-id': int,
        'poll-max-ns': int,
        'poll-grow': int,
        'poll-shrink': int,
        'aio-max-batch': int,
      }),
    ),
    run: (_, { backends, os }) =>
      [...backends.objects.values()]
        .filter(({ type }) => type === 'iothread')
        .map(({ id }) => ({
          id,
          'thread-id': os.threadId ?? 0,
          'poll-max-ns': 0,
          'poll-grow': 0,
          'poll-shrink': 0,
          'aio-max-batch': 0,
        })),
  }),
];
