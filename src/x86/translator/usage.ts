/** Which registers instructions use and change, as sets, so that a loop can keep them in locals. */
import type { Insn } from '../decode/insn.ts';
import { changedBy, effectsOf } from './effects.ts';
import { bitOf, gprBit } from './register-sets.ts';
import { summaryOf } from './summary.ts';

const RSP = 4;

/** The registers that an instruction uses; one that it does not name may be missing. */
export function usedBy({ operands, mem }: Insn): number {
  let used = 0;
  for (const operand of operands) used |= bitOf(operand);
  if (mem !== undefined && mem.base >= 0) used |= gprBit(mem.base);
  if (mem !== undefined && mem.index >= 0) used |= gprBit(mem.index);
  return used;
}

/** The registers that an instruction changes; a vector register that is not its first operand may be missing. */
export function writtenBy(insn: Insn): number {
  const [first] = insn.operands;
  let written = first?.kind === 'xmm' ? bitOf(first) : 0;
  if (insn.def.semantics === undefined) {
    const effects = effectsOf(insn);
    for (const reg of effects === undefined ? [] : changedBy(effects, insn)) written |= gprBit(reg);
    return written;
  }
  const { operands, registers, stackDelta } = summaryOf(insn);
  for (const position of operands) written |= bitOf(insn.operands[position]);
  for (const reg of registers) written |= gprBit(reg);
  return stackDelta === undefined ? written : written | gprBit(RSP);
}
