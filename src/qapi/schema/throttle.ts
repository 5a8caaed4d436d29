/** Limits of a disk as `-drive` takes them: `throttling.bps-total=`, or by their old names `bps=`. */
import type { Property, PropertyValues } from '../property.ts';

const number = <const N extends string, const A extends string>(name: N, alias: A, help: string) =>
  ({ name, type: 'uint64', aliases: [alias], help }) as const;

export const THROTTLE_PROPERTIES = [
  number('throttling.bps-total', 'bps', 'Bytes a second'),
  number('throttling.bps-total-max', 'bps_max', 'Bytes a second in a burst'),
  number('throttling.bps-total-max-length', 'bps_max_length', 'Seconds that such a burst may last'),
  number('throttling.bps-read', 'bps_rd', 'Bytes a second read'),
  number('throttling.bps-read-max', 'bps_rd_max', 'Bytes a second read in a burst'),
  number('throttling.bps-read-max-length', 'bps_rd_max_length', 'Seconds that such a burst may last'),
  number('throttling.bps-write', 'bps_wr', 'Bytes a second written'),
  number('throttling.bps-write-max', 'bps_wr_max', 'Bytes a second written in a burst'),
  number('throttling.bps-write-max-length', 'bps_wr_max_length', 'Seconds that such a burst may last'),
  number('throttling.iops-total', 'iops', 'Requests a second'),
  number('throttling.iops-total-max', 'iops_max', 'Requests a second in a burst'),
  number('throttling.iops-total-max-length', 'iops_max_length', 'Seconds that such a burst may last'),
  number('throttling.iops-read', 'iops_rd', 'Reads a second'),
  number('throttling.iops-read-max', 'iops_rd_max', 'Reads a second in a burst'),
  number('throttling.iops-read-max-length', 'iops_rd_max_length', 'Seconds that such a burst may last'),
  number('throttling.iops-write', 'iops_wr', 'Writes a second'),
  number('throttling.iops-write-max', 'iops_wr_max', 'Writes a second in a burst'),
  number('throttling.iops-write-max-length', 'iops_wr_max_length', 'Seconds that such a burst may last'),
  number('throttling.iops-size', 'iops_size', 'Bytes that count as one request'),
  { name: 'throttling.group', type: 'str', aliases: ['group'], help: 'Name of those who share the limits' },
] as const satisfies readonly Property[];

/** The numbers by QMP's names, as `throttleConfig` takes them. */
export function throttleNumbers(values: PropertyValues): Record<string, number | undefined> {
  return Object.fromEntries(
    THROTTLE_PROPERTIES.filter(({ type }) => type === 'uint64').map(({ name, aliases: [old] }) => [
      old,
      values[name] === undefined ? undefined : Number(values[name]),
    ]),
  );
}
