/**
 * Scatter/gather helpers over the pieces of a descriptor chain. VIRTIO 1.4 §2.7.4: "The device MUST NOT make
 * assumptions about the particular arrangement of descriptors", so no device looks at where one piece ends:
 * all of them address a chain by byte offset through these functions.
 */

export type Pieces = readonly Uint8Array[];

/** Bytes in all pieces. */
export function totalLength(pieces: Pieces): number {
  let sum = 0;
  for (const piece of pieces) sum += piece.length;
  return sum;
}

/** Copies from byte `offset` of the pieces into `target`; returns how many bytes there were. */
export function gather(pieces: Pieces, offset: number, target: Uint8Array): number {
  let skip = offset;
  let done = 0;
  for (const piece of pieces) {
    if (done === target.length) break;
    if (skip >= piece.length) {
      skip -= piece.length;
      continue;
    }
    const length = Math.min(piece.length - skip, target.length - done);
    target.set(piece.subarray(skip, skip + length), done);
    done += length;
    skip = 0;
  }
  return done;
}

/** Copies `source` to byte `offset` of the pieces; returns how many bytes found room. */
export function scatter(pieces: Pieces, offset: number, source: Uint8Array): number {
  let skip = offset;
  let done = 0;
  for (const piece of pieces) {
    if (done === source.length) break;
    if (skip >= piece.length) {
      skip -= piece.length;
      continue;
    }
    const length = Math.min(piece.length - skip, source.length - done);
    piece.set(source.subarray(done, done + length), skip);
    done += length;
    skip = 0;
  }
  return done;
}

/** Fills [start, end) of the pieces with `value`. */
export function fill(pieces: Pieces, start: number, end: number, value: number): void {
  let at = 0;
  for (const piece of pieces) {
    if (at >= end) return;
    const from = Math.max(start - at, 0);
    if (from < piece.length) piece.fill(value, from, Math.min(end - at, piece.length));
    at += piece.length;
  }
}

/** Views of [start, end) of the pieces, empty ones left out; the array itself when that is all of it. */
export function slice(pieces: Pieces, start: number, end: number): Pieces {
  const result: Uint8Array[] = [];
  let at = 0;
  let whole = true;
  for (const piece of pieces) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, piece.length);
    if (from < to) {
      if (from === 0 && to === piece.length) result.push(piece);
      else {
        result.push(piece.subarray(from, to));
        whole = false;
      }
    } else whole = false;
    at += piece.length;
  }
  return whole ? pieces : result;
}
