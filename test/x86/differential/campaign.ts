/** Many random instructions in both tiers: the work behind the test and behind `npm run test:cpu`. */
import { readFileSync } from 'node:fs';
import { Decoder } from '../../../src/x86/decode/decode.ts';
import { opcodeTable } from '../../../src/x86/table/index.ts';
import { NATIVE_CODE, type NativeProcessor } from '../../native/processor.ts';
import { compareOnce, describeInput, fillData, prepare, RIP_TARGET, runHost } from './compare.ts';
import { aimRipRelative, comparable, encode, withPrefixes } from './generator.ts';
import { Guest } from './guest.ts';
import { Random } from './random.ts';

export interface Campaign {
  readonly instances: number;
  readonly forms: number;
  readonly failures: readonly string[];
}

/** Inputs for each encoding: translating is what costs. */
const INPUTS = 16;

/**
 * Compares at least `instances` executions in each of interpreter and translator.
 * @param only names of instructions to keep to
 * @param prefixes put more prefixes in front of each
 */
export function runCampaign(
  native: NativeProcessor,
  instances: number,
  seed: number,
  only: readonly string[] = [],
  maxFailures = 40,
  prefixes = false,
): Campaign {
  const features = new Set(
    /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '),
  );
  const forms = opcodeTable().defs.filter(
    (def) =>
      comparable(def, (feature) => features.has(feature)) && (only.length === 0 || only.includes(def.name)),
  );
  const guests = [
    ['interpreter', new Guest(Number.POSITIVE_INFINITY)],
    ['translator', new Guest(1)],
  ] as const;
  const random = new Random(seed);
  const decoder = new Decoder(opcodeTable(), (feature) => features.has(feature));
  const failures: string[] = [];
  const failed = new Set<string>();
  let done = 0;
  for (let turn = 0; done < instances && failures.length < maxFailures; turn++) {
    const def = forms[turn % forms.length]!;
    const plain = encode(def, random);
    const encoding = prefixes ? withPrefixes(plain, decoder, random) : plain;
    if (encoding === undefined) continue;
    // now and then so that the instruction crosses a page
    const offset = random.chance(5) ? 4096 - 1 - random.below(encoding.bytes.length) : 0;
    const code = aimRipRelative(encoding, NATIVE_CODE + offset, RIP_TARGET);
    native.load(code, offset);
    for (const [, guest] of guests) guest.load(code, offset);
    for (let i = 0; i < INPUTS; i++) {
      prepare(native, encoding, random);
      fillData(native, random);
      const host = runHost(native, offset);
      for (const [tier, guest] of guests) {
        const difference = compareOnce(native, host, guest, encoding, offset);
        const key = `${tier} ${def.name} ${difference?.replace(/[0-9a-f]+/g, '')}`;
        if (difference !== undefined && !failed.has(key)) {
          failed.add(key);
          failures.push(`${tier}: ${difference}\n    ${describeInput(native, encoding)}`);
        }
      }
      done++;
    }
  }
  return { instances: done, forms: forms.length, failures };
}
