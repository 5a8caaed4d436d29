/**
 * Control messages of the console device (VIRTIO 1.4 §5.3.6.2): their form, and the outbox in which those for the
 * driver wait for a buffer. What waits is merged, so that neither a host that opens and closes a port all day nor
 * a driver that asks without reading the answers can make it grow: a port never has more than a few.
 */
import type { DeviceHost } from '../../device.ts';
import type { Queue } from '../../queue/queue.ts';
import { gather, type Pieces, scatter } from '../iov.ts';
import {
  CONTROL,
  VIRTIO_CONSOLE_DEVICE_ADD,
  VIRTIO_CONSOLE_DEVICE_REMOVE,
  VIRTIO_CONSOLE_PORT_OPEN,
  VIRTIO_CONSOLE_RESIZE,
} from './defs.ts';

export interface ControlMessage {
  /** Port number. */
  readonly id: number;
  readonly event: number;
  readonly value: number;
  /** What follows the header: a name, or a size. */
  readonly data?: Uint8Array;
}

/** Undefined when the buffer is too short for one. Bytes behind it are not ours to read. */
export function parseControl(pieces: Pieces): ControlMessage | undefined {
  const bytes = new Uint8Array(CONTROL.SIZE);
  if (gather(pieces, 0, bytes) < CONTROL.SIZE) return undefined;
  const view = new DataView(bytes.buffer);
  return {
    id: view.getUint32(CONTROL.ID, true),
    event: view.getUint16(CONTROL.EVENT, true),
    value: view.getUint16(CONTROL.VALUE, true),
  };
}

export function serializeControl(message: ControlMessage): Uint8Array {
  const data = message.data ?? new Uint8Array(0);
  const bytes = new Uint8Array(CONTROL.SIZE + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(CONTROL.ID, message.id, true);
  view.setUint16(CONTROL.EVENT, message.event, true);
  view.setUint16(CONTROL.VALUE, message.value, true);
  bytes.set(data, CONTROL.SIZE);
  return bytes;
}

export class ControlOutbox {
  #waiting: ControlMessage[] = [];

  get length(): number {
    return this.#waiting.length;
  }

  clear(): void {
    this.#waiting = [];
  }

  /** Adds a message, merged with those of the same port that nobody has read yet. */
  post(message: ControlMessage): void {
    const { id, event, value } = message;
    if (event === VIRTIO_CONSOLE_DEVICE_REMOVE) {
      const added = this.#last(id, VIRTIO_CONSOLE_DEVICE_ADD);
      // A port that the driver has not heard of: it comes and goes unseen, with all that was said of it.
      this.#waiting = this.#waiting.filter(
        (other, at) => other.id !== id || (added >= 0 ? at < added : other.event === event),
      );
      if (added >= 0) return;
    } else if (event === VIRTIO_CONSOLE_PORT_OPEN) {
      const last = this.#last(id, event);
      if (last >= 0) {
        if (this.#waiting[last]!.value === value) return;
        // Opened and closed before the driver looked. (Closed and opened again is told: data was lost.)
        if (value === 0) {
          this.#waiting.splice(last, 1);
          return;
        }
      }
    } else if (event !== VIRTIO_CONSOLE_DEVICE_ADD) {
      const last = this.#last(id, event);
      if (last >= 0) {
        if (event === VIRTIO_CONSOLE_RESIZE) this.#waiting[last] = message;
        return;
      }
    }
    this.#waiting.push(message);
  }

  /** Moves what waits into the driver's buffers, as far as there are any. */
  drain(queue: Queue, host: DeviceHost): void {
    while (this.#waiting.length > 0) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const bytes = serializeControl(this.#waiting[0]!);
      if (chain.writableLength < bytes.length) {
        host.guestError(`control buffer of ${chain.writableLength} bytes is too small for ${bytes.length}`);
        queue.push(chain, 0);
        continue;
      }
      scatter(chain.writable, 0, bytes);
      queue.push(chain, bytes.length);
      this.#waiting.shift();
    }
    queue.flush();
  }

  #last(id: number, event: number): number {
    return this.#waiting.findLastIndex((other) => other.id === id && other.event === event);
  }
}
