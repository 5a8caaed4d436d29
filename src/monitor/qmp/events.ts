/** QMP's events: which there are, and what each carries. Who may cause them is in target.ts. */
import type { Members, ObjectType } from './types.ts';
import { bool, int, object, oneOf, str } from './types.ts';

export const SHUTDOWN_REASONS = [
  'none',
  'host-error',
  'host-qmp-quit',
  'host-qmp-system-reset',
  'host-signal',
  'host-ui',
  'guest-shutdown',
  'guest-reset',
  'guest-panic',
  'subsystem-reset',
  'snapshot-load',
] as const;

const reason = oneOf(...SHUTDOWN_REASONS);

export interface EventDeclaration {
  readonly help: string;
  readonly data: ObjectType;
  /** At most one in this many milliseconds for the same thing (`key`): the last one counts. */
  readonly rate?: number;
  /** The member that says which thing it is about. */
  readonly key?: string;
}

const event = (help: string, members: Members = {}, limit: { rate?: number; key?: string } = {}) =>
  ({ help, data: object(members), ...limit }) satisfies EventDeclaration;

export const EVENTS = {
  STOP: event('The processor stands still'),
  RESUME: event('The processor runs'),
  RESET: event('The machine was reset', { guest: bool, reason }),
  SHUTDOWN: event('The machine ends, or with -no-shutdown would have', { guest: bool, reason }),
  POWERDOWN: event('The power button was pressed'),
  GUEST_PANICKED: event('The guest says that it has panicked', { action: oneOf('pause', 'poweroff', 'run') }),
  DEVICE_DELETED: event('A device is gone', { 'device?': str, path: str }),
  DEVICE_UNPLUG_GUEST_ERROR: event('The guest would not give a device back', { 'device?': str, path: str }),
  RTC_CHANGE: event(
    'The guest set its clock: seconds from what it would have shown',
    { offset: int, 'qom-path': str },
    { rate: 1000, key: 'qom-path' },
  ),
  DUMP_COMPLETED: event('Guest memory was dumped, or was not', {
    result: object({ total: int, status: oneOf('completed', 'failed'), completed: int }),
    'error?': str,
  }),
  VSERPORT_CHANGE: event(
    'A program in the guest opened or closed a virtio-serial port',
    { id: str, open: bool },
    { rate: 1000, key: 'id' },
  ),
  BLOCK_IO_ERROR: event('A disk request failed', {
    device: str,
    'node-name?': str,
    operation: oneOf('read', 'write'),
    action: oneOf('ignore', 'report', 'stop'),
    'nospace?': bool,
    reason: str,
  }),
  NIC_RX_FILTER_CHANGED: event('The guest changed what its network card receives', {
    'name?': str,
    path: str,
  }),
  BALLOON_CHANGE: event('The guest changed the size of its balloon', { actual: int }, { rate: 1000 }),
} as const satisfies Record<string, EventDeclaration>;

export type EventName = keyof typeof EVENTS;
