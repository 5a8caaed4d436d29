/**
 * LZ4 as the kernel build writes it: the legacy frame (magic 02 21 4C 18, then blocks of a 32-bit length and
 * data that stand for up to 8 MiB each). Specification: lz4_Frame_format.md "Legacy frame", lz4_Block_format.md.
 */
import { CorruptDataError, type Output } from './output.ts';

/** A block of a legacy frame never stands for more than this (Legacy frame, "Block Size"). */
const BLOCK_MAX = 8 * 1024 * 1024;

export function unlz4(input: Uint8Array, output: Output): void {
  let at = 4;
  while (at + 4 <= input.length) {
    const view = new DataView(input.buffer, input.byteOffset + at, 4);
    const length = view.getUint32(0, true);
    at += 4;
    // A second magic may follow (concatenated frames); what the kernel build appends is the 4-byte size.
    if (length === 0x184c2102) continue;
    if (at + length > input.length) {
      if (at === input.length) return;
      throw new CorruptDataError('lz4', `block of ${length} bytes at ${at} reaches past the end`);
    }
    output.reserve(BLOCK_MAX);
    output.length = unlz4Block(input, at, at + length, output.bytes, output.length);
    at += length;
  }
}

/** Expands one block into `out` from `start`; returns where it ended. */
function unlz4Block(input: Uint8Array, from: number, end: number, out: Uint8Array, start: number): number {
  let at = from;
  let to = start;
  while (at < end) {
    const token = input[at++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do {
        more = at < end ? input[at++]! : 0;
        literals += more;
      } while (more === 255);
    }
    if (at + literals > end || to + literals > out.length)
      throw new CorruptDataError('lz4', 'literals past the end');
    if (literals > 24) out.set(input.subarray(at, at + literals), to);
    else for (let i = 0; i < literals; i++) out[to + i] = input[at + i]!;
    at += literals;
    to += literals;
    // The last sequence of a block is literals only (Block format, "End of block conditions").
    if (at >= end) break;
    const distance = input[at]! | (input[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more: number;
      do {
        more = at < end ? input[at++]! : 0;
        length += more;
      } while (more === 255);
    }
    if (distance === 0 || distance > to - start)
      throw new CorruptDataError('lz4', `distance ${distance} before the block`);
    if (to + length > out.length) throw new CorruptDataError('lz4', 'match past the end');
    if (distance >= length && length > 24) out.copyWithin(to, to - distance, to - distance + length);
    else for (let i = 0; i < length; i++) out[to + i] = out[to + i - distance]!;
    to += length;
  }
  return to;
}
