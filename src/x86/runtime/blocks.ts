// Blocks of instructions whose forms are known (forms.ts): found and made here, without a word to TypeScript, which learns
// of a block when something happens to it (code-cache.ts). Only blocks that lie in one page of RAM are made here, of 64-bit
// code; what else there is, and what has not been met before, decode/block-decoder.ts decodes.
import {
  BLOCK_ALIGNMENT,
  BLOCK_CHAIN,
  BLOCK_COUNTDOWN,
  BLOCK_END_HANDLER,
  BLOCK_ENDS_INDIRECT,
  BLOCK_ENDS_NOT,
  BLOCK_ENDS_TRANSFER,
  BLOCK_HEADER,
  BLOCK_KEY,
  BLOCK_KEY_SHIFT,
  BLOCK_LINK,
  BLOCK_NEXT,
  BLOCK_NEXT_PAGE,
  BLOCK_REGION,
  BLOCK_SHAPE,
  BLOCK_STATE,
  BLOCK_TARGETS,
  BLOCK_USED,
  CODE_LINES,
  FIRST_COUNTDOWN,
  FORM_ENDS,
  FORM_INDIRECT,
  FORM_LEAVES,
  FORM_MMX,
  FORM_VECTOR,
  HASH,
  HASH_BITS,
  HASH_ENTRIES,
  MAX_BLOCK_BYTES,
  MAX_BLOCK_INSNS,
  MODE_CODE,
  MODE_NO_FPU,
  MODE_NO_SSE,
  NO_STAMP,
  PAGE_BLOCKS,
  PAGE_CODE,
  PAGE_TABLE,
  PAGE_TABLE_ENTRIES,
  RECORDS_END,
  RECORDS_NEXT,
  REC_BYTES,
  REC_HANDLER,
  REC_OFFSET,
  SHAPE_BYTES_SHIFT,
  SHAPE_END_SHIFT,
  STAT_BLOCKS,
  STAT_BLOCK_INSNS,
  TARGETS,
} from '../layout';
import { writeKnown } from './forms';
import { joinPairs } from './pairs';
import { tlbDropWrite } from './tlb';

const PAGE = 4096;
const LONG = 2;
/** log2 of the bytes of a line of CODE_LINES. */
const LINE_SHIFT = 6;

/** Where the chain begins that a block of this physical address is in. */
function chainOf(physical: i64): i32 {
  return HASH + ((<i32>(physical ^ (physical >> HASH_BITS)) & (HASH_ENTRIES - 1)) << 2);
}

/** The block at a physical address in a mode; 0 if there is none yet. */
export function findBlock(physical: i64, mode: i32): i32 {
  const key = <u64>physical | ((<u64>mode) << BLOCK_KEY_SHIFT);
  let block = load<i32>(chainOf(physical));
  while (block != 0 && load<u64>(block, BLOCK_KEY) != key) block = load<i32>(block, BLOCK_CHAIN);
  return block;
}

/** Physical address of a block. */
function physicalOf(block: i32): i64 {
  return load<u64>(block, BLOCK_KEY) & (((<i64>1) << BLOCK_KEY_SHIFT) - 1);
}

/** Where the list begins that a block of one page of memory is in; 0 for others. */
function pageListOf(block: i32): i32 {
  const page = physicalOf(block) >> 12;
  if (page >= PAGE_TABLE_ENTRIES || load<u32>(block, BLOCK_NEXT_PAGE) != 0) return 0;
  const index = (<i32>page) << 2;
  return (load<u32>(PAGE_TABLE + index) & ~0xfff) == 0 ? 0 : PAGE_BLOCKS + index;
}

/** Puts a block, whose key is set, where it is found: into its chain, and into the list of its page. */
export function linkBlock(block: i32): void {
  const chain = chainOf(physicalOf(block));
  store<i32>(block, load<i32>(chain), BLOCK_CHAIN);
  store<i32>(chain, block);
  const list = pageListOf(block);
  if (list == 0) return;
  store<i32>(block, load<i32>(list), BLOCK_NEXT);
  store<i32>(list, block);
}

/** Undoes that. */
export function unlinkBlock(block: i32): void {
  takeOut(block, chainOf(physicalOf(block)), BLOCK_CHAIN);
  const list = pageListOf(block);
  if (list != 0) takeOut(block, list, BLOCK_NEXT);
}

/** Takes a block out of the list that begins at `at` and goes on with the words at `next` of the headers. */
function takeOut(block: i32, at: i32, next: i32): void {
  while (load<i32>(at) != 0) {
    if (load<i32>(at) == block) {
      store<i32>(at, load<i32>(block + next));
      return;
    }
    at = load<i32>(at) + next;
  }
}

/** Forgets of all blocks where control went after them. */
export function forgetLinks(): void {
  for (let chain = HASH; chain < HASH + (HASH_ENTRIES << 2); chain += 4)
    for (let block = load<i32>(chain); block != 0; block = load<i32>(block, BLOCK_CHAIN))
      store<i32>(block, NO_STAMP, BLOCK_LINK + 8);
}

/** Writes to bytes [from, to) of a page are looked at from now on. */
function watch(page: i32, from: i32, to: i32): void {
  const first: u64 = from >> LINE_SHIFT;
  const last: u64 = (to - 1) >> LINE_SHIFT;
  const lines = CODE_LINES + (page << 3);
  store<u64>(lines, load<u64>(lines) | ((~(<u64>0) >> (63 - (last - first))) << first));
  const flags = load<u32>(PAGE_TABLE + (page << 2));
  if (flags & PAGE_CODE) return;
  store<u32>(PAGE_TABLE + (page << 2), flags | PAGE_CODE);
  tlbDropWrite(page);
}

/** Decodes the block at `physical`; 0 where that is not for us to do, and nothing has changed. */
export function makeBlock(physical: i64, mode: i32): i32 {
  if ((mode & MODE_CODE) != LONG || physical >> 12 >= PAGE_TABLE_ENTRIES) return 0;
  const page = <i32>(physical >> 12);
  const base: i32 = load<u32>(PAGE_TABLE + (page << 2)) & ~0xfff;
  const block = load<i32>(RECORDS_NEXT);
  if (base == 0 || block + MAX_BLOCK_BYTES > RECORDS_END) return 0;
  let refused = 0;
  if (mode & MODE_NO_FPU) refused = FORM_VECTOR | FORM_MMX;
  else if (mode & MODE_NO_SSE) refused = FORM_VECTOR;

  const offset = <i32>physical & 0xfff;
  const first = block + BLOCK_HEADER;
  let at = offset;
  let record = first;
  let end = BLOCK_ENDS_NOT;
  let marked = true;
  for (;;) {
    const count = (record - first) / REC_BYTES;
    if (at >= PAGE || count == MAX_BLOCK_INSNS) break;
    const known = writeKnown(record, base, at, MAX_BLOCK_INSNS - count, refused);
    const more = (known >> 16) & 255;
    if (more == 0) return 0;
    record += more * REC_BYTES;
    at = known & 0xffff;
    const flags = known >>> 24;
    if (flags & FORM_ENDS) {
      end = flags & FORM_INDIRECT ? BLOCK_ENDS_INDIRECT : BLOCK_ENDS_TRANSFER;
      marked = (flags & FORM_LEAVES) == 0;
      break;
    }
  }
  const count = (record - first) / REC_BYTES;
  if (marked) {
    memory.fill(record, 0, REC_BYTES);
    store<i32>(record, load<i32>(BLOCK_END_HANDLER), REC_HANDLER);
    store<u16>(record, at, REC_OFFSET);
    record += REC_BYTES;
  }
  joinPairs(first, record);
  let targets = 0;
  if (end == BLOCK_ENDS_INDIRECT) {
    targets = record;
    memory.fill(targets, 0, 8 * TARGETS);
    record += 8 * TARGETS;
  }
  store<i32>(RECORDS_NEXT, ((record + 31) & -BLOCK_ALIGNMENT) + 32);
  store<i32>(block, load<i32>(FIRST_COUNTDOWN), BLOCK_COUNTDOWN);
  store<i32>(block, count | ((at - offset) << SHAPE_BYTES_SHIFT) | (end << SHAPE_END_SHIFT), BLOCK_SHAPE);
  store<u64>(block, <u64>physical | ((<u64>mode) << BLOCK_KEY_SHIFT), BLOCK_KEY);
  store<i32>(block, 0, BLOCK_NEXT_PAGE);
  store<i32>(block, targets, BLOCK_TARGETS);
  store<i32>(block, 0, BLOCK_STATE);
  store<i32>(block, 0, BLOCK_REGION);
  store<i32>(block, 0, BLOCK_USED);
  store<i32>(block, NO_STAMP, BLOCK_LINK + 8);
  linkBlock(block);
  watch(page, offset, at);
  store<u32>(STAT_BLOCKS, load<u32>(STAT_BLOCKS) + 1);
  store<u32>(STAT_BLOCK_INSNS, load<u32>(STAT_BLOCK_INSNS) + count);
  return block;
}
