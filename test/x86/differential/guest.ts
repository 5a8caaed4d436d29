/**
 * Our processor set up like the native runner: 64-bit code at NATIVE_CODE, data at NATIVE_DATA followed by an unmapped
 * page, and an interrupt table whose handlers halt, so that a fault can be compared too.
 */
import { readFileSync } from 'node:fs';
import { tellOldV8 } from '../../../src/host/node/old-v8.ts';
import { Tracer } from '../../../src/core/trace.ts';
import type { CpuBus } from '../../../src/x86/cpu.ts';
import { buildCpuid } from '../../../src/x86/cpuid.ts';
import * as L from '../../../src/x86/layout.ts';
import { Processor, type ProcessorOptions } from '../../../src/x86/processor.ts';
import type { RegionStore } from '../../../src/core/translation-store.ts';
import { AREA_BYTES, NATIVE_BASE, NATIVE_CODE, NATIVE_DATA } from '../../native/processor.ts';
import { bareBus } from '../bare-bus.ts';
import type { Random } from './random.ts';

// as wherever the translator runs
tellOldV8();

const RAM_BYTES = 4 << 20;
const MOST_INSTRUCTIONS = 10_000;
/** Linear address where the first 2 MiB lie, out of reach of what is tested. */
const SYSTEM = 0xffff_8000_0000_0000n;
const TABLES = 0x1000;
const IDT = 0x8000;
const GDT = 0x9000;
const TSS = 0xa000;
const HANDLERS = 0xb000;
const STACK = 0x10000;
/** Physical home of the code and data areas. */
export const CODE_AT = 0x10_0000;
export const DATA_AT = CODE_AT + AREA_BYTES;
/** Another home of the code area, for guests that move pages. */
const OTHER_CODE_AT = CODE_AT + 0x10_0000;
const INTERRUPT = 0x40;

export interface GuestStop {
  /** -1: the code reached its end. */
  readonly vector: number;
  readonly error: number;
  readonly address: bigint;
}

/** A processor with RAM_BYTES of memory and no devices but those of `bus`. */
export function makeProcessor(
  hotThreshold: number,
  bus: Partial<CpuBus> = {},
  more: Partial<ProcessorOptions> = {},
): Processor {
  const nothing = (): never => {
    throw new Error('the code under test reached a device');
  };
  return new Processor({
    runtimeCode: readFileSync(new URL('../../../dist/x86/runtime.wasm', import.meta.url)),
    ram: [{ gpa: 0, size: RAM_BYTES }],
    cpuid: buildCpuid({ model: 'max' }),
    tracer: new Tracer(),
    handlersCode: readFileSync(new URL('../../../dist/x86/handlers.wasm', import.meta.url)),
    hotThreshold,
    ...more,
    bus: {
      ...bareBus,
      readPort: nothing,
      writePort: nothing,
      readMmio: nothing,
      writeMmio: nothing,
      ...bus,
    },
  });
}

/** Gives the processor the registers of a NativeRegisters. */
export function setRegisters(view: DataView, words: BigUint64Array, fx: DataView): void {
  for (let i = 0; i < 16; i++) view.setBigUint64(L.GPR + 8 * i, words[i]!, true);
  view.setInt32(L.CC_OP, L.CC_EFLAGS, true);
  view.setBigUint64(L.CC_SRC, words[16]! & 0x8d5n, true);
  view.setUint32(L.EFLAGS, 0x202 | (Number(words[16]!) & 0x400), true);
  view.setInt32(L.HALTED, 0, true);
  for (let i = 0; i < 32; i++) view.setBigUint64(L.XMM + 8 * i, fx.getBigUint64(160 + 8 * i, true), true);
  view.setUint32(L.MXCSR, fx.getUint32(24, true), true);
  view.setUint32(L.FCW, fx.getUint16(0, true), true);
  view.setUint32(L.FSW, 0, true);
  view.setUint32(L.FTW, 0xffff, true);
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(L.X87 + 16 * i, fx.getBigUint64(32 + 16 * i, true), true);
    view.setUint16(L.X87 + 16 * i + 8, fx.getUint16(40 + 16 * i, true), true);
  }
}

/** What is compared with the host. */
export interface Subject {
  readonly view: DataView;
  readonly data: Uint8Array;
  readonly rflags: bigint;
  /** General registers and XMM registers that exist; with 8, they have 32 bits. */
  readonly registers: 8 | 16;
  readonly userMode: boolean;
  run(words: BigUint64Array, fx: DataView, offset: number): GuestStop;
}

/** How a guest makes life hard for its processor. */
export interface GuestHardships {
  /** Instructions that the code may take in all. */
  readonly most?: number;
  /** An interrupt whose handler returns at once, between slices. */
  readonly interrupts?: boolean;
  /** Chooses what happens before a run and between slices. */
  readonly random?: Random;
  /** Pages of the code area are mapped to one of two copies, chosen before each run. */
  readonly moves?: boolean;
  /** Between slices the TLB is flushed, and accessed and dirty bits are cleared. */
  readonly shakes?: boolean;
  /** Bytes of the data area, from its pages on, that cannot be written. */
  readonly readOnlyPage?: number;
  /** Regions of other guests, and for them. */
  readonly store?: RegionStore | undefined;
}

export class Guest implements Subject {
  readonly registers = 16;
  readonly userMode = false;
  readonly cpu: Processor;
  readonly view: DataView;
  readonly data: Uint8Array;

  readonly #slice: number;
  readonly #hardships: GuestHardships;
  /** Page table of the areas. */
  readonly #pages = TABLES + 0x4000;

  /**
   * @param hotThreshold 1: everything is translated at once; Infinity: all is interpreted
   * @param slice instructions to run at a time; what has become hot is translated in between
   */
  constructor(hotThreshold: number, slice = MOST_INSTRUCTIONS, hardships: GuestHardships = {}) {
    this.#slice = slice;
    this.#hardships = hardships;
    const acknowledgeInterrupt = (): number => {
      this.cpu.setInterrupt(false);
      return INTERRUPT;
    };
    this.cpu = makeProcessor(hotThreshold, { acknowledgeInterrupt }, { store: hardships.store });
    this.view = new DataView(this.cpu.engine.memory.buffer);
    this.data = this.cpu.guestMemory.bytes.subarray(L.RAM_BASE + DATA_AT, L.RAM_BASE + DATA_AT + AREA_BYTES);
    this.#prepare();
  }

  #u64(gpa: number, value: bigint): void {
    this.view.setBigUint64(L.RAM_BASE + gpa, BigInt.asUintN(64, value), true);
  }

  #prepare(): void {
    // PML4 -> PDPT -> 2 MiB for the system (large page), and 4 KiB pages for the two areas
    const entry = (table: number, index: number, value: number): void =>
      this.#u64(table + 8 * index, BigInt(value));
    const [pml4, pdpt, low, directory] = [TABLES, TABLES + 0x1000, TABLES + 0x2000, TABLES + 0x3000];
    const pages = this.#pages;
    const system = TABLES + 0x5000;
    entry(pml4, 0, pdpt | 3);
    entry(pml4, 256, system | 3);
    entry(system, 0, low | 3);
    entry(low, 0, 0x83);
    entry(pdpt, NATIVE_BASE >>> 30, directory | 3);
    entry(directory, (NATIVE_BASE >>> 21) & 511, pages | 3);
    for (let at = 0; at < AREA_BYTES; at += 4096) {
      entry(pages, ((NATIVE_CODE + at) >>> 12) & 511, (CODE_AT + at) | 3);
      entry(pages, ((NATIVE_DATA + at) >>> 12) & 511, (DATA_AT + at) | 3);
    }
    const { readOnlyPage } = this.#hardships;
    if (readOnlyPage !== undefined)
      entry(pages, ((NATIVE_DATA >>> 12) + readOnlyPage) & 511, (DATA_AT + 4096 * readOnlyPage) | 1);
    for (const vector of [...Array(32).keys(), INTERRUPT]) {
      const handler = BigInt(HANDLERS + 16 * vector);
      // 64-bit interrupt gate, IST 1
      this.#u64(IDT + 16 * vector, (handler & 0xffffn) | (8n << 16n) | (0x8e01n << 32n));
      this.#u64(IDT + 16 * vector + 8, SYSTEM >> 32n);
      // hlt, iretq
      this.cpu.guestMemory.write(
        HANDLERS + 16 * vector,
        new Uint8Array(vector === INTERRUPT ? [0x48, 0xcf] : [0xf4]),
      );
    }
    this.#u64(GDT + 8, 0x00af_9b00_0000_ffffn);
    this.#u64(GDT + 16, 0x00cf_9300_0000_ffffn);
    this.#u64(TSS + 36, SYSTEM + BigInt(STACK));
    const { view } = this;
    this.cpu.enter({
      mode: 'long',
      rip: BigInt(NATIVE_CODE),
      cr3: BigInt(pml4),
      gdtBase: SYSTEM + BigInt(GDT),
      gdtLimit: 0x17,
      codeSelector: 8,
      dataSelector: 16,
    });
    view.setBigUint64(L.IDT_BASE, SYSTEM + BigInt(IDT), true);
    view.setUint32(L.IDT_LIMIT, 0xfff, true);
    view.setBigUint64(L.SEG_BASE + 8 * 7, SYSTEM + BigInt(TSS), true);
    view.setUint32(L.SEG_LIMIT + 4 * 7, 0x67, true);
    view.setUint32(L.SEG_ATTR + 4 * 7, 0x8b, true);
    view.setBigUint64(L.CR4, 0x620n, true); // PAE OSFXSR OSXMMEXCPT
    view.setBigUint64(L.CR0, 0x8001_0033n, true); // PG WP NE ET MP PE
    (this.cpu.engine.runtime.updateMode as unknown as () => void)();
  }

  load(code: readonly number[], offset = 0): void {
    const bytes = new Uint8Array([...code, 0xf4]);
    this.cpu.guestMemory.write(CODE_AT + offset, bytes);
    if (this.#hardships.moves) this.cpu.guestMemory.write(OTHER_CODE_AT + offset, bytes);
  }

  /** Undoes what a run wrote over the loaded code: only that is written, and so forgotten. */
  reload(code: Uint8Array, offset: number): void {
    const { bytes } = this.cpu.guestMemory;
    for (const home of this.#hardships.moves ? [CODE_AT, OTHER_CODE_AT] : [CODE_AT])
      for (let at = 0; at < code.length; at += 64) {
        const line = code.subarray(at, at + 64);
        const start = L.RAM_BASE + home + offset + at;
        if (Buffer.compare(line, bytes.subarray(start, start + line.length)) === 0) continue;
        for (let i = 0; i < line.length; i++)
          if (line[i] !== bytes[start + i])
            this.cpu.guestMemory.write(home + offset + at + i, line.subarray(i, i + 1));
      }
  }

  /** Maps each page of the code area to one of its copies. */
  #move(random: Random): void {
    for (let at = 0; at < AREA_BYTES; at += 4096) {
      const home = random.chance(50) ? CODE_AT : OTHER_CODE_AT;
      this.#u64(this.#pages + 8 * (((NATIVE_CODE + at) >>> 12) & 511), BigInt((home + at) | 3));
    }
    (this.cpu.engine.runtime.tlbFlush as unknown as () => void)();
  }

  #shake(random: Random): void {
    for (let i = 0; i < 512; i++)
      if (random.chance(30)) {
        const at = L.RAM_BASE + this.#pages + 8 * i;
        this.view.setUint32(at, this.view.getUint32(at, true) & ~0x60, true);
      }
    (this.cpu.engine.runtime.tlbFlush as unknown as () => void)();
  }

  /** The page that is mapped at this offset of the code area now. */
  codePage(offset: number): Uint8Array {
    const entry = this.#pages + 8 * (((NATIVE_CODE + offset) >>> 12) & 511);
    const at = L.RAM_BASE + (this.view.getUint32(L.RAM_BASE + entry, true) & 0xffff_f000);
    return this.cpu.guestMemory.bytes.subarray(at, at + 4096);
  }

  /** Runs the loaded code from `offset` with these registers (as in NativeRegisters) until it halts. */
  run(words: BigUint64Array, fx: DataView, offset: number): GuestStop {
    const { view } = this;
    setRegisters(view, words, fx);
    view.setBigUint64(L.RIP, BigInt(NATIVE_CODE + offset), true);
    const { most = MOST_INSTRUCTIONS, interrupts, moves, random, shakes } = this.#hardships;
    if (moves && random !== undefined) this.#move(random);
    this.cpu.setInterrupt(false);
    let result = this.cpu.run(this.#slice);
    for (let left = most; result === 'budget' && left > 0; ) {
      this.cpu.translator.flush();
      const slice = random === undefined ? this.#slice : 1 + random.below(this.#slice);
      if (interrupts) this.cpu.setInterrupt(true);
      if (shakes && random?.chance(10)) this.#shake(random);
      result = this.cpu.run(slice);
      left -= slice;
    }
    if (result !== 'halted') throw new Error(`the code did not halt: ${result}`);
    const rip = Number(view.getBigUint64(L.RIP, true) - SYSTEM);
    if (rip < HANDLERS || rip >= HANDLERS + 512) return { vector: -1, error: 0, address: 0n };
    // the frame on the IST stack: [error] RIP CS RFLAGS RSP SS
    const vector = (rip - 1 - HANDLERS) >> 4;
    const top = L.RAM_BASE + STACK;
    const frame = top - 40;
    const rsp = view.getBigUint64(frame + 24, true);
    const error = WITH_ERROR.has(vector) ? Number(view.getBigUint64(frame - 8, true)) : 0;
    view.setBigUint64(L.RIP, view.getBigUint64(frame, true), true);
    view.setBigUint64(L.RSP, rsp, true);
    return { vector, error, address: view.getBigUint64(L.CR2, true) };
  }

  /** RFLAGS as at the end of the code (handlers do not change arithmetic flags). */
  get rflags(): bigint {
    return (this.cpu.engine.runtime.getRflags as unknown as () => bigint)();
  }
}

export const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
