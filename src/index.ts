/**
 * The library: `createMachine(options)` makes a machine out of the command line's options. Everything that is
 * exported here is public; the rest of the package may change.
 */
import { nodeMachineHost } from './host/node/machine-host.ts';
import type { MachineOptions } from './machine/options.ts';
import type { Vm } from './machine/vm.ts';
import { createVm } from './machine/vm.ts';

export { ensureGuest } from './host/node/guests.ts';
export type { Guest, GuestName } from './host/node/guests.ts';
export { ParavaneError, UsageError, HostError, BugError } from './core/errors.ts';
export type { TraceSink } from './core/trace.ts';
export type { Console } from './machine/console.ts';
export type { ExitInfo, MachineEvents, MachineState } from './machine/machine.ts';
export type {
  ChardevOptions,
  DeviceOptions,
  FileOption,
  MachineOptions,
  NetdevOptions,
  NicOptions,
  ObjectOptions,
} from './machine/options.ts';
export { VERSION } from './machine/version.ts';
export type { Vm } from './machine/vm.ts';
export type { DeviceHost, QueueSpec, VirtioDevice } from './virtio/device.ts';
export type { Chain, Queue } from './virtio/queue/queue.ts';

/**
 * Makes a machine. It stands before its first instruction until `vm.start()`.
 *
 * @example
 * await using vm = await createMachine({ m: '256M', kernel: 'vmlinuz', append: 'console=ttyS0' });
 * await vm.start();
 * console.log(await vm.serial[0]!.waitFor('login: '));
 *
 * @throws UsageError for what the options got wrong, HostError for what the host cannot do
 */
export function createMachine(options: MachineOptions = {}): Promise<Vm> {
  return createVm(options, nodeMachineHost(options.onMessage ?? (() => {})));
}
