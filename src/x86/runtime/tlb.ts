// The TLBs: their entries, which of them go by a CR3 load, INVLPG and the like, and when the jump cache is not to be
// believed any more. What fills them is in mmu.ts. Source: Intel SDM volume 3, 4.10.
import {
  CR4,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  JUMP_GENERATION,
  STAT_TLB_FLUSH,
  TLB,
  TLB_ADDEND,
  TLB_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_INVALID,
  TLB_NOTES,
  TLB_PFN,
  TLB_READ,
  TLB_WRITE,
} from '../layout';
import { CR4_SMAP } from './bits';
import { forgetLinks } from './blocks';
import { forgetDirectories } from './directories';
import { forgetKeys } from './protection-keys';

export const TLB_SMAP = TLB;
const TLB_SUPERVISOR = TLB + TLB_BYTES;
export const TLB_USER = TLB + 2 * TLB_BYTES;
const TABLES = 3;
const PAGE_MASK: u64 = ~(4095 as u64);

/** The TLB that belongs to implicit supervisor accesses (GDT, IDT, TSS); SMAP does not heed RFLAGS.AC for them. */
export function systemTlb(): i32 {
  return (load<u32>(CR4) & CR4_SMAP) != 0 ? TLB_SMAP : TLB_SUPERVISOR;
}

/** The TLB for `cpl` under the present CR4, with RFLAGS.AC as given. */
export function tlbFor(cpl: i32, ac: i32): i32 {
  if (cpl == 3) return TLB_USER;
  return (load<u32>(CR4) & CR4_SMAP) != 0 && ac == 0 ? TLB_SMAP : TLB_SUPERVISOR;
}

/** The entry of a table where the page of `va` belongs. */
export function entryOf(tlb: i32, va: u64): i32 {
  return tlb + ((((va >> 12) as i32) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT);
}

// --- what is noted of the entries ---------------------------------------------------------------------------------

/** For each table a u64: bit n = the nth of its 64 parts may hold something. */
const USED: i32 = memory.data<u64>([
  0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff,
]) as i32;
const PART_ENTRIES = TLB_ENTRIES >> 6;
const PART_BYTES = PART_ENTRIES << TLB_ENTRY_SHIFT;

/** One byte for each entry: KIND_*. */
const KINDS: i32 = TLB_NOTES;
/** A CR3 load does not drop it. */
const KIND_GLOBAL: i32 = 1;
/** Part of a page of 2 MiB: INVLPG of any address in that drops it. */
const KIND_LARGE: i32 = 2;
const EIGHT_LARGE: u64 = 0x0202_0202_0202_0202;
let anyGlobal: i32 = 1;

/** How many entries may be written through, by physical page number (hashed): a u16 each. */
const WRITERS: i32 = KINDS + TABLES * TLB_ENTRIES;
const WRITER_SLOTS: i32 = 16384;

/** Entries filled with pages that are not global since the last CR3 load; beyond the bound they are not noted. */
const LOCAL: i32 = WRITERS + 2 * WRITER_SLOTS;
const LOCAL_BOUND: i32 = 4096;
let localCount: i32 = LOCAL_BOUND + 1;

// Filters say what pages (hashed) the tables, or the jump cache, may know parts of. A slot is a u32: the epoch in which
// it was noted << NOTE_BITS | what was noted (NOTE_*). The upper half of the address space, which kernels map with global
// pages, has the upper half of a filter and epochs of its own.
const NOTE_BITS: u32 = 3;
/** Code at CPL 3, and code below. */
const NOTE_USER_CODE: u32 = 1;
const NOTE_SUPERVISOR_CODE: u32 = 2;
/** Anything at all. */
const NOTE_PARTS: u32 = 4;
/** Pages of 4 KiB that hold code. */
const CODE_FILTER: i32 = LOCAL + 4 * LOCAL_BOUND;
const CODE_HALF: i32 = 8192;
/** Pages of 2 MiB. */
const LARGE_FILTER: i32 = CODE_FILTER + 8 * CODE_HALF;
const LARGE_HALF: i32 = 2048;
/** Larger ones. */
const HUGE_FILTER: i32 = LARGE_FILTER + 8 * LARGE_HALF;
const HUGE_HALF: i32 = 512;
const FILTER_BYTES: i32 = 8 * (CODE_HALF + LARGE_HALF + HUGE_HALF);
const MAX_EPOCH: u32 = 0x1fff_ffff;
let lowEpoch: u32 = 1;
let highEpoch: u32 = 1;
/** A global page of the lower half is known: a CR3 load begins no new epoch there. */
let lowGlobal: bool = false;
/** 1 = code below CPL 3 may have been found through a page that is not global since the last CR3 load. */
let localCode: i32 = 1;

function filterSlot(filter: i32, half: i32, va: u64, shift: u64): i32 {
  const page = va >> shift;
  const hash = ((page ^ (page >> 11) ^ (page >> 22)) as i32) & (half - 1);
  return filter + ((hash + ((va >> 63) as i32) * half) << 2);
}

function epochOf(va: u64): u32 {
  return va >> 63 != 0 ? highEpoch : lowEpoch;
}

function note(filter: i32, half: i32, va: u64, shift: u64, what: u32): void {
  const slot = filterSlot(filter, half, va, shift);
  const epoch = epochOf(va);
  const before = load<u32>(slot);
  store<u32>(slot, (before >> NOTE_BITS == epoch ? before : epoch << NOTE_BITS) | what);
}

function noted(filter: i32, half: i32, va: u64, shift: u64): u32 {
  const found = load<u32>(filterSlot(filter, half, va, shift));
  return found >> NOTE_BITS == epochOf(va) ? found & ((1 << NOTE_BITS) - 1) : 0;
}

/** Forgets what the filters say of the lower half of the address space, and of all of it if `both`. */
function nextEpoch(both: bool): void {
  if (lowEpoch == MAX_EPOCH || highEpoch == MAX_EPOCH) {
    // All over again. Where the upper half is to be kept it takes a flush.
    if (!both) {
      tlbFlush();
      return;
    }
    memory.fill(CODE_FILTER, 0, FILTER_BYTES);
    lowEpoch = 0;
    highEpoch = 0;
  }
  lowEpoch++;
  if (both) highEpoch++;
}

// --- entries ------------------------------------------------------------------------------------------------------

function writersOf(pfn: u32): i32 {
  return WRITERS + (((pfn as i32) & (WRITER_SLOTS - 1)) << 1);
}

/** The write tag of an entry goes. */
function forgetWriter(entry: i32): void {
  if ((load<u64>(entry + TLB_WRITE) & ~PAGE_MASK) != 0) return;
  const writers = writersOf(load<u32>(entry + TLB_PFN));
  store<u16>(writers, load<u16>(writers) - 1);
}

/** Where in the memory the kind of an entry is. */
function kindOf(entry: i32): i32 {
  return KINDS + ((entry - TLB) >> TLB_ENTRY_SHIFT);
}

/** The size of a page, as walks tell it. */
export const SIZE_4K: i32 = 0;
export const SIZE_2M: i32 = 1;
export const SIZE_HUGE: i32 = 2;

/**
 * Fills the entry of the page of `va` in a table, with the tags that are allowed.
 * @param address of the page in our memory
 * @param size of the page that it is part of: SIZE_*
 */
export function putEntry(
  tlb: i32,
  va: u64,
  readable: bool,
  writable: bool,
  executable: bool,
  address: i32,
  pfn: u32,
  size: i32,
  global: bool,
): void {
  const tag = va & PAGE_MASK;
  const entry = entryOf(tlb, va);
  forgetWriter(entry);
  store<u64>(entry + TLB_READ, readable ? tag : TLB_INVALID);
  store<u64>(entry + TLB_WRITE, writable ? tag : TLB_INVALID);
  store<u64>(entry + TLB_EXEC, executable ? tag : TLB_INVALID);
  store<i32>(entry + TLB_ADDEND, address - (tag as i32));
  store<u32>(entry + TLB_PFN, pfn);
  if (writable) {
    const writers = writersOf(pfn);
    store<u16>(writers, load<u16>(writers) + 1);
  }
  const part = (1 as u64) << (((va >> 12) & (TLB_ENTRIES - 1)) / PART_ENTRIES);
  const used = USED + ((tlb - TLB) / TLB_BYTES) * 8;
  store<u64>(used, load<u64>(used) | part);

  let code: u32 = 0;
  if (executable) {
    code = tlb == TLB_USER ? NOTE_USER_CODE : NOTE_SUPERVISOR_CODE;
    if (!global && tlb != TLB_USER) localCode = 1;
  }
  if (size == SIZE_HUGE) note(HUGE_FILTER, HUGE_HALF, va, 30, NOTE_PARTS);
  else if (size == SIZE_2M) note(LARGE_FILTER, LARGE_HALF, va, 21, NOTE_PARTS | code);
  else if (code != 0) note(CODE_FILTER, CODE_HALF, va, 12, code);
  if (global) {
    anyGlobal = 1;
    if (va >> 63 == 0) lowGlobal = true;
  } else if (localCount < LOCAL_BOUND) {
    store<i32>(LOCAL + (localCount << 2), entry);
    localCount++;
  } else localCount = LOCAL_BOUND + 1;
  store<u8>(kindOf(entry), (global ? KIND_GLOBAL : 0) | (size == SIZE_2M ? KIND_LARGE : 0));
}

function dropEntry(entry: i32): void {
  forgetWriter(entry);
  store<u64>(entry + TLB_READ, TLB_INVALID);
  store<u64>(entry + TLB_WRITE, TLB_INVALID);
  store<u64>(entry + TLB_EXEC, TLB_INVALID);
}

/** Parts of a table that may hold something, a bit each. */
function usedOf(table: i32): u64 {
  return load<u64>(USED + 8 * table);
}

/** The first entry of the first of these parts. */
function firstPart(table: i32, used: u64): i32 {
  return TLB + table * TLB_BYTES + (ctz(used) as i32) * PART_BYTES;
}

// --- the jump cache -----------------------------------------------------------------------------------------------

/** Stamps hold 23 bits. */
const MAX_GENERATION: u32 = 0x7f_ffff;

/** What the jump cache knows of code at CPL 3 (offset 4), or below (0), is not to be believed any more. */
function nextGeneration(offset: i32): void {
  let next = (load<u32>(JUMP_GENERATION + offset) + 1) & MAX_GENERATION;
  if (next == 0) {
    // all over again: what was stamped with any of them must go
    next = 1;
    memory.fill(JUMP_CACHE, 0, JUMP_CACHE_ENTRIES << 4);
    forgetLinks();
  }
  store<u32>(JUMP_GENERATION + offset, next);
}

/** Nothing that the jump cache knows is to be believed any more: mappings have changed, or regions are gone. */
export function newGeneration(): void {
  nextGeneration(0);
  nextGeneration(4);
}

// --- flushes ------------------------------------------------------------------------------------------------------

/** Empties all TLBs, global pages too. */
export function tlbFlush(): void {
  newGeneration();
  store<u32>(STAT_TLB_FLUSH, load<u32>(STAT_TLB_FLUSH) + 1);
  for (let table = 0; table < TABLES; table++) {
    // A tag of 0101…01h is no page address either, so that a fill does.
    for (let used = usedOf(table); used != 0; used &= used - 1)
      memory.fill(firstPart(table, used), 1, PART_BYTES);
    store<u64>(USED + 8 * table, 0);
  }
  memory.fill(WRITERS, 0, 2 * WRITER_SLOTS);
  anyGlobal = 0;
  lowGlobal = false;
  localCode = 0;
  localCount = 0;
  nextEpoch(true);
  forgetDirectories();
  forgetKeys();
}

/** A new address space: empties the TLBs of all but global pages. SDM 3A 4.10.4.1. */
export function tlbFlushLocal(): void {
  if (anyGlobal == 0) {
    tlbFlush();
    return;
  }
  // A kernel's code lies in global pages: what is known of it stays.
  nextGeneration(4);
  if (localCode != 0) nextGeneration(0);
  localCode = 0;
  store<u32>(STAT_TLB_FLUSH, load<u32>(STAT_TLB_FLUSH) + 1);
  forgetDirectories();
  if (localCount <= LOCAL_BOUND) {
    for (let n = 0; n < localCount; n++) dropLocal(load<i32>(LOCAL + (n << 2)));
  } else {
    for (let table = 0; table < TABLES; table++) {
      for (let used = usedOf(table); used != 0; used &= used - 1) {
        const first = firstPart(table, used);
        for (let n = 0; n < PART_ENTRIES; n++) dropLocal(first + (n << TLB_ENTRY_SHIFT));
      }
    }
  }
  localCount = 0;
  if (!lowGlobal) nextEpoch(false);
}

/** Drops an entry, unless it is of a global page. */
function dropLocal(entry: i32): void {
  if ((load<u8>(kindOf(entry)) & KIND_GLOBAL) == 0) dropEntry(entry);
}

/** Forgets everything, whatever is noted (reset, a restored state). */
export function tlbReset(): void {
  for (let table = 0; table < TABLES; table++) store<u64>(USED + 8 * table, ~(0 as u64));
  tlbFlush();
}

/** INVLPG: forgets the page that `va` lies in, all of it when it is a large one. */
export function tlbFlushPage(va: u64): void {
  forgetDirectories();
  if (noted(HUGE_FILTER, HUGE_HALF, va, 30) != 0) {
    tlbFlush();
    return;
  }
  const large = noted(LARGE_FILTER, LARGE_HALF, va, 21);
  // Pages of data are no concern of the jump cache's, nor are a program's to what it knows of the kernel.
  const code = large | noted(CODE_FILTER, CODE_HALF, va, 12);
  if (code & NOTE_USER_CODE) nextGeneration(4);
  if (code & NOTE_SUPERVISOR_CODE) nextGeneration(0);
  for (let table = 0; table < TABLES; table++) {
    const entry = entryOf(TLB + table * TLB_BYTES, va);
    if (isOf(entry, va, 12)) dropEntry(entry);
  }
  if (large != 0) dropLarge(va);
}

/** Drops the entries that came of a page of 2 MiB around `va`: they are among 512 in a row. */
function dropLarge(va: u64): void {
  const first = ((va >> 12) as i32) & (TLB_ENTRIES - 1) & ~511;
  for (let table = 0; table < TABLES; table++) {
    if (usedOf(table) == 0) continue;
    const from = table * TLB_ENTRIES + first;
    for (let n = from; n < from + 512; n += 8) {
      if ((load<u64>(KINDS + n) & EIGHT_LARGE) == 0) continue;
      for (let k = n; k < n + 8; k++) {
        const entry = TLB + (k << TLB_ENTRY_SHIFT);
        if ((load<u8>(KINDS + k) & KIND_LARGE) == 0 || !isOf(entry, va, 21)) continue;
        dropEntry(entry);
        store<u8>(KINDS + k, 0);
      }
    }
  }
}

/** Whether any tag of an entry is of the page of `va`, which has 1 << `shift` bytes. */
function isOf(entry: i32, va: u64, shift: u64): bool {
  const page = va >> shift;
  if (load<u64>(entry + TLB_READ) >> shift == page) return true;
  return load<u64>(entry + TLB_WRITE) >> shift == page || load<u64>(entry + TLB_EXEC) >> shift == page;
}

/** A page now holds decoded instructions: writes to it must take the slow path. */
export function tlbDropWrite(pfn: u32): void {
  if (load<u16>(writersOf(pfn)) == 0) return;
  for (let table = 0; table < TABLES; table++) {
    for (let used = usedOf(table); used != 0; used &= used - 1) {
      const first = firstPart(table, used);
      for (let entry = first; entry < first + PART_BYTES; entry += 1 << TLB_ENTRY_SHIFT) {
        if (load<u32>(entry + TLB_PFN) != pfn) continue;
        forgetWriter(entry);
        store<u64>(entry + TLB_WRITE, TLB_INVALID);
      }
    }
  }
}
