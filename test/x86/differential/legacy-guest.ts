/**
 * Our processor set up like the native runner with legacy code: protected mode at CPL 3 with 32-bit paging, the
 * segments given, and ring-0 handlers that halt. Only the two areas of the runner are mapped for the user; the tables
 * lie where no 16-bit address reaches.
 */
import * as L from '../../../src/x86/layout.ts';
import type { Processor } from '../../../src/x86/processor.ts';
import { AREA_BYTES, NATIVE_CODE, NATIVE_DATA, type NativeSegment } from '../../native/processor.ts';
import {
  CODE_AT,
  DATA_AT,
  type GuestStop,
  makeProcessor,
  setRegisters,
  type Subject,
  WITH_ERROR,
} from './guest.ts';

const DIRECTORY = 0x1000;
const PAGES = 0x2000;
/** Linear address where physical 0 lies, for ring 0 only. */
const SYSTEM = 0x4000_0000;
const IDT = 0x8000;
const GDT = 0x9000;
const TSS = 0xa000;
const HANDLERS = 0xb000;
const STACK = 0x10000;
const RING0_CODE = 0x08;
const RING0_DATA = 0x10;

/** Segments under test: CS, DS and ES alike, SS. */
export interface LegacySegments {
  readonly code: NativeSegment;
  readonly data: NativeSegment;
  readonly stack: NativeSegment;
}

export class LegacyGuest implements Subject {
  readonly registers = 8;
  readonly userMode = true;
  readonly cpu: Processor;
  readonly view: DataView;
  readonly data: Uint8Array;
  readonly #segments: LegacySegments;
  #end = 0;

  constructor(segments: LegacySegments) {
    this.#segments = segments;
    this.cpu = makeProcessor(Number.POSITIVE_INFINITY);
    this.view = new DataView(this.cpu.engine.memory.buffer);
    this.data = this.cpu.guestMemory.bytes.subarray(L.RAM_BASE + DATA_AT, L.RAM_BASE + DATA_AT + AREA_BYTES);
    this.#prepare();
  }

  #u32(gpa: number, value: number): void {
    this.view.setUint32(L.RAM_BASE + gpa, value, true);
  }

  #prepare(): void {
    const { view } = this;
    this.#u32(DIRECTORY + 4 * (SYSTEM >>> 22), 0x83); // 4 MiB page at physical 0
    this.#u32(DIRECTORY + 4 * (NATIVE_CODE >>> 22), PAGES | 7);
    for (let at = 0; at < AREA_BYTES; at += 4096) {
      this.#u32(PAGES + 4 * (((NATIVE_CODE + at) >>> 12) & 1023), (CODE_AT + at) | 7);
      this.#u32(PAGES + 4 * (((NATIVE_DATA + at) >>> 12) & 1023), (DATA_AT + at) | 7);
    }
    for (let vector = 0; vector < 32; vector++) {
      const handler = SYSTEM + HANDLERS + 16 * vector;
      this.#u32(IDT + 8 * vector, (RING0_CODE << 16) | (handler & 0xffff));
      this.#u32(IDT + 8 * vector + 4, (handler & 0xffff0000) | 0x8e00); // 32-bit interrupt gate
      this.cpu.guestMemory.write(HANDLERS + 16 * vector, new Uint8Array([0xf4]));
    }
    for (const [i, descriptor] of [0n, 0x00cf_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn].entries())
      view.setBigUint64(L.RAM_BASE + GDT + 8 * i, descriptor, true);
    this.#u32(TSS + 4, SYSTEM + STACK);
    this.#u32(TSS + 8, RING0_DATA);
    this.cpu.enter({ mode: 'flat32', rip: 0n, gdtBase: BigInt(SYSTEM + GDT), gdtLimit: 0x17 });
    view.setBigUint64(L.IDT_BASE, BigInt(SYSTEM + IDT), true);
    view.setUint32(L.IDT_LIMIT, 0xff, true);
    this.#segment(7, 0, SYSTEM + TSS, 0x67, 0x8b);
    view.setBigUint64(L.CR3, BigInt(DIRECTORY), true);
    view.setBigUint64(L.CR4, 0x610n, true); // PSE OSFXSR OSXMMEXCPT
    view.setBigUint64(L.CR0, 0x8000_0033n, true); // PG NE ET MP PE
    (this.cpu.engine.runtime.tlbFlush as unknown as () => void)();
  }

  #segment(n: number, selector: number, base: number, limit: number, attr: number): void {
    const { view } = this;
    view.setUint32(L.SEG_SEL + 4 * n, selector, true);
    view.setBigUint64(L.SEG_BASE + 8 * n, BigInt(base), true);
    view.setUint32(L.SEG_LIMIT + 4 * n, limit, true);
    view.setUint32(L.SEG_ATTR + 4 * n, attr, true);
  }

  #user(n: number, { base, limit, bits, kind }: NativeSegment): void {
    const type = { code: 0xfb, data: 0xf3, 'expand-down': 0xf7 }[kind];
    const pages = limit > 0xfffff ? 0x8000 : 0;
    this.#segment(n, 0xf, base, limit, type | pages | (bits === 32 ? 0x4000 : 0));
  }

  /** Code followed by HLT, which ends the run: it is a #GP at CPL 3. */
  load(code: readonly number[], offset = 0): void {
    this.cpu.guestMemory.write(CODE_AT + offset, new Uint8Array([...code, 0xf4]));
    this.#end = NATIVE_CODE + offset + code.length - this.#segments.code.base;
  }

  run(words: BigUint64Array, fx: DataView, offset: number): GuestStop {
    const { view } = this;
    const { code, data, stack } = this.#segments;
    this.#user(1, code);
    this.#user(2, stack);
    this.#user(0, data);
    this.#user(3, data);
    view.setInt32(L.CPL, 3, true);
    setRegisters(view, words, fx);
    view.setBigUint64(L.RIP, BigInt(NATIVE_CODE + offset - code.base), true);
    (this.cpu.engine.runtime.updateMode as unknown as () => void)();
    const result = this.cpu.run(10_000);
    const at = Number(view.getBigUint64(L.RIP, true)) - SYSTEM;
    if (result !== 'halted' || at < HANDLERS || at >= HANDLERS + 512)
      throw new Error(`the code did not halt: ${result}\n${this.cpu.describeRegisters()}`);
    // the frame on the ring-0 stack: [error] EIP CS EFLAGS ESP SS
    const vector = (at - 1 - HANDLERS) >> 4;
    const frame = L.RAM_BASE + STACK - 20;
    const error = WITH_ERROR.has(vector) ? view.getUint32(frame - 4, true) : 0;
    const eip = view.getUint32(frame, true);
    view.setBigUint64(L.RIP, BigInt(eip), true);
    view.setBigUint64(L.RSP, BigInt(view.getUint32(frame + 12, true)), true);
    if (vector === 13 && error === 0 && eip === this.#end) return { vector: -1, error: 0, address: 0n };
    return { vector, error, address: view.getBigUint64(L.CR2, true) };
  }

  get rflags(): bigint {
    return (this.cpu.engine.runtime.getRflags as unknown as () => bigint)();
  }
}
