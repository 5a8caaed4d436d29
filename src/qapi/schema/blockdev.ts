/**
 * `-blockdev driver=…,node-name=…` and QMP's `blockdev-add`: the drivers of block nodes with their options. A child is
 * a property whose name is its role: the name of a node (`file=f0`), or its own options (`file.filename=…`).
 */
import type { Property } from '../property.ts';

export interface BlockdevDriver {
  readonly name: string;
  readonly help: string;
  readonly properties: readonly Property[];
  /** Roles of the nodes below it. */
  readonly children?: readonly string[];
}

/** What nodes of all drivers have. */
export const BLOCKDEV_COMMON = [
  { name: 'driver', type: 'str', required: true, help: 'Kind of node' },
  { name: 'node-name', type: 'str', help: 'Name of the node' },
  {
    name: 'discard',
    type: 'enum',
    values: ['ignore', 'unmap'],
    help: "Whether the guest's discards give space back",
  },
  { name: 'cache.direct', type: 'bool', help: "Past the host's page cache" },
  { name: 'cache.no-flush', type: 'bool', help: "Ignore the guest's flushes" },
  { name: 'read-only', type: 'bool', help: 'Nothing may write' },
  { name: 'auto-read-only', type: 'bool', help: 'Read-only when the file cannot be written' },
  { name: 'force-share', type: 'bool', help: 'Open it although another user writes it (read-only)' },
  {
    name: 'detect-zeroes',
    type: 'enum',
    values: ['off', 'on', 'unmap'],
    help: 'Turn writes of zeroes into holes',
  },
] as const satisfies readonly Property[];

const FILE = [
  { name: 'filename', type: 'str', required: true, help: 'Path of the file' },
  { name: 'locking', type: 'on-off-auto', help: 'Lock the file against other users' },
  {
    name: 'aio',
    type: 'enum',
    values: ['threads', 'native', 'io_uring'],
    help: 'Host interface',
    ignored: 'there is one way of doing input and output here',
  },
  {
    name: 'aio-max-batch',
    type: 'uint64',
    signed: true,
    help: 'Requests that are handed to the host at once',
    ignored: 'there is one way of doing input and output here',
  },
  { name: 'pr-manager', type: 'str', help: 'Manager of persistent reservations (there is none)' },
  {
    name: 'drop-cache',
    type: 'bool',
    help: "Forget the host's cached pages when a migration comes in",
    ignored: 'migration is not available yet',
  },
  {
    name: 'x-check-cache-dropped',
    type: 'bool',
    help: 'Check that they are forgotten',
    ignored: 'migration is not available yet',
  },
] as const satisfies readonly Property[];

const NULL = [
  { name: 'size', type: 'uint64', signed: true, help: 'Bytes (default: 1 GiB)' },
  {
    name: 'latency-ns',
    type: 'uint64',
    help: 'Nanoseconds that a request takes',
    ignored: 'requests are done at once',
  },
  { name: 'read-zeroes', type: 'bool', help: 'Reads give zeroes rather than anything' },
] as const satisfies readonly Property[];

export const BLOCKDEV_DRIVERS = [
  { name: 'file', help: 'A file of the host', properties: FILE },
  { name: 'host_device', help: 'A block device of the host', properties: FILE },
  { name: 'null-aio', help: 'A disk that forgets', properties: NULL },
  { name: 'null-co', help: 'A disk that forgets', properties: NULL },
  {
    name: 'raw',
    help: 'The bytes of the node below are the bytes of the disk',
    properties: [{ name: 'file', type: 'str', required: true, help: 'The node below' }],
    children: ['file'],
  },
] as const satisfies readonly BlockdevDriver[];
