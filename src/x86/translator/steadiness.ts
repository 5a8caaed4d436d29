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
  // written out, it is copied at once
  const steady = [
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
  ];
  for (const { insns } of blocks)
    for (let i = 0; i < insns.length; i++) {
      const insn = insns[i]!;
      if (insn.def.semantics === undefined) return undefined;
      const step = constantStep(insn);
      if (step !== undefined && Math.abs(step) <= MAX_STEP) continue;
      const { operands, registers, stackDelta } = summaryOf(insn);
      for (let k = 0; k < operands.length; k++) {
        const operand = insn.operands[operands[k]!];
        if (operand !== undefined && operand.kind === 'gpr') steady[operand.reg] = false;
      }
      for (let k = 0; k < registers.length; k++) steady[registers[k]!] = false;
      if (stackDelta !== undefined && Math.abs(stackDelta) > MAX_STEP) steady[RSP] = false;
    }
  return steady;
}
