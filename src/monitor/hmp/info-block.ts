/** `info block` and `info blockstats`, in QEMU's words: people and scripts read them. */
import { describeCacheMode } from '../../block/cache.ts';
import type { BlockNode } from '../../block/graph.ts';
import { isLimited, LIMITS } from '../../block/throttle.ts';
import type { Disk } from '../../machine/disks.ts';
import { cacheMode, disks } from '../block-info.ts';
import { humanSize } from '../properties.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';

/** The drive's name; a disk on a named node has the node's, an empty one its device's place. */
const nameOf = ({ id, root, user }: Disk): string =>
  id !== '' ? id : root !== undefined && !root.name.startsWith('#') ? root.name : (user?.path ?? '');

function throttleText(target: MonitorTarget, disk: Disk): string {
  const config = target.backends.disks.limits(disk);
  if (!isLimited(config)) return '';
  const rates = (unit: string, suffix: string, field: 'average' | 'max'): string =>
    LIMITS.filter((name) => name.startsWith(unit))
      .map((name) => `${name}${suffix}=${config.limits[name][field]}`)
      .join(' ');
  return (
    `    I/O throttling:   ${rates('bps', '', 'average')} ${rates('bps', '_max', 'max')} ` +
    `${rates('iops', '', 'average')} ${rates('iops', '_max', 'max')} ` +
    `iops_size=${config.iopsSize} group=${disk.group?.name ?? ''}\n`
  );
}

function nodeText(node: BlockNode, head: string): string {
  const readOnly = node.backend.readOnly ? ', read-only' : '';
  return `${head}: ${node.filename} (${node.driver}${readOnly})\n`;
}

function imageText(node: BlockNode): string {
  const { size } = node.backend;
  const allocated = (node.hostFile ?? node.file?.hostFile)?.allocated ?? 0;
  return (
    `\nImages:\nimage: ${node.filename}\nfile format: ${node.driver}\n` +
    `virtual size: ${humanSize(size)} (${size} bytes)\ndisk size: ${humanSize(allocated)}\n`
  );
}

function diskText(target: MonitorTarget, disk: Disk, verbose: boolean): string {
  const { root, user } = disk;
  const name = nameOf(disk);
  const place =
    user === undefined
      ? '    Removable device: not locked, tray closed\n'
      : `    Attached to:      ${user.path}\n`;
  if (root === undefined) return `${name}: [not inserted]\n${place}`;
  const head = disk.id === '' && name === root.name ? name : `${name} (${root.name})`;
  return (
    nodeText(root, head) +
    place +
    `    Cache mode:       ${describeCacheMode(cacheMode(root, disk))}\n` +
    throttleText(target, disk) +
    (verbose ? imageText(root) : '')
  );
}

function infoBlock(
  target: MonitorTarget,
  name: string | undefined,
  nodes: boolean,
  verbose: boolean,
): string {
  const inner = (node: BlockNode): string =>
    `${nodeText(node, node.name)}    Cache mode:       ${describeCacheMode(cacheMode(node))}\n${verbose ? imageText(node) : ''}`;
  const all = [...target.backends.disks.graph.nodes.values()].reverse();
  if (!nodes) {
    const shown = disks(target).filter((disk) => name === undefined || disk.id === name);
    if (shown.length > 0) return shown.map((disk) => diskText(target, disk, verbose)).join('\n');
  }
  // A node may be asked for by its name, too; QEMU leaves a line free in front of it.
  const wanted = all.filter((node) => (nodes && name === undefined) || node.name === name);
  return `${nodes || wanted.length === 0 ? '' : '\n'}${wanted.map(inner).join('\n')}`;
}

function statsLine(target: MonitorTarget, { id, backend }: Disk): string {
  const zero = { bytes: 0, operations: 0, time: 0 };
  const { rd, wr, flush } = backend?.counts ?? { rd: zero, wr: zero, flush: zero };
  const last = backend?.lastAccess;
  const idle = last === undefined ? 0 : Math.round(target.host.time.monotonic() - last);
  const time = (nanoseconds: number): number => Math.round(nanoseconds);
  return (
    `${id}: rd_bytes=${rd.bytes} wr_bytes=${wr.bytes} rd_operations=${rd.operations} ` +
    `wr_operations=${wr.operations} flush_operations=${flush.operations} wr_total_time_ns=${time(wr.time)} ` +
    `rd_total_time_ns=${time(rd.time)} flush_total_time_ns=${time(flush.time)} rd_merged=0 wr_merged=0 ` +
    `idle_time_ns=${idle}\n`
  );
}

export const blockInfo: readonly HmpCommand[] = [
  {
    name: 'block',
    takes: 'nodes:-n,verbose:-v,device:s?',
    synopsis: '[-n] [-v] [device]',
    help: 'the disks (-n: their layers, -v: more of each)',
    run: ({ nodes, verbose, device }, target) =>
      infoBlock(target, device === undefined ? undefined : String(device), nodes === true, verbose === true),
    complete: (target) => disks(target).map(nameOf),
  },
  {
    name: 'blockstats',
    takes: '',
    synopsis: '',
    help: 'what has been asked of the disks',
    run: (_, target) =>
      disks(target)
        .map((disk) => statsLine(target, disk))
        .join(''),
  },
];
