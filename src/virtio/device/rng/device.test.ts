import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../core/clock.ts';
import { Tracer } from '../../../core/trace.ts';
import { FakeTransport } from '../fake-transport.ts';
import { BuiltinRng, type RngBackend } from './backend.ts';
import { VirtioRng } from './device.ts';
import { rngLimits } from './properties.ts';

/** Counts up, so that each byte shows where it came from. */
class CountingRng implements RngBackend {
  next = 1;
  fill(buffer: Uint8Array): void {
    for (let i = 0; i < buffer.length; i++) buffer[i] = this.next++ & 0xff;
  }
}

function rig(backend: RngBackend, limits: { maxBytes?: number; period?: number } = {}) {
  const clock = new ManualClock();
  const tracer = new Tracer();
  return {
    clock,
    tracer,
    rig: new FakeTransport(new VirtioRng({ backend, clock, tracer, ...limits })).start(),
  };
}

describe('virtio-rng', () => {
  test('dev:Device Types / Entropy Device / Device Operation#1 every buffer gets at least one random byte', () => {
    const { rig: r } = rig(new CountingRng());
    for (const length of [1, 2, 64, 4096]) {
      const sent = r.send(0, [], [length]);
      expect(sent.used).toBe(true);
      expect(sent.written).toBe(length);
    }
    // "it MAY use less than the entire buffer length": a huge buffer is filled in part.
    const huge = r.send(0, [], [1 << 20]);
    expect(huge.written).toBe(65536);
  });

  test('fills buffers that are split into odd pieces, in order', () => {
    const { rig: r } = rig(new CountingRng());
    const sent = r.send(0, [], [1, 0, 3, 2]);
    expect([...sent.answer]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('the built-in source gives different bytes each time', () => {
    const { rig: r } = rig(new BuiltinRng());
    const a = r.send(0, [], [32]).answer;
    const b = r.send(0, [], [32]).answer;
    expect(Buffer.from(a).equals(Buffer.from(b))).toBe(false);
  });

  test('answers with nothing written and logs when the driver gives no room', () => {
    const { rig: r } = rig(new CountingRng());
    const sent = r.send(0, [new Uint8Array(4)]);
    expect(sent.used).toBe(true);
    expect(sent.written).toBe(0);
    expect(r.errors[0]).toContain('drv:Device Types / Entropy Device / Device Operation#1');
  });

  test('max-bytes holds requests back until the next period', () => {
    const { rig: r, clock } = rig(new CountingRng(), { maxBytes: 10, period: 1000 });
    expect(r.send(0, [], [8]).written).toBe(8);
    expect(r.send(0, [], [8]).written).toBe(2);
    const held = r.send(0, [], [8]);
    expect(held.used).toBe(false);
    clock.advance(999e6);
    expect(held.used).toBe(false);
    clock.advance(1e6);
    expect(held.written).toBe(8);
  });

  test('a reset does not refill the quota', () => {
    const { rig: r, clock } = rig(new CountingRng(), { maxBytes: 4, period: 1000 });
    r.send(0, [], [4]);
    r.reset();
    r.start();
    const held = r.send(0, [], [4]);
    expect(held.used).toBe(false);
    clock.advance(1000e6);
    expect(held.written).toBe(4);
  });

  test('max-bytes=0 never answers', () => {
    const { rig: r, clock } = rig(new CountingRng(), { maxBytes: 0, period: 1 });
    const held = r.send(0, [], [4]);
    clock.advance(5e6);
    expect(held.used).toBe(false);
  });

  test('serves one request at a time from a source that answers later', async () => {
    const waiting: (() => void)[] = [];
    const { rig: r } = rig({
      fill: (buffer) =>
        new Promise((resolve) =>
          waiting.push(() => {
            buffer.fill(7);
            resolve();
          }),
        ),
    });
    const first = r.send(0, [], [4]);
    const second = r.send(0, [], [4]);
    expect(waiting.length).toBe(1);
    waiting[0]!();
    await expect.poll(() => first.used).toBe(true);
    expect([...first.answer]).toEqual([7, 7, 7, 7]);
    expect(second.used).toBe(false);
    waiting[1]!();
    await expect.poll(() => second.used).toBe(true);
  });

  test('bytes that arrive after a reset are dropped and touch no guest memory', async () => {
    const waiting: (() => void)[] = [];
    const { rig: r } = rig({
      fill: (buffer) =>
        new Promise((resolve) =>
          waiting.push(() => {
            buffer.fill(7);
            resolve();
          }),
        ),
    });
    const lost = r.send(0, [], [4]);
    r.reset();
    r.start();
    const next = r.send(0, [], [4]);
    waiting[0]!();
    await Promise.resolve();
    expect(lost.used).toBe(false);
    expect([...lost.room]).toEqual([0xee, 0xee, 0xee, 0xee]);
    waiting[1]!();
    await expect.poll(() => next.used).toBe(true);
  });

  test('a failing source is asked again, and the guest waits', () => {
    let broken = true;
    const {
      rig: r,
      clock,
      tracer,
    } = rig({
      fill: (buffer) => {
        if (broken) throw new Error('no entropy');
        buffer.fill(1);
      },
    });
    const warnings: string[] = [];
    tracer.onWarning = (_, message) => warnings.push(message);
    const sent = r.send(0, [], [4]);
    expect(sent.used).toBe(false);
    expect(warnings[0]).toContain('no entropy');
    broken = false;
    clock.advance(1e9);
    expect(sent.written).toBe(4);
  });

  test("limits are checked with QEMU's texts", () => {
    expect(rngLimits({})).toEqual({ maxBytes: Number.POSITIVE_INFINITY, period: 65536 });
    expect(rngLimits({ 'max-bytes': 1024n, period: 1000 })).toEqual({ maxBytes: 1024, period: 1000 });
    expect(() => rngLimits({ period: 0 })).toThrow("'period' parameter expects a positive integer");
    expect(() => rngLimits({ 'max-bytes': 1n << 63n })).toThrow(
      "'max-bytes' parameter must be non-negative, and less than 2^63",
    );
  });
});
