/**
 * One end of a TCP connection with the guest (RFC 9293), the other of which is a socket of the host. Data is
 * never dropped between them: the window that the guest sees follows what the host's socket takes, and the host's
 * socket is paused while the guest's window is shut. There is no congestion control, because there is no network:
 * frames are lost only when the guest has no room, and the card says so.
 */
import { IPV4_HEADER } from '../wire/ipv4.ts';
import { TCP_FLAG, TCP_HEADER, type TcpOptions, type TcpSegment } from '../wire/tcp.ts';
import { ByteQueue } from './byte-queue.ts';
import type { HostTcp, NetHost } from './host.ts';
import { type GuestOutput, MTU, type Waiter } from './output.ts';
import { sendTcp, type TcpTuple } from './tcp-frame.ts';

const { FIN, SYN, RST, PSH, ACK } = TCP_FLAG;

/** RFC 9293 §3.3.2. `connecting`: the guest's SYN waits for the host's connection. */
export type TcpState =
  | 'connecting'
  | 'syn-sent'
  | 'syn-received'
  | 'established'
  | 'fin-wait-1'
  | 'fin-wait-2'
  | 'close-wait'
  | 'closing'
  | 'last-ack'
  | 'time-wait'
  | 'closed';

/** Bytes from the guest that may wait for the host's socket; what the window offers. */
const RECEIVE_LIMIT = 1 << 19;
/** The shift that lets 16 bits say RECEIVE_LIMIT (RFC 7323 §2.2). */
const WINDOW_SHIFT = 4;
/** Bytes from the host that may wait for the guest before its socket is paused. */
const SEND_LIMIT = 1 << 19;
const OUR_MSS = MTU - IPV4_HEADER - TCP_HEADER;
/** RFC 9293 §3.7.1: what is assumed of a guest that gives no MSS. */
const DEFAULT_MSS = 536;
/** Less would let a guest have a frame made for every few bytes. */
const MIN_MSS = 88;
/** The largest piece that a card which segments by itself is given: an IP packet's limit. */
const MAX_GSO = 65535 - IPV4_HEADER - TCP_HEADER;
/** RFC 6298 §2: the first timeout, in milliseconds, and the largest here. */
const FIRST_TIMEOUT = 1000;
const MAX_TIMEOUT = 16_000;
/** Timeouts in a row before the guest counts as gone: about two minutes. */
const MAX_RETRIES = 11;
/** RFC 9293 asks for twice the time that a segment may live; on this wire none lives on. */
const TIME_WAIT = 2000;
/** Idle time after which the guest is asked whether it is still there (RFC 9293 §3.8.4: at least two hours). */
const KEEPALIVE = 2 * 3600_000;

export interface TcpEnvironment {
  readonly output: GuestOutput;
  readonly host: NetHost;
  /** The connection has ended: nothing more will be sent. */
  gone(connection: TcpConnection): void;
  /** The host could not connect for the guest; `code` is the errno name. */
  refused(connection: TcpConnection, code: string): void;
}

/** Distance from `b` to `a` in sequence space: negative when `a` is before `b` (RFC 9293 §3.4). */
function diff(a: number, b: number): number {
  return (a - b) | 0;
}

function add(seq: number, count: number): number {
  return (seq + count) >>> 0;
}

export class TcpConnection implements Waiter {
  readonly tuple: TcpTuple;
  state: TcpState;
  readonly #env: TcpEnvironment;
  readonly #socket: HostTcp;
  /** What the host sent and the guest has not acknowledged; its first byte has number `#queueSeq`. */
  readonly #queue = new ByteQueue();
  #queueSeq: number;
  readonly #iss: number;
  #sndUna: number;
  #sndNxt: number;
  /** The highest `#sndNxt` was: after a timeout we go back, and acknowledgments may come for what was sent. */
  #sndMax: number;
  #sndWnd = 0;
  #sndWl1 = 0;
  #sndWl2 = 0;
  #sndShift = 0;
  #mss = DEFAULT_MSS;
  #scaling = false;
  #irs = 0;
  #rcvNxt = 0;
  /** End of the window that the guest was told of; it never goes back. */
  #rcvEdge = 0;
  #ackNow = false;
  /** The card had no room for the last segment. */
  #blocked = false;
  #probe = false;
  #duplicates = 0;
  /** The host has ended: a FIN follows the last byte. */
  #finQueued = false;
  #paused = false;
  #deadline = Number.POSITIVE_INFINITY;
  #cancelTimer: (() => void) | undefined;
  #timerAt = 0;
  #timeout = FIRST_TIMEOUT;
  #retries = 0;

  /**
   * @param syn the guest's first segment, when the guest opens; without it, we open (`socket` is connected then)
   */
  constructor(tuple: TcpTuple, socket: HostTcp, env: TcpEnvironment, syn?: TcpSegment) {
    this.tuple = tuple;
    this.#socket = socket;
    this.#env = env;
    this.#iss = env.host.random32();
    this.#sndUna = this.#sndNxt = this.#sndMax = this.#iss;
    this.#queueSeq = add(this.#iss, 1);
    socket.onData = (data) => this.#fromHost(data);
    socket.onEnd = () => this.#hostEnded();
    socket.onDrain = () => this.#hostDrained();
    socket.onClose = (code) => this.#hostClosed(code);
    // Nothing is read from the host before the guest can take it.
    this.#setPaused(true);
    if (syn === undefined) {
      this.state = 'syn-sent';
      this.#output();
      return;
    }
    this.state = 'connecting';
    this.#takeSyn(syn);
    socket.onConnect = () => {
      if (this.state !== 'connecting') return;
      this.state = 'syn-received';
      this.#output();
    };
  }

  /** The guest's initial sequence number (for messages about a connection that failed). */
  get guestIss(): number {
    return this.#irs;
  }

  /** RFC 9293 §3.10.7: a segment of this connection has come from the guest. */
  receive(segment: TcpSegment): void {
    this.#retries = 0;
    if (this.state === 'connecting') {
      if ((segment.flags & RST) !== 0) this.#finish(true);
      return;
    }
    if (this.state === 'syn-sent') this.#inSynSent(segment);
    else this.#synchronized(segment);
    if (this.state !== 'closed') this.#output();
  }

  /** The card has room again. */
  resume(): boolean {
    this.#blocked = false;
    return this.state === 'closed' || this.#output();
  }

  /** The guest's address has become known: what was lost for want of it is sent now. */
  retry(): void {
    if (this.state === 'syn-sent') {
      this.#sndNxt = this.#iss;
      this.#output();
    }
  }

  /** Ends it at once, both sides with a reset. */
  abort(): void {
    if (this.state === 'closed') return;
    if (this.state !== 'connecting' && this.state !== 'time-wait') this.#emit(this.#sndNxt, RST | ACK, 0, {});
    this.#finish(true);
  }

  // From the host

  #fromHost(data: Uint8Array): void {
    if (this.state === 'closed') return;
    this.#queue.push(data);
    if (this.#queue.length >= SEND_LIMIT) this.#setPaused(true);
    this.#output();
  }

  #hostEnded(): void {
    if (this.state === 'closed') return;
    this.#finQueued = true;
    this.#output();
  }

  /** What the guest sent has gone on its way: the window may open. Told only when it is worth a segment. */
  #hostDrained(): void {
    if (this.state === 'closed' || this.state === 'connecting') return;
    const opened = diff(add(this.#rcvNxt, this.#window()), this.#rcvEdge);
    if (opened >= Math.min(RECEIVE_LIMIT / 2, 2 * OUR_MSS)) {
      this.#ackNow = true;
      this.#output();
    }
  }

  #hostClosed(code: string | undefined): void {
    if (this.state === 'closed') return;
    if (this.state === 'connecting') {
      this.#env.refused(this, code ?? 'ECONNREFUSED');
      this.#finish(false);
    } else if (code !== undefined) this.abort();
    // Without an error both directions had ended, and the states go on to their end by themselves.
  }

  // From the guest

  #takeSyn(segment: TcpSegment): void {
    this.#irs = segment.seq;
    this.#rcvNxt = this.#rcvEdge = add(segment.seq, 1);
    this.#mss = Math.max(MIN_MSS, Math.min(OUR_MSS, segment.options.mss ?? DEFAULT_MSS));
    // RFC 7323 §2.2: shifts count only when both sides gave one; the window of a SYN itself is not scaled.
    this.#scaling = segment.options.windowScale !== undefined;
    this.#sndShift = segment.options.windowScale ?? 0;
    this.#sndWnd = segment.window;
    this.#sndWl1 = segment.seq;
    this.#sndWl2 = segment.ack;
  }

  /** §3.10.7.3 */
  #inSynSent(segment: TcpSegment): void {
    const acceptable = (segment.flags & ACK) !== 0 && segment.ack === add(this.#iss, 1);
    if ((segment.flags & ACK) !== 0 && !acceptable) {
      if ((segment.flags & RST) === 0) this.#emit(segment.ack, RST, 0, {});
      return;
    }
    if ((segment.flags & RST) !== 0) {
      if (acceptable) this.#finish(true);
      return;
    }
    if ((segment.flags & SYN) === 0 || !acceptable) return;
    this.#takeSyn(segment);
    this.#sndUna = segment.ack;
    this.#established();
    this.#ackNow = true;
  }

  /** §3.10.7.4 */
  #synchronized(segment: TcpSegment): void {
    const { flags, payload } = segment;
    const length = payload.length + ((flags & FIN) !== 0 ? 1 : 0) + ((flags & SYN) !== 0 ? 1 : 0);
    if (!this.#inWindow(segment.seq, length)) {
      // Our SYN-ACK was lost or late: the guest repeats its SYN.
      if (this.state === 'syn-received' && (flags & SYN) !== 0) this.#sndNxt = this.#iss;
      // "If an incoming segment is not acceptable, an acknowledgment should be sent in reply".
      else if ((flags & RST) === 0) this.#ackNow = true;
      return;
    }
    if ((flags & RST) !== 0) {
      // RFC 5961 §3.2: only the exact number resets; others in the window are asked back.
      if (segment.seq === this.#rcvNxt) this.#finish(true);
      else this.#ackNow = true;
      return;
    }
    if ((flags & SYN) !== 0) {
      this.#ackNow = true;
      return;
    }
    if ((flags & ACK) === 0 || !this.#acknowledged(segment)) return;
    this.#takeText(segment);
  }

  /** §3.10.7.4, first check. A keep-alive (one number before the window) is not acceptable, and so answered. */
  #inWindow(seq: number, length: number): boolean {
    const window = diff(this.#rcvEdge, this.#rcvNxt);
    const first = diff(seq, this.#rcvNxt);
    if (length === 0) return window === 0 ? first === 0 : first >= 0 && first <= window;
    if (window === 0) return false;
    const last = first + length - 1;
    return (first >= 0 && first < window) || (last >= 0 && last < window);
  }

  /** Fifth check; false when the segment is to be dropped. */
  #acknowledged(segment: TcpSegment): boolean {
    const { ack } = segment;
    if (this.state === 'syn-received') {
      if (ack !== add(this.#iss, 1)) {
        this.#emit(ack, RST, 0, {});
        return false;
      }
      this.#established();
    }
    if (diff(ack, this.#sndMax) > 0) {
      this.#ackNow = true;
      return false;
    }
    const advanced = diff(ack, this.#sndUna);
    if (advanced > 0) this.#advance(ack);
    else if (advanced === 0 && segment.payload.length === 0 && this.#sndNxt !== this.#sndUna) {
      // RFC 5681 §3.2: three acknowledgments of the same in a row mean that the next segment was lost.
      if (segment.window << this.#sndShift === this.#sndWnd && ++this.#duplicates === 3) {
        this.#sndNxt = this.#sndUna;
      }
    }
    const newer = diff(segment.seq, this.#sndWl1);
    if (newer > 0 || (newer === 0 && diff(ack, this.#sndWl2) >= 0)) {
      // A shut window opens: what probed it was not taken, and goes again at once.
      if (this.#sndWnd === 0 && segment.window > 0) this.#sndNxt = this.#sndUna;
      this.#sndWnd = segment.window << this.#sndShift;
      this.#sndWl1 = segment.seq;
      this.#sndWl2 = ack;
    }
    return true;
  }

  #advance(ack: number): void {
    this.#sndUna = ack;
    if (diff(this.#sndNxt, ack) < 0) this.#sndNxt = ack;
    this.#duplicates = 0;
    this.#timeout = FIRST_TIMEOUT;
    this.#disarm();
    const data = Math.min(diff(ack, this.#queueSeq), this.#queue.length);
    if (data > 0) {
      this.#queue.drop(data);
      this.#queueSeq = add(this.#queueSeq, data);
    }
    if (this.#queue.length <= SEND_LIMIT / 2) this.#setPaused(false);
    if (!this.#finSent || diff(ack, add(this.#queueSeq, this.#queue.length)) <= 0) return;
    // Our FIN is acknowledged.
    if (this.state === 'fin-wait-1') this.state = 'fin-wait-2';
    else if (this.state === 'closing') this.#timeWait();
    else if (this.state === 'last-ack') this.#finish(false);
  }

  /** Seventh and eighth check. What comes out of order is asked for again: this wire keeps the order. */
  #takeText(segment: TcpSegment): void {
    const open = this.state === 'established' || this.state === 'fin-wait-1' || this.state === 'fin-wait-2';
    if (segment.payload.length === 0 && (segment.flags & FIN) === 0) return;
    this.#ackNow = true;
    if (!open) return;
    const skip = diff(this.#rcvNxt, segment.seq);
    if (skip < 0) return;
    const room = diff(this.#rcvEdge, this.#rcvNxt);
    const text = segment.payload.subarray(skip, skip + room);
    if (text.length > 0) {
      this.#socket.write(text);
      this.#rcvNxt = add(this.#rcvNxt, text.length);
    }
    const end = add(segment.seq, segment.payload.length);
    if ((segment.flags & FIN) === 0 || end !== this.#rcvNxt) return;
    this.#rcvNxt = add(this.#rcvNxt, 1);
    if (diff(this.#rcvEdge, this.#rcvNxt) < 0) this.#rcvEdge = this.#rcvNxt;
    this.#socket.end();
    if (this.state === 'established') this.state = 'close-wait';
    else if (this.state === 'fin-wait-1') this.state = 'closing';
    else this.#timeWait();
  }

  #established(): void {
    this.state = 'established';
    this.#sndUna = add(this.#iss, 1);
    if (diff(this.#sndNxt, this.#sndUna) < 0) this.#sndNxt = this.#sndUna;
    this.#timeout = FIRST_TIMEOUT;
    this.#disarm();
    this.#setPaused(false);
  }

  // To the guest

  /** What the guest may be told: room for the host's socket; a crumb is none (RFC 9293 §3.8.6.2.2). */
  #window(): number {
    const room = RECEIVE_LIMIT - this.#socket.pending;
    return room < OUR_MSS ? 0 : room;
  }

  get #finSent(): boolean {
    return this.state === 'fin-wait-1' || this.state === 'closing' || this.state === 'last-ack';
  }

  /** Sends what may be sent; false when the card had no room, and `resume` will be called. */
  #output(): boolean {
    switch (this.state) {
      case 'connecting':
      case 'closed':
        return true;
      case 'syn-sent':
      case 'syn-received':
        return this.#sendSyn();
      default:
        return this.#sendData() && this.#sendFin() && this.#sendAck();
    }
  }

  #sendSyn(): boolean {
    if (this.#sndNxt !== this.#iss) return true;
    const answer = this.state === 'syn-received';
    const scale = !answer || this.#scaling ? { windowScale: WINDOW_SHIFT } : {};
    if (!this.#emit(this.#iss, answer ? SYN | ACK : SYN, 0, { mss: OUR_MSS, ...scale })) return this.#wait();
    this.#sent(1);
    return true;
  }

  #sendData(): boolean {
    const most =
      this.#env.output.frontend?.rxCaps.tso4 === true ? MAX_GSO - (MAX_GSO % this.#mss) : this.#mss;
    for (;;) {
      const available = this.#queue.length - diff(this.#sndNxt, this.#queueSeq);
      const outstanding = diff(this.#sndNxt, this.#sndUna);
      let length = Math.min(available, this.#sndWnd - outstanding, most);
      // §3.8.6.1: a shut window is probed with one byte, lest its opening was lost.
      if (length <= 0 && available > 0 && this.#probe) length = 1;
      if (length <= 0) {
        if (available > 0 && outstanding <= 0) this.#arm(this.#timeout);
        return true;
      }
      // §3.8.6.2.1: no crumbs while more is coming and something is under way.
      if (length < this.#mss && length < available && outstanding > 0 && !this.#probe) return true;
      const push = length === available ? PSH : 0;
      if (!this.#emit(this.#sndNxt, ACK | push, length, {})) return this.#wait();
      this.#probe = false;
      this.#sent(length);
    }
  }

  #sendFin(): boolean {
    if (!this.#finQueued || this.#sndNxt !== add(this.#queueSeq, this.#queue.length)) return true;
    const fresh = this.state === 'established' || this.state === 'close-wait';
    if (!fresh && !this.#finSent) return true;
    if (!this.#emit(this.#sndNxt, FIN | ACK, 0, {})) return this.#wait();
    if (this.state === 'established') this.state = 'fin-wait-1';
    else if (this.state === 'close-wait') this.state = 'last-ack';
    this.#sent(1);
    return true;
  }

  #sendAck(): boolean {
    if (!this.#ackNow) return true;
    return this.#emit(this.#sndNxt, ACK, 0, {}) || this.#wait();
  }

  #sent(count: number): void {
    this.#sndNxt = add(this.#sndNxt, count);
    if (diff(this.#sndNxt, this.#sndMax) > 0) this.#sndMax = this.#sndNxt;
    this.#arm(this.#timeout);
  }

  #wait(): boolean {
    this.#blocked = true;
    this.#env.output.whenRoom(this);
    return false;
  }

  /** Makes and sends one segment; `length` bytes of the queue from `seq` on. False when the card has no room. */
  #emit(seq: number, flags: number, length: number, options: TcpOptions): boolean {
    const { output } = this.#env;
    const window = this.#window();
    const edge = add(this.#rcvNxt, window);
    const told = diff(edge, this.#rcvEdge) > 0 ? window : diff(this.#rcvEdge, this.#rcvNxt);
    const shift = this.#scaling && (flags & SYN) === 0 ? WINDOW_SHIFT : 0;
    const field = Math.min(0xffff, told >>> shift);
    const result = sendTcp(
      output,
      this.tuple,
      {
        seq,
        ack: (flags & ACK) === 0 ? 0 : this.#rcvNxt,
        flags,
        window: (flags & RST) === 0 ? field : 0,
        options,
      },
      length,
      (bytes, at) => this.#queue.copy(diff(seq, this.#queueSeq), length, bytes, at),
      this.#mss,
    );
    if (result === 'full') return false;
    // Nobody known at that address yet: as if lost, to be sent again.
    if (result === 'nobody') return true;
    if ((flags & ACK) !== 0) {
      this.#ackNow = false;
      const offered = add(this.#rcvNxt, field << shift);
      if (diff(offered, this.#rcvEdge) > 0) this.#rcvEdge = offered;
    }
    return true;
  }

  // Time

  #timeWait(): void {
    this.state = 'time-wait';
    this.#arm(TIME_WAIT);
  }

  /** One timer serves all; it is not moved back for every segment, but looks at the deadline when it fires. */
  #arm(milliseconds: number): void {
    this.#deadline = this.#env.host.now() + milliseconds;
    if (this.#cancelTimer !== undefined && this.#timerAt <= this.#deadline) return;
    this.#cancelTimer?.();
    this.#timerAt = this.#deadline;
    this.#cancelTimer = this.#env.host.delay(milliseconds, this.#fired);
  }

  /** Nothing is under way: the next thing to ask is, after a long time, whether the guest is still there. */
  #disarm(): void {
    this.#deadline = Number.POSITIVE_INFINITY;
    if (this.#sndNxt === this.#sndUna) this.#arm(KEEPALIVE);
    else this.#arm(this.#timeout);
  }

  readonly #fired = (): void => {
    this.#cancelTimer = undefined;
    if (this.state === 'closed') return;
    const left = this.#deadline - this.#env.host.now();
    if (left > 0) return this.#arm(left);
    if (this.state === 'time-wait') return this.#finish(false);
    // A card without room (a guest that is stopped, or busy) has not lost anything: it is still to be asked.
    if (this.#blocked) return this.#arm(this.#timeout);
    if (++this.#retries > MAX_RETRIES) return this.abort();
    const idle = this.#sndNxt === this.#sndUna && this.#queue.length === 0;
    this.#timeout = Math.min(MAX_TIMEOUT, this.#timeout * 2);
    if (idle) {
      // A number that was acknowledged already: whoever is there answers with an acknowledgment.
      this.#emit(add(this.#sndUna, -1), ACK, 0, {});
      this.#arm(Math.max(this.#timeout, MAX_TIMEOUT));
      return;
    }
    this.#sndNxt = this.#sndUna;
    this.#probe = this.#sndWnd === 0;
    this.#arm(this.#timeout);
    this.#output();
  };

  // Ends

  #setPaused(paused: boolean): void {
    if (this.#paused === paused) return;
    this.#paused = paused;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** @param reset the host's other side hears of it as an error */
  #finish(reset: boolean): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#env.output.forget(this);
    if (reset) this.#socket.destroy(true);
    this.#env.gone(this);
  }
}
