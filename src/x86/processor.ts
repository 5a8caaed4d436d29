/**
 * The processor put together: memory and page table of guest-physical space, the runtime with its calls to the
 * outside, decoder, interpreter and translator. See cpu.ts for what a machine sees of it.
 */
import { assert, UsageError } from '../core/errors.ts';
import { GuestMemory, type RamRegion } from '../core/memory.ts';
import type { Tracer } from '../core/trace.ts';
import type { FormKeeper, TranslationStore } from '../core/translation-store.ts';
import { CodeCache } from './code-cache.ts';
import type { CpuBus, CpuInterface, EntryState, RunResult } from './cpu.ts';
import type { CpuidModel } from './cpuid.ts';
import { Decoder } from './decode/decode.ts';
import { decodeForms, encodeForms } from './decode/kept-forms.ts';
import { Engine, MAX_GUEST_RAM } from './engine.ts';
import { HandlerLibrary } from './interpreter/handlers.ts';
import * as L from './layout.ts';
import { Profile } from './report/profile.ts';
import { describeCounts } from './report/report.ts';
import { parseSymbols } from './report/symbols.ts';
import { describeRegisters } from './registers.ts';
import { opcodeTable } from './table/index.ts';
import { Translator } from './translator/translator.ts';
import { describeUnsupported } from './unsupported.ts';

const PAGE = 4096;
/** Firmware and other read-only memory, behind RAM. */
const ROM_BYTES = 16 * 1024 * 1024;

export interface ProcessorOptions {
  /** Bytes of runtime.wasm. */
  readonly runtimeCode: Uint8Array;
  /** Bytes of handlers.wasm, built from the same sources. */
  readonly handlersCode?: Uint8Array | undefined;
  /** RAM as guest-physical runs; sizes and addresses are multiples of 4096. */
  readonly ram: readonly { gpa: number; size: number }[];
  readonly cpuid: CpuidModel;
  readonly bus: CpuBus;
  readonly tracer: Tracer;
  /** Executions after which a block is translated; Infinity: never (interpreter only). */
  readonly hotThreshold?: number;
  /** Count what regions call of the runtime, for `report`; costs a little at each such call. */
  readonly countCalls?: boolean;
  /** Compiles translated code elsewhere; without it the thread that runs the processor does. */
  readonly compile?: ((code: Uint8Array) => Promise<WebAssembly.Module>) | undefined;
  /** Where translations of earlier runs are, for the same CPUID and build of Paravane. */
  readonly store?: TranslationStore | undefined;
  /** Modules of translated code that may be in use. */
  readonly maxModules?: number;
  /** Bytes of the host's memory, about, that translated code may take; 0: 384 MiB. */
  readonly cacheBytes?: number | undefined;
}

/** Hot blocks that are translated into one WebAssembly module. */
const TRANSLATION_BATCH = 24;

/**
 * A region costs this thread some 250 µs to make, and V8's compilers more: what interpreting 20,000 instructions costs.
 * Between 1024 and 2048 gcc in the guest gains a sixth, with 4096 it takes as long, with 512 longer; boots and short
 * programs hardly differ.
 */
export const DEFAULT_HOT_THRESHOLD = 2048;

export class Processor implements CpuInterface {
  readonly guestMemory: GuestMemory;
  readonly engine: Engine;
  readonly code: CodeCache;
  readonly translator: Translator;
  readonly handlers: HandlerLibrary;
  readonly profile = new Profile();
  readonly #view: DataView;
  readonly #pageTable: Uint32Array;
  readonly #cpuid: CpuidModel;
  #romNext: number;
  readonly #romEnd: number;
  #instructions = 0;
  /** Nanoseconds. */
  #decoding = 0;
  /** What the run that is under way was given. */
  #budget: number | undefined;
  /** When it had better end, by the bus's `readTsc`. */
  #until = Number.POSITIVE_INFINITY;
  #run: () => number;

  constructor(options: ProcessorOptions) {
    const { bus, ram, tracer } = options;
    this.#cpuid = options.cpuid;
    const ramBytes = ram.reduce((sum, { size }) => sum + size, 0);
    if (ramBytes > MAX_GUEST_RAM)
      throw new UsageError(
        `guest RAM of ${Math.ceil(ramBytes / 2 ** 20)}M does not fit: at most ${Math.floor(MAX_GUEST_RAM / 2 ** 20)}M with 32-bit WebAssembly memories`,
      );
    this.engine = new Engine(options.runtimeCode, ramBytes + ROM_BYTES, this.#host(bus, tracer));
    const { buffer } = this.engine.memory;
    this.#view = new DataView(buffer);
    this.#view.setUint32(L.TSC_ESTIMATE, bus.tscEstimate ?? 0, true);
    this.#pageTable = new Uint32Array(buffer, L.PAGE_TABLE, L.PAGE_TABLE_ENTRIES);
    const regions: RamRegion[] = [];
    let offset = L.RAM_BASE;
    for (const { gpa, size } of ram) {
      assert(gpa % PAGE === 0 && size % PAGE === 0, 'RAM that is not made of pages', { gpa, size });
      regions.push({ gpa, size, offset });
      for (let at = 0; at < size; at += PAGE) this.#pageTable[(gpa + at) / PAGE] = (offset + at) | L.PAGE_RAM;
      offset += size;
    }
    this.#romNext = offset;
    this.#romEnd = offset + ROM_BYTES;
    this.guestMemory = new GuestMemory(buffer, regions);
    this.handlers = new HandlerLibrary(this.engine, options.handlersCode);
    const decoder = new Decoder(opcodeTable(), (feature) => options.cpuid.has(feature));
    const threshold = options.hotThreshold ?? DEFAULT_HOT_THRESHOLD;
    this.code = new CodeCache(
      this.engine,
      decoder,
      this.handlers,
      Number.isFinite(threshold) ? threshold : 0x7fffffff,
    );
    // A threshold of 1 is for tests: everything is translated before it runs.
    this.translator = new Translator(this.engine, this.code, tracer, {
      batch: threshold <= 1 ? 1 : TRANSLATION_BATCH,
      now: () => bus.readTsc(),
      countCalls: options.countCalls,
      maxModules: options.maxModules,
      cacheBytes: options.cacheBytes,
      compile: options.compile,
      store: Number.isFinite(threshold) ? options.store : undefined,
    });
    if (options.store !== undefined) this.#keepForms(options.store);
    this.guestMemory.onWrite((gpa, length) => this.code.written(gpa, length));
    this.#run = this.engine.runtime.run as unknown as () => number;
    this.reset();
  }

  #keepForms(keeper: FormKeeper): void {
    const { memory, runtime } = this.engine;
    const kept = keeper.forms?.();
    try {
      if (kept !== undefined)
        decodeForms(
          kept,
          memory.buffer,
          this.handlers,
          runtime as unknown as Parameters<typeof decodeForms>[3],
        );
    } catch {
      // damaged: as if they were not there
    }
    keeper.keepForms?.(() => encodeForms(memory.buffer, this.handlers));
  }

  #host(bus: CpuBus, tracer: Tracer): Record<string, (...args: never[]) => unknown> {
    const host = {
      portRead: (port: number, size: 1 | 2 | 4) => bus.readPort(port, size) | 0,
      portWrite: (port: number, size: 1 | 2 | 4, value: number) => bus.writePort(port, size, value >>> 0),
      mmioRead: (address: number, size: 1 | 2 | 4) => bus.readMmio(address, size) | 0,
      mmioWrite: (address: number, size: 1 | 2 | 4, value: number) =>
        bus.writeMmio(address, size, value >>> 0),
      acknowledge: () => bus.acknowledgeInterrupt(),
      msrRead: (index: number) => {
        const value = bus.readMsr(index >>> 0);
        if (value === undefined) return 0;
        this.#view.setUint32(L.MSR_LOW, value.low, true);
        this.#view.setUint32(L.MSR_HIGH, value.high, true);
        return 1;
      },
      msrWrite: (index: number) =>
        bus.writeMsr(
          index >>> 0,
          this.#view.getUint32(L.MSR_LOW, true),
          this.#view.getUint32(L.MSR_HIGH, true),
        )
          ? 1
          : 0,
      cr8Read: () => bus.readCr8(),
      cr8Write: (value: number) => bus.writeCr8(value),
      tsc: () => bus.readTsc(),
      random: () => bus.random() | 0,
      unsupported: (what: number, detail: number) => tracer.warn('cpu', describeUnsupported(what, detail)),
      ferr: () => tracer.warn('cpu', 'x87 error reported through FERR# (CR0.NE=0), which is not connected'),
      scattered: (region: number) => this.code.noteScattered(region),
      impatient: (region: number) => this.code.noteLeaves(region),
      invalidate: (page: number, offset: number, size: number) =>
        this.code.invalidate(page >>> 0, offset, offset + size),
      decode: (physical: number, mode: number, low: number, high: number) => {
        const linear = (): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
        const began = bus.readTsc();
        const found = this.code.unusualBlock(physical, mode, linear);
        this.#decoding += this.#endsAfter(bus.readTsc()) - began;
        return found === 'fault' ? 0 : found.address;
      },
      hot: (header: number, low: number, high: number) => {
        if (this.translator.passBy(header)) return;
        this.translator.enqueue(this.code.blockAt(header), (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
        this.#endsAfter(bus.readTsc());
      },
      remapped: (header: number) => this.code.noteRemapped(this.code.blockAt(header)),
    };
    return host as unknown as Record<string, (...args: never[]) => unknown>;
  }

  mapRom(gpa: number, data: Uint8Array): void {
    assert(gpa % PAGE === 0, 'ROM that does not start at a page', { gpa });
    const size = Math.ceil(data.length / PAGE) * PAGE;
    if (this.#romNext + size > this.#romEnd)
      throw new UsageError(`firmware of ${data.length} bytes does not fit: at most ${ROM_BYTES} in all`);
    this.guestMemory.bytes.set(data, this.#romNext);
    for (let at = 0; at < size; at += PAGE)
      this.#pageTable[(gpa + at) / PAGE] = (this.#romNext + at) | L.PAGE_ROM;
    this.#romNext += size;
    (this.engine.runtime.tlbFlush as unknown as () => void)();
  }

  reset(): void {
    (this.engine.runtime.initReset as unknown as () => void)();
    this.code.flushAll();
    this.code.releaseRetired();
    const { entries } = this.#cpuid;
    assert(entries.length <= L.CPUID_MAX, 'too many CPUID leaves', entries.length);
    this.#view.setUint32(L.CPUID_COUNT, entries.length, true);
    for (const [i, entry] of entries.entries())
      for (const [j, value] of entry.entries())
        this.#view.setUint32(L.CPUID_TABLE + i * 24 + j * 4, value, true);
  }

  enter(state: EntryState): void {
    enterState(this.#view, state);
    (this.engine.runtime.updateMode as unknown as () => void)();
    (this.engine.runtime.tlbFlush as unknown as () => void)();
  }

  /** Has the run end where its time is over. @returns `now` */
  #endsAfter(now: number): number {
    if (now > this.#until) this.stop();
    return now;
  }

  run(instructions: number, until = Number.POSITIVE_INFINITY): RunResult {
    this.#until = until;
    const budget = Math.min(Math.max(1, Math.floor(instructions)), 0x7fff0000);
    this.#view.setInt32(L.BUDGET, budget, true);
    this.#budget = budget;
    const result = this.#run();
    if (result === 0) this.#sample();
    this.#instructions += budget - this.#view.getInt32(L.BUDGET, true);
    this.#budget = undefined;
    this.translator.turn();
    this.code.releaseRetired();
    return (['budget', 'halted', 'shutdown', 'stopped'] as const)[result]!;
  }

  setInterrupt(level: boolean): void {
    this.#attention(L.ATTENTION_INTR, level);
  }

  nmi(): void {
    this.#attention(L.ATTENTION_NMI, true);
  }

  stop(): void {
    this.#attention(L.ATTENTION_STOP, true);
  }

  #attention(bit: number, set: boolean): void {
    const now = this.#view.getInt32(L.ATTENTION, true);
    this.#view.setInt32(L.ATTENTION, set ? now | bit : now & ~bit, true);
  }

  get instructionCount(): number {
    if (this.#budget === undefined) return this.#instructions;
    return this.#instructions + this.#budget - this.#view.getInt32(L.BUDGET, true);
  }

  stats(): Record<string, number> {
    const u32 = (at: number): number => this.#view.getUint32(at, true);
    return {
      instructions: this.#instructions,
      interpretedInstructions: Number(this.#view.getBigUint64(L.STAT_INTERP_INSNS, true)),
      interpretedBlocks: u32(L.STAT_INTERP_BLOCKS),
      regionRuns: u32(L.STAT_REGION_RUNS),
      regionExitsToInterpreter: u32(L.STAT_REGION_EXITS),
      tlbMisses: u32(L.STAT_TLB_MISS),
      tlbFlushes: u32(L.STAT_TLB_FLUSH),
      exceptions: u32(L.STAT_EXCEPTIONS),
      interrupts: u32(L.STAT_INTERRUPTS),
      mmio: u32(L.STAT_MMIO),
      port: u32(L.STAT_PORT),
      selfModifyingWrites: u32(L.STAT_SMC),
      handlers: this.handlers.count,
      blocksDecoded: this.code.blocksDecoded,
      instructionsDecoded: this.code.insnsDecoded,
      codeFlushes: this.code.flushes,
      codeChanges: this.code.invalidations,
      blocksDropped: this.code.blocksDropped,
      regionsDropped: this.code.regionsDropped,
      recordBytes: this.code.recordBytes,
      decodingSeconds: this.#decoding / 1e9,
      ...this.translator.stats(),
      userShare: this.profile.samples === 0 ? 0 : this.profile.userSamples / this.profile.samples,
    };
  }

  /** Where the processor is as its budget ends, for the profile. */
  #sample(): void {
    const base = this.#view.getBigUint64(L.SEG_BASE + 8, true);
    const rip = this.#view.getBigUint64(L.RIP, true);
    this.profile.sample(BigInt.asUintN(64, rip + base), this.#view.getInt32(L.CPL, true) === 3);
  }

  report(symbols?: string): string {
    const names = symbols === undefined ? undefined : parseSymbols(symbols);
    return describeCounts(this.#view, this.handlers, this.profile, names);
  }

  describeRegisters(): string {
    const rflags = (this.engine.runtime.getRflags as unknown as () => bigint)();
    return describeRegisters(this.#view, rflags);
  }
}

/** Descriptor attribute bits (layout.ts, SEG_ATTR). */
const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA32 = 0xc093;
const CODE16 = 0x009b;

function enterState(view: DataView, state: EntryState): void {
  const u64 = (at: number, value: bigint): void => view.setBigUint64(at, BigInt.asUintN(64, value), true);
  if (state.mode === 'reset') return;
  u64(L.RIP, state.rip);
  if (state.rsp !== undefined) u64(L.RSP, state.rsp);
  if (state.rsi !== undefined) u64(L.RSI, state.rsi);
  if (state.rbx !== undefined) u64(L.RBX, state.rbx);
  if (state.rax !== undefined) u64(L.RAX, state.rax);
  const segment = (n: number, selector: number, base: bigint, limit: number, attr: number): void => {
    view.setUint32(L.SEG_SEL + 4 * n, selector, true);
    u64(L.SEG_BASE + 8 * n, base);
    view.setUint32(L.SEG_LIMIT + 4 * n, limit, true);
    view.setUint32(L.SEG_ATTR + 4 * n, attr, true);
  };
  if (state.mode === 'real') {
    const cs = state.cs ?? 0;
    segment(1, cs, BigInt(cs) << 4n, 0xffff, CODE16);
    return;
  }
  const code = state.codeSelector ?? 0x10;
  const data = state.dataSelector ?? 0x18;
  segment(1, code, 0n, 0xffffffff, state.mode === 'long' ? CODE64 : CODE32);
  for (const n of [0, 2, 3, 4, 5]) segment(n, data, 0n, 0xffffffff, DATA32);
  if (state.gdtBase !== undefined) {
    u64(L.GDT_BASE, state.gdtBase);
    view.setUint32(L.GDT_LIMIT, state.gdtLimit ?? 0xffff, true);
  }
  if (state.mode === 'flat32') {
    // protected mode, caches as after firmware: PE ET
    u64(L.CR0, 0x11n);
    return;
  }
  u64(L.CR3, state.cr3 ?? 0n);
  u64(L.CR4, 0x20n); // PAE
  u64(L.EFER, 0x500n); // LME LMA
  u64(L.CR0, 0x8000_0011n); // PG ET PE
}
