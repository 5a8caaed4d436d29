/**
 * Guest-physical memory as devices see it: a few RAM regions inside one buffer (in a running machine the
 * WebAssembly memory that the processor uses too). Every access is checked against the regions; nothing here
 * throws for a bad guest address, because a guest that gives one is normal.
 */

/** A run of RAM: guest-physical `gpa`, `size` bytes, at `offset` in the buffer. */
export interface RamRegion {
  readonly gpa: number;
  readonly size: number;
  readonly offset: number;
}

/** Called when something other than the processor has written guest RAM (so that translated code is dropped). */
export type WriteListener = (gpa: number, length: number) => void;

export class GuestMemory {
  readonly buffer: ArrayBufferLike;
  readonly regions: readonly RamRegion[];
  /** All of the buffer, little-endian access at offsets that `locate` gave. */
  readonly view: DataView;
  readonly bytes: Uint8Array;
  #listener: WriteListener | undefined;

  constructor(buffer: ArrayBufferLike, regions: readonly RamRegion[]) {
    this.buffer = buffer;
    this.regions = regions;
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  /** A memory of its own, RAM from 0 to `size`: for tests and for the driver library without a machine. */
  static create(size: number): GuestMemory {
    return new GuestMemory(new ArrayBuffer(size), [{ gpa: 0, size, offset: 0 }]);
  }

  /** Bytes of RAM in all regions. */
  get size(): number {
    return this.regions.reduce((sum, region) => sum + region.size, 0);
  }

  /**
   * Offset in the buffer of guest-physical [gpa, gpa + length), or -1 when any byte of it is not RAM or it
   * spans two regions. A zero length is found when `gpa` itself lies in (or just past) a region.
   */
  locate(gpa: number, length: number): number {
    for (const region of this.regions) {
      const at = gpa - region.gpa;
      if (at >= 0 && length >= 0 && at + length <= region.size) return region.offset + at;
    }
    return -1;
  }

  /** A view (no copy) of [gpa, gpa + length), or undefined when it is not all RAM. Writers call `noteWritten`. */
  slice(gpa: number, length: number): Uint8Array | undefined {
    const offset = this.locate(gpa, length);
    return offset < 0 ? undefined : this.bytes.subarray(offset, offset + length);
  }

  /** Copies `data` to RAM at `gpa` and tells the listener; false (nothing written) when it is not all RAM. */
  write(gpa: number, data: Uint8Array): boolean {
    const offset = this.locate(gpa, data.length);
    if (offset < 0) return false;
    this.bytes.set(data, offset);
    this.noteWritten(gpa, data.length);
    return true;
  }

  /** Registers the one party that must hear of writes by devices: the processor. */
  onWrite(listener: WriteListener): void {
    this.#listener = listener;
  }

  /** To be called after (part of) [gpa, gpa + length) was written through a view. */
  noteWritten(gpa: number, length: number): void {
    if (length > 0) this.#listener?.(gpa, length);
  }
}
