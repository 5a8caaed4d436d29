/** Rules of form that a machine can check. Which room may import which is in src/core/layering.test.ts. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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

describe('files', () => {
  it('run under type stripping: no enum, no namespace, no parameter properties', () => {
    const wrong = code.filter((path) => {
      const text = readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      return /^\s*(?:export )?(?:const )?enum \w+|^\s*(?:export )?namespace \w+|constructor\([^)]*\b(?:private|public|protected) /m.test(
        text,
      );
    });
    expect(wrong).toEqual([]);
  });

  it('open with a comment that says what they are', () => {
    const wrong = code.filter((path) => !/^(?:#!.*\n)?(?:\/\*\*|\/\/)/.test(readFileSync(path, 'utf8')));
    expect(wrong).toEqual([]);
  });

  it('are rooms of at most 600 lines', () => {
    const wrong = code.filter((path) => readFileSync(path, 'utf8').split('\n').length > 601);
    expect(wrong).toEqual([]);
  });
});
