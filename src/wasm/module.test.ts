/** What a module holds beside its functions' code. */
import { expect, it } from 'vitest';
import { FunctionBuilder } from './function.ts';
import { ModuleBuilder } from './module.ts';
import * as w from './ops.ts';

/** Sections by number, in order; custom ones by their name. */
function sections(module: Uint8Array): [id: number | string, content: Uint8Array][] {
  const found: [number | string, Uint8Array][] = [];
  for (let at = 8; at < module.length; ) {
    const id = module[at]!;
    // sizes here are below 2^14
    const long = (module[at + 1]! & 0x80) !== 0;
    const size = long ? (module[at + 1]! & 0x7f) | (module[at + 2]! << 7) : module[at + 1]!;
    const start = at + (long ? 3 : 2);
    const content = module.subarray(start, start + size);
    if (id === 0) {
      const end = 1 + content[0]!;
      found.push([new TextDecoder().decode(content.subarray(1, end)), content.subarray(end)]);
    } else found.push([id, content]);
    at = start + size;
  }
  return found;
}

it('tells the places of branches that have hints, counted from the declaration of the locals', () => {
  const f = new FunctionBuilder(['i32'], 'i32');
  const local = f.local('i32');
  f.ifRarely(w.eq(f.param(0), 7), () => f.return(w.i32(1)));
  f.if(
    f.param(0),
    () => f.set(local, w.i32(2)),
    () => f.set(local, w.i32(3)),
    true,
  );
  f.if(f.param(0), () => f.set(local, w.i32(4)));
  f.return(local);
  f.prepend(() => f.ifRarely(f.param(0), () => f.set(local, w.i32(5))));
  const module = new ModuleBuilder();
  module.importMemory({ initial: 1, maximum: 1, shared: false });
  module.importFunction('env', 'unused', [], undefined);
  module.addFunction('run', ['i32'], 'i32', f);
  const code = module.build();
  expect(WebAssembly.validate(code as Uint8Array<ArrayBuffer>)).toBe(true);

  const all = sections(code);
  const order = all.map(([id]) => id);
  expect(order.indexOf('metadata.code.branch_hint')).toBe(order.indexOf(10) - 1);
  const body = all.at(-1)![1].subarray(2); // behind the number of functions and the size
  const hints = [...all.find(([id]) => id === 'metadata.code.branch_hint')![1]];
  // one function, the second of the module (the import is the first), with three hints
  expect(hints.slice(0, 3)).toEqual([1, 1, 3]);
  const places = [3, 6, 9].map((at) => hints[at]!);
  expect(places.map((place) => body[place])).toEqual([0x04, 0x04, 0x04]);
  expect(places).toEqual([...places].sort((a, b) => a - b));
  expect([4, 7, 10].map((at) => hints[at])).toEqual([1, 1, 1]);
  // the prologue's, the rare one, the likely one
  expect([5, 8, 11].map((at) => hints[at])).toEqual([0, 0, 1]);
});

it('has no section of hints where nothing is hinted', () => {
  const f = new FunctionBuilder([], undefined);
  const module = new ModuleBuilder();
  module.addFunction('run', [], undefined, f);
  expect(sections(module.build()).map(([id]) => id)).toEqual([1, 2, 3, 7, 10]);
});
