/**
 * The runtime's SSE arithmetic against the host's processor: result bits, MXCSR flags, and whether an unmasked
 * exception stops the instruction, for corner and random operands under random MXCSR. PARAVANE_FUZZ multiplies the work.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { floatPatterns, randomSource } from '../../test/native/operands.ts';
import { type NativeProcessor, openNative, RFLAGS_WORD, SIGFPE } from '../../test/native/processor.ts';
import { loadRuntime } from '../../test/native/runtime.ts';
import { MXCSR } from './layout.ts';

const native = openNative();
const cpu = native as NativeProcessor;
const ROUNDS = 3000 * Number(process.env.PARAVANE_FUZZ ?? 1);
const FX_MXCSR = 24;
const FX_XMM = 160;

interface Case {
  readonly name: string;
  /** Instruction with xmm0 as destination and xmm1 as source; or eax/rax as destination or source. */
  readonly code: readonly number[];
  readonly width: 32 | 64;
  readonly call: (a: bigint, b: bigint) => number | bigint;
  readonly result: 'xmm32' | 'xmm64' | 'mask' | 'eax' | 'rax' | 'flags';
  readonly source?: 'int32' | 'int64';
}

const runtime = loadRuntime();
const f = runtime.exports;
const i32 = (x: bigint): number => Number(BigInt.asIntN(32, x));
const cases: Case[] = [];

for (const [name, opcode] of [
  ['add', 0x58],
  ['mul', 0x59],
  ['sub', 0x5c],
  ['min', 0x5d],
  ['div', 0x5e],
  ['max', 0x5f],
] as const) {
  cases.push(
    {
      name: `${name}ss`,
      code: [0xf3, 0x0f, opcode, 0xc1],
      width: 32,
      result: 'xmm32',
      call: (a, b) => f[`sse_${name}32`](i32(a), i32(b)),
    },
    {
      name: `${name}sd`,
      code: [0xf2, 0x0f, opcode, 0xc1],
      width: 64,
      result: 'xmm64',
      call: (a, b) => f[`sse_${name}64`](a, b),
    },
  );
}
cases.push(
  {
    name: 'sqrtss',
    code: [0xf3, 0x0f, 0x51, 0xc1],
    width: 32,
    result: 'xmm32',
    call: (_a, b) => f.sse_sqrt32(i32(b)),
  },
  {
    name: 'sqrtsd',
    code: [0xf2, 0x0f, 0x51, 0xc1],
    width: 64,
    result: 'xmm64',
    call: (_a, b) => f.sse_sqrt64(b),
  },
  {
    name: 'cvtss2sd',
    code: [0xf3, 0x0f, 0x5a, 0xc1],
    width: 32,
    result: 'xmm64',
    call: (_a, b) => f.sse_cvt32to64(i32(b)),
  },
  {
    name: 'cvtsd2ss',
    code: [0xf2, 0x0f, 0x5a, 0xc1],
    width: 64,
    result: 'xmm32',
    call: (_a, b) => f.sse_cvt64to32(b),
  },
  {
    name: 'cvtsi2ss eax',
    code: [0xf3, 0x0f, 0x2a, 0xc0],
    width: 64,
    source: 'int32',
    result: 'xmm32',
    call: (_a, b) => f.sse_cvti32to32(i32(b)),
  },
  {
    name: 'cvtsi2sd eax',
    code: [0xf2, 0x0f, 0x2a, 0xc0],
    width: 64,
    source: 'int32',
    result: 'xmm64',
    call: (_a, b) => f.sse_cvti32to64(i32(b)),
  },
  {
    name: 'cvtsi2ss rax',
    code: [0xf3, 0x48, 0x0f, 0x2a, 0xc0],
    width: 64,
    source: 'int64',
    result: 'xmm32',
    call: (_a, b) => f.sse_cvti64to32(b),
  },
  {
    name: 'cvtsi2sd rax',
    code: [0xf2, 0x48, 0x0f, 0x2a, 0xc0],
    width: 64,
    source: 'int64',
    result: 'xmm64',
    call: (_a, b) => f.sse_cvti64to64(b),
  },
);
for (const [opcode, truncate] of [
  [0x2c, 1],
  [0x2d, 0],
] as const) {
  const t = truncate ? 't' : '';
  cases.push(
    {
      name: `cvt${t}ss2si eax`,
      code: [0xf3, 0x0f, opcode, 0xc1],
      width: 32,
      result: 'eax',
      call: (_a, b) => f.sse_cvt32toi32(i32(b), truncate),
    },
    {
      name: `cvt${t}ss2si rax`,
      code: [0xf3, 0x48, 0x0f, opcode, 0xc1],
      width: 32,
      result: 'rax',
      call: (_a, b) => f.sse_cvt32toi64(i32(b), truncate),
    },
    {
      name: `cvt${t}sd2si eax`,
      code: [0xf2, 0x0f, opcode, 0xc1],
      width: 64,
      result: 'eax',
      call: (_a, b) => f.sse_cvt64toi32(b, truncate),
    },
    {
      name: `cvt${t}sd2si rax`,
      code: [0xf2, 0x48, 0x0f, opcode, 0xc1],
      width: 64,
      result: 'rax',
      call: (_a, b) => f.sse_cvt64toi64(b, truncate),
    },
  );
}
for (let p = 0; p < 8; p++) {
  cases.push(
    {
      name: `cmpss ${p}`,
      code: [0xf3, 0x0f, 0xc2, 0xc1, p],
      width: 32,
      result: 'mask',
      call: (a, b) => f.sse_cmp32(i32(a), i32(b), p),
    },
    {
      name: `cmpsd ${p}`,
      code: [0xf2, 0x0f, 0xc2, 0xc1, p],
      width: 64,
      result: 'mask',
      call: (a, b) => f.sse_cmp64(a, b, p),
    },
  );
}
for (const [name, opcode, quiet] of [
  ['ucomi', 0x2e, 1],
  ['comi', 0x2f, 0],
] as const) {
  cases.push(
    {
      name: `${name}ss`,
      code: [0x0f, opcode, 0xc1],
      width: 32,
      result: 'flags',
      call: (a, b) => f.sse_comi32(i32(a), i32(b), quiet),
    },
    {
      name: `${name}sd`,
      code: [0x66, 0x0f, opcode, 0xc1],
      width: 64,
      result: 'flags',
      call: (a, b) => f.sse_comi64(a, b, quiet),
    },
  );
}
for (const imm of [0, 1, 2, 3, 4, 8, 9, 12]) {
  cases.push(
    {
      name: `roundss ${imm}`,
      code: [0x66, 0x0f, 0x3a, 0x0a, 0xc1, imm],
      width: 32,
      result: 'xmm32',
      call: (_a, b) => f.sse_round32(i32(b), imm),
    },
    {
      name: `roundsd ${imm}`,
      code: [0x66, 0x0f, 0x3a, 0x0b, 0xc1, imm],
      width: 64,
      result: 'xmm64',
      call: (_a, b) => f.sse_round64(b, imm),
    },
  );
}

const hex = (x: bigint): string => `0x${x.toString(16)}`;

describe.skipIf(typeof native === 'string')('SSE arithmetic equals the host processor', () => {
  afterAll(() => cpu.close());

  it.each(cases)('$name', (test) => {
    const random = randomSource(0x5eedn + BigInt(test.code[2] * 64 + test.code[0]));
    const patterns =
      test.width === 32 ? floatPatterns(8n, 23n, 1024, random) : floatPatterns(11n, 52n, 1024, random);
    const pick = (): bigint => {
      if (test.source)
        return (
          ((random() >> (random() & 63n)) * (random() & 1n ? 1n : 0xffff_ffff_ffff_ffffn)) &
          0xffff_ffff_ffff_ffffn
        );
      // Half of the time a corner, so that corners meet.
      const r = random();
      return patterns[Number((r >> 8n) % (r & 1n ? 176n : BigInt(patterns.length)))];
    };
    cpu.reset();
    cpu.load(test.code);
    const wrong: string[] = [];
    for (let round = 0; round < ROUNDS && wrong.length < 8; round++) {
      let a = pick();
      const b = pick();
      const r = random();
      if ((r & 7n) === 0n) a = b;
      // Mostly all masked; DAZ and FTZ a quarter of the time each, flags cleared.
      let mxcsr = 0x1f80 | (Number((r >> 3n) & 3n) << 13);
      if (((r >> 5n) & 3n) === 0n) mxcsr |= 0x40;
      if (((r >> 7n) & 3n) === 0n) mxcsr |= 0x8000;
      if (((r >> 9n) & 7n) === 0n) mxcsr = (mxcsr & ~0x1f80) | (Number((r >> 12n) & 63n) << 7);

      cpu.input.fx.setUint32(FX_MXCSR, mxcsr, true);
      cpu.input.fx.setBigUint64(FX_XMM, a, true);
      cpu.input.fx.setBigUint64(FX_XMM + 16, b, true);
      cpu.input.words[0] = b;
      const signal = cpu.run();
      const hostMxcsr = cpu.output.fx.getUint32(FX_MXCSR, true);
      let expected = 0n;
      if (test.result === 'xmm32') expected = BigInt(cpu.output.fx.getUint32(FX_XMM, true));
      else if (test.result === 'xmm64') expected = cpu.output.fx.getBigUint64(FX_XMM, true);
      else if (test.result === 'mask') expected = BigInt(cpu.output.fx.getUint32(FX_XMM, true) & 1);
      else if (test.result === 'eax') expected = cpu.output.words[0] & 0xffff_ffffn;
      else if (test.result === 'rax') expected = cpu.output.words[0];
      else expected = cpu.output.words[RFLAGS_WORD] & 0x8d5n;

      runtime.view.setUint32(MXCSR, mxcsr, true);
      const raw = BigInt(test.call(BigInt.asIntN(64, a), BigInt.asIntN(64, b)));
      const wide = test.result === 'xmm64' || test.result === 'rax';
      const ours = BigInt.asUintN(wide ? 64 : 32, raw);
      const ourMxcsr = runtime.view.getUint32(MXCSR, true);
      const pending = f.sse_pending() !== 0;
      if (pending !== (signal === SIGFPE) || ourMxcsr !== hostMxcsr || (signal === 0 && ours !== expected)) {
        wrong.push(
          `${hex(a)} ${hex(b)} mxcsr ${mxcsr.toString(16)}: host ${hex(expected)} ${hostMxcsr.toString(16)} signal ${signal}, ours ${hex(ours)} ${ourMxcsr.toString(16)} pending ${pending}`,
        );
      }
    }
    expect(wrong).toEqual([]);
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${typeof native === 'string' ? native : 'no'}`, () => {
  expect(native).toBeTypeOf('string');
});
