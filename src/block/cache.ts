/**
 * The cache modes of `-drive cache=`, and what each means in the three switches behind them (QEMU's manual,
 * "cache=cache"): may a write be reported before it is on the disk, does data pass the host's page cache, and
 * does a flush do anything.
 */
import { UsageError } from '../core/errors.ts';

export interface CacheMode {
  /** The guest is told of a volatile write cache; false: each write is on the disk before it completes. */
  readonly writeback: boolean;
  /** Past the host's page cache (O_DIRECT). */
  readonly direct: boolean;
  /** Flushes are ignored: fast, and all is lost with the host. */
  readonly noFlush: boolean;
}

export const CACHE_MODES: Readonly<Record<string, CacheMode>> = {
  writeback: { writeback: true, direct: false, noFlush: false },
  none: { writeback: true, direct: true, noFlush: false },
  writethrough: { writeback: false, direct: false, noFlush: false },
  directsync: { writeback: false, direct: true, noFlush: false },
  unsafe: { writeback: true, direct: false, noFlush: true },
};

export interface CacheOptions {
  readonly cache?: string | undefined;
  readonly 'cache.writeback'?: boolean | undefined;
  readonly 'cache.direct'?: boolean | undefined;
  readonly 'cache.no-flush'?: boolean | undefined;
}

/** The mode named by `cache=` (`fallback` when absent), with the single switches laid over it. */
export function parseCacheMode(options: CacheOptions, fallback = 'writeback'): CacheMode {
  const name = options.cache ?? fallback;
  const mode =
    name === 'off' ? CACHE_MODES['none'] : Object.hasOwn(CACHE_MODES, name) ? CACHE_MODES[name] : undefined;
  if (mode === undefined) {
    throw new UsageError(`invalid cache option '${name}' (one of: ${Object.keys(CACHE_MODES).join(', ')})`);
  }
  return {
    writeback: options['cache.writeback'] ?? mode.writeback,
    direct: options['cache.direct'] ?? mode.direct,
    noFlush: options['cache.no-flush'] ?? mode.noFlush,
  };
}

/** As `info block` prints it behind "Cache mode:". */
export function describeCacheMode(mode: CacheMode): string {
  const words = [mode.writeback ? 'writeback' : 'writethrough'];
  if (mode.direct) words.push('direct');
  if (mode.noFlush) words.push('ignore flushes');
  return words.join(', ');
}
