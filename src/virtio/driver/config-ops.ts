/**
 * The seam between a driver and its transport, on the driver's side: what Linux calls virtio_config_ops. PCI modern,
 * PCI legacy and MMIO implement it; a driver never knows which one it has. VIRTIO 1.4 §2.
 */
import type { Vring } from './vring.ts';

export interface QueueRequest {
  readonly name: string;
  /** On a used buffer notification; without one, callbacks start disabled. */
  readonly callback?: (queue: Vring) => void;
  /** Entries to use, when fewer than the device offers. */
  readonly size?: number;
}

export interface ConfigOps {
  /** `pci`, `pci-legacy`, `mmio`. */
  readonly busName: string;
  readonly deviceId: number;
  readonly vendorId: number;
  /** The legacy interface is in use: no FEATURES_OK, 32 feature bits, no generation. */
  readonly legacy: boolean;
  getStatus(): number;
  /** Never 0: that is `reset`. */
  setStatus(status: number): void;
  /** Resets the device and waits until it says that it is (§2.4.2). */
  reset(): Promise<void>;
  getFeatures(): bigint;
  setFeatures(features: bigint): void;
  generation(): number;
  /** Bytes of device configuration: no promise that those of one call belong together. */
  get(offset: number, length: number): Uint8Array;
  set(offset: number, bytes: Uint8Array): void;
  /** Finds, configures and enables the first `requests.length` queues; throws when one does not exist. */
  findVqs(requests: readonly (QueueRequest | undefined)[]): (Vring | undefined)[];
  /** Frees the queues; only after a reset. */
  delVqs(): void;
  /** Resets one queue, its buffers are free then; undefined where the transport or device cannot. */
  resetVq?(index: number): Promise<void>;
  /** Enables a queue again after `resetVq`, with a new ring. */
  enableVqAfterReset?(index: number, request: QueueRequest): Vring;
  /** Entries that the device offers for queue `index`; 0 where there is none. */
  queueSize(index: number): number;
  /** Called on a configuration change notification. */
  onConfigChanged: () => void;
}
