/**
 * The recipe of the tiny guest: Debian's cloud kernel with its virtio modules, busybox, and our own first
 * process, in an initramfs. Nothing is installed on the host: packages are downloaded and unpacked beside.
 */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readdir } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { CpioWriter } from '../../boot/cpio.ts';
import { decompress } from '../../boot/decompress/index.ts';
import { loadOrder, moduleName, parseModuleInfo } from '../../boot/modules.ts';
import { HostError } from '../../core/errors.ts';
import {
  aptUpdate,
  type GuestProgress,
  needTools,
  packageDependency,
  packageVersion,
  RECIPE_FOLDER,
  run,
  unpackPackages,
} from './guest-tools.ts';

/** To be raised with every change of this recipe that is not in a file of `TINY_FILES`. */
export const TINY_VERSION = 2;
export const TINY_FILES = ['tiny/init', 'tiny/selftest', 'tiny/dhcp.script', 'tiny/profile'] as const;

/** Drivers that the guest loads, in this order; those that are built into a kernel are left out. */
const MODULES = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_console',
  'virtio_blk',
  'virtio_rng',
  'virtio_net',
  'virtio_balloon',
  '9p',
  '9pnet_virtio',
];

/** The kernel's package and its version as apt has them now. */
export interface KernelPackage {
  readonly name: string;
  readonly version: string;
}

/** Finds the real kernel package behind Debian's metapackage. */
export async function findKernelPackage(
  flavour: 'cloud' | 'generic',
  progress: GuestProgress,
): Promise<KernelPackage> {
  await needTools({ 'apt-get': 'apt', 'dpkg-deb': 'dpkg' }, progress);
  const meta = flavour === 'cloud' ? 'linux-image-cloud-amd64' : 'linux-image-amd64';
  let name = await packageDependency(meta, /^linux-image-/);
  if (name === undefined) {
    await aptUpdate(progress);
    name = await packageDependency(meta, /^linux-image-/);
  }
  const version = name === undefined ? undefined : await packageVersion(name);
  if (name === undefined || version === undefined)
    throw new HostError(
      `${meta} is not in this system's package lists; on Debian 12 (amd64) run "apt-get update" as root, ` +
        'elsewhere boot your own kernel with -kernel and -initrd',
    );
  return { name, version };
}

/** Fills `folder` with `kernel` and `initrd`. */
export async function buildTiny(
  folder: string,
  kernel: KernelPackage,
  progress: GuestProgress,
  signal?: AbortSignal,
): Promise<void> {
  progress(`Downloading ${kernel.name} ${kernel.version} and busybox-static`);
  const root = await unpackPackages(join(folder, '..'), [kernel.name, 'busybox-static'], signal);
  const release = kernel.name.replace(/^linux-image-/, '').replace(/-unsigned$/, '');
  await copyFile(join(root, 'boot', `vmlinuz-${release}`), join(folder, 'kernel'));

  progress('Building the initramfs');
  const cpio = new CpioWriter();
  for (const name of ['dev', 'proc', 'sys', 'tmp', 'root', 'run', 'mnt', 'sbin', 'etc']) cpio.directory(name);
  // What the first process finds before it has mounted /dev.
  cpio.node('dev/console', 'char', 5, 1).node('dev/null', 'char', 1, 3, 0o666);
  const busybox = join(root, 'bin', 'busybox');
  cpio.file('bin/busybox', await readFile(busybox), 0o755);
  for (const applet of await listApplets(busybox)) cpio.symlink(`bin/${applet}`, 'busybox');
  const recipe = (name: string): Promise<Buffer> => readFile(join(RECIPE_FOLDER, 'tiny', name));
  cpio.file('init', await recipe('init'), 0o755);
  cpio.file('etc/selftest', await recipe('selftest'));
  cpio.file('etc/dhcp.script', await recipe('dhcp.script'), 0o755);
  cpio.file('etc/profile', await recipe('profile'));
  cpio.file('etc/passwd', 'root::0:0:root:/root:/bin/sh\n').file('etc/group', 'root:x:0:\n');
  cpio.file('etc/hosts', '127.0.0.1 localhost\n');
  await addModules(cpio, join(root, 'lib', 'modules', release));
  // Not packed: unpacking costs the guest more than reading costs the host.
  await writeFile(join(folder, 'initrd'), cpio.finish());
}

/** The applets of this busybox, from itself; it is a program for x86-64 Linux, which the host may not be. */
async function listApplets(busybox: string): Promise<string[]> {
  const text = await run(busybox, ['--list']).catch(() => '');
  const applets = text.split('\n').filter((name) => /^[a-z0-9[_.-]+$/.test(name) && name !== 'busybox');
  return applets.length > 0 ? applets : FALLBACK_APPLETS.split(' ');
}

const FALLBACK_APPLETS =
  '[ awk base64 blockdev cat chmod clear cmp cp cut date dd df dmesg echo env expr false fdisk find free grep ' +
  'gunzip gzip head hexdump hostname id insmod ip kill less ln ls lsmod mkdir mke2fs mknod more mount mv nc ' +
  'nproc od ping ps pwd reset rm rmdir rmmod sed seq setsid sh sha1sum sha256sum sleep sort stat stty sync ' +
  'tail tar tee test time timeout top touch tr true tty udhcpc umount uname uniq uptime vi wc wget which xargs xxd yes';

/** Adds the wanted modules unpacked, with `lib/modules/order`, which /init reads line by line. */
async function addModules(cpio: CpioWriter, folder: string): Promise<void> {
  const paths = new Map<string, string>();
  for (const path of await readdir(folder, { recursive: true }))
    if (/\.ko(\.(gz|xz|zst))?$/.test(path)) paths.set(moduleName(path), path);
  const files = new Map<string, Uint8Array>();
  const order = await loadOrder(MODULES, async (name) => {
    const path = paths.get(name);
    if (path === undefined) return undefined;
    const packed = await readFile(join(folder, path));
    const file = path.endsWith('.ko')
      ? packed
      : await decompress(packed, 0, { gzip: (data) => gunzipSync(data) });
    files.set(name, file);
    return parseModuleInfo(file);
  });
  for (const name of order) cpio.file(`lib/modules/${name}.ko`, files.get(name)!);
  cpio.file('lib/modules/order', order.map((name) => `/lib/modules/${name}.ko\n`).join(''));
}
