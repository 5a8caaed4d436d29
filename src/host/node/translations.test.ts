/** The file of kept translations: what is found again, what is not, and how large it grows. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { keptTranslations, removeOld, TranslationFile } from './translations.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'paravane-translations-'));
  path = join(folder, 'file');
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(folder, { recursive: true, force: true });
});

/** A region's bytes: all that is looked at is that they are the same. */
const region = (seed: number, length = 100): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => Math.imul(seed + 1, i + 7) >> 3);

/** A file with regions 0 … count - 1 under keys 1000, 1001, … */
function filled(count: number, length = 100): void {
  const file = new TranslationFile(path);
  for (let n = 0; n < count; n++) file.keep(1000 + n, region(n, length));
  file.flush();
}

/** Which of the regions of `filled` are found, each whole. */
function found(file: TranslationFile, count: number, length = 100): number[] {
  return [...Array(count).keys()].filter((n) => {
    const [first] = file.find(1000 + n);
    if (first !== undefined) expect(first).toEqual(region(n, length));
    return first !== undefined;
  });
}

const all = (count: number): number[] => [...Array(count).keys()];

describe('a file of translations', () => {
  it('has what was kept when it is opened again', () => {
    filled(20);
    expect(found(new TranslationFile(path), 20)).toEqual(all(20));
    // more than a chunk of it is read at a time
    const file = new TranslationFile(path);
    for (let n = 20; n < 60; n++) file.keep(1000 + n, region(n, 70_000 + n));
    file.flush();
    const again = new TranslationFile(path);
    expect(found(again, 20)).toEqual(all(20));
    for (let n = 20; n < 60; n++) {
      const [first, ...more] = again.find(1000 + n);
      expect([Buffer.compare(first!, region(n, 70_000 + n)), more]).toEqual([0, []]);
    }
  });

  it('gives regions of one key, the latest first, but not very many', () => {
    const file = new TranslationFile(path);
    for (let n = 0; n < 10; n++) file.keep(5, region(n));
    file.flush();
    const alike = new TranslationFile(path).find(5);
    expect(alike).toEqual([9, 8, 7, 6].map((n) => region(n)));
    const again = new TranslationFile(path);
    expect([again.has(5), again.has(6), again.find(6)]).toEqual([true, false, []]);
  });

  it('is not given the same twice', () => {
    filled(3);
    const { size } = fs.statSync(path);
    filled(3);
    expect(fs.statSync(path).size).toBe(size);
    const file = new TranslationFile(path);
    for (let n = 0; n < 3; n++) file.keep(7, region(n, 50));
    for (let n = 0; n < 3; n++) file.keep(7, region(n, 50));
    file.flush();
    expect(fs.statSync(path).size).toBe(size + 3 * (50 + 12));
  });

  it('is written when enough waits, and at the end', () => {
    const file = new TranslationFile(path);
    file.keep(1, region(1));
    expect(fs.statSync(path).size).toBe(0);
    for (let n = 0; n < 300; n++) file.keep(n, region(n, 1000));
    expect(fs.statSync(path).size).toBeGreaterThan(256 * 1024);
    file.flush();
    file.flush();
    expect(fs.statSync(path).size).toBe(112 + 300 * 1012);
  });

  it('takes what several machines write at once', () => {
    const files = [new TranslationFile(path), new TranslationFile(path)];
    for (let n = 0; n < 40; n++) {
      const file = files[n % 2]!;
      file.keep(1000 + n, region(n));
      if (n % 3 === 0) file.flush();
    }
    for (const file of files) file.flush();
    const again = new TranslationFile(path);
    expect(found(again, 40)).toEqual(all(40));
    expect(fs.statSync(path).size).toBe(40 * 112);
  });

  it('is the user’s alone', () => {
    filled(1);
    expect(fs.statSync(path).mode & 0o777).toBe(0o600);
    const owner = vi.spyOn(process, 'getuid').mockReturnValue(process.getuid!() + 1);
    expect(() => new TranslationFile(path)).toThrow('not ours');
    owner.mockRestore();
    expect(found(new TranslationFile(path), 1)).toEqual([0]);
  });

  it('does not take what is larger than any region', () => {
    const file = new TranslationFile(path);
    file.keep(1, new Uint8Array(2 ** 20 + 1));
    file.keep(2, new Uint8Array(2 ** 20));
    file.flush();
    const again = new TranslationFile(path);
    expect([again.find(1).length, again.find(2).length]).toEqual([0, 1]);
  });
});

describe('a damaged file', () => {
  it('that ends in the midst of a region has those before it, and is whole from then on', () => {
    filled(5);
    const whole = fs.readFileSync(path);
    for (const cut of [1, 50, 100, 101, 111]) {
      fs.writeFileSync(path, whole.subarray(0, whole.length - cut));
      const file = new TranslationFile(path);
      expect(found(file, 5)).toEqual([0, 1, 2, 3]);
      expect(fs.readFileSync(path)).toEqual(whole.subarray(0, 4 * 112));
      file.keep(1004, region(4));
      file.flush();
      expect(fs.readFileSync(path)).toEqual(whole);
    }
  });

  it('gives regions as they were, or not at all', () => {
    filled(5);
    const whole = fs.readFileSync(path);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (places, length) => {
        const bytes = Uint8Array.from(whole.subarray(0, length));
        for (const [at, value] of places) if (at < length) bytes[at] = value;
        fs.writeFileSync(path, bytes);
        const file = new TranslationFile(path);
        found(file, 5);
        // and takes new ones
        file.keep(77, region(77));
        file.flush();
        expect(new TranslationFile(path).find(77)).toContainEqual(region(77));
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ['text', Buffer.from('This is something else.\n'.repeat(100))],
    ['zeros', Buffer.alloc(5000)],
    ['ones', Buffer.alloc(5000, 0xff)],
    ['one byte', Buffer.alloc(1)],
  ])('that is another one (%s) is begun anew', (_name, content) => {
    fs.writeFileSync(path, content);
    const file = new TranslationFile(path);
    for (const key of [0, 1, 0xffff_ffff]) for (const one of file.find(key)) expect(one).toHaveLength(0);
    file.keep(1, region(1));
    file.flush();
    expect(new TranslationFile(path).find(1)).toEqual([region(1)]);
  });

  it('that shrinks while it is open has nothing more', () => {
    filled(5);
    const file = new TranslationFile(path);
    fs.truncateSync(path, 200);
    expect(found(file, 5)).toEqual([0]);
  });

  it('that cannot be read any more has nothing more', () => {
    filled(2);
    const file = new TranslationFile(path);
    const read = vi.spyOn(fs, 'readSync').mockImplementation(() => {
      throw new Error('EIO');
    });
    syncBuiltinESMExports();
    expect(file.find(1000)).toEqual([]);
    read.mockRestore();
    syncBuiltinESMExports();
    expect(found(file, 2)).toEqual([0, 1]);
  });
});

describe('the size of a file', () => {
  const bounds = { most: 100 * 112, full: 60 * 112, remains: 30 * 112 };

  it('has a bound, and nothing is added beyond', () => {
    const file = new TranslationFile(path, bounds);
    for (let n = 0; n < 150; n++) {
      file.keep(1000 + n, region(n));
      file.flush();
    }
    expect(fs.statSync(path).size).toBe(bounds.most);
    expect(found(new TranslationFile(path, { ...bounds, full: bounds.most }), 150)).toEqual(all(100));
  });

  it('goes down to what was added last when it is opened', () => {
    filled(60);
    expect(found(new TranslationFile(path, bounds), 60)).toEqual(all(60));
    const file = new TranslationFile(path, bounds);
    file.keep(1060, region(60));
    file.flush();
    const again = new TranslationFile(path, bounds);
    expect(fs.statSync(path).size).toBe(bounds.remains);
    expect(found(again, 61)).toEqual(all(61).slice(-30));
    expect(fs.statSync(path).mode & 0o777).toBe(0o600);
    // the latest of a key stays the first
    again.keep(1060, region(99));
    again.flush();
    expect(new TranslationFile(path, bounds).find(1060)).toEqual([region(99), region(60)]);
    expect(fs.readdirSync(folder)).toEqual(['file']);
  });

  it('changes under a machine that has it open, which goes on with the old one', () => {
    filled(61);
    const old = new TranslationFile(path);
    const fresh = new TranslationFile(path, bounds);
    old.keep(5, region(5));
    old.flush();
    expect(found(old, 61)).toEqual(all(61));
    expect(found(fresh, 61)).toEqual(all(61).slice(-30));
    expect(fs.statSync(path).size).toBe(bounds.remains);
  });
});

describe('the folder', () => {
  const time = (name: string, days: number, size = 10): void => {
    fs.writeFileSync(join(folder, name), Buffer.alloc(size));
    const when = Date.now() / 1000 - days * 24 * 3600;
    fs.utimesSync(join(folder, name), when, when);
  };

  it('loses files that nobody has used for a month', () => {
    time('new', 1);
    time('month', 29);
    time('old', 31);
    time('mine', 99);
    fs.mkdirSync(join(folder, 'directory'));
    fs.utimesSync(join(folder, 'directory'), 0, 0);
    removeOld(folder, 'mine');
    expect(fs.readdirSync(folder).sort()).toEqual(['directory', 'mine', 'month', 'new']);
  });

  it('loses the oldest when they take too much', () => {
    for (const [i, name] of ['e', 'd', 'c', 'b', 'a'].entries()) time(name, i, 100);
    time('mine', 9, 1000);
    removeOld(folder, 'mine', 300);
    expect(fs.readdirSync(folder).sort()).toEqual(['c', 'd', 'e', 'mine']);
  });

  it('counts a file as used when it is opened', () => {
    filled(1);
    fs.utimesSync(path, 1, 1);
    new TranslationFile(path);
    expect(Date.now() - fs.statSync(path).mtimeMs).toBeLessThan(60_000);
  });
});

describe('a program', () => {
  // the name of the build is that of dist/
  it.skipIf(!fs.existsSync('dist/.built'))('has a file for its build and each kind of processor', () => {
    vi.stubEnv('XDG_CACHE_HOME', folder);
    const before = process.listeners('exit');
    const make = keptTranslations();
    for (const kind of ['one', 'two']) make(kind)!.keep(7, Uint8Array.of(1, 2, kind.length));
    const names = fs.readdirSync(join(folder, 'paravane/translations')).sort();
    const build = fs.readFileSync('dist/.built', 'latin1');
    expect(names).toEqual([`${build}-one`, `${build}-two`]);
    // written at the end
    const [one, two] = process.listeners('exit').filter((listener) => !before.includes(listener));
    for (const atEnd of [one!, two!]) {
      process.off('exit', atEnd);
      atEnd(0);
    }
    for (const name of names) {
      const again = new TranslationFile(join(folder, 'paravane/translations', name));
      expect(again.find(7)).toEqual([Uint8Array.of(1, 2, 3)]);
    }
  });

  it('keeps nothing where it cannot write', () => {
    fs.writeFileSync(path, '');
    // a file in the place of the folder
    vi.stubEnv('XDG_CACHE_HOME', path);
    expect(keptTranslations()('kind')).toBeUndefined();
    vi.stubEnv('XDG_CACHE_HOME', folder);
    fs.mkdirSync(join(folder, 'paravane'));
    fs.writeFileSync(join(folder, 'paravane/translations'), '');
    expect(keptTranslations()('kind')).toBeUndefined();
  });
});
