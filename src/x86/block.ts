/**
 * A decoded block, and the regions that blocks become part of. A guest soon has a quarter of a million blocks: what is
 * known of one when it is decoded is kept in one small number, which V8 does not give an object of its own.
 */
import type { BlockEnd } from './decode/block-decoder.ts';

/** What the number says, from its lowest bits on: instructions (at most 64), bytes (at most 975), and so forth. */
const INSTRUCTIONS = 127;
const BYTES_SHIFT = 7;
const BYTES = 1023;
const END_SHIFT = 17;
const END = 3;
/** Three bits for one of these, each of which goes with what stands before it. */
const STATE_SHIFT = 19;
const STATE = 7;
const COUNTED = 1;
const WARM = 2;
const PATIENT = 3;
const SCATTERED = 4;
/** Nine bits of MODE, so that 31 are in use. */
const MODE_SHIFT = 22;

const ENDS: readonly BlockEnd[] = ['continue', 'invalid', 'transfer'];
/** Ends with a jump or call whose target is in a register or in memory. */
const INDIRECT = 3;

export class Block {
  readonly physical: number;
  /** Address of the header in RECORDS. */
  readonly address: number;
  /** Physical page that the last instruction runs into, or -1. */
  readonly nextPage: number;
  /** The region that starts here: table index and entry point. */
  region: RegionEntry | undefined = undefined;
  #bits: number;

  /** @param bytes that the block depends on, from its first on */
  constructor(
    physical: number,
    mode: number,
    address: number,
    instructions: number,
    bytes: number,
    nextPage: number,
    end: BlockEnd,
    indirect: boolean,
  ) {
    this.physical = physical;
    this.address = address;
    this.nextPage = nextPage;
    const ending = indirect ? INDIRECT : ENDS.indexOf(end);
    this.#bits = instructions | (bytes << BYTES_SHIFT) | (ending << END_SHIFT) | (mode << MODE_SHIFT);
  }

  get mode(): number {
    return this.#bits >>> MODE_SHIFT;
  }

  get instructions(): number {
    return this.#bits & INSTRUCTIONS;
  }

  /** Offset in its page of the byte behind the last one that it depends on; what exceeds 4096 lies in `nextPage`. */
  get extent(): number {
    return (this.physical & 4095) + ((this.#bits >>> BYTES_SHIFT) & BYTES);
  }

  get end(): BlockEnd {
    return ENDS[(this.#bits >>> END_SHIFT) & END] ?? 'transfer';
  }

  /** It ends with a jump or call whose target is in a register or in memory; the last ones are noted (TARGETS). */
  get indirect(): boolean {
    return ((this.#bits >>> END_SHIFT) & END) === INDIRECT;
  }

  get #state(): number {
    return (this.#bits >> STATE_SHIFT) & STATE;
  }

  #reach(state: number): void {
    if (this.#state < state) this.#bits = (this.#bits & ~(STATE << STATE_SHIFT)) | (state << STATE_SHIFT);
  }

  /** Its countdown is to the hot threshold, no longer to the first one. */
  get counted(): boolean {
    return this.#state >= COUNTED;
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

  markCounted(): void {
    this.#reach(COUNTED);
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
