/** Disks: what there is, what has been asked of it. */
import type { AccountedBackend } from '../../../block/accounting.ts';
import { cacheMode } from '../../block-info.ts';
import { blockDevices } from '../../block-info.ts';
import type { BlockDevice } from '../../block-info.ts';
import type { JsonObject } from '../../json/value.ts';
import { command } from '../command.ts';
import { any, array, bool, int, object, str } from '../types.ts';

/** Throttling: there is none yet, and QEMU says zero where it is off. */
const NO_LIMITS = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };

function inserted(device: BlockDevice, node: 'format' | 'file'): JsonObject | undefined {
  const { backend, config } = device;
  if (backend === undefined) return undefined;
  const format = node === 'format' ? device.format : 'file';
  const image = {
    'virtual-size': backend.size,
    filename: device.file,
    format,
    'dirty-flag': false,
  };
  const { writeback, direct, noFlush } = cacheMode(config);
  return {
    ...NO_LIMITS,
    detect_zeroes: String(config.values['detect-zeroes'] ?? 'off'),
    image,
    ro: backend.readOnly,
    'node-name': node === 'format' ? device.nodeName : device.fileNodeName,
    backing_file_depth: 0,
    drv: format,
    write_threshold: 0,
    encrypted: false,
    cache: { 'no-flush': noFlush, direct, writeback },
    file: device.file,
  };
}

/** In QEMU's words; what we cannot tell apart from other requests is 0. */
function stats(backend: AccountedBackend | undefined, now: number): JsonObject {
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
    account_invalid: true,
    account_failed: true,
    timed_stats: [],
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

const NODE = object({
  file: str,
  'node-name?': str,
  ro: bool,
  drv: str,
  backing_file_depth: int,
  encrypted: bool,
  detect_zeroes: str,
  bps: int,
  bps_rd: int,
  bps_wr: int,
  iops: int,
  iops_rd: int,
  iops_wr: int,
  image: object({ filename: str, format: str, 'virtual-size': int, 'dirty-flag?': bool }),
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
      blockDevices(target).map((device) => ({
        ...(device.qdev === undefined ? {} : { 'io-status': device.ioStatus }),
        device: device.config.id,
        locked: false,
        removable: device.qdev === undefined,
        inserted: inserted(device, 'format'),
        ...(device.qdev === undefined ? {} : { qdev: device.qdev }),
        type: 'unknown',
      })),
  }),
  command({
    name: 'query-named-block-nodes',
    help: 'The layers of the disks: format over file',
    arguments: { 'flat?': bool },
    returns: array(NODE),
    run: (_, target) =>
      blockDevices(target)
        .filter(({ backend }) => backend !== undefined)
        .flatMap((device) => [inserted(device, 'format')!, inserted(device, 'file')!]),
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
    run: (_, target) => {
      const now = target.host.time.monotonic();
      return blockDevices(target).map((device) => ({
        device: device.config.id,
        ...(device.backend === undefined
          ? {}
          : { parent: { stats: stats(device.backend, now), 'node-name': device.fileNodeName } }),
        stats: stats(device.backend, now),
        ...(device.backend === undefined ? {} : { 'node-name': device.nodeName }),
        ...(device.qdev === undefined ? {} : { qdev: device.qdev }),
      }));
    },
  }),
];
