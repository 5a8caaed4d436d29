/** Many random programs, each natively and in several of our processors, and all of the state compared at the end. */
import { readFileSync } from 'node:fs';
import * as L from '../../../src/x86/layout.ts';
import type { Processor } from '../../../src/x86/processor.ts';
import {
  AREA_BYTES,
  NATIVE_CODE,
  NATIVE_DATA,
  type NativeProcessor,
  RFLAGS_WORD,
  RIP_WORD,
} from '../../native/processor.ts';
import { randomMxcsr, WINDOW, WINDOW_BYTES } from './compare.ts';
import { Guest, type Subject } from './guest.ts';
import { LEGACY_MODES, selectorsFor } from './legacy-campaign.ts';
import { LegacyGuest, type LegacySegments } from './legacy-guest.ts';
import { ProgramGenerator, STACK_AT } from './programs.ts';
import { Random } from './random.ts';

export interface ProgramCampaign {
  readonly programs: number;
  /** How many of them ended by a fault. */
  readonly faults: number;
  /** Translated regions that ran. */
  readonly regionRuns: number;
  readonly failures: readonly string[];
}

/** Parts of the data area that programs reach and that are compared. */
const AREAS = [
  [WINDOW - 512, 512 + WINDOW_BYTES + 512],
  [STACK_AT - 512, 1024],
  [AREA_BYTES - 64, 64],
] as const;
/** 16-bit code and stack, flat data. */
const SEGMENTS16: LegacySegments = {
  code: { base: NATIVE_CODE, limit: 0xffff, bits: 16, kind: 'code' },
  data: { base: 0, limit: 0xffffffff, bits: 32, kind: 'data' },
  stack: { base: NATIVE_DATA, limit: 0xffff, bits: 16, kind: 'data' },
};
const FLAGS = 0xcd5n;
/** What is compared after a cut, which may stand between an instruction and the one that defines its flags. */
const DF = 0x400n;
const INPUTS = 2;

export interface Player extends Subject {
  readonly cpu: Processor;
  load(code: readonly number[], offset: number): void;
}

export function runPrograms(
  native: NativeProcessor,
  bits: 16 | 32 | 64,
  programs: number,
  seed: number,
  maxFailures = 10,
): ProgramCampaign {
  const features = new Set(
    /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '),
  );
  const random = new Random(seed);
  const generator = new ProgramGenerator(bits, random, (feature) => features.has(feature));
  const segments = bits === 16 ? SEGMENTS16 : LEGACY_MODES['flat 32-bit']!;
  const selectors = selectorsFor(native, segments);
  const players: readonly (readonly [string, Player])[] =
    bits !== 64
      ? [['interpreter', new LegacyGuest(segments)]]
      : [
          ['interpreter', new Guest(Number.POSITIVE_INFINITY)],
          ['translator', new Guest(1)],
          ['translator in small slices', new Guest(2, 11)],
        ];
  const failures: string[] = [];
  let done = 0;
  let faults = 0;
  while (done < programs && failures.length < maxFailures) {
    // now and then it runs into the unmapped page behind the data area
    const cut = bits !== 16 && random.chance(8);
    const offset = cut
      ? 2 * AREA_BYTES - 4 - random.below(40)
      : random.chance(50)
        ? 4096 - random.below(80)
        : random.below(64);
    const entry = bits === 16 ? offset : NATIVE_CODE + offset;
    let code = generator.program(entry);
    while (cut && offset + code.length <= 2 * AREA_BYTES) code = generator.program(entry);
    const load = (): void => {
      if (cut) native.data.set(code.slice(0, 2 * AREA_BYTES - offset), offset - AREA_BYTES);
      else if (bits === 64) native.load(code, offset);
      else native.loadLegacy(code, bits, offset);
      for (const [, player] of players) player.load(code, offset);
    };
    load();
    for (let i = 0; i < INPUTS; i++) {
      // strings may have been stored over it
      if (cut && i > 0) load();
      prepare(native, bits, random);
      const before = AREAS.map(([start, length]) => native.data.slice(start, start + length));
      native.input.words[RIP_WORD] = BigInt(NATIVE_CODE + offset);
      const signal = bits === 64 ? native.run() : native.runLegacy(entry, selectors);
      if (signal !== 0) faults++;
      for (const [name, player] of players) {
        for (const [area, [start]] of AREAS.entries()) player.data.set(before[area]!, start);
        const difference = compare(native, signal, player, offset, cut ? DF : FLAGS);
        if (difference !== undefined)
          failures.push(`${name}: ${difference}\n    ${describe(native, code, offset)}`);
      }
    }
    done++;
  }
  const regionRuns = players.reduce((total, [, { cpu }]) => total + cpu.stats().regionRuns!, 0);
  return { programs: done, faults, regionRuns, failures };
}

function prepare(native: NativeProcessor, bits: 16 | 32 | 64, random: Random): void {
  native.reset();
  const { words, fx } = native.input;
  for (let i = 0; i < 16; i++)
    words[i] = bits === 64 ? random.interesting() : BigInt.asUintN(32, random.interesting());
  words[RFLAGS_WORD] = (random.u64() & FLAGS) | 0x202n;
  words[4] = BigInt((bits === 16 ? 0 : NATIVE_DATA) + STACK_AT + 16 - 4 * random.below(8));
  for (let i = 0; i < 32; i++) fx.setBigUint64(160 + 8 * i, random.floating(), true);
  for (let i = 0; i < 8; i++) {
    fx.setBigUint64(32 + 16 * i, random.interesting(), true);
    fx.setUint16(40 + 16 * i, 0xffff, true);
  }
  fx.setUint32(24, random.chance(70) ? 0x1fa0 : randomMxcsr(random), true);
  const data = new DataView(native.data.buffer, native.data.byteOffset);
  for (let at = WINDOW; at < WINDOW + WINDOW_BYTES; at += 8) data.setBigUint64(at, random.floating(), true);
}

const hex = (value: bigint | number): string => value.toString(16);

/** Runs one of ours from the same input; undefined when all agrees, else what differs. */
export function compare(
  native: NativeProcessor,
  signal: number,
  player: Player,
  offset: number,
  compared: bigint,
  areas: readonly (readonly [start: number, length: number])[] = AREAS,
): string | undefined {
  const { input, output } = native;
  const ours = player.run(input.words, input.fx, offset);
  const theirs = native.stop();
  if (signal === 0 ? ours.vector !== -1 : ours.vector !== theirs.vector)
    return `exception: host ${signal === 0 ? 'none' : theirs.vector}, ours ${ours.vector}`;
  if (signal !== 0) {
    const rip = player.view.getBigUint64(L.RIP, true);
    if (rip !== output.words[RIP_WORD])
      return `RIP at exception ${ours.vector}: host ${hex(output.words[RIP_WORD]!)}, ours ${hex(rip)}`;
    if (theirs.vector === 14 && theirs.address !== ours.address)
      return `fault address: host ${hex(theirs.address)}, ours ${hex(ours.address)}`;
  }
  const mask = player.registers === 8 ? 0xffff_ffffn : 0xffff_ffff_ffff_ffffn;
  for (let i = 0; i < player.registers; i++) {
    const mine = player.view.getBigUint64(L.GPR + 8 * i, true) & mask;
    const host = output.words[i]! & mask;
    if (mine !== host) return `register ${i}: host ${hex(host)}, ours ${hex(mine)}`;
  }
  const flags = player.rflags & compared;
  const hostFlags = output.words[RFLAGS_WORD]! & compared;
  if (flags !== hostFlags) return `flags: host ${hex(hostFlags)}, ours ${hex(flags)}`;
  for (let i = 0; i < 2 * player.registers; i++) {
    const mine = player.view.getBigUint64(L.XMM + 8 * i, true);
    const host = output.fx.getBigUint64(160 + 8 * i, true);
    if (mine !== host) return `xmm${i >> 1}[${i & 1}]: host ${hex(host)}, ours ${hex(mine)}`;
  }
  for (let i = 0; i < 8; i++) {
    const mine = player.view.getBigUint64(L.X87 + 16 * i, true);
    const host = output.fx.getBigUint64(32 + 16 * i, true);
    if (mine !== host) return `mm${i}: host ${hex(host)}, ours ${hex(mine)}`;
  }
  const mxcsr = player.view.getUint32(L.MXCSR, true);
  const hostMxcsr = output.fx.getUint32(24, true);
  if (mxcsr !== hostMxcsr) return `mxcsr: host ${hex(hostMxcsr)}, ours ${hex(mxcsr)}`;
  for (const [start, length] of areas)
    for (let at = start; at < start + length; at++)
      if (player.data[at] !== native.data[at])
        return `memory ${hex(at)}: host ${hex(native.data[at]!)}, ours ${hex(player.data[at]!)}`;
  return undefined;
}

export function describe(native: NativeProcessor, code: readonly number[], offset: number): string {
  const bytes = code.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const words = Array.from(native.input.words.slice(0, 17), hex).join(' ');
  return `at ${hex(offset)}: ${bytes}\n    registers ${words}`;
}
