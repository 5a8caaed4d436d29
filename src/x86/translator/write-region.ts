/**
 * Writes the WebAssembly function of a region, `(entry, vbase) => status`: blocks stand in topological order inside one
 * another, so that a forward branch is a plain `br`; cycles are `loop`s (structure.ts), which keep registers in locals and
 * whose back edges look at the budget; every way out meets at the end, from where control goes on to the next region
 * (chain.ts).
 */
import type { LocalGet } from '../../wasm/expr.ts';
import type { FunctionBuilder, Label } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';
import { holdsInterrupts } from './effects.ts';
import type { RegionEmitter } from './emitter.ts';
import { groupAccesses } from './groups.ts';
import type { RegionBlock, Selection } from './region.ts';
import type { FlagState, LoopRegisters } from './state.ts';
import { type Steadiness, steadinessOf } from './steadiness.ts';
import { type Item, type Loop, structure } from './structure.ts';
import { pageSymbol } from './symbols.ts';
import { usedBy, writtenBy } from './usage.ts';

/** A return is compared with this many return sites inside the region. */
const MAX_RETURN_SITES = 6;

/** Beside the statuses of layout.ts, and only within a region: one of the instructions in `lastCalls` comes next. */
const LAST_CALL = 7;

/** Blocks, by number, through which the function can be entered; the entry's number is the block's. */
export type Entries = ReadonlySet<number>;

/** @param chain index of the function that goes on to the next region */
export function writeRegion(
  f: FunctionBuilder,
  e: RegionEmitter,
  selection: Selection,
  chain: number,
): Entries {
  return new RegionWriter(f, e, selection).write(chain);
}

/** Where a branch to a block leads from here: out of the innermost sequence first. */
interface Scope {
  /** By block: the label in front of the item of the sequence that it lies in. */
  readonly labels: readonly (Label | undefined)[];
  /** Of a loop: its heads, and the label of its start. */
  readonly heads: readonly number[];
  readonly start: Label | undefined;
  /** The loop begins with a `br_table`. */
  readonly chooses: boolean;
  /** Of a loop that lies in no other: what it keeps in locals. */
  readonly registers: LoopRegisters | undefined;
}

/** A loop that is being written: what it keeps in locals, and the ways out of the region outside of it. */
interface LoopScope {
  readonly registers: LoopRegisters;
  readonly outside: Readonly<Record<'exit' | 'record' | 'helper' | 'fail', Label>>;
}

class RegionWriter {
  readonly #f: FunctionBuilder;
  readonly #e: RegionEmitter;
  readonly #selection: Selection;
  readonly #blocks: readonly RegionBlock[];
  readonly #position: ReadonlyMap<number, number>;
  readonly #returnSites: readonly number[];
  readonly #next: LocalGet;
  readonly #exitStatus: LocalGet;
  #exit!: Label;
  readonly #scopes: Scope[] = [];
  /** What is known of the flags on the ways into a block that have been written. */
  readonly #flagStates: (FlagState | undefined)[];
  /** Registers whose locals hold them on these ways. */
  readonly #available: (number | undefined)[];

  constructor(f: FunctionBuilder, e: RegionEmitter, selection: Selection) {
    this.#f = f;
    this.#e = e;
    this.#selection = selection;
    this.#blocks = selection.blocks;
    this.#position = positions(this.#blocks);
    this.#flagStates = this.#blocks.map(() => undefined);
    this.#available = this.#blocks.map(() => undefined);
    this.#returnSites = selection.sites.slice(0, MAX_RETURN_SITES);
    if (this.#blocks.some(({ page }) => page !== 0)) e.pageLocal = f.local('i64');
    this.#next = f.local('i32');
    this.#exitStatus = f.local('i32');
  }

  write(chain: number): Entries {
    const f = this.#f;
    const e = this.#e;
    const zero = w.i32(0);
    const hot = this.#position.get(this.#selection.hot.physical % 4096)!;
    const sites = this.#selection.sites.map((offset) => this.#position.get(offset)!);
    const { items, entries: needed } = structure(
      this.#blocks.map((block) => this.#successors(block)),
      [hot, ...sites],
    );
    // Outside of loops an entry costs next to nothing, and what is hot on other ways wants no region of its own. Code of
    // other pages is better not entered by way of this region's mapping.
    const entries = new Set(needed);
    for (const item of items)
      if (typeof item === 'number' && this.#blocks[item]!.page === 0) entries.add(item);
    this.#exit = f.open('block');
    e.recordLabel = f.open('block');
    e.helperLabel = f.open('block');
    e.failLabel = f.open('block');
    this.#sequence(items, entries, undefined);
    const place = w.add(e.vbase, w.shrS(e.where, w.i64(16)));
    const putBack = (): void => f.set(e.budget, w.add(e.budget, w.and(w.wrap(e.where), 0xffff)));

    f.end(); // fail: the interpreter does this instruction, and the rest of its block
    e.finishFailure();
    f.set(this.#exitStatus, w.i32(L.INTERPRET));
    f.br(this.#exit);

    f.end(); // helper: the runtime's function says how it goes on
    putBack();
    f.store32(zero, zero, L.BREAK);
    f.set(e.rip, place);
    f.if(w.eq(e.status, w.i32(L.END_BLOCK)), () => f.set(e.rip, w.load64(zero, L.RIP)));
    f.if(w.eq(e.status, w.i32(L.EXCEPTION)), () => {
      f.store32(zero, e.record, L.FAULT_RECORD);
      f.set(this.#exitStatus, w.i32(L.FAULTED));
    });
    f.br(this.#exit);

    f.end(); // record: the runtime's function does the instruction when all state is in memory
    putBack();
    f.set(e.rip, place);
    f.set(this.#exitStatus, w.i32(LAST_CALL));

    f.end(); // exit
    e.storeState();
    f.if(this.#exitStatus, () => {
      f.store64(zero, e.rip, L.RIP);
      if (e.lastCalls.length > 0)
        f.if(
          w.eq(this.#exitStatus, w.i32(LAST_CALL)),
          () => e.finishLastCall(),
          () => f.return(this.#exitStatus),
        );
      else f.return(this.#exitStatus);
    });
    f.returnCall(chain, [e.rip]);
    f.prepend(() => this.#prologue());
    return entries;
  }

  /**
   * In front of a loop that lies in no other: what it keeps in locals is loaded, and ways out of the region get by where
   * it is stored.
   */
  #beginLoop({ blocks }: Loop): LoopScope {
    const f = this.#f;
    const e = this.#e;
    const insns = blocks.flatMap((block) => this.#blocks[block]!.insns);
    let used = 0;
    let written = 0;
    for (const insn of insns) {
      used |= usedBy(insn);
      written |= writtenBy(insn);
    }
    const registers = e.beginLoop(used | written, written);
    const { failLabel: fail, helperLabel: helper, recordLabel: record } = e;
    const outside = { exit: this.#exit, record, helper, fail };
    if (registers.late !== 0) {
      this.#exit = f.open('block');
      e.recordLabel = f.open('block');
      e.helperLabel = f.open('block');
      e.failLabel = f.open('block');
    }
    return { registers, outside };
  }

  /** Behind a loop, where nothing comes by itself. */
  #endLoop({ registers, outside: { exit, record, helper, fail } }: LoopScope): void {
    const e = this.#e;
    e.endLoop();
    if (registers.late === 0) return;
    for (const label of [fail, helper, record, exit]) {
      this.#f.end();
      e.storeLate(registers.late);
      this.#f.br(label);
    }
    this.#exit = exit;
    e.recordLabel = record;
    e.helperLabel = helper;
    e.failLabel = fail;
  }

  #prologue(): void {
    const f = this.#f;
    const e = this.#e;
    const { pages } = this.#selection;
    f.set(this.#next, w.and(f.param(0), L.ENTRY_CHECK - 1));
    // `vbase` comes as the page of the entry's block: back to the region's first page
    for (let first = 0, behind = 0; first < this.#blocks.length; first = behind) {
      const { page } = this.#blocks[first]!;
      // the blocks of a page follow on each other
      while (behind < this.#blocks.length && this.#blocks[behind]!.page === page) behind++;
      if (page === 0) continue;
      const inside = w.ltU(w.sub(this.#next, first), behind - first);
      f.if(inside, () => f.set(e.vbase, w.sub(e.vbase, w.i64(page))));
    }
    if (pages.size > 1)
      f.ifRarely(w.and(f.param(0), L.ENTRY_CHECK), () => {
        for (const [number, [page, physical]] of [...pages].entries()) {
          const here = w.symbol(physical, pageSymbol(number));
          const same = e.rt('pageIs', w.add(e.vbase, w.i64(page)), here);
          f.if(w.eqz(same), () => f.return(w.i32(L.REMAPPED)));
        }
      });
    e.loadState();
  }

  /** Numbers of the blocks that branches of `block` lead to. */
  #successors(block: RegionBlock): number[] {
    const { insns, fallsTo, page } = block;
    const found: number[] = [];
    if (fallsTo !== undefined) {
      this.#note(fallsTo, found);
      return found;
    }
    const last = insns[insns.length - 1]!;
    const { semantics, name } = last.def;
    if (semantics === undefined) return found;
    const target = last.operands[0];
    if (target !== undefined && target.kind === 'rel') {
      this.#note(page + target.reg, found);
      if (name !== 'call' && name !== 'jmp') this.#note(page + last.offset + last.length, found);
    } else {
      const offsets = name === 'ret' ? this.#returnSites : this.#expected(block);
      for (const offset of offsets) this.#note(offset, found);
    }
    return found;
  }

  /** Adds the block at `offset`, if there is one, to those that were found. */
  #note(offset: number, found: number[]): void {
    const position = this.#position.get(offset);
    if (position !== undefined && !found.includes(position)) found.push(position);
  }

  /** Offsets in the region where the indirect jump or call at the end of a block is expected to go. */
  #expected({ block, insns, offset }: RegionBlock): number[] {
    const expected = this.#selection.expected.get(offset);
    if (expected === undefined || insns.length < block.instructions) return [];
    return expected.filter((target) => this.#position.has(target));
  }

  /** A sequence of items: the function's, or the body of a loop. */
  #sequence(items: readonly Item[], entries: Entries, loop: Loop | undefined): void {
    const f = this.#f;
    const chosen = loop === undefined ? [...entries] : [...loop.heads, ...loop.doors];
    const chooses = chosen.length > 1 || (loop === undefined && items[0] !== chosen[0]);
    // what loops inside use is in locals, too
    const scope = loop === undefined || this.#scopes.length > 1 ? undefined : this.#beginLoop(loop);
    const start = loop === undefined ? undefined : f.open('loop');
    const labels: (Label | undefined)[] = this.#blocks.map(() => undefined);
    let first!: Label;
    for (let i = items.length - 1; i >= 0; i--) {
      first = f.open('block');
      const item = items[i]!;
      if (typeof item === 'number') labels[item] = first;
      else for (const block of item.blocks) labels[block] = first;
    }
    if (chooses) {
      const table = this.#blocks.map((_, i) => (chosen.includes(i) ? labels[i]! : first));
      f.brTable(this.#next, table, first);
    }
    const steadiness =
      loop === undefined || items.some((item) => typeof item !== 'number')
        ? undefined
        : steadinessOf(loop.blocks.map((block) => this.#blocks[block]!));
    this.#scopes.push({ labels, heads: loop?.heads ?? [], start, chooses, registers: scope?.registers });
    for (const item of items) {
      f.end();
      if (typeof item === 'number') this.#block(item, entries.has(item), steadiness);
      else this.#sequence(item.body, entries, item);
    }
    this.#scopes.pop();
    if (loop !== undefined) f.end();
    // every path through a block leaves it
    f.unreachable();
    if (scope !== undefined) this.#endLoop(scope);
  }

  /** Leaves the region; control goes on at `offset`, behind STI (`held`) without an interrupt in between. */
  #leave(offset: number, held = false): void {
    if (held) this.#f.store32(w.i32(0), w.i32(1), L.SHADOW);
    this.#f.set(this.#e.rip, w.add(this.#e.vbase, w.i64(offset)));
    this.#f.br(this.#exit);
  }

  /** Goes on with a block of the region; `held` as for #leave. */
  #enter(target: number, held = false): void {
    const f = this.#f;
    let { available } = this.#e;
    const state = this.#e.flagState;
    const before = this.#flagStates[target];
    if (before === undefined) this.#flagStates[target] = state;
    else if (
      before.known !== state.known ||
      before.carryOverridden !== state.carryOverridden ||
      before.overflowOverridden !== state.overflowOverridden
    )
      this.#flagStates[target] = { known: undefined, carryOverridden: false, overflowOverridden: false };
    for (let i = this.#scopes.length - 1; i >= 0; i--) {
      const { labels, heads, start, chooses, registers } = this.#scopes[i]!;
      if (start !== undefined && heads.includes(target)) {
        f.ifRarely(w.leS(this.#e.budget, w.i32(0)), () => this.#leave(this.#blocks[target]!.offset, held));
        if (chooses) f.set(this.#next, w.i32(target));
        f.br(start);
        return;
      }
      const label = labels[target];
      // inside this sequence and not around us: in front of us
      if (label !== undefined) {
        // the loops that it heads choose by this
        f.set(this.#next, w.i32(target));
        this.#available[target] = (this.#available[target] ?? available) & available;
        f.br(label);
        return;
      }
      if (registers !== undefined) {
        this.#e.storeLate(registers.late);
        available |= registers.resident;
      }
    }
    this.#leave(this.#blocks[target]!.offset, held);
  }

  #block(number: number, isEntry: boolean, steadiness: Steadiness | undefined): void {
    const region = this.#blocks[number]!;
    const f = this.#f;
    const e = this.#e;
    e.flow = {
      goto: (offset, held) => {
        const target = this.#position.get(offset);
        if (target === undefined) this.#leave(offset, held);
        else this.#enter(target, held);
      },
      gotoRip: (rip, kind) => {
        for (const target of kind === 'return' ? this.#returnSites : this.#expected(region))
          f.if(w.eq(rip, w.add(e.vbase, w.i64(target))), () => this.#enter(this.#position.get(target)!));
        f.set(e.rip, rip);
        f.br(this.#exit);
      },
    };
    const { insns } = region;
    e.block = number;
    e.records = region.block.address + L.BLOCK_HEADER;
    if (isEntry) e.beginBlock(region.page, undefined, 0, steadiness);
    else e.beginBlock(region.page, this.#flagStates[number], this.#available[number], steadiness);
    if (e.pageLocal !== undefined) f.set(e.pageLocal, w.i64(region.page));
    f.set(e.budget, w.sub(e.budget, insns.length));
    const groups = groupAccesses(insns, region.page);
    for (let k = 0; k < insns.length; k++) e.translate(insns[k]!, insns.length - k, k, groups[k]);
    if (region.fallsTo !== undefined) {
      e.storeFlagKind();
      e.flow.goto(region.fallsTo, holdsInterrupts(insns.at(-1)!));
    }
  }
}

/** Numbers of blocks by their offsets. */
function positions(blocks: readonly RegionBlock[]): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (let i = 0; i < blocks.length; i++) found.set(blocks[i]!.offset, i);
  return found;
}
