/**
 * From hot blocks to WebAssembly modules: has regions chosen (region.ts) and written (write-region.ts), some at a time,
 * and makes their blocks enter them.
 */
import type { Tracer, TracePoint } from '../../core/trace.ts';
import type { RegionStore } from '../../core/translation-store.ts';
import { ByteWriter } from '../../wasm/bytes.ts';
import { FunctionBuilder } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import type { Block, Region } from '../block.ts';
import type { CodeCache } from '../code-cache.ts';
import type { Engine } from '../engine.ts';
import * as L from '../layout.ts';
import { importRuntime } from '../semantics/runtime-functions.ts';
import { makeChain } from './chain.ts';
import { RegionEmitter } from './emitter.ts';
import { RegionListing } from './listing.ts';
import { KeptRegions } from './kept-regions.ts';
import { type Plan, planOf } from './plan.ts';
import { type Selection, selectRegion } from './region.ts';
import { type Entries, writeRegion } from './write-region.ts';

/** Nanoseconds that a hot block may wait for company, and what of them one slice counts for, sleep behind it included. */
const MAX_WAIT = 18_000_000;
const SLICE = 200_000;
/** A hot block that waits says so again when the interpreter has run it so often. */
const REMINDER = 32;
/** Instructions that may be interpreted for want of regions: they take as long as one more module. */
const MAX_INTERPRETED = 50_000;
/** Nanoseconds of writing after which the rest waits for another turn, so that the guest does not stand still. */
const MAX_PAUSE = 5_000_000;

/**
 * Modules that may be in use. V8 keeps each in mappings of its own: two, and two more for each hole where the code of its
 * first compiler was, and a process of Linux has 65,530 (vm.max_map_count).
 */
const MAX_MODULES = 8192;
/**
 * What translated code takes of the host's memory, about: for each module, and for each byte of its WebAssembly, which V8
 * keeps beside what both of its compilers make of it.
 */
const MODULE_BYTES = 20_000;
const BYTES_PER_BYTE = 5;
/** Bytes of the host's memory that translated code may take where nothing else is said. */
const DEFAULT_CACHE = 384 * 2 ** 20;
/**
 * When there is too much, modules are given up until there is this share of what may be: whenever one is, nothing that the
 * jump cache knows holds any more.
 */
const EMPTIED_TO = 15 / 16;
/** Modules that are looked at for that in one turn. */
const EVICTED_AT_ONCE = 64;

/** A region that is written, and is still to be compiled. */
interface Written {
  readonly plan: Plan;
  readonly entries: Entries;
  readonly index: number;
  /** Its name in the module. */
  readonly name: string;
  readonly scattered: boolean;
  readonly patient: boolean;
}

/** What the functions of a module call, by index. */
interface Imports extends ReturnType<typeof importRuntime> {
  readonly chain: number;
}

export interface TranslatorOptions {
  /** Hot blocks that wait before they are translated together. */
  readonly batch: number;
  /** A clock in nanoseconds, for the figures. */
  readonly now?: () => number;
  /** Regions count their calls of the runtime (CALL_COUNTS). */
  readonly countCalls?: boolean | undefined;
  /** Modules that may be in use. */
  readonly maxModules?: number | undefined;
  /** Bytes of the host's memory, about, that translated code may take; 0: 384 MiB. */
  readonly cacheBytes?: number | undefined;
  /** Compiles a module elsewhere; without it the machine's thread does, and what was translated is in use at once. */
  readonly compile?: ((code: Uint8Array) => Promise<WebAssembly.Module>) | undefined;
  /** Regions of earlier runs, and for later ones. */
  readonly store?: RegionStore | undefined;
}

export class Translator {
  readonly #engine: Engine;
  readonly #cache: CodeCache;
  readonly #view: DataView;
  readonly #trace: TracePoint;
  /** Listings of regions: the guest's code, the region's shape, its WebAssembly. */
  readonly #listings: { readonly in: TracePoint; readonly op: TracePoint; readonly out: TracePoint };
  readonly #batch: number;
  readonly #chain: (rip: bigint) => number;
  #queue: Plan[] = [];
  /** The blocks that the regions of the queue consist of. */
  readonly #waiting = new Set<Block>();
  /** Where the code of a batch's functions is written. */
  readonly #code: ByteWriter[] = [];
  /** Nanoseconds that the queue has waited, when that was counted last, and instructions that the interpreter has run meanwhile in its hot blocks. */
  #waited = 0;
  #turned = 0;
  #interpreted = 0;
  readonly #now: () => number;
  readonly #countCalls: boolean;
  readonly #maxModules: number;
  readonly #cacheBytes: number;
  /** There was too much translated code, and room is being made. */
  #emptying = false;
  readonly #compile: TranslatorOptions['compile'];
  readonly #tracer: Tracer;
  readonly #kept: KeptRegions | undefined;
  /** The blocks of regions that are being compiled elsewhere. */
  readonly #inFlight = new Set<Block>();
  /** Regions whose code had changed when they were compiled. */
  #late = 0;
  /** Nanoseconds spent choosing and writing regions, and in the WebAssembly compiler. */
  #writing = 0;
  #compiling = 0;
  #longest = 0;
  regions = 0;
  modules = 0;
  instructions = 0;
  bytes = 0;

  constructor(engine: Engine, cache: CodeCache, tracer: Tracer, options: TranslatorOptions) {
    this.#maxModules = options.maxModules ?? MAX_MODULES;
    this.#cacheBytes = options.cacheBytes || DEFAULT_CACHE;
    this.#now = options.now ?? (() => 0);
    this.#countCalls = options.countCalls ?? false;
    this.#compile = options.compile;
    this.#tracer = tracer;
    this.#batch = options.batch;
    this.#engine = engine;
    this.#cache = cache;
    this.#view = new DataView(engine.memory.buffer);
    this.#trace = tracer.point('cpu.translate');
    this.#listings = {
      in: tracer.point('cpu.translate.in'),
      op: tracer.point('cpu.translate.op'),
      out: tracer.point('cpu.translate.out'),
    };
    this.#chain = makeChain(engine);
    if (options.store !== undefined) this.#kept = new KeptRegions(options.store, cache, engine.runtime);
  }

  stats(): Record<string, number> {
    return {
      regions: this.regions,
      regionsCompiledTooLate: this.#late,
      regionsKept: this.#kept?.kept ?? 0,
      regionsUsedAgain: this.#kept?.used ?? 0,
      regionModules: this.modules,
      regionInstructions: this.instructions,
      regionBytes: this.bytes,
      modulesInUse: this.#cache.modules.count,
      modulesEvicted: this.#cache.modulesEvicted,
      hostBytesInUse: this.#inUse,
      translatingSeconds: this.#writing / 1e9,
      compilingSeconds: this.#compiling / 1e9,
      longestTranslationMilliseconds: this.#longest / 1e6,
    };
  }

  /** For a block (the address of its header) that is hot for the first time: whether it goes on being counted, no more. */
  passBy(header: number): boolean {
    return this.#kept === undefined || this.#listing ? false : this.#cache.passBy(header, this.#kept.mayKnow);
  }

  /**
   * Notes a hot block. A WebAssembly module costs far more to make than a function in it, so that regions are made
   * in batches; until then the interpreter goes on. A block that a waiting region has got needs none of its own.
   */
  enqueue(hot: Block, linear: bigint): void {
    if ((hot.mode & L.MODE_CODE) !== 2) return;
    if (this.#inFlight.has(hot)) {
      this.#cache.countAgain(hot, REMINDER);
      return;
    }
    if (this.#waiting.has(hot)) {
      this.#interpreted += REMINDER * hot.instructions;
      if (this.#interpreted >= MAX_INTERPRETED) this.flush(MAX_PAUSE);
      else this.#cache.countAgain(hot, REMINDER);
      return;
    }
    // chosen now: how the neighbouring pages are mapped may be another thing later
    const plan = this.#plan(hot, linear);
    if (plan === undefined) return;
    this.#queue.push(plan);
    for (const block of plan.blocks) this.#waiting.add(block);
    this.#cache.countAgain(hot, REMINDER);
    if (this.#queue.length >= this.#batch) this.flush(MAX_PAUSE);
  }

  #plan(hot: Block, linear: bigint): Plan | undefined {
    const mapped = (distance: number): number => this.#mapped(linear, distance);
    const kept = this.#listing ? undefined : this.#kept?.find(hot, linear, mapped);
    // to look for a region decodes its code, for which all other code may have been forgotten
    if (!this.#isCurrent(hot)) return undefined;
    if (kept !== undefined) return kept;
    if (!this.#cache.isCounted(hot)) {
      this.#cache.countAgain(hot, this.#cache.hotThreshold - this.#cache.firstThreshold);
      return undefined;
    }
    const selection = selectRegion(this.#cache, hot, linear, mapped, this.#kept !== undefined);
    return selection === undefined ? undefined : planOf(selection);
  }

  /** Physical page of the page `distance` away from `linear`, if the TLB has it for execution; else -1. */
  #mapped(linear: bigint, distance: number): number {
    const va = (linear & ~0xfffn) + BigInt(distance) * 0x1000n;
    const slot = Number((va >> 12n) & BigInt(L.TLB_ENTRIES - 1)) << L.TLB_ENTRY_SHIFT;
    const entry = this.#view.getInt32(L.TLB_BASE, true) + slot;
    if (this.#view.getBigUint64(entry + L.TLB_EXEC, true) !== BigInt.asUintN(64, va)) return -1;
    return this.#view.getUint32(entry + L.TLB_PFN, true);
  }

  /** Bytes of the host's memory that the modules in use take, about. */
  get #inUse(): number {
    const { count, bytes } = this.#cache.modules;
    return MODULE_BYTES * count + BYTES_PER_BYTE * bytes;
  }

  /** To be called between slices, when no region runs: translates when enough is waiting, or when it has waited for long enough. */
  turn(): void {
    this.#makeRoom();
    if (this.#queue.length === 0) return;
    const now = this.#now();
    this.#waited += Math.min(now - this.#turned, SLICE);
    this.#turned = now;
    if (this.#waited >= MAX_WAIT) this.flush(MAX_PAUSE);
  }

  #makeRoom(): void {
    const { modules } = this.#cache;
    if (modules.count >= this.#maxModules || this.#inUse >= this.#cacheBytes) this.#emptying = true;
    if (!this.#emptying) return;
    const enough = (): boolean =>
      modules.count <= EMPTIED_TO * this.#maxModules && this.#inUse <= EMPTIED_TO * this.#cacheBytes;
    this.#cache.evict(EVICTED_AT_ONCE, enough);
    this.#emptying = !enough();
  }

  /**
   * Translates what is waiting. Blocks that have meanwhile become part of a region, or are gone, are left out.
   * @param limit nanoseconds after which the rest goes on waiting
   */
  flush(limit = Number.POSITIVE_INFINITY): void {
    if (this.#queue.length === 0) return;
    const began = this.#now();
    const queue = this.#queue;
    this.#queue = [];
    this.#waiting.clear();
    this.#waited = 0;
    this.#interpreted = 0;
    const module = new ModuleBuilder();
    module.importMemory(this.#engine.memoryImport);
    const imports = {
      ...importRuntime(module),
      chain: module.importFunction('env', 'chain', ['i64'], 'i32'),
    };
    const batch: Written[] = [];
    const taken = new Set<Block>();
    for (const [at, plan] of queue.entries()) {
      if (batch.length > 0 && this.#now() - began > limit) {
        this.#queue = queue.slice(at);
        for (const { blocks } of this.#queue) for (const block of blocks) this.#waiting.add(block);
        this.#waited = MAX_WAIT;
        break;
      }
      const { hot, blocks } = plan;
      if (taken.has(hot) || hot.region !== undefined || this.#inFlight.has(hot)) continue;
      if (!this.#isUnchanged(plan)) continue;
      const written = this.#write(plan, module, batch.length, imports);
      if (written === undefined) continue;
      batch.push(written);
      for (const block of blocks) taken.add(block);
      if (this.#trace.on)
        this.#trace.emit({
          address: BigInt.asUintN(64, plan.linear),
          physical: hot.physical,
          pages: plan.pages.length,
          blocks: blocks.length,
          instructions: plan.instructions,
        });
    }
    if (batch.length === 0) return;
    const code = module.build();
    this.bytes += code.length;
    const written = this.#now();
    this.#writing += written - began;
    if (this.#compile === undefined) {
      const compiled = this.#compileHere(code, batch);
      this.#compiling += this.#now() - written;
      if (compiled !== undefined) this.#use(batch, compiled, code.length);
    } else void this.#compileElsewhere(this.#compile(code), code.length, batch, taken);
    this.#longest = Math.max(this.#longest, this.#now() - began);
  }

  /** Puts a region into the module, as its function number `position`; undefined for a kept one that is damaged. */
  #write(plan: Plan, module: ModuleBuilder, position: number, imports: Imports): Written | undefined {
    const index = this.#engine.allocate(null);
    const name = `r${position}`;
    if (plan.kept !== undefined) {
      const { scattered, patient, entries } = plan.kept;
      const source = this.#kept!.source(plan.kept, { ...plan, index }, imports);
      if (source === undefined) {
        this.#engine.release(index);
        return undefined;
      }
      module.addFunction(name, ['i32', 'i64'], 'i32', source);
      return { plan, entries, index, name, scattered, patient };
    }
    const { scattered, patient } = plan.hot;
    const code = (this.#code[position] ??= new ByteWriter(8192));
    const f = new FunctionBuilder(['i32', 'i64'], 'i32', code);
    f.marking = this.#listings.out.on;
    const { runtime, helpers, chain } = imports;
    const options = { countCalls: this.#countCalls, id: index, scattered, patient };
    const emitter = new RegionEmitter(f, runtime, helpers, options);
    const entries = writeRegion(f, emitter, plan.selection, chain);
    module.addFunction(name, ['i32', 'i64'], 'i32', f);
    this.#list(plan.selection, entries, f, module);
    this.#kept?.keep(plan.selection, { scattered, patient }, entries, f.written(), module);
    return { plan, entries, index, name, scattered, patient };
  }

  /** @throws CompileError unless a region of another day may be to blame */
  #compileHere(code: Uint8Array, batch: readonly Written[]): WebAssembly.Module | undefined {
    try {
      return new WebAssembly.Module(code as BufferSource);
    } catch (error) {
      if (!this.#distrust(batch)) throw error;
      this.#tracer.warn('cpu', `translations of earlier runs are not used: ${(error as Error).message}`);
      for (const { index } of batch) this.#engine.release(index);
      return undefined;
    }
  }

  /** For a module that V8 does not take: whether regions of earlier runs are in it, which are not used any more then. */
  #distrust(batch: readonly Written[]): boolean {
    if (batch.every(({ plan }) => plan.kept === undefined)) return false;
    this.#kept?.distrust();
    return true;
  }

  /** The guest goes on meanwhile, in the interpreter. No region runs when a promise is fulfilled. */
  async #compileElsewhere(
    compiled: Promise<WebAssembly.Module>,
    bytes: number,
    batch: readonly Written[],
    blocks: ReadonlySet<Block>,
  ): Promise<void> {
    for (const block of blocks) this.#inFlight.add(block);
    let module: WebAssembly.Module | undefined;
    try {
      module = await compiled;
    } catch (error) {
      this.#tracer.warn('cpu', `a translation is not used: ${(error as Error).message}`);
      this.#distrust(batch);
    }
    for (const block of blocks) this.#inFlight.delete(block);
    const current = module === undefined ? [] : batch.filter(({ plan }) => this.#isUnchanged(plan));
    for (const one of batch) if (!current.includes(one)) this.#engine.release(one.index);
    if (module === undefined) return;
    this.#late += batch.length - current.length;
    if (current.length > 0) this.#use(current, module, bytes);
  }

  /** From now on blocks of these regions enter them, which are in a module of `bytes` bytes. */
  #use(batch: readonly Written[], module: WebAssembly.Module, bytes: number): void {
    const began = this.#now();
    const exports = this.#engine.instantiateModule(module, { chain: this.#chain });
    const inUse = this.#cache.modules.add(bytes);
    for (const { plan, entries, index, name, scattered, patient } of batch) {
      const { blocks, pages, instructions, kept } = plan;
      if (kept !== undefined) this.#kept!.used++;
      const region: Region = {
        index,
        module: inUse,
        pages,
        blocks,
        instructions,
        remapped: 0,
        expectsScattered: scattered,
        scattered: 0,
        patient,
      };
      this.#engine.table.set(index, exports[name] as () => number);
      this.#cache.addRegion(region, entries);
      this.instructions += region.instructions;
    }
    this.regions += batch.length;
    this.modules++;
    this.#compiling += this.#now() - began;
  }

  /** False when its code has changed since it was chosen: what is left of that may become hot again. */
  #isUnchanged({ blocks }: Plan): boolean {
    if (blocks.every((block) => this.#isCurrent(block))) return true;
    for (const block of blocks)
      if (block.region === undefined && this.#isCurrent(block)) this.#cache.countAgain(block);
    return false;
  }

  get #listing(): boolean {
    const { in: guestCode, op, out } = this.#listings;
    return guestCode.on || op.on || out.on;
  }

  #list(selection: Selection, entries: Entries, f: FunctionBuilder, module: ModuleBuilder): void {
    const points = this.#listings;
    if (!this.#listing) return;
    const { linear } = selection;
    const address = BigInt.asUintN(64, linear);
    const listing = new RegionListing(this.#engine.memory.buffer, selection, linear);
    if (points.in.on) points.in.emit({ address, listing: listing.guestCode() });
    if (points.op.on) points.op.emit({ address, listing: listing.shape(entries) });
    if (points.out.on)
      points.out.emit({
        address,
        bytes: f.code.length,
        listing: listing.webAssembly(f, (index) => module.importedFunction(index)),
      });
  }

  #isCurrent(block: Block): boolean {
    return this.#cache.peek(block.physical, block.mode) === block;
  }
}
