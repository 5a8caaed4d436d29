/**
 * The handlers of the usual forms in one module, made when the program is built: making a module for each form when it is
 * first met took a twentieth of a boot. What is not among them is still made then (handlers.ts).
 */
import type { MemoryImport } from '../../wasm/module.ts';
import type { Decoder } from '../decode/decode.ts';
import type { Insn } from '../decode/insn.ts';
import { type CompiledDef, VEX_MAPS } from '../table/compile.ts';
import { formName, writeHandlers } from './handlers.ts';
import { frequentPairs, pairName } from './pairs.ts';

const LONG = 2;
/** Zeros for displacement and immediate. */
const REST = Array<number>(12).fill(0);
const MANDATORY = { np: [], '66': [0x66], f3: [0xf3], f2: [0xf2] } as const;

/** Encodings of 64-bit code that between them have the usual variants of a line of the table. */
function encodings(def: CompiledDef): number[][] {
  const { map, opcode } = def;
  const modrms: number[][] = def.hasModrm
    ? def.modrmFirst >= 0
      ? [[def.modrmFirst]]
      : [[((def.reg ?? 1) << 3) | 0], [0xc2 | ((def.reg ?? 1) << 3)]]
    : [[]];
  const heads: number[][] = [];
  if (map >= VEX_MAPS) {
    const pp = def.prefix === undefined ? 0 : ['np', '66', 'f3', 'f2'].indexOf(def.prefix);
    // VEX.vvvv is 1111b: no operand, or register 0
    for (const w of [0, 0x80]) heads.push([0xc4, 0xe0 | (map - VEX_MAPS), w | 0x78 | pp, opcode]);
  } else {
    const escape = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][map]!;
    const prefixes = def.prefix === undefined ? [[], [0x66], [0xf3], [0xf2]] : [[...MANDATORY[def.prefix]]];
    for (const prefix of prefixes)
      for (const rex of [[], [0x48]]) heads.push([...prefix, ...rex, ...escape, opcode]);
  }
  return heads.flatMap((head) => modrms.map((modrm) => [...head, ...modrm, ...REST]));
}

/** An instruction of each usual form. */
function usualForms(decoder: Decoder): Insn[] {
  const forms = new Map<string, Insn>();
  for (const def of decoder.table.defs) {
    if (def.semantics === undefined || def.shapedByImmediate) continue;
    for (const bytes of encodings(def)) {
      const insn = decoder.decode(Uint8Array.from(bytes), 0, bytes.length, 0, LONG);
      if (typeof insn === 'object' && insn.def === def) forms.set(formName(insn, true), insn);
    }
  }
  return [...forms.values()];
}

/** Runtime functions that do instructions, and those that stand at the end of a block. */
function helpers(decoder: Decoder): Set<string> {
  const names = new Set(['op_block_end', 'op_invalid', 'op_too_long', 'op_not_available']);
  for (const { helper } of decoder.table.defs) if (helper !== undefined) names.add(helper);
  return names;
}

/** The module of all usual forms, for a shared memory. */
export function prebuiltHandlers(decoder: Decoder, memory: MemoryImport): Uint8Array {
  return writeHandlers(
    memory,
    usualForms(decoder).map((insn) => ({ insn, long: true })),
    helpers(decoder),
    true,
    new Map(
      frequentPairs(decoder).map((pair) => [
        pairName(formName(pair[0], true), formName(pair[1], true)),
        pair,
      ]),
    ),
  );
}
