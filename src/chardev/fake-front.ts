/** For the tests of chardevs: a front end that takes everything while `room` lasts, and a way to wait for it. */
import type { CharEvent, CharFrontend } from './chardev.ts';

export class FakeFront implements CharFrontend {
  /** How many more bytes it takes. */
  room = Number.POSITIVE_INFINITY;
  readonly chunks: Buffer[] = [];
  readonly events: CharEvent[] = [];
  /** How often the chardev has said that there is room again. */
  drains = 0;
  onWritable: () => void = () => {};

  constructor(room = Number.POSITIVE_INFINITY) {
    this.room = room;
  }

  canReceive(): number {
    return Math.min(this.room, 1 << 20);
  }

  receive(data: Uint8Array): void {
    if (data.length > this.room)
      throw new Error(`${data.length} bytes came where ${this.room} were asked for`);
    this.room -= data.length;
    this.chunks.push(Buffer.from(data));
  }

  event(event: CharEvent): void {
    this.events.push(event);
  }

  writable(): void {
    this.drains++;
    this.onWritable();
  }

  /** All that came. */
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString();
  }

  get length(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}

/** Waits for what a busy machine does in its own time: ten seconds of the event loop's turns at least. */
export async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`did not happen: ${what.toString()}`);
}
