/**
 * 64-bit guests of a few functions, given in hexadecimal: the page tables, a handler, and how they are run. For guests
 * of random instructions see differential/guest.ts.
 */
import { readFileSync } from 'node:fs';
import { Tracer } from '../../src/core/trace.ts';
import { buildCpuid } from '../../src/x86/cpuid.ts';
import * as L from '../../src/x86/layout.ts';
import { Processor } from '../../src/x86/processor.ts';
import { bareBus } from './bare-bus.ts';

const PML4 = 0x1000;
const PDPT = 0x2000;
/** The page directory of the first GiB. */
export const DIRECTORY = 0x3000;
/** The page table of the 2 MiB at VIRTUAL. */
export const PAGES = 0x4000;
export const VIRTUAL = 0x20_0000;
export const CODE = 0x10_000;
export const STACK = 0x9000;
const GDT = 0x500;
const IDT = 0x30_000;

export function hex(code: string): Uint8Array {
  return Uint8Array.from(code.match(/[0-9a-f]{2}/g)!, (pair) => Number.parseInt(pair, 16));
}

/** A number in hexadecimal, the lowest byte first. */
export const little = (value: number, bytes = 4): string =>
  Array.from({ length: bytes }, (_, i) => ((value >>> (8 * i)) & 0xff).toString(16).padStart(2, '0')).join(
    '',
  );

/** The operand of a jump or call whose next instruction is at `from`. */
export const relative = (from: number, to: number): string => little(to - from);

export function writeU64(cpu: Processor, gpa: number, value: number | bigint): void {
  cpu.guestMemory.write(gpa, new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
}

/** Has the processor in long mode at `rip`, with the first 2 MiB mapped to themselves. */
export function enterLongMode(cpu: Processor, rip = CODE): void {
  writeU64(cpu, PML4, PDPT | 3);
  writeU64(cpu, PDPT, DIRECTORY | 3);
  writeU64(cpu, DIRECTORY, 0x83);
  cpu.enter({ mode: 'long', rip: BigInt(rip), rsp: BigInt(STACK), cr3: BigInt(PML4) });
}

/** Where the page table of `pagedProcessor` is. */
export const TABLE = 0x4000;

/** A processor with 2 MiB in long mode, each page of 4 KiB mapped to itself, and `code` where it begins. */
export function pagedProcessor(code: string, hotThreshold: number): Processor {
  const cpu = new Processor({
    runtimeCode: readFileSync(new URL('../../dist/x86/runtime.wasm', import.meta.url)),
    ram: [{ gpa: 0, size: 2 ** 21 }],
    cpuid: buildCpuid({ model: 'max' }),
    tracer: new Tracer(),
    hotThreshold,
    bus: bareBus,
  });
  enterLongMode(cpu);
  writeU64(cpu, DIRECTORY, TABLE | 3);
  for (let page = 0; page < 512; page++) writeU64(cpu, TABLE + 8 * page, (page << 12) | 3);
  cpu.guestMemory.write(CODE, hex(code));
  return cpu;
}

/** Descriptor tables with a 64-bit interrupt gate for `vector`, and the code segment 10h that it needs. */
export function setHandler(cpu: Processor, vector: number, handler: number): void {
  const view = new DataView(cpu.engine.memory.buffer);
  writeU64(
    cpu,
    IDT + vector * 16,
    BigInt(handler & 0xffff) | (0x10n << 16n) | (0x8e00n << 32n) | (BigInt(handler >>> 16) << 48n),
  );
  writeU64(cpu, GDT + 0x10, 0x00af_9b00_0000_ffffn);
  writeU64(cpu, GDT + 0x18, 0x00cf_9300_0000_ffffn);
  view.setBigUint64(L.IDT_BASE, BigInt(IDT), true);
  view.setUint32(L.IDT_LIMIT, 0xfff, true);
  view.setBigUint64(L.GDT_BASE, BigInt(GDT), true);
  view.setUint32(L.GDT_LIMIT, 0xff, true);
}

/** How a guest is run: instructions at a time, after how many slices it has no end, and what happens in between. */
export interface Slices {
  readonly slice: number | (() => number);
  readonly most: number;
  readonly between?: () => void;
}

/**
 * Runs from `rip` with RCX = `count` until HLT; what has become hot is translated between slices.
 * @returns RBX, which starts as 0
 */
export function runFunction(
  cpu: Processor,
  count: number,
  rip: number,
  { slice, most, between = () => {} }: Slices,
): number {
  const view = new DataView(cpu.engine.memory.buffer);
  for (let i = 0; i < 16; i++) view.setBigUint64(L.GPR + 8 * i, 0n, true);
  view.setBigUint64(L.RCX, BigInt(count), true);
  view.setBigUint64(L.RSP, BigInt(STACK), true);
  view.setBigUint64(L.RIP, BigInt(rip), true);
  view.setInt32(L.HALTED, 0, true);
  for (let left = most; left > 0; left--) {
    const result = cpu.run(typeof slice === 'number' ? slice : slice());
    if (result === 'halted') return Number(view.getBigUint64(L.RBX, true));
    if (result !== 'budget') throw new Error(`${result}\n${cpu.describeRegisters()}`);
    cpu.translator.flush();
    between();
  }
  throw new Error(`no end\n${cpu.describeRegisters()}`);
}

/** A processor in long mode; 16 pages at VIRTUAL go where `map` says. */
export class LongModeGuest {
  readonly cpu: Processor;
  readonly view: DataView;
  readonly #slices: Slices;

  constructor(cpu: Processor, slices: Slices) {
    this.cpu = cpu;
    this.view = new DataView(cpu.engine.memory.buffer);
    this.#slices = slices;
    enterLongMode(cpu);
    this.u64(DIRECTORY + 8, PAGES | 3);
  }

  u64(gpa: number, value: number | bigint): void {
    writeU64(this.cpu, gpa, value);
  }

  /** Maps page n of VIRTUAL. */
  map(n: number, physical: number): void {
    this.u64(PAGES + 8 * n, physical | 3);
    this.flushTlb();
  }

  flushTlb(): void {
    (this.cpu.engine.runtime.tlbFlush as unknown as () => void)();
  }

  write(gpa: number, code: string): this {
    this.cpu.guestMemory.write(gpa, hex(code));
    return this;
  }

  /** See `runFunction`. */
  run(count: number, rip = CODE): number {
    return runFunction(this.cpu, count, rip, this.#slices);
  }
}
