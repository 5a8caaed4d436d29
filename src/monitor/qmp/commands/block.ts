/** Disks: what there is, what has been asked of it. What changes them is in block-change.ts. */
import type { AccountedBackend } from '../../../block/accounting.ts';
import type { BlockNode } from '../../../block/graph.ts';
import { disks, ioStatus, nodeJson } from '../../block-info.ts';
import type { JsonObject } from '../../json/value.ts';
import type { Members } from '../types.ts';
import { LIMITS } from '../../../block/throttle.ts';
import { command } from '../command.ts';
import { any, array, bool, int, object, str } from '../types.ts';

/** In QEMU's words; what we cannot tell apart from other requests is 0. Nodes themselves count nothing. */
function stats(backend: AccountedBackend | undefined, now: number, isDisk: boolean): JsonObject {
  const zero = { operations: 0, bytes: 0, failed: 0, time: 0 };
  const { rd, wr, flush, unmap } = backend?.counts ?? { rd: zero, wr: zero, flush: zero, unmap: zero };
  return {
    rd_bytes: rd.bytes,
    wr_bytes: wr.bytes,
    unmap_bytes: unmap.bytes,
    rd_operations: rd.operations,
    wr_operations: wr.operations,
    flush_operations: flush.operations,
    unmap_operations: unmap.operations,
    rd_total_time_ns: Math.round(rd.time),
    wr_total_time_ns: Math.round(wr.time),
    flush_total_time_ns: Math.round(flush.time),
    unmap_total_time_ns: Math.round(unmap.time),
    wr_highest_offset: backend?.highestWrite ?? 0,
    rd_merged: 0,
    wr_merged: 0,
    unmap_merged: 0,
    ...(backend?.lastAccess === undefined ? {} : { idle_time_ns: Math.round(now - backend.lastAccess) }),
    failed_rd_operations: rd.failed,
    failed_wr_operations: wr.failed,
    failed_flush_operations: flush.failed,
    failed_unmap_operations: unmap.failed,
    invalid_rd_operations: 0,
    invalid_wr_operations: 0,
    invalid_flush_operations: 0,
    invalid_unmap_operations: 0,
    account_invalid: isDisk,
    account_failed: isDisk,
    timed_stats: [],
  };
}

/** A node's statistics: only the highest write is known of it, from the disk above. */
function nodeStats(node: BlockNode, backend: AccountedBackend | undefined): JsonObject {
  return {
    stats: { ...stats(undefined, 0, false), wr_highest_offset: backend?.highestWrite ?? 0 },
    ...(node.name === '' ? {} : { 'node-name': node.name }),
    ...(node.file === undefined ? {} : { parent: nodeStats(node.file, backend) }),
  };
}

const STATS = object({
  rd_bytes: int,
  wr_bytes: int,
  unmap_bytes: int,
  rd_operations: int,
  wr_operations: int,
  flush_operations: int,
  unmap_operations: int,
  rd_total_time_ns: int,
  wr_total_time_ns: int,
  flush_total_time_ns: int,
  unmap_total_time_ns: int,
  wr_highest_offset: int,
  rd_merged: int,
  wr_merged: int,
  unmap_merged: int,
  'idle_time_ns?': int,
  failed_rd_operations: int,
  failed_wr_operations: int,
  failed_flush_operations: int,
  failed_unmap_operations: int,
  invalid_rd_operations: int,
  invalid_wr_operations: int,
  invalid_flush_operations: int,
  invalid_unmap_operations: int,
  account_invalid: bool,
  account_failed: bool,
  timed_stats: array(any),
});

const rates: Members = Object.fromEntries(
  LIMITS.flatMap((name) => [
    [name, int],
    [`${name}_max?`, int],
    [`${name}_max_length?`, int],
  ]),
);

const NODE = object({
  file: str,
  'node-name?': str,
  ro: bool,
  drv: str,
  backing_file_depth: int,
  encrypted: bool,
  detect_zeroes: str,
  ...rates,
  'iops_size?': int,
  'group?': str,
  image: object({
    filename: str,
    format: str,
    'virtual-size': int,
    'actual-size?': int,
    'dirty-flag?': bool,
  }),
  cache: object({ writeback: bool, direct: bool, 'no-flush': bool }),
  write_threshold: int,
});

export const blockCommands = [
  command({
    name: 'query-block',
    help: 'The disks',
    returns: array(
      object({
        device: str,
        'qdev?': str,
        type: str,
        removable: bool,
        locked: bool,
        'inserted?': NODE,
        'io-status?': str,
      }),
    ),
    run: (_, target) =>
      disks(target).map((disk) => ({
        ...(disk.user === undefined ? {} : { 'io-status': ioStatus(target) }),
        device: disk.id,
        locked: false,
        removable: disk.user === undefined,
        ...(disk.root === undefined ? {} : { inserted: nodeJson(target, disk.root, disk) }),
        ...(disk.user === undefined ? {} : { qdev: disk.user.path }),
        type: 'unknown',
      })),
  }),
  command({
    name: 'query-named-block-nodes',
    help: 'The layers of the disks: format over file',
    arguments: { 'flat?': bool },
    returns: array(NODE),
    // The newest first, as in QEMU.
    run: (_, target) =>
      [...target.backends.disks.graph.nodes.values()].reverse().map((node) => nodeJson(target, node)),
  }),
  command({
    name: 'query-blockstats',
    help: 'What has been asked of the disks since the start',
    arguments: { 'query-nodes?': bool },
    returns: array(
      object({
        'device?': str,
        'qdev?': str,
        'node-name?': str,
        stats: STATS,
        'parent?': object({ 'node-name?': str, stats: STATS }),
      }),
    ),
    run: (given, target) => {
      const now = target.host.time.monotonic();
      const above = (node: BlockNode): AccountedBackend | undefined =>
        disks(target).find(({ root }) => root === node || root?.file === node)?.backend;
      if (given['query-nodes'] === true)
        return [...target.backends.disks.graph.nodes.values()].map((node) => nodeStats(node, above(node)));
      return disks(target).map(({ id, root, backend, user }) => ({
        device: id,
        ...(root?.file === undefined ? {} : { parent: nodeStats(root.file, backend) }),
        stats: stats(backend, now, true),
        ...(root === undefined ? {} : { 'node-name': root.name }),
        ...(user === undefined ? {} : { qdev: user.path }),
      }));
    },
  }),
];
