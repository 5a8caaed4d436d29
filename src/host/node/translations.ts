/**
 * Translated code in a file, from one run of the program to the next: whatever ran often under any machine is translated
 * at once when it comes again. One file for each build of Paravane and kind of processor, in the user's cache folder, only
 * added to, by any number of machines at a time. What is damaged is as good as not there.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { RegionStore } from '../../x86/translator/kept-region.ts';
import { PACKAGE_ROOT } from './package-root.ts';
import { cacheFolder } from './process.ts';

/** Length, key and checksum of a region, 4 bytes each, stand before it. */
const HEADER = 12;
/** The most that a region takes: it has at most 128 instructions. */
const MAX_REGION = 1 << 20;
/** Bytes of a file at which the next machine begins it anew with what was added last. */
const MAX_FILE = 64 << 20;
const REMAINS = 32 << 20;
/** How many regions with one key are looked at. */
const MAX_ALIKE = 4;
/** Bytes that wait to be written. */
const MAX_PENDING = 1 << 18;
const CHUNK = 1 << 20;
/** Files of other builds go when nobody has used them for so long (30 days, in milliseconds). */
const MAX_AGE = 30 * 24 * 3600 * 1000;

interface Known {
  readonly at: number;
  readonly length: number;
}

export class TranslationFile implements RegionStore {
  readonly #fd: number;
  readonly #known = new Map<number, Known[]>();
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  /** What has been handed on by this process, so that it is not written twice. */
  readonly #added = new Set<number>();
  /** Where the last whole region ends. */
  #end = 0;

  /** @throws Error when the file can be neither opened nor made */
  constructor(path: string, limit = MAX_FILE, remains = REMAINS) {
    this.#fd = fs.openSync(path, 'a+', 0o600);
    const { size } = fs.fstatSync(this.#fd);
    this.#scan(size);
    // only the end of a process in the midst of writing leaves less than it began
    if (this.#end === size && size <= limit) return;
    const kept = fs.openSync(this.#rewrite(path, remains), 'a+', 0o600);
    fs.closeSync(this.#fd);
    this.#fd = kept;
    this.#known.clear();
    this.#scan(fs.fstatSync(kept).size);
  }

  /** Finds where the regions are. */
  #scan(size: number): void {
    const chunk = new DataView(new ArrayBuffer(CHUNK));
    let from = 0;
    let filled = 0;
    this.#end = 0;
    while (this.#end + HEADER <= size) {
      if (this.#end + HEADER > from + filled) {
        from = this.#end;
        filled = fs.readSync(this.#fd, chunk, 0, CHUNK, from);
        if (filled < HEADER) return;
      }
      const length = chunk.getUint32(this.#end - from, true);
      if (length > MAX_REGION || this.#end + HEADER + length > size) return;
      this.#note(chunk.getUint32(this.#end - from + 4, true), { at: this.#end, length });
      this.#end += HEADER + length;
    }
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
  #rewrite(path: string, remains: number): string {
    const regions = [...this.#known.values()].flat().sort((a, b) => b.at - a.at);
    const chosen: Known[] = [];
    let bytes = 0;
    for (const region of regions) {
      bytes += HEADER + region.length;
      if (bytes > remains) break;
      chosen.push(region);
    }
    const fresh = `${path}.${process.pid}`;
    const out = fs.openSync(fresh, 'w', 0o600);
    try {
      for (const { at, length } of chosen.reverse()) {
        const whole = new Uint8Array(HEADER + length);
        fs.readSync(this.#fd, whole, 0, whole.length, at);
        fs.writeSync(out, whole);
      }
    } finally {
      fs.closeSync(out);
    }
    fs.renameSync(fresh, path);
    return path;
  }

  find(key: number): readonly Uint8Array[] {
    const found: Uint8Array[] = [];
    for (const { at, length } of this.#known.get(key) ?? []) {
      const whole = new Uint8Array(HEADER + length);
      if (fs.readSync(this.#fd, whole, 0, whole.length, at) < whole.length) continue;
      const region = whole.subarray(HEADER);
      if (new DataView(whole.buffer).getUint32(8, true) === checksum(region)) found.push(region);
    }
    return found;
  }

  keep(key: number, region: Uint8Array): void {
    const sum = checksum(region);
    if (region.length > MAX_REGION || this.#added.has(sum)) return;
    this.#added.add(sum);
    const whole = new Uint8Array(HEADER + region.length);
    const view = new DataView(whole.buffer);
    view.setUint32(0, region.length, true);
    view.setUint32(4, key, true);
    view.setUint32(8, sum, true);
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
      // one write, so that those of several machines follow on each other
      fs.writeSync(this.#fd, all);
    } catch {
      // no room
    }
  }
}

/** FNV-1a, of 32 bits. */
function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

/** Removes what builds that are no longer used have left. */
function removeOld(folder: string, now = Date.now()): void {
  for (const name of fs.readdirSync(folder)) {
    const path = join(folder, name);
    if (now - fs.statSync(path).mtimeMs > MAX_AGE) fs.rmSync(path);
  }
}

/**
 * For programs: translations of this build, in the user's cache folder.
 * @returns makes a store for a kind of processor; undefined where nothing can be kept
 */
export function keptTranslations(): (kind: string) => RegionStore | undefined {
  return (kind) => {
    try {
      // other builds do not understand its translations
      const build = fs.readFileSync(join(PACKAGE_ROOT, 'dist/.built'), 'latin1');
      const folder = cacheFolder('translations');
      removeOld(folder);
      const file = new TranslationFile(join(folder, `${build}-${kind}`));
      process.on('exit', () => file.flush());
      return file;
    } catch {
      // a cache folder that cannot be written to
      return undefined;
    }
  };
}
