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

/** How a serial port sends its characters. */
export interface LineSettings {
  readonly baud: number;
  readonly dataBits: 5 | 6 | 7 | 8;
  readonly parity: 'none' | 'odd' | 'even';
  /** 2 stands for one and a half with five data bits. */
  readonly stopBits: 1 | 2;
}

/** What comes in on the modem control lines. */
export interface ModemInputs {
  readonly cts: boolean;
  readonly dsr: boolean;
  readonly ri: boolean;
  readonly dcd: boolean;
}

/** The wire of a real serial port, beyond its bytes. What the port cannot do is left out without a word. */
export interface SerialLine {
  configure(settings: LineSettings): void;
  /** The wire is held low, or let go. */
  setBreak(on: boolean): void;
  setOutputs(outputs: { readonly dtr: boolean; readonly rts: boolean }): void;
  /** Undefined where the port has no such lines. */
  inputs(): ModemInputs | undefined;
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
  /** The wire, where a real serial port is behind it. */
  readonly line?: SerialLine | undefined;
  /** The size of the terminal behind it, where there is one. */
  size?(): { readonly columns: number; readonly rows: number } | undefined;
  /** As `info chardev` prints it behind `filename=`. */
  describe(): string;
  close(): Promise<void>;
}
