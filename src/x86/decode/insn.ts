/** A decoded instruction: what the record encoder, the translator and the disassembler work from. */
import type { CompiledDef } from '../table/compile.ts';

/** A general register; `high` is AH CH DH BH (then `reg` is 0..3). */
export interface GprOperand {
  readonly kind: 'gpr';
  readonly reg: number;
  readonly size: 1 | 2 | 4 | 8;
  readonly high: boolean;
}
/** Memory at `Insn.mem`; size 0 = the address only. */
export interface MemOperand {
  readonly kind: 'mem';
  readonly size: number;
}
export interface ImmOperand {
  readonly kind: 'imm';
  readonly size: number;
  /** Sign- or zero-extended as the instruction says. */
  readonly value: number | bigint;
}
export interface XmmOperand {
  readonly kind: 'xmm';
  readonly reg: number;
  /** Bytes that take part. */
  readonly size: number;
}
export interface MmxOperand {
  readonly kind: 'mmx';
  readonly reg: number;
  readonly size: number;
}
/** Segment, control, debug or x87 register number; a branch target as offset from the instruction's page. */
export interface OtherOperand {
  readonly kind: 'seg' | 'cr' | 'dr' | 'st' | 'rel';
  readonly reg: number;
  readonly size: number;
}
export type Operand = GprOperand | MemOperand | ImmOperand | XmmOperand | MmxOperand | OtherOperand;

/** An address: base + (index << scale) + disp in the given segment. Registers are -1 when absent. */
export interface MemAddress {
  base: number;
  index: number;
  scale: number;
  disp: number | bigint;
  /** Segment register index (SS for stack-based, else DS, unless overridden). */
  seg: number;
  ripRelative: boolean;
}

export interface Insn {
  readonly def: CompiledDef;
  /** Offset of the first byte in its page. */
  readonly offset: number;
  readonly length: number;
  /** Effective operand size in bytes (2 4 8) for operands that depend on it. */
  readonly opsize: 2 | 4 | 8;
  readonly addrsize: 2 | 4 | 8;
  readonly rexW: boolean;
  readonly lock: boolean;
  /** 0 none, 1 F3, 2 F2. */
  readonly rep: 0 | 1 | 2;
  /** Segment override or -1. */
  readonly segOverride: number;
  readonly operands: readonly Operand[];
  readonly mem: MemAddress | undefined;
}
