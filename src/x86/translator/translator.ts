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
import { RegionEmitter, WHERE_BIAS } from './emitter.ts';
import { type Selection, selectRegion } from './region.ts';

/** Runs (of some ten microseconds each) that a hot block may wait for company. */
const MAX_WAIT = 64;

export class Translator {
  readonly #engine: Engine;
  readonly #cache: CodeCache;
  readonly #view: DataView;
  readonly #trace: TracePoint;
  readonly #batch: number;
  #queue: Selection[] = [];
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
    this.#view = new DataView(engine.memory.buffer);
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
  enqueue(hot: Block, linear: bigint): void {
    if ((hot.mode & L.MODE_CODE) !== 2) return;
    // chosen now: how the neighbouring pages are mapped may be another thing later
    const selection = selectRegion(this.#cache, hot, (distance) => this.#mapped(linear, distance));
    if (selection === undefined) return;
    this.#queue.push(selection);
    if (this.#queue.length >= this.#batch) this.flush();
  }

  /** Physical page of the page `distance` away from `linear`, if the TLB has it for execution; else -1. */
  #mapped(linear: bigint, distance: number): number {
    const va = (linear & ~0xfffn) + BigInt(distance) * 0x1000n;
    const slot = Number((va >> 12n) & BigInt(L.TLB_ENTRIES - 1)) << L.TLB_ENTRY_SHIFT;
    const entry = this.#view.getInt32(L.TLB_BASE, true) + slot;
    if (this.#view.getBigUint64(entry + L.TLB_EXEC, true) !== BigInt.asUintN(64, va)) return -1;
    return this.#view.getUint32(entry + L.TLB_PFN, true);
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
    const batch: Selection[] = [];
    const taken = new Set<Block>();
    for (const selection of queue) {
      const { hot, blocks } = selection;
      if (taken.has(hot) || hot.region !== undefined || !blocks.every(({ block }) => this.#isCurrent(block)))
        continue;
      const f = new FunctionBuilder(['i32', 'i64'], 'i32');
      writeRegion(f, new RegionEmitter(f, runtime), selection);
      module.addFunction(`r${batch.length}`, ['i32', 'i64'], 'i32', f);
      batch.push(selection);
      for (const { block } of blocks) taken.add(block);
      if (this.#trace.on)
        this.#trace.emit({
          physical: hot.physical,
          pages: selection.pages.size,
          blocks: blocks.length,
          instructions: blocks.reduce((sum, block) => sum + block.insns.length, 0),
        });
    }
    if (batch.length === 0) return;
    const code = module.build();
    const exports = this.#engine.instantiate(code);
    for (const [i, selection] of batch.entries()) {
      const blocks = selection.blocks.map(({ block }) => block);
      const region: Region = {
        index: this.#engine.allocate(exports[`r${i}`] as () => number),
        pages: [...selection.pages.values()],
        blocks,
        remapped: 0,
      };
      this.#cache.addRegion(region, blocks);
      this.instructions += selection.blocks.reduce((sum, block) => sum + block.insns.length, 0);
    }
    this.regions += batch.length;
    this.modules++;
    this.bytes += code.length;
  }

  #isCurrent(block: Block): boolean {
    return this.#cache.peek(block.physical, block.mode) === block;
  }
}

function writeRegion(f: FunctionBuilder, e: RegionEmitter, { blocks, pages }: Selection): void {
  const position = new Map(blocks.map(({ offset }, i) => [offset, i]));
  const next = f.local('i32');
  const exitStatus = f.local('i32');
  const returnSites = blocks
    .filter(({ insns }) => insns.at(-1)!.def.name === 'call')
    .map(({ page, insns }) => page + insns.at(-1)!.offset + insns.at(-1)!.length)
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
      last.operands.some((operand) => operand.kind === 'rel' && region.page + operand.reg === region.offset);
    if (loops) self = f.open('loop');
    e.beginBlock(region.page);
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
  f.set(e.rip, w.sub(w.add(e.vbase, w.zext(w.and(e.where, 0xffff))), w.i64(WHERE_BIAS)));
  f.set(exitStatus, w.i32(L.REEXECUTE));
  f.end(); // exit
  e.storeState();
  f.return(exitStatus);
  f.prepend(() => {
    // `vbase` comes as the page of the entry's block: back to the region's first page
    let first = 0;
    for (const page of new Set(blocks.map((block) => block.page))) {
      const count = blocks.filter((block) => block.page === page).length;
      if (page !== 0) {
        const inside = w.ltU(w.sub(f.param(0), first), count);
        f.if(inside, () => f.set(e.vbase, w.sub(e.vbase, w.i64(page))));
      }
      first += count;
    }
    if (pages.size > 1)
      for (const [page, physical] of pages) {
        const same = e.rt('pageIs', w.add(e.vbase, w.i64(page)), w.i32(physical));
        f.if(w.eqz(same), () => f.return(w.i32(L.REMAPPED)));
      }
    e.loadState();
    f.set(next, f.param(0));
  });
}
