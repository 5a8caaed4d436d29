/**
 * From one block of the interpreter's straight to the next, or to a region, without going back to the dispatcher: a
 * function that handlers of jumps call in place of returning. It knows where control went after the block last
 * (layout.ts, BLOCK_LINK), else asks the jump cache, and calls the region, or the handler of the next block's first
 * record, in its own place. To the dispatcher goes what leads to code that is not known yet, and whatever wants
 * attention.
 */
import type { Expr } from '../../wasm/expr.ts';
import { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';

const LINK_STAMP = L.BLOCK_LINK + 8;
const LINK_BLOCK = L.BLOCK_LINK + 12;

/**
 * The function, with the signature of a handler: takes the record that ended the block, RIP is set.
 * @param handler index of that signature in the module
 * @param region that of a region's
 */
export function goOn(handler: number, region: number): FunctionBuilder {
  const f = new FunctionBuilder(['i32'], 'i32');
  const record = f.param(0);
  const zero = w.i32(0);
  const leave = (condition: Expr): void => f.ifRarely(condition, () => f.return(w.or(record, L.END_BLOCK)));
  // two neighbours each: ATTENTION and SHADOW; IN_REGION, which is 0 here, and HALTED
  const wanted = w.or(w.load64(zero, L.ATTENTION), w.load64(zero, L.IN_REGION));
  leave(w.ne(wanted, w.i64(0)));
  const block = f.tmp(w.load32(zero, L.INTERP_BLOCK));
  // a handler may have set BREAK and jumped
  leave(w.or(w.eqz(block), w.load32(zero, L.BREAK)));
  const mode = f.tmp(w.load32(zero, L.MODE));
  // outside 64-bit code the base of CS would come in
  leave(w.ne(w.and(mode, L.MODE_CODE), 2));
  const count = w.add(w.shrU(w.sub(record, w.add(block, L.BLOCK_HEADER)), RECORD_SHIFT), 1);
  const budget = f.tmp(w.sub(w.load32(zero, L.BUDGET), count));
  leave(w.leS(budget, w.i32(0)));
  const linear = f.tmp(w.load64(zero, L.RIP));
  const stamp = f.tmp(stampOf(mode));
  const next = f.tmp(w.load32(block, LINK_BLOCK));
  // within its page control goes from code to code, wherever that is mapped
  const near = f.tmp(w.ltU(w.xor(linear, w.load64(zero, L.VBASE)), w.i64(PAGE)));
  const place = f.tmp(w.select(near, w.or(w.and(linear, w.i64(PAGE - 1)), w.i64(NEAR)), linear));
  const when = f.tmp(w.select(near, mode, stamp));
  const linked = f.tmp(
    w.and(w.eq(w.load64(block, L.BLOCK_LINK), place), w.eq(w.load32(block, LINK_STAMP), when)),
  );
  const noteTarget = (): void => {
    const targets = f.tmp(w.load32(block, L.BLOCK_TARGETS));
    f.if(targets, () => {
      const at = w.and(w.load32(block, L.BLOCK_COUNTDOWN), L.TARGETS - 1);
      f.store64(w.add(targets, w.shl(at, 3)), linear);
    });
  };
  // there may be a region by now where the block was; a link that was never made leads nowhere
  const state = w.load32(w.and(next, w.sub(zero, linked)), L.BLOCK_STATE);
  f.if(w.or(w.eqz(linked), state), () => {
    const { known, found: there } = lookUp(f, linear, stamp);
    leave(w.eqz(known));
    const found = f.tmp(there);
    f.if(w.geS(found, w.i32(0)), () => {
      noteTarget();
      f.store32(zero, budget, L.BUDGET);
      const interpreted = w.zext(w.sub(w.load32(zero, L.INTERP_BUDGET), budget));
      f.store64(zero, w.add(w.load64(zero, L.STAT_INTERP_INSNS), interpreted), L.STAT_INTERP_INSNS);
      enterRegion(f, region, found, linear);
    });
    f.set(next, w.and(found, ~L.JUMP_TO_BLOCK));
    f.store64(block, place, L.BLOCK_LINK);
    f.store32(block, when, LINK_STAMP);
    f.store32(block, next, LINK_BLOCK);
  });
  const countdown = f.tmp(w.sub(w.load32(next, L.BLOCK_COUNTDOWN), 1));
  leave(w.or(w.load32(next, L.BLOCK_STATE), w.eqz(countdown)));
  noteTarget();
  f.store32(zero, budget, L.BUDGET);
  enterBlock(f, handler, next, countdown, linear);
  return f;
}

/** What the jump cache's entries of this MODE are stamped with, if they still hold. */
export function stampOf(mode: Expr): Expr {
  const ring = w.shrU(w.and(mode, L.MODE_CPL3), L.JUMP_GENERATION_SHIFT);
  return w.or(w.shl(w.load32(ring, L.JUMP_GENERATION), 9), mode);
}

/** Asks the jump cache whether it knows the code at `linear`, and what it has found there. */
export function lookUp(f: FunctionBuilder, linear: Expr, stamp: Expr): { known: Expr; found: Expr } {
  const slot = w.and(w.wrap(w.xor(linear, w.shrU(linear, w.i64(12)))), L.JUMP_CACHE_ENTRIES - 1);
  const jump = f.tmp(w.shl(slot, 4));
  const known = w.and(
    w.eq(w.load64(jump, L.JUMP_CACHE), linear),
    w.eq(w.load32(jump, L.JUMP_CACHE + 8), stamp),
  );
  return { known, found: w.load32(jump, L.JUMP_CACHE + 12) };
}

/** Goes to a block, at `linear`, whose countdown is `countdown` from now on. */
export function enterBlock(
  f: FunctionBuilder,
  handler: number,
  block: Expr,
  countdown: Expr,
  linear: Expr,
): void {
  const zero = w.i32(0);
  f.store32(block, countdown, L.BLOCK_COUNTDOWN);
  f.store32(zero, block, L.INTERP_BLOCK);
  f.store64(zero, w.and(linear, w.i64(-4096)), L.VBASE);
  f.store32(zero, w.add(w.load32(zero, L.STAT_INTERP_BLOCKS), 1), L.STAT_INTERP_BLOCKS);
  const first = w.add(block, L.BLOCK_HEADER);
  f.returnCallIndirect(handler, w.load32(block, L.BLOCK_HEADER + L.REC_HANDLER), [first]);
}

/** Goes to the region that the jump cache has `found` for `linear`. */
export function enterRegion(f: FunctionBuilder, region: number, found: Expr, linear: Expr): void {
  const zero = w.i32(0);
  f.store32(zero, w.i32(1), L.IN_REGION);
  f.store32(zero, w.add(w.load32(zero, L.STAT_REGION_RUNS), 1), L.STAT_REGION_RUNS);
  f.returnCallIndirect(region, w.shrU(found, 10), [w.and(found, 1023), w.and(linear, w.i64(-4096))]);
}

const PAGE = 4096;
/** Marks what goes to the same page in BLOCK_LINK. */
const NEAR = -(1n << 63n);
/** log2 of REC_BYTES. */
const RECORD_SHIFT = 5;
