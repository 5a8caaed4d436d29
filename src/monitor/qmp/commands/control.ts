/** The monitor itself, and the machine's switches: stop, go on, reset, power button, end. */
import { HostError } from '../../../core/errors.ts';
import { QMP_VERSION } from '../../target.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { versionJson } from '../session.ts';
import { array, int, object, oneOf, str } from '../types.ts';

const WATCHDOG = oneOf('reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi');

export const controlCommands = [
  command({
    name: 'qmp_capabilities',
    help: 'Ends the negotiation: all other commands are accepted from then on',
    arguments: { 'enable?': array(oneOf('oob')) },
    run: () => {},
  }),
  command({
    name: 'query-version',
    help: "The version of QEMU that this monitor speaks like, and this program's own",
    returns: object({ qemu: object({ major: int, minor: int, micro: int }), package: str }),
    run: () => versionJson(QMP_VERSION),
  }),
  command({
    name: 'stop',
    help: 'Stops the processor and machine time',
    run: (_, { machine }) => machine.stop(),
  }),
  command({
    name: 'cont',
    help: 'Lets the processor run',
    run: (_, { machine }) => {
      try {
        machine.cont();
      } catch (error) {
        if (error instanceof HostError) throw new QmpError(error.message);
        throw error;
      }
    },
  }),
  command({
    name: 'system_reset',
    help: 'The reset button',
    run: (_, { machine }) => machine.reset(),
  }),
  command({
    name: 'system_powerdown',
    help: 'The power button: what happens is the decision of the guest',
    run: (_, { machine }) => machine.powerdown(),
  }),
  command({
    name: 'set-action',
    help: 'What happens when the guest reboots, powers off or panics',
    arguments: {
      'reboot?': oneOf('reset', 'shutdown'),
      'shutdown?': oneOf('poweroff', 'pause'),
      'panic?': oneOf('pause', 'shutdown', 'exit-failure', 'none'),
      'watchdog?': WATCHDOG,
    },
    run: (given, { machine }) => {
      for (const [name, action] of Object.entries(given)) Object.assign(machine.actions, { [name]: action });
    },
  }),
  command({
    name: 'watchdog-set-action',
    help: 'What happens when a watchdog runs out (there is none)',
    arguments: { action: WATCHDOG },
    run: ({ action }, { machine }) => {
      machine.actions.watchdog = action;
    },
  }),
  command({
    name: 'system_wakeup',
    help: 'Wakes a guest that sleeps (no guest can: there is no S3)',
    run: () => {
      throw new QmpError('Unable to wake up: guest is not in suspended state');
    },
  }),
  command({
    name: 'quit',
    help: 'Ends the machine at once; disks are flushed',
    run: (_, { machine }) => {
      machine.quit({ reason: 'host-qmp-quit', code: 0 }).catch(() => {});
    },
  }),
  command({
    name: 'inject-nmi',
    help: 'A non-maskable interrupt, as from the NMI button',
    run: (_, { board }) => board.platform.nmi(),
  }),
  command({
    name: 'human-monitor-command',
    help: 'Executes a command of the monitor for people, and returns what it prints',
    arguments: { 'command-line': str, 'cpu-index?': int },
    returns: str,
    run: (given, target) => {
      if ((given['cpu-index'] ?? 0) !== 0) throw new QmpError("Parameter 'cpu-index' expects a CPU number");
      return target.human(given['command-line']);
    },
  }),
];
