/** What a disk device asks of a back end. Offsets and lengths are bytes; buffers are views of guest memory. */

/** Either done on return, or done when the promise is. Host failures reject/throw with a `BlockError`. */
export type Completion = void | Promise<void>;

/** `code` is the host's errno name: `EIO`, `ENOSPC`, `EROFS`, `EACCES`, … */
export interface BlockError extends Error {
  readonly code: string;
}

export interface BlockBackend {
  /** Bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Fills the buffers, in order, from `offset`. The buffers must not be touched until it is done. */
  read(offset: number, buffers: readonly Uint8Array[]): Completion;
  write(offset: number, buffers: readonly Uint8Array[]): Completion;
  /** When done, everything that was written before is on stable storage (as far as the cache mode promises). */
  flush(): Completion;
  /** Advice: the range's content is of no use any more. */
  discard(offset: number, length: number): Completion;
  /** The range reads as zeroes afterwards; with `unmap` its space may be given back. */
  writeZeroes(offset: number, length: number, unmap: boolean): Completion;
  /** Makes it larger or smaller; what is new reads as zeroes. Absent where the size is fixed. Bytes. */
  resize?(size: number): Completion;
  close(): Promise<void>;
  /** One-line description for messages and the monitor, such as `/tmp/disk.raw (raw)`. */
  describe(): string;
}
