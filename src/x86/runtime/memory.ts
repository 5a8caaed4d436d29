// Guest memory by linear address, off the fast path: TLB misses, accesses across a page's border, device memory,
// and writes into pages that hold decoded instructions. Also the plain read and write functions of the runtime.
import {
  BOUNCE,
  BREAK,
  CODE_LINES,
  IN_REGION,
  PAGE_CODE,
  PAGE_ROM,
  RMW_SIZE,
  RMW_VA,
  STAT_MMIO,
  STAT_SMC,
  TLB_ADDEND,
  TLB_BASE,
  TLB_WRITE,
} from '../layout';
import { watched, watching } from './debug';
import { host_invalidate, host_mmioRead, host_mmioWrite, host_scattered } from './host';
import {
  ACCESS_READ,
  ACCESS_WRITE,
  lastFlags,
  lastPfn,
  mmioPhys,
  tlbFill,
  translate,
  wrapLinear,
} from './mmu';
import { forgetTsc } from './msr';
import { entryOf, systemTlb } from './tlb';

const PAGE_MASK: u64 = ~(4095 as u64);
/** Where a value to be stored waits while it goes out in parts. */
const SCRATCH: i32 = memory.data(64, 16) as i32;

/** 0 after one of the read or write functions below has failed; set to 1 by `begin`. */
export let ok: i32 = 1;
export function begin(): void {
  ok = 1;
}
export function failed(): void {
  ok = 0;
}

/** Largest naturally aligned power of two, 4 at most, that starts at `pa` and has no more than `left` bytes. */
function partSize(pa: u64, left: i32): i32 {
  let size = 4;
  while (size > left || ((pa as i32) & (size - 1)) != 0) size >>= 1;
  return size;
}

/** Reads `size` bytes of device memory to `to`, low addresses first, in aligned parts of 1, 2 or 4 bytes. */
function readDevice(pa: u64, to: i32, size: i32): void {
  store<u32>(STAT_MMIO, load<u32>(STAT_MMIO) + 1);
  forgetTsc();
  while (size > 0) {
    const part = partSize(pa, size);
    const value = host_mmioRead(pa as f64, part);
    if (part == 4) store<i32>(to, value);
    else if (part == 2) store<i16>(to, value as i16);
    else store<u8>(to, value as u8);
    pa += part;
    to += part;
    size -= part;
  }
}

function writeDevice(pa: u64, from: i32, size: i32): void {
  store<u32>(STAT_MMIO, load<u32>(STAT_MMIO) + 1);
  forgetTsc();
  while (size > 0) {
    const part = partSize(pa, size);
    const value: i32 = part == 4 ? load<i32>(from) : part == 2 ? (load<u16>(from) as i32) : load<u8>(from);
    host_mmioWrite(pa as f64, part, value);
    pa += part;
    from += part;
    size -= part;
  }
}

/** The decoded lines of page `pfn` that [offset, offset + size) touches. */
function linesTouched(pfn: u32, offset: i32, size: i32): u64 {
  const first = offset >> 6;
  const last = (offset + size - 1) >> 6;
  const mask = ((((2 as u64) << (last - first)) - 1) << first) as u64;
  return load<u64>(CODE_LINES + ((pfn as i32) << 3)) & mask;
}

/** To be called after a write to a page with PAGE_CODE, outside regions. */
export function codeWritten(pfn: u32, offset: i32, size: i32): void {
  if (linesTouched(pfn, offset, size) == 0) return;
  store<u32>(STAT_SMC, load<u32>(STAT_SMC) + 1);
  host_invalidate(pfn, offset, size);
  store<i32>(BREAK, 1);
}

/** One page's part of a read, after `translate` gave `address`. */
function readPart(address: i32, to: i32, size: i32): void {
  if (address == -1) readDevice(mmioPhys, to, size);
  else memory.copy(to, address, size);
}

/** Reads [va, va + size), size up to 16 and across pages at will, to `to`. 0 = failed as loadSlow. */
export function readBytes(va: u64, to: i32, size: i32): i32 {
  if (watching != 0 && watched(va, size, false)) return 0;
  const offset = (va as i32) & 4095;
  const first = offset + size > 4096 ? 4096 - offset : size;
  const low = translate(va, ACCESS_READ);
  if (low == 0) return 0;
  if (low == -1 && load<i32>(IN_REGION) != 0) return 0;
  if (first == size) {
    readPart(low, to, size);
    return 1;
  }
  const lowDevice = mmioPhys;
  const high = translate(wrapLinear(va + first), ACCESS_READ);
  if (high == 0) return 0;
  if (high == -1 && load<i32>(IN_REGION) != 0) return 0;
  const highDevice = mmioPhys;
  if (low == -1) readDevice(lowDevice, to, first);
  else memory.copy(to, low, first);
  if (high == -1) readDevice(highDevice, to + first, size - first);
  else memory.copy(to + first, high, size - first);
  return 1;
}

/** One page's part of a write: `flags` and `pfn` as translate left them. */
function writePart(address: i32, device: u64, flags: i32, pfn: u32, from: i32, size: i32): void {
  if (address == -1) {
    writeDevice(device, from, size);
    return;
  }
  if ((flags & PAGE_ROM) != 0) return;
  memory.copy(address, from, size);
  if ((flags & PAGE_CODE) != 0) codeWritten(pfn, address & 4095, size);
}

/** May this part be written now? Not from a region when it is a device's or holds decoded instructions. */
export function partAllowed(address: i32, offset: i32, size: i32): bool {
  if (address == 0) return false;
  if (load<i32>(IN_REGION) == 0) return true;
  if (address == -1) return false;
  return (lastFlags & PAGE_CODE) == 0 || linesTouched(lastPfn, offset, size) == 0;
}

/** Writes [va, va + size), size up to 64 and across pages at will, from `from`. Both pages are checked first. */
export function writeBytes(va: u64, from: i32, size: i32): i32 {
  if (watching != 0 && watched(va, size, true)) return 0;
  const offset = (va as i32) & 4095;
  const first = offset + size > 4096 ? 4096 - offset : size;
  const low = translate(va, ACCESS_WRITE);
  if (!partAllowed(low, offset, first)) return 0;
  const lowDevice = mmioPhys;
  const lowFlags = lastFlags;
  const lowPfn = lastPfn;
  if (first == size) {
    writePart(low, lowDevice, lowFlags, lowPfn, from, size);
    return 1;
  }
  const high = translate(wrapLinear(va + first), ACCESS_WRITE);
  if (!partAllowed(high, 0, size - first)) return 0;
  const highDevice = mmioPhys;
  const highFlags = lastFlags;
  const highPfn = lastPfn;
  writePart(low, lowDevice, lowFlags, lowPfn, from, first);
  writePart(high, highDevice, highFlags, highPfn, from + first, size - first);
  return 1;
}

/**
 * Address from which `size` (1 2 4 8 16) bytes of `va` can be read: in RAM, or BOUNCE after putting them together
 * there. 0 = failed: exception raised, or IN_REGION and not plain RAM.
 */
export function loadSlow(va: u64, size: i32): i32 {
  if (((va as i32) & 4095) + size <= 4096 && watching == 0) {
    const address = translate(va, ACCESS_READ);
    if (address != -1) return address;
  }
  return readBytes(va, BOUNCE, size) != 0 ? BOUNCE : 0;
}

/** What groupSlow is asked for: reads only, a write now, or a read now and a write later. */
const GROUP_READ = 0;
const GROUP_WRITE = 1;

/**
 * For a region that checks several accesses together: the address of [va, va + span) when all of it is RAM in one page
 * that may be accessed as `kind` says without more ado. 0 when it is not; `region` is told when that may well happen
 * again. A write that is yet to come does not set the dirty bit: such a page is left to the interpreter once.
 */
export function groupSlow(va: u64, span: i32, kind: i32, region: i32): i32 {
  if (watching != 0) return 0;
  if (((va as i32) & 4095) + span > 4096) {
    host_scattered(region);
    return 0;
  }
  const address = translate(va, kind == GROUP_WRITE ? ACCESS_WRITE : ACCESS_READ);
  if (address == 0 || address == -1 || kind == GROUP_READ) return address == -1 ? 0 : address;
  const entry = entryOf(load<i32>(TLB_BASE), va);
  if (load<u64>(entry + TLB_WRITE) == (va & PAGE_MASK)) return address;
  if ((lastFlags & (PAGE_CODE | PAGE_ROM)) != 0) host_scattered(region);
  return 0;
}

/** Address of RAM that may be written without more ado, or 0 when writeBytes must decide. */
function plainWrite(va: u64, size: i32): i32 {
  if (((va as i32) & 4095) + size > 4096 || watching != 0) return 0;
  const entry = entryOf(load<i32>(TLB_BASE), va);
  if (load<u64>(entry + TLB_WRITE) != (va & PAGE_MASK)) {
    const address = tlbFill(va, ACCESS_WRITE);
    if (address == 0 || address == -1 || (lastFlags & (PAGE_CODE | PAGE_ROM)) != 0) return 0;
    return address;
  }
  return (va as i32) + load<i32>(entry + TLB_ADDEND);
}

/** storeSlow*: 1 = done, 0 = failed as for loadSlow. */
export function storeSlow8(va: u64, value: i32): i32 {
  const address = plainWrite(va, 1);
  if (address != 0) {
    store<u8>(address, value as u8);
    return 1;
  }
  store<i32>(SCRATCH, value);
  return writeBytes(va, SCRATCH, 1);
}

export function storeSlow16(va: u64, value: i32): i32 {
  const address = plainWrite(va, 2);
  if (address != 0) {
    store<u16>(address, value as u16);
    return 1;
  }
  store<i32>(SCRATCH, value);
  return writeBytes(va, SCRATCH, 2);
}

export function storeSlow32(va: u64, value: i32): i32 {
  const address = plainWrite(va, 4);
  if (address != 0) {
    store<i32>(address, value);
    return 1;
  }
  store<i32>(SCRATCH, value);
  return writeBytes(va, SCRATCH, 4);
}

export function storeSlow64(va: u64, value: i64): i32 {
  const address = plainWrite(va, 8);
  if (address != 0) {
    store<i64>(address, value);
    return 1;
  }
  store<i64>(SCRATCH, value);
  return writeBytes(va, SCRATCH, 8);
}

export function storeSlow128(va: u64, low: i64, high: i64): i32 {
  const address = plainWrite(va, 16);
  if (address != 0) {
    store<i64>(address, low);
    store<i64>(address + 8, high);
    return 1;
  }
  store<i64>(SCRATCH, low);
  store<i64>(SCRATCH + 8, high);
  return writeBytes(va, SCRATCH, 16);
}

/** Would a write of [va, va + size), size up to 4096, succeed now? 1, or 0 as for loadSlow. Writes nothing. */
export function writeOk(va: u64, size: i32): i32 {
  const offset = (va as i32) & 4095;
  const first = offset + size > 4096 ? 4096 - offset : size;
  if (!partAllowed(translate(va, ACCESS_WRITE), offset, first)) return 0;
  if (first == size) return 1;
  return partAllowed(translate(wrapLinear(va + first), ACCESS_WRITE), 0, size - first) ? 1 : 0;
}

/**
 * Address to load from and then store to for a read-modify-write of `size` bytes: RAM itself, or BOUNCE with
 * RMW_VA and RMW_SIZE set, to be followed by rmwCommit. 0 = failed as for loadSlow.
 */
export function rmwSlow(va: u64, size: i32): i32 {
  const address = plainWrite(va, size);
  if (address != 0) return address;
  if (writeOk(va, size) == 0 || readBytes(va, BOUNCE, size) == 0) return 0;
  store<u64>(RMW_VA, va);
  store<i32>(RMW_SIZE, size);
  return BOUNCE;
}

/** Writes BOUNCE back. rmwSlow has made sure that it can be done. */
export function rmwCommit(): i32 {
  return writeBytes(load<u64>(RMW_VA), BOUNCE, load<i32>(RMW_SIZE));
}

// Reading and writing for the runtime's own use: a failure clears `ok` and gives 0.

export function read8(va: u64): u32 {
  const address = loadSlow(va, 1);
  if (address != 0) return load<u8>(address);
  ok = 0;
  return 0;
}

export function read16(va: u64): u32 {
  const address = loadSlow(va, 2);
  if (address != 0) return load<u16>(address);
  ok = 0;
  return 0;
}

export function read32(va: u64): u32 {
  const address = loadSlow(va, 4);
  if (address != 0) return load<u32>(address);
  ok = 0;
  return 0;
}

export function read64(va: u64): u64 {
  const address = loadSlow(va, 8);
  if (address != 0) return load<u64>(address);
  ok = 0;
  return 0;
}

/** `size` 1, 2, 4 or 8; zero-extended. */
export function readSized(va: u64, size: i32): u64 {
  if (size == 8) return read64(va);
  if (size == 4) return read32(va);
  if (size == 2) return read16(va);
  return read8(va);
}

export function write8(va: u64, value: u32): void {
  if (storeSlow8(va, value) == 0) ok = 0;
}

export function write16(va: u64, value: u32): void {
  if (storeSlow16(va, value) == 0) ok = 0;
}

export function write32(va: u64, value: u32): void {
  if (storeSlow32(va, value) == 0) ok = 0;
}

export function write64(va: u64, value: u64): void {
  if (storeSlow64(va, value) == 0) ok = 0;
}

export function writeSized(va: u64, size: i32, value: u64): void {
  if (size == 8) write64(va, value);
  else if (size == 4) write32(va, value as u32);
  else if (size == 2) write16(va, value as u32);
  else write8(va, value as u32);
}

// The same with the rights of an implicit supervisor access (descriptor tables, TSS), whatever CPL is.

export function systemRead(va: u64, size: i32): u64 {
  const tlb = load<i32>(TLB_BASE);
  store<i32>(TLB_BASE, systemTlb());
  const value = readSized(va, size);
  store<i32>(TLB_BASE, tlb);
  return value;
}

export function systemWrite(va: u64, size: i32, value: u64): void {
  const tlb = load<i32>(TLB_BASE);
  store<i32>(TLB_BASE, systemTlb());
  writeSized(va, size, value);
  store<i32>(TLB_BASE, tlb);
}
