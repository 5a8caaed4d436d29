/**
 * What the block room needs of a host: files with positional input and output straight into and out of guest
 * memory. `src/host/node/file.ts` has it for Node.js. Nothing here knows about disks or formats.
 */

/**
 * What a user of an image does with it, or keeps others from doing: bit numbers of QEMU's permissions, which
 * are byte offsets of the locks in the image file (so both programs exclude each other).
 */
export const IMAGE_PERMISSION = {
  CONSISTENT_READ: 0,
  WRITE: 1,
  WRITE_UNCHANGED: 2,
  RESIZE: 3,
} as const;

export interface ImageLock {
  /** Permissions that are taken. */
  readonly uses: readonly number[];
  /** Permissions that no one else may take meanwhile. */
  readonly refuses: readonly number[];
}

/** An open file. Every failure throws or rejects with a `HostError` or `BlockIoError` that has the errno name. */
export interface HostFile {
  readonly path: string;
  readonly writable: boolean;
  readonly kind: 'file' | 'device';
  /** True when input and output go past the host's page cache. */
  readonly direct: boolean;
  /** Bytes now. */
  size(): number;
  /** Bytes that it takes on the host's disk; absent where nobody knows. */
  readonly allocated?: number;
  /**
   * Fills `buffers`, in order, from byte `offset`; returns how many bytes were there (fewer only at the end of
   * the file). Small requests are done on return, others when the promise is.
   */
  read(offset: number, buffers: readonly Uint8Array[]): number | Promise<number>;
  /** Writes all of `buffers`, or fails. */
  write(offset: number, buffers: readonly Uint8Array[]): void | Promise<void>;
  /** Everything written so far is on stable storage when it is done (fdatasync). */
  sync(): Promise<void>;
  truncate(size: number): void;
  /** Makes a range read as zeroes without writing it; false when this file cannot do that. */
  zero(offset: number, length: number, unmap: boolean): boolean | Promise<boolean>;
  /** Takes byte-range locks for as long as the file is open; false when this host has no such locks. */
  lock(lock: ImageLock): boolean;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly write: boolean;
  /** Past the page cache (O_DIRECT). A file system that cannot is an error. */
  readonly direct?: boolean;
}

export interface BlockHost {
  open(path: string, options: OpenOptions): HostFile | Promise<HostFile>;
  /** A nameless sparse file that is gone when it is closed; undefined where there are none. */
  temporary(): HostFile | undefined;
  /** For the user, on stderr. */
  warn(message: string): void;
}
