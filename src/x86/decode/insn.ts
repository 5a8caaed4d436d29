/** A decoded instruction: what the record encoder, the translator and the disassembler work from. */
import type { CompiledDef } from '../table/compile.ts';

export type OperandKind = 'gpr' | 'mem' | 'imm' | 'xmm' | 'mmx' | 'seg' | 'cr' | 'dr' | 'st' | 'rel';

/** One shape for all kinds: the decoder makes a great many of them, and V8 likes objects that look alike. */
interface OperandOf<Kind extends OperandKind, Size extends number = number> {
  readonly kind: Kind;
  /** Register number; a branch target as offset from the instruction's page; 0 for others. */
  readonly reg: number;
  /** Bytes that take part; memory: 0 = the address only. */
  readonly size: Size;
  /** AH CH DH BH (then `reg` is 0..3). */
  readonly high: boolean;
  /** Of an immediate: sign- or zero-extended as the instruction says. */
  readonly value: number | bigint;
}
export type GprOperand = OperandOf<'gpr', 1 | 2 | 4 | 8>;
export type MemOperand = OperandOf<'mem'>;
export type ImmOperand = OperandOf<'imm'>;
export type XmmOperand = OperandOf<'xmm'>;
export type MmxOperand = OperandOf<'mmx'>;
export type OtherOperand = OperandOf<'seg' | 'cr' | 'dr' | 'st' | 'rel'>;
export type Operand = GprOperand | MemOperand | ImmOperand | XmmOperand | MmxOperand | OtherOperand;

export function makeOperand<Kind extends OperandKind>(
  kind: Kind,
  reg: number,
  size: number,
  high = false,
  value: number | bigint = 0,
): Extract<Operand, { kind: Kind }> {
  return { kind, reg, size, high, value } as unknown as Extract<Operand, { kind: Kind }>;
}

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
