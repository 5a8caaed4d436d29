/**
 * Properties of virtio-blk (device part) with QEMU 7.2's names, defaults and error texts, and their translation
 * into what the device works with. Properties of the PCI function and of virtio in general are the transport's.
 */
import { UsageError } from '../../../core/errors.ts';
import type { Property, PropertyValues } from '../../../qapi/property.ts';
import type { Geometry } from './geometry.ts';

const ON_ERROR = ['report', 'ignore', 'enospc', 'stop', 'auto'] as const;
export type OnError = (typeof ON_ERROR)[number];

/** 0xffffffff: "not given". */
const UNSET = 4294967295;
const MAX_SECTORS = 4194303;
const MAX_BLOCK_SIZE = 2 * 1024 * 1024;

const onErrorType = {
  type: 'enum',
  values: ON_ERROR,
  default: 'auto',
  shownType: 'BlockdevOnError',
} as const;

const NO_TRANSLATION = 'only firmware that translates addresses asks for it';

export const blkProperties: readonly Property[] = [
  { name: 'drive', type: 'drive', required: true, help: 'id of the block device to use as back end' },
  { name: 'bootindex', type: 'int32', help: 'position in the boot order' },
  { name: 'serial', type: 'str', help: 'serial number; the guest sees its first 20 bytes' },
  {
    name: 'num-queues',
    type: 'uint16',
    default: 65535,
    help: 'request queues (65535: as many as processors)',
  },
  {
    name: 'queue-size',
    type: 'uint16',
    default: 256,
    help: 'entries of each queue, a power of two up to 1024',
  },
  {
    name: 'seg-max-adjust',
    type: 'bool',
    default: true,
    help: 'segments of a request follow the queue size',
  },
  { name: 'logical_block_size', type: 'size', default: 0, help: 'a power of two between 512 B and 2 MiB' },
  { name: 'physical_block_size', type: 'size', default: 0, help: 'a power of two between 512 B and 2 MiB' },
  { name: 'min_io_size', type: 'size', default: 0, help: 'smallest request that performs well' },
  { name: 'opt_io_size', type: 'size', default: 0, help: 'size of requests that performs best' },
  { name: 'discard_granularity', type: 'size', default: UNSET, help: 'unit in which discards are effective' },
  { name: 'report-discard-granularity', type: 'bool', default: true, help: 'tell the guest that unit' },
  { name: 'discard', type: 'bool', default: true, help: 'offer the discard request' },
  { name: 'write-zeroes', type: 'bool', default: true, help: 'offer the write-zeroes request' },
  { name: 'max-discard-sectors', type: 'uint32', default: MAX_SECTORS, help: 'sectors in one discard' },
  {
    name: 'max-write-zeroes-sectors',
    type: 'uint32',
    default: MAX_SECTORS,
    help: 'sectors in one write-zeroes',
  },
  { name: 'config-wce', type: 'bool', default: true, help: 'let the guest switch the write cache' },
  { name: 'write-cache', type: 'on-off-auto', default: 'auto', help: 'write-back cache on or off at reset' },
  { name: 'share-rw', type: 'bool', default: false, help: 'others may write the image too' },
  { name: 'rerror', ...onErrorType, help: 'what a failed read does' },
  { name: 'werror', ...onErrorType, help: 'what a failed write does' },
  { name: 'cyls', type: 'uint32', default: 0, help: 'cylinders shown to the guest' },
  { name: 'heads', type: 'uint32', default: 0, help: 'heads shown to the guest' },
  { name: 'secs', type: 'uint32', default: 0, help: 'sectors of a track shown to the guest' },
  { name: 'lcyls', type: 'uint32', default: 0, ignored: NO_TRANSLATION, help: 'logical cylinders' },
  { name: 'lheads', type: 'uint32', default: 0, ignored: NO_TRANSLATION, help: 'logical heads' },
  { name: 'lsecs', type: 'uint32', default: 0, ignored: NO_TRANSLATION, help: 'logical sectors of a track' },
  { name: 'scsi', type: 'bool', default: false, help: 'SCSI commands over virtio-blk (not implemented)' },
  {
    name: 'iothread',
    type: 'object',
    shownType: 'link<iothread>',
    ignored: 'disks are served on the machine thread',
    help: 'thread that serves the disk',
  },
  {
    name: 'request-merging',
    type: 'bool',
    default: true,
    ignored: 'requests are passed on one by one',
    help: 'join neighbouring requests',
  },
  {
    name: 'backend_defaults',
    type: 'on-off-auto',
    default: 'auto',
    ignored: 'block sizes are 512 unless given',
    help: 'take block sizes from the back end',
  },
  {
    name: 'account-invalid',
    type: 'on-off-auto',
    default: 'auto',
    ignored: 'invalid requests are always counted',
    help: 'count invalid requests',
  },
  {
    name: 'account-failed',
    type: 'on-off-auto',
    default: 'auto',
    ignored: 'failed requests are always counted',
    help: 'count failed requests',
  },
  {
    name: 'x-enable-wce-if-config-wce',
    type: 'bool',
    default: true,
    ignored: 'FLUSH is always offered with CONFIG_WCE, as the specification wants it',
    help: 'offer FLUSH with CONFIG_WCE',
  },
];

/** What the properties come to; every field has its QEMU default. */
export interface BlkSettings {
  readonly serial: string;
  readonly numQueues: number;
  readonly queueSize: number;
  readonly segMaxAdjust: boolean;
  readonly logicalBlockSize: number;
  readonly physicalBlockSize: number;
  readonly minIoSize: number;
  readonly optIoSize: number;
  readonly discardGranularity: number;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  readonly maxDiscardSectors: number;
  readonly maxWriteZeroesSectors: number;
  readonly configWce: boolean;
  readonly writeCache: boolean | 'auto';
  readonly rerror: OnError;
  readonly werror: OnError;
  /** Absent: guessed from the disk. */
  readonly geometry: Geometry | undefined;
}

/**
 * Checks parsed properties and fills in defaults.
 * @param processors what `num-queues=65535` stands for
 * @throws UsageError with QEMU's text
 */
export function blkSettings(values: PropertyValues, processors = 1): BlkSettings {
  const number = (name: string) =>
    Number(values[name] ?? blkProperties.find((property) => property.name === name)!.default);
  const flag = (name: string, otherwise: boolean) => Boolean(values[name] ?? otherwise);
  if (values['scsi'] === true) {
    throw new UsageError('scsi=on: SCSI commands over virtio-blk are not implemented (QEMU deprecates them)');
  }
  const numQueues = number('num-queues') === 65535 ? processors : number('num-queues');
  if (numQueues === 0) throw new UsageError('num-queues property must be larger than 0');
  const queueSize = number('queue-size');
  if (queueSize <= 2) throw new UsageError(`invalid queue-size property (${queueSize}), must be > 2`);
  if (queueSize > 1024 || (queueSize & (queueSize - 1)) !== 0) {
    throw new UsageError(`invalid queue-size property (${queueSize}), must be a power of 2 (max 1024)`);
  }
  const logicalBlockSize = blockSize('logical_block_size', number('logical_block_size')) || 512;
  const physicalBlockSize =
    blockSize('physical_block_size', number('physical_block_size')) || Math.max(512, logicalBlockSize);
  if (logicalBlockSize > physicalBlockSize) {
    throw new UsageError('logical_block_size > physical_block_size not supported');
  }
  const minIoSize = number('min_io_size');
  const optIoSize = number('opt_io_size');
  const granularity = number('discard_granularity');
  const multiple = (name: string, value: number) => {
    if (value % logicalBlockSize !== 0) {
      throw new UsageError(`${name} must be a multiple of logical_block_size`);
    }
  };
  multiple('min_io_size', minIoSize);
  // The field has 16 bits, in units of logical blocks (§5.2.4).
  if (minIoSize / logicalBlockSize > 65535) {
    throw new UsageError('min_io_size must not exceed 65535 logical blocks');
  }
  multiple('opt_io_size', optIoSize);
  if (granularity !== UNSET) multiple('discard_granularity', granularity);
  const sectors = (name: string) => {
    const value = number(name);
    if (value < 1 || value > MAX_SECTORS) {
      throw new UsageError(`invalid ${name} property (${value}), must be between 1 and ${MAX_SECTORS}`);
    }
    return value;
  };
  return {
    serial: String(values['serial'] ?? ''),
    numQueues,
    queueSize,
    segMaxAdjust: flag('seg-max-adjust', true),
    logicalBlockSize,
    physicalBlockSize,
    minIoSize,
    optIoSize,
    discardGranularity:
      granularity === UNSET || !flag('report-discard-granularity', true) ? logicalBlockSize : granularity,
    discard: flag('discard', true),
    writeZeroes: flag('write-zeroes', true),
    maxDiscardSectors: sectors('max-discard-sectors'),
    maxWriteZeroesSectors: sectors('max-write-zeroes-sectors'),
    configWce: flag('config-wce', true),
    writeCache: onOffAuto(values['write-cache']),
    rerror: onError('rerror', values['rerror']),
    werror: onError('werror', values['werror']),
    geometry: geometry(number('cyls'), number('heads'), number('secs')),
  };
}

function blockSize(name: string, value: number): number {
  if (value === 0) return 0;
  if (value < 512 || value > MAX_BLOCK_SIZE) {
    throw new UsageError(
      `Property .${name} doesn't take value ${value} (minimum: 512, maximum: ${MAX_BLOCK_SIZE})`,
    );
  }
  if ((value & (value - 1)) !== 0) {
    throw new UsageError(`Property .${name} doesn't take value '${value}', it's not a power of 2`);
  }
  return value;
}

function onOffAuto(value: PropertyValues[string]): boolean | 'auto' {
  if (value === true || value === 'on') return true;
  if (value === false || value === 'off') return false;
  return 'auto';
}

function onError(name: string, value: PropertyValues[string]): OnError {
  if (value === undefined) return 'auto';
  const found = ON_ERROR.find((choice) => choice === value);
  if (found === undefined) throw new UsageError(`Parameter '${name}' does not accept value '${value}'`);
  return found;
}

/** All three or none; the fields have 16, 8 and 8 bits (§5.2.4). */
function geometry(cylinders: number, heads: number, sectors: number): Geometry | undefined {
  if (cylinders === 0 && heads === 0 && sectors === 0) return undefined;
  if (cylinders < 1 || cylinders > 65535) throw new UsageError('cyls must be between 1 and 65535');
  if (heads < 1 || heads > 255) throw new UsageError('heads must be between 1 and 255');
  if (sectors < 1 || sectors > 255) throw new UsageError('secs must be between 1 and 255');
  return { cylinders, heads, sectors };
}
