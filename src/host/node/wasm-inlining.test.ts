/** That V8 is told once, after what it has compiled is written, and only where it knows the flag. */
import { expect, it } from 'vitest';
import { withoutInlining } from './wasm-inlining.ts';

it('changes the flags when compiled code has been written', () => {
  const calls: string[] = [];
  withoutInlining(
    () => calls.push('written'),
    (flags) => calls.push(flags),
    '26.10.0',
  );
  expect(calls).toEqual(['written', '--no-wasm-inlining-call-indirect', '--no-wasm-inlining']);
});

it('leaves versions alone that it was not measured with', () => {
  const calls: string[] = [];
  for (const version of ['20.20.2', '24.1.0'])
    withoutInlining(
      () => calls.push('written'),
      (flags) => calls.push(flags),
      version,
    );
  expect(calls).toEqual([]);
});
