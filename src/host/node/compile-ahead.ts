/**
 * Has V8 compile translated code on its own threads while the guest goes on. By itself V8 compiles a function when it is
 * called first, on the thread that calls it; a flag makes it compile whole modules.
 */
import v8 from 'node:v8';
import { majorVersion } from './process.ts';

/** The first major version with which that pays: before, programs take as long or somewhat longer. */
const SINCE = 24;

/**
 * For programs only: flags are the whole process's. The flag changes with the first module, when the interpreter's
 * handlers, of which a guest needs a part, are there already.
 * @param before called before that: V8 reads no compiled code that was kept under other flags
 * @returns undefined where the machine's thread had better compile
 */
export function compileAhead(
  before: () => void,
  setFlags: (flags: string) => void = (flags) => v8.setFlagsFromString(flags),
  version?: string,
): ((code: Uint8Array) => Promise<WebAssembly.Module>) | undefined {
  if (majorVersion(version) < SINCE) return undefined;
  let ahead = false;
  return (code) => {
    if (!ahead) {
      before();
      setFlags('--no-wasm-lazy-compilation');
      ahead = true;
    }
    return WebAssembly.compile(code as BufferSource);
  };
}
