/** That the flag changes once, and late; and that modules are compiled. */
import { describe, expect, it } from 'vitest';
import { compileAhead } from './compile-ahead.ts';

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

const nothing = (): void => {};

describe('compiling ahead', () => {
  it('begins with the first module', async () => {
    const calls: string[] = [];
    const compile = compileAhead(
      () => calls.push('before'),
      (flags) => calls.push(flags),
      '26.1.0',
    )!;
    expect(calls).toEqual([]);
    expect(await compile(EMPTY)).toBeInstanceOf(WebAssembly.Module);
    await compile(EMPTY);
    expect(calls).toEqual(['before', '--no-wasm-lazy-compilation']);
  });

  it('tells what does not compile', async () => {
    const compile = compileAhead(nothing, nothing, '27.0.0')!;
    await expect(compile(EMPTY.subarray(1))).rejects.toThrow();
  });

  it('is left to the machine’s thread where that is faster', () => {
    for (const version of ['20.19.0', '22.1.0'])
      expect(compileAhead(nothing, nothing, version)).toBeUndefined();
    expect(compileAhead(nothing, nothing, '24.9.0')).toBeDefined();
  });
});
