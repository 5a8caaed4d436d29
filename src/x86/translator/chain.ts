/**
 * From one region straight to the next, or to a block of the interpreter's, without going back to the dispatcher: a
 * function that regions call in place of returning, with the instruction pointer. It looks that up in the jump cache
 * (layout.ts, JUMP_CACHE) and goes there by a tail call; it returns to the dispatcher when nothing is known of it, when
 * the budget is used up, or when something wants attention. A module of its own, because only it imports the function
 * table.
 */
import { FunctionBuilder } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import * as w from '../../wasm/ops.ts';
import type { Engine } from '../engine.ts';
import { enterBlock, enterRegion, lookUp, stampOf } from '../interpreter/go-on.ts';
import * as L from '../layout.ts';

/** Makes the function, which stores RIP; NEXT is its result when the dispatcher has to go on. */
export function makeChain(engine: Engine): (rip: bigint) => number {
  const module = new ModuleBuilder();
  module.importMemory(engine.memoryImport);
  module.importTable();
  const handler = module.type(['i32'], 'i32');
  const region = module.type(['i32', 'i64'], 'i32');
  const f = new FunctionBuilder(['i64'], 'i32');
  const rip = f.param(0);
  const zero = w.i32(0);
  f.store64(zero, rip, L.RIP);
  const budget = f.tmp(w.load32(zero, L.BUDGET));
  const wanted = w.or(w.or(w.load32(zero, L.ATTENTION), w.load32(zero, L.SHADOW)), w.load32(zero, L.HALTED));
  f.if(w.or(wanted, w.leS(budget, w.i32(0))), () => f.return(w.i32(L.NEXT)));
  const mode = f.tmp(w.load32(zero, L.MODE));
  // outside 64-bit code the base of CS would come in
  f.if(w.ne(w.and(mode, L.MODE_CODE), 2), () => f.return(w.i32(L.NEXT)));
  const { known, found: there } = lookUp(f, rip, stampOf(mode));
  f.if(w.eqz(known), () => f.return(w.i32(L.NEXT)));
  const found = f.tmp(there);
  f.if(w.ltS(found, w.i32(0)), () => {
    const block = f.tmp(w.and(found, ~L.JUMP_TO_BLOCK));
    const countdown = f.tmp(w.sub(w.load32(block, L.BLOCK_COUNTDOWN), 1));
    f.if(w.or(w.load32(block, L.BLOCK_STATE), w.eqz(countdown)), () => f.return(w.i32(L.NEXT)));
    f.store32(zero, zero, L.IN_REGION);
    f.store32(zero, budget, L.INTERP_BUDGET);
    enterBlock(f, handler, block, countdown, rip);
  });
  enterRegion(f, region, found, rip);
  module.addFunction('chain', ['i64'], 'i32', f);
  return engine.instantiate(module.build(), { table: engine.table }).chain as (rip: bigint) => number;
}
