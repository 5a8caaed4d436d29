// The third machine: v86 from npm, with Debian's SeaBIOS and Debian's 32-bit kernel, which apt unpacks into the bench's
// cache from lists of its own (the host need not know the architecture). It runs the 32-bit build of the programs.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeInitrd32 } from './guest.mjs';

const SEABIOS = ['/usr/share/seabios/bios.bin', '/usr/share/seabios/vgabios-stdvga.bin'];

class Missing extends Error {}

function run(command, args, what) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 300_000 });
  if (status !== 0) throw new Missing(`${what}: ${error?.message ?? stderr.trim().slice(-300)}`);
  return stdout;
}

function installV86(folder) {
  const where = join(folder, 'v86');
  if (!existsSync(join(where, 'node_modules/v86/build/libv86.mjs'))) {
    mkdirSync(where, { recursive: true });
    run('npm', ['install', '--no-audit', '--no-fund', '--prefix', where, 'v86'], 'npm cannot install v86');
  }
  const { version } = JSON.parse(readFileSync(join(where, 'node_modules/v86/package.json'), 'utf8'));
  return { where, version };
}

/** Debian's kernel for i386; apt gets package lists in a folder of ours, so that nothing of the host changes. */
function fetchKernel(folder, progress) {
  const where = join(folder, 'kernel-i386');
  const known = existsSync(where)
    ? readdirSync(where).find((name) => name.startsWith('vmlinuz-'))
    : undefined;
  if (known !== undefined) return join(where, known);
  progress("Downloading Debian's 32-bit kernel for v86");
  const apt = join(folder, 'apt-i386');
  rmSync(apt, { recursive: true, force: true });
  for (const name of ['state/lists/partial', 'cache/archives/partial', 'parts'])
    mkdirSync(join(apt, name), { recursive: true });
  writeFileSync(join(apt, 'status'), '');
  for (const list of ['/etc/apt/sources.list', ...sources('/etc/apt/sources.list.d')])
    if (existsSync(list) && /bookworm/.test(readFileSync(list, 'utf8')))
      copyFileSync(list, join(apt, 'parts', list.slice(list.lastIndexOf('/') + 1)));
  const options = [
    'APT::Architecture=i386',
    'APT::Architectures=i386',
    `Dir::State=${apt}/state`,
    `Dir::State::status=${apt}/status`,
    `Dir::Cache=${apt}/cache`,
    'Dir::Etc::sourcelist=/dev/null',
    `Dir::Etc::sourceparts=${apt}/parts`,
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option]);
  // A list that cannot be had may be one that is not needed; the package is asked for next.
  spawnSync('apt-get', [...options, 'update'], { timeout: 300_000 });
  const depends = run('apt-cache', [...options, 'depends', 'linux-image-686'], 'no linux-image-686');
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Missing('apt knows no linux-image-686');
  run('sh', ['-c', 'cd "$0" && apt-get "$@"', apt, ...options, 'download', name], `cannot download ${name}`);
  const packed = readdirSync(apt).find((file) => file.endsWith('.deb'));
  run('dpkg-deb', ['-x', join(apt, packed), join(apt, 'root')], `cannot unpack ${packed}`);
  const image = readdirSync(join(apt, 'root/boot')).find((file) => file.startsWith('vmlinuz-'));
  mkdirSync(where, { recursive: true });
  copyFileSync(join(apt, 'root/boot', image), join(where, image));
  rmSync(apt, { recursive: true, force: true });
  return join(where, image);
}

function sources(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /\.(list|sources)$/.test(name))
    .map((name) => join(folder, name));
}

/**
 * Gets v86, its firmware, its kernel (kept in `folder`) and its programs (in `work`).
 * @returns { version, command(list, memory) }, or undefined after saying what is missing
 */
export function prepareV86(folder, work, node, progress) {
  try {
    for (const path of SEABIOS)
      if (!existsSync(path)) throw new Missing(`${path} is missing (Debian: seabios)`);
    const { where, version } = installV86(folder);
    const kernel = fetchKernel(folder, progress);
    const { initrd, error } = makeInitrd32(work);
    if (error !== undefined) throw new Missing(error);
    const runner = fileURLToPath(new URL('v86-run.mjs', import.meta.url));
    return {
      version: `${version} with ${kernel.slice(kernel.lastIndexOf('/') + 1)}`,
      command: (list, memory) => [
        ...[node, runner, where, ...SEABIOS, kernel, initrd, String(memory)],
        `console=ttyS0 quiet panic=-1 no_timer_check rdinit=/bench -- ${list}`,
      ],
    };
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    progress(`without v86: ${error.message}`);
    return undefined;
  }
}
