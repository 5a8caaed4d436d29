/** Lazy flags against a plain model that computes each flag from the operation itself. */
import { describe, expect, it } from 'vitest';
import { loadRuntime } from '../../test/native/runtime.ts';
import * as L from './layout.ts';

const { exports } = loadRuntime();
const flagsOf = exports.flagsOf as (op: number, dst: bigint, src: bigint, src2: bigint) => number;
const carryOf = exports.carryOf as (op: number, dst: bigint, src: bigint, src2: bigint) => number;
const condOf = exports.condOf as (cc: number, op: number, dst: bigint, src: bigint, src2: bigint) => number;

const CF = 1;
const PF = 4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

/** Corner values of an operand of `bits` bits, and a few without a pattern. */
function values(bits: number): bigint[] {
  const top = 1n << BigInt(bits - 1);
  const all = [0n, 1n, 2n, 7n, 8n, 15n, 16n, 0x55n, 0x80n, 0xffn, top - 1n, top, top + 1n, 2n * top - 2n];
  return [...new Set([...all, 2n * top - 1n, 0x9e3779b97f4a7c15n].map((v) => v & (2n * top - 1n)))];
}

function zsp(result: bigint, bits: number): number {
  let ones = 0;
  for (let i = 0n; i < 8n; i++) if ((result >> i) & 1n) ones++;
  return (result === 0n ? ZF : 0) | (ones % 2 === 0 ? PF : 0) | (result >> BigInt(bits - 1) ? SF : 0);
}

const signed = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value);

/** Flags of an addition or subtraction, from exact integers. */
function arithmetic(a: bigint, b: bigint, carry: bigint, bits: number, sub: boolean): number {
  const sign = sub ? -1n : 1n;
  const exact = a + sign * (b + carry);
  const result = BigInt.asUintN(bits, exact);
  const exactSigned = signed(a, bits) + sign * (signed(b, bits) + carry);
  const low = (a & 15n) + sign * ((b & 15n) + carry);
  return (
    zsp(result, bits) |
    (exact !== result ? CF : 0) |
    (low < 0n || low > 15n ? AF : 0) |
    (exactSigned !== signed(result, bits) ? OF : 0)
  );
}

describe.each([8, 16, 32, 64])('flags of %i-bit operations', (bits) => {
  const size = Math.log2(bits / 8);
  const mask = (1n << BigInt(bits)) - 1n;
  const all = values(bits);

  it('ADD, SUB, ADC, SBB', () => {
    for (const a of all)
      for (const b of all) {
        expect(flagsOf(L.CC_ADD + size, (a + b) & mask, b, 0n)).toBe(arithmetic(a, b, 0n, bits, false));
        expect(flagsOf(L.CC_SUB + size, a, b, 0n)).toBe(arithmetic(a, b, 0n, bits, true));
        for (const c of [0n, 1n]) {
          expect(flagsOf(L.CC_ADC + size, (a + b + c) & mask, b, c)).toBe(arithmetic(a, b, c, bits, false));
          expect(flagsOf(L.CC_SBB + size, a, b, c)).toBe(arithmetic(a, b, c, bits, true));
        }
      }
  });

  it('INC and DEC keep CF', () => {
    for (const a of all)
      for (const c of [0n, 1n]) {
        const keep = (flags: number): number => (flags & ~CF) | Number(c);
        expect(flagsOf(L.CC_INC + size, (a + 1n) & mask, 0n, c)).toBe(
          keep(arithmetic(a, 1n, 0n, bits, false)),
        );
        expect(flagsOf(L.CC_DEC + size, (a - 1n) & mask, 0n, c)).toBe(
          keep(arithmetic(a, 1n, 0n, bits, true)),
        );
      }
  });

  it('logic clears CF, OF and AF', () => {
    for (const a of all) expect(flagsOf(L.CC_LOGIC + size, a, 0n, 0n)).toBe(zsp(a, bits));
  });

  it('shifts: CF is the last bit shifted out, OF the change of the top bit', () => {
    for (const a of all)
      for (let count = 1; count < bits; count += 3) {
        const n = BigInt(count);
        const left = (a << n) & mask;
        const leftBefore = (a << (n - 1n)) & mask;
        const top = (v: bigint): number => Number(v >> BigInt(bits - 1));
        expect(flagsOf(L.CC_SHL + size, left, leftBefore, 0n)).toBe(
          zsp(left, bits) | top(leftBefore) | (top(leftBefore) === top(left) ? 0 : OF),
        );
        const right = a >> n;
        const before = a >> (n - 1n);
        expect(flagsOf(L.CC_SHR + size, right, before, 0n)).toBe(
          zsp(right, bits) | Number(before & 1n) | (top(before) === top(right) ? 0 : OF),
        );
      }
  });

  it('MUL: CF and OF tell that the high half is needed', () => {
    expect(flagsOf(L.CC_MUL + size, 3n, 0n, 0n) & (CF | OF)).toBe(0);
    expect(flagsOf(L.CC_MUL + size, 3n, 1n, 0n) & (CF | OF)).toBe(CF | OF);
  });

  it('carryOf agrees with flagsOf', () => {
    for (let kind = 0; kind <= L.CC_MUL; kind += 4)
      for (const a of all)
        for (const b of all)
          expect(carryOf(kind + size, a, b, b & 1n)).toBe(flagsOf(kind + size, a, b, b & 1n) & CF);
  });
});

describe('conditions', () => {
  it('are those of Jcc for every combination of flags', () => {
    for (let n = 0; n < 64; n++) {
      const flags = [CF, PF, AF, ZF, SF, OF].reduce((sum, bit, i) => sum | ((n >> i) & 1 ? bit : 0), 0);
      const has = (bit: number): boolean => (flags & bit) !== 0;
      const expected = [has(OF), has(CF), has(ZF), has(CF) || has(ZF), has(SF), has(PF)];
      expected.push(has(SF) !== has(OF), has(ZF) || has(SF) !== has(OF));
      for (const [i, taken] of expected.entries()) {
        expect(condOf(2 * i, L.CC_EFLAGS, 0n, BigInt(flags), 0n)).toBe(taken ? 1 : 0);
        expect(condOf(2 * i + 1, L.CC_EFLAGS, 0n, BigInt(flags), 0n)).toBe(taken ? 0 : 1);
      }
    }
  });
});
