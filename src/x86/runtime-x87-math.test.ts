/**
 * The x87's transcendental instructions against the host's processor: results within one unit of the 64-bit
 * significand, exception flags, C2, tags; special operands exactly. PARAVANE_FUZZ multiplies the work.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { floatPatterns, randomSource } from '../../test/native/operands.ts';
import { type NativeProcessor, openNative } from '../../test/native/processor.ts';
import { loadRuntime } from '../../test/native/runtime.ts';
import {
  machineCode,
  MEMORY_BYTES,
  prepareRuntime,
  runNative,
  runRuntime,
  setRecord,
  type X87State,
} from '../../test/native/x87.ts';
import { x87 } from './table/x87.ts';

const native = openNative();
const cpu = native as NativeProcessor;
const ROUNDS = 3000 * Number(process.env.PARAVANE_FUZZ ?? 1);
const runtime = loadRuntime();
prepareRuntime(runtime);
const random = randomSource(0x517n + BigInt(process.env.PARAVANE_SEED ?? 1));
const below = (n: number): number => Number(random() % BigInt(n));

const TOP = 1n << 63n;
type Extended = [bigint, number];
/** A number with an exponent from 2^low to 2^(high - 1), any sign. */
const between = (low: number, high: number): Extended => [
  (below(3) ? random() : random() & (-1n << BigInt(below(64)))) | TOP,
  (below(2) << 15) | (16383 + low + below(high - low)),
];
const corners: Extended[] = floatPatterns(15n, 63n, 0, random).map((bits) => {
  const se = Number(bits >> 63n);
  return [(bits & (TOP - 1n)) | ((se & 0x7fff) === 0 ? 0n : TOP), se];
});
const corner = (): Extended => [...corners[below(corners.length)]!];
const positive = ([sig, se]: Extended): Extended => [sig, se & 0x7fff];
/** Near one, from either side. */
const nearOne = (): Extended => [
  below(2)
    ? TOP | (random() >> BigInt(1 + below(63)))
    : (1n << 64n) - 1n - (random() >> BigInt(1 + below(63))),
  16383 - below(2),
];

/** Operands ST(0) and ST(1) in the range that the manuals promise something for. */
const operands: Record<string, () => [Extended, Extended]> = {
  fsin: () => [between(-70, below(2) ? 63 : 3), between(-5, 5)],
  fcos: () => [between(-70, below(2) ? 63 : 3), between(-5, 5)],
  fsincos: () => [between(-70, below(2) ? 63 : 3), between(-5, 5)],
  fptan: () => [between(-70, below(2) ? 63 : 3), between(-5, 5)],
  f2xm1: () => [between(-70, 0), between(-5, 5)],
  fyl2x: () => [below(2) ? positive(between(-300, 300)) : nearOne(), between(-100, 100)],
  fyl2xp1: () => [between(-70, -2), between(-100, 100)],
  fpatan: () => [between(-40, 40), between(-40, 40)],
};

/** Distance in units of the last place of the larger; -1 when the numbers cannot be compared so. */
function distance([a, ae]: Extended, [b, be]: Extended): bigint {
  if ((ae & 0x8000) !== (be & 0x8000)) return a === 0n && b === 0n ? 1n : -1n;
  const value = (sig: bigint, se: number): bigint => (BigInt(se & 0x7fff) << 63n) + (sig & (TOP - 1n));
  const d = value(a, ae) - value(b, be);
  return d < 0n ? -d : d;
}

const FSW_C1 = 0x200;
const lines = x87.filter((def) => def.name in operands);

describe.skipIf(typeof native === 'string')('x87 transcendental functions', () => {
  afterAll(() => cpu.close());

  it.each(lines.map((def) => [def.name, def] as const))('%s', (name, def) => {
    const code = machineCode(def, 0)!;
    const pushes = name === 'fsincos' || name === 'fptan';
    const pops = name === 'fyl2x' || name === 'fyl2xp1' || name === 'fpatan';
    const memory = new Uint8Array(MEMORY_BYTES);
    cpu.reset();
    cpu.load(code);
    const rec = setRecord(runtime, code, false);
    const wrong: string[] = [];
    let apart = 0;
    for (let round = 0; round < ROUNDS && wrong.length < 6; round++) {
      const [x, y] = operands[name]!();
      const special = below(4) === 0;
      const st: Extended[] = Array.from({ length: 8 }, () => [TOP, 16383]);
      st[0] = special && below(2) ? corner() : x;
      st[1] = special ? corner() : y;
      // Outside -1..1 F2XM1, and outside its range FYL2XP1, are undefined.
      const magnitude = st[0][1] & 0x7fff;
      if (name === 'f2xm1' && magnitude >= 16383 && magnitude < 0x7fff) st[0] = x;
      if (name === 'fyl2xp1' && magnitude >= 16381) st[0] = x;
      const state: X87State = {
        fcw: 0x37f & ~(below(6) ? 0 : below(64)),
        fsw: 0,
        used: below(32) ? (pushes ? 0x7f : 0xff) : below(256),
        st,
      };
      const host = runNative(cpu, state, memory, 0);
      const ours = runRuntime(runtime, def.helper!, rec, state, memory, 0);
      const found: string[] = [];
      if (host.vector !== ours.vector) found.push('vector');
      if ((host.fsw | FSW_C1) !== (ours.fsw | FSW_C1)) found.push('fsw');
      if (host.used !== ours.used) found.push('tags');
      for (let i = 0; i < 8; i++) {
        const d = distance(host.st[i]!, ours.st[i]!);
        const result = i === 0 || (i === 1 && pushes);
        const limit = result && (pops || i < 2) ? 1n : 0n;
        if (d < 0n || d > limit) found.push(`st${i}`);
        else if (d > 0n) apart++;
      }
      if (found.length > 0) {
        const text = (s: { fsw: number; used: number; st: Extended[] }): string =>
          `${s.fsw.toString(16)} used ${s.used.toString(16)} ${s.st
            .slice(0, 3)
            .map(([sig, se]) => `${se.toString(16)}:${sig.toString(16)}`)
            .join(' ')}`;
        wrong.push(
          `${found.join()} fcw ${state.fcw.toString(16)}\n from ${text(state)}\n host ${text(host)}\n ours ${text(ours)}`,
        );
      }
    }
    expect(wrong.join('\n')).toBe('');
    // Both are good to well under a unit: they must mostly agree to the last bit.
    expect(apart).toBeLessThan(ROUNDS / 8);
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${typeof native === 'string' ? native : 'no'}`, () => {
  expect(native).toBeTypeOf('string');
});
