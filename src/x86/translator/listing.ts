/**
 * What `-d in_asm`, `-d op` and `-d out_asm` print of a region: the guest's instructions, the shape of the region, and
 * its WebAssembly with the guest's instructions between. Nothing of this runs unless somebody listens.
 */
import { type Callee, disassembleFunction } from '../../wasm/disassemble.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Insn } from '../decode/insn.ts';
import { disassemble } from '../disassemble/index.ts';
import * as L from '../layout.ts';
import type { RegionBlock, Selection } from './region.ts';

const PAGE = 4096;

export class RegionListing {
  readonly #selection: Selection;
  readonly #base: bigint;
  readonly #texts = new Map<Insn, string>();

  /**
   * @param memory the processor's memory
   * @param linear address of the hot block, as mapped now
   */
  constructor(memory: ArrayBufferLike, selection: Selection, linear: bigint) {
    this.#selection = selection;
    this.#base = linear & ~0xfffn;
    const pageTable = new DataView(memory, L.PAGE_TABLE);
    for (const block of selection.blocks) {
      const page = selection.pages.get(block.page)!;
      const start = (pageTable.getUint32(4 * page, true) & -PAGE) >>> 0;
      for (const insn of block.insns) {
        const address = BigInt.asUintN(64, this.#base + BigInt(block.page + insn.offset));
        // a copy: the disassembler wants bytes of an ordinary buffer, up to the page's end
        const bytes = new Uint8Array(memory, start + insn.offset, insn.length).slice();
        const text =
          disassemble(bytes, address, 64)?.text ??
          `.byte ${[...bytes].map((byte) => byte.toString(16)).join(' ')}`;
        this.#texts.set(insn, `0x${address.toString(16)}:  ${text}`);
      }
    }
  }

  guestCode(): string {
    return this.#selection.blocks.map((block) => `${this.#title(block)}\n${this.#lines(block)}`).join('\n');
  }

  #title(block: RegionBlock): string {
    const runs = block.fallsTo === undefined ? '' : `, runs on at ${this.#place(block.fallsTo)}`;
    return `block ${this.#place(block.offset)} (${block.insns.length}${runs})`;
  }

  #lines(block: RegionBlock): string {
    return block.insns.map((insn) => `  ${this.#texts.get(insn) ?? '?'}`).join('\n');
  }

  #place(offset: number): string {
    return `0x${BigInt.asUintN(64, this.#base + BigInt(offset)).toString(16)}`;
  }

  /** Blocks, pages, entries (by their position among the blocks) and return sites. */
  shape(entries: ReadonlySet<number>): string {
    const { blocks, pages, sites } = this.#selection;
    const lines = [...pages].map(
      ([offset, page]) => `page ${this.#place(offset)} physical 0x${(page * PAGE).toString(16)}`,
    );
    for (const [i, block] of blocks.entries())
      lines.push(
        `${entries.has(i) ? 'entry' : 'block'} ${i}: ${this.#title(block)}${sites.includes(block.offset) ? ' comes back here' : ''}`,
      );
    return lines.join('\n');
  }

  webAssembly(f: FunctionBuilder, callee: (index: number) => Callee | undefined): string {
    return disassembleFunction(f, callee, (thing) => this.#texts.get(thing as Insn)).join('\n');
  }
}
