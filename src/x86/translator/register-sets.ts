/** Sets of registers as numbers: a bit for each of the 16 general and, from VECTORS on, the 16 vector registers. */
import type { Operand } from '../decode/insn.ts';

export const VECTORS = 16;
export const REGISTERS = 32;

export function gprBit(reg: number): number {
  return 1 << reg;
}

function xmmBit(reg: number): number {
  return 1 << (VECTORS + reg);
}

/** The register that an operand is, or none. */
export function bitOf(operand: Operand | undefined): number {
  if (operand?.kind === 'gpr') return gprBit(operand.reg);
  return operand?.kind === 'xmm' ? xmmBit(operand.reg) : 0;
}
