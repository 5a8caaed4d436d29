/**
 * What the decompressors of this folder share: a growing output buffer that is also their history window, and
 * the error for data that is not what its header says.
 */
import { UsageError } from '../../core/errors.ts';

/** Compressed data is damaged or cut short. */
export class CorruptDataError extends UsageError {
  constructor(format: string, message: string) {
    super(`${format} data is damaged: ${message}`);
  }
}

/** No kernel is larger than this; a damaged length must not make us allocate without end. */
export const OUTPUT_MAX = 1024 * 1024 * 1024;

export class Output {
  bytes: Uint8Array;
  /** Bytes valid from the start of `bytes`. */
  length = 0;

  /** @param expected size of the result in bytes when it is known, so that nothing is copied on the way */
  constructor(expected: number) {
    this.bytes = new Uint8Array(Math.min(Math.max(expected, 65536), OUTPUT_MAX));
  }

  /** Makes room for `more` bytes beyond `length`. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    if (needed > OUTPUT_MAX)
      throw new CorruptDataError('compressed', `unpacks to more than ${OUTPUT_MAX} bytes`);
    const grown = new Uint8Array(Math.min(OUTPUT_MAX, Math.max(needed, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  push(data: Uint8Array): void {
    this.reserve(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  result(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}
