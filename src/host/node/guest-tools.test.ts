/** The cache folder and the tools of the guest recipes; the recipes themselves need apt and are run by `npm start`. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TINY_FILES, TINY_VERSION } from './guest-tiny.ts';
import { buildCached, cacheFolder, findCached, pruneCached, recipeKey, run } from './guest-tools.ts';
import { ensureGuest } from './guests.ts';

const previous = process.env['XDG_CACHE_HOME'];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-cache-'));
  process.env['XDG_CACHE_HOME'] = folder;
});

afterEach(() => {
  if (previous === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = previous;
  rmSync(folder, { recursive: true });
});

describe('buildCached', () => {
  it('gives a folder its name only when it is complete', async () => {
    const path = await buildCached('thing-1', async (work) => {
      writeFileSync(join(work, 'file'), 'content');
      expect(await findCached('thing-')).toBeUndefined();
    });
    expect(path).toBe(join(cacheFolder(), 'thing-1'));
    expect(readFileSync(join(path, 'file'), 'utf8')).toBe('content');
    expect(readdirSync(cacheFolder())).toEqual(['thing-1']);
  });

  it('leaves nothing after a failure, and what was there before', async () => {
    await buildCached('thing-1', async (work) => writeFileSync(join(work, 'file'), 'old'));
    const failing = buildCached('thing-1', async (work) => {
      writeFileSync(join(work, 'file'), 'half');
      throw new Error('no room');
    });
    await expect(failing).rejects.toThrow('no room');
    expect(readdirSync(cacheFolder())).toEqual(['thing-1']);
    expect(readFileSync(join(cacheFolder(), 'thing-1', 'file'), 'utf8')).toBe('old');
  });

  it('replaces what was built before', async () => {
    for (const text of ['old', 'new']) {
      const path = await buildCached('thing-1', async (work) => writeFileSync(join(work, 'file'), text));
      expect(readFileSync(join(path, 'file'), 'utf8')).toBe(text);
    }
    expect(readdirSync(cacheFolder())).toEqual(['thing-1']);
  });

  it('clears away what a killed process has left, and spares a living one', async () => {
    // No process has this id: it is beyond the kernel's largest.
    mkdirSync(join(cacheFolder(), '.building-4194999-abc'));
    mkdirSync(join(cacheFolder(), `.building-${process.pid}-abc`));
    await buildCached('thing-1', async () => {});
    expect(readdirSync(cacheFolder()).sort()).toEqual([`.building-${process.pid}-abc`, 'thing-1']);
  });
});

describe('findCached', () => {
  it('finds the newest version by number, not by letter', async () => {
    for (const version of ['6.1.9-1', '6.1.100-1', '6.1.20-1'])
      mkdirSync(join(cacheFolder(), `tiny-a-${version}`));
    mkdirSync(join(cacheFolder(), 'tiny-b-9'));
    expect(await findCached('tiny-a-')).toBe(join(cacheFolder(), 'tiny-a-6.1.100-1'));
    expect(await findCached('none-')).toBeUndefined();
  });
});

describe('pruneCached', () => {
  it('removes the older builds of one guest and nothing else', async () => {
    for (const name of ['tiny-a-1', 'tiny-a-2', 'tiny-b-1', 'kernels']) mkdirSync(join(cacheFolder(), name));
    await pruneCached('tiny-a-', join(cacheFolder(), 'tiny-a-2'));
    expect(readdirSync(cacheFolder()).sort()).toEqual(['kernels', 'tiny-a-2', 'tiny-b-1']);
  });
});

describe('run', () => {
  it('gives the output, and the last words of a tool that fails', async () => {
    expect(await run('sh', ['-c', 'echo out; echo err >&2'])).toBe('out\n');
    await expect(run('sh', ['-c', 'echo W: noise; echo reason >&2; exit 3'])).rejects.toThrow(
      /^sh .* failed: reason$/,
    );
    await expect(run('sh', ['-c', 'exit 3'])).rejects.toThrow('exit code 3');
    await expect(run('no-such-tool-here', [])).rejects.toThrow('no-such-tool-here is not installed');
  });

  it('tells each line as it comes', async () => {
    const lines: string[] = [];
    await run('sh', ['-c', 'printf "one\\ntwo\\n"'], { onLine: (line) => lines.push(line) });
    expect(lines).toEqual(['one', 'two']);
  });
});

describe('ensureGuest', () => {
  it('takes a guest from the cache without asking anybody', async () => {
    const key = await recipeKey(TINY_VERSION, TINY_FILES);
    const path = join(cacheFolder(), `tiny-cloud-${key}-6.1.1-1`);
    mkdirSync(path);
    const said: string[] = [];
    expect(await ensureGuest('tiny', { progress: (text) => said.push(text) })).toEqual({
      kernel: join(path, 'kernel'),
      initrd: join(path, 'initrd'),
      cmdline: '',
    });
    expect(said).toEqual([]);
  });

  it('builds anew when the recipe has changed', async () => {
    const key = await recipeKey(1, TINY_FILES);
    expect(key).toMatch(/^[0-9a-f]{12}$/);
    expect(await recipeKey(2, TINY_FILES)).not.toBe(key);
    expect(await recipeKey(1, TINY_FILES.slice(1))).not.toBe(key);
  });

  it('refuses a guest that it does not know', async () => {
    await expect(ensureGuest('fedora' as 'tiny')).rejects.toThrow("no guest 'fedora' (known: tiny, debian)");
  });
});
