/**
 * Turns the lines of the instruction table into what the decoder looks up: for each opcode map and byte, the few
 * candidate forms, most specific first.
 */
import { assert } from '../../core/errors.ts';
import type { InsnDef } from './types.ts';

export type MandatoryPrefix = 'np' | '66' | 'f3' | 'f2';

/** All have one shape: the decoder and the translator read them all the time. */
export interface CompiledDef extends InsnDef {
  /** Position in the table: identifies the form. */
  readonly index: number;
  readonly map: number;
  readonly opcode: number;
  /** Only with exactly this prefix (undefined: prefixes keep their usual meaning). */
  readonly prefix: MandatoryPrefix | undefined;
  /** Constraints on ModRM: reg field, memory or register form, exact range of the byte. */
  readonly reg: number | undefined;
  readonly mod: 'mem' | 'reg' | undefined;
  readonly modrmFirst: number;
  readonly modrmLast: number;
  readonly hasModrm: boolean;
  /** Constraints on REX.W (or VEX.W) and REX.B. */
  readonly vexW: 0 | 1 | undefined;
  readonly rexB: 0 | undefined;
  readonly operandCodes: readonly string[];
  readonly flagSet: ReadonlySet<string>;
  // flags that are asked for at every decoding
  readonly ends: boolean;
  readonly isD64: boolean;
  readonly isF64: boolean;
  readonly isI64: boolean;
  readonly isO64: boolean;
  readonly mayLock: boolean;
  /** The code depends on the immediate. */
  readonly shapedByImmediate: boolean;
  readonly hasVvvv: boolean;
}

/** Opcode maps: 0 one byte, 1 0F, 2 0F38, 3 0F3A; VEX forms at + VEX_MAPS. */
export const VEX_MAPS = 4;

export class OpcodeTable {
  readonly defs: readonly CompiledDef[];
  readonly #lookup: CompiledDef[][][];

  constructor(defs: readonly InsnDef[]) {
    this.#lookup = Array.from({ length: 8 }, () => Array.from({ length: 256 }, () => []));
    const compiled: CompiledDef[] = [];
    for (const def of defs) {
      const entry = compileDef(def, compiled.length);
      compiled.push(entry);
      const count = def.op.includes('+') && !def.op.includes('modrm=') ? 8 : 1;
      for (let i = 0; i < count; i++) this.#lookup[entry.map]![entry.opcode + i]!.push(entry);
    }
    for (const map of this.#lookup) for (const list of map) list.sort((a, b) => weight(b) - weight(a));
    this.defs = compiled;
  }

  candidates(map: number, opcode: number): readonly CompiledDef[] {
    return this.#lookup[map]![opcode]!;
  }
}

function weight(def: CompiledDef): number {
  return (
    (def.modrmFirst >= 0 ? 8 : 0) +
    (def.prefix === undefined ? 0 : 4) +
    (def.reg === undefined ? 0 : 2) +
    (def.vexW === undefined && def.rexB === undefined ? 0 : 2) +
    (def.mod === undefined ? 0 : 1)
  );
}

const MODRM_OPERAND = /^(?:E[bwdqvy]|Ed[bw]|G[bwdqvy]|R[dqvy]|M.*|V.*|W.*|U.*|P.|Q.|N.|Sw|Cq|Dq|ST)$/;

function compileDef(def: InsnDef, index: number): CompiledDef {
  let prefix: MandatoryPrefix | undefined;
  let map = 0;
  let opcode = -1;
  let reg: number | undefined;
  let mod: 'mem' | 'reg' | undefined;
  let modrmFirst = -1;
  let modrmLast = -1;
  let vexW: 0 | 1 | undefined;
  let rexB: 0 | undefined;
  const words = def.op.split(/\s+/);
  for (const word of words) {
    if (word === 'w1') vexW = 1;
    else if (word === 'b0' && opcode < 0 && map === 0 && words.length > 1) rexB = 0;
    else if (word.startsWith('vex.')) {
      const parts = word.split('.');
      for (const part of parts.slice(1)) {
        if (part === 'np' || part === '66' || part === 'f3' || part === 'f2') prefix = part;
        else if (part === '0f') map = VEX_MAPS + 1;
        else if (part === '0f38') map = VEX_MAPS + 2;
        else if (part === '0f3a') map = VEX_MAPS + 3;
        else if (part === 'w0') vexW = 0;
        else if (part === 'w1') vexW = 1;
        else assert(false, `instruction table: '${part}' in '${def.op}'`);
      }
    } else if (opcode < 0 && map === 0 && (word === 'np' || (prefixes.has(word) && words.length > 1))) {
      if (word === '0f') map = 1;
      else if (word === '0f38') map = 2;
      else if (word === '0f3a') map = 3;
      else prefix = word as MandatoryPrefix;
    } else if (word.startsWith('/')) {
      if (word !== '/r') reg = Number(word.slice(1));
    } else if (word === 'mem' || word === 'reg') mod = word;
    else if (word.startsWith('modrm=')) {
      modrmFirst = Number.parseInt(word.slice(6), 16);
      modrmLast = modrmFirst + (word.endsWith('+') ? 7 : 0);
    } else {
      assert(opcode < 0 && /^[0-9a-f]{2}\+?$/.test(word), `instruction table: '${word}' in '${def.op}'`);
      opcode = Number.parseInt(word, 16);
    }
  }
  assert(opcode >= 0, `instruction table: no opcode in '${def.op}'`);
  const flags = new Set<string>(def.flags);
  const operandCodes = def.operands === '' ? [] : def.operands.split(/\s+/);
  const { op, name, operands, semantics, helper, feature } = def;
  return {
    op,
    name,
    operands,
    semantics,
    helper,
    feature,
    flags: def.flags ?? [],
    index,
    map,
    opcode,
    prefix,
    reg,
    mod,
    modrmFirst,
    modrmLast,
    vexW,
    rexB,
    hasModrm:
      reg !== undefined ||
      mod !== undefined ||
      modrmFirst >= 0 ||
      operandCodes.some((code) => MODRM_OPERAND.test(code)),
    operandCodes,
    flagSet: flags,
    ends: flags.has('end'),
    isD64: flags.has('d64'),
    isF64: flags.has('f64'),
    isI64: flags.has('i64'),
    isO64: flags.has('o64'),
    mayLock: flags.has('lock'),
    shapedByImmediate: flags.has('imm'),
    hasVvvv: operandCodes.includes('By'),
  };
}

const prefixes = new Set(['66', 'f3', 'f2', '0f', '0f38', '0f3a']);
