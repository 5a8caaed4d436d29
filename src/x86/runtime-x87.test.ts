/**
 * Every x87 line of the instruction table against the host's processor: registers, tags, control and status word,
 * flags, memory and #MF, from random states. PARAVANE_FUZZ multiplies the work, PARAVANE_SEED changes it.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { floatPatterns, randomSource } from '../../test/native/operands.ts';
import { type NativeProcessor, openNative } from '../../test/native/processor.ts';
import { loadRuntime } from '../../test/native/runtime.ts';
import {
  machineCode,
  MEMORY_BYTES,
  OPERAND,
  prepareRuntime,
  runNative,
  runRuntime,
  setRecord,
  type X87Result,
  type X87State,
} from '../../test/native/x87.ts';
import { x87 } from './table/x87.ts';

const native = openNative();
const cpu = native as NativeProcessor;
const ROUNDS = 1500 * Number(process.env.PARAVANE_FUZZ ?? 1);
const SEED = BigInt(process.env.PARAVANE_SEED ?? 1);
const runtime = loadRuntime();
prepareRuntime(runtime);

const TRANSCENDENTAL = new Set(['f2xm1', 'fyl2x', 'fptan', 'fpatan', 'fyl2xp1', 'fsincos', 'fsin', 'fcos']);

const random = randomSource(0x87n + SEED);
const below = (n: number): number => Number(random() % BigInt(n));
/** Half corners, half random, with true 80-bit oddities: an integer bit that should be set or clear. */
const extended: [bigint, number][] = floatPatterns(15n, 63n, 1500, random).map((bits) => {
  const se = Number(bits >> 63n);
  const integer = (se & 0x7fff) === 0 ? 0n : 1n;
  return [(bits & 0x7fff_ffff_ffff_ffffn) | (integer << 63n), se];
});
const singles = floatPatterns(8n, 23n, 500, random);
const doubles = floatPatterns(11n, 52n, 500, random);

function operand(): [bigint, number] {
  const [sig, se] = extended[random() & 1n ? below(176) : below(extended.length)]!;
  return below(24) === 0 ? [sig ^ (1n << 63n), se] : [sig, se];
}

/** A number of moderate size, where most instructions have something to do. */
function moderate(): [bigint, number] {
  const sig = random() | (1n << 63n);
  return [
    below(4) ? sig : sig & ~((1n << BigInt(below(63))) - 1n),
    (below(2) << 15) | (16383 - 8 + below(16)),
  ];
}

function randomState(): X87State {
  const calm = below(3) === 0;
  const st = Array.from({ length: 8 }, () => (calm ? moderate() : operand()));
  if (below(8) === 0) st[1] = [...st[0]!];
  const used = below(3) === 0 ? below(256) : below(2) ? 255 : 0;
  const top = below(8);
  const state: X87State = { fcw: 0x7f, fsw: top << 11, used, st };
  // Mostly a stack with ST(0) and ST(1) in use and room for a push.
  if (below(4)) state.used = (used | (3 << top) | ((3 << top) >> 8)) & ~(1 << ((top + 7) & 7)) & 255;
  state.fcw = 0x40 | (below(4) << 10) | ([0, 2, 3, 3, 3][below(5)]! << 8) | (below(4) ? 0x3f : below(64));
  state.fsw |= ((below(16) & 7) << 8) | (below(2) << 14);
  if (below(8) === 0) {
    state.fsw |= below(64) | (below(2) << 6);
    if (state.fsw & ~state.fcw & 63) state.fsw |= 0x8080;
  }
  return state;
}

function randomMemory(): Uint8Array {
  const memory = new Uint8Array(MEMORY_BYTES);
  const view = new DataView(memory.buffer);
  for (let i = 0; i < MEMORY_BYTES; i += 8) view.setBigUint64(i, random(), true);
  return memory;
}

/** An operand that suits the instruction: a float of its size, an integer, BCD, or an environment. */
function fillOperand(memory: Uint8Array, name: string, helper: string): void {
  const view = new DataView(memory.buffer, OPERAND);
  const put80 = (at: number): void => {
    const [sig, se] = operand();
    view.setBigUint64(at, sig, true);
    view.setUint16(at + 8, se, true);
  };
  if (helper.endsWith('_m80')) put80(0);
  else if (name === 'fbld') {
    for (let i = 0; i < 9; i++) memory[OPERAND + i] = (below(10) << 4) | below(10);
  } else if (name.startsWith('fi')) {
    const value = BigInt.asIntN(64, random()) >> BigInt(below(64));
    view.setBigInt64(0, value, true);
  } else if (helper.endsWith('_m32')) view.setUint32(0, Number(singles[below(singles.length)]), true);
  else if (helper.endsWith('_m64')) view.setBigUint64(0, doubles[below(doubles.length)]!, true);
  else if (name === 'fldenv' || name === 'frstor') {
    const state = randomState();
    view.setUint32(0, state.fcw, true);
    view.setUint32(4, state.fsw, true);
    for (let i = 0; i < 8; i++) put80(28 + 10 * i);
  }
}

/** Environments hold pointers, which the host need not keep: blanked in both. */
function blankPointers(memory: Uint8Array): void {
  memory.fill(0, OPERAND + 12, OPERAND + 26);
}

/** Who made the host's processor, by CPUID. */
function hostVendor(): string {
  cpu.reset();
  cpu.load([0x0f, 0xa2]);
  cpu.run();
  const bytes = new DataView(new ArrayBuffer(12));
  for (const [i, register] of [3, 2, 1].entries())
    bytes.setUint32(4 * i, Number(cpu.output.words[register]! & 0xffff_ffffn), true);
  return Buffer.from(bytes.buffer).toString('latin1');
}
/** AMD's processors are followed to the bit; what other makers leave undefined or do otherwise is not compared there. */
const exact = typeof native === 'string' || hostVendor() === 'AuthenticAMD';
const FSW_ES = 0x80;
const FSW_CODES = 0x4700;

const show = (s: X87Result): string =>
  `fcw ${s.fcw.toString(16)} fsw ${s.fsw.toString(16)} used ${s.used.toString(16)} vector ${s.vector} ax ${s.ax.toString(16)} flags ${s.flags.toString(16)} st ${s.st.map(([sig, se]) => `${se.toString(16)}:${sig.toString(16)}`).join(' ')} mem ${Buffer.from(s.memory.subarray(OPERAND, OPERAND + 16)).toString('hex')}`;

function differences(host: X87Result, ours: X87Result): string[] {
  const out: string[] = [];
  if (host.vector !== ours.vector) out.push('vector');
  if (host.fcw !== ours.fcw) out.push('fcw');
  if (host.fsw !== ours.fsw) out.push('fsw');
  if (host.used !== ours.used) out.push('tags');
  if (host.ax !== ours.ax) out.push('ax');
  if (host.flags !== ours.flags) out.push('flags');
  for (let i = 0; i < 8; i++) {
    const [hostSig, hostSe] = host.st[i]!;
    const [sig, se] = ours.st[i]!;
    if (hostSig !== sig || hostSe !== se) out.push(`st${i}`);
  }
  if (Buffer.compare(host.memory, ours.memory) !== 0) out.push('memory');
  return out;
}

const lines = x87.filter((def) => !TRANSCENDENTAL.has(def.name) && machineCode(def, 0) !== undefined);

describe.skipIf(typeof native === 'string')('x87 equals the host processor', () => {
  afterAll(() => cpu.close());

  it.each(lines.map((def) => [`${def.op} ${def.name}`, def] as const))('%s', (_title, def) => {
    const isMemory = def.op.endsWith('mem');
    const wrong: string[] = [];
    cpu.reset();
    for (let round = 0; round < ROUNDS && wrong.length < 6; round++) {
      const code = machineCode(def, below(8))!;
      const state = randomState();
      const remainder = def.name.startsWith('fprem');
      if (remainder && below(2)) {
        // Exponents not too far apart, so that the remainder is found at once.
        state.st[0]![1] = (state.st[1]![1] & 0x7fff) + below(70) - 3;
        if (state.st[0]![1] < 1 || state.st[0]![1] > 0x7ffe) state.st[0]![1] = 0x4000;
        state.st[0]![0] |= 1n << 63n;
      }
      const memory = randomMemory();
      if (isMemory) fillOperand(memory, def.name, def.helper!);
      const flags = below(256) & 0xd5;
      cpu.load(code);
      const host = runNative(cpu, state, memory, flags);
      const rec = setRecord(runtime, code, isMemory);
      const ours = runRuntime(runtime, def.helper!, rec, state, memory, flags);
      if (def.name === 'fnstenv' || def.name === 'fnsave') {
        blankPointers(host.memory);
        blankPointers(ours.memory);
      }
      if (!exact) {
        if (host.fsw & FSW_ES) continue;
        const codes = /com|fxam|ftst/.test(def.name) && !(host.fsw & 1) ? 0x200 : FSW_CODES;
        host.fsw |= codes;
        ours.fsw |= codes;
      }
      const found = differences(host, ours);
      if (found.length > 0) {
        const before = { ...state, vector: -1, ax: 0x5555, flags, memory };
        wrong.push(
          `${found.join()} [${code.map((b) => b.toString(16)).join(' ')}]\n from ${show(before)}\n host ${show(host)}\n ours ${show(ours)}`,
        );
      }
    }
    expect(wrong.join('\n')).toBe('');
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${typeof native === 'string' ? native : 'no'}`, () => {
  expect(native).toBeTypeOf('string');
});
