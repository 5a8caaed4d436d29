/**
 * The recipe of the full guest: Debian with systemd, compilers and tools, by mmdebstrap, on an ext4 disk image
 * that mke2fs makes straight from the tree; as root, or without root in a user namespace.
 */
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../../core/errors.ts';
import { type GuestProgress, isRoot, needTools, RECIPE_FOLDER, run } from './guest-tools.ts';

/** To be raised with every change of this recipe that is not in a file of `DEBIAN_FILES`. */
export const DEBIAN_VERSION = 1;
export const DEBIAN_FILES = ['debian/customize', 'debian/packages'] as const;

/** Size of the disk; the file is sparse and takes what the system takes. */
const DISK_SIZE = '6G';
const SUITE = 'bookworm';

/** Fills `folder` with `kernel`, `initrd` and `disk.raw`. */
export async function buildDebian(
  folder: string,
  progress: GuestProgress,
  signal?: AbortSignal,
): Promise<void> {
  const unprivileged: Record<string, string> = isRoot() ? {} : { newuidmap: 'uidmap' };
  await needTools({ mmdebstrap: 'mmdebstrap', mke2fs: 'e2fsprogs', ...unprivileged }, progress);
  if (process.arch !== 'x64')
    throw new HostError('the Debian guest is for x86-64 and can be built on an x86-64 host only');
  // In a user namespace root is another user of the host, who may have no way into our home folder.
  const work = await mkdtemp(isRoot() ? join(folder, '..', 'mmdebstrap-') : '/var/tmp/paravane-');
  try {
    await bootstrap(work, folder, progress, signal);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function bootstrap(
  work: string,
  folder: string,
  progress: GuestProgress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const out = join(work, 'out');
  const hook = join(work, 'customize');
  await mkdir(out);
  await copyFile(join(RECIPE_FOLDER, 'debian', 'customize'), hook);
  await chmod(hook, 0o755);
  await chmod(work, 0o755);
  await chmod(out, 0o777);
  const list = await readFile(join(RECIPE_FOLDER, 'debian', 'packages'), 'utf8');
  const packages = list.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  progress(`Installing Debian (${packages.length} packages and what they need) into a new tree`);
  const args = [
    `--mode=${isRoot() ? 'root' : 'unshare'}`,
    '--variant=minbase',
    '--architectures=amd64',
    '--format=null',
    `--include=${packages.join(',')}`,
    // Packages that nobody asked for are most of a default system.
    '--aptopt=Apt::Install-Recommends "false"',
    `--customize-hook=${hook}`,
    SUITE,
    '/dev/null',
    ...(await debianSources()),
  ];
  await run('mmdebstrap', args, {
    signal,
    env: {
      PARAVANE_OUT: out,
      PARAVANE_SIZE: DISK_SIZE,
      PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
      DEBIAN_FRONTEND: 'noninteractive',
    },
    onLine: (line) => {
      if (line.startsWith('I: ')) progress(`mmdebstrap: ${line.slice(3)}`);
    },
  });
  progress('Storing the disk image');
  for (const name of ['kernel', 'initrd']) await copyFile(join(out, name), join(folder, name));
  await run('cp', ['--sparse=always', join(out, 'disk.raw'), join(folder, 'disk.raw')], { signal });
}

/** The host's own package sources for this suite, as mmdebstrap takes them; none: its default mirror. */
async function debianSources(): Promise<string[]> {
  const folder = '/etc/apt/sources.list.d';
  const names = await readdir(folder).catch(() => [] as string[]);
  const files = ['/etc/apt/sources.list', ...names.sort().map((name) => join(folder, name))].filter(
    (path) => /\.(list|sources)$/.test(path) && existsSync(path),
  );
  const wanted = new RegExp(`(^|\\s)${SUITE}(-updates|-security|/updates)?(\\s|$)`, 'm');
  const found: string[] = [];
  for (const path of files) {
    const text = (await readFile(path, 'utf8').catch(() => '')).replace(/^\s*#.*$/gm, '');
    if (wanted.test(text)) found.push(path);
  }
  return found;
}
