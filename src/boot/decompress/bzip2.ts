/**
 * The bzip2 decoder, for kernels packed with it. Written from the format's description (bzip2 has no formal
 * specification; the block layout is the one of bzip2 1.0): Huffman codes, move-to-front, run lengths, and the
 * Burrows-Wheeler transform backwards.
 */
import { CorruptDataError, type Output } from './output.ts';

const MAX_CODE_LENGTH = 20;
const SYMBOLS_PER_GROUP = 50;

export function unbzip2(input: Uint8Array, output: Output): void {
  const bits = new BitReader(input);
  const level = input[3]! - 0x30;
  if (!(level >= 1 && level <= 9)) throw new CorruptDataError('bzip2', 'no stream header');
  bits.skipBytes(4);
  const counts = new Int32Array(level * 100_000);
  for (;;) {
    const high = bits.read(24);
    const low = bits.read(24);
    // End of stream: the digits of the square root of pi. Block: the digits of pi.
    if (high === 0x177245 && low === 0x385090) return;
    if (high !== 0x314159 || low !== 0x265359) throw new CorruptDataError('bzip2', 'no block header');
    readBlock(bits, counts, output);
  }
}

function readBlock(bits: BitReader, block: Int32Array, output: Output): void {
  bits.read(16);
  bits.read(16);
  if (bits.read(1) === 1) throw new CorruptDataError('bzip2', 'randomised blocks are not supported');
  const origin = bits.read(24);
  const symbols = readSymbolMap(bits);
  const groups = bits.read(3);
  const selectorCount = bits.read(15);
  if (groups < 2 || groups > 6 || selectorCount === 0) throw new CorruptDataError('bzip2', 'group count');
  const order = Array.from({ length: groups }, (_, i) => i);
  const selectors = new Uint8Array(selectorCount);
  for (let i = 0; i < selectorCount; i++) {
    let index = 0;
    while (bits.read(1) === 1) if (++index >= groups) throw new CorruptDataError('bzip2', 'selector');
    const group = order.splice(index, 1)[0]!;
    order.unshift(group);
    selectors[i] = group;
  }
  const alphabet = symbols.length + 2;
  const tables = Array.from({ length: groups }, () => readTable(bits, alphabet));

  let count = 0;
  let run = 0;
  let runBit = 1;
  const frequency = new Int32Array(256);
  const flushRun = (): void => {
    if (run === 0) return;
    const byte = symbols[0]!;
    if (count + run > block.length) throw new CorruptDataError('bzip2', 'block too long');
    frequency[byte]! += run;
    block.fill(byte, count, count + run);
    count += run;
    run = 0;
    runBit = 1;
  };
  for (let group = 0, left = 0, table = tables[0]!; ; left--) {
    if (left === 0) {
      if (group >= selectorCount) throw new CorruptDataError('bzip2', 'too few selectors');
      table = tables[selectors[group++]!]!;
      left = SYMBOLS_PER_GROUP;
    }
    const symbol = table.read(bits);
    if (symbol <= 1) {
      // RUNA and RUNB: the run's length in bijective base 2.
      run += runBit << symbol;
      runBit <<= 1;
      if (run > block.length) throw new CorruptDataError('bzip2', 'run too long');
      continue;
    }
    flushRun();
    if (symbol === alphabet - 1) break;
    const index = symbol - 1;
    const byte = symbols[index]!;
    symbols.copyWithin(1, 0, index);
    symbols[0] = byte;
    if (count >= block.length) throw new CorruptDataError('bzip2', 'block too long');
    frequency[byte]!++;
    block[count++] = byte;
  }
  if (origin >= count) throw new CorruptDataError('bzip2', 'origin outside the block');
  undoTransform(block, count, origin, frequency, output);
}

/** Burrows-Wheeler backwards, then the first run-length layer (four equal bytes and a count). */
function undoTransform(
  block: Int32Array,
  count: number,
  origin: number,
  frequency: Int32Array,
  output: Output,
): void {
  const next = new Int32Array(256);
  for (let i = 0, sum = 0; i < 256; i++) {
    next[i] = sum;
    sum += frequency[i]!;
  }
  for (let i = 0; i < count; i++) block[next[block[i]! & 255]!++]! |= i << 8;
  let position = block[origin]! >>> 8;
  let previous = -1;
  let same = 0;
  output.reserve(count);
  for (let i = 0; i < count; i++) {
    const entry = block[position]!;
    const byte = entry & 255;
    position = entry >>> 8;
    if (same === 4) {
      output.reserve(byte + count - i);
      output.bytes.fill(previous, output.length, output.length + byte);
      output.length += byte;
      same = 0;
      previous = -1;
      continue;
    }
    same = byte === previous ? same + 1 : 1;
    previous = byte;
    output.bytes[output.length++] = byte;
  }
}

/** The bytes that occur in the block, ascending: 16 ranges of 16. */
function readSymbolMap(bits: BitReader): Uint8Array {
  const used: number[] = [];
  const ranges = bits.read(16);
  for (let i = 0; i < 16; i++) {
    if ((ranges & (0x8000 >> i)) === 0) continue;
    const map = bits.read(16);
    for (let j = 0; j < 16; j++) if ((map & (0x8000 >> j)) !== 0) used.push(i * 16 + j);
  }
  if (used.length === 0) throw new CorruptDataError('bzip2', 'block without symbols');
  return Uint8Array.from(used);
}

interface HuffmanTable {
  read(bits: BitReader): number;
}

/** Canonical Huffman codes from their lengths, which are coded as differences. */
function readTable(bits: BitReader, alphabet: number): HuffmanTable {
  const lengths = new Uint8Array(alphabet);
  let length = bits.read(5);
  for (let i = 0; i < alphabet; i++) {
    while (bits.read(1) === 1) length += bits.read(1) === 0 ? 1 : -1;
    if (length < 1 || length > MAX_CODE_LENGTH) throw new CorruptDataError('bzip2', 'code length');
    lengths[i] = length;
  }
  const perLength = new Int32Array(MAX_CODE_LENGTH + 2);
  for (const each of lengths) perLength[each]!++;
  const first = new Int32Array(MAX_CODE_LENGTH + 2);
  const index = new Int32Array(MAX_CODE_LENGTH + 2);
  for (let n = 1, code = 0, sum = 0; n <= MAX_CODE_LENGTH; n++) {
    first[n] = code;
    index[n] = sum;
    sum += perLength[n]!;
    code = (code + perLength[n]!) << 1;
  }
  const sorted = new Uint16Array(alphabet);
  const fill = index.slice();
  for (let symbol = 0; symbol < alphabet; symbol++) sorted[fill[lengths[symbol]!]!++] = symbol;
  return {
    read(source) {
      let code = 0;
      for (let n = 1; n <= MAX_CODE_LENGTH; n++) {
        code = (code << 1) | source.read(1);
        const offset = code - first[n]!;
        if (offset < perLength[n]!) return sorted[index[n]! + offset]!;
      }
      throw new CorruptDataError('bzip2', 'code');
    },
  };
}

/** Bits, most significant first. */
class BitReader {
  readonly #input: Uint8Array;
  #at = 0;
  #buffer = 0;
  #count = 0;

  constructor(input: Uint8Array) {
    this.#input = input;
  }

  skipBytes(count: number): void {
    this.#at += count;
  }

  /** @param count 1 to 24 */
  read(count: number): number {
    while (this.#count < count) {
      if (this.#at >= this.#input.length) throw new CorruptDataError('bzip2', 'cut short');
      this.#buffer = ((this.#buffer << 8) | this.#input[this.#at++]!) >>> 0;
      this.#count += 8;
    }
    this.#count -= count;
    return (this.#buffer >>> this.#count) & (2 ** count - 1);
  }
}
