/**
 * Which registers the runtime's functions for instructions read and change, so that a region can call them in its midst
 * and keep the rest in locals. What is not listed here is done outside, with all state in memory. Registers by number;
 * those that the instruction names as operands or in an address come on top. Source: Intel SDM volume 2.
 */
import type { Insn } from '../decode/insn.ts';

export interface Effects {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  /** The arithmetic flags are read, or set. */
  readonly readsFlags: boolean;
  readonly writesFlags: boolean;
  /** The first operand, a general register, is read; is written. */
  readonly operandRead: boolean;
  readonly operandWritten: boolean;
  /** May switch to another TLB (RFLAGS.AC). */
  readonly tlb: boolean;
  /** Reaches devices or the clock: they must find the count of instructions right. */
  readonly io: boolean;
}

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSP = 4;
const RSI = 6;
const RDI = 7;

const NONE: Effects = {
  reads: [],
  writes: [],
  readsFlags: false,
  writesFlags: false,
  operandRead: false,
  operandWritten: false,
  tlb: false,
  io: false,
};

const string = (registers: readonly number[], more: Partial<Effects> = {}): Effects => ({
  ...NONE,
  reads: [RCX, ...registers],
  writes: [RCX, ...registers],
  ...more,
});
const COMPARES = { readsFlags: true, writesFlags: true };
const TRANSFER = { ...NONE, reads: [RAX, RDX], writes: [RAX], io: true };

const BY_HELPER: Readonly<Record<string, Effects>> = {
  op_movs: string([RSI, RDI]),
  op_movs8: string([RSI, RDI]),
  op_stos: string([RDI, RAX]),
  op_stos8: string([RDI, RAX]),
  op_lods: string([RSI, RAX]),
  op_lods8: string([RSI, RAX]),
  op_cmps: string([RSI, RDI], COMPARES),
  op_cmps8: string([RSI, RDI], COMPARES),
  op_scas: string([RDI, RAX], COMPARES),
  op_scas8: string([RDI, RAX], COMPARES),
  op_cli: NONE,
  op_sti: NONE,
  op_mov_from_cr: { ...NONE, operandWritten: true, io: true },
  op_nop: NONE,
  op_swapgs: NONE,
  op_clflush: NONE,
  op_clac: { ...NONE, tlb: true },
  op_stac: { ...NONE, tlb: true },
  op_pushf: { ...NONE, reads: [RSP], writes: [RSP], readsFlags: true },
  op_popf: { ...NONE, reads: [RSP], writes: [RSP], readsFlags: true, writesFlags: true, tlb: true },
  op_rdtsc: { ...NONE, writes: [RAX, RDX], io: true },
  op_rdtscp: { ...NONE, writes: [RAX, RCX, RDX], io: true },
  op_rdmsr: { ...NONE, reads: [RCX], writes: [RAX, RDX], io: true },
  op_cpuid: { ...NONE, reads: [RAX, RCX], writes: [RAX, RBX, RCX, RDX] },
  op_mov_from_seg: { ...NONE, operandRead: true, operandWritten: true },
  op_rdfsbase: { ...NONE, operandRead: true, operandWritten: true },
  op_rdgsbase: { ...NONE, operandRead: true, operandWritten: true },
  op_wrfsbase: { ...NONE, operandRead: true },
  op_wrgsbase: { ...NONE, operandRead: true },
  op_verw: { ...NONE, operandRead: true, readsFlags: true, writesFlags: true },
  op_in_al_imm: TRANSFER,
  op_in_ax_imm: TRANSFER,
  op_in_al_dx: TRANSFER,
  op_in_ax_dx: TRANSFER,
  op_out_al_imm: TRANSFER,
  op_out_ax_imm: TRANSFER,
  op_out_al_dx: TRANSFER,
  op_out_ax_dx: TRANSFER,
  op_ldmxcsr: NONE,
  op_stmxcsr: NONE,
  op_emms: NONE,
  op_fwait: NONE,
  op_fnstsw_ax: { ...NONE, reads: [RAX], writes: [RAX] },
};

const X87: Effects = NONE;
const X87_COMPARE: Effects = { ...NONE, readsFlags: true, writesFlags: true };

/** What the function of the runtime for `insn` touches; undefined when that is not known to be little. */
export function effectsOf(insn: Insn): Effects | undefined {
  const { helper, map, opcode, name } = insn.def;
  if (helper === undefined) return undefined;
  const known = BY_HELPER[helper];
  if (known !== undefined) return known;
  // x87: registers and memory of its own, and general registers in addresses only
  if (map !== 0 || opcode < 0xd8 || opcode > 0xdf) return undefined;
  return name.startsWith('fcom') || name.startsWith('fucom') || name.startsWith('fcmov') ? X87_COMPARE : X87;
}

/** The general registers that the function of the runtime changes. */
export function changedBy(
  { writes, operandWritten }: Effects,
  { operands: [first] }: Insn,
): readonly number[] {
  return operandWritten && first?.kind === 'gpr' ? [...writes, first.reg] : writes;
}

/** STI: control goes on to the next instruction, in front of which no interrupt may come. */
export function holdsInterrupts(insn: Insn): boolean {
  return insn.def.helper === 'op_sti';
}
