/**
 * Translated code in a file, from one run of the program to the next: whatever ran often under any machine is translated
 * at once when it comes again. One file for each build of Paravane and kind of processor, in the user's cache folder, only
 * added to, by any number of machines at a time. What is damaged is as good as not there. What it holds is run, within
 * the machine's WebAssembly memory: only files of the user's own are read.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../../core/errors.ts';
import { fnv1a } from '../../core/fnv.ts';
import type { RegionStore, TranslationStore } from '../../core/translation-store.ts';
import { formsFile } from './forms-file.ts';
import { isOwn, replaceFile } from './own-file.ts';
import { PACKAGE_ROOT } from './package-root.ts';
import { cacheFolder } from './process.ts';

/** Length, key and checksum of a region, 4 bytes each, stand before it. */
const HEADER = 12;
/** The most that a region takes: it has at most 128 instructions. */
const MAX_REGION = 1 << 20;
/** In bytes: what a file may take, from where on the next machine begins it anew, and with how much of what was added last. */
const BOUNDS = { most: 64 << 20, full: 48 << 20, remains: 32 << 20 } as const;
/** How many regions with one key are looked at. */
const MAX_ALIKE = 4;
/** Bytes that wait to be written. */
const MAX_PENDING = 1 << 18;
const CHUNK = 1 << 20;
/** Files of other builds go when nobody has used them for so long (30 days, in milliseconds). */
const MAX_AGE = 30 * 24 * 3600 * 1000;
/** The most that they take together: who changes Paravane makes a new build every few minutes. */
const MAX_FOLDER = 256 << 20;

interface Known {
  readonly at: number;
  readonly length: number;
  readonly sum: number;
}

export class TranslationFile implements RegionStore {
  readonly #fd: number;
  readonly #known = new Map<number, Known[]>();
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  /** What has been handed on by this process, so that it is not written twice. */
  readonly #added = new Set<number>();
  readonly #most: number;
  /** The file has got all that it may, or all that the disk has room for. */
  #full = false;

  /** @throws Error when the file can be neither opened nor made, or is not the user's own */
  constructor(path: string, bounds: { readonly [Name in keyof typeof BOUNDS]: number } = BOUNDS) {
    this.#most = bounds.most;
    this.#fd = fs.openSync(path, 'a+', 0o600);
    try {
      const stat = fs.fstatSync(this.#fd);
      if (!isOwn(stat)) throw new HostError(`${path} is not ours`);
      const { size } = stat;
      // only the end of a process in the midst of writing leaves less than it began
      if (this.#scan(size) === size && size <= bounds.full) {
        // in use, though nothing may be added
        const now = Date.now() / 1000;
        fs.futimesSync(this.#fd, now, now);
        return;
      }
      this.#rewrite(path, bounds.remains);
      const kept = fs.openSync(path, 'a+', 0o600);
      fs.closeSync(this.#fd);
      this.#fd = kept;
    } catch (error) {
      fs.closeSync(this.#fd);
      throw error;
    }
    this.#known.clear();
    this.#scan(fs.fstatSync(this.#fd).size);
  }

  /**
   * Finds where the regions are.
   * @returns where the last whole one ends
   */
  #scan(size: number): number {
    const chunk = new DataView(new ArrayBuffer(CHUNK));
    let from = 0;
    let filled = 0;
    let end = 0;
    while (end + HEADER <= size) {
      if (end + HEADER > from + filled) {
        from = end;
        filled = fs.readSync(this.#fd, chunk, 0, CHUNK, from);
        if (filled < HEADER) return end;
      }
      const header = end - from;
      const length = chunk.getUint32(header, true);
      if (length > MAX_REGION || end + HEADER + length > size) return end;
      const sum = chunk.getInt32(header + 8, true);
      this.#note(chunk.getInt32(header + 4, true), { at: end, length, sum });
      end += HEADER + length;
    }
    return end;
  }

  #note(key: number, region: Known): void {
    const alike = this.#known.get(key);
    if (alike === undefined) this.#known.set(key, [region]);
    else {
      alike.unshift(region);
      if (alike.length > MAX_ALIKE) alike.pop();
    }
  }

  /** Puts the regions that were added last into a file of their own in the place of this one. */
  #rewrite(path: string, remains: number): void {
    const regions = [...this.#known.values()].flat().sort((a, b) => b.at - a.at);
    const chosen: Known[] = [];
    let bytes = 0;
    for (const region of regions) {
      bytes += HEADER + region.length;
      if (bytes > remains) break;
      chosen.push(region);
    }
    replaceFile(path, (out) => {
      for (const { at, length } of chosen.reverse()) {
        const whole = new Uint8Array(HEADER + length);
        fs.readSync(this.#fd, whole, 0, whole.length, at);
        fs.writeSync(out, whole);
      }
    });
  }

  has(key: number): boolean {
    return this.#known.has(key);
  }

  find(key: number): readonly Uint8Array[] {
    const found: Uint8Array[] = [];
    for (const { at, length, sum } of this.#known.get(key) ?? []) {
      const region = new Uint8Array(length);
      try {
        if (fs.readSync(this.#fd, region, 0, length, at + HEADER) < length) continue;
      } catch {
        // the disk fails: what it held is not there
        continue;
      }
      if (sum === fnv1a(region)) found.push(region);
    }
    return found;
  }

  keep(key: number, region: Uint8Array): void {
    const sum = fnv1a(region);
    if (region.length > MAX_REGION || this.#added.has(sum) || this.#full) return;
    this.#added.add(sum);
    // one that was there, but not found in time: not all of its code was
    if (this.#known.get(key)?.some((known) => known.sum === sum)) return;
    const whole = new Uint8Array(HEADER + region.length);
    const view = new DataView(whole.buffer);
    view.setUint32(0, region.length, true);
    view.setInt32(4, key, true);
    view.setInt32(8, sum, true);
    whole.set(region, HEADER);
    this.#pending.push(whole);
    this.#pendingBytes += whole.length;
    if (this.#pendingBytes >= MAX_PENDING) this.flush();
  }

  /** Writes what waits. A file that is full is no reason to stop: then less is kept. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const all = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      this.#full = fs.fstatSync(this.#fd).size + all.length > this.#most;
      if (this.#full) return;
      // one write, so that those of several machines follow on each other
      this.#full = fs.writeSync(this.#fd, all) < all.length;
    } catch {
      this.#full = true;
    }
  }
}

/**
 * Removes what builds that are no longer used have left: what is old, and the oldest of what takes too much room.
 * @param used the file of this build
 */
export function removeOld(folder: string, used: string, room = MAX_FOLDER, now = Date.now()): void {
  const others = fs
    .readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith(used))
    .flatMap(({ name }) => {
      const path = join(folder, name);
      const stat = fs.statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? [] : [{ path, size: stat.size, time: stat.mtimeMs }];
    })
    .sort((a, b) => b.time - a.time);
  let bytes = 0;
  for (const { path, size, time } of others) {
    bytes += size;
    if (bytes > room || now - time > MAX_AGE) fs.rmSync(path, { force: true });
  }
}

/**
 * For programs: translations of this build, in the user's cache folder.
 * @returns makes a store for a kind of processor; undefined where nothing can be kept
 */
export function keptTranslations(): (kind: string) => TranslationStore | undefined {
  return (kind) => {
    try {
      // other builds do not understand its translations
      const build = fs.readFileSync(join(PACKAGE_ROOT, 'dist/.built'), 'latin1');
      if (build === '') return undefined;
      const folder = cacheFolder('translations');
      const name = `${build}-${kind}`;
      removeOld(folder, name);
      const file = new TranslationFile(join(folder, name));
      process.on('exit', () => file.flush());
      return Object.assign(file, formsFile(join(folder, `${name}.forms`)));
    } catch {
      // a cache folder that cannot be written to
      return undefined;
    }
  };
}
