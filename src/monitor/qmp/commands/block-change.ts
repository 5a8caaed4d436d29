/** What changes disks: nodes that come and go, sizes, limits, media. */
import type { NodeOptions } from '../../../block/graph.ts';
import { LIMITS, throttleConfig } from '../../../block/throttle.ts';
import type { Disk } from '../../../machine/disks.ts';
import { nodeOptions } from '../../../machine/configure-blockdev.ts';
import { BLOCKDEV_COMMON, BLOCKDEV_DRIVERS } from '../../../qapi/schema/blockdev.ts';
import type { BlockdevDriver } from '../../../qapi/schema/blockdev.ts';
import { lookupNode, requireDisk } from '../../block-info.ts';
import type { JsonObject } from '../../json/value.ts';
import { membersOf } from '../../property-types.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { toEntries } from '../entries.ts';
import { QmpError } from '../error.ts';
import type { AlternateType, Members, ObjectType } from '../types.ts';
import { array, bool, int, oneOf, str } from '../types.ts';

const drivers: readonly BlockdevDriver[] = BLOCKDEV_DRIVERS;

/** The options of a node: its driver says which. */
const NODE_OPTIONS: ObjectType = {
  kind: 'object',
  recursive: true,
  members: {
    ...membersOf(BLOCKDEV_COMMON),
    driver: oneOf(...drivers.map(({ name }) => name)),
  },
  tag: 'driver',
  variants: Object.fromEntries(
    drivers.map(({ name, properties, children = [] }) => [
      name,
      {
        kind: 'object',
        members: {
          ...membersOf(properties),
          ...Object.fromEntries(children.map((child) => [child, nodeReference()])),
        },
      } satisfies ObjectType,
    ]),
  ),
};

function nodeReference(): AlternateType {
  return { kind: 'alternate', name: 'BlockdevRef', choices: () => [NODE_OPTIONS, str] };
}

const optionsOf = (given: JsonObject): NodeOptions => nodeOptions(toEntries(given));

/** Disks with a device that keeps them for good: those of virtio have no tray. */
export function requireRemovable(disk: Disk, name: string): void {
  if (disk.user !== undefined) throw new QmpError(`Device '${name}' is not removable`);
}

const nameOf = (disk: Disk): string => (disk.id === '' ? (disk.user?.path ?? '') : disk.id);

export async function eject(target: MonitorTarget, disk: Disk): Promise<void> {
  requireRemovable(disk, nameOf(disk));
  await target.backends.disks.eject(disk);
}

export type ReadOnlyMode = 'retain' | 'read-only' | 'read-write';

export async function changeMedium(
  target: MonitorTarget,
  disk: Disk,
  filename: string,
  format: string | undefined,
  mode: ReadOnlyMode = 'retain',
): Promise<void> {
  if (format !== undefined && !drivers.some(({ name }) => name === format))
    throw new QmpError(`Unknown driver '${format}'`);
  requireRemovable(disk, nameOf(disk));
  const readonly =
    mode === 'read-only' ||
    (mode === 'retain' && (disk.root?.backend.readOnly ?? disk.config?.values.readonly === true));
  await target.backends.disks.change(disk, { file: filename, format, readonly });
}

const RATES: Members = Object.fromEntries(LIMITS.map((name) => [name, int]));
const BURSTS: Members = Object.fromEntries(
  LIMITS.flatMap((name) => [
    [`${name}_max?`, int],
    [`${name}_max_length?`, int],
  ]),
);

/** QEMU's rule for `block_set_io_throttle`, in its words. */
export function setLimits(
  target: MonitorTarget,
  disk: Disk,
  numbers: Readonly<Record<string, number | undefined>>,
  group?: string,
): void {
  if (disk.root === undefined) throw new QmpError(`Device '${disk.id}' has no medium`);
  target.backends.disks.limit(disk, throttleConfig(numbers), group);
}

export async function resizeNode(
  target: MonitorTarget,
  device: string | undefined,
  nodeName: string | undefined,
  size: number,
): Promise<void> {
  const node = lookupNode(target, device, nodeName);
  if (size < 0) throw new QmpError("Parameter 'size' expects a >0 size");
  // Whole sectors, as the guest sees it.
  await target.backends.disks.graph.resize(node, Math.ceil(size / 512) * 512);
}

const MEDIUM = { 'device?': str, 'id?': str } as const;

export const blockChangeCommands = [
  command({
    name: 'blockdev-add',
    help: 'Makes a block node; its options are those of -blockdev',
    type: NODE_OPTIONS,
    run: async (given, target) => {
      await target.backends.disks.graph.add(optionsOf(given));
    },
  }),
  command({
    name: 'blockdev-del',
    help: 'Deletes a block node that nothing uses',
    arguments: { 'node-name': str },
    run: (given, target) => target.backends.disks.graph.remove(given['node-name']),
  }),
  command({
    name: 'blockdev-reopen',
    help: 'Changes options of block nodes in use; what is not given goes back to its default',
    arguments: { options: array(NODE_OPTIONS) },
    run: ({ options }, target) => {
      for (const one of options as readonly JsonObject[]) target.backends.disks.graph.reopen(optionsOf(one));
    },
  }),
  command({
    name: 'block_resize',
    help: 'Makes a disk larger or smaller; the guest is told',
    arguments: { 'device?': str, 'node-name?': str, size: int },
    run: (given, target) => resizeNode(target, given.device, given['node-name'], given.size),
  }),
  command({
    name: 'block_set_io_throttle',
    help: 'Limits bytes and requests a second; 0 for no limit',
    arguments: { ...MEDIUM, ...RATES, ...BURSTS, 'iops_size?': int, 'group?': str },
    run: (given, target) => {
      const { device, id, group, ...numbers } = given as JsonObject & { device?: string; id?: string };
      setLimits(
        target,
        requireDisk(target, device, id),
        numbers as Record<string, number>,
        group as string | undefined,
      );
    },
  }),
  command({
    name: 'eject',
    help: 'Takes the medium out of a disk that nothing uses',
    arguments: { ...MEDIUM, 'force?': bool },
    run: ({ device, id }, target) => eject(target, requireDisk(target, device, id)),
  }),
  command({
    name: 'blockdev-open-tray',
    help: 'Opens the tray of a removable disk',
    arguments: { ...MEDIUM, 'force?': bool },
    run: ({ device, id }, target) => {
      const disk = requireDisk(target, device, id);
      requireRemovable(disk, nameOf(disk));
    },
  }),
  command({
    name: 'blockdev-close-tray',
    help: 'Closes the tray of a removable disk',
    arguments: MEDIUM,
    run: ({ device, id }, target) => {
      const disk = requireDisk(target, device, id);
      requireRemovable(disk, nameOf(disk));
    },
  }),
  command({
    name: 'blockdev-change-medium',
    help: 'Puts another image into a disk that nothing uses',
    arguments: {
      ...MEDIUM,
      filename: str,
      'format?': str,
      'force?': bool,
      'read-only-mode?': oneOf('retain', 'read-only', 'read-write'),
    },
    run: (given, target) =>
      changeMedium(
        target,
        requireDisk(target, given.device, given.id),
        given.filename,
        given.format,
        given['read-only-mode'],
      ),
  }),
  command({
    name: 'blockdev-insert-medium',
    help: 'Puts a block node into an empty removable device (there are none)',
    arguments: { id: str, 'node-name': str },
    run: (given, target) => {
      const disk = requireDisk(target, undefined, given.id);
      throw new QmpError(`Device '${nameOf(disk)}' is not removable`);
    },
  }),
  command({
    name: 'blockdev-remove-medium',
    help: 'Takes the block node out of a removable device (there are none)',
    arguments: { id: str },
    run: ({ id }, target) => {
      const disk = requireDisk(target, undefined, id);
      throw new QmpError(`Device '${nameOf(disk)}' is not removable`);
    },
  }),
];
