// The dispatcher: from the instruction pointer to decoded blocks and translated regions, over and over, until the
// budget is used up or somebody wants attention. Blocks and regions are found by physical address, so that they
// outlive address spaces.
import {
  ATTENTION,
  ATTENTION_DEBUG,
  ATTENTION_INTR,
  ATTENTION_NMI,
  ATTENTION_SHUTDOWN,
  ATTENTION_STOP,
  ATTENTION_TRAP,
  BLOCK_COUNTDOWN,
  BLOCK_HEADER,
  BLOCK_NEXT_PAGE,
  BLOCK_REGION,
  BLOCK_STATE,
  BLOCK_TARGETS,
  BLOCK_USED,
  BREAK,
  BUDGET,
  COUNTED_HANDLERS,
  EFLAGS,
  END_BLOCK,
  ENTRY_CHECK,
  EXCEPTION,
  EXIT_COUNTS,
  FAULTED,
  FAULT_RECORD,
  FIRST_HANDLERS,
  HALTED,
  INTERP_BLOCK,
  INTERP_BUDGET,
  IN_REGION,
  INTERPRET,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  JUMP_GENERATION,
  JUMP_GENERATION_SHIFT,
  JUMP_TO_BLOCK,
  LEFT_REGION,
  MODE,
  MODE_CODE,
  MODE_CPL3,
  NEXT,
  REC_BYTES,
  REC_HANDLER,
  REMAPPED,
  RIP,
  SEG_BASE,
  SHADOW,
  SHADOW_STACK,
  SINGLE,
  STAT_INTERP_BLOCKS,
  STAT_INTERP_INSNS,
  STAT_REGION_EXITS,
  STAT_REGION_RUNS,
  STOP_HANDLER,
  TARGETS,
  TLB_BASE,
  TLB_EXEC,
  TLB_PFN,
  VBASE,
} from '../layout';
import { findBlock, makeBlock } from './blocks';
import { debugEvent } from './debug';
import { deliverException, deliverInterrupt, deliverNmi, raise, trapStep } from './exceptions';
import { execPhys, tlbFill } from './mmu';
import { forgetTsc } from './msr';
import { insnRip, nextRip, stackFault } from './record';
import { entryOf } from './tlb';

/** Decodes the block at a physical address, mapped at `linear`. Its header; 0 when an exception was raised instead. */
declare function host_decode(physical: f64, mode: i32, linearLow: i32, linearHigh: i32): i32;
/** This block is hot. May give it a region. */
declare function host_hot(block: i32, linearLow: i32, linearHigh: i32): void;
/** The region of this block did not run: one of its pages is mapped elsewhere. */
declare function host_remapped(block: i32): void;
/** This region, by its table index, has been left PATIENCE times because of an access. */
declare function host_impatient(region: i32): void;
/** The vector to deliver, or -1. */
declare function host_acknowledge(): i32;

/** Why `run` came back: RunResult of cpu.ts. */
const RESULT_BUDGET = 0;
const RESULT_HALTED = 1;
const RESULT_SHUTDOWN = 2;
const RESULT_STOPPED = 3;

/** What of a handler's result is the status; the rest is the address of its record. */
const STATUS = 15;

const IF: i32 = 0x200;

/**
 * Regions leave at an access that misses the TLB, rather than call for it: calls take registers away. Where that has
 * happened so often it has cost as much as making the region anew, with calls.
 */
const PATIENCE: u32 = 1024;
/** How often regions were left so: a u32 each, by table index; some share one. */
const COUNTERS = 16384;
const leaves: usize = memory.data(4 * COUNTERS);

function callHandler(index: i32, record: i32): i32 {
  return call_indirect<i32>(index, record);
}

function callRegion(index: i32, entry: i32, vbase: u64): i32 {
  return call_indirect<i32>(index, entry, vbase);
}

/** What wants attention between blocks; the `RESULT_*` to return, GO_ON, or AGAIN when something was delivered. */
const GO_ON = -1;
const AGAIN = -2;

function attend(attention: i32, shadow: i32): i32 {
  if (attention & ATTENTION_DEBUG && shadow != SHADOW_STACK && debugEvent() != 0) return AGAIN;
  if (attention & ATTENTION_SHUTDOWN) return RESULT_SHUTDOWN;
  if (attention & ATTENTION_STOP) {
    store<i32>(ATTENTION, attention & ~ATTENTION_STOP);
    return RESULT_STOPPED;
  }
  if (shadow == 0) {
    if (attention & ATTENTION_NMI) {
      store<i32>(ATTENTION, attention & ~ATTENTION_NMI);
      store<i32>(HALTED, 0);
      deliverNmi();
      return AGAIN;
    }
    if (attention & ATTENTION_INTR && load<i32>(EFLAGS) & IF) {
      const vector = host_acknowledge();
      if (vector >= 0) {
        store<i32>(HALTED, 0);
        deliverInterrupt(vector);
        return AGAIN;
      }
    }
  }
  return load<i32>(HALTED) ? RESULT_HALTED : GO_ON;
}

/** The region that was to be entered last did not run, because a page of it is mapped elsewhere. */
let remapped = false;

/** Notes for reports at which instruction a region was left. */
function countExit(record: i32): void {
  const handler = load<i32>(record, REC_HANDLER);
  if (handler < COUNTED_HANDLERS)
    store<u32>(EXIT_COUNTS + 4 * handler, load<u32>(EXIT_COUNTS + 4 * handler) + 1);
}

/**
 * Runs a region, and the regions and blocks that it leads to; false when one of the regions could not, and the
 * interpreter must go on. `check`: how its pages are mapped has not been looked at yet.
 */
function enterRegion(region: i32, vbase: u64, check: i32): bool {
  store<i32>(IN_REGION, 1);
  store<i32>(STAT_REGION_RUNS, load<i32>(STAT_REGION_RUNS) + 1);
  return finish(callRegion(<i32>(<u32>region >> 10), (region & 1023) | check, vbase));
}

/**
 * Runs a block, and the blocks and regions that it leads to; false when one of the regions could not, and the
 * interpreter must go on.
 */
function interpretBlock(block: i32, vbase: u64): bool {
  store<i32>(INTERP_BLOCK, block);
  store<u64>(VBASE, vbase);
  store<i32>(INTERP_BUDGET, load<i32>(BUDGET));
  store<i32>(STAT_INTERP_BLOCKS, load<i32>(STAT_INTERP_BLOCKS) + 1);
  const record = block + BLOCK_HEADER;
  return finish(callHandler(load<i32>(record, REC_HANDLER), record));
}

/**
 * What comes back from a block or a region need not be of the one that was called: they go on to each other by tail
 * calls (go-on.ts, chain.ts). IN_REGION tells which of them it is of.
 */
function finish(result: i32): bool {
  result = followHandlers(result);
  if (load<i32>(IN_REGION) != 0) return finishRegion(result);
  finishBlock(result);
  return true;
}

/** Handlers that may have to stop come back after each instruction: goes on with the next until one has stopped. */
function followHandlers(result: i32): i32 {
  while (load<i32>(IN_REGION) == 0 && (result & STATUS) == NEXT && load<i32>(BREAK) == 0) {
    const record = (result & ~STATUS) + REC_BYTES;
    result = callHandler(load<i32>(record, REC_HANDLER), record);
  }
  return result;
}

function finishRegion(status: i32): bool {
  store<i32>(IN_REGION, 0);
  if (status == NEXT) return true;
  if (status == FAULTED) {
    const record = load<i32>(FAULT_RECORD);
    countExit(record);
    store<u64>(RIP, insnRip(record));
    stackFault(record);
    deliverException();
    return true;
  }
  if (status == INTERPRET) {
    interpretRest();
    return true;
  }
  remapped = status == REMAPPED;
  return false;
}

/** The interpreter is done with a block; notes where an indirect branch at the end went. */
function finishBlock(result: i32): void {
  const block = load<i32>(INTERP_BLOCK);
  countInterpreted(result, block + BLOCK_HEADER, load<i32>(INTERP_BUDGET));
  const targets = load<i32>(block, BLOCK_TARGETS);
  if (targets != 0)
    store<u64>(targets + ((load<i32>(block, BLOCK_COUNTDOWN) & (TARGETS - 1)) << 3), load<u64>(RIP));
}

/** Goes on where a region was left at an instruction, until the end of its block. */
function interpretRest(): void {
  const record = load<i32>(FAULT_RECORD);
  countExit(record);
  store<i32>(STAT_REGION_EXITS, load<i32>(STAT_REGION_EXITS) + 1);
  const region = load<i32>(LEFT_REGION);
  const counter = leaves + ((region & (COUNTERS - 1)) << 2);
  const count = load<u32>(counter) + 1;
  store<u32>(counter, count == PATIENCE ? 0 : count);
  interpretAlone(record, load<u64>(RIP) & ~0xfff, false);
  if (count == PATIENCE) host_impatient(region);
}

export function run(): i32 {
  forgetTsc();
  let interpretOnce = false;
  for (;;) {
    const shadow = load<i32>(SHADOW);
    const attention = load<i32>(ATTENTION);
    if ((attention | shadow | load<i32>(HALTED)) != 0) {
      const result = attend(attention, shadow);
      if (result == AGAIN) continue;
      if (result != GO_ON) return result;
    }
    if (load<i32>(BUDGET) <= 0) return RESULT_BUDGET;

    const mode = load<i32>(MODE);
    let linear = load<u64>(RIP) + load<u64>(SEG_BASE + 8);
    if ((mode & MODE_CODE) != 2) linear &= 0xffffffff;
    const jump = JUMP_CACHE + ((<i32>(linear ^ (linear >> 12)) & (JUMP_CACHE_ENTRIES - 1)) << 4);
    const generation = JUMP_GENERATION + ((mode & MODE_CPL3) >> JUMP_GENERATION_SHIFT);
    const now = load<u32>(generation);
    const stamp = (now << 9) | mode;
    const single = (shadow | (attention & (ATTENTION_TRAP | ATTENTION_DEBUG))) != 0;
    if (load<u64>(jump) == linear && load<u32>(jump, 8) == stamp && !single) {
      const found = load<i32>(jump, 12);
      if (found >= 0) {
        if (!interpretOnce) {
          interpretOnce = !enterRegion(found, linear & ~0xfff, 0);
          continue;
        }
      } else {
        const block = found & ~JUMP_TO_BLOCK;
        const countdown = load<i32>(block, BLOCK_COUNTDOWN) - 1;
        if (load<i32>(block, BLOCK_STATE) == 0 && countdown != 0) {
          store<i32>(block, countdown, BLOCK_COUNTDOWN);
          interpretOnce = !interpretBlock(block, linear & ~0xfff);
          continue;
        }
      }
    }
    const tlb = entryOf(load<i32>(TLB_BASE), linear);
    let physical: i64;
    if (load<u64>(tlb, TLB_EXEC) == (linear & ~0xfff))
      physical = ((<i64>load<u32>(tlb, TLB_PFN)) << 12) | (<i64>linear & 0xfff);
    else {
      physical = execPhys(linear);
      if (physical < 0) {
        deliverException();
        continue;
      }
    }
    let block = findBlock(physical, mode);
    if (block == 0) block = makeBlock(physical, mode);
    if (block == 0) {
      block = host_decode(<f64>physical, mode, <i32>linear, <i32>(linear >> 32));
      if (block == 0) {
        deliverException();
        continue;
      }
    }

    const region = load<i32>(block, BLOCK_REGION);
    if (region != 0 && !interpretOnce && !single) {
      store<i32>(block, 1, BLOCK_USED);
      // From the jump cache on, the region runs without a look at its pages: JUMP_GENERATION stands for them.
      remapped = false;
      const before = load<u32>(generation);
      interpretOnce = !enterRegion(region, linear & ~0xfff, ENTRY_CHECK);
      if (interpretOnce && remapped) host_remapped(block);
      else if (load<u32>(generation) == before && load<i32>(block, BLOCK_REGION) == region) {
        store<u64>(jump, linear);
        store<u32>(jump, stamp, 8);
        store<i32>(jump, region, 12);
      }
      continue;
    }
    interpretOnce = false;

    const nextPage = load<u32>(block, BLOCK_NEXT_PAGE);
    if (nextPage != 0) {
      // The last instruction was read across the page boundary: is the next page still the same one?
      const second = execPhys((linear & ~0xfff) + 0x1000);
      if (second < 0) {
        deliverException();
        continue;
      }
      if (<u32>(second >> 12) + 1 != nextPage) {
        if (!host_decode(<f64>physical, mode, <i32>linear, <i32>(linear >> 32))) deliverException();
        continue;
      }
    }
    const countdown = load<i32>(block, BLOCK_COUNTDOWN) - 1;
    store<i32>(block, countdown, BLOCK_COUNTDOWN);
    if (countdown == 0) {
      // it may have emptied the record area: look the block up again
      host_hot(block, <i32>linear, <i32>(linear >> 32));
      continue;
    }
    store<i32>(SHADOW, 0);
    if (load<i32>(block, BLOCK_STATE) == 0) {
      store<u64>(jump, linear);
      store<u32>(jump, stamp, 8);
      store<i32>(jump, block | JUMP_TO_BLOCK, 12);
    }
    if (single) {
      interpretAlone(block + BLOCK_HEADER, linear & ~0xfff, true);
      if (attention & ATTENTION_TRAP) trapAfter();
    } else interpretOnce = !interpretBlock(block, linear & ~0xfff);
  }
  // oxlint-disable-next-line no-unreachable -- AssemblyScript does not see that the loop never ends
  return RESULT_STOPPED;
}

/** Whether linear page `va` is mapped executable to physical page `pfn`; raises nothing. For regions of several pages. */
export function pageIs(va: u64, pfn: u32): i32 {
  const entry = entryOf(load<i32>(TLB_BASE), va);
  if (load<u64>(entry, TLB_EXEC) != va) {
    if (tlbFill(va, 2) == 0) return 0;
    if (load<u64>(entry, TLB_EXEC) != va) return 0;
  }
  return load<u32>(entry, TLB_PFN) == pfn ? 1 : 0;
}

let stepFailed = false;

/** Runs decoded records to the end of their block, or only the first. */
function interpretAlone(first: i32, vbase: u64, single: bool): void {
  if (single) {
    memory.copy(SINGLE, first, REC_BYTES);
    store<i32>(SINGLE + REC_BYTES, load<i32>(STOP_HANDLER), REC_HANDLER);
    const handler = load<i32>(SINGLE, REC_HANDLER);
    const alone = handler < COUNTED_HANDLERS ? load<i32>(FIRST_HANDLERS + 4 * handler) : 0;
    if (alone != 0) store<i32>(SINGLE, alone, REC_HANDLER);
    first = SINGLE;
  }
  // nothing goes on from here to another block
  store<i32>(INTERP_BLOCK, 0);
  store<u64>(VBASE, vbase);
  store<i32>(STAT_INTERP_BLOCKS, load<i32>(STAT_INTERP_BLOCKS) + 1);
  const budget = load<i32>(BUDGET);
  const result = callHandler(load<i32>(first, REC_HANDLER), first);
  countInterpreted(single ? result : followHandlers(result), first, budget);
}

/**
 * The interpreter stops at the record in `result`: takes the instructions from `first` on out of the budget, counts those
 * since it was `budget`, and delivers the exception if the last has raised one.
 */
function countInterpreted(result: i32, first: i32, budget: i32): void {
  const status = result & STATUS;
  const record = result & ~STATUS;
  const left = load<i32>(BUDGET) - ((record - first) / REC_BYTES + 1);
  store<i32>(BUDGET, left);
  store<u64>(STAT_INTERP_INSNS, load<u64>(STAT_INTERP_INSNS) + <u64>(budget - left));
  stepFailed = status == EXCEPTION;
  if (status == NEXT) store<u64>(RIP, nextRip(record));
  else if (stepFailed) {
    store<u64>(RIP, insnRip(record));
    stackFault(record);
    deliverException();
  }
  store<i32>(BREAK, 0);
}

/** RFLAGS.TF was set before the instruction that has just run: #DB, unless it faulted. */
function trapAfter(): void {
  if (!stepFailed && load<i32>(SHADOW) != SHADOW_STACK) trapStep();
}

/** Record at the end of a block that runs on: continues at the record's own address. */
export function op_block_end(record: i32): i32 {
  store<u64>(RIP, insnRip(record));
  // not an instruction of the guest's
  store<i32>(BUDGET, load<i32>(BUDGET) + 1);
  return END_BLOCK;
}

/** An undefined encoding. */
export function op_invalid(_record: i32): i32 {
  return raise(6, -1);
}

/** An instruction of more than 15 bytes. */
export function op_too_long(_record: i32): i32 {
  return raise(13, 0);
}

/** An SSE or MMX instruction with CR0.TS set. */
export function op_not_available(_record: i32): i32 {
  return raise(7, -1);
}
