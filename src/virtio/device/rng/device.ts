/**
 * The entropy device (VIRTIO 1.4 §5.4): one queue of empty buffers that come back with random bytes. It owns the
 * rate limit (`max-bytes` in each `period`); where the bytes come from is the back end's business.
 */
import type { Clock, Timer } from '../../../core/clock.ts';
import type { TracePoint, Tracer } from '../../../core/trace.ts';
import type { DeviceHost, VirtioDevice } from '../../device.ts';
import type { Chain } from '../../queue/queue.ts';
import { scatter } from '../iov.ts';
import type { RngBackend } from './backend.ts';

/** §5.4.1 */
export const VIRTIO_ID_ENTROPY = 4;
const REQUESTQ = 0;
const QUEUE_SIZE = 8;

/**
 * A buffer gets at most this much: "it MAY use less than the entire buffer length" (§5.4.6.2), and a guest that
 * offers gigabytes must not keep the host busy in one go. 64 KiB is also what getRandomValues gives at once.
 */
const MAX_FILL = 65536;

/** A source that failed is asked again after a second. */
const RETRY_NS = 1e9;

export interface VirtioRngOptions {
  readonly backend: RngBackend;
  readonly clock: Clock;
  readonly tracer: Tracer;
  /** Bytes the guest gets in a period; unlimited by default. */
  readonly maxBytes?: number;
  /** Milliseconds; 65536 by default, as in QEMU. */
  readonly period?: number;
}

export class VirtioRng implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_ENTROPY;
  readonly name = 'virtio-rng';
  readonly features = 0n;
  readonly queues = [{ name: 'requestq', size: QUEUE_SIZE }];
  readonly configSize = 0;

  readonly #backend: RngBackend;
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #periodNs: number;
  readonly #traceFill: TracePoint;
  readonly #tracer: Tracer;

  #host!: DeviceHost;
  #running = false;
  /** Counts starts and stops, so that bytes that arrive after a reset are dropped. */
  #era = 0;
  #filling = false;
  #quota: number;
  #timer: Timer | undefined;
  #retry: Timer | undefined;
  #scratch = new Uint8Array(MAX_FILL);

  constructor(options: VirtioRngOptions) {
    this.#backend = options.backend;
    this.#clock = options.clock;
    this.#tracer = options.tracer;
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#periodNs = (options.period ?? 65536) * 1e6;
    this.#quota = this.#maxBytes;
    this.#traceFill = options.tracer.point('virtio.rng.fill');
  }

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {}

  start(): void {
    this.#running = true;
    this.#serve();
  }

  stop(): void {
    this.#running = false;
    this.#era++;
    this.#filling = false;
    // The period goes on: a guest cannot win bytes by resetting the device.
  }

  queueReset(): void {
    this.#era++;
    this.#filling = false;
  }

  notify(index: number): void {
    if (index === REQUESTQ) this.#serve();
  }

  #serve(): void {
    if (!this.#running || this.#filling || this.#retry !== undefined) return;
    const queue = this.#host.queues[REQUESTQ]!;
    if (!queue.enabled) return;
    for (;;) {
      if (this.#quota <= 0) {
        this.#startPeriod();
        break;
      }
      const chain = queue.pop();
      if (chain === undefined) {
        queue.setNotification(true);
        if (queue.empty) break;
        continue;
      }
      if (chain.readableLength > 0) {
        // "The driver MUST NOT place device-readable buffers into the queue." (§5.4.6.1)
        this.#host.guestError(
          'device-readable buffer in requestq',
          'drv:Device Types / Entropy Device / Device Operation#1',
        );
      }
      if (chain.writableLength === 0) {
        queue.push(chain, 0);
        continue;
      }
      if (!this.#fill(chain)) break;
    }
    queue.flush();
  }

  /** Asks for one chain's bytes; false when they come later (then `#serve` goes on from there). */
  #fill(chain: Chain): boolean {
    const bytes = this.#scratch.subarray(0, Math.min(chain.writableLength, this.#quota, MAX_FILL));
    try {
      const answer = this.#backend.fill(bytes);
      if (answer instanceof Promise) {
        this.#filling = true;
        // The scratch buffer now belongs to the back end, which may still write it after a reset.
        this.#scratch = new Uint8Array(MAX_FILL);
        void this.#fillLater(chain, bytes, answer);
        return false;
      }
    } catch (error) {
      this.#failed(chain, error);
      return false;
    }
    this.#done(chain, bytes);
    return true;
  }

  async #fillLater(chain: Chain, bytes: Uint8Array, answer: Promise<void>): Promise<void> {
    const era = this.#era;
    let failure: unknown;
    let failed = false;
    try {
      await answer;
    } catch (error) {
      failed = true;
      failure = error;
    }
    if (era !== this.#era) return;
    this.#filling = false;
    if (failed) return this.#failed(chain, failure);
    this.#done(chain, bytes);
    this.#host.queues[REQUESTQ]!.flush();
    this.#serve();
  }

  #done(chain: Chain, bytes: Uint8Array): void {
    this.#quota -= bytes.length;
    if (this.#quota < this.#maxBytes) this.#startPeriod();
    if (this.#traceFill.on) this.#traceFill.emit({ bytes: bytes.length, quota: this.#quota });
    scatter(chain.writable, 0, bytes);
    this.#host.queues[REQUESTQ]!.push(chain, bytes.length);
    bytes.fill(0);
  }

  /**
   * The source failed. "The device MUST place one or more random bytes into the buffer" (§5.4.6.2): an empty
   * answer is not allowed and bytes that are not random would be worse, so the buffer waits in the queue.
   */
  #failed(chain: Chain, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#tracer.warn(this.name, `the random source failed, the guest waits: ${reason}`);
    this.#host.queues[REQUESTQ]!.unpop(chain);
    this.#retry ??= this.#clock.schedule(this.#clock.now() + RETRY_NS, () => {
      this.#retry = undefined;
      this.#serve();
    });
  }

  /** A period starts with the first byte that is taken in it. */
  #startPeriod(): void {
    if (this.#timer !== undefined) return;
    this.#timer = this.#clock.schedule(this.#clock.now() + this.#periodNs, () => {
      this.#timer = undefined;
      this.#quota = this.#maxBytes;
      this.#serve();
    });
  }
}
