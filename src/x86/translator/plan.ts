/** A region to be written: chosen here and now (region.ts), or one of an earlier run that fits (kept-region.ts). */
import type { Block } from '../block.ts';
import type { KeptRegion } from './kept-region.ts';
import type { Selection } from './region.ts';

interface PlanBase {
  readonly hot: Block;
  /** Where the hot block is mapped. */
  readonly linear: bigint;
  readonly blocks: readonly Block[];
  /** Physical pages of its code. */
  readonly pages: readonly number[];
  readonly instructions: number;
}

export type Plan = PlanBase &
  (
    | { readonly selection: Selection; readonly kept?: undefined }
    | { readonly selection?: undefined; readonly kept: KeptRegion }
  );

export function planOf(selection: Selection): Plan {
  const { hot, linear, blocks, pages, instructions } = selection;
  return {
    hot,
    linear,
    blocks: blocks.map(({ block }) => block),
    pages: [...pages.values()],
    instructions,
    selection,
  };
}
