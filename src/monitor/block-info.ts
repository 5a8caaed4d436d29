/** The disks and block nodes as monitors show them: where they are attached, what they are made of, their limits. */
import type { BlockNode } from '../block/graph.ts';
import type { CacheMode } from '../block/cache.ts';
import { parseCacheMode } from '../block/cache.ts';
import type { ThrottleConfig } from '../block/throttle.ts';
import { LIMITS } from '../block/throttle.ts';
import type { Disk } from '../machine/disks.ts';
import type { JsonObject, JsonValue } from './json/value.ts';
import { deviceNotFound, QmpError } from './qmp/error.ts';
import type { MonitorTarget } from './target.ts';

export const disks = ({ backends }: MonitorTarget): Disk[] => [...backends.disks.all];

/** Whether writes may complete before they are on the disk: what the device was told. */
function writeback({ config }: Disk): boolean {
  if (config === undefined) return true;
  const { values, snapshot } = config;
  return parseCacheMode(values as Parameters<typeof parseCacheMode>[0], snapshot ? 'unsafe' : 'writeback')
    .writeback;
}

export const cacheMode = (node: BlockNode, disk?: Disk): CacheMode => ({
  writeback: disk === undefined ? true : writeback(disk),
  direct: node.direct,
  noFlush: node.noFlush,
});

/** QEMU's numbers of a configuration of limits; what is not set is left out but for the rates themselves. */
export function limitsJson({ limits, iopsSize }: ThrottleConfig): Record<string, JsonValue> {
  const json: Record<string, JsonValue> = {};
  for (const name of LIMITS) {
    const { average, max, length } = limits[name];
    json[name] = average;
    if (max > 0) {
      json[`${name}_max`] = max;
      json[`${name}_max_length`] = length;
    }
  }
  if (iopsSize > 0) json.iops_size = iopsSize;
  return json;
}

/** A node; of a disk's root, with what holds for the disk. */
export function nodeJson(target: MonitorTarget, node: BlockNode, disk?: Disk): JsonObject {
  const mode = cacheMode(node, disk);
  const file = (node.hostFile ?? node.file?.hostFile)?.allocated;
  const group = disk?.group;
  return {
    ...limitsJson(target.backends.disks.limits(disk ?? NO_DISK)),
    ...(group === undefined ? {} : { group: group.name }),
    detect_zeroes: node.detectZeroes,
    image: {
      'virtual-size': node.backend.size,
      filename: node.filename,
      format: node.driver,
      'actual-size': file ?? 0,
      ...(node.driver.startsWith('null') ? {} : { 'dirty-flag': false }),
    },
    ro: node.backend.readOnly,
    'node-name': node.name,
    backing_file_depth: 0,
    drv: node.driver,
    write_threshold: 0,
    encrypted: false,
    cache: { 'no-flush': mode.noFlush, direct: mode.direct, writeback: mode.writeback },
    file: node.filename,
  };
}

/** Stands for a node that is no disk's root: without limits. */
const NO_DISK = { group: undefined } as Disk;

export const ioStatus = ({ machine }: MonitorTarget): 'ok' | 'failed' =>
  machine.state === 'io-error' ? 'failed' : 'ok';

/** The disk that a command means: by the name of its `-drive`, or by the place of its device in the object tree. */
export function requireDisk(target: MonitorTarget, device: string | undefined, id: string | undefined): Disk {
  if ((device === undefined) === (id === undefined))
    throw new QmpError("Need exactly one of 'device' and 'id'");
  if (device !== undefined) {
    const disk = target.backends.disks.find(device);
    if (disk === undefined) throw deviceNotFound(device);
    return disk;
  }
  // Of a virtio disk on PCI the inner half has the disk.
  const [, outer = id!, inner = ''] = /^(.*)(\/virtio-backend)$/.exec(id!) ?? [];
  const placed = target.device(outer);
  const path = `${placed?.path}${inner}`;
  const disk = disks(target).find(({ user }) => user !== undefined && user.path === path);
  if (disk !== undefined) return disk;
  if (placed === undefined) throw deviceNotFound(id!);
  throw new QmpError('Device does not have a block device backend');
}

/** The node that `device` or `node-name` means. */
export function lookupNode(
  target: MonitorTarget,
  device: string | undefined,
  nodeName: string | undefined,
): BlockNode {
  const { disks: all } = target.backends;
  const disk = device === undefined ? undefined : all.find(device);
  if (disk !== undefined) {
    if (disk.root === undefined) throw new QmpError(`Device '${device}' has no medium`);
    return disk.root;
  }
  const node = nodeName === undefined ? undefined : all.graph.find(nodeName);
  if (node === undefined)
    throw new QmpError(`Cannot find device='${device ?? ''}' nor node-name='${nodeName ?? ''}'`);
  return node;
}
