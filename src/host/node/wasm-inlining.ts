/**
 * Has V8 inline no function of WebAssembly into another. It could not where it matters: regions call functions of another
 * module. But its baseline compiler counts calls for that, and prepares each function for it as it is entered: 5 to 7 %
 * of the machine's thread while much code is new.
 */
import v8 from 'node:v8';
import { majorVersion } from './process.ts';

/** The first major version that prepares for it. */
const SINCE = 26;

/**
 * For programs only: flags are the whole process's. To be called before the first WebAssembly module is made.
 * @param before called before the flag changes: V8 reads no compiled code that was kept under other flags
 */
export function withoutInlining(
  before: () => void,
  setFlags: (flags: string) => void = (flags) => v8.setFlagsFromString(flags),
  version?: string,
): void {
  if (majorVersion(version) < SINCE) return;
  before();
  // this one first: calls through a table count on what the other has prepared, and V8 crashes where it has not
  setFlags('--no-wasm-inlining-call-indirect');
  setFlags('--no-wasm-inlining');
}
