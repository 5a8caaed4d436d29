/**
 * Character devices: a byte stream between a front end (serial port, virtio port, monitor) and something on the
 * host. Flow control goes both ways and nothing is dropped silently: a short write means "later", and the back
 * end only delivers what the front end said it has room for.
 */

export type CharEvent = 'opened' | 'closed' | 'break' | 'mux-in' | 'mux-out' | 'resized';

/** The guest-side party of a chardev. */
export interface CharFrontend {
  /** How many bytes it can take now; 0 stops delivery until it calls `Chardev.acceptInput`. */
  canReceive(): number;
  /** At most `canReceive()` bytes; the array is only valid during the call. */
  receive(data: Uint8Array): void;
  /**
   * A peer appeared or went away, or sent a break; this front end of a mux got or lost the keyboard; the
   * terminal behind it has another size (`Chardev.size`).
   */
  event(event: CharEvent): void;
  /** There is room again after a `write` that took less than it was given. */
  writable(): void;
}

export interface Chardev {
  readonly id: string;
  /** Back-end name as in `-chardev NAME,…`. */
  readonly type: string;
  /** True while a peer is there (always, for files and the null device). */
  readonly open: boolean;
  /** Takes up to `data.length` bytes, returns how many. Bytes are copied before it returns. */
  write(data: Uint8Array): number;
  /** The front end has room again. */
  acceptInput(): void;
  /** One front end at a time (a mux gives each of its front ends a chardev of its own). Returns the detach. */
  attach(frontend: CharFrontend): () => void;
  /** As if the peer had sent a break (`chardev-send-break`). */
  sendBreak?(): void;
  /** The size of the terminal behind it, where there is one. */
  size?(): { readonly columns: number; readonly rows: number } | undefined;
  /** As `info chardev` prints it behind `filename=`. */
  describe(): string;
  close(): Promise<void>;
}
