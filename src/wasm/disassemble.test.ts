/** Functions as text: expressions folded, control flow indented, calls by name, marks in their places. */
import { describe, expect, it } from 'vitest';
import { disassembleFunction } from './disassemble.ts';
import type { Expr } from './expr.ts';
import { FunctionBuilder } from './function.ts';
import * as w from './ops.ts';
import { SIMD } from './simd.ts';

describe('disassembleFunction', () => {
  it('folds expressions into statements', () => {
    const f = new FunctionBuilder(['i32', 'i64'], 'i32');
    const sum = f.local('i64');
    f.set(sum, w.add(f.param(1), w.i64(-5)));
    f.store32(f.param(0), w.wrap(sum), 16);
    f.return(w.load32(f.param(0), 1176));
    expect(disassembleFunction(f, () => undefined)).toEqual([
      '$2 = i64.add($1, -5)',
      'i32.store+16($0, i32.wrap($2))',
      'return i32.load+1176($0)',
    ]);
  });

  it('takes one operand for the vector roundings and conversions', () => {
    const f = new FunctionBuilder(['v128'], 'v128');
    const unary = (opcode: number, x: Expr): Expr => w.simd('v128', opcode, [x]);
    f.return(unary(SIMD.i32x4_trunc_sat_f32x4_s, unary(SIMD.f32x4_nearest, f.param(0))));
    expect(disassembleFunction(f, () => undefined)).toEqual([
      'return i32x4_trunc_sat_f32x4_s(f32x4_nearest($0))',
    ]);
  });

  it('indents what is inside blocks, names their labels, calls and marks', () => {
    const f = new FunctionBuilder(['i32'], 'i32');
    f.marking = true;
    f.loop((again) => {
      f.mark('the test');
      f.if(
        w.eqz(f.param(0)),
        () => f.return(w.i32(0x12345)),
        () => f.set(f.param(0), w.call('i32', 3, [f.param(0)])),
      );
      f.mark('the jump');
      f.br(again);
    });
    f.prepend(() => f.set(f.param(0), w.i32(7)));
    const callee = (index: number) => (index === 3 ? { name: 'step', params: 1, result: true } : undefined);
    expect(disassembleFunction(f, callee, String)).toEqual([
      '$0 = 7',
      'loop L0',
      '  ;; the test',
      '  if L1 i32.eqz($0)',
      '    return 0x12345',
      '  else',
      '    $0 = step($0)',
      '  end L1',
      '  ;; the jump',
      '  br L0',
      'end L0',
    ]);
  });
});
