/** The young generation stops at its bound, grows again when it has shrunk, and is left alone when asked for. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { boundYoungGeneration } from './young-generation.ts';

const MiB = 2 ** 20;
const SECOND = 1000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function heap() {
  const calls: string[] = [];
  return {
    calls,
    size: MiB,
    getHeapSpaceStatistics() {
      return [
        { space_name: 'old_space', space_size: 1000 * MiB },
        { space_name: 'new_space', space_size: this.size },
      ];
    },
    setFlagsFromString: (flags: string) => void calls.push(flags),
  };
}

describe('the young generation', () => {
  it('stops growing at 16 MiB, and starts again when it has shrunk', () => {
    const v8 = heap();
    const end = boundYoungGeneration(() => v8.calls.push('before'), v8, '');
    v8.size = 8 * MiB;
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls).toEqual([]);
    v8.size = 16 * MiB;
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls).toEqual(['before', '--semi-space-growth-factor=1']);
    v8.size = 14 * MiB;
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls.length).toBe(2);
    v8.size = 2 * MiB;
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls.slice(2)).toEqual(['--semi-space-growth-factor=2']);
    v8.size = 32 * MiB;
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls.slice(3)).toEqual(['--semi-space-growth-factor=1']);
    end();
    v8.size = MiB;
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls.length).toBe(4);
  });

  it('has the size that Node.js was started with', () => {
    const v8 = heap();
    v8.size = 64 * MiB;
    boundYoungGeneration(() => v8.calls.push('before'), v8, '--max-semi-space-size=64');
    vi.advanceTimersByTime(SECOND);
    expect(v8.calls).toEqual([]);
  });
});
