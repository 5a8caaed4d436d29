/** Functions of the AssemblyScript runtime that generated code calls, with their signatures. */
import type { ValType } from '../../wasm/expr.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';

type Signature = readonly [params: readonly ValType[], result: ValType | undefined];

const f = <const P extends readonly ValType[]>(params: P, result: ValType | undefined = 'i32'): Signature => [
  params,
  result,
];

export const RUNTIME_FUNCTIONS = {
  pageIs: f(['i64', 'i32']),
  loadSlow: f(['i64', 'i32']),
  groupSlow: f(['i64', 'i32', 'i32', 'i32']),
  storeSlow8: f(['i64', 'i32']),
  storeSlow16: f(['i64', 'i32']),
  storeSlow32: f(['i64', 'i32']),
  storeSlow64: f(['i64', 'i64']),
  storeSlow128: f(['i64', 'i64', 'i64']),
  rmwSlow: f(['i64', 'i32']),
  rmwCommit: f([]),
  segLinear: f(['i32', 'i64', 'i32', 'i32'], 'i64'),
  flagsOf: f(['i32', 'i64', 'i64', 'i64']),
  condOf: f(['i32', 'i32', 'i64', 'i64', 'i64']),
  carryOf: f(['i32', 'i64', 'i64', 'i64']),
  raise: f(['i32', 'i32']),
  div128U: f(['i64', 'i64', 'i64']),
  div128S: f(['i64', 'i64', 'i64']),
  divQuotient: f([], 'i64'),
  divRemainder: f([], 'i64'),
  mmx_enter: f([]),
  crc32: f(['i32', 'i64', 'i32']),
  rcl: f(['i32', 'i64', 'i32', 'i32'], 'i64'),
  rcr: f(['i32', 'i64', 'i32', 'i32'], 'i64'),
  rotateCarry: f([]),
  pdep: f(['i64', 'i64'], 'i64'),
  pext: f(['i64', 'i64'], 'i64'),
  compareStrings: f(['v128', 'v128', 'i64', 'i64', 'i32', 'i32']),
  stringIndex: f(['i32', 'i32']),
  stringMask: f(['i32', 'i32'], 'v128'),
  mpsadbw: f(['v128', 'v128', 'i32'], 'v128'),
  aesRound: f(['v128', 'v128', 'i32'], 'v128'),
  aesInverseMix: f(['v128'], 'v128'),
  aesKeyAssist: f(['v128', 'i32'], 'v128'),
  carrylessMultiply: f(['i64', 'i64'], 'v128'),
  sha1rnds4: f(['v128', 'v128', 'i32'], 'v128'),
  sha1nexte: f(['v128', 'v128'], 'v128'),
  sha1msg1: f(['v128', 'v128'], 'v128'),
  sha1msg2: f(['v128', 'v128'], 'v128'),
  sha256rnds2: f(['v128', 'v128', 'v128'], 'v128'),
  sha256msg1: f(['v128', 'v128'], 'v128'),
  sha256msg2: f(['v128', 'v128'], 'v128'),
  sse_packed32: f(['i32', 'v128', 'v128'], 'v128'),
  sse_packed64: f(['i32', 'v128', 'v128'], 'v128'),
  sse_convert: f(['i32', 'v128', 'i32'], 'v128'),
  sse_add32: f(['i32', 'i32']),
  sse_sub32: f(['i32', 'i32']),
  sse_mul32: f(['i32', 'i32']),
  sse_div32: f(['i32', 'i32']),
  sse_min32: f(['i32', 'i32']),
  sse_max32: f(['i32', 'i32']),
  sse_sqrt32: f(['i32']),
  sse_add64: f(['i64', 'i64'], 'i64'),
  sse_sub64: f(['i64', 'i64'], 'i64'),
  sse_mul64: f(['i64', 'i64'], 'i64'),
  sse_div64: f(['i64', 'i64'], 'i64'),
  sse_min64: f(['i64', 'i64'], 'i64'),
  sse_max64: f(['i64', 'i64'], 'i64'),
  sse_sqrt64: f(['i64'], 'i64'),
  sse_cvt32to64: f(['i32'], 'i64'),
  sse_cvt64to32: f(['i64'], 'i32'),
  sse_cvti32to32: f(['i32'], 'i32'),
  sse_cvti32to64: f(['i32'], 'i64'),
  sse_cvti64to32: f(['i64'], 'i32'),
  sse_cvti64to64: f(['i64'], 'i64'),
  sse_cvt32toi32: f(['i32', 'i32'], 'i32'),
  sse_cvt32toi64: f(['i32', 'i32'], 'i64'),
  sse_cvt64toi32: f(['i64', 'i32'], 'i32'),
  sse_cvt64toi64: f(['i64', 'i32'], 'i64'),
  sse_round32: f(['i32', 'i32'], 'i32'),
  sse_round64: f(['i64', 'i32'], 'i64'),
  sse_cmp32: f(['i32', 'i32', 'i32'], 'i32'),
  sse_cmp64: f(['i64', 'i64', 'i32'], 'i32'),
  sse_comi32: f(['i32', 'i32', 'i32'], 'i32'),
  sse_comi64: f(['i64', 'i64', 'i32'], 'i32'),
} as const satisfies Record<string, Signature>;

export type RuntimeFunction = keyof typeof RUNTIME_FUNCTIONS;

/** Has a module import what its code calls: functions of this list, and those that do whole instructions. */
export function importRuntime(module: ModuleBuilder): {
  runtime: (name: RuntimeFunction) => number;
  helpers: (name: string) => number;
} {
  // each is asked for many times
  const known = new Map<string, number>();
  const helpers = new Map<string, number>();
  return {
    runtime: (name) => {
      let index = known.get(name);
      if (index === undefined) {
        index = module.importFunction('runtime', name, ...RUNTIME_FUNCTIONS[name]);
        known.set(name, index);
      }
      return index;
    },
    helpers: (name) => {
      let index = helpers.get(name);
      if (index === undefined) {
        index = module.importFunction('runtime', name, ['i32'], 'i32');
        helpers.set(name, index);
      }
      return index;
    },
  };
}
