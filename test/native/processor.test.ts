import { afterAll, describe, expect, it } from 'vitest';
import {
  AREA_BYTES,
  FLAT_SELECTORS,
  NATIVE_CODE,
  NATIVE_DATA,
  NativeProcessor,
  openNative,
  RFLAGS_WORD,
  RIP_WORD,
  SIGFPE,
  SIGILL,
  SIGSEGV,
} from './processor.ts';

const native = openNative();
const cpu = native as NativeProcessor;

describe.skipIf(typeof native === 'string')('the host processor as an oracle', () => {
  afterAll(() => cpu.close());

  it('passes all registers in and out', () => {
    cpu.reset();
    for (let i = 0; i < 16; i++) cpu.input.words[i] = 0x1111_1111_1111_1111n * BigInt(i) + 5n;
    for (let i = 0; i < 32; i++)
      cpu.input.fx.setBigUint64(
        160 + 8 * i,
        (BigInt(i) * 0x0123_4567_89ab_cdefn) & ~0n & 0xffff_ffff_ffff_ffffn,
        true,
      );
    const given = cpu.input.words.slice(0, 16);
    cpu.load([0x90]);
    expect(cpu.run()).toBe(0);
    expect(cpu.output.words.slice(0, 16)).toEqual(given);
    for (let i = 0; i < 512; i++) {
      if (i >= 160 && i < 416) expect(cpu.output.fx.getUint8(i)).toBe(cpu.input.fx.getUint8(i));
    }
  });

  it('gives the flags of an addition', () => {
    cpu.reset();
    cpu.input.words[0] = 0xffff_ffff_ffff_ffffn;
    cpu.input.words[3] = 1n;
    cpu.load([0x48, 0x01, 0xd8]); // add rax, rbx
    expect(cpu.run()).toBe(0);
    expect(cpu.output.words[0]).toBe(0n);
    expect(cpu.output.words[RFLAGS_WORD] & 0x8d5n).toBe(0x55n); // CF PF AF ZF
  });

  it('reports faults with vector, address and registers, and goes on afterwards', () => {
    for (let round = 0; round < 3; round++) {
      cpu.reset();
      cpu.input.words[3] = BigInt(NATIVE_DATA + AREA_BYTES);
      cpu.input.words[0] = 7n;
      cpu.load([0x90, 0x89, 0x03]); // nop; mov [rbx], eax
      expect(cpu.run()).toBe(SIGSEGV);
      expect(cpu.stop()).toMatchObject({ vector: 14, address: BigInt(NATIVE_DATA + AREA_BYTES) });
      expect(cpu.output.words[RIP_WORD]).toBe(BigInt(NATIVE_CODE + 1));
      expect(cpu.output.words[0]).toBe(7n);

      cpu.load([0x0f, 0x0b]); // ud2
      expect(cpu.run()).toBe(SIGILL);
      cpu.load([0xf7, 0xf1]); // div ecx
      expect(cpu.run()).toBe(SIGFPE);
      expect(cpu.stop().vector).toBe(0);

      cpu.reset();
      cpu.load([0x90]);
      expect(cpu.run()).toBe(0);
    }
  });

  it('runs 32-bit code in a flat segment, and reports its faults', () => {
    cpu.reset();
    cpu.input.words[0] = 0x99n;
    cpu.input.words[3] = BigInt(NATIVE_DATA + AREA_BYTES - 4);
    cpu.loadLegacy([0x40, 0x27, 0x89, 0x03], 32); // inc eax; daa; mov [ebx], eax
    expect(cpu.runLegacy(NATIVE_CODE, FLAT_SELECTORS)).toBe(0);
    expect(cpu.output.words[0]).toBe(0n);
    expect(cpu.output.words[RFLAGS_WORD] & 0x15n).toBe(0x15n); // CF PF AF
    cpu.input.words[3] += 2n;
    expect(cpu.runLegacy(NATIVE_CODE, FLAT_SELECTORS)).toBe(SIGSEGV);
    expect(cpu.stop()).toMatchObject({ vector: 14, address: BigInt(NATIVE_DATA + AREA_BYTES) });
    expect(cpu.output.words[RIP_WORD]).toBe(BigInt(NATIVE_CODE + 2));
  });

  it('runs 16-bit code in segments of its own', () => {
    cpu.reset();
    const cs = cpu.setSegment(1, { base: NATIVE_CODE, limit: 0xffff, bits: 16, kind: 'code' });
    const ds = cpu.setSegment(2, { base: NATIVE_DATA, limit: 0xff, bits: 16, kind: 'data' });
    const ss = cpu.setSegment(3, { base: NATIVE_DATA, limit: 0xffff, bits: 16, kind: 'data' });
    const selectors = { cs, ds, es: ds, ss };
    cpu.input.words[4] = 0x12340200n;
    cpu.input.words[0] = 0x11112222n;
    cpu.input.words[3] = 0xfen;
    cpu.loadLegacy([0x50, 0x89, 0x07], 16, 16); // push ax; mov [bx], ax
    expect(cpu.runLegacy(16, selectors)).toBe(0);
    expect(cpu.output.words[4]! & 0xffffffffn).toBe(0x123401fen);
    expect([...cpu.data.subarray(0x1fe, 0x200), ...cpu.data.subarray(0xfe, 0x100)]).toEqual([
      0x22, 0x22, 0x22, 0x22,
    ]);
    cpu.input.words[3] = 0xffn;
    expect(cpu.runLegacy(16, selectors)).toBe(SIGSEGV);
    expect(cpu.stop()).toMatchObject({ vector: 13, error: 0 });
    expect(cpu.output.words[RIP_WORD]).toBe(17n);
  });

  it('reports a fault whatever ESP is, of which a 16-bit stack uses half', () => {
    expect(cpu.signalStack).toBeGreaterThan(0xffff_ffffn);
    cpu.reset();
    const cs = cpu.setSegment(1, { base: NATIVE_CODE, limit: 0xffff, bits: 16, kind: 'code' });
    const ds = cpu.setSegment(2, { base: NATIVE_DATA, limit: 0xff, bits: 16, kind: 'data' });
    const ss = cpu.setSegment(3, { base: NATIVE_DATA, limit: 0xffff, bits: 16, kind: 'data' });
    cpu.input.words[3] = 0xffn;
    cpu.loadLegacy([0x89, 0x07], 16); // mov [bx], ax
    // The low half of an address in the stack that the fault is handled on is an address of something else.
    for (const esp of [cpu.signalStack + 0x400n, 0x400n, 0xffff_fff0n]) {
      cpu.input.words[4] = BigInt.asUintN(32, esp);
      expect(cpu.runLegacy(0, { cs, ds, es: ds, ss })).toBe(SIGSEGV);
      expect(cpu.stop()).toMatchObject({ vector: 13, error: 0 });
    }
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${typeof native === 'string' ? native : 'no'}`, () => {
  expect(native).toBeTypeOf('string');
});
