/**
 * One block request: parsed from a descriptor chain and checked against the disk before any back end sees it.
 * VIRTIO 1.4 §5.2.6. Nothing here depends on how the driver cut the request into buffers (§2.7.4).
 */
import type { Chain } from '../../queue/queue.ts';
import { gather, type Pieces, slice } from '../iov.ts';
import {
  HEADER,
  SECTOR_SIZE,
  SEGMENT,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
} from './defs.ts';

/** What the disk allows, at the time of the request. */
export interface DiskLimits {
  /** 512-byte sectors. */
  readonly capacity: number;
  readonly readOnly: boolean;
  /** Bytes. */
  readonly logicalBlockSize: number;
  /** 0 when the request is not offered. */
  readonly maxDiscardSectors: number;
  readonly maxWriteZeroesSectors: number;
}

const scratch = new Uint8Array(HEADER.SIZE);
const scratchView = new DataView(scratch.buffer);

export class BlkRequest {
  readonly chain: Chain;
  /** Index of the virtqueue it came from. */
  readonly queue: number;
  /** The queue's count of resets when it came. */
  readonly era: number;
  readonly type: number;
  /** First 512-byte sector; a number beyond 2^53 is not exact, and far beyond any disk. */
  sector: number;
  /** Bytes that the request covers on the disk. */
  length = 0;
  /** What to write from, or to read into. */
  data: Pieces = [];
  /** Write zeroes: the range may be given back to the host. */
  unmap = false;
  /** False when the header is too short to say anything. */
  readonly complete: boolean;

  constructor(chain: Chain, queue: number, era: number) {
    this.chain = chain;
    this.queue = queue;
    this.era = era;
    this.complete = gather(chain.readable, 0, scratch) === HEADER.SIZE;
    this.type = this.complete ? scratchView.getUint32(HEADER.TYPE, true) : -1;
    this.sector =
      scratchView.getUint32(HEADER.SECTOR, true) + scratchView.getUint32(HEADER.SECTOR + 4, true) * 2 ** 32;
  }

  /** Bytes of the chain's writable part in front of the status byte. */
  get room(): number {
    return this.chain.writableLength - 1;
  }

  get offset(): number {
    return this.sector * SECTOR_SIZE;
  }

  /** Whether it changes the disk (or makes changes stable): decides between rerror and werror. */
  get isWrite(): boolean {
    return this.type !== VIRTIO_BLK_T_IN;
  }

  /**
   * Checks the request and finds its data.
   * @returns VIRTIO_BLK_S_OK, or the status that it has to be answered with
   */
  prepare(limits: DiskLimits): number {
    switch (this.type) {
      case VIRTIO_BLK_T_IN:
        this.length = this.room;
        this.data = slice(this.chain.writable, 0, this.room);
        return this.#inRange(limits) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
      case VIRTIO_BLK_T_OUT:
        // "A device MUST set the status byte to VIRTIO_BLK_S_IOERR for a write request if the VIRTIO_BLK_F_RO
        // feature is offered, and MUST NOT write any data." (§5.2.6.2)
        if (limits.readOnly) return VIRTIO_BLK_S_IOERR;
        this.length = this.chain.readableLength - HEADER.SIZE;
        this.data = slice(this.chain.readable, HEADER.SIZE, this.chain.readableLength);
        return this.#inRange(limits) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
      case VIRTIO_BLK_T_FLUSH:
      case VIRTIO_BLK_T_GET_ID:
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_DISCARD:
        return this.#prepareSegment(limits, limits.maxDiscardSectors, 0);
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#prepareSegment(limits, limits.maxWriteZeroesSectors, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
      case -1:
        return VIRTIO_BLK_S_IOERR;
      default:
        // Zone, secure-erase and lifetime requests too: "If the VIRTIO_BLK_F_ZONED feature is not negotiated, the
        // device MUST reject VIRTIO_BLK_T_ZONE_REPORT, ... with VIRTIO_BLK_S_UNSUPP status." (§5.2.6.2)
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  #prepareSegment(limits: DiskLimits, maxSectors: number, knownFlags: number): number {
    if (maxSectors === 0) return VIRTIO_BLK_S_UNSUPP;
    const length = this.chain.readableLength - HEADER.SIZE;
    if (length < SEGMENT.SIZE || length % SEGMENT.SIZE !== 0) return VIRTIO_BLK_S_IOERR;
    gather(this.chain.readable, HEADER.SIZE, scratch);
    const flags = scratchView.getUint32(SEGMENT.FLAGS, true);
    // "The device MUST set the status byte to VIRTIO_BLK_S_UNSUPP for discard, secure erase and write zeroes
    // commands if any unknown flag is set. Furthermore, ... for discard commands if the unmap flag is set."
    if ((flags & ~knownFlags) !== 0) return VIRTIO_BLK_S_UNSUPP;
    // max_discard_seg and max_write_zeroes_seg are 1, as in QEMU.
    if (length > SEGMENT.SIZE) return VIRTIO_BLK_S_UNSUPP;
    if (limits.readOnly) return VIRTIO_BLK_S_IOERR;
    const sectors = scratchView.getUint32(SEGMENT.NUM_SECTORS, true);
    this.sector =
      scratchView.getUint32(SEGMENT.SECTOR, true) + scratchView.getUint32(SEGMENT.SECTOR + 4, true) * 2 ** 32;
    this.length = sectors * SECTOR_SIZE;
    this.unmap = (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) !== 0;
    if (sectors > maxSectors) return VIRTIO_BLK_S_IOERR;
    return this.#inRange(limits) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
  }

  /** Whole logical blocks inside the disk. All sums stay below 2^54 or are far beyond the capacity anyway. */
  #inRange(limits: DiskLimits): boolean {
    const blockSectors = limits.logicalBlockSize / SECTOR_SIZE;
    return (
      this.length % limits.logicalBlockSize === 0 &&
      this.sector % blockSectors === 0 &&
      this.sector + this.length / SECTOR_SIZE <= limits.capacity
    );
  }

  /** Writes the status: the last byte of the writable part, wherever the driver's buffers end. */
  setStatus(status: number): void {
    const pieces = this.chain.writable;
    for (let i = pieces.length - 1; i >= 0; i--) {
      const piece = pieces[i]!;
      if (piece.length > 0) {
        piece[piece.length - 1] = status;
        return;
      }
    }
  }
}
