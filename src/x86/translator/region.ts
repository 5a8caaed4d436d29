/**
 * Chooses what belongs to a region: the blocks of one physical page that are reached from a hot block along direct
 * branches, calls and their return sites. Only blocks that have run are taken, so that cold paths stay out.
 */
import type { Block, CodeCache } from '../code-cache.ts';
import type { Insn } from '../decode/insn.ts';

/** Bounds: V8's optimising compiler takes more than linear time in the size of a function. */
const MAX_BLOCKS = 60;
const MAX_INSNS = 400;

/** A run of instructions with one entry, its first. Blocks never overlap here: each ends where another starts. */
export interface RegionBlock {
  readonly offset: number;
  readonly insns: readonly Insn[];
  /** The cached block that starts here: an entry of the region. */
  readonly block: Block;
  /** Continues at the next offset (cut by another block's start, by an instruction that is not translated, …). */
  readonly fallsTo: number | undefined;
}

/** Instructions that the runtime or the system does are left to the interpreter. */
export function isTranslatable(insn: Insn): boolean {
  return insn.def.semantics !== undefined && !insn.def.flagSet.has('sys');
}

/** Page offsets where control may go after a block, as far as they are known. */
function successors(block: Block): number[] {
  const last = block.insns.at(-1);
  if (last === undefined) return [];
  const next = last.offset + last.length;
  if (block.end !== 'transfer') return [next];
  const target = last.operands[0];
  if (target?.kind === 'rel') return last.def.name === 'jmp' ? [target.reg] : [target.reg, next];
  // a call leaves a return site; a return or an indirect jump nothing
  return last.def.name === 'call' ? [next] : [];
}

/** The region of a hot block, in address order; empty when it cannot be translated. */
export function selectRegion(cache: CodeCache, hot: Block): RegionBlock[] {
  const page = hot.physical - (hot.physical % 4096);
  const chosen = new Map<number, Block>();
  const queue = [hot];
  let insns = 0;
  for (let at = 0; at < queue.length; at++) {
    const block = queue[at]!;
    const offset = block.physical % 4096;
    if (chosen.has(offset) || block.nextPage >= 0) continue;
    const first = block.insns[0];
    if (first === undefined || !isTranslatable(first)) continue;
    if (chosen.size >= MAX_BLOCKS || insns + block.insns.length > MAX_INSNS) break;
    chosen.set(offset, block);
    insns += block.insns.length;
    for (const target of successors(block)) {
      if (target < 0 || target > 4095) continue;
      const next = cache.peek(page + target, hot.mode);
      if (next !== undefined) queue.push(next);
    }
  }
  const offsets = [...chosen.keys()].sort((a, b) => a - b);
  return offsets.map((offset) => {
    const block = chosen.get(offset)!;
    const taken: Insn[] = [];
    let fallsTo: number | undefined;
    for (const insn of block.insns) {
      if (taken.length > 0 && chosen.has(insn.offset)) {
        fallsTo = insn.offset;
        break;
      }
      if (!isTranslatable(insn)) {
        fallsTo = insn.offset;
        break;
      }
      taken.push(insn);
    }
    const last = taken.at(-1)!;
    if (fallsTo === undefined && !(block.end === 'transfer' && last === block.insns.at(-1)))
      fallsTo = last.offset + last.length;
    return { offset, insns: taken, block, fallsTo };
  });
}
