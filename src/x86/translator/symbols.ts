/**
 * What differs in a region's code from one machine to the next, and all else does not: where the records of its
 * instructions lie, the physical pages of its code, its slot in the function table. The code has these as symbols
 * (ByteWriter.fixups), so that a region of another day can be used again (kept-region.ts).
 */
import * as L from '../layout.ts';

/** Kinds, in the lowest bits of a symbol. */
const KIND = 3;
const REGION = 0;
const PAGE = 1;
const RECORD = 2;
const FAILED = 3;
/** Three numbers above it: of a block or page, of an instruction in it, how many come behind that. */
const FIELD = 127;
const FIRST = 2;
const SECOND = 9;
const THIRD = 16;

/** The region's slot. */
export const REGION_SYMBOL = REGION;

/** A physical page of the region's, by its number. */
export const pageSymbol = (number: number): number => PAGE | (number << FIRST);

/** The address of a record: of which block of the region, the how manyth of its instructions. */
export const recordSymbol = (block: number, number: number): number =>
  RECORD | (block << FIRST) | (number << SECOND);

/** `failedValue` for such a record. */
export const failedSymbol = (block: number, number: number, behind: number): number =>
  FAILED | (block << FIRST) | (number << SECOND) | (behind << THIRD);

/** Where `failedValue` is split: blocks have at most 64 instructions, and their records lie at multiples of 16. */
export const FAILED_SHIFT = 7;

/** What a region notes of a failing instruction: where its record is, and how many of the block come behind it. */
export const failedValue = (record: number, behind: number): number =>
  ((record - L.RECORDS) << (FAILED_SHIFT - 4)) | behind;

/** What a region is made of here. */
export interface Place {
  readonly index: number;
  /** Physical pages, and addresses of the blocks' headers, by number. */
  readonly pages: readonly number[];
  readonly blocks: readonly { readonly address: number }[];
}

/** What a symbol stands for; undefined for one that no such region has. */
export function valueOf(symbol: number, { index, pages, blocks }: Place): number | undefined {
  const kind = symbol & KIND;
  const first = (symbol >> FIRST) & FIELD;
  if (kind === REGION) return index;
  if (kind === PAGE) return pages[first];
  const block = blocks[first];
  if (block === undefined) return undefined;
  const record = block.address + L.BLOCK_HEADER + ((symbol >> SECOND) & FIELD) * L.REC_BYTES;
  return kind === RECORD ? record : failedValue(record, (symbol >> THIRD) & FIELD);
}
