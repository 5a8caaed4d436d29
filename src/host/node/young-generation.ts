/**
 * Bounds what V8 keeps for new objects. It lets that grow to 32 or 64 MiB, by the version, and never gives it back, so as
 * to look for what is alive less often; a machine makes so few objects that a quarter of it does as well. V8 has a flag
 * for the bound, but reads it once, when the process starts; it reads the one for the growth each time.
 */
import v8 from 'node:v8';
import { nodeOptions } from './process.ts';

/** Bytes from which the young generation does not grow: two halves of 8 MiB. */
const BOUND = 16 * 2 ** 20;
/** Between two looks, milliseconds: between two doublings much more time passes. */
const INTERVAL = 250;

interface Heap {
  getHeapSpaceStatistics(): readonly { readonly space_name: string; readonly space_size: number }[];
  setFlagsFromString(flags: string): void;
}

/**
 * To be called by programs only: flags are the whole process's. Who has given Node.js a size of its own gets it.
 * @param before called before a flag changes for the first time: V8 reads no compiled code that was kept under others
 * @returns ends it
 */
export function boundYoungGeneration(
  before: () => void,
  heap: Heap = v8,
  options: string = nodeOptions(),
): () => void {
  if (/semi[-_]space/.test(options)) return () => {};
  let grows = true;
  let changed = false;
  const timer = setInterval(() => {
    const young = heap.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    // V8 may have made it smaller
    if (young === undefined || (grows ? young.space_size < BOUND : young.space_size > BOUND / 4)) return;
    if (!changed) before();
    changed = true;
    grows = !grows;
    heap.setFlagsFromString(`--semi-space-growth-factor=${grows ? 2 : 1}`);
  }, INTERVAL);
  timer.unref();
  return () => clearInterval(timer);
}
