/** Pieces smaller than SMALL are put together in blocks, so that many of them cost no more than a few. */
const SMALL = 2048;
const BLOCK = 16384;

/** Bytes in order, kept as the chunks they came in: appended at the end, read anywhere, dropped at the start. */
export class ByteQueue {
  #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that are dropped. */
  #skip = 0;
  #length = 0;
  /** The block that small pieces go to, and how much of it is used; it is the last chunk while it is open. */
  #block: Uint8Array | undefined;
  #used = 0;

  get length(): number {
    return this.#length;
  }

  /** Keeps the array itself, unless it is small. */
  push(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#length += data.length;
    if (data.length >= SMALL) {
      this.#block = undefined;
      this.#chunks.push(data);
      return;
    }
    if (this.#block === undefined || this.#used + data.length > BLOCK || this.#chunks.length === 0) {
      this.#block = new Uint8Array(BLOCK);
      this.#used = 0;
    } else this.#chunks.pop();
    this.#block.set(data, this.#used);
    this.#used += data.length;
    this.#chunks.push(this.#block.subarray(0, this.#used));
  }

  /** Copies bytes [from, from + length) to `target` at `at`; they must be there. */
  copy(from: number, length: number, target: Uint8Array, at: number): void {
    let skip = from + this.#skip;
    let left = length;
    let to = at;
    for (const chunk of this.#chunks) {
      if (left === 0) return;
      if (skip >= chunk.length) {
        skip -= chunk.length;
        continue;
      }
      const part = chunk.subarray(skip, skip + left);
      target.set(part, to);
      to += part.length;
      left -= part.length;
      skip = 0;
    }
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    let left = Math.min(count, this.#length);
    this.#length -= left;
    let chunks = 0;
    while (left > 0) {
      const here = this.#chunks[chunks]!.length - this.#skip;
      if (left < here) {
        this.#skip += left;
        break;
      }
      left -= here;
      this.#skip = 0;
      chunks++;
    }
    if (chunks > 0) this.#chunks.splice(0, chunks);
  }
}
