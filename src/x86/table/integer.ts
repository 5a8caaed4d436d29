/** The general-purpose instructions: encodings beside definitions. Intel SDM volume 2, opcode maps of appendix A. */
import * as bmi from '../semantics/bmi.ts';
import * as i from '../semantics/integer.ts';
import * as t from '../semantics/transfer.ts';
import type { InsnDef } from './types.ts';

const hex = (n: number): string => n.toString(16).padStart(2, '0');
const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
const LOCK = ['lock'] as const;

function aluForms(): InsnDef[] {
  return i.ALU.flatMap(({ name, writes }, n): InsnDef[] => {
    const semantics = i.alu(n);
    const flags = writes ? LOCK : [];
    const form = (op: string, operands: string): InsnDef => ({ op, name, operands, semantics, flags });
    const base = n * 8;
    return [
      form(hex(base), 'Eb Gb'),
      form(hex(base + 1), 'Ev Gv'),
      form(hex(base + 2), 'Gb Eb'),
      form(hex(base + 3), 'Gv Ev'),
      form(hex(base + 4), 'AL Ib'),
      form(hex(base + 5), 'rAX Iz'),
      form(`80 /${n}`, 'Eb Ib'),
      form(`81 /${n}`, 'Ev Iz'),
      { ...form(`82 /${n}`, 'Eb Ib'), flags: [...flags, 'i64'] },
      form(`83 /${n}`, 'Ev Ibs'),
    ];
  });
}

function shiftForms(): InsnDef[] {
  const kinds = [
    ['rol', i.rotate(true)],
    ['ror', i.rotate(false)],
    ['rcl', i.rotateThroughCarry(true)],
    ['rcr', i.rotateThroughCarry(false)],
    ['shl', i.shift('shl')],
    ['shr', i.shift('shr')],
    ['shl', i.shift('shl')],
    ['sar', i.shift('sar')],
  ] as const;
  return kinds.flatMap(([name, semantics], n) => [
    { op: `c0 /${n}`, name, operands: 'Eb Ib', semantics },
    { op: `c1 /${n}`, name, operands: 'Ev Ib', semantics },
    { op: `d0 /${n}`, name, operands: 'Eb 1', semantics },
    { op: `d1 /${n}`, name, operands: 'Ev 1', semantics },
    { op: `d2 /${n}`, name, operands: 'Eb CL', semantics },
    { op: `d3 /${n}`, name, operands: 'Ev CL', semantics },
  ]);
}

function conditionalForms(): InsnDef[] {
  return CONDITIONS.flatMap((suffix, cc): InsnDef[] => [
    { op: hex(0x70 + cc), name: `j${suffix}`, operands: 'Jb', semantics: t.jcc(cc), flags: ['end', 'f64'] },
    {
      op: `0f ${hex(0x80 + cc)}`,
      name: `j${suffix}`,
      operands: 'Jz',
      semantics: t.jcc(cc),
      flags: ['end', 'f64'],
    },
    { op: `0f ${hex(0x90 + cc)}`, name: `set${suffix}`, operands: 'Eb', semantics: t.setcc(cc) },
    { op: `0f ${hex(0x40 + cc)}`, name: `cmov${suffix}`, operands: 'Gv Ev', semantics: t.cmovcc(cc) },
  ]);
}

function bitTestForms(): InsnDef[] {
  return (['bt', 'bts', 'btr', 'btc'] as const).flatMap((name, n): InsnDef[] => {
    const semantics = i.bitTest(name);
    const flags = name === 'bt' ? [] : LOCK;
    return [
      { op: `0f ${hex(0xa3 + n * 8)}`, name, operands: 'Ev Gv', semantics, flags },
      { op: `0f ba /${n + 4}`, name, operands: 'Ev Ib', semantics, flags },
    ];
  });
}

const stackAndMoves: InsnDef[] = [
  { op: '50+', name: 'push', operands: 'Zv', semantics: t.push, flags: ['d64'] },
  { op: '58+', name: 'pop', operands: 'Zv', semantics: t.pop, flags: ['d64'] },
  { op: '68', name: 'push', operands: 'Iz', semantics: t.push, flags: ['d64'] },
  { op: '6a', name: 'push', operands: 'Ibs', semantics: t.push, flags: ['d64'] },
  { op: 'ff /6', name: 'push', operands: 'Ev', semantics: t.push, flags: ['d64'] },
  { op: '8f /0', name: 'pop', operands: 'Ev', semantics: t.pop, flags: ['d64'] },
  { op: '88', name: 'mov', operands: 'Eb Gb', semantics: t.mov },
  { op: '89', name: 'mov', operands: 'Ev Gv', semantics: t.mov },
  { op: '8a', name: 'mov', operands: 'Gb Eb', semantics: t.mov },
  { op: '8b', name: 'mov', operands: 'Gv Ev', semantics: t.mov },
  { op: 'a0', name: 'mov', operands: 'AL Ob', semantics: t.mov },
  { op: 'a1', name: 'mov', operands: 'rAX Ov', semantics: t.mov },
  { op: 'a2', name: 'mov', operands: 'Ob AL', semantics: t.mov },
  { op: 'a3', name: 'mov', operands: 'Ov rAX', semantics: t.mov },
  { op: 'b0+', name: 'mov', operands: 'Zb Ib', semantics: t.mov },
  { op: 'b8+', name: 'mov', operands: 'Zv Iv', semantics: t.mov },
  { op: 'c6 /0', name: 'mov', operands: 'Eb Ib', semantics: t.mov },
  { op: 'c7 /0', name: 'mov', operands: 'Ev Iz', semantics: t.mov },
  { op: 'np 0f c3 mem', name: 'movnti', operands: 'My Gy', semantics: t.mov },
  { op: '0f b6', name: 'movzx', operands: 'Gv Eb', semantics: t.movzx },
  { op: '0f b7', name: 'movzx', operands: 'Gv Ew', semantics: t.movzx },
  { op: '0f be', name: 'movsx', operands: 'Gv Eb', semantics: t.movsx },
  { op: '0f bf', name: 'movsx', operands: 'Gv Ew', semantics: t.movsx },
  { op: '63', name: 'movsxd', operands: 'Gv Ed', semantics: t.movsxd, flags: ['o64'] },
  { op: '8d mem', name: 'lea', operands: 'Gv M', semantics: t.lea },
  { op: '86', name: 'xchg', operands: 'Eb Gb', semantics: t.xchg, flags: LOCK },
  { op: '87', name: 'xchg', operands: 'Ev Gv', semantics: t.xchg, flags: LOCK },
  { op: 'b0 90', name: 'nop', operands: '', semantics: t.nop },
  { op: 'c9', name: 'leave', operands: '', semantics: t.leave, flags: ['d64'] },
  { op: '90+', name: 'xchg', operands: 'Zv rAX', semantics: t.xchg },
  { op: '0f c8+', name: 'bswap', operands: 'Zv', semantics: i.bswap },
  { op: '98', name: 'cbw', operands: '', semantics: t.extendAccumulator },
  { op: '99', name: 'cwd', operands: '', semantics: t.extendToD },
  { op: 'd7', name: 'xlat', operands: '', semantics: t.xlat },
];

const arithmetic: InsnDef[] = [
  { op: '84', name: 'test', operands: 'Eb Gb', semantics: i.test },
  { op: '85', name: 'test', operands: 'Ev Gv', semantics: i.test },
  { op: 'a8', name: 'test', operands: 'AL Ib', semantics: i.test },
  { op: 'a9', name: 'test', operands: 'rAX Iz', semantics: i.test },
  { op: 'f6 /0', name: 'test', operands: 'Eb Ib', semantics: i.test },
  { op: 'f6 /1', name: 'test', operands: 'Eb Ib', semantics: i.test },
  { op: 'f7 /0', name: 'test', operands: 'Ev Iz', semantics: i.test },
  { op: 'f7 /1', name: 'test', operands: 'Ev Iz', semantics: i.test },
  { op: '40+', name: 'inc', operands: 'Zv', semantics: i.inc, flags: ['i64'] },
  { op: '48+', name: 'dec', operands: 'Zv', semantics: i.dec, flags: ['i64'] },
  { op: 'fe /0', name: 'inc', operands: 'Eb', semantics: i.inc, flags: LOCK },
  { op: 'fe /1', name: 'dec', operands: 'Eb', semantics: i.dec, flags: LOCK },
  { op: 'ff /0', name: 'inc', operands: 'Ev', semantics: i.inc, flags: LOCK },
  { op: 'ff /1', name: 'dec', operands: 'Ev', semantics: i.dec, flags: LOCK },
  { op: 'f6 /2', name: 'not', operands: 'Eb', semantics: i.not, flags: LOCK },
  { op: 'f7 /2', name: 'not', operands: 'Ev', semantics: i.not, flags: LOCK },
  { op: 'f6 /3', name: 'neg', operands: 'Eb', semantics: i.neg, flags: LOCK },
  { op: 'f7 /3', name: 'neg', operands: 'Ev', semantics: i.neg, flags: LOCK },
  { op: 'f6 /4', name: 'mul', operands: 'Eb', semantics: i.multiply(false) },
  { op: 'f7 /4', name: 'mul', operands: 'Ev', semantics: i.multiply(false) },
  { op: 'f6 /5', name: 'imul', operands: 'Eb', semantics: i.multiply(true) },
  { op: 'f7 /5', name: 'imul', operands: 'Ev', semantics: i.multiply(true) },
  { op: 'f6 /6', name: 'div', operands: 'Eb', semantics: i.divide(false) },
  { op: 'f7 /6', name: 'div', operands: 'Ev', semantics: i.divide(false) },
  { op: 'f6 /7', name: 'idiv', operands: 'Eb', semantics: i.divide(true) },
  { op: 'f7 /7', name: 'idiv', operands: 'Ev', semantics: i.divide(true) },
  { op: '0f af', name: 'imul', operands: 'Gv Ev', semantics: i.imul },
  { op: '69', name: 'imul', operands: 'Gv Ev Iz', semantics: i.imul },
  { op: '6b', name: 'imul', operands: 'Gv Ev Ibs', semantics: i.imul },
  { op: '0f a4', name: 'shld', operands: 'Ev Gv Ib', semantics: i.doubleShift(true) },
  { op: '0f a5', name: 'shld', operands: 'Ev Gv CL', semantics: i.doubleShift(true) },
  { op: '0f ac', name: 'shrd', operands: 'Ev Gv Ib', semantics: i.doubleShift(false) },
  { op: '0f ad', name: 'shrd', operands: 'Ev Gv CL', semantics: i.doubleShift(false) },
  { op: '0f bc', name: 'bsf', operands: 'Gv Ev', semantics: i.bitScan(true) },
  { op: '0f bd', name: 'bsr', operands: 'Gv Ev', semantics: i.bitScan(false) },
  { op: 'f3 0f bc', name: 'tzcnt', operands: 'Gv Ev', semantics: i.countZeros(true), feature: 'bmi1' },
  { op: 'f3 0f bd', name: 'lzcnt', operands: 'Gv Ev', semantics: i.countZeros(false), feature: 'abm' },
  { op: 'f3 0f b8', name: 'popcnt', operands: 'Gv Ev', semantics: i.popcnt, feature: 'popcnt' },
  { op: '0f c0', name: 'xadd', operands: 'Eb Gb', semantics: i.xadd, flags: LOCK },
  { op: '0f c1', name: 'xadd', operands: 'Ev Gv', semantics: i.xadd, flags: LOCK },
  { op: '0f b0', name: 'cmpxchg', operands: 'Eb Gb', semantics: i.cmpxchg, flags: LOCK },
  { op: '0f b1', name: 'cmpxchg', operands: 'Ev Gv', semantics: i.cmpxchg, flags: LOCK },
  { op: '27', name: 'daa', operands: '', helper: 'op_daa', flags: ['i64'] },
  { op: '2f', name: 'das', operands: '', helper: 'op_das', flags: ['i64'] },
  { op: '37', name: 'aaa', operands: '', helper: 'op_aaa', flags: ['i64'] },
  { op: '3f', name: 'aas', operands: '', helper: 'op_aas', flags: ['i64'] },
  { op: 'd4', name: 'aam', operands: 'Ib', helper: 'op_aam', flags: ['i64'] },
  { op: 'd5', name: 'aad', operands: 'Ib', helper: 'op_aad', flags: ['i64'] },
];

const control: InsnDef[] = [
  { op: 'eb', name: 'jmp', operands: 'Jb', semantics: t.jmp, flags: ['end', 'f64'] },
  { op: 'e9', name: 'jmp', operands: 'Jz', semantics: t.jmp, flags: ['end', 'f64'] },
  { op: 'ff /4', name: 'jmp', operands: 'Ev', semantics: t.jmpIndirect, flags: ['end', 'f64'] },
  { op: 'e8', name: 'call', operands: 'Jz', semantics: t.call, flags: ['end', 'f64'] },
  { op: 'ff /2', name: 'call', operands: 'Ev', semantics: t.callIndirect, flags: ['end', 'f64'] },
  { op: 'c3', name: 'ret', operands: '', semantics: t.ret, flags: ['end', 'f64'] },
  { op: 'c2', name: 'ret', operands: 'Iw', semantics: t.ret, flags: ['end', 'f64'] },
  { op: 'e0', name: 'loopne', operands: 'Jb', semantics: t.loop('loopne'), flags: ['end', 'f64'] },
  { op: 'e1', name: 'loope', operands: 'Jb', semantics: t.loop('loope'), flags: ['end', 'f64'] },
  { op: 'e2', name: 'loop', operands: 'Jb', semantics: t.loop('loop'), flags: ['end', 'f64'] },
  { op: 'e3', name: 'jcxz', operands: 'Jb', semantics: t.loop('jcxz'), flags: ['end', 'f64'] },
];

const flagsAndNops: InsnDef[] = [
  { op: 'f5', name: 'cmc', operands: '', semantics: t.changeCarry('cmc') },
  { op: 'f8', name: 'clc', operands: '', semantics: t.changeCarry('clc') },
  { op: 'f9', name: 'stc', operands: '', semantics: t.changeCarry('stc') },
  { op: 'fc', name: 'cld', operands: '', semantics: t.changeDirection(false) },
  { op: 'fd', name: 'std', operands: '', semantics: t.changeDirection(true) },
  { op: '9e', name: 'sahf', operands: '', semantics: t.sahf },
  { op: '9f', name: 'lahf', operands: '', semantics: t.lahf },
  { op: 'd6', name: 'salc', operands: '', semantics: t.salc, flags: ['i64'] },
  { op: '0f 0d mem', name: 'prefetch', operands: 'M', semantics: t.nop },
  ...[0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f].map(
    (byte): InsnDef => ({
      op: `0f ${hex(byte)}`,
      name: 'nop',
      operands: 'Ev',
      semantics: t.nop,
    }),
  ),
  { op: 'np 0f ae /5 reg', name: 'lfence', operands: '', semantics: t.nop },
  { op: 'np 0f ae /6 reg', name: 'mfence', operands: '', semantics: t.nop },
  { op: 'np 0f ae /7 reg', name: 'sfence', operands: '', semantics: t.nop },
];

const newer: InsnDef[] = [
  { op: '0f c7 /1 mem', name: 'cmpxchg8b', operands: 'Mq', semantics: i.cmpxchg8b, flags: LOCK },
  {
    op: 'w1 0f c7 /1 mem',
    name: 'cmpxchg16b',
    operands: 'Mdq',
    semantics: i.cmpxchg16b,
    flags: LOCK,
    feature: 'cx16',
  },
  { op: '0f38 f0 mem', name: 'movbe', operands: 'Gv Mv', semantics: i.movbe, feature: 'movbe' },
  { op: '0f38 f1 mem', name: 'movbe', operands: 'Mv Gv', semantics: i.movbe, feature: 'movbe' },
  // no MOVBE with F3
  { op: 'f3 0f38 f0', name: 'ud', operands: '', helper: 'op_ud', flags: ['sys', 'end'] },
  { op: 'f3 0f38 f1', name: 'ud', operands: '', helper: 'op_ud', flags: ['sys', 'end'] },
  { op: 'f2 0f38 f0', name: 'crc32', operands: 'Gy Eb', semantics: i.crc32, feature: 'sse4_2' },
  { op: 'f2 0f38 f1', name: 'crc32', operands: 'Gy Ev', semantics: i.crc32, feature: 'sse4_2' },
  { op: '66 0f38 f6', name: 'adcx', operands: 'Gy Ey', semantics: bmi.addWithOneFlag(i.CF), feature: 'adx' },
  { op: 'f3 0f38 f6', name: 'adox', operands: 'Gy Ey', semantics: bmi.addWithOneFlag(i.OF), feature: 'adx' },
  { op: 'vex.np.0f38 f2', name: 'andn', operands: 'Gy By Ey', semantics: bmi.andn, feature: 'bmi1' },
  {
    op: 'vex.np.0f38 f3 /1',
    name: 'blsr',
    operands: 'By Ey',
    semantics: bmi.lowestBit('blsr'),
    feature: 'bmi1',
  },
  {
    op: 'vex.np.0f38 f3 /2',
    name: 'blsmsk',
    operands: 'By Ey',
    semantics: bmi.lowestBit('blsmsk'),
    feature: 'bmi1',
  },
  {
    op: 'vex.np.0f38 f3 /3',
    name: 'blsi',
    operands: 'By Ey',
    semantics: bmi.lowestBit('blsi'),
    feature: 'bmi1',
  },
  { op: 'vex.np.0f38 f7', name: 'bextr', operands: 'Gy Ey By', semantics: bmi.bextr, feature: 'bmi1' },
  { op: 'vex.np.0f38 f5', name: 'bzhi', operands: 'Gy Ey By', semantics: bmi.bzhi, feature: 'bmi2' },
  { op: 'vex.f2.0f38 f6', name: 'mulx', operands: 'Gy By Ey', semantics: bmi.mulx, feature: 'bmi2' },
  {
    op: 'vex.f2.0f38 f5',
    name: 'pdep',
    operands: 'Gy By Ey',
    semantics: bmi.depositExtract('pdep'),
    feature: 'bmi2',
  },
  {
    op: 'vex.f3.0f38 f5',
    name: 'pext',
    operands: 'Gy By Ey',
    semantics: bmi.depositExtract('pext'),
    feature: 'bmi2',
  },
  { op: 'vex.f2.0f3a f0', name: 'rorx', operands: 'Gy Ey Ib', semantics: bmi.rorx, feature: 'bmi2' },
  {
    op: 'vex.66.0f38 f7',
    name: 'shlx',
    operands: 'Gy Ey By',
    semantics: bmi.shiftWithoutFlags('shlx'),
    feature: 'bmi2',
  },
  {
    op: 'vex.f2.0f38 f7',
    name: 'shrx',
    operands: 'Gy Ey By',
    semantics: bmi.shiftWithoutFlags('shrx'),
    feature: 'bmi2',
  },
  {
    op: 'vex.f3.0f38 f7',
    name: 'sarx',
    operands: 'Gy Ey By',
    semantics: bmi.shiftWithoutFlags('sarx'),
    feature: 'bmi2',
  },
];

export const integer: readonly InsnDef[] = [
  ...aluForms(),
  ...shiftForms(),
  ...conditionalForms(),
  ...bitTestForms(),
  ...stackAndMoves,
  ...arithmetic,
  ...control,
  ...flagsAndNops,
  ...newer,
];
