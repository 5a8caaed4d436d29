/** A store of kept regions in memory, as a file would be: what is found is a copy, the latest comes first. */
import type { RegionStore } from '../../src/x86/translator/kept-region.ts';

export class MemoryStore implements RegionStore {
  readonly #kept: { readonly key: number; readonly region: Uint8Array }[] = [];

  find(key: number): readonly Uint8Array[] {
    return this.#kept
      .filter((one) => one.key === key)
      .map(({ region }) => region.slice())
      .reverse();
  }

  keep(key: number, region: Uint8Array): void {
    this.#kept.push({ key, region: region.slice() });
  }

  get size(): number {
    return this.#kept.length;
  }

  /** In the order in which they came; what is changed in one stays changed. */
  get regions(): readonly Uint8Array[] {
    return this.#kept.map(({ region }) => region);
  }
}
