/** Where the compiled program is kept, and that it starts where it cannot be. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import * as module from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { keepCompiled } from './compile-cache.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-compiled-'));
  vi.stubEnv('XDG_CACHE_HOME', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe('the compiled program', () => {
  it("is kept in the user's cache folder", () => {
    const enableCompileCache = vi.fn();
    keepCompiled({ enableCompileCache }, {});
    expect(enableCompileCache.mock.calls).toEqual([[join(folder, 'paravane/compiled')]]);
  });

  it('is kept where Node.js has been told to, or not at all', () => {
    const enableCompileCache = vi.fn();
    keepCompiled({ enableCompileCache }, { NODE_COMPILE_CACHE: '/somewhere' });
    keepCompiled({ enableCompileCache }, { NODE_DISABLE_COMPILE_CACHE: '1' });
    expect(enableCompileCache).not.toHaveBeenCalled();
    expect(existsSync(join(folder, 'paravane'))).toBe(false);
  });

  it('is compiled at each start where it cannot be kept', () => {
    keepCompiled({}, {});
    writeFileSync(join(folder, 'paravane'), 'a file in the place of the folder');
    const enableCompileCache = vi.fn();
    keepCompiled({ enableCompileCache }, {});
    expect(enableCompileCache).not.toHaveBeenCalled();
  });

  it.runIf(existsSync('dist/cli/program.js'))('is what the next start reads', () => {
    const start = (): string =>
      spawnSync(process.execPath, ['dist/cli/main.js', '-version']).stdout.toString();
    const first = start();
    const kept = join(folder, 'paravane/compiled');
    expect(first).toMatch(/^Paravane/);
    if (!('enableCompileCache' in module)) expect(existsSync(kept)).toBe(false);
    else expect(readdirSync(kept, { recursive: true }).length).toBeGreaterThan(1);
    expect(start()).toBe(first);
  });
});
