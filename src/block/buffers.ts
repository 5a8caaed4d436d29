/** Small helpers over scatter lists: lengths, sub-ranges and zero fill. None of them copies data. */

export function totalLength(buffers: readonly Uint8Array[]): number {
  let sum = 0;
  for (const buffer of buffers) sum += buffer.length;
  return sum;
}

/** The scatter list of bytes [from, from + length) of `buffers`. */
export function subBuffers(
  buffers: readonly Uint8Array[],
  from: number,
  length: number = Number.POSITIVE_INFINITY,
): Uint8Array[] {
  const result: Uint8Array[] = [];
  let skip = from;
  let left = length;
  for (const buffer of buffers) {
    if (left <= 0) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const part = buffer.subarray(skip, Math.min(buffer.length, skip + left));
    skip = 0;
    left -= part.length;
    result.push(part);
  }
  return result;
}

/** Fills everything from byte `from` on with zeroes. */
export function zeroFrom(buffers: readonly Uint8Array[], from: number): void {
  for (const part of subBuffers(buffers, from)) part.fill(0);
}

/** Copies the list into one array of its own. */
export function gather(buffers: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(totalLength(buffers));
  let at = 0;
  for (const buffer of buffers) {
    result.set(buffer, at);
    at += buffer.length;
  }
  return result;
}

/** Copies `data` into the list, from its start on. */
export function scatter(data: Uint8Array, buffers: readonly Uint8Array[]): void {
  let at = 0;
  for (const buffer of buffers) {
    if (at >= data.length) return;
    const part = data.subarray(at, at + buffer.length);
    buffer.set(part);
    at += part.length;
  }
}
