/**
 * The telnet protocol on a byte stream (RFC 854), as much of it as a terminal needs: commands are taken out of the
 * input, the escape byte is doubled in the output, and the other side is told to send keys as they are, unechoed and
 * in eight bits (RFC 856, 857, 858). Options beyond those are left unanswered, as with QEMU.
 */
import type { HostStream } from './host.ts';

const IAC = 255;
const DONT = 254;
const WONT = 252;
const WILL = 251;
const DO = 253;
const SB = 250;
const BREAK = 243;
const SE = 240;

const BINARY = 0;
const ECHO = 1;
const SUPPRESS_GO_AHEAD = 3;

const GREETING = [IAC, WILL, ECHO, IAC, WILL, SUPPRESS_GO_AHEAD, IAC, WILL, BINARY, IAC, DO, BINARY];

/** Where in a command the input is. */
type State = 'data' | 'iac' | 'option' | 'subnegotiation' | 'subnegotiation-iac';

export class TelnetStream implements HostStream {
  onData: (data: Uint8Array) => void = () => {};
  onDrain: () => void = () => {};
  onClose: () => void = () => {};
  /** The other side sent a break. */
  onBreak: () => void = () => {};
  readonly local?: string;
  readonly peer?: string;
  readonly #stream: HostStream;
  #state: State = 'data';
  #command = 0;
  /** The other side said that it sends text: a carriage return comes with a zero behind it. */
  #text = false;
  #afterReturn = false;
  /** The second half of a doubled escape byte had no room. */
  #owed = false;

  constructor(stream: HostStream) {
    this.#stream = stream;
    if (stream.local !== undefined) this.local = stream.local;
    if (stream.peer !== undefined) this.peer = stream.peer;
    stream.onData = (data) => this.#receive(data);
    stream.onDrain = () => this.onDrain();
    stream.onClose = () => this.onClose();
    // A stream that is new has room for so little.
    stream.write(Uint8Array.from(GREETING));
  }

  write(data: Uint8Array): number {
    let done = 0;
    for (;;) {
      if (this.#owed) {
        if (this.#stream.write(Uint8Array.of(IAC)) === 0) return done;
        this.#owed = false;
      }
      if (done >= data.length) return done;
      // Up to and with the escape byte; its double follows in the next turn.
      const at = data.indexOf(IAC, done);
      const part = data.subarray(done, at < 0 ? data.length : at + 1);
      const count = this.#stream.write(part);
      done += count;
      if (count < part.length) return done;
      this.#owed = at >= 0;
    }
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  close(): Promise<void> {
    return this.#stream.close();
  }

  #receive(data: Uint8Array): void {
    const out = new Uint8Array(data.length);
    let length = 0;
    for (const byte of data) {
      switch (this.#state) {
        case 'data':
          if (byte === IAC) this.#state = 'iac';
          else if (!(this.#text && this.#afterReturn && byte === 0)) out[length++] = byte;
          this.#afterReturn = byte === 0x0d;
          break;
        case 'iac':
          this.#state = 'data';
          if (byte === IAC) out[length++] = byte;
          else if (byte === SB) this.#state = 'subnegotiation';
          else if (byte >= WILL && byte <= DONT) {
            this.#command = byte;
            this.#state = 'option';
          } else if (byte === BREAK) {
            // What was typed before it comes before it.
            if (length > 0) this.onData(out.slice(0, length));
            length = 0;
            this.onBreak();
          }
          break;
        case 'option':
          if (byte === BINARY && this.#command === WONT) this.#text = true;
          if (byte === BINARY && this.#command === WILL) this.#text = false;
          this.#state = 'data';
          break;
        case 'subnegotiation':
          if (byte === IAC) this.#state = 'subnegotiation-iac';
          break;
        case 'subnegotiation-iac':
          this.#state = byte === SE ? 'data' : 'subnegotiation';
          break;
      }
    }
    if (length > 0) this.onData(out.subarray(0, length));
  }
}
