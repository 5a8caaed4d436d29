/**
 * The seam between a virtio device and its transport. A device knows no transport: it declares its id, features,
 * configuration space and queues, and is told when the driver is ready, notifies, or resets. A transport knows no
 * device: it drives this interface and owns status, negotiation and interrupts. VIRTIO 1.4 §2.
 */
import type { Queue } from './queue/queue.ts';

/** What a transport gives the device it carries. */
export interface DeviceHost {
  /** The virtqueues, by index; usable from `start` to `stop`. */
  readonly queues: readonly Queue[];
  /** Features that the driver accepted (bit n = feature n); valid from FEATURES_OK on. */
  readonly negotiated: bigint;
  /** The device's configuration changed: new generation, configuration interrupt (§2.5, §4.1.4.5). */
  configChanged(): void;
  /** The device cannot go on: DEVICE_NEEDS_RESET, configuration interrupt (§2.1.2), logged once with the clause. */
  needsReset(message: string, clause?: string): void;
  /** A guest error that the device survives: logged once. */
  guestError(message: string, clause?: string): void;
}

export interface QueueSpec {
  /** For messages: `requestq`, `receiveq0`, … */
  readonly name: string;
  /** Maximum number of entries; a power of two up to 32768. */
  readonly size: number;
}

export interface VirtioDevice {
  /** Device id of §5 (network card 1, block 2, console 3, entropy 4, …). */
  readonly deviceId: number;
  /** Short name for messages: `virtio-blk`. */
  readonly name: string;
  /** Device-specific features it offers (bits 0-23 and 50-127); the transport adds ring and transport features. */
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  /** Bytes of device configuration that exist with the features on offer. */
  readonly configSize: number;
  /** Called once, before anything else. */
  attach(host: DeviceHost): void;
  /** One to four bytes, little-endian, inside configSize. */
  readConfig(offset: number, size: 1 | 2 | 4): number;
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void;
  /** The driver has written FEATURES_OK with these bits; false refuses them (§2.2.2). */
  acceptFeatures?(features: bigint): boolean;
  /** DRIVER_OK: queues may be used from now on. */
  start(): void;
  /** The driver put buffers into queue `index` (or may have). Serve it, now or later. */
  notify(index: number): void;
  /**
   * Reset or loss of the device: forget all requests in flight; completions that come later are dropped. May come
   * without a `start`, and more than once. A device whose back end may still write into guest memory returns a
   * promise: the driver sees the reset as done (status 0) when it settles (§2.4.1).
   */
  stop(): void | Promise<void>;
  /**
   * One queue was reset by the driver (VIRTIO_F_RING_RESET, §2.6.1): its chains are void from now on. Returns a
   * promise like `stop`; `queue_reset` reads 1 until it settles.
   */
  queueReset?(index: number): void | Promise<void>;
}
