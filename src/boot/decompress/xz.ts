/**
 * The `.xz` container as the kernel build writes it: one or more streams of blocks, LZMA2 with the x86 branch
 * filter before it. Specification: "The .xz File Format" 1.2 of the Tukaani project.
 */
import { crc32 } from './crc32.ts';
import { LzmaDecoder } from './lzma.ts';
import { CorruptDataError, type Output } from './output.ts';

const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
/** Bytes of each kind of integrity check (§2.1.1.2). */
const CHECK_SIZE = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

export function unxz(input: Uint8Array, output: Output): void {
  const magic = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
  if (magic.some((byte, i) => input[i] !== byte)) throw new CorruptDataError('xz', 'no stream header');
  const check = CHECK_SIZE[input[7]! & 15]!;
  let at = 12;
  // A zero where a block's header size would be is the index: the end of the data (§3.1.1).
  while (at < input.length && input[at] !== 0) {
    const headerEnd = at + (input[at]! + 1) * 4;
    const reader = { input, at: at + 1 };
    const flags = input[reader.at++]!;
    if ((flags & 0x40) !== 0) readVarint(reader);
    const size = (flags & 0x80) !== 0 ? readVarint(reader) : undefined;
    let branch = false;
    for (let i = 0; i <= (flags & 3); i++) {
      const id = readVarint(reader);
      const length = readVarint(reader);
      if (id === FILTER_X86 && length === 0) branch = true;
      else if (id !== FILTER_LZMA2)
        throw new CorruptDataError('xz', `filter ${id.toString(16)}h is not supported`);
      reader.at += length;
    }
    if (headerEnd > input.length || reader.at > headerEnd)
      throw new CorruptDataError('xz', 'block header cut short');
    if (size !== undefined) output.reserve(size);
    const start = output.length;
    const end = unlzma2(input, headerEnd, output);
    if (branch) undoX86Branches(output.bytes, start, output.length);
    const padded = headerEnd + Math.ceil((end - headerEnd) / 4) * 4;
    if (check === 4) {
      const view = new DataView(input.buffer, input.byteOffset);
      if (
        padded + 4 > input.length ||
        view.getUint32(padded, true) !== crc32(output.bytes, start, output.length)
      )
        throw new CorruptDataError('xz', 'CRC32 of a block differs');
    }
    at = padded + check;
  }
}

function readVarint(reader: { input: Uint8Array; at: number }): number {
  let value = 0;
  // At most 9 bytes of 7 bits (§1.2); what we read are sizes far below 2^53.
  for (let i = 0; i < 9; i++) {
    const byte = reader.input[reader.at++];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  throw new CorruptDataError('xz', 'number cut short');
}

/** Decodes LZMA2 chunks up to the end marker; returns where it stopped. */
function unlzma2(input: Uint8Array, from: number, output: Output): number {
  const decoder = new LzmaDecoder();
  let at = from;
  for (;;) {
    const control = input[at];
    if (control === undefined) throw new CorruptDataError('xz', 'cut short');
    if (control === 0) return at + 1;
    if (control === 1 || control >= 0xe0) decoder.resetDictionary(output.length);
    if (control >= 0x80) {
      const unpacked = ((control & 0x1f) << 16) + (input[at + 1]! << 8) + input[at + 2]! + 1;
      const packed = (input[at + 3]! << 8) + input[at + 4]! + 1;
      at += 5;
      if (control >= 0xc0) decoder.setProperties(input[at++]!);
      else if (control >= 0xa0) decoder.resetState();
      if (at + packed > input.length) throw new CorruptDataError('xz', 'chunk cut short');
      output.reserve(unpacked);
      decoder.decode(input, at, at + packed, output, output.length + unpacked, false);
      at += packed;
    } else if (control <= 2) {
      const length = (input[at + 1]! << 8) + input[at + 2]! + 1;
      at += 3;
      if (at + length > input.length) throw new CorruptDataError('xz', 'chunk cut short');
      output.push(input.subarray(at, at + length));
      at += length;
    } else throw new CorruptDataError('xz', `chunk type ${control}`);
  }
}

/** For each history of the last three bytes: may an opcode after it have been converted at all? */
const HISTORY_ALLOWED = [true, true, true, false, true, false, false, false];
/** For each history: how far before the operand's top byte the nearest opcode byte lies. */
const HISTORY_DISTANCE = [0, 1, 2, 2, 3, 3, 3, 3];

/** The filter touches only targets within ±16 MiB, whose top byte is all zeroes or all ones. */
function isSignByte(byte: number): boolean {
  return byte === 0 || byte === 0xff;
}

/**
 * Turns the absolute targets of CALL and JMP (E8h, E9h) back into relative ones, in place. The encoder left
 * alone opcodes whose neighbourhood looks like data; `history` has a bit for each of the last three bytes that
 * were such opcodes, and must follow the encoder's exactly.
 */
export function undoX86Branches(data: Uint8Array, start: number, end: number): void {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let history = 0;
  let previous = start - 1;
  for (let at = start; at + 5 <= end; at++) {
    if ((data[at]! & 0xfe) !== 0xe8) continue;
    const gap = at - previous;
    previous = at;
    history = gap > 3 ? 0 : (history << (gap - 1)) & 7;
    const blocked =
      history !== 0 && (!HISTORY_ALLOWED[history] || isSignByte(data[at + 4 - HISTORY_DISTANCE[history]!]!));
    if (blocked || !isSignByte(data[at + 4]!)) {
      history = (history << 1) | 1;
      continue;
    }
    const next = at - start + 5;
    let target = (view.getUint32(at + 1, true) - next) >>> 0;
    if (history !== 0) {
      const shift = HISTORY_DISTANCE[history]! * 8;
      // A relative target that would itself have been skipped was encoded complemented; at most twice.
      while (isSignByte((target >>> (24 - shift)) & 0xff))
        target = ((target ^ (2 ** (32 - shift) - 1)) - next) >>> 0;
    }
    // 25 significant bits, sign extended.
    view.setUint32(at + 1, ((target << 7) >> 7) >>> 0, true);
    at += 4;
  }
}
