/**
 * Chooses what belongs to a region: the blocks that are reached from a hot block along direct branches, calls and their
 * return sites, in its own page and a few neighbours. Only blocks that have run are taken, so that cold paths stay out.
 */
import type { Block } from '../block.ts';
import type { CodeCache } from '../code-cache.ts';
import type { Insn } from '../decode/insn.ts';
import { effectsOf, holdsInterrupts } from './effects.ts';

/**
 * Bounds: V8's optimising compiler takes more than linear time in the size of a function, and what it has not come to yet
 * runs several times slower. Going on to another region costs a few nanoseconds, so that larger ones gain nothing.
 */
const MAX_BLOCKS = 24;
const MAX_INSNS = 128;
const MAX_PAGES = 8;
/** How far away a page may be, in pages: offsets in bytes must leave room in a 64-bit number (RegionEmitter.where). */
const MAX_PAGE_DISTANCE = 2 ** 30;
/** A block joins a region of another when it runs at least once for so many times that the hot block does. */
const MIN_SHARE = 32;
/** Code that has a region of at most so many instructions is copied; a larger one is gone on to. */
const MAX_COPIED = 60;
const PAGE = 4096;

/** A run of instructions with one entry, its first. Blocks never overlap here: each ends where another starts. */
export interface RegionBlock {
  /** Offset from the start of the region's first page (that of the hot block); may be negative. */
  readonly offset: number;
  /** Offset of the page that the block lies in: a multiple of 4096. */
  readonly page: number;
  readonly insns: readonly Insn[];
  /** The bytes of the block, as they were when `insns` were decoded; only where that was asked for. */
  readonly code: Uint8Array | undefined;
  /** The cached block that starts here: an entry of the region. */
  readonly block: Block;
  /** Continues at this offset (cut by another block's start, by an instruction that is not translated, …). */
  readonly fallsTo: number | undefined;
}

export interface Selection {
  readonly hot: Block;
  /** Where the hot block is mapped. */
  readonly linear: bigint;
  /** In order of their offsets. */
  readonly blocks: readonly RegionBlock[];
  /** In all of its blocks. */
  readonly instructions: number;
  /** Physical page by offset of the page. */
  readonly pages: ReadonlyMap<number, number>;
  /** Offsets of blocks where control comes back from outside: after calls, after instructions done outside. */
  readonly sites: readonly number[];
  /** For blocks, by offset, that end with an indirect jump or call: offsets where it is expected to go. */
  readonly expected: ReadonlyMap<number, readonly number[]>;
}

/** Blocks that begin with an instruction which may touch all state are left to the interpreter. */
function isTranslatable(insn: Insn): boolean {
  return insn.def.semantics !== undefined || effectsOf(insn) !== undefined;
}

interface Chosen {
  readonly block: Block;
  readonly code: Uint8Array | undefined;
  readonly insns: readonly Insn[];
}

interface Successors {
  /** Offsets, from the block's page, where control may go after the block. */
  readonly targets: readonly number[];
  /** One where it comes back from outside: after a call, or after an instruction that is done outside. */
  readonly site: number | undefined;
}

function successors(insns: readonly Insn[]): Successors {
  for (let i = 0; i < insns.length; i++) {
    const insn = insns[i]!;
    if (!isTranslatable(insn)) return { targets: [], site: insn.offset + insn.length };
  }
  const last = insns[insns.length - 1];
  if (last === undefined) return { targets: [], site: undefined };
  const next = last.offset + last.length;
  if (!last.def.ends || holdsInterrupts(last)) return { targets: [next], site: undefined };
  const target = last.operands[0];
  const name = last.def.name;
  if (target?.kind === 'rel') {
    if (name === 'call') return { targets: [target.reg], site: next };
    return { targets: name === 'jmp' ? [target.reg] : [target.reg, next], site: undefined };
  }
  // a return or an indirect jump leads anywhere
  return { targets: [], site: name === 'call' ? next : undefined };
}

/**
 * The region of a hot block, or undefined when it cannot be translated.
 * @param linear where the hot block is mapped
 * @param mapped physical page of the page `distance` pages away from the hot block's, or -1 when that is not known
 * @param keeps the region is for later runs, too
 */
export function selectRegion(
  cache: CodeCache,
  hot: Block,
  linear: bigint,
  mapped: (distance: number) => number,
  keeps = false,
): Selection | undefined {
  const home = Math.floor(hot.physical / PAGE);
  const pages = new Map([[0, home]]);
  const chosen = new Map<number, Chosen>();
  const queue: number[] = [hot.physical % PAGE];
  const mayLeave = !cache.keepsAlone(home);
  /** Physical page of a page offset, taking the page in if there is room. */
  const pageAt = (page: number): number => {
    const known = pages.get(page);
    if (known !== undefined) return known;
    if (!mayLeave || pages.size >= MAX_PAGES || Math.abs(page) > MAX_PAGE_DISTANCE * PAGE) return -1;
    return mapped(page / PAGE);
  };
  let count = 0;
  const sites = new Set<number>();
  const expected = new Map<number, readonly number[]>();
  const enough = Math.floor(cache.hotThreshold / MIN_SHARE);
  for (let at = 0; at < queue.length; at++) {
    const offset = queue[at]!;
    if (chosen.has(offset)) continue;
    const page = Math.floor(offset / PAGE) * PAGE;
    const physicalPage = pageAt(page);
    if (physicalPage < 0) continue;
    const block = cache.peek(physicalPage * PAGE + (offset - page), hot.mode);
    if (block === undefined || block.instructions === 0) continue;
    const region = block.region?.region;
    if (region === undefined ? cache.executions(block) < enough : region.instructions > MAX_COPIED) continue;
    // an instruction that runs into the next page needs that page to be checked, too
    if (block.nextPage >= 0 && (pages.get(page + PAGE) ?? -1) !== block.nextPage) continue;
    if (chosen.size >= MAX_BLOCKS || count + block.instructions > MAX_INSNS) break;
    // a device may be writing here on another thread, and tell only when it has done so
    const code = keeps ? cache.guestCode.of(block) : undefined;
    const insns = cache.insnsOf(block);
    if (code !== undefined && !cache.guestCode.holds(block.physical, block.nextPage, code)) continue;
    // fewer: code has been changed behind our back, and that is being found out
    if (insns.length < block.instructions || !isTranslatable(insns[0]!)) continue;
    pages.set(page, physicalPage);
    chosen.set(offset, { block, code, insns });
    count += insns.length;
    const { targets, site } = successors(insns);
    for (const target of targets) queue.push(page + target);
    if (block.indirect) {
      const offsets = cache.recentTargets(block).map((target) => Number(target - (linear & ~0xfffn)));
      expected.set(offset, offsets);
      queue.push(...offsets);
    }
    if (site !== undefined) {
      queue.push(page + site);
      sites.add(page + site);
    }
  }
  if (!chosen.has(hot.physical % PAGE)) return undefined;
  const offsets = [...chosen.keys()].sort((a, b) => a - b);
  const blocks = offsets.map((offset) => cut(offset, chosen));
  return {
    hot,
    linear,
    blocks,
    instructions: blocks.reduce((sum, { insns }) => sum + insns.length, 0),
    pages,
    sites: offsets.filter((offset) => sites.has(offset)),
    expected,
  };
}

/** A block up to where another one starts, or up to the first instruction that is not translated. */
function cut(offset: number, chosen: ReadonlyMap<number, Chosen>): RegionBlock {
  const { block, code, insns: all } = chosen.get(offset)!;
  const page = Math.floor(offset / PAGE) * PAGE;
  const insns: Insn[] = [];
  let fallsTo: number | undefined;
  for (let i = 0; i < all.length; i++) {
    const insn = all[i]!;
    const at = page + insn.offset;
    if (insns.length > 0 && chosen.has(at)) {
      fallsTo = at;
      break;
    }
    insns.push(insn);
    // leaves the region
    if (!isTranslatable(insn)) break;
  }
  const last = insns.at(-1)!;
  if (
    fallsTo === undefined &&
    isTranslatable(last) &&
    (!(block.end === 'transfer' && last.def.ends) || holdsInterrupts(last))
  )
    fallsTo = page + last.offset + last.length;
  return { offset, page, insns, code, block, fallsTo };
}
