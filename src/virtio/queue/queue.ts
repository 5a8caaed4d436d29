/**
 * The device side of a virtqueue, as devices see it, whatever its ring format. See split.ts for the split ring
 * (VIRTIO 1.4 §2.7).
 */

/** A descriptor chain: validated once when it is taken from the ring. Its views are of guest memory: no copies. */
export interface Chain {
  /** Index of the head descriptor (split) or buffer id (packed). */
  readonly head: number;
  /** What the driver wrote for the device, in order. */
  readonly readable: readonly Uint8Array[];
  /** Room for what the device answers, in order. */
  readonly writable: readonly Uint8Array[];
  readonly readableLength: number;
  readonly writableLength: number;
}

export interface Queue extends Iterable<Chain> {
  readonly index: number;
  readonly name: string;
  /** Entries, as the driver set them. */
  readonly size: number;
  readonly enabled: boolean;
  /** Next available chain, or undefined when the ring is empty (or broken: then DEVICE_NEEDS_RESET is set). */
  pop(): Chain | undefined;
  /** Puts back the chain that `pop` gave last, so that the next `pop` gives it again; of several, the last one first. */
  unpop(chain: Chain): void;
  /** Iterates `pop` until the ring is empty, then asks for notifications again and looks once more. */
  [Symbol.iterator](): Iterator<Chain>;
  /** True when nothing is available. */
  readonly empty: boolean;
  /** Completes a chain, in any order; `written` bytes of its writable part were filled (§2.7.8.2). */
  push(chain: Chain, written: number): void;
  /** Publishes all pushed chains and interrupts the driver unless it asked not to be (§2.7.7.2). */
  flush(): void;
  /** Tells the driver that the device needs (no) notifications while it polls anyway (§2.7.10). */
  setNotification(enabled: boolean): void;
}
