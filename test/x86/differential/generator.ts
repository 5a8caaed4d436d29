/**
 * Random instruction encodings, read off the instruction table itself: every form that user code may execute, all
 * operand sizes, register and memory operands with every kind of addressing.
 */
import { type CompiledDef, VEX_MAPS } from '../../../src/x86/table/compile.ts';
import type { Decoder } from '../../../src/x86/decode/decode.ts';
import type { Random } from './random.ts';

export interface Encoding {
  readonly def: CompiledDef;
  readonly bytes: readonly number[];
  /** How the memory operand is addressed (registers -1 when absent), or undefined. */
  readonly address:
    | { base: number; index: number; scale: number; disp: number; ripRelative: boolean; address32: boolean }
    | undefined;
  /** The immediate byte of a shift, for which flags are defined only sometimes. */
  readonly immediate: number | undefined;
  /** Bytes of immediate operands, at the end. */
  readonly immediateBytes: number;
  /** Operand size in bytes; undefined: to be read off the prefixes, as 64-bit code has them. */
  readonly opsize?: 2 | 4 | 8;
}

export const sizeDependent = /^(?:[EGZRMI]v|Iz|rAX|Ov)$/;

/** Forms without a comparison: what they give is not defined, or only to a tolerance, or the stack of the host. */
const LEFT_OUT = new Set(['rcpps', 'rcpss', 'rsqrtps', 'rsqrtss', 'leave', 'bswap16']);

/** Forms that can be compared with the host instruction by instruction. */
export function comparable(def: CompiledDef, hostHas: (feature: string) => boolean): boolean {
  if (def.semantics === undefined || def.flagSet.has('end') || def.flagSet.has('i64')) return false;
  if (def.feature !== undefined && !hostHas(def.feature)) return false;
  if (LEFT_OUT.has(def.name) || def.name === 'xlat' || def.operandCodes.some((code) => code.startsWith('O')))
    return false;
  return true;
}

/** Where a memory operand is to be: registers that hold an address, and what is added. index -1: none. */
export interface Place {
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly disp: number;
}

/** @param place chooses the address of a memory operand; given whether registers 8 to 15 can be named */
export function encode(def: CompiledDef, random: Random, place?: (rex: boolean) => Place): Encoding {
  const vex = def.map >= VEX_MAPS;
  const wide = def.vexW ?? (random.chance(35) ? 1 : 0);
  const codes = def.operandCodes;
  const legacy: number[] = [];
  let opsize = 4;
  if (def.prefix === '66' && !vex) legacy.push(0x66);
  else if (def.prefix === undefined && codes.some((code) => sizeDependent.test(code)) && random.chance(25)) {
    legacy.push(0x66);
    opsize = 2;
  } else if (
    (def.prefix === 'f3' || def.prefix === 'f2') &&
    !vex &&
    codes.includes('Gv') &&
    random.chance(20)
  ) {
    legacy.push(0x66);
    opsize = 2;
  }
  if (def.prefix === 'f3' && !vex) legacy.push(0xf3);
  if (def.prefix === 'f2' && !vex) legacy.push(0xf2);
  if (wide) opsize = 8;

  let r = random.below(2);
  let x = random.below(2);
  let b = def.rexB === 0 ? 0 : random.below(2);
  if (codes.includes('Sw')) r = 0;
  const useRex = vex || wide === 1 || random.chance(50);
  if (!useRex) {
    r = 0;
    b = 0;
  }

  const body: number[] = [];
  let address: Encoding['address'];
  const opcode = def.op.includes('+') && def.modrmFirst < 0 ? def.opcode + random.below(8) : def.opcode;
  if (def.hasModrm) {
    const registerForm =
      def.mod === 'reg' || def.modrmFirst >= 0 || codes.some((c) => /^[UNR]/.test(c))
        ? true
        : def.mod === 'mem' || codes.some((c) => c.startsWith('M'))
          ? false
          : random.chance(50);
    const reg = def.reg ?? random.below(8);
    if (def.modrmFirst >= 0) body.push(def.modrmFirst + random.below(def.modrmLast - def.modrmFirst + 1));
    else if (registerForm) body.push(0xc0 | (reg << 3) | random.below(8));
    else if (place !== undefined) {
      const at = place(useRex);
      if (useRex) {
        b = at.base >> 3;
        x = at.index < 0 ? 0 : at.index >> 3;
      }
      memoryAt(at, reg, body);
      address = { ...at, ripRelative: false, address32: false };
    } else {
      const address32 = random.chance(8);
      if (address32) legacy.unshift(0x67);
      address = { ...memory(random, reg, useRex ? x : 0, b, body), address32 };
    }
  }
  let immediate: number | undefined;
  const withoutImmediates = body.length;
  for (const code of codes) {
    if (code === 'Ib' || code === 'Ibs') {
      immediate = random.chance(50) ? random.below(256) : random.below(9);
      body.push(immediate);
    } else if (code === 'Iw') body.push(random.below(256), random.below(256));
    else if (code === 'Iz' || code === 'Iv') {
      const length = opsize === 2 ? 2 : opsize === 8 && code === 'Iv' ? 8 : 4;
      const value = random.interesting();
      for (let i = 0; i < length; i++) body.push(Number((value >> BigInt(8 * i)) & 0xffn));
    }
  }
  if (def.flagSet.has('lock') && address !== undefined && codes[0] !== undefined && /^[EM]/.test(codes[0]))
    if (random.chance(15)) legacy.unshift(0xf0);

  const immediateBytes = body.length - withoutImmediates;

  const head: number[] = [];
  if (vex) {
    const pp = { np: 0, '66': 1, f3: 2, f2: 3 }[def.prefix ?? 'np'];
    const vvvv = codes.includes('By') || random.chance(5) ? random.below(16) : 0;
    head.push(
      0xc4,
      ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | (def.map - VEX_MAPS),
      (wide << 7) | ((vvvv ^ 15) << 3) | pp,
    );
  } else {
    if (useRex) head.push(0x40 | (wide << 3) | (r << 2) | (x << 1) | b);
    if (def.map >= 1) head.push(0x0f);
    if (def.map === 2) head.push(0x38);
    if (def.map === 3) head.push(0x3a);
  }
  const bytes = [...legacy, ...head, opcode, ...body];
  return { def, bytes, address, immediate, immediateBytes };
}

/** Points a RIP-relative operand from code at linear `at` to linear `target`. */
export function aimRipRelative(encoding: Encoding, at: number, target: number): readonly number[] {
  const { address, bytes, immediateBytes } = encoding;
  if (!address?.ripRelative) return bytes;
  // the displacement stands in front of the immediate bytes, as zeroes
  const copy = [...bytes];
  const disp = target - (at + bytes.length);
  const place = bytes.length - immediateBytes - 4;
  for (let i = 0; i < 4; i++) copy[place + i] = (disp >> (8 * i)) & 0xff;
  return copy;
}

type BareAddress = Omit<NonNullable<Encoding['address']>, 'address32'>;

/** Appends ModRM, SIB and displacement of a random address. */
function memory(random: Random, reg: number, x: number, b: number, body: number[]): BareAddress {
  const push32 = (value: number): void => {
    for (let i = 0; i < 4; i++) body.push((value >> (8 * i)) & 0xff);
  };
  if (random.chance(6)) {
    body.push((reg << 3) | 5);
    push32(0);
    return { base: -1, index: -1, scale: 0, disp: 0, ripRelative: true };
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
    index = random.below(8) | (x << 3);
    scale = random.below(4);
    if (index === (base | (b << 3))) index = -1;
    body.push((mod << 6) | (reg << 3) | 4, (scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | base);
    if (index === 4 || (index < 0 && x === 1)) {
      // 4 without REX.X means none; with it R12
      index = index === 4 ? -1 : 12;
    }
    rm = base;
    if (index === (base | (b << 3))) return retry(random, reg, x, b, body);
  } else body.push((mod << 6) | (reg << 3) | rm);
  if (mod === 1) body.push(disp & 0xff);
  else if (mod === 2) push32(disp);
  return { base: rm | (b << 3), index, scale, disp, ripRelative: false };
}

/** Appends ModRM, SIB and the shortest displacement of a given address. */
function memoryAt({ base, index, scale, disp }: Place, reg: number, body: number[]): void {
  const mod = disp === 0 && (base & 7) !== 5 ? 0 : disp >= -128 && disp < 128 ? 1 : 2;
  const sib = index >= 0 || (base & 7) === 4;
  body.push((mod << 6) | (reg << 3) | (sib ? 4 : base & 7));
  if (sib) body.push((scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7));
  for (let i = 0; i < [0, 1, 4][mod]!; i++) body.push((disp >> (8 * i)) & 0xff);
}

/** The same register as base and index: no register value puts the sum anywhere; another try without a SIB byte. */
function retry(random: Random, reg: number, x: number, b: number, body: number[]): BareAddress {
  body.length -= 2;
  body.push((2 << 6) | (reg << 3) | 3);
  const disp = random.below(64);
  for (let i = 0; i < 4; i++) body.push((disp >> (8 * i)) & 0xff);
  void x;
  return { base: 3 | (b << 3), index: -1, scale: 0, disp, ripRelative: false };
}

/** Prefixes that do not change how long an instruction of 64-bit code is, unless 66 shortens its immediate. */
const SOUP = [0x2e, 0x36, 0x3e, 0x26, 0x65, 0xf2, 0xf3, 0x66, 0x66, 0x67, 0xf0];

/** The same with more prefixes in front: ignored, repeated, forbidden, or making it another instruction, or too long. */
export function withPrefixes(encoding: Encoding, decoder: Decoder, random: Random): Encoding | undefined {
  const { def } = encoding;
  // with F2 and F3 these are SSE4a, which we leave out and AMD's processors have
  if (def.map === 1 && def.opcode === 0x2b) return undefined;
  const bytes = [...encoding.bytes];
  const sized = def.operandCodes.some((code) => code === 'Iz' || code === 'Iv');
  const count = random.chance(15) ? 15 - bytes.length + random.below(3) : 1 + random.below(4);
  for (let i = 0; i < count; i++) {
    // a REX prefix that another prefix follows counts for nothing
    const rex = bytes[0] !== undefined && isPrefix(bytes[0]) && random.chance(10);
    const prefix = rex ? 0x40 | random.below(16) : random.pick(SOUP);
    if (prefix === 0x66 && sized) continue;
    bytes.unshift(prefix);
  }
  const insn = decoder.decode(Uint8Array.from(bytes), 0, bytes.length, 0, 2);
  // another length would run into what follows
  if (typeof insn !== 'string' && insn.length !== bytes.length) return undefined;
  const opsize = typeof insn === 'string' ? 4 : insn.opsize;
  return { ...encoding, bytes, opsize, def: typeof insn === 'string' ? def : insn.def };
}

function isPrefix(byte: number): boolean {
  return SOUP.includes(byte) || byte === 0x64;
}
