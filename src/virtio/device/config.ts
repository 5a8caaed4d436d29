/**
 * The device-specific configuration space as bytes (VIRTIO 1.4 §2.5): a device keeps its fields in one of these
 * and answers `readConfig` from it. Fields are little-endian; the PC is little-endian too, so the legacy
 * interface's "native endian of the guest" is the same.
 */
import { assert } from '../../core/errors.ts';

export class ConfigSpace {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  get size(): number {
    return this.bytes.length;
  }

  /** One to four bytes, little-endian. Bytes past the end read as zero (a driver that reads too wide). */
  read(offset: number, size: 1 | 2 | 4): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = (value << 8) | (this.bytes[offset + i] ?? 0);
    return value >>> 0;
  }

  /** What a driver's write of `size` bytes at `offset` leaves in the byte at `at`, or -1 when it misses it. */
  static byteOf(at: number, offset: number, size: 1 | 2 | 4, value: number): number {
    return at < offset || at >= offset + size ? -1 : (value >>> ((at - offset) * 8)) & 0xff;
  }

  u16(offset: number, value: number): void {
    assert(value >= 0 && value <= 0xffff, 'configuration field does not fit 16 bits', { offset, value });
    this.view.setUint16(offset, value, true);
  }

  u32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  u64(offset: number, value: number): void {
    this.view.setBigUint64(offset, BigInt(value), true);
  }
}
