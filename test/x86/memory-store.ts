/** A store of kept regions in memory, as a file would be: what is found is a copy, the latest comes first. */
import type { RegionStore } from '../../src/core/translation-store.ts';

export class MemoryStore implements RegionStore {
  readonly #kept = new Map<number, Uint8Array[]>();
  readonly #all: Uint8Array[] = [];

  has(key: number): boolean {
    return this.#kept.has(key);
  }

  find(key: number): readonly Uint8Array[] {
    return (this.#kept.get(key) ?? []).map((region) => region.slice()).reverse();
  }

  keep(key: number, region: Uint8Array): void {
    const copy = region.slice();
    this.#all.push(copy);
    const alike = this.#kept.get(key);
    if (alike === undefined) this.#kept.set(key, [copy]);
    else alike.push(copy);
  }

  get size(): number {
    return this.#all.length;
  }

  /** In the order in which they came; what is changed in one stays changed. */
  get regions(): readonly Uint8Array[] {
    return this.#all;
  }
}
