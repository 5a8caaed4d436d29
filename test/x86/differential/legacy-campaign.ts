/**
 * Many random instructions in 16- and 32-bit code segments: flat as user programs have them, and in segments with
 * bases and limits, which the host takes from its local descriptor table.
 */
import { readFileSync } from 'node:fs';
import { opcodeTable } from '../../../src/x86/table/index.ts';
import {
  FLAT_SELECTORS,
  NATIVE_CODE,
  NATIVE_DATA,
  type NativeProcessor,
  type NativeSelectors,
  RFLAGS_WORD,
} from '../../native/processor.ts';
import type { Campaign } from './campaign.ts';
import {
  compareOnce,
  describeInput,
  fillData,
  limitBitIndex,
  randomMxcsr,
  runHost,
  WINDOW,
  WINDOW_BYTES,
} from './compare.ts';
import { LegacyGuest, type LegacySegments } from './legacy-guest.ts';
import {
  BIT_TESTS,
  CS,
  DS,
  encodeLegacy,
  ES,
  type LegacyEncoding,
  legacyComparable,
  SS,
  STRINGS,
} from './legacy-generator.ts';
import { Random } from './random.ts';

const FLAT = 0xffffffff;
const BASE = NATIVE_DATA;
/** A base that is not aligned to anything. */
const ODD_BASE = NATIVE_DATA - 0x1235;

export const LEGACY_MODES: Readonly<Record<string, LegacySegments>> = {
  'flat 32-bit': {
    code: { base: 0, limit: FLAT, bits: 32, kind: 'code' },
    data: { base: 0, limit: FLAT, bits: 32, kind: 'data' },
    stack: { base: 0, limit: FLAT, bits: 32, kind: 'data' },
  },
  '32-bit with limits': {
    code: { base: 0, limit: FLAT, bits: 32, kind: 'code' },
    data: { base: ODD_BASE, limit: 0x1235 + WINDOW + 400, bits: 32, kind: 'data' },
    stack: { base: BASE, limit: WINDOW + 300, bits: 32, kind: 'data' },
  },
  '32-bit, data expand-down, stack 16-bit': {
    code: { base: 0, limit: FLAT, bits: 32, kind: 'code' },
    data: { base: BASE, limit: WINDOW + 100, bits: 32, kind: 'expand-down' },
    stack: { base: BASE, limit: 0xffff, bits: 16, kind: 'data' },
  },
  '16-bit with limits': {
    code: { base: NATIVE_CODE, limit: 0xffff, bits: 16, kind: 'code' },
    data: { base: BASE, limit: WINDOW + 400, bits: 16, kind: 'data' },
    stack: { base: BASE, limit: 0xffff, bits: 16, kind: 'data' },
  },
  '16-bit, stack expand-down 32-bit': {
    code: { base: NATIVE_CODE, limit: 0xffff, bits: 16, kind: 'code' },
    data: { base: BASE, limit: WINDOW + 90, bits: 16, kind: 'expand-down' },
    stack: { base: BASE, limit: WINDOW + 20, bits: 32, kind: 'expand-down' },
  },
};

const INPUTS = 16;

/** Selectors for segments, put into the host's local descriptor table if need be. */
export function selectorsFor(
  native: NativeProcessor,
  { code, data, stack }: LegacySegments,
): NativeSelectors {
  if (data.limit === FLAT && stack.limit === FLAT) return FLAT_SELECTORS;
  const ds = native.setSegment(2, data);
  return { cs: native.setSegment(1, code), ds, es: ds, ss: native.setSegment(3, stack) };
}

export function runLegacyCampaign(
  native: NativeProcessor,
  segments: LegacySegments,
  instances: number,
  seed: number,
  only: readonly string[] = [],
  maxFailures = 40,
): Campaign {
  const features = new Set(
    /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '),
  );
  const forms = opcodeTable().defs.filter(
    (def) =>
      legacyComparable(def, (feature) => features.has(feature)) &&
      (only.length === 0 || only.includes(def.name)),
  );
  const { code, data, stack } = segments;
  const selectors = selectorsFor(native, segments);
  const guest = new LegacyGuest(segments);
  const random = new Random(seed);
  const baseOf = (segment: number): number =>
    segment === SS ? stack.base : segment === CS ? code.base : data.base;
  const target = (segment: number): number => NATIVE_DATA + WINDOW + 64 + random.below(320) - baseOf(segment);
  // reading code through CS would show what ends the run, which differs
  const overrides = code.base === 0 ? [ES, CS, SS, DS] : [ES, SS, DS];
  const failures: string[] = [];
  const failed = new Set<string>();
  let done = 0;
  for (let turn = 0; done < instances && failures.length < maxFailures; turn++) {
    const def = forms[turn % forms.length]!;
    const encoding = encodeLegacy(def, code.bits === 16 ? 0 : 1, overrides, target, random);
    // On a 16-bit stack ENTER changes BP alone (SDM volume 2, "ENTER"); AMD's change EBP with a 32-bit operand size.
    if (def.name === 'enter' && stack.bits === 16 && encoding.opsize === 4) continue;
    const offset = random.chance(5) ? 4096 - 1 - random.below(encoding.bytes.length) : 0;
    native.loadLegacy(encoding.bytes, code.bits, offset);
    guest.load(encoding.bytes, offset);
    const entry = NATIVE_CODE + offset - code.base;
    for (let i = 0; i < INPUTS; i++) {
      prepareLegacy(native, encoding, segments, baseOf, random);
      fillData(native, random);
      const host = runHost(native, offset, () => native.runLegacy(entry, selectors));
      const difference = compareOnce(native, host, guest, encoding, offset);
      const key = `${def.name} ${difference?.replace(/[0-9a-f]+/g, '')}`;
      if (difference !== undefined && !failed.has(key)) {
        failed.add(key);
        failures.push(`${difference}\n    ${describeInput(native, encoding)}`);
      }
      done++;
    }
  }
  return { instances: done, forms: forms.length, failures };
}

function prepareLegacy(
  native: NativeProcessor,
  encoding: LegacyEncoding,
  { data, stack }: LegacySegments,
  baseOf: (segment: number) => number,
  random: Random,
): void {
  native.reset();
  const { words, fx } = native.input;
  const { name } = encoding.def;
  const low32 = (value: bigint | number): bigint => BigInt.asUintN(32, BigInt(value));
  const string = STRINGS.has(name);
  for (let i = 0; i < 16; i++) words[i] = low32(random.interesting());
  words[RFLAGS_WORD] = (random.u64() & (string ? 0xcd5n : 0x8d5n)) | 0x202n;
  const stackOffset = (): bigint => {
    const offset =
      NATIVE_DATA - stack.base + WINDOW + 8 * random.below(16) + random.below(2) * random.below(64);
    // the upper half of ESP is nothing to a 16-bit stack
    return low32(stack.bits === 16 ? (random.u32() & ~0xffff) | (offset & 0xffff) : offset);
  };
  words[4] = stackOffset();
  if (name === 'enter' || name === 'leave') words[5] = stackOffset();
  for (let i = 0; i < 32; i++) fx.setBigUint64(160 + 8 * i, random.floating(), true);
  for (let i = 0; i < 8; i++) {
    fx.setBigUint64(32 + 16 * i, random.interesting(), true);
    fx.setUint16(40 + 16 * i, 0xffff, true);
  }
  fx.setUint32(24, random.chance(70) ? 0x1fa0 : randomMxcsr(random), true);

  const near = (segment: number): number =>
    (random.chance(2)
      ? NATIVE_DATA + 0x10000 - random.below(8)
      : NATIVE_DATA + WINDOW + 64 + random.below(WINDOW_BYTES - 192)) - baseOf(segment);
  /** A pointer register: with 16-bit addresses its upper half is nothing. */
  const pointer = (offset: number): bigint =>
    low32(encoding.addrsize === 2 ? (random.u32() & ~0xffff) | (offset & 0xffff) : offset);
  if (string) {
    words[6] = pointer(near(encoding.segment));
    words[7] = pointer(near(ES));
    if (encoding.repeated) words[1] = pointer(random.chance(10) ? 0 : random.below(40));
  }
  if (name.startsWith('maskmov'))
    words[7] = pointer(NATIVE_DATA + WINDOW + 128 + random.below(64) - data.base);
  if (name === 'xlat') words[3] = pointer(near(encoding.segment) - Number(words[0] & 0xffn));
  const { address } = encoding;
  if (address !== undefined && BIT_TESTS.test(name)) {
    limitBitIndex(encoding, words, random);
    for (let i = 0; i < 8; i++) words[i] = low32(words[i]!);
  }
  if (address === undefined || address.base < 0) return;
  const { base, index, scale, disp } = address;
  const alignment = random.chance(60) ? 16 : 1;
  let offset = near(encoding.segment);
  offset -= (offset + baseOf(encoding.segment)) % alignment;
  if (index >= 0 && index !== base) {
    const value = random.below(64) - 32;
    words[index] = pointer(value);
    offset -= value << scale;
  }
  words[base] = pointer(offset - disp);
}
