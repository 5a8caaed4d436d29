/**
 * From a hot block to a WebAssembly function: chooses a region, writes its code, and makes its blocks enter it.
 *
 * Shape of a region's function `(entry, vbase) => status`: the state is loaded into locals; blocks stand in address
 * order inside one another, so that a forward branch is a plain `br`; a backward branch goes through the `br_table` at
 * the top (or to the block's own `loop`), after the budget was looked at; every way out meets at the end, where the state
 * is stored.
 */
import type { Tracer, TracePoint } from '../../core/trace.ts';
import type { LocalGet } from '../../wasm/expr.ts';
import { FunctionBuilder, type Label } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import * as w from '../../wasm/ops.ts';
import type { Block, CodeCache, Region } from '../code-cache.ts';
import type { Engine } from '../engine.ts';
import * as L from '../layout.ts';
import { RUNTIME_FUNCTIONS, type RuntimeFunction } from '../semantics/runtime-functions.ts';
import { RegionEmitter } from './emitter.ts';
import { type RegionBlock, selectRegion } from './region.ts';

/** Slices (of a few milliseconds at most) that a hot block may wait for company. */
const MAX_WAIT = 8;

export class Translator {
  readonly #engine: Engine;
  readonly #cache: CodeCache;
  readonly #trace: TracePoint;
  readonly #batch: number;
  #queue: Block[] = [];
  #waited = 0;
  regions = 0;
  modules = 0;
  instructions = 0;
  bytes = 0;

  /** @param batch hot blocks that wait before they are translated together */
  constructor(engine: Engine, cache: CodeCache, tracer: Tracer, batch: number) {
    this.#engine = engine;
    this.#cache = cache;
    this.#batch = batch;
    this.#trace = tracer.point('cpu.translate');
  }

  stats(): Record<string, number> {
    return {
      regions: this.regions,
      regionModules: this.modules,
      regionInstructions: this.instructions,
      regionBytes: this.bytes,
    };
  }

  /**
   * Notes a hot block. A WebAssembly module costs far more to make than a function in it, so that regions are made
   * in batches; until then the interpreter goes on.
   */
  enqueue(hot: Block): void {
    if ((hot.mode & L.MODE_CODE) !== 2) return;
    this.#queue.push(hot);
    if (this.#queue.length >= this.#batch) this.flush();
  }

  /** To be called between slices: translates when enough is waiting, or when it has waited for long enough. */
  turn(): void {
    if (this.#queue.length === 0) return;
    this.#waited++;
    if (this.#waited >= MAX_WAIT) this.flush();
  }

  /** Translates what is waiting. Blocks that have meanwhile become part of a region, or are gone, are left out. */
  flush(): void {
    if (this.#queue.length === 0) return;
    const queue = this.#queue;
    this.#queue = [];
    this.#waited = 0;
    const module = new ModuleBuilder();
    module.importMemory(this.#engine.memoryImport);
    const runtime = (name: RuntimeFunction): number => {
      const [params, result] = RUNTIME_FUNCTIONS[name];
      return module.importFunction('runtime', name, params, result);
    };
    const batch: RegionBlock[][] = [];
    const taken = new Set<Block>();
    for (const hot of queue) {
      if (taken.has(hot) || hot.region !== undefined || this.#cache.peek(hot.physical, hot.mode) !== hot)
        continue;
      const blocks = selectRegion(this.#cache, hot);
      if (!blocks.some(({ block }) => block === hot)) continue;
      const f = new FunctionBuilder(['i32', 'i64'], 'i32');
      writeRegion(f, new RegionEmitter(f, runtime), blocks);
      module.addFunction(`r${batch.length}`, ['i32', 'i64'], 'i32', f);
      batch.push(blocks);
      for (const { block } of blocks) taken.add(block);
      if (this.#trace.on)
        this.#trace.emit({
          physical: hot.physical,
          blocks: blocks.length,
          instructions: blocks.reduce((sum, block) => sum + block.insns.length, 0),
        });
    }
    if (batch.length === 0) return;
    const code = module.build();
    const exports = this.#engine.instantiate(code);
    for (const [i, regionBlocks] of batch.entries()) {
      const blocks = regionBlocks.map(({ block }) => block);
      const region: Region = {
        index: this.#engine.allocate(exports[`r${i}`] as () => number),
        page: Math.floor(blocks[0]!.physical / 4096),
        blocks,
      };
      this.#cache.addRegion(region, blocks);
      this.instructions += regionBlocks.reduce((sum, block) => sum + block.insns.length, 0);
    }
    this.regions += batch.length;
    this.modules++;
    this.bytes += code.length;
  }
}

function writeRegion(f: FunctionBuilder, e: RegionEmitter, blocks: readonly RegionBlock[]): void {
  const position = new Map(blocks.map(({ offset }, i) => [offset, i]));
  const next = f.local('i32');
  const exitStatus = f.local('i32');
  const returnSites = blocks
    .filter(({ insns }) => insns.at(-1)!.def.name === 'call')
    .map(({ insns }) => insns.at(-1)!.offset + insns.at(-1)!.length)
    .filter((offset) => position.has(offset))
    .slice(0, 4);

  const exit = f.open('block');
  e.exitLabel = exit;
  const fail = f.open('block');
  e.failLabel = fail;
  const dispatch = f.open('loop');
  const labels: Label[] = [];
  for (let i = blocks.length - 1; i >= 0; i--) labels[i] = f.open('block');
  f.brTable(next, labels, labels[0]!);

  for (const [i, region] of blocks.entries()) {
    f.end();
    let self: Label | undefined;
    const leave = (offset: number): void => {
      f.set(e.rip, w.add(e.vbase, w.i64(offset)));
      f.br(exit);
    };
    const enter = (target: number): void => {
      if (target > i) {
        f.br(labels[target]!);
        return;
      }
      f.if(w.leS(e.budget, w.i32(0)), () => leave(blocks[target]!.offset));
      if (target === i && self !== undefined) f.br(self);
      else {
        f.set(next, w.i32(target));
        f.br(dispatch);
      }
    };
    e.flow = {
      goto(offset) {
        const target = position.get(offset);
        if (target === undefined) leave(offset);
        else enter(target);
      },
      gotoRip(rip: LocalGet, kind) {
        if (kind === 'return')
          for (const site of returnSites)
            f.if(w.eq(rip, w.add(e.vbase, w.i64(site))), () => enter(position.get(site)!));
        f.set(e.rip, rip);
        f.br(exit);
      },
    };
    const last = region.insns.at(-1)!;
    const loops =
      region.fallsTo === region.offset ||
      last.operands.some((operand) => operand.kind === 'rel' && operand.reg === region.offset);
    if (loops) self = f.open('loop');
    e.beginBlock();
    f.set(e.budget, w.sub(e.budget, region.insns.length));
    for (const [k, insn] of region.insns.entries()) e.translate(insn, region.insns.length - k);
    if (region.fallsTo !== undefined) {
      e.storeFlagKind();
      e.flow.goto(region.fallsTo);
    }
    // every path through a block leaves it
    if (loops) {
      f.end();
      f.unreachable();
    }
  }
  f.end(); // loop
  f.unreachable();
  f.end(); // fail
  f.set(e.budget, w.add(e.budget, w.shrU(e.where, 16)));
  f.set(e.rip, w.add(e.vbase, w.zext(w.and(e.where, 0xffff))));
  f.set(exitStatus, w.i32(L.REEXECUTE));
  f.end(); // exit
  e.storeState();
  f.return(exitStatus);
  f.prepend(() => {
    e.loadState();
    f.set(next, f.param(0));
  });
}
