/**
 * LZO1X in the container of the `lzop` tool, as the kernel build writes it. Stream format: the kernel's
 * Documentation/staging/lzo.rst; container: lzop's header as its manual page and the file format describe it.
 */
import { CorruptDataError, type Output } from './output.ts';

const F_ADLER32_D = 0x1;
const F_ADLER32_C = 0x2;
const F_CRC32_D = 0x100;
const F_CRC32_C = 0x200;
const F_H_EXTRA_FIELD = 0x40;
const F_H_FILTER = 0x800;
/** lzop never makes larger blocks. */
const BLOCK_MAX = 64 * 1024 * 1024;

export function unlzo(input: Uint8Array, output: Output): void {
  const view = new DataView(input.buffer, input.byteOffset, input.length);
  let at: number;
  let flags: number;
  try {
    const version = view.getUint16(9);
    at = version >= 0x940 ? 17 : 14;
    flags = view.getUint32(at);
    at += 4 + ((flags & F_H_FILTER) !== 0 ? 4 : 0) + (version >= 0x940 ? 12 : 8);
    at += 1 + view.getUint8(at) + 4;
    if ((flags & F_H_EXTRA_FIELD) !== 0) at += 8 + view.getUint32(at);
    for (;;) {
      const unpacked = view.getUint32(at);
      if (unpacked === 0) return;
      const packed = view.getUint32(at + 4);
      at += 8;
      if (unpacked > BLOCK_MAX || packed > unpacked)
        throw new CorruptDataError('lzo', `block of ${packed} for ${unpacked} bytes`);
      at += ((flags & F_ADLER32_D) !== 0 ? 4 : 0) + ((flags & F_CRC32_D) !== 0 ? 4 : 0);
      if (packed < unpacked)
        at += ((flags & F_ADLER32_C) !== 0 ? 4 : 0) + ((flags & F_CRC32_C) !== 0 ? 4 : 0);
      if (at + packed > input.length) throw new CorruptDataError('lzo', 'block cut short');
      output.reserve(unpacked);
      if (packed === unpacked) output.push(input.subarray(at, at + packed));
      else unlzo1x(input, at, at + packed, output, unpacked);
      at += packed;
    }
  } catch (error) {
    if (error instanceof RangeError) throw new CorruptDataError('lzo', 'cut short');
    throw error;
  }
}

/** Expands one LZO1X stream of `unpacked` bytes to the end of `output`. */
function unlzo1x(input: Uint8Array, from: number, end: number, output: Output, unpacked: number): void {
  const out = output.bytes;
  const start = output.length;
  const stop = start + unpacked;
  let at = from;
  let to = start;
  /** Literals that the instruction before copied: 0, 1 to 3, or 4 for a long run. */
  let state = 0;

  const literals = (count: number): void => {
    if (at + count > end || to + count > stop) throw new CorruptDataError('lzo', 'literals past the end');
    for (let i = 0; i < count; i++) out[to++] = input[at++]!;
  };
  /** A length of zero is continued: 255 for each zero byte, then a last byte. */
  const longLength = (base: number): number => {
    let length = base;
    while (at < end && input[at] === 0) {
      length += 255;
      at++;
    }
    return length + input[at++]!;
  };

  if (input[at]! > 17) {
    const count = input[at++]! - 17;
    literals(count);
    state = Math.min(count, 4);
  }
  while (at < end) {
    const code = input[at++]!;
    let length: number;
    let distance: number;
    let trailing: number;
    if (code >= 64) {
      length = (code >> 5) + 1;
      distance = (input[at++]! << 3) + ((code >> 2) & 7) + 1;
      trailing = code & 3;
    } else if (code >= 32) {
      length = ((code & 31) === 0 ? longLength(31) : code & 31) + 2;
      const word = input[at]! | (input[at + 1]! << 8);
      at += 2;
      distance = (word >> 2) + 1;
      trailing = word & 3;
    } else if (code >= 16) {
      length = ((code & 7) === 0 ? longLength(7) : code & 7) + 2;
      const word = input[at]! | (input[at + 1]! << 8);
      at += 2;
      distance = 16384 + ((code & 8) << 11) + (word >> 2);
      trailing = word & 3;
      // A distance of exactly 16 KiB ends the stream.
      if (distance === 16384) {
        if (to !== stop) throw new CorruptDataError('lzo', 'block shorter than its header says');
        output.length = to;
        return;
      }
    } else if (state === 0) {
      literals((code === 0 ? longLength(15) : code) + 3);
      state = 4;
      continue;
    } else {
      distance = (code >> 2) + (input[at++]! << 2) + (state === 4 ? 2049 : 1);
      length = state === 4 ? 3 : 2;
      trailing = code & 3;
    }
    if (distance > to - start) throw new CorruptDataError('lzo', `distance ${distance} before the block`);
    if (to + length > stop) throw new CorruptDataError('lzo', 'match past the end');
    for (let i = 0; i < length; i++, to++) out[to] = out[to - distance]!;
    literals(trailing);
    state = trailing;
  }
  throw new CorruptDataError('lzo', 'no end of the block');
}
