import { expect, it } from 'vitest';
import { tellOldV8 } from './old-v8.ts';

it('changes the flags of the versions that need it, and of no other', () => {
  const calls: string[] = [];
  const tell = (version: string) => tellOldV8((flags) => calls.push(flags), version);
  for (const version of ['22.0.0', '24.1.0', '26.10.0']) tell(version);
  expect(calls).toEqual([]);
  tell('20.20.2');
  expect(calls).toEqual(['--no-turbo-move-optimization', '--wasm-tiering-budget=13000000']);
});
