/** Kept regions as bytes: what goes in comes out, and what is no region is refused. See test/x86/kept.test.ts for their use. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CALLED } from '../../wasm/expr.ts';
import type { WrittenFunction } from '../../wasm/function.ts';
import { Block, shapeOf } from '../block.ts';
import type { CodeCache } from '../code-cache.ts';
import type { Insn } from '../decode/insn.ts';
import * as L from '../layout.ts';
import { decodeRegion, encodeRegion, fillRegion, type KeptRegion, placeRegion } from './kept-region.ts';
import type { RegionBlock, Selection } from './region.ts';
import { failedSymbol, failedValue, pageSymbol, REGION_SYMBOL, recordSymbol, valueOf } from './symbols.ts';

const PAGE = 4096;

interface Sample {
  readonly selection: Selection;
  readonly kind: { readonly scattered: boolean; readonly patient: boolean };
  readonly entries: ReadonlySet<number>;
  readonly written: WrittenFunction;
}

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 1, maxLength });

/** A place in the code, and what may stand there. */
const fixup = fc.tuple(
  fc.nat(),
  fc.oneof(
    fc.constant(CALLED),
    fc.constant(REGION_SYMBOL),
    fc.nat(7).map(pageSymbol),
    fc.tuple(fc.nat(23), fc.nat(63)).map(([block, number]) => recordSymbol(block, number)),
    fc
      .tuple(fc.nat(23), fc.nat(63), fc.nat(63))
      .map(([block, number, behind]) => failedSymbol(block, number, behind)),
  ),
);

const sample: fc.Arbitrary<Sample> = fc
  .record({
    mode: fc.nat(511),
    flags: fc.record({ scattered: fc.boolean(), patient: fc.boolean() }),
    home: fc.nat(2 ** 20),
    pages: fc.uniqueArray(fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), { maxLength: 7 }),
    blocks: fc.uniqueArray(
      fc.record({
        page: fc.nat(7),
        at: fc.nat(PAGE - 1),
        instructions: fc.integer({ min: 1, max: 64 }),
        code: bytes(40),
        entry: fc.boolean(),
      }),
      { minLength: 1, maxLength: 24, selector: ({ page, at }) => page * PAGE + at },
    ),
    hot: fc.nat(),
    body: fc.uint8Array({ minLength: 8, maxLength: 400 }),
    hints: fc.array(fc.nat(2000), { maxLength: 20 }),
    fixups: fc.array(fixup, { maxLength: 20 }),
  })
  .map(({ mode, flags, home, pages, blocks, hot, body, hints, fixups }) => {
    const numbers = [0, ...pages.filter((page) => page !== 0)];
    const entries = new Set<number>();
    const chosen = blocks.map(({ page, at, instructions, code, entry }, number): RegionBlock => {
      const first = numbers[page % numbers.length]! * PAGE;
      const nextPage = at + code.length > PAGE ? 7 : -1;
      const block = new Block(
        home * PAGE + at,
        mode,
        L.RECORDS + 4096 * number,
        shapeOf(instructions, code.length, 'continue', false),
        nextPage,
      );
      if (entry) entries.add(number);
      const insns = Array.from({ length: instructions }, () => ({}) as Insn);
      return { offset: first + at, page: first, insns, code, block, fallsTo: undefined };
    });
    const placed = fixups.map(([at, what]) => [at % (body.length - 5), what] as const);
    // the call's two bytes are its index in the module
    for (const [at, what] of placed)
      if (what === CALLED) {
        body[at] = 0x80 | (at % 100);
        body[at + 1] = 1;
      }
    return {
      selection: {
        hot: chosen[hot % chosen.length]!.block,
        linear: 0n,
        blocks: chosen,
        instructions: blocks.reduce((sum, { instructions }) => sum + instructions, 0),
        pages: new Map(numbers.map((number, i) => [number * PAGE, home + i])),
        sites: [],
        expected: new Map(),
      },
      kind: flags,
      entries,
      written: { body, hints: hints.sort((a, b) => a - b), fixups: placed.flat() },
    };
  });

/** Names have numbers that are not the indices. */
const nameOf = (index: number): number => 3 * index + 1;

const encode = ({ selection, kind, entries, written }: Sample): Uint8Array =>
  encodeRegion(selection, kind, entries, written, nameOf);

/** A cache that takes everything for code that is there. */
const credulous = {
  keepsAlone: () => false,
  guestCode: { holds: () => true },
  block: (physical: number, mode: number) =>
    new Block(physical, mode, L.RECORDS, shapeOf(1, 1, 'continue', false), -1),
} as unknown as CodeCache;

/** Decoded and placed: undefined when that is refused; anything but a RangeError of `decodeRegion` is let through. */
function take(damaged: Uint8Array, hot: Block): KeptRegion | undefined {
  let kept: KeptRegion;
  try {
    kept = decodeRegion(damaged);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  placeRegion(kept, credulous, hot, 0xffff_8000_0000_0000n, (distance) => Number(BigInt(distance) & 0xffn));
  const place = { index: 5, pages: [1], blocks: [{ address: L.RECORDS }] };
  try {
    fillRegion(kept.written, place, (name) => name % 100);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return kept;
}

describe('a region as bytes', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(sample, (one) => {
        const { selection, kind, entries, written } = one;
        const { body } = written;
        const kept = decodeRegion(encode(one));
        expect(kept.mode).toBe(selection.hot.mode);
        expect(selection.blocks[kept.hot]!.block).toBe(selection.hot);
        expect({ scattered: kept.scattered, patient: kept.patient }).toEqual(kind);
        expect(kept.pages).toEqual([...selection.pages.keys()]);
        expect(kept.blocks).toEqual(
          selection.blocks.map(({ offset, block, code }) => ({
            offset,
            shape: block.shape,
            code,
          })),
        );
        expect(kept.entries).toEqual(entries);
        expect(kept.instructions).toBe(selection.blocks.reduce((sum, { insns }) => sum + insns.length, 0));
        expect(kept.written.body).toEqual(body);
        expect(kept.written.hints).toEqual(written.hints);
        // calls by the number of the name, all else as it was
        expect(kept.written.fixups).toEqual(
          written.fixups.map((value, i) =>
            i % 2 === 1 && value === CALLED
              ? CALLED -
                nameOf((body[written.fixups[i - 1]!]! & 0x7f) | (body[written.fixups[i - 1]! + 1]! << 7))
              : value,
          ),
        );
      }),
    );
  });

  it('is refused when it ends early, wherever that is', () => {
    fc.assert(
      fc.property(sample, (one) => {
        const whole = encode(one);
        for (let length = 0; length < whole.length; length++)
          expect(() => decodeRegion(whole.subarray(0, length))).toThrow(RangeError);
      }),
      { numRuns: 30 },
    );
  });

  it('is refused, or can still be dealt with, when it is damaged', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sample, damage, (one, places) => {
        const whole = encode(one);
        for (const [at, value] of places) whole[at % whole.length] = value;
        take(whole, one.selection.hot);
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused when it is anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (any) => {
        take(any, new Block(PAGE, any[0] ?? 0, L.RECORDS, shapeOf(1, 1, 'continue', false), -1));
      }),
      { numRuns: 1000 },
    );
  });

  it('takes no more memory for counts that nothing stands behind', () => {
    const huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    // mode, hot, flags, instructions, then a number of pages, or of blocks, or the length of a block's code
    for (const start of [[], [1, 0], [1, 0, 1, 0, 1, 0]])
      expect(() => decodeRegion(Uint8Array.of(2, 0, 0, 1, ...start, ...huge, 0))).toThrow(RangeError);
    // numbers that go on and on
    expect(() => decodeRegion(new Uint8Array(1000).fill(0xff))).toThrow(RangeError);
  });

  it('has its pages, and its symbols within its code', () => {
    const region = (page: number[], at: number[], what: number[]): Uint8Array =>
      // one block: offset 0, one instruction, an entry, a byte; a body of six bytes, no hints, one symbol
      Uint8Array.of(
        ...[2, 0, 0, 1, 1, ...page, 1, 0, 1, 1, 1, 0xf4],
        ...[6, 0, 0x41, 0, 0, 0, 0, 0, 2, ...at, ...what],
      );
    expect(decodeRegion(region([0], [1], [0])).written.fixups).toEqual([1, 0]);
    expect(decodeRegion(region([0], [4], [0x7e])).written.fixups).toEqual([4, -2]);
    expect(() => decodeRegion(region([1], [1], [0]))).toThrow('page');
    expect(() => decodeRegion(region([0], [2], [0]))).toThrow('symbol');
    expect(() => decodeRegion(region([0], [5], [0x7e]))).toThrow('symbol');
    expect(() => decodeRegion(region([0], [0x7f], [0]))).toThrow('symbol');
  });
});

describe('symbols', () => {
  const place = {
    index: 77,
    pages: [0x100, 0xf_ffff],
    blocks: [{ address: L.RECORDS }, { address: L.RECORDS + 0x1000 }],
  };

  it('stand for the slot, pages, records and what is noted of a failing instruction', () => {
    expect(valueOf(REGION_SYMBOL, place)).toBe(77);
    expect([0, 1].map((number) => valueOf(pageSymbol(number), place))).toEqual([0x100, 0xf_ffff]);
    for (const block of [0, 1])
      for (const number of [0, 1, 63]) {
        const record = place.blocks[block]!.address + L.BLOCK_HEADER + number * L.REC_BYTES;
        expect(valueOf(recordSymbol(block, number), place)).toBe(record);
        for (const behind of [0, 63])
          expect(valueOf(failedSymbol(block, number, behind), place)).toBe(failedValue(record, behind));
      }
  });

  it('of pages and blocks that are not there stand for nothing', () => {
    for (const symbol of [pageSymbol(2), recordSymbol(2, 0), failedSymbol(2, 0, 0)])
      expect(valueOf(symbol, place)).toBeUndefined();
  });

  it('are told apart', () => {
    const all = [REGION_SYMBOL, pageSymbol(0), pageSymbol(1)];
    for (const block of [0, 1, 23])
      for (const number of [0, 1, 63]) {
        all.push(recordSymbol(block, number));
        for (const behind of [0, 1, 63]) all.push(failedSymbol(block, number, behind));
      }
    expect(new Set(all).size).toBe(all.length);
  });
});
