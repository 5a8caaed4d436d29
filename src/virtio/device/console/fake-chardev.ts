/** A chardev for the tests of ports: it takes as much as it is told to, and delivers what `type` gives it. */
import type { Chardev, CharFrontend } from '../../../chardev/chardev.ts';

export class FakeChardev implements Chardev {
  readonly id: string;
  readonly type = 'fake';
  open: boolean;
  /** How many more bytes `write` takes. */
  room = Number.POSITIVE_INFINITY;
  readonly written: number[] = [];
  /** Input that the front end had no room for yet. */
  readonly input: number[] = [];
  frontend: CharFrontend | undefined;

  constructor(options: { id?: string; open?: boolean; room?: number } = {}) {
    this.id = options.id ?? 'fake0';
    this.open = options.open ?? true;
    this.room = options.room ?? Number.POSITIVE_INFINITY;
  }

  get text(): string {
    return Buffer.from(this.written).toString('latin1');
  }

  write(data: Uint8Array): number {
    const taken = Math.min(data.length, this.room);
    this.room -= taken;
    for (const byte of data.subarray(0, taken)) this.written.push(byte);
    return taken;
  }

  /** Makes room for `bytes` more and says so. */
  drain(bytes: number): void {
    this.room += bytes;
    this.frontend?.writable();
  }

  /** The peer types. */
  send(data: string | Uint8Array): void {
    this.input.push(...(typeof data === 'string' ? Buffer.from(data, 'latin1') : data));
    this.acceptInput();
  }

  acceptInput(): void {
    while (this.input.length > 0) {
      const room = this.frontend?.canReceive() ?? 0;
      if (room === 0) return;
      this.frontend!.receive(Uint8Array.from(this.input.splice(0, room)));
    }
  }

  connect(): void {
    this.open = true;
    this.frontend?.event('opened');
  }

  disconnect(): void {
    this.open = false;
    this.frontend?.event('closed');
  }

  attach(frontend: CharFrontend): () => void {
    this.frontend = frontend;
    return () => {
      this.frontend = undefined;
    };
  }

  describe(): string {
    return 'fake';
  }

  async close(): Promise<void> {}
}
