/** Guest memory: how much there is, saved to files; the balloon. */
import { VirtioBalloon } from '../../../virtio/device/balloon/device.ts';
import { readPhysical, readVirtual } from '../../memory.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

/** Bytes of RAM that no device reaches (the hole below 1 MiB): the balloon does not count them, QEMU does. */
const hidden = ({ machine, board }: MonitorTarget): number =>
  machine.config.memory - board.cpu.guestMemory.size;

/** Bytes that the guest has, less what is in its balloon. */
export const balloonActual = (target: MonitorTarget): number => balloonOf(target).actual + hidden(target);

/** More in one file would be copied at once: all RAM that a machine can have fits. */
const MAX_SAVE = 2 ** 32;

export function balloonOf(target: MonitorTarget): VirtioBalloon {
  for (const { device } of target.board.placed)
    if (device.pci?.device instanceof VirtioBalloon) return device.pci.device;
  throw new QmpError('No balloon device has been activated', 'DeviceNotActive');
}

export async function saveMemory(
  target: MonitorTarget,
  kind: 'virtual' | 'physical',
  from: bigint | number,
  size: number,
  filename: string,
): Promise<void> {
  if (target.os.writeFile === undefined) throw new QmpError('this host has no files to save memory to');
  if (size < 0 || size > MAX_SAVE) throw new QmpError("Parameter 'size' is out of range");
  const data = kind === 'virtual' ? readVirtual(target, from, size) : readPhysical(target, from, size);
  if (data === undefined)
    throw new QmpError(
      `Invalid addr 0x${BigInt.asUintN(64, BigInt(from)).toString(16).padStart(16, '0')}/size ${size} specified`,
    );
  await target.os.writeFile(filename, data);
}

export const memoryCommands = [
  command({
    name: 'query-memory-size-summary',
    help: 'Bytes of RAM',
    returns: object({ 'base-memory': int, 'plugged-memory?': int }),
    run: (_, { machine }) => ({ 'base-memory': machine.config.memory, 'plugged-memory': 0 }),
  }),
  command({
    name: 'query-memdev',
    help: 'What RAM is made of',
    returns: array(
      object({
        'id?': str,
        size: int,
        merge: bool,
        dump: bool,
        prealloc: bool,
        share: bool,
        'reserve?': bool,
        'host-nodes': array(int),
        policy: oneOf('default', 'preferred', 'bind', 'interleave'),
      }),
    ),
    run: (_, { machine }) => [
      {
        share: false,
        reserve: true,
        prealloc: false,
        'host-nodes': [],
        size: machine.config.memory,
        merge: true,
        dump: true,
        policy: 'default',
        id: 'pc.ram',
      },
    ],
  }),
  command({
    name: 'query-balloon',
    help: 'Bytes of RAM that the guest has, less what is in its balloon',
    returns: object({ actual: int }),
    run: (_, target) => ({ actual: balloonActual(target) }),
  }),
  command({
    name: 'balloon',
    help: 'Asks the guest to do with so many bytes of RAM',
    arguments: { value: int },
    run: ({ value }, target) => {
      const balloon = balloonOf(target);
      if (value <= 0) throw new QmpError("Parameter 'target' expects a size");
      balloon.setTarget(value - hidden(target));
    },
  }),
  command({
    name: 'memsave',
    help: 'Saves guest memory at a virtual address to a file',
    arguments: { val: int, size: int, filename: str, 'cpu-index?': int },
    run: (given, target) => {
      if ((given['cpu-index'] ?? 0) !== 0) throw new QmpError("Parameter 'cpu-index' expects a CPU number");
      return saveMemory(target, 'virtual', given.val, given.size, given.filename);
    },
  }),
  command({
    name: 'pmemsave',
    help: 'Saves guest memory at a physical address to a file',
    arguments: { val: int, size: int, filename: str },
    run: ({ val, size, filename }, target) => saveMemory(target, 'physical', val, size, filename),
  }),
];
