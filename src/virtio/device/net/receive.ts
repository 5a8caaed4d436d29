/**
 * Puts a frame into the driver's receive buffers: one buffer, or with VIRTIO_NET_F_MRG_RXBUF as many as it takes, all
 * or none. VIRTIO 1.4 §5.1.6.3 and §5.1.6.4.
 */
import type { Offload } from '../../../net/netdev.ts';
import type { Chain, Queue } from '../../queue/queue.ts';
import { scatter } from '../iov.ts';
import * as d from './defs.ts';
import { writeHeader } from './header.ts';

/** `full`: not enough buffers yet. `never`: not with the buffers that this driver gives. */
export type PutResult = 'done' | 'full' | 'never';

export class ReceiveBuffers {
  readonly #guestError: (message: string) => void;
  readonly #chains: Chain[] = [];
  readonly #header = new Uint8Array(d.HDR.SIZE);
  #headerSize: number = d.HDR.SIZE;
  #mergeable = false;

  constructor(guestError: (message: string) => void) {
    this.#guestError = guestError;
  }

  /** What was negotiated. */
  configure(headerSize: number, mergeable: boolean): void {
    this.#headerSize = headerSize;
    this.#mergeable = mergeable;
  }

  /** @param csum whether VIRTIO_NET_F_GUEST_CSUM is in force */
  put(queue: Queue, frame: Uint8Array, offload: Offload, csum: boolean): PutResult {
    const chains = this.#chains;
    chains.length = 0;
    const total = this.#headerSize + frame.length;
    let room = 0;
    while (room < total) {
      const chain = this.#next(queue, chains.length === 0);
      if (chain === undefined) {
        const never = chains.length >= queue.size;
        this.#putBack(queue);
        return never ? 'never' : 'full';
      }
      chains.push(chain);
      room += chain.writableLength;
      // "The device MUST use only a single descriptor if VIRTIO_NET_F_MRG_RXBUF was not negotiated." (§5.1.6.3.2)
      if (!this.#mergeable) break;
    }
    if (room < total) {
      this.#putBack(queue);
      this.#guestError(`a receive buffer of ${room} bytes is too small for a frame of ${frame.length}`);
      return 'never';
    }
    this.#fill(queue, frame, offload, csum);
    return 'done';
  }

  /** @param first whether it has to hold the header */
  #next(queue: Queue, first: boolean): Chain | undefined {
    for (;;) {
      const chain = queue.pop();
      if (chain === undefined) {
        // Ask to be told of the next one, and look again in case it came meanwhile.
        queue.setNotification(true);
        if (queue.empty) return undefined;
        continue;
      }
      // "each buffer MUST be at least size of struct virtio_net_hdr" (§5.1.6.3.1): one that is to hold it is given
      // back; a later one may have any size.
      if (!first || chain.writableLength >= this.#headerSize) return chain;
      this.#guestError(`a receive buffer of ${chain.writableLength} bytes`);
      queue.push(chain, 0);
    }
  }

  #putBack(queue: Queue): void {
    for (let i = this.#chains.length - 1; i >= 0; i--) queue.unpop(this.#chains[i]!);
    this.#chains.length = 0;
    queue.flush();
  }

  #fill(queue: Queue, frame: Uint8Array, offload: Offload, csum: boolean): void {
    const chains = this.#chains;
    writeHeader(this.#header, frame, offload, csum, chains.length);
    let at = 0;
    for (const [i, chain] of chains.entries()) {
      const start = i === 0 ? this.#headerSize : 0;
      if (i === 0) scatter(chain.writable, 0, this.#header.subarray(0, this.#headerSize));
      // "the device MUST use all buffers but the last ... completely up to the full length" (§5.1.6.4.1)
      const copied = scatter(chain.writable, start, frame.subarray(at));
      at += copied;
      queue.push(chain, start + copied);
    }
    chains.length = 0;
    // Refills need not be told of while there are buffers.
    queue.setNotification(false);
    // "The device MUST use all buffers used by a single receive packet together" (§5.1.6.4.1)
    queue.flush();
  }
}
