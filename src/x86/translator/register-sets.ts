/** Sets of registers as numbers: a bit for each of the 16 general and the 16 vector registers. */
import type { Operand } from '../decode/insn.ts';

export function gprBit(reg: number): number {
  return 1 << reg;
}

export function xmmBit(reg: number): number {
  return 0x10000 << reg;
}

/** The register that an operand is, or none. */
export function bitOf(operand: Operand | undefined): number {
  if (operand?.kind === 'gpr') return gprBit(operand.reg);
  return operand?.kind === 'xmm' ? xmmBit(operand.reg) : 0;
}
