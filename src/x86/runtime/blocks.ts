// Blocks of instructions whose forms are known (forms.ts): found and made here, without a word to TypeScript, which learns
// of a block when something happens to it (code-cache.ts). Only blocks that lie in one page of RAM are made here, of 64-bit
// code; what else there is, and what has not been met before, decode/block-decoder.ts decodes.
import {
  BLOCK_ALIGNMENT,
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
  BLOCK_SHAPE,
  BLOCK_STATE,
  BLOCK_TARGETS,
  CODE_LINES,
  FIRST_COUNTDOWN,
  FORM_ENDS,
  FORM_INDIRECT,
  FORM_LEAVES,
  FORM_MMX,
  FORM_VECTOR,
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
import { tlbDropWrite } from './mmu';
import { joinPairs } from './pairs';

const PAGE = 4096;
const LONG = 2;
/** log2 of the bytes of a line of CODE_LINES. */
const LINE_SHIFT = 6;

/** The block at a physical address in a mode, among those that lie in one page; 0 if there is none yet. */
export function findBlock(physical: i64, mode: i32): i32 {
  const page = physical >> 12;
  if (page >= PAGE_TABLE_ENTRIES) return 0;
  const key = <u64>physical | ((<u64>mode) << BLOCK_KEY_SHIFT);
  let block = load<i32>(PAGE_BLOCKS + ((<i32>page) << 2));
  while (block != 0 && load<u64>(block, BLOCK_KEY) != key) block = load<i32>(block, BLOCK_NEXT);
  return block;
}

/** Puts a block into the list of its page. */
export function linkBlock(block: i32): void {
  const list = PAGE_BLOCKS + ((<i32>((load<u64>(block, BLOCK_KEY) >> 12) & (PAGE_TABLE_ENTRIES - 1))) << 2);
  store<i32>(block, load<i32>(list), BLOCK_NEXT);
  store<i32>(list, block);
}

/** Takes a block out of the list of its page. */
export function unlinkBlock(block: i32): void {
  let at = PAGE_BLOCKS + ((<i32>((load<u64>(block, BLOCK_KEY) >> 12) & (PAGE_TABLE_ENTRIES - 1))) << 2);
  while (load<i32>(at) != 0) {
    if (load<i32>(at) == block) {
      store<i32>(at, load<i32>(block, BLOCK_NEXT));
      return;
    }
    at = load<i32>(at) + BLOCK_NEXT;
  }
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
  store<i32>(block, NO_STAMP, BLOCK_LINK + 8);
  linkBlock(block);
  watch(page, offset, at);
  store<u32>(STAT_BLOCKS, load<u32>(STAT_BLOCKS) + 1);
  store<u32>(STAT_BLOCK_INSNS, load<u32>(STAT_BLOCK_INSNS) + count);
  return block;
}
