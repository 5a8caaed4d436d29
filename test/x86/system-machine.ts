/**
 * The runtime with 16 MiB of RAM and devices that keep a log: what tests of the system half drive. Instructions are
 * given as bytes, decoded by the real decoder and carried out by the function that the instruction table names.
 */
import { Decoder } from '../../src/x86/decode/decode.ts';
import { writeRecord } from '../../src/x86/decode/record.ts';
import { buildCpuid, type CpuidModel } from '../../src/x86/cpuid.ts';
import * as L from '../../src/x86/layout.ts';
import { OpcodeTable } from '../../src/x86/table/compile.ts';
import { system } from '../../src/x86/table/system.ts';
import { x87 } from '../../src/x86/table/x87.ts';
import { loadRuntime, type RuntimeExports } from '../native/runtime.ts';

export const RAM_BYTES = 16 * 2 ** 20;
/** A page of ROM behind RAM, and devices from 4 GiB - 16 MiB on. */
export const ROM_AT = 0xf0000000;
export const DEVICE = 0xfee00000;

export const PTE = { P: 1n, W: 2n, U: 4n, A: 0x20n, D: 0x40n, PS: 0x80n, G: 0x100n, NX: 1n << 63n } as const;
export const SEGMENT = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

/** Attributes of descriptors (bits 40..55). */
export const CODE64 = 0xa09b;
export const CODE32 = 0xc09b;
export const CODE16 = 0x009b;
export const DATA32 = 0xc093;
export const DPL3 = 0x60;

const SEL = { KERNEL_CODE: 0x08, KERNEL_DATA: 0x10, USER_CODE: 0x1b, USER_DATA: 0x23 };
export const { KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA } = SEL;

/** Where the machine keeps its tables (physical = linear in the identity map). */
export const GDT_AT = 0x10000;
export const IDT_AT = 0x11000;
export const TSS_AT = 0x12000;
export const ROOT = 0x100000;

let decoders: OpcodeTable | undefined;

export class SystemMachine {
  readonly exports: RuntimeExports;
  readonly view: DataView;
  readonly log: string[] = [];
  /** What devices answer: by address or port. */
  readonly mmio = new Map<number, number>();
  readonly ports = new Map<number, number>();
  readonly msrs = new Map<number, { low: number; high: number }>();
  tsc = 1000;
  cr8 = 0;
  readonly #decoder: Decoder;
  #nextTable = ROOT + 0x1000;

  constructor(cpuid: CpuidModel = buildCpuid({ model: 'max' })) {
    const record = (text: string): void => void this.log.push(text);
    const hex = (n: number): string => (n >>> 0).toString(16);
    const { exports, view } = loadRuntime({
      host_mmioRead: (pa: number, size: number) => {
        record(`read${size} ${pa.toString(16)}`);
        return this.mmio.get(pa) ?? 0;
      },
      host_mmioWrite: (pa: number, size: number, value: number) =>
        record(`write${size} ${pa.toString(16)} ${hex(value)}`),
      host_portRead: (port: number, size: number) => {
        record(`in${size} ${hex(port)}`);
        return this.ports.get(port) ?? -1;
      },
      host_portWrite: (port: number, size: number, value: number) =>
        record(`out${size} ${hex(port)} ${hex(value)}`),
      host_invalidate: (pfn: number, offset: number, size: number) =>
        record(`invalidate ${hex(pfn)} ${hex(offset)}+${size}`),
      host_tsc: () => this.tsc,
      host_random: () => 0x12345678,
      host_msrRead: (index: number) => {
        const value = this.msrs.get(index >>> 0);
        if (value === undefined) return 0;
        view.setUint32(L.MSR_LOW, value.low, true);
        view.setUint32(L.MSR_HIGH, value.high, true);
        return 1;
      },
      host_msrWrite: (index: number) => {
        if (!this.msrs.has(index >>> 0)) return 0;
        this.msrs.set(index >>> 0, {
          low: view.getUint32(L.MSR_LOW, true),
          high: view.getUint32(L.MSR_HIGH, true),
        });
        return 1;
      },
      host_cr8Read: () => this.cr8,
      host_cr8Write: (value: number) => {
        this.cr8 = value;
      },
      host_unsupported: (what: number, detail: number) => record(`unsupported ${what} ${hex(detail)}`),
    });
    this.exports = exports;
    this.view = view;
    decoders ??= new OpcodeTable([...system, ...x87]);
    this.#decoder = new Decoder(decoders, (feature) => cpuid.has(feature));
    for (let at = 0; at < RAM_BYTES; at += 4096)
      view.setUint32(L.PAGE_TABLE + (at >>> 12) * 4, (L.RAM_BASE + at) | L.PAGE_RAM, true);
    view.setUint32(L.PAGE_TABLE + (ROM_AT >>> 12) * 4, (L.RAM_BASE + RAM_BYTES) | L.PAGE_ROM, true);
    view.setUint32(L.CPUID_COUNT, cpuid.entries.length, true);
    for (const [i, entry] of cpuid.entries.entries())
      for (const [j, value] of entry.entries()) view.setUint32(L.CPUID_TABLE + i * 24 + j * 4, value, true);
    this.call('initReset');
  }

  call(name: string, ...args: (number | bigint)[]): number | bigint {
    const fn = this.exports[name];
    if (fn === undefined) throw new Error(`the runtime has no function '${name}'`);
    return fn(...args);
  }

  // State.

  get64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }
  set64(at: number, value: bigint | number): void {
    this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
  }
  get32(at: number): number {
    return this.view.getUint32(at, true);
  }
  set32(at: number, value: number): void {
    this.view.setUint32(at, value >>> 0, true);
  }
  get rip(): bigint {
    return this.get64(L.RIP);
  }
  get rsp(): bigint {
    return this.get64(L.RSP);
  }
  get cpl(): number {
    return this.get32(L.CPL);
  }
  get rflags(): bigint {
    return this.call('getRflags') as bigint;
  }
  set rflags(value: bigint) {
    this.call('setRflags', value, -1n);
  }
  /** [vector, error] of the last exception raised. */
  get exception(): [number, number] {
    return [this.view.getInt32(L.EXC_VECTOR, true), this.view.getInt32(L.EXC_ERROR, true)];
  }
  selector(seg: number): number {
    return this.get32(L.SEG_SEL + 4 * seg);
  }

  segment(seg: number, selector: number, base: number, limit: number, attr: number): void {
    this.call('setSegment', seg, selector, BigInt(base), limit | 0, attr);
  }

  // Guest-physical memory.

  phys64(pa: number): bigint {
    return this.get64(L.RAM_BASE + pa);
  }
  setPhys64(pa: number, value: bigint | number): void {
    this.set64(L.RAM_BASE + pa, value);
  }
  phys32(pa: number): number {
    return this.get32(L.RAM_BASE + pa);
  }
  setPhys32(pa: number, value: number): void {
    this.set32(L.RAM_BASE + pa, value);
  }
  bytes(pa: number, length: number): Uint8Array {
    return new Uint8Array(this.view.buffer, L.RAM_BASE + pa, length);
  }

  // Modes.

  /** Long mode on an empty root table; map pages with `map`. */
  longMode(cpl = 0): this {
    this.set64(L.CR3, ROOT);
    this.set64(L.CR4, 0x20 | 0x200);
    this.set64(L.EFER, 0xd01);
    this.set64(L.CR0, 0x80000011);
    return this.#flat(CODE64, cpl);
  }

  /** Protected mode, flat 32-bit segments, no paging. */
  flat32(cpl = 0): this {
    this.set64(L.CR0, 0x11);
    return this.#flat(CODE32, cpl);
  }

  #flat(code: number, cpl: number): this {
    const ring = cpl === 3 ? DPL3 : 0;
    this.set32(L.CPL, cpl);
    const data = cpl === 3 ? USER_DATA : KERNEL_DATA;
    this.segment(SEGMENT.CS, cpl === 3 ? USER_CODE : KERNEL_CODE, 0, 0xffffffff, code | ring);
    for (const seg of [0, 2, 3, 4, 5]) this.segment(seg, data, 0, 0xffffffff, DATA32 | ring);
    this.call('updateMode');
    this.call('tlbReset');
    return this;
  }

  /** Sets the entry for `va` at `level` (1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB) of the 4- or 5-level tables at ROOT. */
  map(va: bigint | number, pa: bigint | number, flags: bigint, level = 1, levels = 4): number {
    let table = ROOT;
    for (let at = levels; at > level; at--) {
      const slot = table + Number((BigInt(va) >> BigInt(12 + 9 * (at - 1))) & 511n) * 8;
      if (this.phys64(slot) === 0n) {
        this.setPhys64(slot, BigInt(this.#nextTable) | PTE.P | PTE.W | PTE.U);
        this.#nextTable += 0x1000;
      }
      table = Number(this.phys64(slot) & 0xff_ffff_f000n);
    }
    const slot = table + Number((BigInt(va) >> BigInt(12 + 9 * (level - 1))) & 511n) * 8;
    this.setPhys64(slot, BigInt(pa) | flags | (level > 1 ? PTE.PS : 0n));
    return slot;
  }

  /** Identity-maps the first 2 MiB of RAM, for the supervisor only. */
  identity(flags: bigint = PTE.P | PTE.W): this {
    for (let at = 0; at < 0x200000; at += 4096) this.map(at, at, flags);
    return this;
  }

  /** A GDT with kernel and user segments (see the selectors above), a TSS at 28h, and an IDT of the given gate type. */
  tables(code: number): this {
    const descriptor = (base: number, limit: number, attr: number): bigint => {
      const granular = (attr & 0x8000) !== 0 ? limit >>> 12 : limit;
      return (
        BigInt(granular & 0xffff) |
        (BigInt(base & 0xffffff) << 16n) |
        (BigInt(attr & 0xff) << 40n) |
        (BigInt((granular >>> 16) & 15) << 48n) |
        (BigInt((attr >> 12) & 15) << 52n) |
        (BigInt((base >>> 24) & 0xff) << 56n)
      );
    };
    const gdt = [
      0n,
      descriptor(0, 0xffffffff, code),
      descriptor(0, 0xffffffff, DATA32),
      descriptor(0, 0xffffffff, code | DPL3),
      descriptor(0, 0xffffffff, DATA32 | DPL3),
      descriptor(TSS_AT, 0x67, 0x89),
      0n,
      descriptor(0, 0xffffffff, CODE32 | DPL3),
      descriptor(0x1000, 0xffff, CODE16),
      descriptor(0x2000, 0xffff, 0x93),
    ];
    for (const [i, entry] of gdt.entries()) this.setPhys64(GDT_AT + i * 8, entry);
    this.set64(L.GDT_BASE, GDT_AT);
    this.set32(L.GDT_LIMIT, gdt.length * 8 - 1);
    this.set64(L.IDT_BASE, IDT_AT);
    this.set32(L.IDT_LIMIT, 0xfff);
    this.segment(SEGMENT.TR, 0x28, TSS_AT, 0x67, 0x8b);
    return this;
  }

  /** A 64-bit gate. */
  gate64(vector: number, target: bigint, type = 14, dpl = 0, ist = 0, selector: number = KERNEL_CODE): void {
    const low =
      (target & 0xffffn) |
      (BigInt(selector) << 16n) |
      (BigInt(ist) << 32n) |
      (BigInt(type | (dpl << 5) | 0x80) << 40n) |
      (((target >> 16n) & 0xffffn) << 48n);
    this.setPhys64(IDT_AT + vector * 16, low);
    this.setPhys64(IDT_AT + vector * 16 + 8, target >> 32n);
  }

  gate32(vector: number, target: number, type = 14, dpl = 0, selector: number = KERNEL_CODE): void {
    const low =
      BigInt(target & 0xffff) |
      (BigInt(selector) << 16n) |
      (BigInt(type | (dpl << 5) | 0x80) << 40n) |
      (BigInt(target >>> 16) << 48n);
    this.setPhys64(IDT_AT + vector * 8, low);
  }

  // Execution.

  /**
   * Carries out one instruction, given in hexadecimal, at the present RIP: returns the status, with RIP as the
   * dispatcher leaves it. Exceptions are raised and not delivered.
   */
  exec(code: string): number {
    const bytes = Uint8Array.from(code.match(/[0-9a-f]{2}/g)!, (pair) => Number.parseInt(pair, 16));
    const long = (this.get32(L.MODE) & L.MODE_CODE) === 2;
    const linear = this.rip + this.get64(L.SEG_BASE + 8);
    const insn = this.#decoder.decode(
      bytes,
      0,
      bytes.length,
      Number(linear & 0xfffn),
      this.get32(L.MODE) & L.MODE_CODE,
    );
    if (typeof insn === 'string') throw new Error(`${code} does not decode: ${insn}`);
    this.set64(L.VBASE, linear & ~0xfffn);
    writeRecord(this.view, L.RECORDS, insn, 0, long);
    const next = this.rip + BigInt(insn.length);
    const status = this.call(insn.def.helper!, L.RECORDS) as number;
    if (status === L.NEXT) this.set64(L.RIP, next);
    return status;
  }

  /** `exec`, and the exception is delivered if there is one. */
  step(code: string): void {
    if (this.exec(code) === L.EXCEPTION) this.call('deliverException');
  }
}
