/**
 * Chooses what belongs to a region: the blocks that are reached from a hot block along direct branches, calls and their
 * return sites, in its own page and a few neighbours. Only blocks that have run are taken, so that cold paths stay out.
 */
import type { Block, CodeCache } from '../code-cache.ts';
import type { Insn } from '../decode/insn.ts';

/** Bounds: V8's optimising compiler takes more than linear time in the size of a function. */
const MAX_BLOCKS = 60;
const MAX_INSNS = 400;
const MAX_PAGES = 3;
/** How far away a page may be, in pages: where an instruction is must fit in 16 bits (see `WHERE_BIAS`). */
export const MAX_PAGE_DISTANCE = 3;
const PAGE = 4096;

/** A run of instructions with one entry, its first. Blocks never overlap here: each ends where another starts. */
export interface RegionBlock {
  /** Offset from the start of the region's first page (that of the hot block); may be negative. */
  readonly offset: number;
  /** Offset of the page that the block lies in: a multiple of 4096. */
  readonly page: number;
  readonly insns: readonly Insn[];
  /** The cached block that starts here: an entry of the region. */
  readonly block: Block;
  /** Continues at this offset (cut by another block's start, by an instruction that is not translated, …). */
  readonly fallsTo: number | undefined;
}

export interface Selection {
  readonly hot: Block;
  /** In order of their offsets. */
  readonly blocks: readonly RegionBlock[];
  /** Physical page by offset of the page. */
  readonly pages: ReadonlyMap<number, number>;
}

/** Instructions that the runtime or the system does are left to the interpreter. */
export function isTranslatable(insn: Insn): boolean {
  return insn.def.semantics !== undefined && !insn.def.flagSet.has('sys');
}

/** Offsets, from the block's page, where control may go after it, as far as they are known. */
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

/**
 * The region of a hot block, or undefined when it cannot be translated.
 * @param mapped physical page of the page `distance` pages away from the hot block's, or -1 when that is not known
 */
export function selectRegion(
  cache: CodeCache,
  hot: Block,
  mapped: (distance: number) => number,
): Selection | undefined {
  const home = Math.floor(hot.physical / PAGE);
  const pages = new Map([[0, home]]);
  const chosen = new Map<number, Block>();
  const queue: number[] = [hot.physical % PAGE];
  const mayLeave = !cache.keepsAlone(home);
  /** Physical page of a page offset, taking the page in if there is room. */
  const pageAt = (page: number): number => {
    const known = pages.get(page);
    if (known !== undefined) return known;
    if (!mayLeave || pages.size >= MAX_PAGES || Math.abs(page) > MAX_PAGE_DISTANCE * PAGE) return -1;
    return mapped(page / PAGE);
  };
  let insns = 0;
  for (let at = 0; at < queue.length; at++) {
    const offset = queue[at]!;
    if (chosen.has(offset)) continue;
    const page = Math.floor(offset / PAGE) * PAGE;
    const physicalPage = pageAt(page);
    if (physicalPage < 0) continue;
    const block = cache.peek(physicalPage * PAGE + (offset - page), hot.mode);
    const first = block?.insns[0];
    if (block === undefined || first === undefined || !isTranslatable(first)) continue;
    // code of other pages that has a region already is called there, not copied
    if (page !== 0 && block.region !== undefined) continue;
    // an instruction that runs into the next page needs that page to be checked, too
    if (block.nextPage >= 0 && (pages.get(page + PAGE) ?? -1) !== block.nextPage) continue;
    if (chosen.size >= MAX_BLOCKS || insns + block.insns.length > MAX_INSNS) break;
    pages.set(page, physicalPage);
    chosen.set(offset, block);
    insns += block.insns.length;
    for (const target of successors(block)) queue.push(page + target);
  }
  if (!chosen.has(hot.physical % PAGE)) return undefined;
  const offsets = [...chosen.keys()].sort((a, b) => a - b);
  const blocks = offsets.map((offset) => cut(offset, chosen));
  return { hot, blocks, pages };
}

/** A block up to where another one starts, or up to the first instruction that is not translated. */
function cut(offset: number, chosen: ReadonlyMap<number, Block>): RegionBlock {
  const block = chosen.get(offset)!;
  const page = Math.floor(offset / PAGE) * PAGE;
  const insns: Insn[] = [];
  let fallsTo: number | undefined;
  for (const insn of block.insns) {
    const at = page + insn.offset;
    if ((insns.length > 0 && chosen.has(at)) || !isTranslatable(insn)) {
      fallsTo = at;
      break;
    }
    insns.push(insn);
  }
  const last = insns.at(-1)!;
  if (fallsTo === undefined && !(block.end === 'transfer' && last === block.insns.at(-1)))
    fallsTo = page + last.offset + last.length;
  return { offset, page, insns, block, fallsTo };
}
