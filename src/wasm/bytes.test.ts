/** Numbers that are read again, and values that another use of the bytes replaces: the places that are noted are theirs, and hold any value. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, putS32, putU14 } from './bytes.ts';

const EXTREMES = [0, 1, -1, 63, 64, -64, -65, 2 ** 27, -(2 ** 27), 2 ** 28, 2 ** 31 - 1, -(2 ** 31)];

/** A module with a function `run` that gives the i32 whose five bytes stand here. */
function constantOf(encoded: Uint8Array): number {
  const body = [0, 0x41, ...encoded, 0x0b];
  const code = Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 5, 1, 0x60, 0, 1, 0x7f],
    ...[3, 2, 1, 0],
    ...[7, 7, 1, 3, 0x72, 0x75, 0x6e, 0, 0],
    ...[10, body.length + 2, 1, body.length, ...body],
  );
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
  return (exports['run'] as () => number)();
}

describe('values in a fixed number of bytes', () => {
  it.each(EXTREMES)('%i is read by V8 as it was written', (value) => {
    const out = new ByteWriter(2);
    out.s32Fixed(value, 7);
    expect(out.length).toBe(5);
    expect(constantOf(out.finish())).toBe(value);
    // and in the place of any other
    for (const before of EXTREMES) {
      const bytes = new ByteWriter();
      bytes.s32Fixed(before, 0);
      putS32(bytes.bytes, 0, value);
      expect(bytes.finish()).toEqual(out.finish());
    }
  });

  it('an unsigned value beyond 2^31 has the bits of the signed one', () => {
    const [one, other] = [new ByteWriter(), new ByteWriter()];
    one.s32Fixed(0xffff_f000, 0);
    other.s32Fixed(-4096, 0);
    expect(one.finish()).toEqual(other.finish());
  });

  it('an index below 2^14 takes two bytes', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 14 - 1), fc.nat(2 ** 14 - 1), (value, before) => {
        const out = new ByteWriter(1);
        out.u14Fixed(before, 0);
        putU14(out.bytes, 0, value);
        expect(out.length).toBe(2);
        expect((out.bytes[0]! & 0x7f) | (out.bytes[1]! << 7)).toBe(value);
        expect([out.bytes[0]! >= 0x80, out.bytes[1]! < 0x80]).toEqual([true, true]);
      }),
    );
  });
});

describe('places of values', () => {
  type Piece = { readonly byte: number } | { readonly symbol: number };
  const piece: fc.Arbitrary<Piece> = fc.oneof(
    fc.record({ byte: fc.nat(255) }),
    fc.record({ symbol: fc.nat(1000) }),
  );
  const write = (out: ByteWriter, pieces: readonly Piece[]): void => {
    for (const one of pieces)
      if ('byte' in one) out.u8(one.byte);
      else if (one.symbol % 2 === 0) out.s32Fixed(one.symbol, one.symbol);
      else out.u14Fixed(one.symbol, one.symbol);
  };
  /** Of each, by place: what it stands for. */
  const places = ({ fixups }: ByteWriter): ReadonlyMap<number, number> =>
    new Map(Array.from({ length: fixups.length / 2 }, (_, i) => [fixups[2 * i]!, fixups[2 * i + 1]!]));

  it('go along when what is behind is brought to the front', () => {
    fc.assert(
      fc.property(fc.array(piece), fc.array(piece), (behind, front) => {
        const turned = new ByteWriter(4);
        write(turned, behind);
        const at = turned.length;
        write(turned, front);
        turned.turn(at);
        const straight = new ByteWriter(4);
        write(straight, [...front, ...behind]);
        expect(turned.finish()).toEqual(straight.finish());
        expect(places(turned)).toEqual(places(straight));
      }),
    );
  });
});

describe('what is read', () => {
  const u32 = fc.oneof(fc.nat(200), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  const written = (write: (out: ByteWriter) => void): Uint8Array => {
    const out = new ByteWriter(1);
    write(out);
    return out.finish();
  };

  it('is what was written, one after the other', () => {
    fc.assert(
      fc.property(fc.nat(255), u32, fc.maxSafeInteger(), fc.integer(), fc.uint8Array(), (...all) => {
        const [byte, unsigned, safe, signed, more] = all;
        const bytes = written((out) => {
          out.u8(byte);
          out.u32(unsigned);
          out.s53(safe);
          out.s32(signed);
          out.append(more);
          out.u8(byte);
        });
        const r = new ByteReader(bytes);
        expect([r.u8(), r.u32(), r.s53(), r.s53(), r.take(more.length), r.u8()]).toEqual([...all, byte]);
        expect(() => r.u8()).toThrow('end early');
      }),
    );
  });

  it('reaches as far as the numbers do', () => {
    for (const value of [0, 127, 128, 2 ** 28, 2 ** 32 - 1])
      expect(new ByteReader(written((out) => out.u32(value))).u32()).toBe(value);
    for (const value of [...EXTREMES, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])
      expect(new ByteReader(written((out) => out.s53(value))).s53()).toBe(value);
  });

  it('is refused when it ends early', () => {
    for (const bytes of [[], [0x80], [0xff, 0xff, 0xff]]) {
      expect(() => new ByteReader(Uint8Array.from(bytes)).u32()).toThrow(RangeError);
      expect(() => new ByteReader(Uint8Array.from(bytes)).s53()).toThrow(RangeError);
    }
    const r = new ByteReader(new Uint8Array(3));
    expect(r.take(2)).toHaveLength(2);
    expect(() => r.take(2)).toThrow(RangeError);
  });

  it('is refused when it is too large, or goes on for too long', () => {
    const reader = (...bytes: number[]): ByteReader => new ByteReader(Uint8Array.from(bytes));
    const on = (count: number): number[] => Array.from({ length: count }, () => 0x80);
    expect(() => reader(...on(4), 0x10).u32()).toThrow('large');
    expect(() => reader(...on(5), 0).u32()).toThrow('large');
    expect(() => reader(...on(7), 0x10).s53()).toThrow('large');
    expect(() => reader(...on(7), 0x70).s53()).toThrow('large');
    expect(() => reader(...on(8), 0).s53()).toThrow('large');
  });
});
