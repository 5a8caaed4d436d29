/**
 * Automatic receive steering (VIRTIO 1.4 §5.1.6.5.6.1): "After the driver transmitted a packet of a flow on
 * transmitqX, the device SHOULD cause incoming packets for that flow to be steered to receiveqX." Flows share a small
 * table; two that fall together only share a queue.
 */
import { findHeaders } from '../../../net/headers.ts';

const TABLE_SIZE = 256;

export class FlowTable {
  readonly #queue = new Uint16Array(TABLE_SIZE);

  reset(): void {
    this.#queue.fill(0);
  }

  /** The driver sent `frame` on pair `pair`. */
  learn(frame: Uint8Array, pair: number): void {
    const flow = flowOf(frame);
    if (flow >= 0) this.#queue[flow] = pair;
  }

  /** The pair that `frame` belongs to; 0 for what is no flow. */
  find(frame: Uint8Array): number {
    const flow = flowOf(frame);
    return flow < 0 ? 0 : this.#queue[flow]!;
  }
}

/** Slot of the frame's flow, the same in both directions, or -1. */
function flowOf(frame: Uint8Array): number {
  const headers = findHeaders(frame);
  if (headers === undefined) return -1;
  const { l3, l4, version } = headers;
  const source = version === 4 ? l3 + 12 : l3 + 8;
  const length = version === 4 ? 4 : 16;
  let hash = headers.protocol;
  // Sums of both sides do not depend on the direction.
  for (let i = 0; i < length; i++) hash = (hash * 31 + frame[source + i]! + frame[source + length + i]!) | 0;
  hash = (hash * 31 + frame[l4]! + frame[l4 + 2]!) | 0;
  hash = (hash * 31 + frame[l4 + 1]! + frame[l4 + 3]!) | 0;
  return (hash ^ (hash >>> 8) ^ (hash >>> 16)) & (TABLE_SIZE - 1);
}
