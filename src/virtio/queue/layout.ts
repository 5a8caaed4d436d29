/**
 * Where things lie in a split virtqueue, and its constants: shared by the device side, the driver side and whoever
 * looks at rings from outside. VIRTIO 1.4 §2.7; all fields are little-endian.
 */

// struct virtq_desc (§2.7.5)
export const DESC_SIZE = 16;
export const DESC_ADDR = 0;
export const DESC_LEN = 8;
export const DESC_FLAGS = 12;
export const DESC_NEXT = 14;
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;

// struct virtq_avail (§2.7.6): flags, idx, ring[size], used_event
export const AVAIL_FLAGS = 0;
export const AVAIL_IDX = 2;
export const AVAIL_RING = 4;
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

// struct virtq_used (§2.7.8): flags, idx, ring[size] of { id, len }, avail_event
export const USED_FLAGS = 0;
export const USED_IDX = 2;
export const USED_RING = 4;
export const USED_ELEM_SIZE = 8;
export const VIRTQ_USED_F_NO_NOTIFY = 1;

// Alignments (§2.7).
export const DESC_ALIGN = 16;
export const AVAIL_ALIGN = 2;
export const USED_ALIGN = 4;
/** Alignment of the used ring in the legacy layout over PCI (§2.7.2). */
export const LEGACY_ALIGN = 4096;

/** The largest queue that a 16-bit free-running index allows (§2.7). */
export const MAX_QUEUE_SIZE = 32768;

/** Bytes of each part for `size` entries; the event fields at the ends count only with VIRTIO_F_EVENT_IDX. */
export function descBytes(size: number): number {
  return DESC_SIZE * size;
}

export function availBytes(size: number, eventIdx: boolean): number {
  return AVAIL_RING + 2 * size + (eventIdx ? 2 : 0);
}

export function usedBytes(size: number, eventIdx: boolean): number {
  return USED_RING + USED_ELEM_SIZE * size + (eventIdx ? 2 : 0);
}

export interface RingAddresses {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
}

/** The parts of a ring whose first byte is at `base`, laid out as the legacy interface wants it (§2.7.2). */
export function legacyLayout(base: number, size: number, align = LEGACY_ALIGN): RingAddresses {
  const avail = base + descBytes(size);
  const end = avail + availBytes(size, true);
  return { desc: base, avail, used: Math.ceil(end / align) * align };
}

/** Bytes that the legacy layout takes in all (§2.7.2). */
export function legacyBytes(size: number, align = LEGACY_ALIGN): number {
  return legacyLayout(0, size, align).used + Math.ceil(usedBytes(size, true) / align) * align;
}

/**
 * Does moving an index from `old` to `now` pass `event`? All are free-running 16-bit numbers (§2.7.7.2: notify when
 * the entry whose index is `event` is written).
 */
export function needEvent(event: number, now: number, old: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - old) & 0xffff);
}
