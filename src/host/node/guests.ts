/**
 * The guests of demos and tests, made from Debian's packages by our own recipes and kept in the user's cache
 * folder: `tiny`, a kernel with an initramfs, and `debian`, a full system on a disk image.
 */
import { join } from 'node:path';
import { UsageError } from '../../core/errors.ts';
import { buildDebian, DEBIAN_FILES, DEBIAN_VERSION } from './guest-debian.ts';
import { buildTiny, findKernelPackage, TINY_FILES, TINY_VERSION } from './guest-tiny.ts';
import { buildCached, findCached, type GuestProgress, pruneCached, recipeKey } from './guest-tools.ts';

export type GuestName = 'tiny' | 'debian';

export interface Guest {
  /** Paths of the files; a disk is the user's to write to only after copying it or with `snapshot=on`. */
  readonly kernel: string;
  readonly initrd: string;
  readonly disk?: string;
  /** What belongs on its kernel command line, without the console. */
  readonly cmdline: string;
}

export interface EnsureOptions {
  /** Told a sentence for each step that takes time; nothing when the guest is in the cache. */
  readonly progress?: GuestProgress;
  /** Build anew, with the packages of today, even when there is one. */
  readonly rebuild?: boolean;
  /** Which of Debian's kernels `tiny` gets: `cloud` (default) or `generic`. */
  readonly flavour?: 'cloud' | 'generic';
  readonly signal?: AbortSignal;
}

/**
 * Gives the files of a guest, building it when it is not in the cache.
 * @throws HostError with what to install or do when the host cannot build it
 */
export async function ensureGuest(name: GuestName, options: EnsureOptions = {}): Promise<Guest> {
  switch (name) {
    case 'tiny':
      return ensureTiny(options);
    case 'debian':
      return ensureDebian(options);
    default:
      throw new UsageError(`no guest '${String(name)}' (known: tiny, debian)`);
  }
}

async function ensureTiny({
  progress = () => {},
  rebuild,
  flavour = 'cloud',
  signal,
}: EnsureOptions): Promise<Guest> {
  const prefix = `tiny-${flavour}-${await recipeKey(TINY_VERSION, TINY_FILES)}-`;
  let folder = rebuild === true ? undefined : await findCached(prefix);
  if (folder === undefined) {
    const kernel = await findKernelPackage(flavour, progress);
    folder = await buildCached(`${prefix}${kernel.version}`, (work) =>
      buildTiny(work, kernel, progress, signal),
    );
    // Nobody writes to these, so older ones are of no use. (An older Debian's disk may hold someone's work.)
    await pruneCached(`tiny-${flavour}-`, folder);
  }
  return { kernel: join(folder, 'kernel'), initrd: join(folder, 'initrd'), cmdline: '' };
}

async function ensureDebian({ progress = () => {}, rebuild, signal }: EnsureOptions): Promise<Guest> {
  const prefix = `debian-${await recipeKey(DEBIAN_VERSION, DEBIAN_FILES)}-`;
  let folder = rebuild === true ? undefined : await findCached(prefix);
  if (folder === undefined) {
    const kernel = await findKernelPackage('generic', progress);
    folder = await buildCached(`${prefix}${kernel.version}`, (work) => buildDebian(work, progress, signal));
  }
  return {
    kernel: join(folder, 'kernel'),
    initrd: join(folder, 'initrd'),
    disk: join(folder, 'disk.raw'),
    cmdline: 'root=/dev/vda rw',
  };
}
