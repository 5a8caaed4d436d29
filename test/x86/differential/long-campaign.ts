/** Many long random programs, each natively and in several of our processors, and all of the state compared. */
import { readFileSync } from 'node:fs';
import {
  AREA_BYTES,
  NATIVE_CODE,
  NATIVE_DATA,
  type NativeProcessor,
  RFLAGS_WORD,
  RIP_WORD,
} from '../../native/processor.ts';
import type { RegionStore } from '../../../src/core/translation-store.ts';
import { randomMxcsr, WINDOW, WINDOW_BYTES } from './compare.ts';
import { Guest } from './guest.ts';
import { LongProgramGenerator, READ_ONLY_PAGE } from './long-programs.ts';
import { compare, describe } from './program-campaign.ts';
import { STACK_AT } from './programs.ts';
import { Random } from './random.ts';

export interface LongCampaign {
  /** Runs of a program in one of our processors, each compared. */
  readonly instances: number;
  readonly programs: number;
  /** How many runs ended by a fault. */
  readonly faults: number;
  /** Programs that store over themselves. */
  readonly modifying: number;
  /** Instructions that our processors executed. */
  readonly instructions: number;
  readonly regionRuns: number;
  /** Regions that our processors made, and those among them that they had from others. */
  readonly regions: number;
  readonly regionsUsedAgain: number;
  readonly failures: readonly string[];
}

/** Parts of the data area that programs reach. */
const AREAS = [
  [WINDOW - 512, 512 + WINDOW_BYTES + 512],
  [0x3000 - 256, 512],
  [STACK_AT - 768, 1024],
  [4096 * READ_ONLY_PAGE - 512, 1024],
  [AREA_BYTES - 512, 512],
] as const;
const FLAGS = 0xcd5n;
const MOST_INSTRUCTIONS = 3_000_000;
const MOST_BYTES = 0xb000;

type Players = readonly (readonly [string, Guest])[];

/** Our processors, each with its own troubles; with a store, those that translate, which have it in common. */
function makePlayers(seed: number, store: RegionStore | undefined): Players {
  const base = { most: MOST_INSTRUCTIONS, readOnlyPage: READ_ONLY_PAGE, store } as const;
  const trouble = (n: number) => ({ ...base, random: new Random(seed + n), moves: true, shakes: true });
  const translators: Players = [
    ['translator', new Guest(1, 100_000, base)],
    ['translator, interrupted', new Guest(1, 300, { ...trouble(1), interrupts: true })],
    ['translator, hot in the middle', new Guest(6, 97, trouble(2))],
  ];
  if (store !== undefined) return [...translators, ['translator, hot late', new Guest(200, 97, trouble(4))]];
  return [
    ['interpreter', new Guest(Number.POSITIVE_INFINITY, 100_000, base)],
    ...translators,
    [
      'interpreter, interrupted',
      new Guest(Number.POSITIVE_INFINITY, 200, { ...trouble(3), interrupts: true }),
    ],
  ];
}

/**
 * @param inputs runs of each program, with other data each time
 * @param only the program with this number, alone: to look into a failure
 * @param store what our processors hand on to each other, and to those of another campaign
 */
export function runLongPrograms(
  native: NativeProcessor,
  instances: number,
  seed: number,
  inputs = 6,
  only: number | undefined = undefined,
  maxFailures = 8,
  store: RegionStore | undefined = undefined,
): LongCampaign {
  const features = new Set(
    /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '),
  );
  const players = makePlayers(seed, store);
  const failures: string[] = [];
  let done = 0;
  let programs = 0;
  let faults = 0;
  let modifying = 0;
  native.data.fill(0);
  const fixed = new Random(seed);
  for (let i = 0; i < 4096; i++) native.data[4096 * READ_ONLY_PAGE + i] = fixed.below(256);
  for (const [, player] of players) player.data.set(native.data);
  native.protectPage(READ_ONLY_PAGE, false);
  try {
    for (let number = 0; done < instances && failures.length < maxFailures; number++) {
      if (only !== undefined && number < only) number = only;
      if (only !== undefined && number > only) break;
      // each program has a seed of its own, so that it can be made again alone
      const random = new Random(seed * 65537 + number * 2654435761);
      const generator = generatorFor(random, features);
      const offset = random.chance(50) ? 4096 - random.below(200) : random.below(4096);
      const { code, modifies } = generator.program(NATIVE_CODE + offset, MOST_BYTES);
      native.load(code, offset);
      for (const [, player] of players) player.load(code, offset);
      const image = Uint8Array.from(code);
      programs++;
      if (modifies) modifying++;
      for (let i = 0; i < inputs; i++) {
        // what the program wrote into its scratch bytes is undone, too
        if (i > 0) {
          native.code.set(image, offset);
          for (const [, player] of players) player.reload(image, offset);
        }
        prepare(native, random);
        const before = AREAS.map(([start, length]) => native.data.slice(start, start + length));
        native.input.words[RIP_WORD] = BigInt(NATIVE_CODE + offset);
        const signal = native.run();
        if (signal !== 0) faults++;
        for (const [name, player] of players) {
          for (const [area, [start]] of AREAS.entries())
            if (start >> 12 !== READ_ONLY_PAGE) player.data.set(before[area]!, start);
          const difference =
            attempt(native, player, () => compare(native, signal, player, offset, FLAGS, AREAS)) ??
            compareCode(native, player, offset, code.length);
          done++;
          if (difference === undefined) continue;
          failures.push(
            `program ${number} of seed ${seed}, input ${i}, ${name}: ${difference}\n    ${describe(native, code, offset).slice(0, 4000)}`,
          );
        }
      }
    }
  } finally {
    native.protectPage(READ_ONLY_PAGE, true);
  }
  const total = (figure: string): number =>
    players.reduce((sum, [, { cpu }]) => sum + (cpu.stats()[figure] ?? 0), 0);
  return {
    instances: done,
    programs,
    faults,
    modifying,
    instructions: total('instructions'),
    regionRuns: total('regionRuns'),
    regions: total('regions'),
    regionsUsedAgain: total('regionsUsedAgain'),
    failures,
  };
}

function attempt(native: NativeProcessor, player: Guest, run: () => string | undefined): string | undefined {
  try {
    return run();
  } catch (error) {
    const { signal, address } = native.stop();
    const at = native.output.words[RIP_WORD]!.toString(16);
    const host = signal === 0 ? 'ended' : `signal ${signal} at ${at}, address ${address.toString(16)}`;
    return `${String(error)}; host: ${host}\n${player.cpu.describeRegisters()}`;
  }
}

let generators: { random: Random; generator: LongProgramGenerator } | undefined;

/** One generator for all programs (the tables take time), whose random numbers start anew for each. */
function generatorFor(random: Random, features: ReadonlySet<string>): LongProgramGenerator {
  if (generators === undefined) {
    const shared = new Random(1);
    generators = {
      random: shared,
      generator: new LongProgramGenerator(shared, (name) => features.has(name)),
    };
  }
  generators.random.restart(random.u32());
  return generators.generator;
}

function prepare(native: NativeProcessor, random: Random): void {
  native.reset();
  const { words, fx } = native.input;
  for (let i = 0; i < 16; i++) words[i] = random.interesting();
  words[RFLAGS_WORD] = (random.u64() & FLAGS & ~0x400n) | 0x202n;
  words[4] = BigInt(NATIVE_DATA + STACK_AT + 16 - 4 * random.below(8));
  for (let i = 0; i < 32; i++) fx.setBigUint64(160 + 8 * i, random.floating(), true);
  for (let i = 0; i < 8; i++) {
    fx.setBigUint64(32 + 16 * i, random.interesting(), true);
    fx.setUint16(40 + 16 * i, 0xffff, true);
  }
  const mxcsr = random.chance(70) ? 0x1fa0 : randomMxcsr(random);
  // sometimes exceptions of SSE are not masked
  fx.setUint32(24, random.chance(4) ? mxcsr & ~(random.below(64) << 7) & ~0x3f : mxcsr, true);
  const data = new DataView(native.data.buffer, native.data.byteOffset);
  for (const [start, length] of AREAS)
    if (start !== AREAS[2][0])
      for (let at = start; at < start + length; at += 8)
        if (at >> 12 !== READ_ONLY_PAGE) data.setBigUint64(at, random.floating(), true);
}

function compareCode(
  native: NativeProcessor,
  player: Guest,
  offset: number,
  length: number,
): string | undefined {
  for (let at = offset; at < offset + length; ) {
    const end = Math.min((at | 0xfff) + 1, offset + length);
    const ours = player.codePage(at);
    if (
      Buffer.compare(native.code.subarray(at, end), ours.subarray(at & 0xfff, ((end - 1) & 0xfff) + 1)) !== 0
    )
      while (native.code[at] === ours[at & 0xfff]) at++;
    else {
      at = end;
      continue;
    }
    const [host, mine] = [native.code[at], ours[at & 0xfff]];
    return `code at ${(NATIVE_CODE + at).toString(16)}: host ${host}, ours ${mine}`;
  }
  return undefined;
}
