/**
 * Regions for later runs: a region's function with all that it was made from, as bytes, and back. It holds wherever the
 * same code stands at the same places of its pages, mapped at the same distances; nothing in it depends on the addresses
 * of one machine, for those are symbols (symbols.ts). The guest's code is kept with it and compared byte by byte.
 */
import { ByteReader, ByteWriter, putS32, putU14 } from '../../wasm/bytes.ts';
import { assert } from '../../core/errors.ts';
import { CALLED } from '../../wasm/expr.ts';
import type { WrittenFunction } from '../../wasm/function.ts';
import type { Block } from '../block.ts';
import type { CodeCache } from '../code-cache.ts';
import type { Selection } from './region.ts';
import { type Place, valueOf } from './symbols.ts';

const PAGE = 4096;
const SCATTERED = 1;
const PATIENT = 2;

/** One block of a kept region: where it begins, counted from the region's first page, and what it is. */
interface KeptBlock {
  readonly offset: number;
  /** See Block.shape: with equal code it is another one where that has changed while it was decoded. */
  readonly shape: number;
  readonly code: Uint8Array;
}

export interface KeptRegion {
  readonly mode: number;
  /** Number of the block that was hot. */
  readonly hot: number;
  readonly scattered: boolean;
  readonly patient: boolean;
  /** Offsets of its pages from the first. */
  readonly pages: readonly number[];
  readonly blocks: readonly KeptBlock[];
  readonly entries: ReadonlySet<number>;
  readonly instructions: number;
  /** Calls among its fixups are CALLED less the number of the function's name. */
  readonly written: WrittenFunction;
}

/** A region to be, of blocks that are here. */
export interface PlacedRegion {
  readonly blocks: readonly Block[];
  /** Physical pages by their offsets. */
  readonly pages: ReadonlyMap<number, number>;
}

/** @param nameOf number of the imported function that stands at this index of the module */
export function encodeRegion(
  { hot, blocks, pages, instructions }: Selection,
  { scattered, patient }: { readonly scattered: boolean; readonly patient: boolean },
  entries: ReadonlySet<number>,
  { body, hints, fixups }: WrittenFunction,
  nameOf: (index: number) => number,
): Uint8Array {
  const out = new ByteWriter(body.length + 1024);
  out.u32(hot.mode);
  out.u32(blocks.findIndex(({ block }) => block === hot));
  out.u32((scattered ? SCATTERED : 0) | (patient ? PATIENT : 0));
  out.u32(instructions);
  out.u32(pages.size);
  for (const page of pages.keys()) out.s53(page);
  out.u32(blocks.length);
  for (const [number, { offset, block, code }] of blocks.entries()) {
    assert(code !== undefined, 'a region to be kept without its code');
    out.s53(offset);
    out.u32(block.shape);
    out.u32(entries.has(number) ? 1 : 0);
    out.u32(code.length);
    out.append(code);
  }
  out.u32(body.length);
  out.append(body);
  let last = 0;
  const place = (at: number): void => {
    out.u32(at - last);
    last = at;
  };
  out.u32(hints.length);
  for (const hint of hints) place(hint);
  out.u32(fixups.length);
  for (let i = 0; i < fixups.length; i += 2) {
    const at = fixups[i]!;
    out.s32(at);
    if (fixups[i + 1] !== CALLED) out.s32(fixups[i + 1]!);
    else out.s32(CALLED - nameOf((body[at]! & 0x7f) | (body[at + 1]! << 7)));
  }
  return out.finish();
}

/** @throws RangeError for bytes that are no region */
export function decodeRegion(bytes: Uint8Array): KeptRegion {
  const r = new ByteReader(bytes);
  const mode = r.u32();
  const hot = r.u32();
  const flags = r.u32();
  const instructions = r.u32();
  const pages: number[] = [];
  for (let left = r.u32(); left > 0; left--) {
    const page = r.s53();
    if (page % PAGE !== 0) throw new RangeError('a kept region has a page that is none');
    pages.push(page);
  }
  const blocks: KeptBlock[] = [];
  const entries = new Set<number>();
  for (let left = r.u32(); left > 0; left--) {
    const offset = r.s53();
    const shape = r.u32();
    if (r.u32() === 1) entries.add(blocks.length);
    blocks.push({ offset, shape, code: r.take(r.u32()) });
  }
  if (blocks[hot] === undefined) throw new RangeError('a kept region has no hot block');
  const body = r.take(r.u32());
  const hints: number[] = [];
  let last = 0;
  for (let left = r.u32(); left > 0; left--) hints.push((last += r.u32()));
  const fixups: number[] = [];
  for (let left = r.u32(); left > 0; left -= 2) {
    const at = r.s53();
    const what = r.s53();
    if (at < 0 || at + (what <= CALLED ? 2 : 5) > body.length)
      throw new RangeError('a kept region has a symbol outside of its code');
    fixups.push(at, what);
  }
  return {
    mode,
    hot,
    scattered: (flags & SCATTERED) !== 0,
    patient: (flags & PATIENT) !== 0,
    pages,
    blocks,
    entries,
    instructions,
    written: { body, hints, fixups },
  };
}

/**
 * The blocks and pages of a kept region around a hot block, or undefined where its code is not there.
 * @param linear where the hot block is mapped
 * @param mapped physical page of the page `distance` pages away from the hot block's, or -1 when that is not known
 */
export function placeRegion(
  kept: KeptRegion,
  cache: CodeCache,
  hot: Block,
  linear: bigint,
  mapped: (distance: number) => number,
): PlacedRegion | undefined {
  if (kept.mode !== hot.mode || kept.blocks[kept.hot]!.offset !== hot.physical % PAGE) return undefined;
  // how it went wrong without is known by now
  if ((hot.scattered && !kept.scattered) || (hot.patient && !kept.patient)) return undefined;
  const home = Math.floor(hot.physical / PAGE);
  if (kept.pages.length > 1 && cache.keepsAlone(home)) return undefined;
  const pages = new Map<number, number>();
  for (const page of kept.pages) {
    const physical = page === 0 ? home : mapped(page / PAGE);
    if (physical < 0) return undefined;
    pages.set(page, physical);
  }
  const here = (offset: number): number => {
    const page = Math.floor(offset / PAGE) * PAGE;
    return (pages.get(page) ?? -1) * PAGE + (offset - page);
  };
  const nextPage = (offset: number): number => pages.get(Math.floor(offset / PAGE) * PAGE + PAGE) ?? -1;
  for (const { offset, code } of kept.blocks) {
    const physical = here(offset);
    if (physical < 0 || !cache.guestCode.holds(physical, nextPage(offset), code)) return undefined;
  }
  const first = linear & ~0xfffn;
  const blocks: Block[] = [];
  for (const { offset, shape, code } of kept.blocks) {
    const block = cache.block(here(offset), kept.mode, () => first + BigInt(offset));
    if (block === 'fault' || block.shape !== shape) return undefined;
    if (block.extent - (block.physical % PAGE) !== code.length) return undefined;
    if (block.nextPage >= 0 && block.nextPage !== nextPage(offset)) return undefined;
    blocks.push(block);
  }
  return { blocks, pages };
}

/**
 * Fills in what a kept region's code has symbols for.
 * @param callee index in the module of the imported function whose name has this number
 * @throws RangeError for a symbol that it cannot have
 */
export function fillRegion(
  { body, fixups }: WrittenFunction,
  place: Place,
  callee: (name: number) => number,
): void {
  for (let i = 0; i < fixups.length; i += 2) {
    const at = fixups[i]!;
    const what = fixups[i + 1]!;
    if (what <= CALLED) putU14(body, at, callee(CALLED - what));
    else {
      const value = valueOf(what, place);
      if (value === undefined) throw new RangeError('a kept region has an unknown symbol');
      putS32(body, at, value);
    }
  }
}
