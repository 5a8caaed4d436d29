/**
 * One x87 instruction on the host's processor and in the runtime, from the same state: what both need to set up, run
 * and compare. The runtime's helper is called with a record made here, in 64-bit mode with flat memory.
 */
import {
  CR0,
  CR4,
  EFLAGS,
  EXC_VECTOR,
  EXCEPTION,
  FCW,
  FSW,
  FTW,
  MODE,
  MXCSR,
  PAGE_RAM,
  PAGE_TABLE,
  RAM_BASE,
  RAX,
  RBX,
  REC_ADDRSIZE,
  REC_BASE,
  REC_FLAG_MEM,
  REC_FLAGS,
  REC_INDEX,
  REC_LENGTH,
  REC_OPSIZE,
  REC_R0,
  REC_SEG,
  REC_SEGBASE,
  RECORDS,
  TLB,
  TLB_BASE,
  TLB_BYTES,
  TLB_ENTRY_SHIFT,
  TLB_INVALID,
  VBASE,
  X87,
  ZERO,
  CC_OP,
  CC_SRC,
  CC_EFLAGS,
} from '../../src/x86/layout.ts';
import type { InsnDef } from '../../src/x86/table/types.ts';
import { NATIVE_CODE, NATIVE_DATA, type NativeProcessor, RFLAGS_WORD } from './processor.ts';
import type { LoadedRuntime } from './runtime.ts';

/** Bytes of guest memory that an instruction may touch; the operand starts at OPERAND. */
export const MEMORY_BYTES = 256;
export const OPERAND = 64;

/** x87 state in stack order. */
export interface X87State {
  fcw: number;
  fsw: number;
  /** Bit n: physical register n is in use. */
  used: number;
  /** Significand and sign/exponent of ST(0) to ST(7). */
  st: [bigint, number][];
}

export interface X87Result extends X87State {
  /** Exception vector, or -1. */
  vector: number;
  ax: number;
  flags: number;
  memory: Uint8Array;
}

/** Machine code of a table line: `[rbx]` for memory, `rm` for ST(i). Undefined: not of the x87's opcodes. */
export function machineCode(def: InsnDef, rm: number): number[] | undefined {
  const match = /^(?:(d[8-f])|9b)(?: \/(\d) (mem|reg)| modrm=([0-9a-f]{2}))?$/.exec(def.op);
  if (!match) return undefined;
  if (def.op === '9b') return [0x9b];
  const opcode = Number.parseInt(match[1]!, 16);
  if (match[4]) return [opcode, Number.parseInt(match[4], 16)];
  const reg = Number(match[2]) << 3;
  return [opcode, match[3] === 'mem' ? reg | 3 : 0xc0 | reg | rm];
}

export function runNative(
  cpu: NativeProcessor,
  state: X87State,
  memory: Uint8Array,
  flags: number,
): X87Result {
  const fx = cpu.input.fx;
  fx.setUint16(0, state.fcw, true);
  fx.setUint16(2, state.fsw, true);
  fx.setUint8(4, state.used);
  for (const [i, [sig, se]] of state.st.entries()) {
    fx.setBigUint64(32 + 16 * i, sig, true);
    fx.setUint16(40 + 16 * i, se, true);
  }
  cpu.data.set(memory);
  cpu.input.words[0] = 0x5555n;
  cpu.input.words[3] = BigInt(NATIVE_DATA + OPERAND);
  cpu.input.words[RFLAGS_WORD] = BigInt(flags | 0x202);
  const signal = cpu.run();
  const out = cpu.output.fx;
  const st: [bigint, number][] = [];
  for (let i = 0; i < 8; i++)
    st.push([out.getBigUint64(32 + 16 * i, true), out.getUint16(40 + 16 * i, true)]);
  return {
    fcw: out.getUint16(0, true),
    fsw: out.getUint16(2, true),
    used: out.getUint8(4),
    st,
    vector: signal ? cpu.stop().vector : -1,
    ax: Number(cpu.output.words[0] & 0xffffn),
    flags: Number(cpu.output.words[RFLAGS_WORD] & 0x8d5n),
    memory: cpu.data.slice(0, MEMORY_BYTES),
  };
}

/** Processor mode, memory and record of the runtime; to be called once. */
export function prepareRuntime({ view }: LoadedRuntime): void {
  view.setUint32(CR0, 0x33, true);
  view.setUint32(CR4, 0x600, true);
  view.setInt32(MODE, 2 | 8 | 16 | 32, true);
  view.setInt32(TLB_BASE, TLB, true);
  view.setUint32(EFLAGS, 2, true);
  view.setUint32(MXCSR, 0x1f80, true);
  for (let at = TLB; at < TLB + 3 * TLB_BYTES; at += 1 << TLB_ENTRY_SHIFT)
    for (let tag = 0; tag < 24; tag += 8) view.setBigUint64(at + tag, BigInt(TLB_INVALID), true);
  for (const [page, address] of [
    [NATIVE_DATA, RAM_BASE],
    [NATIVE_CODE, RAM_BASE + 4096],
  ] as const)
    view.setUint32(PAGE_TABLE + (page >>> 12) * 4, address | PAGE_RAM, true);
  view.setBigUint64(VBASE, BigInt(NATIVE_CODE), true);
  view.setBigUint64(RBX, BigInt(NATIVE_DATA + OPERAND), true);
}

export function setRecord(
  { view }: Pick<LoadedRuntime, 'view'>,
  code: readonly number[],
  memory: boolean,
  opsize = 4,
): number {
  const rec = RECORDS;
  for (let i = 0; i < 48; i++) view.setUint8(rec + i, 0);
  view.setUint8(rec + REC_LENGTH, code.length);
  view.setUint8(rec + REC_FLAGS, memory ? REC_FLAG_MEM : 0);
  view.setUint16(rec + REC_R0, (code.at(-1) ?? 0) & 7, true);
  view.setUint8(rec + REC_OPSIZE, opsize);
  view.setUint8(rec + REC_ADDRSIZE, 8);
  view.setUint16(rec + REC_BASE, memory ? RBX : ZERO, true);
  view.setUint16(rec + REC_INDEX, ZERO, true);
  view.setUint16(rec + REC_SEGBASE, ZERO, true);
  view.setUint8(rec + REC_SEG, 3);
  for (const [i, byte] of code.entries()) view.setUint8(RAM_BASE + 4096 + i, byte);
  return rec;
}

export function runRuntime(
  runtime: LoadedRuntime,
  helper: string,
  rec: number,
  state: X87State,
  memory: Uint8Array,
  flags: number,
): X87Result {
  const { view } = runtime;
  const top = (state.fsw >> 11) & 7;
  view.setUint32(FCW, state.fcw, true);
  view.setUint32(FSW, state.fsw, true);
  let tags = 0;
  for (let r = 0; r < 8; r++) if (!((state.used >> r) & 1)) tags |= 3 << (2 * r);
  view.setUint32(FTW, tags, true);
  for (const [i, [sig, se]] of state.st.entries()) {
    const at = X87 + 16 * ((top + i) & 7);
    view.setBigUint64(at, sig, true);
    view.setBigUint64(at + 8, BigInt(se), true);
  }
  const guest = new Uint8Array(view.buffer, RAM_BASE, MEMORY_BYTES);
  guest.set(memory);
  view.setBigUint64(RAX, 0x5555n, true);
  view.setInt32(CC_OP, CC_EFLAGS, true);
  view.setBigUint64(CC_SRC, BigInt(flags), true);
  const call = runtime.exports[helper];
  if (call === undefined) throw new Error(`the runtime has no ${helper}`);
  const status = call(rec);

  const fsw = view.getUint32(FSW, true);
  const topAfter = (fsw >> 11) & 7;
  const tagsAfter = view.getUint32(FTW, true);
  let used = 0;
  for (let r = 0; r < 8; r++) if (((tagsAfter >> (2 * r)) & 3) !== 3) used |= 1 << r;
  const st: [bigint, number][] = [];
  for (let i = 0; i < 8; i++) {
    const at = X87 + 16 * ((topAfter + i) & 7);
    st.push([view.getBigUint64(at, true), view.getUint16(at + 8, true)]);
  }
  return {
    fcw: view.getUint32(FCW, true),
    fsw,
    used,
    st,
    vector:
      status === EXCEPTION ? view.getInt32(EXC_VECTOR, true) : status === 0 ? -1 : 1000 + Number(status),
    ax: view.getUint16(RAX, true),
    flags: Number(view.getBigUint64(CC_SRC, true)),
    memory: guest.slice(),
  };
}
