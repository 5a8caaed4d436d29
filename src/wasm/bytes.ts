/** Integers in bytes as the WebAssembly binary format has them (core specification §5.2): written, replaced and read. */

/** A growing byte buffer. */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;
  /** Places of values that another use of these bytes has to replace, each followed by what stands for the value. */
  fixups: number[] = [];

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
  }

  #room(extra: number): void {
    if (this.length + extra <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + extra));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  u8(value: number): void {
    const at = this.length;
    if (at === this.bytes.length) this.#room(1);
    this.bytes[at] = value;
    this.length = at + 1;
  }

  /** Unsigned LEB128 of a value below 2^32. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.u8(rest);
  }

  /** A byte, such as an opcode, and the u32 that belongs to it. */
  indexed(first: number, value: number): void {
    const at = this.length;
    if (value >= 0x80 || at + 2 > this.bytes.length) {
      this.u8(first);
      this.u32(value);
      return;
    }
    this.bytes[at] = first;
    this.bytes[at + 1] = value;
    this.length = at + 2;
  }

  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): void {
    let rest = value | 0;
    while (rest < -64 || rest > 63) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    this.u8(rest & 0x7f);
  }

  /** Signed LEB128 of a 32-bit value in five bytes, whatever it is; `what` says in `fixups` what it stands for. */
  s32Fixed(value: number, what: number): void {
    this.#room(5);
    this.fixups.push(this.length, what);
    putS32(this.bytes, this.length, value);
    this.length += 5;
  }

  /** Unsigned LEB128 of a value below 2^14 in two bytes; `what` as for `s32Fixed`. */
  u14Fixed(value: number, what: number): void {
    this.#room(2);
    this.fixups.push(this.length, what);
    putU14(this.bytes, this.length, value);
    this.length += 2;
  }

  /** Signed LEB128 of a safe integer. */
  s53(value: number): void {
    let rest = value;
    while (rest !== (rest | 0)) {
      // the low 32 bits are exact
      this.u8((rest & 0x7f) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.s32(rest);
  }

  /** Signed LEB128 of a 64-bit value. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    while (rest < -64n || rest > 63n) {
      this.u8(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.u8(Number(rest & 0x7fn));
  }

  append(data: Uint8Array): void {
    this.#room(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  /** Brings what stands at and behind `at` in front of what stands before it. */
  turn(at: number): void {
    const { length } = this;
    const front = length - at;
    this.#room(front);
    this.bytes.copyWithin(front, 0, length);
    this.bytes.copyWithin(0, length, length + front);
    const { fixups } = this;
    for (let i = 0; i < fixups.length; i += 2) fixups[i]! += fixups[i]! < at ? front : -at;
  }

  /** A length-prefixed name, ASCII. */
  name(text: string): void {
    this.u32(text.length);
    for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i));
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

/** Reads what a ByteWriter has written. Whatever it could not have written there is refused with a RangeError. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new RangeError('the bytes end early');
    return byte;
  }

  /** Unsigned LEB128 of a value below 2^32: at most five bytes. */
  u32(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80 && value < 2 ** 32) return value;
    }
    throw new RangeError('an unsigned number is too large');
  }

  /** Signed LEB128 of a safe integer, which one of 32 bits is, too: at most eight bytes. */
  s53(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = this.u8();
      if (byte >= 0x80) value += (byte & 0x7f) * scale;
      else {
        // the last one has the sign
        value += (byte & 0x40 ? byte - 0x80 : byte) * scale;
        if (Number.isSafeInteger(value)) return value;
        break;
      }
    }
    throw new RangeError('a signed number is too large');
  }

  /** Not copied. */
  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('the bytes end early');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

/** Puts a 32-bit value over one that `s32Fixed` has written. */
export function putS32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = ((value >> (7 * i)) & 0x7f) | 0x80;
  bytes[at + 4] = (value >> 28) & 0x7f;
}

/** Puts a value below 2^14 over one that `u14Fixed` has written. */
export function putU14(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value & 0x7f) | 0x80;
  bytes[at + 1] = value >> 7;
}
