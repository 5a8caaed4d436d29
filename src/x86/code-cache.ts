/**
 * Decoded guest code, by physical address: basic blocks as records for the interpreter (and as `Insn` lists for the
 * translator), and what must go when code is overwritten. Nothing here depends on where code is mapped: records count
 * from the page, so one copy serves all address spaces.
 */
import { Block, type Region, shapeOf } from './block.ts';
import { BlockDecoder } from './decode/block-decoder.ts';
import { type Decoder, MAX_LENGTH } from './decode/decode.ts';
import type { FormRuntime } from './decode/forms.ts';
import type { Insn } from './decode/insn.ts';
import type { Engine } from './engine.ts';
import { GuestCode } from './guest-code.ts';
import type { HandlerLibrary } from './interpreter/handlers.ts';
import * as L from './layout.ts';
import { RegionModules } from './region-modules.ts';

interface CodePage {
  readonly blocks: Map<number, Block>;
  readonly regions: Set<Region>;
  /** Regions that begin here keep to one page: their neighbours are not mapped alike everywhere. */
  alone: boolean;
  /** Writes to lines that hold code, but not to its bytes, since one of those lines was last emptied. */
  beside: number;
  /** A block of this page and a neighbour has gone from both: a line of its may no longer hold code. */
  stale: boolean;
}

/** Failures of that kind after which regions of the page are made anew, of one page each. */
const MAX_REMAPPED = 64;
/** Likewise for accesses that are checked together and were not within one page. */
const MAX_SCATTERED = 256;
/**
 * Writes beside code, in its line, after which that code goes: each leaves the fast path, and all of them together have
 * then cost about what decoding it again does.
 */
const MAX_BESIDE = 64;
/** Bytes of a line: what a bit of CODE_LINES stands for. */
const LINE = 64;

/** Dropped regions after which V8 is asked to collect. */
const MANY_DROPPED = 4096;
/** Bytes beyond which V8 collects what buffers hold (64 MiB in all its versions). */
const NOTICED = 96 * 2 ** 20;

export class CodeCache {
  readonly #engine: Engine;
  readonly guestCode: GuestCode;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #pageTable: Uint32Array;
  /** Two words for each page: lines 0-31, lines 32-63. */
  readonly #codeLines: Uint32Array;
  readonly #decoder: BlockDecoder;
  readonly #pages = new Map<number, CodePage>();
  /** Executions after which a block is hot. */
  readonly hotThreshold: number;
  #firstThreshold = 0;
  readonly #byIndex = new Map<number, Region>();
  /** Regions taken out of use; their table slots are given back when no region can be running. */
  readonly #retired = new Set<Region>();
  #dropped = 0;
  /** What the regions in use are in. */
  readonly modules = new RegionModules();
  /** Modules that were given up because there was too much translated code. */
  modulesEvicted = 0;
  flushes = 0;
  /** Writes that changed code, and what they took with them. */
  invalidations = 0;
  blocksDropped = 0;
  regionsDropped = 0;

  constructor(engine: Engine, decoder: Decoder, handlers: HandlerLibrary, hotThreshold: number) {
    this.#engine = engine;
    const { buffer } = engine.memory;
    this.#view = new DataView(buffer);
    this.guestCode = new GuestCode(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#pageTable = new Uint32Array(buffer, L.PAGE_TABLE, L.PAGE_TABLE_ENTRIES);
    this.#codeLines = new Uint32Array(buffer, L.CODE_LINES, 2 * L.PAGE_TABLE_ENTRIES);
    this.#decoder = new BlockDecoder(buffer, engine.runtime as unknown as FormRuntime, decoder, handlers);
    this.hotThreshold = hotThreshold;
    this.firstThreshold = hotThreshold;
    this.#view.setUint32(L.RECORDS_NEXT, L.RECORDS, true);
  }

  /** Executions after which a new block is said to be hot for the first time, to be looked for among kept regions. */
  get firstThreshold(): number {
    return this.#firstThreshold;
  }

  set firstThreshold(executions: number) {
    this.#firstThreshold = executions;
    this.#view.setInt32(L.FIRST_COUNTDOWN, executions, true);
  }

  get blocksDecoded(): number {
    return this.#view.getUint32(L.STAT_BLOCKS, true);
  }

  get insnsDecoded(): number {
    return this.#view.getUint32(L.STAT_BLOCK_INSNS, true);
  }

  /** The block at `physical`, made if need be; 'fault' when fetching it raised an exception. */
  block(physical: number, mode: number, linear: () => bigint): Block | 'fault' {
    if (this.peek(physical, mode) === undefined) {
      const makeBlock = this.#engine.runtime.makeBlock as unknown as (at: bigint, mode: number) => number;
      const header = makeBlock(BigInt(physical), mode);
      if (header !== 0) return this.blockAt(header);
    }
    return this.unusualBlock(physical, mode, linear);
  }

  /** The same where the runtime cannot make it: something in it has not been met before, or it runs into another page. */
  unusualBlock(physical: number, mode: number, linear: () => bigint): Block | 'fault' {
    const known = this.peek(physical, mode);
    if (known !== undefined) {
      if (known.nextPage < 0) return known;
      const second = this.#nextPhysicalPage(linear());
      if (second < 0) return 'fault';
      if (second === known.nextPage) return known;
    }
    return this.#decode(physical, mode, linear);
  }

  /** Lets a block become hot once more, when it has run so often. */
  countAgain(block: Block, executions = this.hotThreshold): void {
    this.#countOn(block.address, executions);
  }

  /** How often the interpreter has run a block; Infinity for one that has been found worth translating. */
  executions(block: Block): number {
    if (block.warm) return Infinity;
    const threshold = this.isCounted(block) ? this.hotThreshold : this.firstThreshold;
    return threshold - this.#view.getInt32(block.address + L.BLOCK_COUNTDOWN, true);
  }

  /** Addresses that the indirect branch at the end of a block went to of late, the most frequent first. */
  recentTargets(block: Block): bigint[] {
    const counts = new Map<bigint, number>();
    if (!block.indirect) return [];
    const targets = this.#view.getUint32(block.address + L.BLOCK_TARGETS, true);
    for (let i = 0; i < L.TARGETS; i++) {
      const target = this.#view.getBigUint64(targets + 8 * i, true);
      if (target !== 0n) counts.set(target, (counts.get(target) ?? 0) + 1);
    }
    return [...counts].sort((a, b) => b[1] - a[1]).map(([target]) => target);
  }

  /** The block at `physical`, if there is one already. */
  peek(physical: number, mode: number): Block | undefined {
    const low = physical % 2 ** 32;
    const high = Math.floor(physical / 2 ** 32) | (mode << (L.BLOCK_KEY_SHIFT - 32));
    const view = this.#view;
    for (
      let at = view.getUint32(chainOf(physical), true);
      at !== 0;
      at = view.getUint32(at + L.BLOCK_CHAIN, true)
    )
      if (
        view.getUint32(at + L.BLOCK_KEY, true) === low &&
        view.getInt32(at + L.BLOCK_KEY + 4, true) === high
      )
        return this.blockAt(at);
    return undefined;
  }

  /** The block with this header, as an object: the runtime makes blocks that have none yet. */
  blockAt(header: number): Block {
    const low = this.#view.getUint32(header + L.BLOCK_KEY, true);
    const high = this.#view.getUint32(header + L.BLOCK_KEY + 4, true);
    const physical = low + (high & 0xffff) * 2 ** 32;
    const mode = high >>> 16;
    const page = Math.floor(physical / 4096);
    const key = (physical & 4095) | (mode << 12);
    const known = this.#pages.get(page)?.blocks.get(key);
    if (known !== undefined) return known;
    const shape = this.#view.getUint32(header + L.BLOCK_SHAPE, true) & L.SHAPE;
    const block = new Block(physical, mode, header, shape, -1);
    this.#pageOf(page).blocks.set(key, block);
    return block;
  }

  /** Header of the first block in the list of a page, or 0. */
  #firstOf(page: number): number {
    return page < this.#pageTable.length ? this.#view.getUint32(L.PAGE_BLOCKS + 4 * page, true) : 0;
  }

  /** Gives all blocks of a page objects. */
  #adoptAll(page: number): void {
    for (let at = this.#firstOf(page); at !== 0; at = this.#view.getUint32(at + L.BLOCK_NEXT, true))
      this.blockAt(at);
  }

  #nextPhysicalPage(linear: bigint): number {
    const next = (linear & ~0xfffn) + 0x1000n;
    const execPhys = this.#engine.runtime.execPhys as unknown as (va: bigint) => bigint;
    const physical = execPhys(BigInt.asIntN(64, next));
    return physical < 0n ? -1 : Number(physical >> 12n);
  }

  /**
   * For a block that is hot for the first time: has it counted on to the hot threshold, if it is of no interest.
   * @param header its address
   * @param mayKnow whether there may be something for a block with this key (`GuestCode.keyOf`)
   * @returns whether that was all
   */
  passBy(header: number, mayKnow: (key: number) => boolean): boolean {
    if (this.#isCountedAt(header) || mayKnow(this.guestCode.keyOf(header))) return false;
    this.#countOn(header, this.hotThreshold - this.firstThreshold);
    return true;
  }

  #isCountedAt(header: number): boolean {
    if (this.firstThreshold === this.hotThreshold) return true;
    return (this.#view.getUint32(header + L.BLOCK_SHAPE, true) & L.SHAPE_COUNTED) !== 0;
  }

  #countOn(header: number, executions: number): void {
    const shape = this.#view.getUint32(header + L.BLOCK_SHAPE, true);
    this.#view.setUint32(header + L.BLOCK_SHAPE, (shape | L.SHAPE_COUNTED) >>> 0, true);
    this.#view.setInt32(header + L.BLOCK_COUNTDOWN, executions, true);
  }

  /** Its countdown is to the hot threshold, no longer to the first one. */
  isCounted(block: Block): boolean {
    return this.#isCountedAt(block.address);
  }

  /** The instructions of a block, for the translator. */
  insnsOf({ physical, mode, nextPage, instructions }: Block): Insn[] {
    const base = this.guestCode.pageAddress(Math.floor(physical / 4096));
    const next = nextPage < 0 ? 0 : this.guestCode.pageAddress(nextPage);
    return this.#decoder.insns(base, next, physical & 4095, mode & L.MODE_CODE, instructions);
  }

  #decode(physical: number, mode: number, linear: () => bigint): Block | 'fault' {
    const page = Math.floor(physical / 4096);
    const base = this.guestCode.pageAddress(page);
    if (this.#view.getUint32(L.RECORDS_NEXT, true) + L.MAX_BLOCK_BYTES > L.RECORDS_END) this.flushAll();
    const address = this.#view.getUint32(L.RECORDS_NEXT, true);
    const decoded = this.#decoder.decode(
      address + L.BLOCK_HEADER,
      base,
      physical & 4095,
      mode,
      () => this.#nextPhysicalPage(linear()),
      (other) => this.guestCode.pageAddress(other),
    );
    if (decoded === 'fault') return 'fault';
    const { instructions, end, nextPage, endOffset, recordsEnd } = decoded;
    let targets = 0;
    let behind = recordsEnd;
    if (decoded.indirect) {
      targets = recordsEnd;
      this.#bytes.fill(0, targets, targets + 8 * L.TARGETS);
      behind += 8 * L.TARGETS;
    }
    this.#view.setUint32(L.RECORDS_NEXT, ((behind + 31) & -L.BLOCK_ALIGNMENT) + 32, true);
    this.#view.setInt32(address + L.BLOCK_COUNTDOWN, this.firstThreshold, true);
    this.#view.setUint32(address + L.BLOCK_KEY, physical % 2 ** 32, true);
    this.#view.setUint32(address + L.BLOCK_KEY + 4, Math.floor(physical / 2 ** 32) | (mode << 16), true);
    this.#view.setUint32(address + L.BLOCK_NEXT_PAGE, nextPage + 1, true);
    this.#view.setUint32(address + L.BLOCK_TARGETS, targets, true);
    this.#view.setUint32(address + L.BLOCK_STATE, nextPage < 0 ? 0 : 1, true);
    this.#view.setUint32(address + L.BLOCK_REGION, 0, true);
    this.#view.setUint32(address + L.BLOCK_USED, 0, true);
    this.#view.setInt32(address + L.BLOCK_LINK + 8, L.NO_STAMP, true);
    // what does not decode may do so when any of its bytes changes
    const last = end === 'invalid' ? endOffset + MAX_LENGTH : Math.max(endOffset, (physical & 4095) + 1);
    const extent = nextPage < 0 ? Math.min(last, 4096) : Math.max(last, 4097);
    const bytes = extent - (physical & 4095);
    const shape = shapeOf(instructions, bytes, end, decoded.indirect);
    this.#view.setUint32(address + L.BLOCK_SHAPE, shape, true);
    const block = new Block(physical, mode, address, shape, nextPage);
    this.#view.setUint32(L.STAT_BLOCKS, this.blocksDecoded + 1, true);
    this.#view.setUint32(L.STAT_BLOCK_INSNS, this.insnsDecoded + instructions, true);
    const { blocks } = this.#pageOf(page);
    const key = (physical & 4095) | (mode << 12);
    const before = blocks.get(key);
    if (before !== undefined) {
      this.#forgetCrossing(before);
      this.#unlink(before);
    }
    blocks.set(key, block);
    (this.#engine.runtime.linkBlock as unknown as (address: number) => void)(address);
    if (base !== 0) {
      // found again through either page
      if (nextPage >= 0) this.#pageOf(nextPage).blocks.set(crossingKey(block), block);
      this.#watch(block, page);
      if (nextPage >= 0) this.#watch(block, nextPage);
    }
    return block;
  }

  /** From now on the runtime does not find a block. */
  #unlink(block: Block): void {
    (this.#engine.runtime.unlinkBlock as unknown as (address: number) => void)(block.address);
  }

  /** Takes a block out of the page that its last instruction runs into. */
  #forgetCrossing(block: Block): void {
    if (block.nextPage < 0) return;
    const blocks = this.#pages.get(block.nextPage)?.blocks;
    if (blocks?.get(crossingKey(block)) === block) blocks.delete(crossingKey(block));
  }

  #pageOf(page: number): CodePage {
    let found = this.#pages.get(page);
    if (found === undefined) {
      found = { blocks: new Map(), regions: new Set(), alone: false, beside: 0, stale: false };
      this.#pages.set(page, found);
    }
    return found;
  }

  /** From now on writes to the bytes of a block in this page are noticed. */
  #watch(block: Block, page: number): void {
    if (page >= this.#pageTable.length) return;
    this.#markLines(block, page);
    const flags = this.#pageTable[page]!;
    if ((flags & L.PAGE_CODE) === 0) {
      this.#pageTable[page] = flags | L.PAGE_CODE;
      (this.#engine.runtime.tlbDropWrite as unknown as (pfn: number) => void)(page);
    }
  }

  /** Sets the bits of the lines of a page that a block depends on. */
  #markLines(block: Block, page: number): void {
    if (Math.floor(block.physical / 4096) === page)
      this.#mark(page, block.physical & 4095, Math.min(block.extent, 4096));
    if (block.nextPage === page) this.#mark(page, 0, block.extent - 4096);
  }

  #mark(page: number, from: number, to: number): void {
    for (let line = Math.floor(from / LINE); line * LINE < to; line++)
      this.#codeLines[2 * page + (line >> 5)]! |= 1 << (line & 31);
  }

  /** Makes a translated region reachable: through those of its blocks, by number, that are entries. */
  addRegion(region: Region, entries: ReadonlySet<number>): void {
    this.#byIndex.set(region.index, region);
    region.module.regions.add(region);
    for (const page of region.pages) this.#pageOf(page).regions.add(region);
    for (const [number, block] of region.blocks.entries()) {
      block.markWarm();
      if (!entries.has(number)) {
        // may yet become hot by itself, when control comes to it in other ways
        if (block.region === undefined) this.countAgain(block);
        continue;
      }
      block.region = { region, entry: number };
      this.#view.setUint32(block.address + L.BLOCK_STATE, 1, true);
      this.#view.setUint32(block.address + L.BLOCK_REGION, (region.index << 10) | number, true);
    }
  }

  /** The jump cache may hold regions that are gone. */
  #newGeneration(): void {
    (this.#engine.runtime.newGeneration as unknown as () => void)();
  }

  /** The region in use with this table index; one that has been dropped may still be running, and complain. */
  #inUse(index: number): Region | undefined {
    const region = this.#byIndex.get(index);
    return region === undefined || this.#retired.has(region) ? undefined : region;
  }

  /** Takes a region out of use: its blocks are interpreted again, and may become hot once more. */
  #removeRegion(region: Region): void {
    for (const page of region.pages) this.#pages.get(page)?.regions.delete(region);
    for (const block of region.blocks) {
      this.countAgain(block);
      if (block.region?.region !== region) continue;
      block.region = undefined;
      if (block.nextPage < 0) this.#view.setUint32(block.address + L.BLOCK_STATE, 0, true);
      this.#view.setUint32(block.address + L.BLOCK_REGION, 0, true);
    }
    this.modules.drop(region);
    this.#retired.add(region);
    this.#newGeneration();
  }

  /**
   * Looks at some modules of translated code, those first that were not looked at for longest: where no region has been
   * entered since, all of them go, and their blocks are interpreted until they are hot again.
   * @param most modules to look at, none of them twice
   * @param enough whether enough have gone
   */
  evict(most: number, enough: () => boolean): void {
    // regions that the jump cache leads to would be taken for unused
    this.#newGeneration();
    for (let left = Math.min(most, this.modules.count); left > 0 && !enough(); left--) {
      const module = this.modules.next((region) => this.#usedSince(region));
      if (module === undefined) continue;
      this.modulesEvicted++;
      for (const region of module.regions) this.#removeRegion(region);
    }
  }

  /** Whether the dispatcher has entered a region since this was asked last. */
  #usedSince(region: Region): boolean {
    let used = false;
    for (const block of region.blocks) {
      const { address } = block;
      if (this.#view.getUint32(address + L.BLOCK_USED, true) === 0) continue;
      if (block.region?.region !== region) continue;
      used = true;
      this.#view.setUint32(address + L.BLOCK_USED, 0, true);
    }
    return used;
  }

  /** Accesses that the region with this index checks together were scattered; when that is common, it is made anew. */
  noteScattered(index: number): void {
    const region = this.#inUse(index);
    if (region === undefined || region.expectsScattered || ++region.scattered !== MAX_SCATTERED) return;
    for (const block of region.blocks) block.markScattered();
    this.#removeRegion(region);
  }

  /** The region with this index was left at accesses so often that it is made anew, to stay. */
  noteLeaves(index: number): void {
    const region = this.#inUse(index);
    if (region === undefined || region.patient) return;
    for (const block of region.blocks) block.markPatient();
    this.#removeRegion(region);
  }

  /** The region of a block could not run because of how its pages are mapped; when that is common, it goes. */
  noteRemapped(block: Block): void {
    const region = block.region?.region;
    if (region === undefined || ++region.remapped < MAX_REMAPPED) return;
    this.#removeRegion(region);
    for (const page of region.pages) this.#pageOf(page).alone = true;
  }

  /** True when regions of this physical page are to keep to it. */
  keepsAlone(page: number): boolean {
    return this.#pages.get(page)?.alone ?? false;
  }

  /**
   * The bytes [from, to) of a page have been written: drops the blocks that depend on them, and the regions with such
   * a block in them.
   */
  invalidate(page: number, from = 0, to = 4096): void {
    this.#adoptAll(page);
    const code = this.#pages.get(page);
    if (code === undefined) {
      this.#unwatch(page);
      return;
    }
    if (!this.#dropOverlapping(code, page, from, to)) {
      if (++code.beside < MAX_BESIDE && !code.stale) return;
      if (code.beside >= MAX_BESIDE) {
        code.beside = 0;
        this.#dropOverlapping(code, page, from & -LINE, (to + LINE - 1) & -LINE);
      }
    }
    code.stale = false;
    if (code.blocks.size === 0 && code.regions.size === 0) {
      this.#pages.delete(page);
      this.#unwatch(page);
      return;
    }
    if (page >= this.#pageTable.length) return;
    this.#codeLines.fill(0, 2 * page, 2 * page + 2);
    for (const block of code.blocks.values()) this.#markLines(block, page);
    // a region may know a block that has been decoded anew since, because the page after it was another one
    for (const region of code.regions) for (const block of region.blocks) this.#markLines(block, page);
  }

  /** Whether there was anything to drop. */
  #dropOverlapping(code: CodePage, page: number, from: number, to: number): boolean {
    const { blocksDropped, regionsDropped } = this;
    for (const region of code.regions)
      if (region.blocks.some((block) => dependsOn(block, page, from, to))) {
        this.regionsDropped++;
        this.#removeRegion(region);
      }
    for (const block of code.blocks.values())
      if (dependsOn(block, page, from, to)) {
        this.blocksDropped++;
        this.#dropBlock(block);
      }
    const dropped = this.blocksDropped !== blocksDropped || this.regionsDropped !== regionsDropped;
    if (dropped) this.invalidations++;
    return dropped;
  }

  #dropBlock(block: Block): void {
    this.#view.setUint32(block.address + L.BLOCK_STATE, 1, true);
    this.#unlink(block);
    // another one may have taken its place since the page after it was mapped elsewhere
    const home = this.#pages.get(Math.floor(block.physical / 4096));
    const key = (block.physical & 4095) | (block.mode << 12);
    if (home?.blocks.get(key) === block) home.blocks.delete(key);
    if (block.nextPage < 0) return;
    this.#forgetCrossing(block);
    if (home !== undefined) home.stale = true;
    const next = this.#pages.get(block.nextPage);
    if (next !== undefined) next.stale = true;
  }

  /** Writes to this page are no longer looked at. */
  #unwatch(page: number): void {
    if (page >= this.#pageTable.length) return;
    this.#codeLines.fill(0, 2 * page, 2 * page + 2);
    this.#pageTable[page]! &= ~L.PAGE_CODE;
  }

  /** Forgets all decoded code (the record area is full, or the machine was reset). */
  flushAll(): void {
    if (this.recordBytes === 0) return;
    this.flushes++;
    this.modules.clear();
    for (const code of this.#pages.values()) for (const region of code.regions) this.#retired.add(region);
    for (let page = 0; page < this.#pageTable.length; page++)
      if ((this.#pageTable[page]! & L.PAGE_CODE) !== 0) {
        this.#unwatch(page);
        this.#view.setUint32(L.PAGE_BLOCKS + 4 * page, 0, true);
      }
    this.#pages.clear();
    this.#newGeneration();
    this.#bytes.fill(0, L.HASH, L.HASH + L.HASH_ENTRIES * 4);
    this.#view.setUint32(L.RECORDS_NEXT, L.RECORDS, true);
  }

  /** Gives back table slots of dropped regions; to be called when no region is running. */
  releaseRetired(): void {
    this.#dropped += this.#retired.size;
    for (const region of this.#retired) {
      this.#byIndex.delete(region.index);
      this.#engine.release(region.index);
    }
    this.#retired.clear();
    if (this.#dropped >= MANY_DROPPED) {
      this.#dropped = 0;
      askToCollect();
    }
  }

  /** Drops decoded code in [gpa, gpa + length). For writes by devices; one may come amid the block that it changes. */
  written(gpa: number, length: number): void {
    const first = Math.floor(gpa / 4096);
    const last = Math.floor((gpa + length - 1) / 4096);
    for (let page = first; page <= last && page < this.#pageTable.length; page++) {
      const from = Math.max(gpa - page * 4096, 0);
      const to = Math.min(gpa + length - page * 4096, 4096);
      if ((this.#pageTable[page]! & L.PAGE_CODE) === 0 || !this.#holdsCode(page, from, to)) continue;
      this.invalidate(page, from, to);
      this.#view.setInt32(L.BREAK, 1, true);
    }
  }

  /** Whether a line that [from, to) of a page touches holds code. */
  #holdsCode(page: number, from: number, to: number): boolean {
    for (let line = Math.floor(from / LINE); line * LINE < to; line++)
      if (this.#codeLines[2 * page + (line >> 5)]! & (1 << (line & 31))) return true;
    return false;
  }

  get recordBytes(): number {
    return this.#view.getUint32(L.RECORDS_NEXT, true) - L.RECORDS;
  }
}

/**
 * Modules that nobody uses keep their mappings until V8 collects, and it takes them for next to nothing: by itself it
 * may come when the host's kernel has no more mappings to give, and the process dies. Of a buffer it knows the size;
 * this one is never touched, and takes no memory. V8 marks in small steps then, not in one pause.
 */
function askToCollect(): void {
  try {
    new ArrayBuffer(NOTICED);
  } catch {
    // so little memory is left that it collects anyway
  }
}

/** Whether a block would be another one if bytes in [from, to) of this physical page were. */
function dependsOn({ physical, extent, nextPage }: Block, page: number, from: number, to: number): boolean {
  const start = physical % 4096;
  if (physical - start === page * 4096 && start < to && from < Math.min(extent, 4096)) return true;
  return nextPage === page && from < extent - 4096;
}

/** Key of a block in the page that it runs into: no place in that page, and one for each block. */
function crossingKey({ physical, mode }: Block): number {
  return -1 - (physical * 4096 + mode);
}

/** Where the chain begins that a block of this physical address is in: as in runtime/blocks.ts. */
function chainOf(physical: number): number {
  const low = physical % L.HASH_ENTRIES;
  const high = Math.floor(physical / L.HASH_ENTRIES) % L.HASH_ENTRIES;
  return L.HASH + 4 * (low ^ high);
}
