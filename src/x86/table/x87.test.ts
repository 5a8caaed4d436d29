/** The x87's corner of the opcode map: every ModRM byte decodes, or is undefined, as on the host's processor. */
import { afterAll, describe, expect, it } from 'vitest';
import { NATIVE_DATA, type NativeProcessor, openNative, SIGILL } from '../../../test/native/processor.ts';
import { loadRuntime } from '../../../test/native/runtime.ts';
import { Decoder } from '../decode/decode.ts';
import { opcodeTable } from './index.ts';
import { x87 } from './x87.ts';

const native = openNative();
const cpu = native as NativeProcessor;
const decoder = new Decoder(opcodeTable(), () => true);
const decode = (code: readonly number[]): string => {
  const insn = decoder.decode(Uint8Array.from(code), 0, code.length, 0, 2);
  return typeof insn === 'string' ? insn : insn.def.name;
};

describe('x87 opcodes', () => {
  it('every line names a function of the runtime', () => {
    const { exports } = loadRuntime();
    expect(x87.filter((def) => typeof exports[def.helper!] !== 'function').map((def) => def.helper)).toEqual(
      [],
    );
  });

  it('decode to the instructions of the manual', () => {
    expect(decode([0xd8, 0x03])).toBe('fadd');
    expect(decode([0xdc, 0xe9])).toBe('fsub'); // DC E8+i: ST(i) = ST(i) - ST(0)
    expect(decode([0xd8, 0xe9])).toBe('fsubr');
    expect(decode([0xde, 0xd9])).toBe('fcompp');
    expect(decode([0xdb, 0xe3])).toBe('fninit');
    expect(decode([0xdf, 0xe0])).toBe('fnstsw');
    expect(decode([0xd9, 0xfe])).toBe('fsin');
    expect(decode([0xdb, 0x2b])).toBe('fld');
    expect(decode([0x48, 0x0f, 0xae, 0x03])).toBe('fxsave');
    expect(decode([0x0f, 0x77])).toBe('emms');
  });
});

describe.skipIf(typeof native === 'string')('x87 opcodes on the host processor', () => {
  afterAll(() => cpu.close());

  it.each([0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf])(
    '%x is defined for the same ModRM bytes',
    (opcode) => {
      const wrong: string[] = [];
      for (let modrm = 0; modrm < 256; modrm++) {
        // Memory forms through [rbx] only.
        if (modrm < 0xc0 && (modrm & 0xc7) !== 3) continue;
        cpu.reset();
        cpu.input.words[3] = BigInt(NATIVE_DATA + 64);
        cpu.load([opcode, modrm]);
        const undefinedThere = cpu.run() === SIGILL;
        const name = decode([opcode, modrm]);
        if (undefinedThere !== (name === 'ud')) wrong.push(`${modrm.toString(16)}: ${name}`);
      }
      expect(wrong).toEqual([]);
    },
  );
});

it.runIf(typeof native === 'string')(`skipped here: ${typeof native === 'string' ? native : 'no'}`, () => {
  expect(native).toBeTypeOf('string');
});
