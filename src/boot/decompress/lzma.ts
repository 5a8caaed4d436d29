/**
 * The LZMA decoder: used for kernels packed as `.lzma` and, chunk by chunk, for `.xz`. It decodes from memory to
 * memory, so the output is the dictionary. Written from the LZMA specification (lzma-specification.txt of the
 * public-domain LZMA SDK).
 */
import { CorruptDataError, type Output } from './output.ts';

/** Adaptive probabilities are 11-bit and move by 1/32 of the way (§"Range Decoder"). */
const PROB_INIT = 1024;
const MOVE_BITS = 5;

/** Offsets of the probability models in one array; 12 states × 16 position states. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + 192;
const IS_REP_G0 = IS_REP + 12;
const IS_REP_G1 = IS_REP_G0 + 12;
const IS_REP_G2 = IS_REP_G1 + 12;
const IS_REP0_LONG = IS_REP_G2 + 12;
const POS_SLOT = IS_REP0_LONG + 192;
const POS_SPECIAL = POS_SLOT + 4 * 64;
const ALIGN = POS_SPECIAL + 115;
const LEN = ALIGN + 16;
/** A length coder: choice, choice2, 16 low trees of 8, 16 middle trees of 8, a high tree of 256. */
const LEN_SIZE = 2 + 128 + 128 + 256;
const REP_LEN = LEN + LEN_SIZE;
const LITERAL = REP_LEN + LEN_SIZE;

export class LzmaDecoder {
  #probs = new Uint16Array(LITERAL);
  #lc = 0;
  #lpMask = 0;
  #pbMask = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #input: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  #range = 0;
  #code = 0;
  /** Start of the dictionary in the output: a match may not reach before it. */
  #base = 0;

  /** @param properties the byte (pb * 5 + lp) * 9 + lc */
  setProperties(properties: number): void {
    if (properties >= 9 * 5 * 5) throw new CorruptDataError('lzma', `properties byte ${properties}`);
    this.#lc = properties % 9;
    const rest = Math.floor(properties / 9);
    const lp = rest % 5;
    this.#lpMask = (1 << lp) - 1;
    this.#pbMask = (1 << Math.floor(rest / 5)) - 1;
    this.#probs = new Uint16Array(LITERAL + (0x300 << (this.#lc + lp)));
    this.resetState();
  }

  resetState(): void {
    this.#probs.fill(PROB_INIT);
    this.#state = this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  resetDictionary(at: number): void {
    this.#base = at;
  }

  /**
   * Decodes from input[from, end) until the output holds `limit` bytes, or, when `marker` is allowed, an end
   * marker. The output must have room. Returns where reading stopped.
   */
  decode(
    input: Uint8Array,
    from: number,
    end: number,
    output: Output,
    limit: number,
    marker: boolean,
  ): number {
    this.#input = input;
    this.#end = end;
    if (from + 5 > end || input[from] !== 0) throw new CorruptDataError('lzma', 'range coder start');
    this.#code = new DataView(input.buffer, input.byteOffset + from + 1, 4).getUint32(0);
    this.#range = 0xffffffff;
    this.#at = from + 5;
    const out = output.bytes;
    const probs = this.#probs;
    const base = this.#base;
    const lc = this.#lc;
    const literalShift = 8 - lc;
    const lpMask = this.#lpMask;
    const pbMask = this.#pbMask;
    let to = output.length;
    let state = this.#state;
    while (to < limit) {
      const posState = to & pbMask;
      if (this.#bit(IS_MATCH + (state << 4) + posState) === 0) {
        const previous = to > base ? out[to - 1]! : 0;
        const model = LITERAL + 0x300 * (((to & lpMask) << lc) + (previous >> literalShift));
        let symbol = 1;
        let range = this.#range;
        let code = this.#code;
        let at = this.#at;
        if (state >= 7) {
          let matched = out[to - this.#rep0 - 1]!;
          do {
            const matchBit = (matched >> 7) & 1;
            matched <<= 1;
            if (range >>> 24 === 0) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | input[at++]!) >>> 0;
            }
            const index = model + ((1 + matchBit) << 8) + symbol;
            const prob = probs[index]!;
            const bound = Math.imul(range >>> 11, prob) >>> 0;
            let bit = 0;
            if (code < bound) {
              range = bound;
              probs[index] = prob + ((2048 - prob) >> MOVE_BITS);
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probs[index] = prob - (prob >> MOVE_BITS);
              bit = 1;
            }
            symbol = (symbol << 1) | bit;
            if (matchBit !== bit) break;
          } while (symbol < 0x100);
        }
        while (symbol < 0x100) {
          if (range >>> 24 === 0) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | input[at++]!) >>> 0;
          }
          const index = model + symbol;
          const prob = probs[index]!;
          const bound = Math.imul(range >>> 11, prob) >>> 0;
          if (code < bound) {
            range = bound;
            probs[index] = prob + ((2048 - prob) >> MOVE_BITS);
            symbol <<= 1;
          } else {
            range = (range - bound) >>> 0;
            code = (code - bound) >>> 0;
            probs[index] = prob - (prob >> MOVE_BITS);
            symbol = (symbol << 1) | 1;
          }
        }
        this.#range = range;
        this.#code = code;
        this.#at = at;
        out[to++] = symbol;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      let length: number;
      if (this.#bit(IS_REP + state) === 0) {
        this.#rep3 = this.#rep2;
        this.#rep2 = this.#rep1;
        this.#rep1 = this.#rep0;
        length = this.#length(LEN, posState);
        state = state < 7 ? 7 : 10;
        const distance = this.#distance(length);
        this.#rep0 = distance;
        if (distance === 0xffffffff) {
          // The end marker: a match at distance 2^32.
          if (!marker) throw new CorruptDataError('lzma', 'end marker inside the data');
          break;
        }
      } else {
        if (this.#bit(IS_REP_G0 + state) === 0) {
          if (this.#bit(IS_REP0_LONG + (state << 4) + posState) === 0) {
            state = state < 7 ? 9 : 11;
            if (this.#rep0 >= to - base) throw new CorruptDataError('lzma', 'distance before the data');
            out[to] = out[to - this.#rep0 - 1]!;
            to++;
            continue;
          }
        } else {
          let distance: number;
          if (this.#bit(IS_REP_G1 + state) === 0) distance = this.#rep1;
          else {
            if (this.#bit(IS_REP_G2 + state) === 0) distance = this.#rep2;
            else {
              distance = this.#rep3;
              this.#rep3 = this.#rep2;
            }
            this.#rep2 = this.#rep1;
          }
          this.#rep1 = this.#rep0;
          this.#rep0 = distance;
        }
        length = this.#length(REP_LEN, posState);
        state = state < 7 ? 8 : 11;
      }
      const rep0 = this.#rep0;
      if (rep0 >= to - base) throw new CorruptDataError('lzma', 'distance before the data');
      length += 2;
      if (to + length > limit) throw new CorruptDataError('lzma', 'match past the end');
      let source = to - rep0 - 1;
      for (const stop = to + length; to < stop; ) out[to++] = out[source++]!;
      if (this.#at > end) throw new CorruptDataError('lzma', 'cut short');
    }
    this.#normalize();
    if (this.#at > end) throw new CorruptDataError('lzma', 'cut short');
    output.length = to;
    this.#state = state;
    return this.#at;
  }

  #normalize(): void {
    if (this.#range >>> 24 === 0) {
      this.#range = (this.#range << 8) >>> 0;
      this.#code = ((this.#code << 8) | (this.#at < this.#end ? this.#input[this.#at]! : 0)) >>> 0;
      this.#at++;
    }
  }

  #bit(index: number): number {
    const probs = this.#probs;
    let range = this.#range;
    let code = this.#code;
    if (range >>> 24 === 0) {
      range = (range << 8) >>> 0;
      code = ((code << 8) | this.#input[this.#at++]!) >>> 0;
    }
    const prob = probs[index]!;
    const bound = Math.imul(range >>> 11, prob) >>> 0;
    if (code < bound) {
      this.#range = bound;
      this.#code = code;
      probs[index] = prob + ((2048 - prob) >> MOVE_BITS);
      return 0;
    }
    this.#range = (range - bound) >>> 0;
    this.#code = (code - bound) >>> 0;
    probs[index] = prob - (prob >> MOVE_BITS);
    return 1;
  }

  #tree(model: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.#bit(model + symbol);
    return symbol - (1 << bits);
  }

  #reverseTree(model: number, bits: number): number {
    let symbol = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(model + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  #length(model: number, posState: number): number {
    if (this.#bit(model) === 0) return this.#tree(model + 2 + (posState << 3), 3);
    if (this.#bit(model + 1) === 0) return 8 + this.#tree(model + 130 + (posState << 3), 3);
    return 16 + this.#tree(model + 258, 8);
  }

  /** The distance less one; FFFFFFFFh is the end marker. */
  #distance(length: number): number {
    const slot = this.#tree(POS_SLOT + (Math.min(length, 3) << 6), 6);
    if (slot < 4) return slot;
    const direct = (slot >> 1) - 1;
    const high = ((2 | (slot & 1)) << direct) >>> 0;
    if (slot < 14) return high + this.#reverseTree(POS_SPECIAL + high - slot, direct);
    let value = 0;
    for (let i = direct - 4; i > 0; i--) {
      this.#normalize();
      this.#range = this.#range >>> 1;
      if (this.#code >= this.#range) {
        this.#code = (this.#code - this.#range) >>> 0;
        value = (value << 1) | 1;
      } else value <<= 1;
    }
    return (high + ((value << 4) >>> 0) + this.#reverseTree(ALIGN, 4)) >>> 0;
  }
}

/** The `.lzma` format: properties, dictionary size, 64-bit size (all ones: until the end marker), data. */
export function unlzma(input: Uint8Array, output: Output): void {
  if (input.length < 18) throw new CorruptDataError('lzma', 'cut short');
  const view = new DataView(input.buffer, input.byteOffset, input.length);
  const low = view.getUint32(5, true);
  const high = view.getUint32(9, true);
  const unknown = low === 0xffffffff && high === 0xffffffff;
  const decoder = new LzmaDecoder();
  decoder.setProperties(input[0]!);
  if (!unknown) {
    output.reserve(low + high * 2 ** 32);
    decoder.decode(input, 13, input.length, output, low + high * 2 ** 32, true);
    return;
  }
  // Without a size the caller's expectation has sized the buffer; a result that does not fit is refused.
  decoder.decode(input, 13, input.length, output, output.bytes.length, true);
}
