/**
 * FXSAVE, FXRSTOR, XSAVE(C), XRSTOR, LDMXCSR and the environment formats: against the host's processor where it can
 * run them, and against the manual's figures where it cannot (real mode, 16-bit formats, control register checks).
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { randomSource } from '../../test/native/operands.ts';
import { NATIVE_CODE, NATIVE_DATA, type NativeProcessor, openNative } from '../../test/native/processor.ts';
import { loadRuntime } from '../../test/native/runtime.ts';
import { OPERAND, prepareRuntime, setRecord } from '../../test/native/x87.ts';
import {
  CR0,
  CR4,
  EXC_ERROR,
  EXC_VECTOR,
  EXCEPTION,
  FCS,
  FCW,
  FDP,
  FDS,
  FIP,
  FOP,
  FSW,
  FTW,
  IN_REGION,
  MODE,
  MXCSR,
  RAM_BASE,
  RAX,
  RBX,
  RDX,
  REC_OPSIZE,
  REEXECUTE,
  X87,
  XCR0,
  XMM,
} from './layout.ts';

const native = openNative();
const cpu = native as NativeProcessor;
let ferr = 0;
const runtime = loadRuntime({ host_ferr: () => void ferr++ });
const { view, exports } = runtime;
const random = randomSource(0xf00dn);
const guest = new Uint8Array(view.buffer, RAM_BASE, 4096);
const guestView = new DataView(view.buffer, RAM_BASE, 4096);

beforeEach(() => {
  prepareRuntime(runtime);
  view.setBigUint64(RBX, BigInt(NATIVE_DATA + OPERAND), true);
  view.setUint32(CR4, 0x40600, true);
  view.setBigUint64(XCR0, 3n, true);
  view.setInt32(IN_REGION, 0, true);
});

const call = (helper: string, opsize = 8): number => {
  const rec = setRecord(runtime, [0x0f, 0xae, 0x03], true, opsize);
  view.setUint8(rec + REC_OPSIZE, opsize);
  return Number(exports[helper]!(rec));
};

/** A random FXSAVE image that FXRSTOR accepts. */
function randomImage(): Uint8Array {
  const image = new Uint8Array(512);
  const words = new DataView(image.buffer);
  for (let at = 0; at < 416; at += 8) words.setBigUint64(at, random(), true);
  words.setUint16(0, 0x40 | (Number(random()) & 0x1f3f), true);
  words.setUint16(2, Number(random() & 0x7f7fn), true);
  words.setUint8(5, 0);
  words.setUint16(6, Number(random() & 0x7ffn), true);
  words.setUint32(24, Number(random() & 0xffffn), true);
  words.setUint32(28, 0, true);
  for (let i = 0; i < 8; i++) for (let b = 10; b < 16; b++) image[32 + 16 * i + b] = 0;
  return image;
}

describe('saved states', () => {
  it('FXRSTOR then FXSAVE gives the image back, and nothing behind the registers is written', () => {
    for (let round = 0; round < 50; round++) {
      const image = randomImage();
      // Bits that depend on others: ES and B follow from the unmasked exceptions.
      const words = new DataView(image.buffer);
      const pending = words.getUint16(2, true) & ~words.getUint16(0, true) & 63;
      words.setUint16(2, (words.getUint16(2, true) & 0x7f7f) | (pending ? 0x8080 : 0), true);
      guest.set(image, OPERAND);
      expect(call('op_fxrstor')).toBe(0);
      guest.fill(0xee);
      expect(call('op_fxsave')).toBe(0);
      words.setUint32(28, 0xffff, true);
      expect(guest.slice(OPERAND, OPERAND + 416)).toEqual(image.slice(0, 416));
      expect(guest.slice(OPERAND + 416, OPERAND + 512)).toEqual(new Uint8Array(96).fill(0xee));
    }
  });

  it('32-bit FXSAVE keeps selectors beside 32-bit offsets, and eight XMM registers', () => {
    view.setInt32(MODE, 1 | 4 | 16 | 32, true);
    for (let seg = 0; seg < 6; seg++) {
      // Flat writable data, so that the limit checks pass.
      view.setUint32(1288 + 4 * seg, 0xffffffff, true);
      view.setUint32(1352 + 4 * seg, 0xc093, true);
    }
    view.setBigUint64(FIP, 0x1_8765_4321n, true);
    view.setBigUint64(FDP, 0x2_1234_5678n, true);
    view.setUint32(FCS, 0x23, true);
    view.setUint32(FDS, 0x2b, true);
    for (let i = 0; i < 256; i++) view.setUint8(XMM + i, i);
    guest.fill(0xee);
    expect(call('op_fxsave', 4)).toBe(0);
    expect(guestView.getUint32(OPERAND + 8, true)).toBe(0x8765_4321);
    expect(guestView.getUint16(OPERAND + 12, true)).toBe(0x23);
    expect(guestView.getUint32(OPERAND + 16, true)).toBe(0x1234_5678);
    expect(guestView.getUint16(OPERAND + 20, true)).toBe(0x2b);
    expect(guest[OPERAND + 160 + 127]).toBe(127);
    expect(guest[OPERAND + 160 + 128]).toBe(0xee);
  });

  it('refuses what the manual calls #GP, #NM and #UD, and re-executes in regions', () => {
    const expectFault = (status: number, vector: number, error: number): void => {
      expect(status).toBe(EXCEPTION);
      expect([view.getInt32(EXC_VECTOR, true), view.getInt32(EXC_ERROR, true)]).toEqual([vector, error]);
    };
    guest.set(randomImage(), OPERAND);
    view.setBigUint64(RBX, BigInt(NATIVE_DATA + OPERAND + 8), true);
    expectFault(call('op_fxsave'), 13, 0);
    expectFault(call('op_fxrstor'), 13, 0);
    view.setInt32(IN_REGION, 1, true);
    expect(call('op_fxrstor')).toBe(REEXECUTE);
    view.setInt32(IN_REGION, 0, true);
    view.setBigUint64(RBX, BigInt(NATIVE_DATA + OPERAND), true);
    guestView.setUint32(OPERAND + 24, 0x10000, true);
    expectFault(call('op_fxrstor'), 13, 0);
    expectFault(
      call('op_ldmxcsr') === 0
        ? (guestView.setUint32(OPERAND, 0x10000, true), call('op_ldmxcsr'))
        : EXCEPTION,
      13,
      0,
    );
    view.setUint32(CR0, 0x3b, true);
    for (const helper of [
      'op_fxsave',
      'op_fxrstor',
      'op_xsave',
      'op_xrstor',
      'op_ldmxcsr',
      'op_fld_m32',
      'op_fnstcw',
      'op_fwait',
    ])
      expectFault(call(helper), 7, -1);
    view.setUint32(CR0, 0x35, true);
    for (const helper of ['op_ldmxcsr', 'op_stmxcsr', 'op_emms', 'mmx_enter'])
      expectFault(call(helper), 6, -1);
    for (const helper of ['op_fxsave', 'op_fld_m32', 'op_fninit']) expectFault(call(helper), 7, -1);
    view.setUint32(FSW, 0, true);
    expect(call('op_fwait')).toBe(0);
    view.setUint32(CR0, 0x33, true);
    view.setUint32(CR4, 0x600, true);
    for (const helper of ['op_xsave', 'op_xrstor', 'op_xsavec']) expectFault(call(helper), 6, -1);
  });

  it('XSAVE writes the components asked for and keeps the other header bits', () => {
    guest.fill(0xee);
    guest.fill(0, OPERAND + 512, OPERAND + 576);
    view.setBigUint64(RAX, 1n, true);
    view.setBigUint64(RDX, 0n, true);
    guest[OPERAND + 512] = 2;
    expect(call('op_xsave')).toBe(0);
    expect(guestView.getBigUint64(OPERAND + 512, true)).toBe(3n);
    expect(guest[OPERAND + 24]).toBe(0xee);
    expect(guest[OPERAND + 160]).toBe(0xee);
    expect(guestView.getUint16(OPERAND, true)).toBe(view.getUint32(FCW, true));
    view.setBigUint64(XCR0, 1n, true);
    view.setBigUint64(RAX, 0xffff_ffffn, true);
    expect(call('op_xsave')).toBe(0);
    expect(guest[OPERAND + 160]).toBe(0xee);
  });

  it('XRSTOR puts components that are absent into their initial state, and checks the header', () => {
    view.setBigUint64(RAX, 3n, true);
    view.setBigUint64(RDX, 0n, true);
    const image = randomImage();
    guest.fill(0);
    guest.set(image, OPERAND);
    guestView.setBigUint64(OPERAND + 512, 2n, true);
    expect(call('op_xrstor')).toBe(0);
    expect(view.getUint32(FCW, true)).toBe(0x37f);
    expect(view.getUint32(FTW, true)).toBe(0xffff);
    expect(view.getBigUint64(X87 + 16, true)).toBe(0n);
    expect(view.getBigUint64(XMM + 40, true)).toBe(new DataView(image.buffer).getBigUint64(200, true));
    guestView.setBigUint64(OPERAND + 512, 1n, true);
    expect(call('op_xrstor')).toBe(0);
    expect(view.getBigUint64(XMM + 40, true)).toBe(0n);
    expect(view.getUint32(MXCSR, true)).toBe(new DataView(image.buffer).getUint32(24, true));
    // Compacted: MXCSR is initial when SSE is absent.
    guestView.setBigUint64(OPERAND + 520, (1n << 63n) | 3n, true);
    expect(call('op_xrstor')).toBe(0);
    expect(view.getUint32(MXCSR, true)).toBe(0x1f80);
    for (const [at, value] of [
      [512, 4n],
      [520, (1n << 63n) | 2n],
      [520, 3n],
      [520, (1n << 63n) | 7n],
      [528, 1n],
      [568, 1n],
    ] as const) {
      const before = guestView.getBigUint64(OPERAND + at, true);
      guestView.setBigUint64(OPERAND + at, value, true);
      expect(call('op_xrstor')).toBe(EXCEPTION);
      expect(view.getInt32(EXC_VECTOR, true)).toBe(13);
      guestView.setBigUint64(OPERAND + at, before, true);
    }
  });

  it('XSAVEC leaves out what is in its initial state, and XRSTOR reads it back', () => {
    view.setBigUint64(RAX, 3n, true);
    view.setBigUint64(RDX, 0n, true);
    for (let i = 0; i < 256; i++) view.setUint8(XMM + i, 0);
    view.setUint32(MXCSR, 0x1f80, true);
    guest.fill(0xee);
    expect(call('op_xsavec')).toBe(0);
    expect(guestView.getBigUint64(OPERAND + 512, true)).toBe(1n);
    expect(guestView.getBigUint64(OPERAND + 520, true)).toBe((1n << 63n) | 3n);
    expect(guest[OPERAND + 160]).toBe(0xee);
    view.setUint8(XMM + 5, 9);
    expect(call('op_xsavec')).toBe(0);
    expect(guestView.getBigUint64(OPERAND + 512, true)).toBe(3n);
    view.setUint8(XMM + 5, 0);
    expect(call('op_xrstor')).toBe(0);
    expect(view.getUint8(XMM + 5)).toBe(9);
  });
});

describe('x87 environments', () => {
  const setPointers = (): void => {
    view.setUint32(FCW, 0x37f, true);
    view.setUint32(FSW, 0x3800, true);
    view.setUint32(FTW, 0xffff, true);
    view.setBigUint64(FIP, 0x4321n, true);
    view.setUint32(FCS, 0x1000, true);
    view.setBigUint64(FDP, 0x8765n, true);
    view.setUint32(FDS, 0x2000, true);
    view.setUint32(FOP, 0x5d5, true);
  };
  const realMode = (): void => {
    view.setInt32(MODE, 0, true);
    view.setUint32(CR0, 0x32, true);
    for (let seg = 0; seg < 6; seg++) {
      view.setUint32(1288 + 4 * seg, 0xffffffff, true);
      view.setUint32(1352 + 4 * seg, 0x93, true);
    }
  };
  const words = (count: number, size: number): number[] =>
    Array.from({ length: count }, (_, i) =>
      size === 2 ? guestView.getUint16(OPERAND + 2 * i, true) : guestView.getUint32(OPERAND + 4 * i, true),
    );

  it('16-bit real-mode format (SDM figure 8-12)', () => {
    realMode();
    setPointers();
    expect(call('op_fnstenv', 2)).toBe(0);
    expect(words(7, 2)).toEqual([0x37f, 0x3800, 0xffff, 0x4321, 0x15d5, 0x8765, 0x2000]);
  });

  it('32-bit real-mode format (figure 8-10)', () => {
    realMode();
    setPointers();
    expect(call('op_fnstenv', 4)).toBe(0);
    expect(words(7, 4).map((w) => w >>> 0)).toEqual([
      0xffff037f, 0xffff3800, 0xffffffff, 0xffff4321, 0x000015d5, 0xffff8765, 0x00002000,
    ]);
    view.setBigUint64(FIP, 0n, true);
    view.setUint32(FOP, 0, true);
    expect(call('op_fldenv', 4)).toBe(0);
    expect(view.getBigUint64(FIP, true)).toBe(0x14321n);
    expect(view.getUint32(FOP, true)).toBe(0x5d5);
  });

  it('16-bit protected-mode format (figure 8-11), there and back', () => {
    setPointers();
    expect(call('op_fnstenv', 2)).toBe(0);
    expect(words(7, 2)).toEqual([0x37f, 0x3800, 0xffff, 0x4321, 0x1000, 0x8765, 0x2000]);
    view.setUint32(FCS, 0, true);
    view.setBigUint64(FDP, 0n, true);
    expect(call('op_fldenv', 2)).toBe(0);
    expect([view.getUint32(FCS, true), Number(view.getBigUint64(FDP, true))]).toEqual([0x1000, 0x8765]);
  });

  it('FNSAVE leaves the x87 initialised, and FRSTOR brings everything back', () => {
    setPointers();
    view.setUint32(FTW, 0, true);
    for (let r = 0; r < 8; r++) {
      view.setBigUint64(X87 + 16 * r, 0x8000_0000_0000_0000n + BigInt(r), true);
      view.setBigUint64(X87 + 16 * r + 8, BigInt(0x3fff + r), true);
    }
    expect(call('op_fnsave', 4)).toBe(0);
    expect(guestView.getUint16(OPERAND + 28 + 8, true)).toBe(0x3fff + 7); // ST(0) is R7
    expect([view.getUint32(FCW, true), view.getUint32(FSW, true), view.getUint32(FTW, true)]).toEqual([
      0x37f, 0, 0xffff,
    ]);
    for (let r = 0; r < 8; r++) view.setBigUint64(X87 + 16 * r, 0n, true);
    expect(call('op_frstor', 4)).toBe(0);
    expect(view.getBigUint64(X87 + 16 * 3, true)).toBe(0x8000_0000_0000_0003n);
    expect(view.getUint32(FSW, true)).toBe(0x3800);
    expect(view.getUint32(FTW, true)).toBe(0);
  });

  it('raises #MF at the next waiting instruction, or FERR# while CR0.NE is clear', () => {
    view.setUint32(FCW, 0x37e, true);
    view.setUint32(FSW, 0x8081, true);
    view.setUint32(FTW, 0xffff, true);
    for (const helper of ['op_fwait', 'op_fld1', 'op_fldcw', 'op_emms', 'mmx_enter']) {
      expect(call(helper)).toBe(EXCEPTION);
      expect(view.getInt32(EXC_VECTOR, true)).toBe(16);
    }
    for (const helper of ['op_fnstcw', 'op_fnstsw', 'op_fnop_control', 'op_fxsave'])
      expect(call(helper)).toBe(0);
    view.setUint32(CR0, 0x13, true);
    expect(call('op_fwait')).toBe(0);
    expect(ferr).toBe(1);
    expect(call('op_fnclex')).toBe(0);
    expect(view.getUint32(FSW, true)).toBe(0);
  });

  it('keeps the pointers of the last instruction, and the opcode of one that raises an unmasked exception', () => {
    setPointers();
    view.setUint32(FCW, 0x340, true);
    view.setUint32(FSW, 0, true);
    view.setUint32(FTW, 0xffff, true);
    const rec = setRecord(runtime, [0xd8, 0x03], true);
    expect(exports.op_fadd_m32!(rec)).toBe(0);
    expect(view.getBigUint64(FIP, true)).toBe(BigInt(NATIVE_CODE));
    expect(view.getBigUint64(FDP, true)).toBe(BigInt(NATIVE_DATA + OPERAND));
    expect(view.getUint32(FOP, true)).toBe(0x003);
    expect(view.getUint32(FSW, true)).toBe(0x80c1);
  });
});

describe.skipIf(typeof native === 'string')('saved states equal the host processor', () => {
  afterAll(() => cpu.close());

  it('FXRSTOR64 and FXSAVE64', () => {
    for (let round = 0; round < 300; round++) {
      const image = randomImage();
      cpu.reset();
      cpu.input.words[3] = BigInt(NATIVE_DATA + OPERAND);
      cpu.data.fill(0xee, 0, 1024);
      cpu.data.set(image, OPERAND);
      cpu.load([0x48, 0x0f, 0xae, 0x0b, 0x48, 0x0f, 0xae, 0x83, 0, 2, 0, 0]); // fxrstor64 [rbx]; fxsave64 [rbx+512]
      expect(cpu.run()).toBe(0);
      const host = cpu.data.slice(OPERAND + 512, OPERAND + 512 + 512);
      guest.fill(0xee, 0, 1024);
      guest.set(image, OPERAND);
      expect(call('op_fxrstor')).toBe(0);
      expect(call('op_fxsave')).toBe(0);
      const ours = guest.slice(OPERAND, OPERAND + 512);
      // Pointers are kept by some hosts only after an exception; the mask says what the host's MXCSR has.
      host.fill(0, 6, 24).fill(0, 28, 32).fill(0, 416);
      ours.fill(0, 6, 24).fill(0, 28, 32).fill(0, 416);
      expect(Buffer.from(ours).toString('hex')).toBe(Buffer.from(host).toString('hex'));
    }
  });

  it('XRSTOR accepts and refuses the same headers', () => {
    const headers: bigint[][] = [
      [0n],
      [1n],
      [2n],
      [3n],
      [3n, 1n],
      [3n, 0n, 1n],
      [1n << 62n],
      [3n, 0n, 0n, 0n, 1n],
    ];
    for (const header of headers) {
      const image = randomImage();
      cpu.reset();
      cpu.input.words[3] = BigInt(NATIVE_DATA + OPERAND);
      cpu.input.words[0] = 3n;
      cpu.data.fill(0, 0, 1024);
      cpu.data.set(image, OPERAND);
      const at = new DataView(cpu.data.buffer, cpu.data.byteOffset + OPERAND + 512, 64);
      for (const [i, word] of header.entries()) at.setBigUint64(8 * i, word, true);
      cpu.load([0x48, 0x0f, 0xae, 0x2b]); // xrstor64 [rbx]
      const signal = cpu.run();
      guest.set(cpu.data.subarray(0, 1024));
      view.setBigUint64(RAX, 3n, true);
      view.setBigUint64(RDX, 0n, true);
      const status = call('op_xrstor');
      expect([header, status]).toEqual([header, signal ? EXCEPTION : 0]);
      if (signal) {
        expect(cpu.stop().vector).toBe(13);
        continue;
      }
      for (let i = 0; i < 256; i += 8)
        expect(view.getBigUint64(XMM + i, true)).toBe(cpu.output.fx.getBigUint64(160 + i, true));
      expect(view.getUint32(MXCSR, true)).toBe(cpu.output.fx.getUint32(24, true));
      expect(view.getUint32(FCW, true)).toBe(cpu.output.fx.getUint16(0, true));
    }
  });
});

it.runIf(typeof native === 'string')(`skipped here: ${typeof native === 'string' ? native : 'no'}`, () => {
  expect(native).toBeTypeOf('string');
});
