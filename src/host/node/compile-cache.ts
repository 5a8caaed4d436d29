/**
 * Keeps what V8 has compiled of the program between its runs, in the user's cache folder: reading the same megabyte again
 * takes 40 ms of each start. Node.js 22.1 and later can do that; it knows by contents and version what it kept, and
 * replaces it. NODE_DISABLE_COMPILE_CACHE=1 switches it off. https://nodejs.org/api/module.html#module-compile-cache
 */
import * as module from 'node:module';
import { cacheFolder } from './process.ts';

interface CompileCache {
  /** Says by its result, not by an error, when nothing can be kept there. */
  readonly enableCompileCache?: (folder: string) => unknown;
  readonly flushCompileCache?: () => void;
}

/** To be called before the program is imported. Where nothing can be kept, the program starts as without. */
export function keepCompiled(
  { enableCompileCache }: CompileCache = module as CompileCache,
  env = process.env,
): void {
  // NODE_COMPILE_CACHE says where, too, and has been heeded already
  const decided = env['NODE_COMPILE_CACHE'] !== undefined || env['NODE_DISABLE_COMPILE_CACHE'] !== undefined;
  if (enableCompileCache === undefined || decided) return;
  try {
    enableCompileCache(cacheFolder('compiled'));
  } catch {
    // the folder cannot be made
  }
}

/** Writes now what would be written at the end. */
export function flushCompiled({ flushCompileCache }: CompileCache = module as CompileCache): void {
  flushCompileCache?.();
}
