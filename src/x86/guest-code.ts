/** The bytes of guest code, by physical address: what blocks were decoded from. */
import { fnv1a } from '../core/fnv.ts';
import type { Block } from './block.ts';
import * as L from './layout.ts';

const PAGE = 4096;

export class GuestCode {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #pageTable: Uint32Array;

  constructor(memory: ArrayBufferLike) {
    this.#bytes = new Uint8Array(memory);
    this.#view = new DataView(memory);
    this.#pageTable = new Uint32Array(memory, L.PAGE_TABLE, L.PAGE_TABLE_ENTRIES);
  }

  /** Address in memory of a physical page's bytes, or 0 when it is not memory. */
  pageAddress(page: number): number {
    return page < this.#pageTable.length ? (this.#pageTable[page]! & ~0xfff) >>> 0 : 0;
  }

  /** The bytes that a block depends on. */
  of({ physical, extent, nextPage }: Block): Uint8Array {
    const offset = physical % PAGE;
    const code = new Uint8Array(extent - offset);
    const here = this.pageAddress(Math.floor(physical / PAGE));
    code.set(this.#bytes.subarray(here + offset, here + Math.min(extent, PAGE)));
    if (extent > PAGE) {
      const next = this.pageAddress(nextPage);
      code.set(this.#bytes.subarray(next, next + extent - PAGE), PAGE - offset);
    }
    return code;
  }

  /**
   * An i32 for the code of a block, its place in the page and its mode: equal for equal ones, and seldom for others.
   * @param header of the block, its address
   */
  keyOf(header: number): number {
    const low = this.#view.getUint32(header + L.BLOCK_KEY, true);
    const high = this.#view.getUint32(header + L.BLOCK_KEY + 4, true);
    const offset = low % PAGE;
    const here = this.pageAddress((low >>> 12) + (high & 0xffff) * 2 ** 20);
    const bytes = (this.#view.getUint32(header + L.BLOCK_SHAPE, true) >> L.SHAPE_BYTES_SHIFT) & L.SHAPE_BYTES;
    const end = here + Math.min(offset + bytes, PAGE);
    return fnv1a(this.#bytes, offset ^ ((high >>> 16) << 12), here + offset, end);
  }

  /** Whether memory at `physical` holds this code; what is beyond the page stands in `nextPage`. */
  holds(physical: number, nextPage: number, code: Uint8Array): boolean {
    const offset = physical % PAGE;
    const here = this.pageAddress(Math.floor(physical / PAGE));
    const next = nextPage < 0 ? 0 : this.pageAddress(nextPage);
    const inPage = Math.min(code.length, PAGE - offset);
    if (here === 0 || (code.length > inPage && next === 0)) return false;
    for (let i = 0; i < inPage; i++) if (this.#bytes[here + offset + i] !== code[i]) return false;
    for (let i = inPage; i < code.length; i++) if (this.#bytes[next + i - inPage] !== code[i]) return false;
    return true;
  }
}
