// Paging: walks the guest's page tables and fills the TLBs. Not here: what happens at a page's border, in device
// memory and in pages that hold decoded instructions (memory.ts). Source: Intel SDM volume 3, chapter 4.
import {
  CR0,
  CR2,
  CR3,
  CR4,
  EFER,
  IN_REGION,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  JUMP_GENERATION,
  MODE,
  MODE_CODE,
  PAGE_CODE,
  PAGE_ROM,
  PAGE_TABLE,
  PAGE_TABLE_ENTRIES,
  STAT_TLB_FLUSH,
  STAT_TLB_MISS,
  TLB,
  TLB_ADDEND,
  TLB_BASE,
  TLB_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_INVALID,
  TLB_PFN,
  TLB_READ,
  TLB_WRITE,
} from '../layout';
import { forgetLinks } from './blocks';
import {
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  VEC_GP,
  VEC_PF,
} from './bits';
import { pageWatched, watching } from './debug';
import { raise } from './exceptions';
import { host_unsupported } from './host';
import { KEY_ACCESS, KEY_WRITE, forbiddenByKey, forgetKeys } from './protection-keys';
import { UNSUPPORTED_TABLE_OUTSIDE_RAM } from './unsupported';

/** Kinds of access; times 8 they are the offsets of the TLB's tags. */
export const ACCESS_READ = 0;
export const ACCESS_WRITE = 1;
export const ACCESS_EXEC = 2;

const PTE_P: u64 = 1;
const PTE_W: u64 = 2;
const PTE_U: u64 = 4;
const PTE_A: u64 = 0x20;
const PTE_D: u64 = 0x40;
const PTE_PS: u64 = 0x80;
const PTE_G: u64 = 0x100;
/** Physical address bits 12..39. */
const PTE_ADDRESS: u64 = 0xff_ffff_f000;
/** Bits 40..51: beyond our 40 physical bits, hence reserved. */
const PTE_RESERVED: u64 = 0x000f_ff00_0000_0000;
/** Bits 52..62: ignored or the protection key in 4-level and 5-level paging, reserved in PAE paging. */
const PTE_HIGH: u64 = 0x7ff0_0000_0000_0000;
const PTE_NX: u64 = 0x8000_0000_0000_0000;

const TLB_SMAP = TLB;
const TLB_SUPERVISOR = TLB + TLB_BYTES;
const TLB_USER = TLB + 2 * TLB_BYTES;

const PAGE_MASK: u64 = ~(4095 as u64);

/** Physical address of the device page that the last walk ended in (tlbFill returned -1). */
export let mmioPhys: u64 = 0;
/** PAGE_* of the page that the last tlbFill ended in. */
export let lastFlags: i32 = 0;
/** Physical page number of the last walk. */
export let lastPfn: u32 = 0;
/** 1 when the last #GP raised was for a non-canonical address: it is a #SS if the access was to the stack. */
export let canonicalFault: i32 = 0;

export function clearCanonicalFault(): void {
  canonicalFault = 0;
}

// What the last walk found.
let walkPa: u64 = 0;
let walkUser: i32 = 0;
let walkWrite: i32 = 0;
let walkNx: i32 = 0;
let walkLeaf: u64 = 0;
/** Address of the leaf entry in our memory; 0 without paging. */
let walkSlot: i32 = 0;
/** Leaf entries have 4 bytes. */
let walkNarrow: i32 = 0;
let walkLarge: i32 = 0;

// Which tables hold anything, and which large pages they hold parts of (hashed; INVLPG must find all of a page).
let tablesUsed: i32 = 7;
const FILTER: i32 = 4096;
const LARGE_FILTER: i32 = memory.data(4096, 8) as i32;
const HUGE_FILTER: i32 = memory.data(4096, 8) as i32;
/** Pages (hashed) that have had an execute tag since the last flush of everything: the jump cache may know them. */
const CODE_FILTER: i32 = memory.data(4096, 8) as i32;
/** What it has of them: code at CPL 3, code below. */
const USER_CODE: i32 = 1;
const SUPERVISOR_CODE: i32 = 2;
/** 1 = code below CPL 3 may have been found through a page that is not global since the last CR3 load. */
let localCode: i32 = 1;
/** Entries filled with pages that are not global since the last CR3 load; beyond the bound they are not noted. */
const LOCAL_BOUND: i32 = 1024;
const LOCAL: i32 = memory.data(4096, 8) as i32;
let localCount: i32 = LOCAL_BOUND + 1;
/** One byte for each entry: 1 = a global page, which a CR3 load does not drop; and which tables have any. */
const GLOBAL: i32 = memory.data(6144, 8) as i32;
let tablesGlobal: i32 = 7;

/**
 * Place of an address in a filter: the upper half of the address space, which kernels map with large pages, has the
 * upper half of the filter to itself. All bits above `shift` count.
 */
function filterSlot(va: u64, shift: u64): i32 {
  const page = va >> shift;
  return (((page ^ (page >> 11) ^ (page >> 22)) as i32) & 2047) | (((va >> 63) as i32) << 11);
}

function largeSlot(va: u64): i32 {
  return LARGE_FILTER + filterSlot(va, 21);
}

function hugeSlot(va: u64): i32 {
  return HUGE_FILTER + filterSlot(va, 30);
}

function codeSlot(va: u64): i32 {
  return CODE_FILTER + filterSlot(va, 12);
}

/** The TLB that belongs to implicit supervisor accesses (GDT, IDT, TSS); SMAP does not heed RFLAGS.AC for them. */
export function systemTlb(): i32 {
  return (load<u32>(CR4) & CR4_SMAP) != 0 ? TLB_SMAP : TLB_SUPERVISOR;
}

/** The TLB for `cpl` under the present CR4, with RFLAGS.AC as given. */
export function tlbFor(cpl: i32, ac: i32): i32 {
  if (cpl == 3) return TLB_USER;
  return (load<u32>(CR4) & CR4_SMAP) != 0 && ac == 0 ? TLB_SMAP : TLB_SUPERVISOR;
}

/** PAGE_TABLE's entry of a physical address. */
export function pageEntry(pa: u64): u32 {
  const pfn = pa >> 12;
  return pfn < (PAGE_TABLE_ENTRIES as u64) ? load<u32>(PAGE_TABLE + ((pfn as i32) << 2)) : 0;
}

/** Where a paging-structure entry lies in our memory, 0 when it is not in RAM. */
function slotOf(pa: u64): i32 {
  const entry = pageEntry(pa);
  if (entry == 0) {
    host_unsupported(UNSUPPORTED_TABLE_OUTSIDE_RAM, (pa >> 12) as i32);
    return 0;
  }
  return ((entry & 0xfffff000) | ((pa as u32) & 0xfff)) as i32;
}

/**
 * Page tables that walks have come to lately (a paging-structure cache, SDM 3A 4.10.3): 64 entries by va >> 21, of
 * u64 (va >> 21) + 1 and u64 address of the table | what the levels above allow (DIRECTORY_*).
 */
const DIRECTORY: i32 = memory.data(1024, 8) as i32;
const DIRECTORY_USER: u64 = 1;
const DIRECTORY_WRITE: u64 = 2;
const DIRECTORY_NX: u64 = 4;

/** 1 when the last walk began at a remembered table. */
let walkShort: i32 = 0;

function directorySlot(va: u64): i32 {
  return DIRECTORY + (((va >> 21) as i32) & 63) * 16;
}

/**
 * A page fault never comes of what was remembered: the walk is made again in full (SDM 3A 4.10.4.1, which kernels
 * rely on when they give more rights without INVLPG). True = it is to be repeated.
 */
function forgetShort(va: u64): bool {
  if (walkShort == 0) return false;
  walkShort = 0;
  store<u64>(directorySlot(va), 0);
  return true;
}

function forgetDirectories(): void {
  memory.fill(DIRECTORY, 0, 1024);
}

/** 4-level, 5-level and PAE paging. 1 = mapped, 0 = not present, -1 = a reserved bit is set. SDM 3A 4.4, 4.5. */
function walkWide(va: u64, top: i32, root: u64): i32 {
  const noExecute = (load<u32>(EFER) & EFER_NXE) != 0;
  const reserved = top == 30 ? PTE_RESERVED | PTE_HIGH : PTE_RESERVED;
  let table = root;
  let shift = top;
  let user = 1;
  let write = 1;
  let nx = 0;
  const known = directorySlot(va);
  walkShort = 0;
  if (load<u64>(known) == (va >> 21) + 1) {
    const directory = load<u64>(known, 8);
    table = directory & PTE_ADDRESS;
    user = (directory & DIRECTORY_USER) != 0 ? 1 : 0;
    write = (directory & DIRECTORY_WRITE) != 0 ? 1 : 0;
    nx = (directory & DIRECTORY_NX) != 0 ? 1 : 0;
    shift = 12;
    walkShort = 1;
  }
  while (true) {
    // A PAE page-directory-pointer table has 4 entries and 32-byte alignment; elsewhere it is 512 and 4 KiB.
    const slot = slotOf(table + (((va >> shift) & 511) << 3));
    if (slot == 0) return 0;
    const entry = load<u64>(slot);
    if ((entry & PTE_P) == 0) return 0;
    if ((entry & reserved) != 0 || ((entry & PTE_NX) != 0 && !noExecute)) return -1;
    const pointer = top == 30 && shift == 30;
    if (pointer) {
      // SDM table 4-8: no permissions in a PAE PDPTE; bits 1, 2, 5..8 and 63 are reserved.
      if ((entry & 0x8000_0000_0000_01e6) != 0) return -1;
    } else {
      if ((entry & PTE_U) == 0) user = 0;
      if ((entry & PTE_W) == 0) write = 0;
      if ((entry & PTE_NX) != 0) nx = 1;
    }
    const large = shift > 12 && !pointer && (entry & PTE_PS) != 0;
    if (large && shift > 30) return -1;
    if (large || shift == 12) {
      const offset: u64 = ((1 as u64) << shift) - 1;
      // The address bits below a large page's size are reserved, except bit 12 (PAT).
      if (large && (entry & offset & PTE_ADDRESS & ~(0x1000 as u64)) != 0) return -1;
      walkPa = (entry & PTE_ADDRESS & ~offset) | (va & offset);
      walkUser = user;
      walkWrite = write;
      walkNx = nx;
      walkLeaf = entry;
      walkSlot = slot;
      walkNarrow = 0;
      walkLarge = shift == 12 ? 0 : shift == 21 ? 1 : 2;
      return 1;
    }
    if (!pointer && (entry & PTE_A) == 0) store<u64>(slot, entry | PTE_A);
    table = entry & PTE_ADDRESS;
    if (shift == 21) {
      let rights: u64 = user != 0 ? DIRECTORY_USER : 0;
      if (write != 0) rights |= DIRECTORY_WRITE;
      if (nx != 0) rights |= DIRECTORY_NX;
      store<u64>(known, (va >> 21) + 1);
      store<u64>(known, table | rights, 8);
    }
    shift -= 9;
  }
}

/** 32-bit paging with 4 KiB and 4 MiB pages. SDM 3A 4.3. */
function walkNarrowTables(va: u64): i32 {
  const pdSlot = slotOf((load<u64>(CR3) & 0xffff_f000) + ((va >> 20) & 0xffc));
  if (pdSlot == 0) return 0;
  const pde = load<u32>(pdSlot);
  if ((pde & 1) == 0) return 0;
  walkNx = 0;
  walkNarrow = 1;
  if ((pde & 0x80) != 0 && (load<u32>(CR4) & CR4_PSE) != 0) {
    // PSE-36 with 40 physical bits: bits 13..20 are address bits 32..39, bit 21 is reserved.
    if ((pde & 0x200000) != 0) return -1;
    walkPa = ((((pde >> 13) & 0xff) as u64) << 32) | (pde & 0xffc00000) | (va & 0x3fffff);
    walkUser = (pde >> 2) & 1;
    walkWrite = (pde >> 1) & 1;
    walkLeaf = pde;
    walkSlot = pdSlot;
    walkLarge = 2;
    return 1;
  }
  const slot = slotOf(((pde & 0xfffff000) as u64) + ((va >> 10) & 0xffc));
  if (slot == 0) return 0;
  const pte = load<u32>(slot);
  if ((pte & 1) == 0) return 0;
  if ((pde & 0x20) == 0) store<u32>(pdSlot, pde | 0x20);
  walkPa = ((pte & 0xfffff000) as u64) | (va & 0xfff);
  walkUser = ((pde & pte) >> 2) & 1;
  walkWrite = ((pde & pte) >> 1) & 1;
  walkLeaf = pte;
  walkSlot = slot;
  walkLarge = 0;
  return 1;
}

/**
 * Raises #PF (not in a region, where the interpreter will find it again). `present`: 0, 1, 9 (reserved bit) or 33
 * (protection key).
 */
function pageFault(va: u64, access: i32, user: i32, present: i32): i32 {
  if (load<i32>(IN_REGION) != 0) return 0;
  let error = present | (user << 2);
  if (access == ACCESS_WRITE) error |= 2;
  if (access == ACCESS_EXEC) {
    const cr4 = load<u32>(CR4);
    const nx = (load<u32>(EFER) & EFER_NXE) != 0 && (cr4 & CR4_PAE) != 0;
    if (nx || (cr4 & CR4_SMEP) != 0) error |= 16;
  }
  store<u64>(CR2, va);
  raise(VEC_PF, error);
  return 0;
}

/** Is every bit above the implemented ones a copy of the highest of them? SDM 1 3.3.7.1. */
export function isCanonical(va: u64): i32 {
  const unused: i64 = (load<u32>(CR4) & CR4_LA57) != 0 ? 7 : 16;
  return ((((va as i64) << unused) >> unused) as u64) == va ? 1 : 0;
}

/** Walks for the present paging mode; a fault (already raised) gives 0. */
function walk(va: u64, access: i32, user: i32): i32 {
  const cr4 = load<u32>(CR4);
  let result: i32;
  if ((load<u32>(EFER) & EFER_LMA) != 0) {
    if (!isCanonical(va)) {
      if (load<i32>(IN_REGION) == 0) {
        raise(VEC_GP, 0);
        canonicalFault = 1;
      }
      return 0;
    }
    result = walkWide(va, (cr4 & CR4_LA57) != 0 ? 48 : 39, load<u64>(CR3) & PTE_ADDRESS);
  } else if ((cr4 & CR4_PAE) != 0) {
    result = walkWide(va & 0xffff_ffff, 30, load<u64>(CR3) & 0xffff_ffe0);
  } else {
    walkShort = 0;
    result = walkNarrowTables(va & 0xffff_ffff);
  }
  if (result > 0) return 1;
  if (forgetShort(va)) return walk(va, access, user);
  return pageFault(va, access, user, result < 0 ? 9 : 0);
}

/**
 * Translates `va` for `access` with the rights of the present TLB_BASE, sets accessed and dirty bits and fills the
 * TLB. Returns the address in our memory, 0 for a fault (raised unless IN_REGION), -1 for device memory (mmioPhys).
 */
export function tlbFill(va: u64, access: i32): i32 {
  store<u32>(STAT_TLB_MISS, load<u32>(STAT_TLB_MISS) + 1);
  const tlb = load<i32>(TLB_BASE);
  const user: i32 = tlb == TLB_USER ? 1 : 0;
  const cr0 = load<u32>(CR0);
  let readable = true;
  let writable = true;
  let executable = true;
  let clean = false;
  let global = false;
  if ((cr0 & CR0_PG) != 0) {
    if (walk(va, access, user) == 0) return 0;
    const walkedUser = walkUser != 0;
    if (user != 0) readable = walkedUser;
    else if (tlb == TLB_SMAP) readable = !walkedUser;
    writable = readable && (walkWrite != 0 || (user == 0 && (cr0 & CR0_WP) == 0));
    executable = walkNx == 0 && (user != 0 ? walkedUser : !walkedUser || (load<u32>(CR4) & CR4_SMEP) == 0);
    const forbidden = forbiddenByKey(walkLeaf, walkedUser, user != 0);
    let wrong = 1;
    if ((forbidden & KEY_ACCESS) != 0) {
      readable = false;
      writable = false;
    } else if ((forbidden & KEY_WRITE) != 0) writable = false;
    if ((forbidden & KEY_ACCESS) != 0 ? access != ACCESS_EXEC : forbidden != 0 && access == ACCESS_WRITE)
      wrong |= 32;
    const allowed = access == ACCESS_READ ? readable : access == ACCESS_WRITE ? writable : executable;
    if (!allowed) return forgetShort(va) ? tlbFill(va, access) : pageFault(va, access, user, wrong);
    let bits = PTE_A;
    if (access == ACCESS_WRITE) bits |= PTE_D;
    if ((walkLeaf & bits) != bits) {
      walkLeaf |= bits;
      if (walkNarrow) store<u32>(walkSlot, walkLeaf as u32);
      else store<u64>(walkSlot, walkLeaf);
    }
    clean = (walkLeaf & PTE_D) == 0;
    if (walkLarge == 1) store<u8>(largeSlot(va), 1);
    else if (walkLarge == 2) store<u8>(hugeSlot(va), 1);
    global = (walkLeaf & PTE_G) != 0 && (load<u32>(CR4) & CR4_PGE) != 0;
  } else {
    walkPa = va & 0xffff_ffff;
  }

  lastPfn = (walkPa >> 12) as u32;
  const page = pageEntry(walkPa);
  lastFlags = page & 0xfff;
  if (page == 0) {
    mmioPhys = walkPa;
    return -1;
  }
  const tag = va & PAGE_MASK;
  const entry = tlb + ((((va >> 12) as i32) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT);
  const special = (page & (PAGE_ROM | PAGE_CODE)) != 0;
  // Pages with data breakpoints stay out, so that every access is seen.
  if (watching != 0 && pageWatched(tag)) {
    readable = false;
    writable = false;
  }
  store<u64>(entry + TLB_READ, readable ? tag : TLB_INVALID);
  store<u64>(entry + TLB_WRITE, writable && !clean && !special ? tag : TLB_INVALID);
  store<u64>(entry + TLB_EXEC, executable ? tag : TLB_INVALID);
  const base = (page & 0xfffff000) as i32;
  store<i32>(entry + TLB_ADDEND, base - (tag as i32));
  store<u32>(entry + TLB_PFN, lastPfn);
  const bit = tlb == TLB_SMAP ? 1 : tlb == TLB_SUPERVISOR ? 2 : 4;
  tablesUsed |= bit;
  if (executable) {
    const slot = codeSlot(va);
    store<u8>(slot, load<u8>(slot) | (user == 0 ? SUPERVISOR_CODE : USER_CODE));
    if (!global && user == 0) localCode = 1;
  }
  if (global) tablesGlobal |= bit;
  else if (localCount < LOCAL_BOUND) {
    store<i32>(LOCAL + (localCount << 2), entry);
    localCount++;
  } else localCount = LOCAL_BOUND + 1;
  store<u8>(GLOBAL + ((entry - TLB) >> TLB_ENTRY_SHIFT), global ? 1 : 0);
  return base + ((va as i32) & 4095);
}

/** Like tlbFill, but looks into the TLB first. Afterwards lastFlags tells about the page. */
export function translate(va: u64, access: i32): i32 {
  const entry = load<i32>(TLB_BASE) + ((((va >> 12) as i32) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT);
  if (load<u64>(entry + (access << 3)) == (va & PAGE_MASK)) {
    lastFlags = 1;
    return (va as i32) + load<i32>(entry + TLB_ADDEND);
  }
  return tlbFill(va, access);
}

/** Physical address to fetch instructions from, -1 with the exception raised. */
export function execPhys(va: u64): i64 {
  const entry = load<i32>(TLB_BASE) + ((((va >> 12) as i32) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT);
  if (load<u64>(entry + TLB_EXEC) == (va & PAGE_MASK)) {
    return (((load<u32>(entry + TLB_PFN) as u64) << 12) | (va & 0xfff)) as i64;
  }
  const address = tlbFill(va, ACCESS_EXEC);
  if (address == 0) return -1;
  return ((walkPa & PAGE_MASK) | (va & 0xfff)) as i64;
}

/** The linear address as the present mode has it: 32 bits outside 64-bit mode. */
export function wrapLinear(va: u64): u64 {
  return (load<i32>(MODE) & MODE_CODE) == 2 ? va : va & 0xffff_ffff;
}

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

/** Empties all TLBs, global pages too. */
export function tlbFlush(): void {
  newGeneration();
  store<u32>(STAT_TLB_FLUSH, load<u32>(STAT_TLB_FLUSH) + 1);
  // A tag of 0101…01h is no page address either, so that a fill does.
  if ((tablesUsed & 1) != 0) memory.fill(TLB_SMAP, 1, TLB_BYTES);
  if ((tablesUsed & 2) != 0) memory.fill(TLB_SUPERVISOR, 1, TLB_BYTES);
  if ((tablesUsed & 4) != 0) memory.fill(TLB_USER, 1, TLB_BYTES);
  if (tablesGlobal != 0) memory.fill(GLOBAL, 0, 3 * TLB_ENTRIES);
  tablesUsed = 0;
  tablesGlobal = 0;
  localCode = 0;
  localCount = 0;
  memory.fill(LARGE_FILTER, 0, FILTER);
  memory.fill(HUGE_FILTER, 0, FILTER);
  memory.fill(CODE_FILTER, 0, FILTER);
  forgetDirectories();
  forgetKeys();
}

/** A new address space: empties the TLBs of all but global pages. SDM 3A 4.10.4.1. */
export function tlbFlushLocal(): void {
  if (tablesGlobal == 0) {
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
    for (let n = 0; n < localCount; n++) {
      const entry = load<i32>(LOCAL + (n << 2));
      if (load<u8>(GLOBAL + ((entry - TLB) >> TLB_ENTRY_SHIFT)) == 0) dropEntry(entry);
    }
  } else {
    for (let n = 0; n < 3 * TLB_ENTRIES; n++) {
      if (load<u8>(GLOBAL + n) == 0) dropEntry(TLB + (n << TLB_ENTRY_SHIFT));
    }
  }
  localCount = 0;
}

/** Forgets everything, whatever the bookkeeping says (reset, a restored state). */
export function tlbReset(): void {
  tablesUsed = 7;
  tablesGlobal = 7;
  tlbFlush();
}

function dropEntry(entry: i32): void {
  store<u64>(entry + TLB_READ, TLB_INVALID);
  store<u64>(entry + TLB_WRITE, TLB_INVALID);
  store<u64>(entry + TLB_EXEC, TLB_INVALID);
}

/** INVLPG: forgets the page that `va` lies in, all of it when it is a large one. */
export function tlbFlushPage(va: u64): void {
  forgetDirectories();
  if (load<u8>(hugeSlot(va)) != 0) {
    tlbFlush();
    return;
  }
  const index = ((va >> 12) as i32) & (TLB_ENTRIES - 1);
  const whole = load<u8>(largeSlot(va)) != 0;
  // Pages of data are no concern of the jump cache's, nor are a program's to what it knows of the kernel.
  const code = whole ? USER_CODE | SUPERVISOR_CODE : (load<u8>(codeSlot(va)) as i32);
  if (code & USER_CODE) nextGeneration(4);
  if (code & SUPERVISOR_CODE) nextGeneration(0);
  for (let table = 0; table < 3; table++) {
    const base = TLB + table * TLB_BYTES;
    if (!whole) {
      dropEntry(base + (index << TLB_ENTRY_SHIFT));
      continue;
    }
    // 2 MiB are 512 consecutive indices.
    const first = base + ((index & ~511) << TLB_ENTRY_SHIFT);
    for (let n = 0; n < 512; n++) dropEntry(first + (n << TLB_ENTRY_SHIFT));
  }
}

/** A page now holds decoded instructions: writes to it must take the slow path. */
export function tlbDropWrite(pfn: u32): void {
  for (let entry = TLB; entry < TLB + 3 * TLB_BYTES; entry += 1 << TLB_ENTRY_SHIFT) {
    if (load<u32>(entry + TLB_PFN) == pfn) store<u64>(entry + TLB_WRITE, TLB_INVALID);
  }
}
