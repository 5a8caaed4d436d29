import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../core/clock.ts';
import { GuestMemory } from '../../../core/memory.ts';
import { Tracer } from '../../../core/trace.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { FakeTransport } from '../fake-transport.ts';
import * as d from './defs.ts';
import { VirtioBalloon } from './device.ts';
import { balloonSettings } from './properties.ts';

const MB = 2 ** 20;

function bench(values: PropertyValues = {}, release = true) {
  const clock = new ManualClock(1_700_000_000_000);
  const memory = GuestMemory.create(16 * MB);
  const released: [number, number][] = [];
  const changes: number[] = [];
  const device = new VirtioBalloon({
    tracer: new Tracer(),
    clock,
    memory,
    settings: balloonSettings(values),
    onChange: (actual) => changes.push(actual),
    ...(release
      ? {
          release: (pages: Uint8Array) => {
            released.push([pages.byteOffset, pages.length]);
            pages.fill(0);
          },
        }
      : {}),
  });
  return { rig: new FakeTransport(device), device, clock, memory, released, changes };
}

const MODERN = d.VIRTIO_F_VERSION_1;
const start = (b: ReturnType<typeof bench>, without = 0n) =>
  b.rig.start((b.device.features & ~without) | MODERN);

const pfns = (...numbers: number[]) => new Uint8Array(Uint32Array.from(numbers).buffer);

function stats(entries: [number, bigint][]): Uint8Array {
  const bytes = new Uint8Array(entries.length * 10);
  const view = new DataView(bytes.buffer);
  for (const [i, [tag, value]] of entries.entries()) {
    view.setUint16(i * 10, tag, true);
    view.setBigUint64(i * 10 + 2, value, true);
  }
  return bytes;
}

describe('virtio-balloon', () => {
  test('offers what QEMU 7.2 offers', () => {
    expect(bench().device.features).toBe(d.VIRTIO_BALLOON_F_STATS_VQ | d.VIRTIO_BALLOON_F_PAGE_POISON);
    const all = bench({ 'deflate-on-oom': true, 'free-page-reporting': true }).device;
    expect(all.features & d.VIRTIO_BALLOON_F_DEFLATE_ON_OOM).not.toBe(0n);
    expect(all.queues.map(({ name }) => name)).toEqual(['inflateq', 'deflateq', 'statsq', 'reporting_vq']);
    expect(() => balloonSettings({ 'free-page-hint': true })).toThrow('not implemented');
  });

  test('a target is told in pages, the guest answers with what it gave', () => {
    const b = bench();
    expect(b.device.actual).toBe(16 * MB);
    start(b);
    b.device.setTarget(12 * MB);
    expect(b.rig.configChanges).toBe(1);
    expect(b.device.readConfig(d.CONFIG.NUM_PAGES, 4)).toBe(1024);
    b.device.writeConfig(d.CONFIG.ACTUAL, 4, 1024);
    expect(b.device.actual).toBe(12 * MB);
    expect(b.changes).toEqual([12 * MB]);
    b.device.setTarget(1e12);
    expect(b.device.readConfig(d.CONFIG.NUM_PAGES, 4)).toBe(0);
    b.device.writeConfig(d.CONFIG.NUM_PAGES, 4, 5);
    expect(b.device.readConfig(d.CONFIG.NUM_PAGES, 4)).toBe(0);
    b.rig.reset();
    expect(b.device.actual).toBe(16 * MB);
  });

  test('a legacy driver writes actual byte by byte: the last one counts', () => {
    const b = bench();
    b.rig.start(0n);
    for (const [i, byte] of [0x00, 0x02, 0, 0].entries()) b.device.writeConfig(d.CONFIG.ACTUAL + i, 1, byte);
    expect(b.changes).toEqual([14 * MB]);
  });

  test('pages of the balloon are released in runs, what is not RAM is logged', () => {
    const b = bench();
    start(b);
    b.memory.bytes.fill(0xaa);
    const written: [number, number][] = [];
    b.memory.onWrite((gpa, length) => written.push([gpa, length]));
    const sent = b.rig.send(0, [pfns(5, 6, 7), pfns(20, 19, 18, 100_000, 3)]);
    expect(sent.written).toBe(0);
    expect(b.released).toEqual([
      [5 * 4096, 3 * 4096],
      [18 * 4096, 3 * 4096],
      [3 * 4096, 4096],
    ]);
    expect(written).toEqual(b.released);
    expect(b.rig.errors).toEqual(['4096 bytes at 0x186a0000 are not RAM']);
    expect(b.memory.bytes[4 * 4096]).toBe(0xaa);
    expect(b.rig.send(1, [pfns(5, 6, 7)]).used).toBe(true);
    expect(b.rig.send(0, [new Uint8Array(65537 * 4)]).used).toBe(true);
    expect(b.released.length).toBe(3);
  });

  test('without a way to release them pages are only counted', () => {
    const b = bench({}, false);
    start(b);
    b.memory.bytes.fill(0xaa);
    expect(b.rig.send(0, [pfns(1)]).used).toBe(true);
    expect(b.memory.bytes[4096]).toBe(0xaa);
  });

  test('statistics are asked for at the interval, and the buffer is kept between', () => {
    const b = bench();
    start(b);
    b.device.setStatsInterval(2);
    const first = b.rig.send(2, [stats([[4, 5n]])]);
    expect(first.used).toBe(false);
    expect(b.device.stats.get('stat-free-memory')).toBe(5n);
    expect(b.device.lastUpdate).toBe(1_700_000_000);
    b.clock.advance(2e9);
    expect(first.used).toBe(true);
    const second = b.rig.send(2, [stats([[4, 6n]])]);
    expect(b.device.stats.get('stat-free-memory')).toBe(6n);
    expect(b.device.lastUpdate).toBe(1_700_000_002);
    b.device.setStatsInterval(0);
    b.clock.advance(10e9);
    expect(second.used).toBe(false);
    b.device.setStatsInterval(1);
    b.clock.advance(1e9);
    expect(second.used).toBe(true);
  });

  test('a second buffer in statsq gives the first one back', () => {
    const b = bench();
    start(b);
    const first = b.rig.send(2, [stats([])]);
    const second = b.rig.send(2, [stats([[5, 1n]])]);
    expect([first.used, second.used]).toEqual([true, false]);
    expect(b.rig.errors[0]).toContain('statsq');
  });

  test("a legacy driver's first statistics are ignored", () => {
    const b = bench();
    b.rig.start(d.VIRTIO_BALLOON_F_STATS_VQ);
    b.device.setStatsInterval(1);
    b.rig.send(2, [stats([[4, 0xdeadn]])]);
    expect(b.device.stats.size).toBe(0);
    b.clock.advance(1e9);
    b.rig.send(2, [stats([[4, 7n]])]);
    expect(b.device.stats.get('stat-free-memory')).toBe(7n);
  });

  test('the queue of free pages moves up where there is no statsq', () => {
    const b = bench({ 'free-page-reporting': true });
    start(b, d.VIRTIO_BALLOON_F_STATS_VQ);
    expect(b.rig.send(2, [], [8192]).room.every((byte) => byte === 0)).toBe(true);
  });
});

describe('memory balloon clauses', () => {
  test('dev:Device Types / Memory Balloon Device / Feature bits#1 MUST_TELL_HOST is not offered, so that nothing is refused', () => {
    const b = bench();
    expect(b.device.features & d.VIRTIO_BALLOON_F_MUST_TELL_HOST).toBe(0n);
    b.rig.start(MODERN);
  });

  test('dev:Device Types / Memory Balloon Device / Device Operation#1 a page is modified before the request is used', () => {
    const b = bench();
    start(b);
    b.memory.bytes.fill(0xaa);
    expect(b.rig.send(0, [pfns(9)]).used).toBe(true);
    expect(b.memory.bytes[9 * 4096]).toBe(0);
  });

  test('dev:Device Types / Memory Balloon Device / Device Operation / Memory Statistics#1 unknown tags are ignored', () => {
    const b = bench();
    start(b);
    const entries = stats([
      [99, 1n],
      [0xffff, 2n],
      [5, 3n],
    ]);
    b.rig.send(2, [entries.subarray(0, 13), entries.subarray(13)]);
    expect([...b.device.stats]).toEqual([['stat-total-memory', 3n]]);
  });

  test('dev:Device Types / Memory Balloon Device / Device Operation / Memory Statistics#2 any order will do', () => {
    const b = bench();
    start(b);
    const tags = [9, 3, 0, 7, 5, 1, 8, 2, 6, 4];
    b.rig.send(2, [stats(tags.map((tag) => [tag, BigInt(tag)]))]);
    expect(d.STAT_NAMES.map((name) => b.device.stats.get(name))).toEqual([...tags].sort().map(BigInt));
  });

  test('dev:Device Types / Memory Balloon Device / Device Operation / Page Poison#1 poison_val is a hint', () => {
    const b = bench();
    b.device.writeConfig(d.CONFIG.POISON_VAL, 4, 0xaaaaaaaa);
    start(b);
    expect(b.device.readConfig(d.CONFIG.POISON_VAL, 4)).toBe(0xaaaaaaaa);
  });

  test('dev:Device Types / Memory Balloon Device / Device Operation / Free Page Reporting#1 reported pages are released', () => {
    const b = bench({ 'free-page-reporting': true });
    start(b, d.VIRTIO_BALLOON_F_PAGE_POISON);
    const sent = b.rig.send(3, [], [4096, 8192]);
    expect(sent.written).toBe(0);
    expect(sent.room.every((byte) => byte === 0)).toBe(true);
  });

  test('dev:Device Types / Memory Balloon Device / Device Operation / Free Page Reporting#2 but not where they hold a poison', () => {
    const b = bench({ 'free-page-reporting': true });
    start(b);
    b.device.writeConfig(d.CONFIG.POISON_VAL, 4, 0xeeeeeeee);
    expect(b.rig.send(3, [], [4096]).room.every((byte) => byte === 0xee)).toBe(true);
    b.device.writeConfig(d.CONFIG.POISON_VAL, 4, 0);
    expect(b.rig.send(3, [], [4096]).room.every((byte) => byte === 0)).toBe(true);
  });
});
