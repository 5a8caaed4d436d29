/**
 * Finds regions of earlier runs for blocks that begin to be hot, and hands on new ones for later runs. A block that has
 * one is translated after a few executions, and nothing needs to be chosen or written for it.
 */
import type { RegionStore } from '../../core/translation-store.ts';
import { type FunctionSource, functionAgain, type WrittenFunction } from '../../wasm/function.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import type { Block } from '../block.ts';
import type { CodeCache } from '../code-cache.ts';
import type { RuntimeExports } from '../engine.ts';
import {
  type importRuntime,
  RUNTIME_FUNCTIONS,
  type RuntimeFunction,
} from '../semantics/runtime-functions.ts';
import { decodeRegion, encodeRegion, fillRegion, type KeptRegion, placeRegion } from './kept-region.ts';
import type { Plan } from './plan.ts';
import type { Selection } from './region.ts';
import type { Place } from './symbols.ts';

/** Executions after which a block is looked for: it takes about as long as to interpret so much. */
const FIRST_THRESHOLD = 16;

const CHAIN = 'chain';

export class KeptRegions {
  readonly #store: RegionStore;
  readonly #cache: CodeCache;
  /** Functions that regions import: kept regions have their numbers. */
  readonly #names: readonly string[];
  readonly #numbers: ReadonlyMap<string, number>;
  /** False when a region of the store could not be used though its code is here: then none is. */
  #trusted = true;
  /** Regions that were handed on, and that were found and came into use. */
  kept = 0;
  used = 0;

  constructor(store: RegionStore, cache: CodeCache, runtime: RuntimeExports) {
    this.#store = store;
    this.#cache = cache;
    this.#names = [CHAIN, ...Object.keys(runtime)];
    this.#numbers = new Map(this.#names.map((name, number) => [name, number]));
    cache.firstThreshold = Math.min(FIRST_THRESHOLD, cache.hotThreshold);
  }

  /** Whether there may be one for blocks with this key. */
  readonly mayKnow = (key: number): boolean => this.#trusted && (this.#store.has?.(key) ?? true);

  /** A kept region for this block, if there is one and all of its code is where it was. */
  find(hot: Block, linear: bigint, mapped: (distance: number) => number): Plan | undefined {
    if (!this.#trusted) return undefined;
    for (const bytes of this.#store.find(this.#cache.guestCode.keyOf(hot.address))) {
      let kept: KeptRegion;
      try {
        kept = decodeRegion(bytes);
      } catch {
        // damaged: as if it were not there
        continue;
      }
      const placed = placeRegion(kept, this.#cache, hot, linear, mapped);
      if (placed === undefined) continue;
      const { blocks, pages } = placed;
      return { hot, linear, blocks, pages: [...pages.values()], instructions: kept.instructions, kept };
    }
    return undefined;
  }

  /** For a store that gives what is no code: what is kept from now on comes before that in later runs. */
  distrust(): void {
    this.#trusted = false;
  }

  /** The function of a kept region, made to fit here; undefined when it is damaged. */
  source(
    kept: KeptRegion,
    place: Place,
    { chain, runtime, helpers }: ReturnType<typeof importRuntime> & { readonly chain: number },
  ): FunctionSource | undefined {
    try {
      fillRegion(kept.written, place, (number) => {
        const name = this.#names[number];
        if (name === undefined) throw new RangeError('a kept region calls an unknown function');
        if (name === CHAIN) return chain;
        return name in RUNTIME_FUNCTIONS ? runtime(name as RuntimeFunction) : helpers(name);
      });
    } catch {
      this.distrust();
      return undefined;
    }
    return functionAgain(kept.written);
  }

  keep(
    selection: Selection,
    kind: { readonly scattered: boolean; readonly patient: boolean },
    entries: ReadonlySet<number>,
    written: WrittenFunction,
    module: ModuleBuilder,
  ): void {
    const nameOf = (index: number): number => this.#numbers.get(module.importedFunction(index)!.name)!;
    const region = encodeRegion(selection, kind, entries, written, nameOf);
    this.#store.keep(this.#cache.guestCode.keyOf(selection.hot.address), region);
    this.kept++;
  }
}
