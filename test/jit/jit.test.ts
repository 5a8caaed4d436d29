/**
 * Just-in-time compilers in the guest: LuaJIT, PyPy and Node.js write machine code, run it and write it again. What they
 * compute must be what they compute on the host. `npm run test:jit`; the programs come from Debian's archive (apt) and
 * Node.js is the one that runs this. Skipped where something is missing.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cpio, type CpioFile } from '../guest/cpio.ts';
import { cachedGuest } from '../guest/shell.ts';

const guest = cachedGuest('tiny');
const wanted = process.env['PARAVANE_JIT'] !== undefined;
const apt = process.arch === 'x64' && spawnSync('apt-get', ['--version']).status === 0;
const ready = wanted && apt && guest !== undefined && existsSync('dist/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'paravane-jit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const here = (name: string): string => new URL(name, import.meta.url).pathname;

// strings, because numbers would be in colour on a terminal
const NODE = `
const say = (...all) => console.log(all.join(' '));
let h = 0;
for (let i = 0; i < 3e6; i++) h = (Math.imul(h, 31) + (i ^ (h >>> 7))) | 0;
say('js bits', h);
let x = 0.5;
for (let i = 0; i < 3e6; i++) x = 3.7 * x * (1 - x);
say('js chaos', x);
const map = new Map();
for (let i = 0; i < 2e5; i++) map.set((i * 7919) % 10007, (map.get((i * 31) % 10007) ?? 0) + i);
say('js map', map.size, [...map.values()].reduce((a, b) => (a * 31 + b) % 1000003, 7));
let made = 0;
for (let k = 0; k < 200; k++) { const f = new Function('a', 'return a * ' + k + ' + ' + k * k); for (let i = 0; i < 3000; i++) made = (made + f(i)) % 1000003; }
say('js made code', made);
say('js sort', Array.from({ length: 50000 }, (_, i) => (i * 7919) % 100003).sort((a, b) => a - b).reduce((a, b) => (a * 31 + b) | 0));
`;

interface Program {
  readonly name: string;
  readonly packages: readonly string[];
  readonly command: readonly string[];
  /** Bytes of the script. */
  readonly script: () => Buffer;
  readonly file: string;
}

const programs: readonly Program[] = [
  {
    name: 'LuaJIT',
    packages: ['luajit', 'libluajit-5.1-2', 'libluajit-5.1-common'],
    command: ['/usr/bin/luajit'],
    script: () => readFileSync(here('jit.lua')),
    file: '/jit.lua',
  },
  {
    name: 'PyPy',
    packages: ['pypy3', 'pypy3-lib', 'libffi8', 'libexpat1', 'libncursesw6', 'libtinfo6'],
    command: ['/usr/bin/pypy3'],
    script: () => readFileSync(here('jit.py')),
    file: '/jit.py',
  },
  {
    name: 'Node.js',
    packages: [],
    command: [process.execPath],
    script: () => Buffer.from(NODE),
    file: '/jit.js',
  },
];

/** Every file below a folder, by its path from there. Links become what they point at. */
function filesBelow(root: string, prefix = ''): CpioFile[] {
  return readdirSync(join(root, prefix)).flatMap((name): CpioFile[] => {
    const path = join(prefix, name);
    if (!existsSync(join(root, path))) return [];
    const { mode } = statSync(join(root, path));
    if (statSync(join(root, path)).isDirectory())
      return [{ name: path, mode: 0o040755, data: new Uint8Array() }, ...filesBelow(root, path)];
    return [{ name: path, mode: 0o100000 | (mode & 0o777), data: readFileSync(join(root, path)) }];
  });
}

/** The shared libraries of programs, as the host's loader finds them. */
function libraries(files: readonly string[], path: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const file of files) {
    const { stdout } = spawnSync('ldd', [file], {
      encoding: 'utf8',
      env: { ...process.env, LD_LIBRARY_PATH: path },
    });
    for (const [, at] of stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm))
      found.set(at!.split('/').at(-1)!, at!);
  }
  return found;
}

describe.skipIf(!ready)('just-in-time compilers', () => {
  it.each(programs)('$name computes what it computes on the host', { timeout: 1_200_000 }, (program) => {
    const place = join(folder, program.name);
    const root = join(place, 'root');
    execFileSync('mkdir', ['-p', root]);
    if (program.packages.length > 0)
      execFileSync('apt-get', ['download', ...program.packages], { cwd: place, stdio: 'ignore' });
    for (const deb of readdirSync(place).filter((name) => name.endsWith('.deb')))
      execFileSync('dpkg', ['-x', join(place, deb), root]);
    const binary = program.packages.length > 0 ? join(root, program.command[0]!) : program.command[0]!;
    const own = join(root, 'usr/lib/x86_64-linux-gnu');
    const script = join(place, program.file);
    writeFileSync(script, program.script());
    const host = spawnSync(binary, [script], {
      encoding: 'utf8',
      timeout: 120_000,
      env: { ...process.env, LD_LIBRARY_PATH: own },
    });
    expect(host.status).toBe(0);
    const lines = host.stdout.trim().split('\n');

    const ours = existsSync(own) ? readdirSync(own).map((name) => join(own, name)) : [];
    const needed = libraries([realpathSync(binary), ...ours.filter((file) => file.includes('.so'))], own);
    const files = filesBelow(root).filter(({ name }) => !/usr\/share\/(?:doc|man|locale)/.test(name));
    const folders = ['usr', 'usr/bin', 'usr/lib', 'usr/lib/x86_64-linux-gnu', 'lib64', 'opt'];
    const more: CpioFile[] = folders
      .filter((name) => !files.some((file) => file.name === name))
      .map((name) => ({ name, mode: 0o040755, data: new Uint8Array() }));
    for (const [name, at] of needed)
      more.push({ name: `opt/${name}`, mode: 0o100755, data: readFileSync(at) });
    const command = program.packages.length > 0 ? program.command[0]! : '/usr/bin/program';
    if (program.packages.length === 0)
      more.push({ name: 'usr/bin/program', mode: 0o100755, data: readFileSync(binary) });
    const loader = [...needed.keys()].find((name) => name.startsWith('ld-linux'))!;
    more.push({ name: program.file.slice(1), mode: 0o100644, data: program.script() });
    const run = `/opt/${loader} --library-path /opt:/usr/lib/x86_64-linux-gnu ${command} ${program.file}`;
    more.push({ name: 'etc/selftest', mode: 0o100644, data: Buffer.from(`${run}\necho "end of it"\n`) });
    const initrd = join(place, 'initrd');
    writeFileSync(initrd, Buffer.concat([readFileSync(guest!.initrd), padded(), cpio([...files, ...more])]));
    const log = join(place, 'console');
    const line = ['-nographic', '-nodefaults', '-no-reboot', '-m', '1G', '-serial', `file:${log}`];
    line.push('-kernel', guest!.kernel, '-initrd', initrd);
    line.push('-append', 'console=ttyS0 quiet paravane.selftest');
    spawnSync(process.execPath, ['dist/cli/main.js', ...line], { timeout: 1_000_000 });
    const said = readFileSync(log, 'latin1').replaceAll('\r', '').split('\n');
    expect(said).toContain('end of it');
    const first = said.indexOf(lines[0]!);
    expect(said.slice(first, first + lines.length)).toEqual(lines);
  });
});

/** Archives behind one another start at multiples of four; the kernel skips zeroes between them. */
function padded(): Buffer {
  return Buffer.alloc(-statSync(guest!.initrd).size & 3);
}

it.runIf(wanted && !ready)('needs x86-64 with apt, the tiny guest, and dist', () => {
  expect.fail('run on Debian after `npm start` made the tiny guest');
});
