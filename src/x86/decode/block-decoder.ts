/**
 * Decodes a run of instructions into records for the interpreter: up to a control transfer, the end of the page, or what
 * does not decode. Objects (`Insn`) are made only for forms that have not been met, and again for the translator.
 */
import * as L from '../layout.ts';
import { VEX_MAPS } from '../table/compile.ts';
import { type DecodeFailure, type Decoder, MAX_LENGTH } from './decode.ts';
import { type FormRuntime, FormStore, formFlags } from './forms.ts';
import type { Insn } from './insn.ts';
import { writeMarker, writeRecord } from './record.ts';

const { MAX_BLOCK_INSNS } = L;
const PAGE = 4096;
const LONG = 2;

/** How a block ends: a control transfer or system instruction, running on, or an undecodable one. */
export type BlockEnd = 'transfer' | 'continue' | 'invalid';

/** Makes handlers for records, by table index (HandlerLibrary). */
export interface Handlers {
  handler(insn: Insn, long: boolean): number;
  helper(name: string): number;
  /** Builds what `handler` has promised. */
  flush(): void;
}

export interface DecodedBlock {
  readonly instructions: number;
  readonly end: BlockEnd;
  /** It ends with a jump or call whose target is in a register or in memory. */
  readonly indirect: boolean;
  /** Physical page that the last instruction runs into, or -1. */
  readonly nextPage: number;
  /** Offset in the page (may exceed it) of the byte after the last instruction that was looked at. */
  readonly endOffset: number;
  /** Address behind the last record. */
  readonly recordsEnd: number;
}

export class BlockDecoder {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #decoder: Decoder;
  readonly #handlers: Handlers;
  readonly #forms: FormStore;
  readonly #runtime: FormRuntime;
  /** An instruction across two pages is put together here. */
  readonly #across = new Uint8Array(2 * 16);
  #record = 0;

  constructor(memory: ArrayBufferLike, runtime: FormRuntime, decoder: Decoder, handlers: Handlers) {
    this.#view = new DataView(memory);
    this.#bytes = new Uint8Array(memory);
    this.#decoder = decoder;
    this.#handlers = handlers;
    this.#runtime = runtime;
    this.#forms = new FormStore(memory, runtime, decoder.table);
    this.#view.setUint32(L.BLOCK_END_HANDLER, handlers.helper('op_block_end'), true);
  }

  /**
   * Writes records to `record` for the code at `offset` of the page at `base` (0: not memory).
   * @param nextPage the physical page that is mapped behind this one, or -1 when reading there raised an exception
   * @param pageAddress where a physical page's bytes are, or 0
   * @returns 'fault' when nextPage() gave -1
   */
  decode(
    record: number,
    base: number,
    offset: number,
    mode: number,
    nextPage: () => number,
    pageAddress: (page: number) => number,
  ): DecodedBlock | 'fault' {
    const code = mode & L.MODE_CODE;
    const long = code === LONG;
    const forms = this.#forms;
    const refused = refusedIn(mode);
    this.#record = record;
    let at = offset;
    let instructions = 0;
    let next = -1;
    let end: BlockEnd = 'continue';
    let indirect = false;
    // Fetching from a device: no machine runs code there; treated as an undefined instruction.
    if (base === 0) {
      end = 'invalid';
      this.#marker('op_invalid', at, 1);
    }
    while (end === 'continue') {
      if (at >= PAGE || instructions === MAX_BLOCK_INSNS || next >= 0) {
        this.#marker('op_block_end', at, 0);
        break;
      }
      const kept = long && at <= PAGE - MAX_LENGTH;
      if (kept) {
        const known = forms.write(this.#record, base, at, MAX_BLOCK_INSNS - instructions, refused);
        const count = (known >>> 16) & 255;
        this.#record += count * L.REC_BYTES;
        instructions += count;
        at = known & 0xffff;
        const flags = known >>> 24;
        if (flags & L.FORM_ENDS) {
          end = 'transfer';
          indirect = this.#finish(flags, at);
          break;
        }
        if (count > 0) continue;
      }
      let insn: Insn | DecodeFailure = this.#decoder.decode(this.#bytes, base + at, base + PAGE, at, code);
      if (insn === 'short') {
        // It runs into the next page: a block of its own, so that only such blocks depend on two pages.
        if (instructions > 0) {
          this.#marker('op_block_end', at, 0);
          break;
        }
        next = nextPage();
        if (next < 0) return 'fault';
        insn = this.#decodeAcross(base, pageAddress(next), at, code);
      }
      if (typeof insn === 'string') {
        end = 'invalid';
        this.#marker(insn === 'gp' ? 'op_too_long' : 'op_invalid', at, 1);
        break;
      }
      // SDM volume 2, 2.3: no VEX prefixes in real and virtual-8086 mode
      if ((mode & L.MODE_PROTECTED) === 0 && insn.def.map >= VEX_MAPS) {
        end = 'invalid';
        this.#marker('op_invalid', at, insn.length);
        break;
      }
      writeRecord(this.#view, this.#record, insn, this.#handlers.handler(insn, long), long);
      const flags = formFlags(insn);
      if (kept) forms.keep(insn, base + at, this.#record);
      if (flags & refused) {
        end = 'invalid';
        // an encoding that exists but may not run now
        const absent = (flags & L.FORM_VECTOR) !== 0 && (mode & L.MODE_NO_SSE) !== 0;
        this.#marker(absent ? 'op_invalid' : 'op_not_available', at, insn.length);
        break;
      }
      this.#record += L.REC_BYTES;
      instructions++;
      at += insn.length;
      if (flags & L.FORM_ENDS) {
        end = 'transfer';
        indirect = this.#finish(flags, at);
      }
    }
    if (long) this.#runtime.joinPairs(record, this.#record);
    this.#handlers.flush();
    return { instructions, end, indirect, nextPage: next, endOffset: at, recordsEnd: this.#record };
  }

  /** After an instruction that ends its block; returns whether it is an indirect jump or call. */
  #finish(flags: number, at: number): boolean {
    if ((flags & L.FORM_LEAVES) === 0) this.#marker('op_block_end', at, 0);
    return (flags & L.FORM_INDIRECT) !== 0;
  }

  #marker(name: string, offset: number, length: number): void {
    writeMarker(this.#view, this.#record, offset, length, this.#handlers.helper(name));
    this.#record += L.REC_BYTES;
  }

  /**
   * The instructions of code that has been decoded to records and has not changed since.
   * @param next address of the bytes of the page that the last one runs into, or 0
   */
  insns(base: number, next: number, offset: number, code: number, count: number): Insn[] {
    const insns: Insn[] = [];
    let at = offset;
    while (insns.length < count) {
      let insn = this.#decoder.decode(this.#bytes, base + at, base + PAGE, at, code);
      if (insn === 'short') insn = this.#decodeAcross(base, next, at, code);
      if (typeof insn === 'string') break;
      insns.push(insn);
      at += insn.length;
    }
    return insns;
  }

  #decodeAcross(base: number, next: number, offset: number, code: number): Insn | 'ud' | 'gp' {
    const bytes = this.#across.fill(0);
    const here = PAGE - offset;
    bytes.set(this.#bytes.subarray(base + offset, base + PAGE));
    if (next !== 0) bytes.set(this.#bytes.subarray(next, next + 16), here);
    const insn = this.#decoder.decode(bytes, 0, here + 16, offset, code);
    return insn === 'short' ? 'gp' : insn;
  }
}

/** Flags of instructions that may not run in a mode. */
function refusedIn(mode: number): number {
  if (mode & L.MODE_NO_FPU) return L.FORM_VECTOR | L.FORM_MMX;
  return mode & L.MODE_NO_SSE ? L.FORM_VECTOR : 0;
}
