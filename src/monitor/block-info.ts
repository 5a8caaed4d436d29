/** The disks as monitors show them: drives in order, with what they are attached to. */
import type { AccountedBackend } from '../block/accounting.ts';
import type { CacheMode } from '../block/cache.ts';
import { parseCacheMode } from '../block/cache.ts';
import type { DriveConfig } from '../machine/config.ts';
import type { MonitorTarget } from './target.ts';

export interface BlockDevice {
  readonly config: DriveConfig;
  /** Absent where no medium is in. */
  readonly backend: AccountedBackend | undefined;
  readonly file: string;
  readonly format: string;
  /** Names that QEMU would make up for nodes without one. */
  readonly nodeName: string;
  readonly fileNodeName: string;
  /** The device that uses it, by its place in the object tree. */
  readonly qdev: string | undefined;
  readonly ioStatus: 'ok' | 'failed';
}

const generated = (number: number): string => `#block${String(number).padStart(3, '0')}`;

export function blockDevices(target: MonitorTarget): BlockDevice[] {
  const { backends, machine } = target;
  return machine.config.drives.map((config, index) => {
    const backend = backends.drives.get(config.id)?.thing;
    const user = target.board.placed.find(({ request }) => request?.values.drive === config.id);
    return {
      config,
      backend,
      file: config.file ?? '',
      // `/path/disk.raw (raw, read-only)`: the format is the first word in brackets.
      format: /\(([\w-]+)[^()]*\)(?: \(snapshot\))?$/.exec(backend?.describe() ?? '')?.[1] ?? 'raw',
      nodeName: generated(index * 2 + 1),
      fileNodeName: generated(index * 2),
      qdev: user === undefined ? undefined : `${user.path}/virtio-backend`,
      ioStatus: machine.state === 'io-error' ? 'failed' : 'ok',
    };
  });
}

/** With a snapshot nothing needs to be safe (see src/block/open.ts). */
export function cacheMode({ values, snapshot }: DriveConfig): CacheMode {
  return parseCacheMode(values as Parameters<typeof parseCacheMode>[0], snapshot ? 'unsafe' : 'writeback');
}
