/** Functions that are used again in other modules: the same code, with other values and other callees. */
import { expect, it } from 'vitest';
import { ByteWriter, putS32, putU14 } from './bytes.ts';
import { CALLED } from './expr.ts';
import { FunctionBuilder, type FunctionSource, functionAgain, type WrittenFunction } from './function.ts';
import { ModuleBuilder } from './module.ts';
import * as w from './ops.ts';

const WHERE = 5;
const HERE = 6;

/** run(x) = x rarely 7 ? -1 : add(x, 1000) + twice(WHERE's value) + HERE's value, and its prologue has a symbol, too. */
function build(code = new ByteWriter(16), add = 0, twice = 1): FunctionBuilder {
  const f = new FunctionBuilder(['i32'], 'i32', code);
  const [sum, first, wide] = [f.local('i32'), f.local('i32'), f.local('i64')];
  f.ifRarely(w.eq(f.param(0), 7), () => f.return(w.i32(-1)));
  f.set(sum, w.call('i32', add, [f.param(0), w.i32(1000)]));
  f.set(wide, w.i64(3n));
  f.block((label) => {
    f.brIf(w.eqz(sum), label, true);
    f.set(sum, w.add(sum, w.call('i32', twice, [w.symbol(20, WHERE)])));
  });
  f.returnCall(add, [w.add(sum, first), w.wrap(wide)]);
  f.prepend(() => {
    f.set(first, w.symbol(5, HERE));
    f.ifRarely(w.eqz(f.param(0)), () => f.set(first, w.symbol(6, HERE)));
  });
  return f;
}

const imported = {
  add: (a: number, b: number) => a + b,
  twice: (a: number) => 2 * a,
  unused: () => 0,
};

function moduleOf(names: readonly (keyof typeof imported)[], source: FunctionSource): Uint8Array {
  const module = new ModuleBuilder();
  for (const name of names)
    module.importFunction(
      'env',
      name,
      Array.from({ length: imported[name].length }, () => 'i32' as const),
      'i32',
    );
  module.addFunction('run', ['i32'], 'i32', source);
  return module.build();
}

function run(code: Uint8Array): (x: number) => number {
  const module = new WebAssembly.Module(code as BufferSource);
  return new WebAssembly.Instance(module, { env: imported }).exports['run'] as (x: number) => number;
}

const INPUTS = [0, 1, 7, -1000, 123_456];

/** As it comes out of a file: nothing of it is shared with what is built next. */
const copy = ({ body, hints, fixups }: WrittenFunction): WrittenFunction => ({
  body: body.slice(),
  hints: [...hints],
  fixups: [...fixups],
});

it('gives the same module byte for byte, hints with it', () => {
  const first = build();
  const again = functionAgain(copy(first.written()));
  const code = moduleOf(['add', 'twice'], first);
  expect(moduleOf(['add', 'twice'], again)).toEqual(code);
  expect(new TextDecoder('latin1').decode(code)).toContain('metadata.code.branch_hint');
  expect(INPUTS.map(run(code))).toEqual(INPUTS.map((x) => (x === 7 ? -1 : expected(x, 20, 5, 6))));
});

it('stays as it is when the bytes that it was written to are used for another one', () => {
  const code = new ByteWriter(16);
  const written = build(code).written();
  const before = copy(written);
  build(code, 1, 0);
  expect(written).toEqual(before);
});

it('names the places of its symbols and calls, in the prologue too', () => {
  const { body, fixups } = build().written();
  const found = Array.from({ length: fixups.length / 2 }, (_, i) => [fixups[2 * i]!, fixups[2 * i + 1]!]);
  const opcodes = new Map([
    [WHERE, 0x41],
    [HERE, 0x41],
  ]);
  for (const [at, what] of found)
    expect(what === CALLED ? [0x10, 0x12] : [opcodes.get(what!)]).toContain(body[at! - 1]);
  expect(found.map(([, what]) => what).sort()).toEqual([CALLED, CALLED, CALLED, WHERE, HERE, HERE].sort());
});

it('calls other functions and has other values when these are filled in', () => {
  const written = copy(build().written());
  // in this module `add` is the third import and `twice` the second
  for (let i = 0; i < written.fixups.length; i += 2) {
    const [at, what] = [written.fixups[i]!, written.fixups[i + 1]!];
    if (what === CALLED) putU14(written.body, at, written.body[at] === 0x80 ? 2 : 1);
    else putS32(written.body, at, what === WHERE ? -(2 ** 30) : 2 ** 31 - 1);
  }
  const again = run(moduleOf(['unused', 'twice', 'add'], functionAgain(written)));
  expect(INPUTS.map(again)).toEqual(
    INPUTS.map((x) => (x === 7 ? -1 : expected(x, -(2 ** 30), 2 ** 31 - 1, 2 ** 31 - 1))),
  );
});

it('can be one of several functions of a module, each with its own hints', () => {
  const written = build().written();
  const module = new ModuleBuilder();
  for (const [name, count] of [
    ['add', 2],
    ['twice', 1],
  ] as const)
    module.importFunction(
      'env',
      name,
      Array.from({ length: count }, () => 'i32' as const),
      'i32',
    );
  module.addFunction('one', ['i32'], 'i32', build());
  module.addFunction('two', ['i32'], 'i32', functionAgain(written));
  module.addFunction('three', ['i32'], 'i32', build());
  const made = new WebAssembly.Module(module.build() as BufferSource);
  const { exports } = new WebAssembly.Instance(made, { env: imported });
  const [one, two, three] = ['one', 'two', 'three'].map((name) => exports[name] as (x: number) => number);
  for (const x of INPUTS) expect([one!(x), two!(x)]).toEqual([three!(x), three!(x)]);
});

it('has no hints where there were none', () => {
  const f = new FunctionBuilder([], undefined);
  const hints = new ByteWriter();
  expect(functionAgain(f.written()).finish(new ByteWriter(), hints, 0)).toBe(false);
  expect(hints.length).toBe(0);
});

/** What `build`'s function gives for anything but 7. */
function expected(x: number, where: number, first: number, firstOfZero: number): number {
  const sum = (x + 1000) | 0;
  const more = sum === 0 ? 0 : 2 * where;
  return (sum + more + (x === 0 ? firstOfZero : first) + 3) | 0;
}
