/** `-drive`: what the image is, how it is opened, and which device shows it to the guest. */
import type { Property } from '../property.ts';
import { THROTTLE_PROPERTIES } from './throttle.ts';

export const DRIVE_INTERFACES = [
  'none',
  'virtio',
  'ide',
  'scsi',
  'sd',
  'mtd',
  'floppy',
  'pflash',
  'xen',
] as const;
export const CACHE_MODES = ['writeback', 'none', 'off', 'writethrough', 'directsync', 'unsafe'] as const;

export const DRIVE_PROPERTIES = [
  { name: 'file', type: 'str', help: 'Image file or block device' },
  { name: 'if', type: 'str', help: 'virtio: plug a virtio-blk-pci for it; none: a -device names it by id' },
  { name: 'id', type: 'str', help: 'Name for -device (default: virtio0, none0, …)' },
  { name: 'format', type: 'str', aliases: ['driver'], help: 'raw; probed, with a warning, when absent' },
  { name: 'readonly', type: 'bool', aliases: ['read-only'], help: 'The guest cannot write' },
  { name: 'auto-read-only', type: 'bool', help: 'Open read-only when it cannot be written' },
  { name: 'snapshot', type: 'bool', help: 'Writes go to a temporary file, the image stays as it is' },
  {
    name: 'cache',
    type: 'str',
    help: 'writeback (default), writethrough, none, directsync or unsafe: when a write is safe',
  },
  { name: 'cache.writeback', type: 'bool', help: 'The guest sees a write cache' },
  { name: 'cache.direct', type: 'bool', help: "Past the host's page cache" },
  { name: 'cache.no-flush', type: 'bool', help: "Ignore the guest's flushes" },
  {
    name: 'discard',
    type: 'enum',
    values: ['ignore', 'off', 'unmap', 'on'],
    help: 'Give back discarded space',
  },
  {
    name: 'detect-zeroes',
    type: 'enum',
    values: ['off', 'on', 'unmap'],
    help: 'Look for zeroes in writes',
    ignored: 'zeroes are written as they come',
  },
  {
    name: 'werror',
    type: 'enum',
    values: ['report', 'ignore', 'stop', 'enospc'],
    help: 'What a failed write does',
  },
  { name: 'rerror', type: 'enum', values: ['report', 'ignore', 'stop'], help: 'What a failed read does' },
  { name: 'media', type: 'enum', values: ['disk', 'cdrom'], help: 'Kind of medium' },
  { name: 'index', type: 'uint32', help: 'Number among the drives of its interface' },
  { name: 'bus', type: 'uint32', help: 'Bus of the interface' },
  { name: 'unit', type: 'uint32', help: 'Unit on the bus' },
  { name: 'node-name', type: 'str', help: 'Name of the block node' },
  {
    name: 'locking',
    type: 'on-off-auto',
    aliases: ['file.locking'],
    help: 'Lock the image against other users',
  },
  {
    name: 'force-share',
    type: 'bool',
    help: 'Open it although another user writes it (read-only)',
  },
  {
    name: 'aio',
    type: 'enum',
    values: ['threads', 'native', 'io_uring'],
    help: 'Host interface',
    ignored: "Node's thread pool does it",
  },
  {
    name: 'copy-on-read',
    type: 'bool',
    help: 'Copy from the backing file',
    ignored: 'there is no backing file',
  },
  ...THROTTLE_PROPERTIES,
] as const satisfies readonly Property[];
