// The guest that runs the bench's own programs: the kernel of the tiny guest with an initramfs that holds one static
// program, built here from `programs/`, which is also the first process.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CpioWriter } from '../../dist/boot/cpio.js';
import { ensureGuest } from '../../dist/index.js';

const SOURCES = fileURLToPath(new URL('programs/', import.meta.url));

/** Builds all programs into one file. @param bits 64, or 32 for v86. @returns an error's text, or undefined */
export function compile(bits, output) {
  const sources = readdirSync(SOURCES)
    .filter((name) => name.endsWith('.c'))
    .sort()
    .map((name) => join(SOURCES, name));
  // SSE2 is part of x86-64; 32-bit compilers would use the x87, whose results differ.
  const machine = bits === 64 ? ['-m64'] : ['-m32', '-march=i686', '-msse2', '-mfpmath=sse'];
  const args = ['-O2', ...machine, '-static', '-o', output, ...sources, '-lm', '-lpthread'];
  const { status, stderr, error } = spawnSync('gcc', args, { encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr.slice(-1000));
}

/** The programs of a build that the host can run: name and group, in order. */
export function listPrograms(file) {
  const { stdout } = spawnSync(file, ['-l'], { encoding: 'utf8' });
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [group, name] = line.split(' ');
      return { name, group };
    });
}

function initramfs(program) {
  const cpio = new CpioWriter();
  cpio.directory('dev').node('dev/console', 'char', 5, 1);
  cpio.file('bench', readFileSync(program), 0o755);
  return cpio.finish();
}

/** Makes the 64-bit guest. @returns kernel, initrd, and the programs */
export async function makeGuest(folder, progress) {
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'bench64');
  const error = compile(64, program);
  if (error !== undefined)
    throw new Error(`gcc cannot build the programs (Debian: gcc, libc6-dev): ${error}`);
  const initrd = join(folder, 'initrd64');
  writeFileSync(initrd, initramfs(program));
  const { kernel } = await ensureGuest('tiny', { progress });
  return { kernel, initrd, programs: listPrograms(program) };
}

/** Makes the initramfs for a 32-bit kernel. @returns its path, or an error's text */
export function makeInitrd32(folder) {
  const program = join(folder, 'bench32');
  const error = compile(32, program);
  if (error !== undefined)
    return { error: `gcc cannot build 32-bit programs (Debian: gcc-multilib): ${error}` };
  const initrd = join(folder, 'initrd32');
  writeFileSync(initrd, initramfs(program));
  return { initrd };
}
