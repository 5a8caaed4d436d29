// Paging: walks the guest's page tables and fills the TLBs (tlb.ts). Not here: what happens at a page's border, in device
// memory and in pages that hold decoded instructions (memory.ts). Source: Intel SDM volume 3, chapter 4.
import {
  CR0,
  CR2,
  CR3,
  CR4,
  EFER,
  IN_REGION,
  MODE,
  MODE_CODE,
  PAGE_CODE,
  PAGE_ROM,
  PAGE_TABLE,
  PAGE_TABLE_ENTRIES,
  STAT_TLB_MISS,
  TLB_ADDEND,
  TLB_BASE,
  TLB_EXEC,
  TLB_PFN,
} from '../layout';
import {
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  VEC_GP,
  VEC_PF,
} from './bits';
import { pageWatched, watching } from './debug';
import {
  DIRECTORY_NX,
  DIRECTORY_USER,
  DIRECTORY_WRITE,
  directoryOf,
  forgetDirectory,
  rememberDirectory,
} from './directories';
import { raise } from './exceptions';
import { host_unsupported } from './host';
import { KEY_ACCESS, KEY_WRITE, forbiddenByKey } from './protection-keys';
import { entryOf, putEntry, SIZE_2M, SIZE_4K, SIZE_HUGE, TLB_SMAP, TLB_USER } from './tlb';
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
/** SIZE_* of the page. */
let walkSize: i32 = 0;

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

/** 1 when the last walk began at a remembered table. */
let walkShort: i32 = 0;

/**
 * A page fault never comes of what was remembered: the walk is made again in full (SDM 3A 4.10.4.1, which kernels
 * rely on when they give more rights without INVLPG). True = it is to be repeated.
 */
function forgetShort(va: u64): bool {
  if (walkShort == 0) return false;
  walkShort = 0;
  forgetDirectory(va);
  return true;
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
  const directory = directoryOf(va);
  walkShort = 0;
  if (directory != 0) {
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
      walkSize = shift == 12 ? SIZE_4K : shift == 21 ? SIZE_2M : SIZE_HUGE;
      return 1;
    }
    if (!pointer && (entry & PTE_A) == 0) store<u64>(slot, entry | PTE_A);
    table = entry & PTE_ADDRESS;
    if (shift == 21) {
      let rights: u64 = user != 0 ? DIRECTORY_USER : 0;
      if (write != 0) rights |= DIRECTORY_WRITE;
      if (nx != 0) rights |= DIRECTORY_NX;
      rememberDirectory(va, table | rights);
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
    walkSize = SIZE_HUGE;
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
  walkSize = SIZE_4K;
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
    global = (walkLeaf & PTE_G) != 0 && (load<u32>(CR4) & CR4_PGE) != 0;
  } else {
    walkPa = va & 0xffff_ffff;
    walkSize = SIZE_4K;
  }

  lastPfn = (walkPa >> 12) as u32;
  const page = pageEntry(walkPa);
  lastFlags = page & 0xfff;
  if (page == 0) {
    mmioPhys = walkPa;
    return -1;
  }
  const special = (page & (PAGE_ROM | PAGE_CODE)) != 0;
  // Pages with data breakpoints stay out, so that every access is seen.
  if (watching != 0 && pageWatched(va & PAGE_MASK)) {
    readable = false;
    writable = false;
  }
  const base = (page & 0xfffff000) as i32;
  writable = writable && !clean && !special;
  putEntry(tlb, va, readable, writable, executable, base, lastPfn, walkSize, global);
  return base + ((va as i32) & 4095);
}

/** Like tlbFill, but looks into the TLB first. Afterwards lastFlags tells about the page. */
export function translate(va: u64, access: i32): i32 {
  const entry = entryOf(load<i32>(TLB_BASE), va);
  if (load<u64>(entry + (access << 3)) == (va & PAGE_MASK)) {
    lastFlags = 1;
    return (va as i32) + load<i32>(entry + TLB_ADDEND);
  }
  return tlbFill(va, access);
}

/** Physical address to fetch instructions from, -1 with the exception raised. */
export function execPhys(va: u64): i64 {
  const entry = entryOf(load<i32>(TLB_BASE), va);
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
