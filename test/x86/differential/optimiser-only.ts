import { setFlagsFromString } from 'node:v8';
import { withoutInlining } from '../../../src/host/node/wasm-inlining.ts';

/**
 * From now on V8's optimiser compiles all WebAssembly, without its first compiler; and without inlining, as in our
 * program: that asks what the first compiler has counted, and V8 14.6 ends the process when nothing has.
 */
export function optimiserOnly(): void {
  withoutInlining(() => {});
  setFlagsFromString('--no-liftoff');
}
