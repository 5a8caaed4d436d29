/** Throttling against a clock that is moved by hand: rates, bursts, groups, and what waits when limits change. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../core/clock.ts';
import { NullBackend } from './null.ts';
import { ThrottledBackend, ThrottleGroup, isLimited, throttleConfig } from './throttle.ts';

function rig(limits: Readonly<Record<string, number>>) {
  const clock = new ManualClock();
  const group = new ThrottleGroup('g', {
    now: () => clock.now(),
    delay: (ms, call) => {
      const timer = clock.schedule(clock.now() + ms * 1e6, call);
      return () => timer.cancel();
    },
  });
  group.config = throttleConfig(limits);
  const disk = (): ThrottledBackend => {
    const one = new ThrottledBackend(new NullBackend(2 ** 30));
    one.group = group;
    return one;
  };
  return { clock, group, disk };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How many of 1000 requests are done after each of so many seconds. */
async function progress(
  { clock, disk }: ReturnType<typeof rig>,
  seconds: number,
  what: 'read' | 'write' = 'read',
  bytes = 1000,
): Promise<number[]> {
  let done = 0;
  const one = disk();
  for (let i = 0; i < 1000; i++) {
    const completion = one[what](0, [new Uint8Array(bytes)]);
    if (completion === undefined) done++;
    else void completion.then(() => done++);
  }
  const counts: number[] = [];
  for (let second = 0; second < seconds; second++) {
    for (let step = 0; step < 10; step++) {
      clock.advance(1e8);
      await settle();
    }
    counts.push(done);
  }
  return counts;
}

describe('rates', () => {
  it('bytes: so many a second, and a tenth of it at once', async () => {
    const counts = await progress(rig({ bps: 100_000 }), 4);
    expect(counts[3]! - counts[0]!).toBeGreaterThanOrEqual(297);
    expect(counts[3]! - counts[0]!).toBeLessThanOrEqual(303);
    expect(counts[0]).toBeLessThanOrEqual(112);
  });

  it('requests, whatever their size, unless iops_size says what one is', async () => {
    const plain = await progress(rig({ iops: 50 }), 3, 'write', 100_000);
    expect(plain[2]! - plain[0]!).toBe(100);
    const sized = await progress(rig({ iops: 50, iops_size: 10_000 }), 3, 'write', 100_000);
    expect(sized[2]! - sized[0]!).toBe(10);
  });

  it('a limit of writes leaves reads alone', async () => {
    const one = rig({ bps_wr: 1000 });
    expect(await progress(one, 1, 'read')).toEqual([1000]);
    const writes = await progress(one, 3, 'write');
    expect(writes[2]).toBeLessThanOrEqual(5);
  });

  it('a burst goes on at its own rate for its length', async () => {
    const counts = await progress(rig({ iops: 10, iops_max: 100, iops_max_length: 3 }), 6);
    // Three seconds' worth of the burst, less what leaks meanwhile; then the average.
    expect(counts[1]).toBeGreaterThanOrEqual(195);
    expect(counts[2]).toBeGreaterThanOrEqual(290);
    expect(counts[5]! - counts[4]!).toBeLessThanOrEqual(12);
  });
});

describe('groups', () => {
  it('share one limit', async () => {
    const one = rig({ iops: 100 });
    const [a, b] = await Promise.all([progress(one, 2), progress({ ...one, clock: new ManualClock() }, 2)]);
    expect(a[1]! + b[1]!).toBeLessThanOrEqual(230);
    expect(a[1]! + b[1]!).toBeGreaterThanOrEqual(190);
  });

  it('what waits goes when the limits go', async () => {
    const { group, disk } = rig({ iops: 1 });
    const one = disk();
    const writes = Array.from({ length: 20 }, () => one.write(0, [new Uint8Array(1)]));
    expect(writes.filter((write) => write !== undefined).length).toBeGreaterThan(15);
    group.release();
    await Promise.all(writes);
    expect(isLimited(group.config)).toBe(false);
  });
});

describe('what makes no sense is refused in QEMU’s words', () => {
  it.each([
    [
      { bps: 1, bps_rd: 1 },
      'bps/iops/max total values and read/write values cannot be used at the same time',
    ],
    [{ bps: -1 }, 'bps/iops/max values must be within [0, 1000000000000000]'],
    [{ bps: 2e15 }, 'bps/iops/max values must be within [0, 1000000000000000]'],
    [{ bps: 10, bps_max: 5 }, 'bps_max/iops_max cannot be lower than bps/iops'],
    [{ bps_max: 5 }, 'bps_max/iops_max require corresponding bps/iops values'],
    [{ bps: 10, bps_max_length: 5 }, 'burst length set without burst rate'],
    [{ iops_size: 5 }, 'iops size requires an iops value to be set'],
    [{ bps: 1, bps_max: 1, bps_max_length: 0 }, 'the burst length cannot be 0'],
  ])('%j', (given, text) => {
    expect(() => throttleConfig(given as Record<string, number>)).toThrow(text);
  });
});
