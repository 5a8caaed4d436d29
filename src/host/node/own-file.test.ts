/** That a file is replaced whole or not at all, and whose it is. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { isOwn, replaceFile } from './own-file.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-own-'));
  path = join(folder, 'file');
});
afterEach(() => {
  vi.unstubAllGlobals();
  rmSync(folder, { recursive: true, force: true });
});

it('is made, and then replaced, for its user only', () => {
  for (const text of ['a long one', 'short']) {
    replaceFile(path, (fd) => {
      // until all of it is there, the file is as it was
      writeSync(fd, text);
      expect(readdirSync(folder).includes('file')).toBe(text === 'short');
    });
    expect(readFileSync(path, 'latin1')).toBe(text);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  }
  expect(readdirSync(folder)).toEqual(['file']);
});

it('stays as it was when the new one cannot be written', () => {
  writeFileSync(path, 'old');
  const fail = (fd: number): void => {
    writeSync(fd, 'half');
    throw new RangeError('no room');
  };
  expect(() => replaceFile(path, fail)).toThrow('no room');
  expect(readFileSync(path, 'latin1')).toBe('old');
  expect(readdirSync(folder)).toEqual(['file']);
  expect(() => replaceFile(join(folder, 'none', 'file'), fail)).toThrow('ENOENT');
});

it('is the user’s own, or another’s', () => {
  const { uid } = statSync(folder);
  expect(isOwn({ uid })).toBe(true);
  expect(isOwn({ uid: uid + 1 })).toBe(false);
  // where there are no such numbers
  vi.stubGlobal('process', { ...process, getuid: undefined });
  expect(isOwn({ uid: uid + 1 })).toBe(true);
});
