/** The documents: their links lead somewhere, what they name exists, and the README's program runs. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const DOCUMENTS = [
  ...['README.md', 'CONTRIBUTING.md', 'guest/README.md'],
  ...readdirSync('docs')
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
].filter((path) => existsSync(path));

const text = (path: string): string => readFileSync(path, 'utf8');
const scripts = (JSON.parse(text('package.json')) as { scripts: Record<string, string> }).scripts;

/** `path` or, where it is a folder or a module in a list like `a.ts`, found from the root or from src. */
const found = (path: string): boolean => [path, join('src', path)].some((one) => existsSync(one));

describe.each(DOCUMENTS)('%s', (document) => {
  it('links to files that exist', () => {
    const links = [...text(document).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(
      (match) => match[1]!,
    );
    const broken = links.filter((link) => !existsSync(normalize(join(dirname(document), link))));
    expect(broken).toEqual([]);
  });

  it('names sources that exist', () => {
    const names = [
      ...text(document).matchAll(
        /`((?:src|test|docs|guest|scripts|examples)\/[\w./-]+|[\w-]+\/[\w./-]+\.ts)`/g,
      ),
    ];
    // Of a folder in which a new file is to be made, the folder is what must exist.
    const wrong = names
      .map((match) => match[1]!)
      .filter((name) => !found(name) && !document.startsWith('docs/options'));
    expect(wrong).toEqual([]);
  });

  it('names scripts that exist', () => {
    const names = [...text(document).matchAll(/npm run (?:-s )?([\w:]+)/g)].map((match) => match[1]!);
    expect(names.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'paravane');
const ready =
  existsSync('dist/index.js') &&
  existsSync('dist/x86/runtime.wasm') &&
  existsSync(cache) &&
  readdirSync(cache).some((name) => name.startsWith('tiny-'));

describe.skipIf(!ready)('the program in README.md (needs a build and the tiny guest)', () => {
  it('runs as it stands there', { timeout: 240_000 }, async () => {
    const program = /^```js\n([\s\S]*?)^```/m.exec(text('README.md'))![1]!;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.on('data', (data: Buffer) => (err += data.toString()));
    const code = await new Promise((resolve) => child.on('exit', resolve));
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/^0{8}: (?:[0-9a-f]{4} ){4}/m);
  });
});
