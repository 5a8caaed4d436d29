/**
 * Which general registers a loop leaves alone, or only moves by small constants. An access through such registers mostly
 * stays in the page that it was in last time, so that its page is worth remembering (memory.ts).
 */
import type { Insn } from '../decode/insn.ts';
import { constantStep } from './groups.ts';
import { summaryOf } from './summary.ts';

/** By number of the register: whether it is steady. */
export type Steadiness = readonly boolean[];

/** More than that at a time, and the next page comes too soon. */
const MAX_STEP = 128;
const RSP = 4;

/** Of a loop's instructions; undefined where one is done by the runtime, which may change what is mapped where. */
export function steadinessOf(blocks: Iterable<{ readonly insns: readonly Insn[] }>): Steadiness | undefined {
  const steady = Array.from({ length: 16 }, () => true);
  for (const { insns } of blocks)
    for (const insn of insns) {
      if (insn.def.semantics === undefined) return undefined;
      const step = constantStep(insn);
      if (step !== undefined && Math.abs(step) <= MAX_STEP) continue;
      const { operands, registers, stackDelta } = summaryOf(insn);
      for (const position of operands) {
        const operand = insn.operands[position];
        if (operand?.kind === 'gpr') steady[operand.reg] = false;
      }
      for (const register of registers) steady[register] = false;
      if (stackDelta !== undefined && Math.abs(stackDelta) > MAX_STEP) steady[RSP] = false;
    }
  return steady;
}
