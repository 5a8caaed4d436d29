/**
 * The frames of a WebSocket (RFC 6455 §5) on a connection whose handshake is done, server's side: a byte stream in
 * binary messages. A message is passed on as it comes, however long it is: nothing of it is kept beyond what the two
 * streams hold, and a reader that takes nothing makes the sender wait.
 */
import { Duplex } from 'node:stream';

const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** Why a connection is closed (§7.4.1). */
const STATUS = { NORMAL: 1000, PROTOCOL_ERROR: 1002 } as const;

// First byte of a header, and second.
const FIN = 0x80;
const RSV = 0x70;
const OPCODE_MASK = 0x0f;
const MASKED = 0x80;
const LENGTH_MASK = 0x7f;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

const MASK_BYTES = 4;
/** "All control frames MUST have a payload length of 125 bytes or less" (§5.5). */
const CONTROL_LIMIT = 125;
/** Two bytes, eight of a long length, four of the mask. */
const HEADER_LIMIT = 14;
/** Bytes that wait to be sent above which pings are not answered: a client cannot make us keep more by them. */
const PONG_LIMIT = 65536;
/** Milliseconds that a client gets to answer our close. */
const CLOSE_LIMIT = 1000;

/** Two bytes, then what does not fit into them. */
function header(opcode: number, length: number): Buffer {
  const bytes = Buffer.alloc(length < LENGTH_16 ? 2 : length < 65536 ? 4 : 10);
  bytes[0] = FIN | opcode;
  if (length < LENGTH_16) bytes[1] = length;
  else if (length < 65536) {
    bytes[1] = LENGTH_16;
    bytes.writeUInt16BE(length, 2);
  } else {
    bytes[1] = LENGTH_64;
    bytes.writeBigUInt64BE(BigInt(length), 2);
  }
  return bytes;
}

export class WebSocketDuplex extends Duplex {
  readonly #socket: Duplex;
  /** Of a frame whose header is not complete yet. */
  readonly #header = Buffer.alloc(HEADER_LIMIT);
  #headerLength = 0;
  #opcode = 0;
  /** Payload of the current frame that is still to come. */
  #left = 0;
  #mask = 0;
  /** In the middle of a message of several frames. */
  #fragmented = false;
  readonly #control: Buffer = Buffer.alloc(CONTROL_LIMIT);
  #controlLength = 0;
  #closeSent = false;
  #ended = false;

  /**
   * @param socket the connection, which is this stream's from now on
   * @param head what came behind the handshake
   */
  constructor(socket: Duplex, head: Uint8Array) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => {
      this.#end();
      // What was read is still to be taken; nothing more can be sent.
      if (!this.writableEnded) this.end();
    });
    socket.on('end', () => this.#end());
    if (head.length > 0) socket.unshift(head);
    socket.on('data', (data: Buffer) => this.#receive(data));
  }

  override _read(): void {
    if (!this.#ended) this.#socket.resume();
  }

  override _write(data: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(OPCODE.BINARY, data, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#sendClose(STATUS.NORMAL);
    // "the server MUST close the TCP connection" when both have sent their close (§7.1.1), or after a while.
    if (this.#ended) this.#socket.end();
    else {
      this.#socket.resume();
      setTimeout(() => this.#socket.destroy(), CLOSE_LIMIT).unref();
    }
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#socket.writableEnded) this.#sendClose(STATUS.NORMAL);
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), CLOSE_LIMIT).unref();
    this.#socket.resume();
    done(error);
  }

  #send(opcode: number, data: Uint8Array, done: (error?: Error | null) => void = () => {}): void {
    if (this.#closeSent || this.#socket.destroyed) return done();
    this.#socket.cork();
    this.#socket.write(header(opcode, data.length));
    this.#socket.write(data, done);
    this.#socket.uncork();
  }

  #sendClose(status: number): void {
    this.#send(OPCODE.CLOSE, Buffer.from([status >> 8, status & 0xff]));
    this.#closeSent = true;
  }

  /** The client will send no more. */
  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.push(null);
    // One that does not read any more would never see the end.
    if (this.readableLength === 0) this.resume();
  }

  #fail(): void {
    this.#sendClose(STATUS.PROTOCOL_ERROR);
    this.#end();
  }

  #receive(data: Buffer): void {
    let at = 0;
    let room = true;
    while (at < data.length && !this.#ended) {
      if (this.#left === 0) {
        this.#header[this.#headerLength++] = data[at++]!;
        if (this.#headerLength >= 2) this.#frame();
        continue;
      }
      const piece = data.subarray(at, at + this.#left);
      at += piece.length;
      this.#left -= piece.length;
      this.#unmask(piece);
      if (this.#opcode < OPCODE.CLOSE) room = this.push(piece);
      else {
        this.#control.set(piece, this.#controlLength);
        this.#controlLength += piece.length;
        if (this.#left === 0) this.#controlFrame();
      }
    }
    if (!room) this.#socket.pause();
  }

  /** Looks whether the header is complete, and then begins the frame. */
  #frame(): void {
    const bytes = this.#header;
    const short = bytes[1]! & LENGTH_MASK;
    const extra = short === LENGTH_16 ? 2 : short === LENGTH_64 ? 8 : 0;
    if (this.#headerLength === 2 && !this.#valid(bytes[0]!, bytes[1]!)) return this.#fail();
    if (this.#headerLength < 2 + extra + MASK_BYTES) return;
    this.#headerLength = 0;
    const length = extra === 0 ? short : bytes.readUIntBE(extra === 2 ? 2 : 4, extra === 2 ? 2 : 6);
    // "the most significant bit MUST be 0" (§5.2); what is above 48 bits no client means.
    if (extra === 8 && bytes.readUInt16BE(2) !== 0) return this.#fail();
    this.#mask = bytes.readUInt32BE(2 + extra);
    this.#opcode = bytes[0]! & OPCODE_MASK;
    this.#left = length;
    if (this.#opcode < OPCODE.CLOSE) this.#fragmented = (bytes[0]! & FIN) === 0;
    else {
      this.#controlLength = 0;
      if (length === 0) this.#controlFrame();
    }
  }

  /** The rules for the first two bytes of a frame. */
  #valid(first: number, second: number): boolean {
    // "The server MUST close the connection upon receiving a frame that is not masked." (§5.1)
    if ((second & MASKED) === 0) return false;
    // "MUST be 0 unless an extension is negotiated" (§5.2): none is.
    if ((first & RSV) !== 0) return false;
    switch (first & OPCODE_MASK) {
      case OPCODE.CONTINUATION:
        return this.#fragmented;
      case OPCODE.TEXT:
      case OPCODE.BINARY:
        return !this.#fragmented;
      case OPCODE.CLOSE:
      case OPCODE.PING:
      case OPCODE.PONG:
        // "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented." (§5.5)
        return (first & FIN) !== 0 && (second & LENGTH_MASK) <= CONTROL_LIMIT;
      default:
        return false;
    }
  }

  #controlFrame(): void {
    const payload = this.#control.subarray(0, this.#controlLength);
    if (this.#opcode === OPCODE.CLOSE) {
      // "the endpoint MUST send a Close frame in response", with the status that it received (§5.5.1).
      const status = payload.length >= 2 ? payload.readUInt16BE(0) : STATUS.NORMAL;
      this.#sendClose(status);
      this.#end();
    } else if (this.#opcode === OPCODE.PING && this.#socket.writableLength < PONG_LIMIT)
      this.#send(OPCODE.PONG, Buffer.from(payload));
  }

  /** In place; the mask is turned for the piece that follows. */
  #unmask(piece: Buffer): void {
    const mask = this.#mask;
    if (mask === 0) return;
    const whole = piece.length & ~3;
    let at = 0;
    // Word by word where the buffer allows it: messages may be large.
    if (piece.byteOffset % 4 === 0 && whole > 0) {
      const words = new Int32Array(piece.buffer, piece.byteOffset, whole >> 2);
      const swapped =
        ((mask & 0xff) << 24) | ((mask & 0xff00) << 8) | ((mask >>> 8) & 0xff00) | (mask >>> 24);
      for (let i = 0; i < words.length; i++) words[i]! ^= swapped;
      at = whole;
    }
    for (; at < piece.length; at++) piece[at]! ^= (mask >>> (24 - 8 * (at & 3))) & 0xff;
    const turn = 8 * (piece.length & 3);
    this.#mask = turn === 0 ? mask : ((mask << turn) | (mask >>> (32 - turn))) >>> 0;
  }
}
