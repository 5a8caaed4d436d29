/** -drive: which images there are, and the devices that `if=virtio` plugs for them. */
import { UsageError } from '../core/errors.ts';
import { throttleConfig } from '../block/throttle.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { checkId, lastValue } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { blame } from '../qapi/parse-command-line.ts';
import { readProperties } from '../qapi/read.ts';
import { CACHE_MODES, DRIVE_INTERFACES, DRIVE_PROPERTIES } from '../qapi/schema/drive.ts';
import { throttleNumbers } from '../qapi/schema/throttle.ts';
import { didYouMean } from '../qapi/suggest.ts';
import type { DeviceConfig, DriveConfig } from './config.ts';

const REFUSED_INTERFACES: Readonly<Record<string, string>> = {
  ide: 'there is no IDE controller yet',
  scsi: 'there is no SCSI controller yet',
  sd: 'there are no SD cards',
  mtd: 'there is no flash memory',
  floppy: 'there are no floppy disks',
  pflash: 'there is no firmware yet',
  xen: 'this is not Xen',
};

export function configureDrives(
  given: readonly Given[],
  snapshotAll: boolean,
  note: (origin: string) => (message: string) => void,
): { drives: DriveConfig[]; devices: DeviceConfig[] } {
  const drives: DriveConfig[] = [];
  const devices: DeviceConfig[] = [];
  const counts: Record<string, number> = {};
  for (const one of given) {
    if (one.name !== 'drive') continue;
    blame(one.origin, () => {
      const type = lastValue(one.entries, 'if') ?? 'ide';
      const taken = drives.map(({ id }) => id);
      const { config, plugs } = configureDrive(
        one.entries,
        one.origin,
        taken,
        counts[type] ?? 0,
        snapshotAll,
        note(one.origin),
      );
      counts[type] = (counts[type] ?? 0) + 1;
      drives.push(config);
      if (plugs)
        devices.push({
          driver: 'virtio-blk-pci',
          entries: [{ name: 'drive', value: config.id }],
          origin: one.origin,
        });
    });
  }
  return { drives, devices };
}

/**
 * One `-drive`, or `drive_add`.
 * @param taken ids of other drives
 * @param index of the drive on its interface, for its id
 * @returns also whether a device is to be plugged for it
 * @throws UsageError
 */
export function configureDrive(
  entries: readonly OptionEntry[],
  origin: string,
  taken: readonly string[],
  index: number,
  snapshotAll: boolean,
  note: (message: string) => void = () => {},
): { readonly config: DriveConfig; readonly plugs: boolean } {
  const { values } = readProperties(entries, DRIVE_PROPERTIES, { note });
  const type = (values.if as string | undefined) ?? 'ide';
  if (type !== 'virtio' && type !== 'none')
    throw new UsageError(refusedInterface(type, values.if === undefined));
  if (values.media === 'cdrom' && type === 'virtio')
    throw new UsageError('media=cdrom: a CD-ROM needs an IDE or SCSI controller, and there is none yet');
  const cache = values.cache as string | undefined;
  if (cache !== undefined && !(CACHE_MODES as readonly string[]).includes(cache))
    throw new UsageError(`invalid cache option '${cache}'${didYouMean(cache, CACHE_MODES)}`);
  const id = values.id === undefined ? `${type}${index}` : checkId(String(values.id));
  if (taken.includes(id)) throw new UsageError(`Duplicate ID '${id}' for drive`);
  const file = values.file as string | undefined;
  if (type === 'virtio' && (file === undefined || file === ''))
    throw new UsageError('Device needs media, but drive is empty');
  throttleConfig(throttleNumbers(values));
  const config: DriveConfig = {
    id,
    file: file === '' ? undefined : file,
    interface: type,
    values,
    snapshot: values.snapshot === true || (snapshotAll && values.snapshot !== false),
    origin,
  };
  return { config, plugs: type === 'virtio' };
}

function refusedInterface(type: string, defaulted: boolean): string {
  const why = REFUSED_INTERFACES[type];
  if (why === undefined) return `unsupported bus type '${type}'${didYouMean(type, DRIVE_INTERFACES)}`;
  return `if=${type}${defaulted ? ' (the default)' : ''}: ${why}; use if=virtio, or if=none and a -device`;
}
