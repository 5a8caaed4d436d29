/** The rules of docs/architecture.md that a machine can check: which room may import which, and what stays outside. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = 'src';

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (path.endsWith('.ts')) yield path;
  }
}

/** The AssemblyScript runtime has rules of its own. */
const files = [...sources(ROOT)].filter((path) => !path.includes('x86/runtime/'));
const code = files.filter((path) => !/\.test\.ts$|\/rig\.ts$|\/(?:test|fake)-[a-z-]+\.ts$/.test(path));

function imports(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)'/gms)].map((match) => match[1]!);
}

const room = (path: string): string => path.split('/')[1]!.replace(/\.ts$/, '');

/** Parts: back ends, devices, processor, options. */
const PARTS = ['virtio', 'x86', 'pc', 'block', 'chardev', 'net', 'fs', 'qapi', 'wasm', 'boot', 'display'];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ...Object.fromEntries(PARTS.map((part) => [part, ['core', ...PARTS]])),
  monitor: ['core', ...PARTS],
  machine: ['core', 'monitor', ...PARTS],
  host: ['core', 'machine', ...PARTS],
  cli: ['core', 'machine', 'monitor', 'host', ...PARTS],
  index: ['core', 'machine', 'monitor', 'host', ...PARTS],
};

describe('rooms', () => {
  it('import in one direction only', () => {
    const wrong: string[] = [];
    for (const path of code)
      for (const name of imports(path)) {
        if (!name.startsWith('.')) continue;
        const target = room(normalize(join(dirname(path), name)));
        const own = room(path);
        if (target !== own && !(MAY_IMPORT[own]?.includes(target) ?? false))
          wrong.push(`${path} imports ${name}`);
      }
    expect(wrong).toEqual([]);
  });

  it('leave operating systems to src/host', () => {
    const wrong: string[] = [];
    for (const path of code) {
      if (path.startsWith('src/host/')) continue;
      for (const name of imports(path))
        if (name.startsWith('node:') || name === 'koffi') wrong.push(`${path}: ${name}`);
      if (
        /\b(?:process\.(?:env|argv|stdout|stderr|exit|on)|Buffer\.(?:from|alloc))\b/.test(
          readFileSync(path, 'utf8'),
        )
      )
        if (!path.startsWith('src/cli/')) wrong.push(`${path}: uses process or Buffer`);
    }
    expect(wrong).toEqual([]);
  });

  it('keep back ends, devices and transports apart', () => {
    const wrong: string[] = [];
    for (const path of code)
      for (const name of imports(path)) {
        if (!name.startsWith('.')) continue;
        const target = normalize(join(dirname(path), name));
        const backEnd = /^src\/(block|chardev|net)\//.test(path) && /^src\/(virtio|pc)\//.test(target);
        const device = path.startsWith('src/virtio/device/') && target.startsWith('src/virtio/transport/');
        const transport = path.startsWith('src/virtio/transport/') && target.startsWith('src/virtio/device/');
        if (backEnd || device || transport) wrong.push(`${path} imports ${name}`);
      }
    expect(wrong).toEqual([]);
  });

  it('run under type stripping: no enum, no namespace, no parameter properties', () => {
    const wrong = code.filter((path) => {
      const text = readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      return /^\s*(?:export )?(?:const )?enum \w+|^\s*(?:export )?namespace \w+|constructor\([^)]*\b(?:private|public|protected) /m.test(
        text,
      );
    });
    expect(wrong).toEqual([]);
  });
});

describe('files', () => {
  it('open with a comment that says what they are', () => {
    const wrong = code.filter((path) => !/^(?:#!.*\n)?(?:\/\*\*|\/\/)/.test(readFileSync(path, 'utf8')));
    expect(wrong).toEqual([]);
  });

  it('are rooms of at most 600 lines', () => {
    const wrong = code.filter((path) => readFileSync(path, 'utf8').split('\n').length > 601);
    expect(wrong).toEqual([]);
  });
});
