/** Properties of virtio-rng (device part), as QEMU 7.2 names them, and what they mean for the device. */
import { UsageError } from '../../../core/errors.ts';
import type { Property, PropertyValues } from '../../../qapi/property.ts';

export const rngProperties: readonly Property[] = [
  {
    name: 'rng',
    type: 'object',
    shownType: 'link<rng-backend>',
    help: 'id of the random source; without one, a built-in one',
  },
  {
    name: 'max-bytes',
    type: 'uint64',
    default: '9223372036854775807',
    help: 'bytes of entropy that the guest gets in a period',
  },
  { name: 'period', type: 'uint32', default: 65536, help: 'length of a period in milliseconds' },
];

export interface RngLimits {
  /** Bytes in a period; Infinity when unlimited. */
  readonly maxBytes: number;
  /** Milliseconds. */
  readonly period: number;
}

/** Checks the parsed properties; throws UsageError with QEMU's text. */
export function rngLimits(values: PropertyValues): RngLimits {
  const maxBytes = BigInt(values['max-bytes'] ?? '9223372036854775807');
  const period = Number(values['period'] ?? 65536);
  if (period <= 0) throw new UsageError("'period' parameter expects a positive integer");
  if (maxBytes < 0n || maxBytes >= 1n << 63n) {
    throw new UsageError("'max-bytes' parameter must be non-negative, and less than 2^63");
  }
  return { maxBytes: maxBytes === (1n << 63n) - 1n ? Number.POSITIVE_INFINITY : Number(maxBytes), period };
}
