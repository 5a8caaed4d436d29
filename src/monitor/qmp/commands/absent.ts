/**
 * Questions about what this machine has not: TPMs, displays, jobs, plugged memory. Programs ask them of every machine
 * and expect an answer, so each has one: there is none.
 */
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { any, array, bool, int, object, oneOf, str } from '../types.ts';

const none = (name: string, help: string) =>
  command({ name, help: `${help} (there are none)`, returns: array(any), run: () => [] });

const PROVIDER = object({ provider: oneOf('kvm'), 'names?': array(str) });

export const absentCommands = [
  none('query-tpm', 'Trusted platform modules'),
  none('query-tpm-models', 'Models of trusted platform modules'),
  none('query-tpm-types', 'Back ends of trusted platform modules'),
  none('query-memory-devices', 'RAM that was plugged in'),
  none('query-acpi-ospm-status', 'What the guest said of plugged memory and processors'),
  none('query-vnc-servers', 'VNC servers'),
  none('query-jobs', 'Jobs'),
  none('query-block-jobs', 'Jobs on disks'),
  none('query-block-exports', 'Disks that are exported'),
  none('query-pr-managers', 'Managers of persistent reservations'),
  none('query-yank', 'Connections that can be broken'),
  command({
    name: 'query-stats-schemas',
    help: 'Which statistics there are (none)',
    arguments: { 'provider?': oneOf('kvm') },
    returns: array(any),
    run: () => [],
  }),
  command({
    name: 'query-stats',
    help: 'Statistics of the host kernel (there are none)',
    arguments: { target: oneOf('vm', 'vcpu'), 'providers?': array(PROVIDER) },
    returns: array(any),
    run: () => [],
  }),
  command({
    name: 'query-vnc',
    help: 'The VNC server (there is none)',
    returns: object({ enabled: bool }),
    run: () => ({ enabled: false }),
  }),
  command({
    name: 'query-spice',
    help: 'The SPICE server (there is none)',
    returns: object({ enabled: bool, migrated: bool, 'mouse-mode': oneOf('client', 'server', 'unknown') }),
    run: () => ({ enabled: false, migrated: false, 'mouse-mode': 'client' }),
  }),
  command({
    name: 'query-display-options',
    help: 'The display (there is none)',
    returns: object({ type: oneOf('none') }),
    run: () => ({ type: 'none' }),
  }),
  command({
    name: 'query-replay',
    help: 'Record and replay (not used)',
    returns: object({ mode: oneOf('none', 'record', 'play'), icount: int }),
    run: () => ({ mode: 'none', icount: 0 }),
  }),
  command({
    name: 'query-migrate',
    help: 'A migration under way (there is none)',
    returns: object({ 'status?': str }),
    run: () => ({}),
  }),
  command({
    name: 'query-current-machine',
    help: 'What the machine can: no guest can sleep in it',
    returns: object({ 'wakeup-suspend-support': bool }),
    run: () => ({ 'wakeup-suspend-support': false }),
  }),
  command({
    name: 'screendump',
    help: 'Saves the screen as a picture (there is no screen)',
    arguments: { filename: str, 'device?': str, 'head?': int, 'format?': oneOf('ppm', 'png') },
    run: ({ device, head }) => {
      if (device !== undefined) throw new QmpError(`Device '${device}' not found`, 'DeviceNotFound');
      if (head !== undefined) throw new QmpError("'head' must be specified together with 'device'");
      throw new QmpError('There is no console to take a screendump from');
    },
  }),
  command({
    name: 'rtc-reset-reinjection',
    help: 'Forgets ticks of the real-time clock that the guest missed (none are kept)',
    run: () => {},
  }),
  command({
    name: 'query-fdsets',
    help: 'Sets of file descriptors that monitors were given (there are none)',
    returns: array(object({ 'fdset-id': int, fds: array(object({ fd: int, 'opaque?': str })) })),
    run: () => [],
  }),
  command({
    name: 'add-fd',
    help: 'Takes a file descriptor that comes with the message; Node.js receives none',
    arguments: { 'fdset-id?': int, 'opaque?': str },
    returns: object({ 'fdset-id': int, fd: int }),
    run: () => {
      throw new QmpError('No file descriptor supplied via SCM_RIGHTS');
    },
  }),
  command({
    name: 'remove-fd',
    help: 'Gives a file descriptor of a set back',
    arguments: { 'fdset-id': int, 'fd?': int },
    run: (given) => {
      const fd = given.fd === undefined ? '' : `, fd:${given.fd}`;
      throw new QmpError(`File descriptor named 'fdset-id:${given['fdset-id']}${fd}' not found`);
    },
  }),
  command({
    name: 'getfd',
    help: 'Takes a file descriptor under a name; Node.js receives none',
    arguments: { fdname: str },
    run: () => {
      throw new QmpError('No file descriptor supplied via SCM_RIGHTS');
    },
  }),
  command({
    name: 'closefd',
    help: 'Gives a named file descriptor back',
    arguments: { fdname: str },
    run: ({ fdname }) => {
      throw new QmpError(`File descriptor named '${fdname}' not found`);
    },
  }),
];
