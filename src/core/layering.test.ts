/**
 * Who may import whom. Rooms are the folders of src; imports point one way, from what knows much to what knows
 * little, and types count as knowledge. docs/architecture.md says why; a new room needs a line here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const src = fileURLToPath(new URL('..', import.meta.url));

/** For each room the rooms that it may import. A room may only name rooms above it, so there are no cycles. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  qapi: ['core'],
  wasm: ['core'],
  x86: ['core', 'wasm'],
  block: ['core', 'qapi'],
  chardev: ['core', 'qapi'],
  net: ['core', 'qapi'],
  fs: ['core', 'qapi'],
  display: ['core', 'qapi'],
  virtio: ['core', 'qapi', 'block', 'chardev', 'net', 'fs', 'display'],
  pc: ['core', 'qapi', 'block', 'chardev', 'net', 'display'],
  boot: ['core', 'x86', 'pc'],
  machine: ['core', 'qapi', 'x86', 'block', 'chardev', 'net', 'fs', 'display', 'virtio', 'pc', 'boot'],
  monitor: ['core', 'qapi', 'block', 'chardev', 'net', 'virtio', 'pc', 'x86', 'machine'],
  host: ['core', 'qapi', 'block', 'chardev', 'net', 'fs', 'display', 'boot', 'machine'],
  cli: ['core', 'qapi', 'x86', 'machine', 'monitor', 'host'],
  'index.ts': ['core', 'virtio', 'machine', 'host'],
};

/** Inside virtio: a device knows no transport, a transport no device, the ring neither, nobody the driver side. */
const VIRTIO: Readonly<Record<string, readonly string[]>> = {
  device: ['transport', 'driver'],
  transport: ['device', 'driver'],
  queue: ['device', 'transport', 'driver'],
  driver: ['device'],
};

/** npm packages, and the one room that uses each. */
const PACKAGES: Readonly<Record<string, string>> = {
  fflate: 'boot',
  fzstd: 'boot',
  koffi: 'host',
  ws: 'host',
};

/** What breaks the rules and is known. */
const KNOWN: readonly { readonly from: string; readonly to: string; readonly why: string }[] = [];

interface Import {
  /** Path below src, with `/`. */
  readonly from: string;
  /** Path below src, or the name of a package. */
  readonly to: string;
  readonly isPackage: boolean;
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts')) yield path;
  }
}

const FROM =
  /^\s*(?:import|export)\s[^;'"]*?\bfrom\s+'([^']+)'|^\s*import\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm;

const below = (path: string): string => relative(src, path).split(sep).join('/');
const isTest = (path: string): boolean => path.endsWith('.test.ts');
/** Compiled by AssemblyScript into a module of its own. */
const isRuntime = (path: string): boolean => path.startsWith('x86/runtime/');
/** Stand-ins for the other side of a seam, used by tests only. */
const isTestSupport = (path: string): boolean => /\/(?:fake-[^/]*|test-[^/]*|rig)\.ts$/.test(path);
const roomOf = (path: string): string => path.split('/')[0]!;

const files = [...sources(src)].map((path) => ({ path: below(path), text: readFileSync(path, 'utf8') }));

const imports: Import[] = files
  .filter(({ path }) => !isTest(path))
  .flatMap(({ path, text }) =>
    [...text.matchAll(FROM)].map((match): Import => {
      const name = match[1] ?? match[2] ?? match[3]!;
      if (!name.startsWith('.')) return { from: path, to: name, isPackage: true };
      return { from: path, to: below(normalize(join(src, dirname(path), name))), isPackage: false };
    }),
  );

const ours = imports.filter(({ from }) => !isRuntime(from));
const known = ({ from, to }: Import): boolean => KNOWN.some((one) => one.from === from && one.to === to);
const show = (list: readonly Import[]): string[] => list.map(({ from, to }) => `${from} imports ${to}`);

describe('imports', () => {
  it('are found at all', () => {
    expect(ours.length).toBeGreaterThan(500);
    expect(show(ours)).toContain('machine/machine.ts imports core/errors.ts');
  });

  it('go to rooms that have a line here, and lines name only what stands above them', () => {
    const rooms = new Set(files.map(({ path }) => roomOf(path)));
    expect([...rooms].filter((room) => ROOMS[room] === undefined)).toEqual([]);
    const order = Object.keys(ROOMS);
    for (const [room, allowed] of Object.entries(ROOMS))
      for (const other of allowed)
        expect(order.indexOf(other), `${room}: ${other}`).toBeLessThan(order.indexOf(room));
  });

  it('point one way from room to room', () => {
    const wrong = ours.filter(({ from, to, isPackage }) => {
      const [room, other] = [roomOf(from), roomOf(to)];
      return !isPackage && room !== other && !(ROOMS[room]?.includes(other) ?? false);
    });
    expect(show(wrong.filter((one) => !known(one)))).toEqual([]);
    // What is no longer needed has to go from the list.
    for (const one of KNOWN) expect(show(wrong), one.why).toContain(`${one.from} imports ${one.to}`);
  });

  it('reach Node.js and the operating system from the host room only', () => {
    expect(show(ours.filter(({ from, to }) => to.startsWith('node:') && roomOf(from) !== 'host'))).toEqual(
      [],
    );
    const globals =
      /\bBuffer\.|\bsetImmediate\(|\b__dirname\b|\brequire\(|\bprocess\.(?:env|platform|nextTick|hrtime)\b/;
    const users = files.filter(
      ({ path, text }) =>
        roomOf(path) !== 'host' && !isTest(path) && !isTestSupport(path) && globals.test(text),
    );
    expect(users.map(({ path }) => path)).toEqual([]);
  });

  it('use packages in one room each', () => {
    const wrong = ours.filter(
      ({ from, to, isPackage }) => isPackage && !to.startsWith('node:') && PACKAGES[to] !== roomOf(from),
    );
    expect(show(wrong)).toEqual([]);
  });

  it('keep devices, transports, rings and drivers of virtio apart', () => {
    const part = (path: string): string => path.split('/')[1]!;
    const wrong = ours.filter(
      ({ from, to }) =>
        roomOf(from) === 'virtio' &&
        roomOf(to) === 'virtio' &&
        (VIRTIO[part(from)]?.includes(part(to)) ?? false),
    );
    expect(show(wrong)).toEqual([]);
  });

  it('keep tests and their stand-ins out of the program', () => {
    const program = new Set(['index.ts', 'cli/main.ts', 'cli/program.ts']);
    for (const path of program)
      for (const { from, to, isPackage } of imports) if (from === path && !isPackage) program.add(to);
    expect(program.size).toBeGreaterThan(200);
    const wrong = [...program].filter(
      (path) => isTest(path) || isTestSupport(path) || path.startsWith('../'),
    );
    expect(wrong).toEqual([]);
  });

  it('leave the runtime by the memory layout only', () => {
    const wrong = imports.filter(
      ({ from, to }) => isRuntime(from) && !to.startsWith('x86/runtime/') && to !== 'x86/layout',
    );
    expect(show(wrong)).toEqual([]);
  });
});
