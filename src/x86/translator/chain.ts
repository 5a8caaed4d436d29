/**
 * From one region straight to the next, without going back to the dispatcher: a function that regions call in place of
 * returning. It looks the instruction pointer up in the jump cache (layout.ts, JUMP_CACHE) and goes to the region there by
 * a tail call; it returns to the dispatcher when there is none, when the budget is used up, or when something wants
 * attention. A module of its own, because only it imports the function table.
 */
import { FunctionBuilder } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import * as w from '../../wasm/ops.ts';
import type { Engine } from '../engine.ts';
import * as L from '../layout.ts';

/** Makes the function; NEXT is its result when the dispatcher has to go on. */
export function makeChain(engine: Engine): () => number {
  const module = new ModuleBuilder();
  module.importMemory(engine.memoryImport);
  module.importTable();
  const region = module.type(['i32', 'i64'], 'i32');
  const f = new FunctionBuilder([], 'i32');
  const zero = w.i32(0);
  const wanted = w.or(w.or(w.load32(zero, L.ATTENTION), w.load32(zero, L.SHADOW)), w.load32(zero, L.HALTED));
  f.if(w.or(wanted, w.leS(w.load32(zero, L.BUDGET), w.i32(0))), () => f.return(w.i32(L.NEXT)));
  const mode = f.tmp(w.load32(zero, L.MODE));
  // outside 64-bit code the base of CS would come in
  f.if(w.ne(w.and(mode, L.MODE_CODE), 2), () => f.return(w.i32(L.NEXT)));
  const rip = f.tmp(w.load64(zero, L.RIP));
  const slot = w.and(w.wrap(w.xor(rip, w.shrU(rip, w.i64(12)))), L.JUMP_CACHE_ENTRIES - 1);
  const jump = f.tmp(w.shl(slot, 4));
  const ring = w.shrU(w.and(mode, L.MODE_CPL3), L.JUMP_GENERATION_SHIFT);
  const stamp = w.or(w.shl(w.load32(ring, L.JUMP_GENERATION), 9), mode);
  f.if(w.ne(w.load64(jump, L.JUMP_CACHE), rip), () => f.return(w.i32(L.NEXT)));
  f.if(w.ne(w.load32(jump, L.JUMP_CACHE + 8), stamp), () => f.return(w.i32(L.NEXT)));
  const found = f.tmp(w.load32(jump, L.JUMP_CACHE + 12));
  // a block for the interpreter
  f.if(w.ltS(found, w.i32(0)), () => f.return(w.i32(L.NEXT)));
  f.store32(zero, w.add(w.load32(zero, L.STAT_REGION_RUNS), 1), L.STAT_REGION_RUNS);
  f.returnCallIndirect(region, w.shrU(found, 10), [w.and(found, 1023), w.and(rip, w.i64(-4096))]);
  module.addFunction('chain', [], 'i32', f);
  return engine.instantiate(module.build(), { table: engine.table }).chain as () => number;
}
