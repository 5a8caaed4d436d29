/**
 * One port of a virtio-serial controller: `virtconsole` or `virtserialport`. It joins a pair of virtqueues to a
 * chardev and loses nothing on the way: a chardev that takes less keeps the guest's buffer waiting, a guest without
 * buffers keeps the chardev waiting. What is dropped is what QEMU drops: output while nobody is there to get it (for
 * consoles see output.ts).
 */
import type { CharEvent, Chardev, CharFrontend } from '../../../chardev/chardev.ts';
import type { Clock, Timer } from '../../../core/clock.ts';
import { assert } from '../../../core/errors.ts';
import type { Chain, Queue } from '../../queue/queue.ts';
import { scatter, slice } from '../iov.ts';
import { ConsoleOutput } from './output.ts';

/** What a port sees of its controller. */
export interface PortLink {
  /** The driver is there (DRIVER_OK). */
  running(): boolean;
  receiveq(): Queue | undefined;
  transmitq(): Queue | undefined;
  /** The host side came or went: tell the driver. */
  hostChanged(open: boolean): void;
  /** The terminal behind the chardev has this size now. */
  resized(cols: number, rows: number): void;
  guestError(message: string, clause?: string): void;
  warn(message: string): void;
  /** For the patience with a console's reader. */
  readonly clock: Clock | undefined;
}

export interface SerialPortOptions {
  /** `virtconsole` rather than `virtserialport`. */
  readonly console: boolean;
  /** The id on the command line, for messages and events. */
  readonly id?: string;
  /** Number asked for; the controller finds one when it is absent. */
  readonly nr?: number;
  readonly name?: string;
  /** Without one the port is there, and its output goes nowhere. */
  readonly chardev?: Chardev;
  /** The guest opened or closed the port (QMP's VSERPORT_CHANGE). */
  readonly onGuestOpen?: (open: boolean) => void;
}

/** How much room a port looks for at most before a delivery: 16 of Linux's one-page buffers. */
const PEEK_BYTES = 65536;

const CLAUSE_RECEIVEQ = 'drv:Device Types / Console Device / Device Operation#1';
const CLAUSE_TRANSMITQ = 'drv:Device Types / Console Device / Device Operation#2';

export class SerialPort implements CharFrontend {
  readonly console: boolean;
  readonly id: string | undefined;
  readonly name: string | undefined;
  readonly wantedNr: number | undefined;
  readonly #chardev: Chardev | undefined;
  readonly #onGuestOpen: (open: boolean) => void;
  #detach: (() => void) | undefined;
  #link: PortLink | undefined;
  #nr = -1;
  #hostConnected = false;
  #guestConnected = false;
  /** The chain that the chardev has taken in part. */
  #held: { readonly chain: Chain; offset: number } | undefined;
  /** The driver was asked not to notify of receive buffers; unknown where an earlier port had the queue. */
  #deaf: boolean | undefined;
  /** Set while buffers are gathered: the next look at the transmit queue. */
  #gathering: Timer | undefined;
  /** Between a console and its chardev. */
  #output: ConsoleOutput | undefined;
  /** The driver has said PORT_READY. Kept here for the controller. */
  ready = false;

  constructor(options: SerialPortOptions) {
    this.console = options.console;
    this.id = options.id;
    this.name = options.name;
    this.wantedNr = options.nr;
    this.#chardev = options.chardev;
    this.#onGuestOpen = options.onGuestOpen ?? (() => {});
  }

  /** Port number, -1 while it is on no controller. */
  get nr(): number {
    return this.#nr;
  }

  /** Somebody on the host takes what the guest writes. */
  get hostConnected(): boolean {
    return this.#hostConnected;
  }

  /** A process in the guest has the port open (always, for a driver without MULTIPORT). */
  get guestConnected(): boolean {
    return this.#guestConnected;
  }

  /** The chardev takes no more for now. */
  get throttled(): boolean {
    return this.#held !== undefined;
  }

  // --- the controller's side

  /** Puts the port on a controller. */
  plug(link: PortLink, nr: number): void {
    assert(this.#link === undefined, 'port is on a controller already', { nr });
    this.#link = link;
    this.#nr = nr;
    if (this.#chardev === undefined) return;
    if (this.console) {
      const warn = (message: string) => link.warn(message);
      this.#output = new ConsoleOutput(this.#chardev, link.clock, warn, () => this.#resume());
    }
    this.#detach = this.#chardev.attach(this);
    // A console is connected whatever the chardev says: what nobody reads is dropped there, never held.
    if (this.console || this.#chardev.open) this.#setHostConnected(true);
    this.#tellSize();
  }

  /** Takes the port off: gives the guest its buffers back and lets go of the chardev. */
  unplug(): void {
    this.#detach?.();
    this.#detach = undefined;
    this.#stopGathering();
    this.#discard();
    this.#output?.clear();
    this.#output = undefined;
    // Without a word to `onGuestOpen`: QEMU tells only that the device is gone.
    this.#guestConnected = false;
    this.#hostConnected = false;
    this.#link = undefined;
    this.#nr = -1;
    this.ready = false;
  }

  /** The driver is gone: its buffers must not be touched any more. */
  stop(): void {
    this.#stopGathering();
    this.#held = undefined;
    this.ready = false;
    this.setGuestConnected(false);
  }

  /** The transmit queue was reset. */
  transmitqReset(): void {
    this.#stopGathering();
    this.#held = undefined;
  }

  setGuestConnected(open: boolean): void {
    if (open === this.#guestConnected) return;
    if (!open) this.finishGathering();
    this.#guestConnected = open;
    this.#onGuestOpen(open);
    if (open) this.#chardev?.acceptInput();
  }

  /** The driver has added receive buffers. */
  receiveBuffers(): void {
    if (this.#guestConnected) this.#chardev?.acceptInput();
  }

  /**
   * The driver has added transmit buffers. The first is on its way at once. Those behind it leave together when the
   * processor pauses, which it does when the guest waits, and after a fifth of a millisecond at the latest: each
   * would cost the guest a notification and an interrupt, and the host a system call. A console's driver waits for
   * each buffer (output.ts) and is not kept waiting.
   */
  transmitBuffers(): void {
    if (this.#gathering !== undefined) return;
    const sent = this.transmit();
    const clock = this.#link?.clock;
    if (!sent || this.console || clock === undefined || this.#held !== undefined) return;
    this.#gathering = clock.schedule(clock.now(), () => {
      this.#gathering = undefined;
      this.transmit();
    });
  }

  /** Sends what is gathered now: the driver closes the port, or takes its buffers back. */
  finishGathering(): void {
    if (this.#gathering === undefined) return;
    this.#stopGathering();
    this.transmit();
  }

  #stopGathering(): void {
    this.#gathering?.cancel();
    this.#gathering = undefined;
  }

  /**
   * Moves what the guest has written to the chardev, until there is no more or the chardev is full.
   * @returns whether there was anything
   */
  transmit(): boolean {
    const queue = this.#transmitq();
    if (queue === undefined || this.#held !== undefined) return false;
    let any = false;
    for (const chain of queue) {
      any = true;
      if (chain.writableLength > 0) {
        this.#link!.guestError('device-writable buffer in a transmitq', CLAUSE_TRANSMITQ);
      }
      const taken = this.#write(chain, 0);
      if (taken < chain.readableLength) {
        this.#held = { chain, offset: taken };
        break;
      }
      queue.push(chain, 0);
    }
    queue.flush();
    return any;
  }

  /** One byte past all queues (`emerg_wr`); only port 0 has it, which is a console. */
  emergencyWrite(byte: number): void {
    this.#output?.write(Uint8Array.of(byte));
  }

  // --- the chardev's side

  canReceive(): number {
    const queue = this.#input();
    if (queue === undefined) return 0;
    const seen: Chain[] = [];
    let room = 0;
    while (room < PEEK_BYTES) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableLength === 0 && seen.length === 0) {
        this.#link!.guestError('no room in a buffer of a receiveq', CLAUSE_RECEIVEQ);
        queue.push(chain, 0);
        continue;
      }
      seen.push(chain);
      room += chain.writableLength;
    }
    // Looked at, not taken: Linux takes unused buffers back when a port goes away.
    for (let i = seen.length - 1; i >= 0; i--) queue.unpop(seen[i]!);
    // Linux gives each buffer back by itself. That is only news while input waits for one.
    if (this.#deaf !== room > 0) {
      this.#deaf = room > 0;
      queue.setNotification(!this.#deaf);
    }
    return room;
  }

  receive(data: Uint8Array): void {
    const queue = this.#input();
    let at = 0;
    while (at < data.length) {
      const chain = queue?.pop();
      assert(queue !== undefined && chain !== undefined, 'chardev delivers more than canReceive()', {
        port: this.#nr,
        left: data.length - at,
      });
      if (chain.readableLength > 0) {
        this.#link!.guestError('device-readable buffer in a receiveq', CLAUSE_RECEIVEQ);
      }
      const length = scatter(chain.writable, 0, data.subarray(at));
      queue.push(chain, length);
      at += length;
    }
    queue?.flush();
  }

  event(event: CharEvent): void {
    switch (event) {
      case 'opened':
        if (!this.console) this.#setHostConnected(true);
        break;
      case 'closed':
        if (!this.console) this.#setHostConnected(false);
        else {
          // What waited for a peer who is gone is dropped like all that follows.
          this.#output?.clear();
          this.#resume();
        }
        break;
      case 'resized':
        this.#tellSize();
        break;
      default:
      // A break means nothing to a virtio port, nor does it matter which front end of a mux has the keyboard.
    }
  }

  writable(): void {
    this.#output?.drain();
    this.#resume();
  }

  // --- inside

  /** Goes on with the buffer that was held, and with those behind it. */
  #resume(): void {
    const held = this.#held;
    if (held !== undefined) {
      held.offset += this.#write(held.chain, held.offset);
      if (held.offset < held.chain.readableLength) return;
      this.#held = undefined;
      this.#transmitq()?.push(held.chain, 0);
    }
    this.transmit();
    this.#transmitq()?.flush();
  }

  #setHostConnected(open: boolean): void {
    if (open === this.#hostConnected) return;
    this.#hostConnected = open;
    // What was under way to the peer that left is lost, and must not reach the next one.
    if (!open) this.#discard();
    this.#link?.hostChanged(open);
  }

  /** A console on a terminal has the terminal's size. */
  #tellSize(): void {
    const size = this.console ? this.#chardev?.size?.() : undefined;
    if (size !== undefined) this.#link?.resized(size.columns, size.rows);
  }

  /** The receive queue, when the guest wants input now. */
  #input(): Queue | undefined {
    if (this.#link?.running() !== true || !this.#guestConnected) return undefined;
    const queue = this.#link.receiveq();
    return queue?.enabled === true ? queue : undefined;
  }

  /** The transmit queue, while the driver is there. */
  #transmitq(): Queue | undefined {
    if (this.#link?.running() !== true) return undefined;
    const queue = this.#link.transmitq();
    return queue?.enabled === true ? queue : undefined;
  }

  /** Writes the chain's bytes from `offset`; returns how many are dealt with. */
  #write(chain: Chain, offset: number): number {
    const chardev = this.#chardev;
    if (!this.#hostConnected || chardev === undefined || !chardev.open) return chain.readableLength - offset;
    let done = 0;
    for (const piece of slice(chain.readable, offset, chain.readableLength)) {
      const taken = (this.#output ?? chardev).write(piece);
      done += taken;
      if (taken < piece.length) break;
    }
    // The peer may have left during the write: nobody will ask for the rest.
    return this.#hostConnected ? done : chain.readableLength - offset;
  }

  /** Gives the guest's output buffers back unread. */
  #discard(): void {
    const held = this.#held;
    this.#held = undefined;
    const queue = this.#transmitq();
    if (queue === undefined) return;
    if (held !== undefined) queue.push(held.chain, 0);
    for (const chain of queue) queue.push(chain, 0);
    queue.flush();
  }
}
