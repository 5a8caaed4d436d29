/** The internet checksum (RFC 1071): the one's-complement sum of 16-bit big-endian words. */

/** Adds the words of bytes [from, to) to `sum`; an odd last byte is followed by a zero. Fold it before use. */
export function addWords(bytes: Uint8Array, from: number, to: number, sum = 0): number {
  let total = sum;
  let i = from;
  // A 64 KiB packet adds less than 2^31: no carry is lost before the fold.
  for (; i + 1 < to; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if (i < to) total += bytes[i]! << 8;
  return total;
}

/** The sum in 16 bits, carries added back. */
export function fold(sum: number): number {
  let total = sum;
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 65536);
  return total;
}

/** The checksum of [from, to), to be stored in the header. `sum`: of what else it covers. */
export function checksum(bytes: Uint8Array, from: number, to: number, sum = 0): number {
  return ~fold(addWords(bytes, from, to, sum)) & 0xffff;
}

/** Sum of the pseudo header that TCP and UDP checksums cover (RFC 9293 §3.1, RFC 768). */
export function pseudoHeaderSum(
  source: number,
  destination: number,
  protocol: number,
  length: number,
): number {
  return (
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length
  );
}
