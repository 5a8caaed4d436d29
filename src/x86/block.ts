/**
 * A decoded block, and the regions that blocks become part of. A guest soon has a quarter of a million blocks: what is
 * known of one when it is decoded is kept in one small number, which V8 does not give an object of its own.
 */
import type { BlockEnd } from './decode/block-decoder.ts';
import * as L from './layout.ts';
import type { RegionModule } from './region-modules.ts';

/** What the number says: from its lowest bits on the shape as in the block's header (layout.ts), then as follows. */
const INSTRUCTIONS = L.SHAPE_INSNS;
const BYTES_SHIFT = L.SHAPE_BYTES_SHIFT;
const BYTES = L.SHAPE_BYTES;
const END_SHIFT = L.SHAPE_END_SHIFT;
const END = L.SHAPE_END;
/** Two bits for one of these, each of which goes with what stands before it. */
const STATE_SHIFT = 19;
const STATE = 3;
const WARM = 1;
const PATIENT = 2;
const SCATTERED = 3;
/** Nine bits of MODE, so that 31 are in use. */
const MODE_SHIFT = 22;

const ENDS: readonly BlockEnd[] = ['continue', 'invalid', 'transfer', 'transfer'];

/**
 * The shape of a block.
 * @param bytes that it depends on, from its first on
 * @param indirect it ends with a jump or call whose target is in a register or in memory
 */
export function shapeOf(instructions: number, bytes: number, end: BlockEnd, indirect: boolean): number {
  const ending = indirect ? L.BLOCK_ENDS_INDIRECT : ENDS.indexOf(end);
  return instructions | (bytes << BYTES_SHIFT) | (ending << END_SHIFT);
}

export class Block {
  readonly physical: number;
  /** Address of the header in RECORDS. */
  readonly address: number;
  /** Physical page that the last instruction runs into, or -1. */
  readonly nextPage: number;
  /** The region that starts here: table index and entry point. */
  region: RegionEntry | undefined = undefined;
  #bits: number;

  /** @param shape see `shapeOf` */
  constructor(physical: number, mode: number, address: number, shape: number, nextPage: number) {
    this.physical = physical;
    this.address = address;
    this.nextPage = nextPage;
    this.#bits = shape | (mode << MODE_SHIFT);
  }

  get mode(): number {
    return this.#bits >>> MODE_SHIFT;
  }

  get instructions(): number {
    return this.#bits & INSTRUCTIONS;
  }

  /** As `shapeOf` made it. */
  get shape(): number {
    return this.#bits & L.SHAPE;
  }

  /** Offset in its page of the byte behind the last one that it depends on; what exceeds 4096 lies in `nextPage`. */
  get extent(): number {
    return (this.physical & 4095) + ((this.#bits >>> BYTES_SHIFT) & BYTES);
  }

  get end(): BlockEnd {
    return ENDS[(this.#bits >>> END_SHIFT) & END]!;
  }

  /** It ends with a jump or call whose target is in a register or in memory; the last ones are noted (TARGETS). */
  get indirect(): boolean {
    return ((this.#bits >>> END_SHIFT) & END) === L.BLOCK_ENDS_INDIRECT;
  }

  get #state(): number {
    return (this.#bits >> STATE_SHIFT) & STATE;
  }

  #reach(state: number): void {
    if (this.#state < state) this.#bits = (this.#bits & ~(STATE << STATE_SHIFT)) | (state << STATE_SHIFT);
  }

  /** Has been part of a region. */
  get warm(): boolean {
    return this.#state >= WARM;
  }

  /** Regions that begin here call the runtime for accesses that miss the TLB, in place of leaving. */
  get patient(): boolean {
    return this.#state >= PATIENT;
  }

  /** Regions that begin here check accesses one by one. */
  get scattered(): boolean {
    return this.#state === SCATTERED;
  }

  markWarm(): void {
    this.#reach(WARM);
  }

  markPatient(): void {
    this.#reach(PATIENT);
  }

  markScattered(): void {
    this.#reach(SCATTERED);
  }
}

export interface RegionEntry {
  readonly region: Region;
  readonly entry: number;
}

export interface Region {
  readonly index: number;
  readonly module: RegionModule;
  /** Physical pages that its code lies in. */
  readonly pages: readonly number[];
  readonly blocks: readonly Block[];
  readonly instructions: number;
  /** How often it could not run because a page was mapped elsewhere. */
  remapped: number;
  /** It has been written so that accesses may be scattered over pages. */
  readonly expectsScattered: boolean;
  /** How often accesses that it checks together were not within one page. */
  scattered: number;
  /** It has been written so that it stays when an access misses the TLB. */
  readonly patient: boolean;
}
