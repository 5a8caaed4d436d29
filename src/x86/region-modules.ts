/**
 * The WebAssembly modules that hold the regions in use, in the order of a clock's hand: those at the front have not been
 * looked at for the longest time. A module whose regions have all been dropped is none of them any more.
 */
import type { Region } from './block.ts';

export interface RegionModule {
  /** Bytes of its WebAssembly. */
  readonly bytes: number;
  /** Its regions that are in use. */
  readonly regions: Set<Region>;
}

export class RegionModules {
  readonly #modules = new Set<RegionModule>();
  #bytes = 0;
  /** Modules in a row that the hand has let stay. */
  #stayed = 0;

  get count(): number {
    return this.#modules.size;
  }

  /** Bytes of their WebAssembly. */
  get bytes(): number {
    return this.#bytes;
  }

  add(bytes: number): RegionModule {
    const module = { bytes, regions: new Set<Region>() };
    this.#modules.add(module);
    this.#bytes += bytes;
    return module;
  }

  /** A region has been dropped. */
  drop(region: Region): void {
    const { module } = region;
    if (!module.regions.delete(region) || module.regions.size > 0) return;
    if (this.#modules.delete(module)) this.#bytes -= module.bytes;
  }

  clear(): void {
    this.#modules.clear();
    this.#bytes = 0;
  }

  /**
   * Moves the hand over the next module.
   * @param used whether a region has been entered since it was asked that last
   * @returns the module if none of its regions has, or if all have stayed twice; undefined: it stays, and
   *   comes round again after all others
   */
  next(used: (region: Region) => boolean): RegionModule | undefined {
    const [module] = this.#modules;
    if (module === undefined) return undefined;
    let wanted = false;
    // all are asked, so that all begin anew
    for (const region of module.regions) if (used(region)) wanted = true;
    if (!wanted || ++this.#stayed > 2 * this.#modules.size) {
      this.#stayed = 0;
      return module;
    }
    this.#modules.delete(module);
    this.#modules.add(module);
    return undefined;
  }
}
