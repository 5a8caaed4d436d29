/** Small services of the Node.js process: a turn of the event loop, its version, random bytes, the cache folder. */
import { randomFillSync } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Resolves after the event loop has had one turn: input, timers and sockets got their chance. */
export function yieldToHost(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Nanoseconds that this thread was on a processor; undefined before Node.js 23.9, which cannot say. */
export function processorTime(): number | undefined {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => { user: number; system: number } };
  const usage = threadCpuUsage?.();
  return usage === undefined ? undefined : (usage.user + usage.system) * 1000;
}

/** The 24 of 24.9.0: what differs between versions of V8 goes by it. */
export function majorVersion(version: string = process.versions.node): number {
  return Number.parseInt(version, 10);
}

/** The options that Node.js was started with, on its command line and by the environment. */
export function nodeOptions(): string {
  return [...process.execArgv, process.env['NODE_OPTIONS']].join(' ');
}

/** Fills `view`, which may lie in shared memory, with random bytes fit for keys. */
export function fillRandom(view: Uint8Array): void {
  if (!(view.buffer instanceof ArrayBuffer)) {
    // The host's generator does not fill shared memory.
    const bytes = new Uint8Array(view.length);
    randomFillSync(bytes);
    view.set(bytes);
    return;
  }
  randomFillSync(view);
}

/** `$XDG_CACHE_HOME/paravane/NAME`, by default under `~/.cache`; made when it is not there. */
export function cacheFolder(name = ''): string {
  const base = process.env['XDG_CACHE_HOME'];
  const folder = path.join(
    base !== undefined && base !== '' ? base : path.join(os.homedir(), '.cache'),
    'paravane',
    name,
  );
  fs.mkdirSync(folder, { recursive: true });
  return folder;
}
