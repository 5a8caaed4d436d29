// Brings a fresh clone to where it runs: npm packages, and the compiled program. Uses nothing but Node itself.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`Paravane needs Node.js 20.19 or later; this is ${process.versions.node}\n`);
  process.exit(1);
}

/** Runs a step of the set-up, silent unless it fails; says what it is doing when a person watches. */
function step(what, command, args) {
  process.stderr.write(`${what} …\n`);
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (result.status === 0) return;
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n`);
  process.stderr.write(`failed: ${command} ${args.join(' ')}\n`);
  process.exit(1);
}

/** Newest modification time below a folder or of a file; 0 where there is nothing. */
function newest(path) {
  if (!existsSync(path)) return 0;
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

export function setup() {
  const lock = join(root, 'package-lock.json');
  const installed = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installed) || newest(installed) < newest(lock))
    // not `npm ci`: it wants lock entries for every platform's optional packages, which a lock made on one may lack
    step('Installing npm packages', 'npm', ['install', '--no-save', '--no-audit', '--no-fund']);
  const built = join(root, 'dist/.built');
  const inputs = ['src', 'guest', 'scripts', 'tsconfig.json', 'tsconfig.build.json', 'package.json'];
  if (newest(built) < Math.max(...inputs.map((name) => newest(join(root, name)))))
    step('Compiling', 'npm', ['run', '-s', 'build']);
}
