/**
 * What the guest recipes share: running the host's tools with errors that say what to install, temporary folders
 * that never stay behind, and the cache folder. Debian's packages come through apt as the host has it set up.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { HostError } from '../../core/errors.ts';
import { PACKAGE_ROOT } from './package-root.ts';
import { cacheFolder } from './process.ts';

export { cacheFolder };

/** Receives a short sentence whenever a recipe starts on something. */
export type GuestProgress = (text: string) => void;

/** The project's `guest/` folder: scripts that go into the guests. */
export const RECIPE_FOLDER = join(PACKAGE_ROOT, 'guest/');

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Full path of a program, looked for also where root's programs are. */
export function findTool(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each line of the tool's standard error and output. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a tool to its end and gives its standard output.
 * @throws HostError with the tool's last words when it fails
 */
export async function run(tool: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const path = findTool(tool);
  if (path === undefined) throw new HostError(`${tool} is not installed`);
  const child = spawn(path, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: options.signal,
  });
  let stdout = '';
  const last: string[] = [];
  const listen = (stream: NodeJS.ReadableStream, keep: boolean): void => {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      if (keep) stdout += chunk;
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        last.push(line);
        if (last.length > 20) last.shift();
        options.onLine?.(line);
      }
    });
  };
  listen(child.stdout, true);
  listen(child.stderr, false);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) {
    const words = last.filter((line) => !/^([WI]: |\s*$)/.test(line)).slice(-6);
    throw new HostError(
      `${tool} ${args.slice(0, 3).join(' ')} failed: ${words.join('; ') || `exit code ${code}`}`,
    );
  }
  return stdout;
}

/**
 * Makes sure that tools are there: installs their packages where that is allowed (root on a Debian), otherwise
 * says which to install.
 * @param tools program → Debian package
 */
export async function needTools(
  tools: Readonly<Record<string, string>>,
  progress: GuestProgress,
): Promise<void> {
  const missing = Object.entries(tools).filter(([tool]) => findTool(tool) === undefined);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, name]) => name))];
  const names = missing.map(([tool]) => tool).join(', ');
  if (!isRoot() || findTool('apt-get') === undefined)
    throw new HostError(
      `${names}: not installed; install with: ${isRoot() ? '' : 'sudo '}apt-get install ${packages.join(' ')}`,
    );
  progress(`Installing ${packages.join(', ')}`);
  await aptUpdate(progress);
  await run('apt-get', ['install', '-y', '--no-install-recommends', ...packages], {
    env: { DEBIAN_FRONTEND: 'noninteractive' },
  });
}

let updated = false;

/** Refreshes the package lists once, where we may. */
export async function aptUpdate(progress: GuestProgress): Promise<void> {
  if (updated || !isRoot()) return;
  progress('Refreshing the package lists');
  await run('apt-get', ['update']);
  updated = true;
}

/** The version of a package that apt would install, or undefined. */
export async function packageVersion(name: string): Promise<string | undefined> {
  const text = await run('apt-cache', ['show', '--no-all-versions', name]).catch(() => '');
  return /^Version: (\S+)/m.exec(text)?.[1];
}

/** What `name`, a metapackage, depends on that matches `pattern`. */
export async function packageDependency(name: string, pattern: RegExp): Promise<string | undefined> {
  const text = await run('apt-cache', ['show', '--no-all-versions', name]).catch(() => '');
  const depends = /^Depends: (.*)$/m.exec(text)?.[1] ?? '';
  return depends
    .split(',')
    .map((each) => each.trim().split(' ')[0]!)
    .find((each) => pattern.test(each));
}

/** Downloads packages into `folder` and unpacks each into `folder/root`, which it returns. */
export async function unpackPackages(
  folder: string,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  // As root apt drops to a user that cannot write into our folder; it would only warn.
  const sandbox = isRoot() ? ['-o', 'APT::Sandbox::User=root'] : [];
  await run('apt-get', [...sandbox, 'download', ...names], { cwd: folder, signal });
  const root = join(folder, 'root');
  await mkdir(root, { recursive: true });
  for (const file of (await readdir(folder)).filter((each) => each.endsWith('.deb')))
    await run('dpkg-deb', ['-x', join(folder, file), root], { signal });
  return root;
}

/** Digest of a recipe: its version and the files of ours that go into the guest. */
export async function recipeKey(version: number, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(`${version}\n`);
  for (const file of files) hash.update(await readFile(join(RECIPE_FOLDER, file))).update('\0');
  return hash.digest('hex').slice(0, 12);
}

/**
 * Builds a folder of the cache: `build` fills a temporary one, which takes its name only when it is complete.
 * Two processes may do it at once; the last to finish wins. Nothing stays after a failure; what a killed process
 * has left is removed by the next.
 */
export async function buildCached(name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const cache = cacheFolder();
  await removeAbandoned(cache);
  const target = join(cache, name);
  const work = await mkdtemp(join(cache, `.building-${process.pid}-`));
  try {
    const result = join(work, 'result');
    await mkdir(result);
    await build(result);
    const old = join(work, 'old');
    // Renaming onto a folder that is not empty fails; who runs from the old one keeps its open files.
    await rename(target, old).catch(() => {});
    await rename(result, target);
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Removes the temporary folders of processes that are no more. */
async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const pid = /^\.building-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || isRunning(Number(pid))) continue;
    await rm(join(cache, name), { recursive: true, force: true });
  }
}

/** Removes folders of the cache whose name starts with `prefix`, all but `keep`. */
export async function pruneCached(prefix: string, keep: string): Promise<void> {
  const cache = cacheFolder();
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    if (name.startsWith(prefix) && path !== keep) await rm(path, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}

/** The complete folder of the cache whose name starts with `prefix`; of several the one with the newest version. */
export async function findCached(prefix: string): Promise<string | undefined> {
  const cache = cacheFolder();
  const names = await readdir(cache).catch(() => [] as string[]);
  const found = names
    .filter((name) => name.startsWith(prefix))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return found.length === 0 ? undefined : join(cache, found.at(-1)!);
}
