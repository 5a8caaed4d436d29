/** What a file of forms holds when the program ends, and that a damaged one is none. */
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { formsFile } from './forms-file.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-forms-'));
  path = join(folder, 'forms');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** A run of the program that knows these forms at its end. */
function run(forms: Uint8Array): Uint8Array | undefined {
  const atEnd: (() => void)[] = [];
  vi.spyOn(process, 'on').mockImplementation((_, listener) => {
    atEnd.push(listener as () => void);
    return process;
  });
  const file = formsFile(path);
  const before = file.forms();
  file.keepForms(() => forms);
  for (const end of atEnd) end();
  return before === undefined ? undefined : Uint8Array.from(before);
}

it('keeps what a run has met, for its user only', () => {
  const forms = Uint8Array.from({ length: 1000 }, (_, i) => i);
  expect(run(forms)).toBeUndefined();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(run(forms)).toEqual(forms);
});

it('is written anew only for a good many more', () => {
  run(new Uint8Array(1000));
  run(new Uint8Array(1010).fill(1));
  expect(run(new Uint8Array(1100).fill(2))).toEqual(new Uint8Array(1000));
  expect(run(new Uint8Array(0))).toEqual(new Uint8Array(1100).fill(2));
});

it('is none when it is damaged, too long, or not there', () => {
  run(new Uint8Array(1000).fill(3));
  truncateSync(path, 999);
  expect(formsFile(path).forms()).toBeUndefined();
  writeFileSync(path, new Uint8Array(3));
  expect(formsFile(path).forms()).toBeUndefined();
  truncateSync(path, 5 << 20);
  expect(formsFile(path).forms()).toBeUndefined();
  rmSync(path);
  expect(formsFile(path).forms()).toBeUndefined();
});

it('is given up where it cannot be written', () => {
  rmSync(folder, { recursive: true });
  expect(run(new Uint8Array(100))).toBeUndefined();
  expect(() => readFileSync(path)).toThrow();
});
