/** String comparison of SSE4.2, MPSADBW, AES, PCLMULQDQ, SHA and masked moves: done by the runtime on vectors. */
import * as w from '../../wasm/ops.ts';
import type { Emitter, Semantics } from '../semantics/emitter.ts';
import type { RuntimeFunction } from '../semantics/runtime-functions.ts';
import { lane64 } from '../semantics/vector.ts';
import type { InsnDef } from './types.ts';

/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM */
const strings =
  (implicit: boolean, index: boolean): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    const a = e.tmp(e.readVector(dst!));
    const control = e.tmp(e.readAs(imm!, 1));
    // Lengths are 64 bits with REX.W, else 32.
    const length = (reg: number) => (e.insn.rexW ? e.gpr(reg, 8) : w.sext(e.gpr(reg, 4)));
    const result = e.tmp(
      e.rt('compareStrings', a, b, length(0), length(2), control, w.i32(implicit ? 1 : 0)),
    );
    if (index) e.setGpr(1, 4, e.rt('stringIndex', result, control));
    else e.setXmm(0, e.rt('stringMask', result, control));
    e.flagBits(w.shrU(result, 16));
  };

/** `dst = name(dst, src[, constant])` */
const call =
  (name: RuntimeFunction, ...constants: number[]): Semantics =>
  (e, dst, src) => {
    const b = e.tmp(e.readVector(src!));
    e.writeVector(dst!, e.rt(name, e.readVector(dst!), b, ...constants.map((n) => w.i32(n))));
  };
const callWithImmediate =
  (name: RuntimeFunction): Semantics =>
  (e, dst, src, imm) => {
    const b = e.tmp(e.readVector(src!));
    e.writeVector(dst!, e.rt(name, e.readVector(dst!), b, e.readAs(imm!, 1)));
  };

const carryless: Semantics = (e, dst, src, imm) => {
  const choose = e.constantImmediate(imm!);
  const b = e.tmp(e.readVector(src!));
  const a = e.readVector(dst!);
  e.writeVector(dst!, e.rt('carrylessMultiply', lane64(a, choose & 1), lane64(b, (choose >> 4) & 1)));
};

const inverseMix: Semantics = (e, dst, src) => {
  const x = e.tmp(e.readVector(src!));
  e.writeVector(dst!, e.rt('aesInverseMix', x));
};
const keyAssist: Semantics = (e, dst, src, imm) => {
  const x = e.tmp(e.readVector(src!));
  e.writeVector(dst!, e.rt('aesKeyAssist', x, e.readAs(imm!, 1)));
};
const sha256rounds: Semantics = (e, dst, src) => {
  const b = e.tmp(e.readVector(src!));
  e.writeVector(dst!, e.rt('sha256rnds2', e.readVector(dst!), b, e.xmm(0)));
};

/** MASKMOVDQU, MASKMOVQ: bytes whose mask has its top bit set, to DS:RDI. */
const maskedStore: Semantics = (e: Emitter, data, mask) => {
  const mmx = data!.kind === 'mmx';
  e.enterMmx();
  const halves = mmx ? 1 : 2;
  const size = e.insn.addrsize;
  const pointer = size === 8 ? e.gpr(7, 8) : w.zext(e.gpr(7, size));
  const seg = e.insn.segOverride < 0 ? 3 : e.insn.segOverride;
  for (let i = 0; i < halves * 8; i++) {
    const half = i >> 3;
    const shift = w.i64((i & 7) * 8);
    const bits = mmx ? e.read(mask!) : lane64(e.readVector(mask!), half);
    const value = mmx ? e.read(data!) : lane64(e.readVector(data!), half);
    e.f.if(w.wrap(w.and(w.shrU(bits, w.add(shift, w.i64(7))), w.i64(1))), () => {
      const va = e.linearOf(seg, w.add(pointer, w.i64(i)), 1, true);
      e.storeAt(va, 1, w.and(w.wrap(w.shrU(value, shift)), 0xff));
    });
  }
};

const IMM = ['imm'] as const;
/** The host that this was compared with (AMD family 1Ah) wants no alignment of the SHA instructions' operands. */
const UNALIGNED = ['unaligned'] as const;
const VW = 'Vdq Wdq';
const VWI = 'Vdq Wdq Ib';

export const sseSpecial: readonly InsnDef[] = [
  ...(
    [
      ['60', 'pcmpestrm', strings(false, false)],
      ['61', 'pcmpestri', strings(false, true)],
      ['62', 'pcmpistrm', strings(true, false)],
      ['63', 'pcmpistri', strings(true, true)],
    ] as const
  ).flatMap(([opcode, name, semantics]): InsnDef[] =>
    // REX.W changes the lengths: two forms
    ['', 'w1 '].map((w1) => ({
      op: `${w1}66 0f3a ${opcode}`,
      name,
      operands: VWI,
      semantics,
      feature: 'sse4_2',
      flags: ['unaligned'],
    })),
  ),
  {
    op: '66 0f3a 42',
    name: 'mpsadbw',
    operands: VWI,
    semantics: callWithImmediate('mpsadbw'),
    feature: 'sse4_1',
  },
  { op: '66 0f38 dc', name: 'aesenc', operands: VW, semantics: call('aesRound', 0), feature: 'aes' },
  { op: '66 0f38 dd', name: 'aesenclast', operands: VW, semantics: call('aesRound', 1), feature: 'aes' },
  { op: '66 0f38 de', name: 'aesdec', operands: VW, semantics: call('aesRound', 2), feature: 'aes' },
  { op: '66 0f38 df', name: 'aesdeclast', operands: VW, semantics: call('aesRound', 3), feature: 'aes' },
  { op: '66 0f38 db', name: 'aesimc', operands: VW, semantics: inverseMix, feature: 'aes' },
  { op: '66 0f3a df', name: 'aeskeygenassist', operands: VWI, semantics: keyAssist, feature: 'aes' },
  {
    op: '66 0f3a 44',
    name: 'pclmulqdq',
    operands: VWI,
    semantics: carryless,
    flags: IMM,
    feature: 'pclmulqdq',
  },
  {
    op: 'np 0f3a cc',
    name: 'sha1rnds4',
    operands: VWI,
    semantics: callWithImmediate('sha1rnds4'),
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  {
    op: 'np 0f38 c8',
    name: 'sha1nexte',
    operands: VW,
    semantics: call('sha1nexte'),
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  {
    op: 'np 0f38 c9',
    name: 'sha1msg1',
    operands: VW,
    semantics: call('sha1msg1'),
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  {
    op: 'np 0f38 ca',
    name: 'sha1msg2',
    operands: VW,
    semantics: call('sha1msg2'),
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  {
    op: 'np 0f38 cb',
    name: 'sha256rnds2',
    operands: VW,
    semantics: sha256rounds,
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  {
    op: 'np 0f38 cc',
    name: 'sha256msg1',
    operands: VW,
    semantics: call('sha256msg1'),
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  {
    op: 'np 0f38 cd',
    name: 'sha256msg2',
    operands: VW,
    semantics: call('sha256msg2'),
    feature: 'sha_ni',
    flags: UNALIGNED,
  },
  { op: '66 0f f7 reg', name: 'maskmovdqu', operands: 'Vdq Udq', semantics: maskedStore },
  { op: 'np 0f f7 reg', name: 'maskmovq', operands: 'Pq Nq', semantics: maskedStore },
];
