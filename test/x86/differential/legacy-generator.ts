/**
 * Random encodings for 16- and 32-bit code, read off the instruction table: no REX, both address sizes, segment
 * overrides, and the instructions that 64-bit mode has dropped.
 */
import { type CompiledDef, VEX_MAPS } from '../../../src/x86/table/compile.ts';
import { comparable, type Encoding, sizeDependent } from './generator.ts';
import type { Random } from './random.ts';

export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;

export interface LegacyEncoding extends Encoding {
  readonly addrsize: 2 | 4;
  /** Segment of the memory operand (DS where the instruction has none). */
  readonly segment: number;
  readonly repeated: boolean;
}

/** Done by the runtime and still comparable: user code can run them, and they depend on nothing but registers. */
const HELPERS = new Set(
  ['daa', 'das', 'aaa', 'aas', 'aam', 'aad', 'pusha', 'popa', 'bound', 'arpl', 'enter', 'pushf'].concat([
    'movs',
    'stos',
    'lods',
    'scas',
    'cmps',
  ]),
);
export const STRINGS = new Set(['movs', 'stos', 'lods', 'scas', 'cmps']);

export const BIT_TESTS = /^bt[src]?$/;

export function legacyComparable(def: CompiledDef, hostHas: (feature: string) => boolean): boolean {
  if (def.flagSet.has('o64') || (def.vexW === 1 && def.map < VEX_MAPS) || def.rexB !== undefined)
    return false;
  if (HELPERS.has(def.name)) return true;
  if (def.semantics === undefined || def.flagSet.has('end')) return false;
  if (def.flagSet.has('i64') || ['leave', 'xlat'].includes(def.name)) return true;
  return comparable({ ...def, operandCodes: def.operandCodes.filter((c) => !c.startsWith('O')) }, hostHas);
}

/**
 * @param code 0 = 16-bit code segment, 1 = 32-bit
 * @param overrides segment registers that an override may name
 * @param target offset that an absolute address (moffs) gets
 */
export function encodeLegacy(
  def: CompiledDef,
  code: 0 | 1,
  overrides: readonly number[],
  target: (segment: number) => number,
  random: Random,
): LegacyEncoding {
  const vex = def.map >= VEX_MAPS;
  const codes = def.operandCodes;
  const prefixes: number[] = [];
  let opsize: 2 | 4 = code === 0 ? 2 : 4;
  const changed: 2 | 4 = code === 0 ? 4 : 2;
  const implicit = HELPERS.has(def.name) || codes.length === 0;
  const sized =
    codes.some((c) => sizeDependent.test(c)) || codes.includes('Iz') || codes.includes('Zv') || implicit;
  if (def.prefix === '66' && !vex) {
    prefixes.push(0x66);
    opsize = 4;
  } else if (def.prefix === undefined && sized && random.chance(35)) {
    prefixes.push(0x66);
    opsize = changed;
  } else if ((def.prefix === 'f3' || def.prefix === 'f2') && codes.includes('Gv') && random.chance(20)) {
    prefixes.push(0x66);
    opsize = changed;
  }
  let addrsize: 2 | 4 = code === 0 ? 2 : 4;
  const memoryInside = codes.some((c) => c.startsWith('O')) || def.name === 'xlat' || STRINGS.has(def.name);
  const registerForm =
    def.mod === 'reg' || def.modrmFirst >= 0 || codes.some((c) => /^[UNR]/.test(c))
      ? true
      : def.mod === 'mem' || codes.some((c) => c.startsWith('M'))
        ? false
        : random.chance(50);
  const memoryOperand = def.hasModrm && !registerForm;
  let segment = -1;
  if (memoryOperand || memoryInside) {
    if (random.chance(30)) {
      prefixes.push(0x67);
      addrsize = addrsize === 2 ? 4 : 2;
    }
    if (random.chance(20)) {
      segment = random.pick(overrides);
      prefixes.push([0x26, 0x2e, 0x36, 0x3e][segment]!);
    }
  }
  const repeated = STRINGS.has(def.name) && random.chance(60);
  const compares = def.name === 'scas' || def.name === 'cmps';
  if (repeated) prefixes.push(compares && random.chance(50) ? 0xf2 : 0xf3);

  const body: number[] = [];
  let address: Encoding['address'];
  const opcode = def.op.includes('+') && def.modrmFirst < 0 ? def.opcode + random.below(8) : def.opcode;
  if (def.hasModrm) {
    const reg = def.reg ?? random.below(8);
    if (def.modrmFirst >= 0) body.push(def.modrmFirst + random.below(def.modrmLast - def.modrmFirst + 1));
    else if (registerForm) body.push(0xc0 | (reg << 3) | random.below(8));
    else {
      const bare = addrsize === 2 ? memory16(random, reg, body) : memory32(random, reg, body);
      if (BIT_TESTS.test(def.name) && codes.includes('Gv')) {
        // the index must be free to choose: it reaches far beyond the operand
        const free = [0, 1, 2, 3, 5, 6, 7].filter((n) => n !== bare.base && n !== bare.index);
        body[0] = (body[0]! & 0xc7) | (random.pick(free) << 3);
      }
      const home = bare.base === 4 || bare.base === 5 ? SS : DS;
      if (segment < 0) segment = home;
      if (bare.base < 0) appendLittle(body, bare.place, target(segment), addrsize);
      address = { ...bare, ripRelative: false, address32: addrsize === 4 };
    }
  }
  if (segment < 0) segment = DS;
  let immediate: number | undefined;
  const withoutImmediates = body.length;
  for (const c of codes) {
    if (c === 'Ib' || c === 'Ibs') {
      immediate = random.chance(50) ? random.below(256) : random.below(9);
      body.push(immediate);
    } else if (c === 'Iw') body.push(random.below(256), random.chance(50) ? 0 : random.below(4));
    else if (c === 'Iz' || c === 'Iv') {
      const value = random.interesting();
      for (let i = 0; i < opsize; i++) body.push(Number((value >> BigInt(8 * i)) & 0xffn));
    } else if (c.startsWith('O')) appendLittle(body, body.length, target(segment), addrsize);
  }
  const immediateBytes = body.length - withoutImmediates;
  if (def.flagSet.has('lock') && address !== undefined && codes[0] !== undefined && /^[EM]/.test(codes[0]))
    if (random.chance(15)) prefixes.unshift(0xf0);
  if (def.prefix === 'f3' && !vex) prefixes.push(0xf3);
  if (def.prefix === 'f2' && !vex) prefixes.push(0xf2);

  const head: number[] = [];
  if (vex) {
    const pp = { np: 0, '66': 1, f3: 2, f2: 3 }[def.prefix ?? 'np'];
    const vvvv = codes.includes('By') ? random.below(16) : 0;
    const wide = def.vexW ?? (random.chance(30) ? 1 : 0);
    // R and X must be clear (stored inverted) or this is LES; B, W and the top bit of vvvv do not count
    head.push(
      0xc4,
      0xc0 | (random.below(2) << 5) | (def.map - VEX_MAPS),
      (wide << 7) | ((vvvv ^ 15) << 3) | pp,
    );
  } else {
    if (def.map >= 1) head.push(0x0f);
    if (def.map === 2) head.push(0x38);
    if (def.map === 3) head.push(0x3a);
  }
  const bytes = [...prefixes, ...head, opcode, ...body];
  return { def, bytes, address, immediate, immediateBytes, opsize, addrsize, segment, repeated };
}

interface BareAddress {
  base: number;
  index: number;
  scale: number;
  disp: number;
  /** Where in the body the displacement is, when it is all there is. */
  place: number;
}

function appendLittle(body: number[], at: number, value: number, size: number): void {
  for (let i = 0; i < size; i++) body[at + i] = (value >> (8 * i)) & 0xff;
}

const BASES16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDEXES16 = [6, 7, 6, 7, -1, -1, -1, -1];

function memory16(random: Random, reg: number, body: number[]): BareAddress {
  const mod = random.below(3);
  const rm = random.below(8);
  body.push((mod << 6) | (reg << 3) | rm);
  if (mod === 0 && rm === 6) {
    body.push(0, 0);
    return { base: -1, index: -1, scale: 0, disp: 0, place: body.length - 2 };
  }
  const disp8 = (random.below(256) << 24) >> 24;
  const disp = mod === 0 ? 0 : mod === 1 ? disp8 : disp8 * 100;
  if (mod > 0) appendLittle(body, body.length, disp, mod);
  return { base: BASES16[rm]!, index: INDEXES16[rm]!, scale: 0, disp, place: -1 };
}

function memory32(random: Random, reg: number, body: number[]): BareAddress {
  if (random.chance(8)) {
    // [disp32], in its short or its long form
    if (random.chance(50)) body.push((reg << 3) | 5);
    else body.push((reg << 3) | 4, 0x25);
    body.push(0, 0, 0, 0);
    return { base: -1, index: -1, scale: 0, disp: 0, place: body.length - 4 };
  }
  const mod = random.below(3);
  const disp8 = (random.below(256) << 24) >> 24;
  const disp = mod === 0 ? 0 : mod === 1 ? disp8 : disp8 * 4;
  let rm = random.below(8);
  if (rm === 5 && mod === 0) rm = 3;
  let index = -1;
  let scale = 0;
  if (rm === 4 || random.chance(30)) {
    let base = random.below(8);
    if (base === 5 && mod === 0) base = 6;
    index = random.below(8);
    if (index === base) index = 4;
    scale = random.below(4);
    body.push((mod << 6) | (reg << 3) | 4, (scale << 6) | (index << 3) | base);
    if (index === 4) index = -1;
    rm = base;
  } else body.push((mod << 6) | (reg << 3) | rm);
  if (mod > 0) appendLittle(body, body.length, disp, mod === 1 ? 1 : 4);
  return { base: rm, index, scale, disp, place: -1 };
}
