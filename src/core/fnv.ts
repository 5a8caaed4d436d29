/**
 * FNV-1a of 32 bits: a sum that tells bytes from others, not from such as somebody has made to have the same.
 * https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
 */

/** Of no bytes; with a sign, because V8 keeps such numbers without an object. */
const BASIS = 0x811c9dc5 | 0;
const PRIME = 0x01000193;

/**
 * Of the bytes from `from` up to, but without, `end`, as an i32.
 * @param first taken before them, as if it were a byte, but has 32 bits
 */
export function fnv1a(bytes: Uint8Array, first?: number, from = 0, end = bytes.length): number {
  let hash = first === undefined ? BASIS : Math.imul(BASIS ^ first, PRIME);
  for (let at = from; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, PRIME);
  return hash;
}
