// Breakpoints of the debug registers: on instructions, checked by the dispatcher before each of them while any is
// enabled, and on data, whose pages stay out of the TLB so that every access passes memory.ts. I/O breakpoints are
// not implemented. Source: Intel SDM volume 3, 17.2 and 17.3.
import { ATTENTION, ATTENTION_DEBUG, BREAK, DR, EFLAGS, HALTED, IN_REGION, RIP, SEG_BASE } from './names';
import { FLAG_RF, VEC_DB } from './bits';
import { deliverException, deliverTrap, raise } from './exceptions';
import { host_unsupported } from './host';
import { tlbFlush } from './tlb';
import { wrapRip } from './record';
import { UNSUPPORTED_BREAKPOINT } from './unsupported';

const DR6 = DR + 48;
const DR7 = DR + 56;
/** Bits 0..3: breakpoint n waits for instructions. */
let instructions: i32 = 0;
/** The same for data: for writes, and for reads too. */
let writes: i32 = 0;
let reads: i32 = 0;
/** Nonzero while any data breakpoint is enabled. */
export let watching: i32 = 0;
/** Data breakpoints that the present instruction has hit: a trap after it. */
let hits: i32 = 0;

/** Length of a data breakpoint from LENn: 0 1 2 3 = 1 2 8 4 bytes. */
function lengthOf(n: i32): i32 {
  const code = (load<u32>(DR7) >> (18 + n * 4)) & 3;
  return code == 2 ? 8 : code + 1;
}

/** To be called after DR0..DR3 or DR7 have changed. */
export function debugChanged(): void {
  const dr7 = load<u32>(DR7);
  const before = watching;
  instructions = 0;
  writes = 0;
  reads = 0;
  for (let n = 0; n < 4; n++) {
    if (((dr7 >> (n * 2)) & 3) == 0) continue;
    const kind = (dr7 >> (16 + n * 4)) & 3;
    if (kind == 0) instructions |= 1 << n;
    else if (kind == 2) host_unsupported(UNSUPPORTED_BREAKPOINT, dr7);
    else {
      writes |= 1 << n;
      if (kind == 3) reads |= 1 << n;
    }
  }
  watching = writes;
  hits = 0;
  const attention = load<i32>(ATTENTION) & ~ATTENTION_DEBUG;
  store<i32>(ATTENTION, instructions != 0 ? attention | ATTENTION_DEBUG : attention);
  if ((before | watching) != 0) tlbFlush();
}

/** Does the page hold anything that a data breakpoint watches? */
export function pageWatched(page: u64): bool {
  for (let n = 0; n < 4; n++) {
    if (((watching >> n) & 1) != 0 && ((load<u64>(DR + (n << 3)) ^ page) & ~(4095 as u64)) == 0) return true;
  }
  return false;
}

/**
 * An access to [va, va + size) is about to be made. True = it hits a breakpoint and we are in a region, which must
 * be left; outside regions a hit is noted and the block ends after the instruction.
 */
export function watched(va: u64, size: i32, write: bool): bool {
  const mask = write ? writes : reads;
  let hit = 0;
  for (let n = 0; n < 4; n++) {
    if (((mask >> n) & 1) == 0) continue;
    const length = lengthOf(n);
    const from = load<u64>(DR + (n << 3)) & ~((length - 1) as u64);
    if (va < from + length && from < va + size) hit |= 1 << n;
  }
  if (hit == 0) return false;
  if (load<i32>(IN_REGION) != 0) return true;
  hits |= hit;
  store<i32>(BREAK, 1);
  store<i32>(ATTENTION, load<i32>(ATTENTION) | ATTENTION_DEBUG);
  return false;
}

/** The instruction has not come to its end: what it hit does not count. */
export function forgetHits(): void {
  hits = 0;
}

/** A breakpoint's #DB tells in bits 0..3 of DR6 which it was; the other bits only software clears. SDM 3B 17.2.3. */
function setHits(mask: i32): void {
  store<u64>(DR6, (load<u64>(DR6) & ~(15 as u64)) | mask);
}

/** Moves the hits of the last instruction to DR6. False = there were none. */
export function reportHits(): bool {
  if (hits == 0) return false;
  setHits(hits);
  hits = 0;
  if (instructions == 0) store<i32>(ATTENTION, load<i32>(ATTENTION) & ~ATTENTION_DEBUG);
  return true;
}

/**
 * ATTENTION_DEBUG, before an instruction: delivers the trap of the data breakpoints that the last one has hit, or the
 * fault of an instruction breakpoint at this one. 1 = RIP has changed.
 */
export function debugEvent(): i32 {
  if (reportHits()) {
    deliverTrap();
    return 1;
  }
  if (instructions == 0 || load<i32>(HALTED) != 0) {
    if (instructions == 0) store<i32>(ATTENTION, load<i32>(ATTENTION) & ~ATTENTION_DEBUG);
    return 0;
  }
  // RF lets one instruction pass. SDM 3B 17.3.1.1.
  const flags = load<i32>(EFLAGS);
  if ((flags & FLAG_RF) != 0) {
    store<i32>(EFLAGS, flags & ~FLAG_RF);
    return 0;
  }
  const linear = wrapRip(load<u64>(RIP) + load<u64>(SEG_BASE + 8));
  let hit = 0;
  for (let n = 0; n < 4; n++) {
    if (((instructions >> n) & 1) != 0 && load<u64>(DR + (n << 3)) == linear) hit |= 1 << n;
  }
  if (hit == 0) return 0;
  setHits(hit);
  raise(VEC_DB, -1);
  // Pushed with RF, so that returning to the instruction executes it.
  store<i32>(EFLAGS, flags | FLAG_RF);
  deliverException();
  return 1;
}
