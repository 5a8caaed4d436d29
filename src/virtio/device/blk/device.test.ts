import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Tracer } from '../../../core/trace.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { FakeTransport } from '../fake-transport.ts';
import * as d from './defs.ts';
import { type BlkErrorEvent, VirtioBlk } from './device.ts';
import { guessGeometry } from './geometry.ts';
import { MemoryDisk } from './memory-disk.ts';
import { blkSettings } from './properties.ts';

const OK = d.VIRTIO_BLK_S_OK;
const IOERR = d.VIRTIO_BLK_S_IOERR;
const UNSUPP = d.VIRTIO_BLK_S_UNSUPP;

interface Bench {
  disk: MemoryDisk;
  rig: FakeTransport<VirtioBlk>;
  events: BlkErrorEvent[];
  warnings: string[];
}

function bench(disk: MemoryDisk, values: PropertyValues = {}, writeCache = true): Bench {
  const tracer = new Tracer();
  const events: BlkErrorEvent[] = [];
  const warnings: string[] = [];
  tracer.onWarning = (_, message) => warnings.push(message);
  const device = new VirtioBlk({
    backend: disk,
    tracer,
    settings: blkSettings(values),
    writeCache,
    onError: (event) => events.push(event),
  });
  return { disk, rig: new FakeTransport(device), events, warnings };
}

function header(type: number, sector = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

function segment(sector: number, count: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, count, true);
  view.setUint32(12, flags, true);
  return bytes;
}

/** Sends and returns the status byte, or -1 while it is not used. */
function status(b: Bench, readable: Uint8Array[], room = 0): number {
  const sent = b.rig.send(0, readable, room === 0 ? [1] : [room, 1]);
  return sent.used ? sent.room.at(-1)! : -1;
}

const pattern = (length: number, seed: number) => new Uint8Array(length).map((_, i) => (i * 7 + seed) & 0xff);
const config = (b: Bench, offset: number, size: 1 | 2 | 4) => b.rig.device.readConfig(offset, size);

describe('virtio-blk requests', () => {
  test('writes and reads back', () => {
    const b = bench(new MemoryDisk(64));
    b.rig.start();
    const data = pattern(1024, 1);
    expect(status(b, [header(d.VIRTIO_BLK_T_OUT, 5), data])).toBe(OK);
    const read = b.rig.send(0, [header(d.VIRTIO_BLK_T_IN, 5)], [1024, 1]);
    expect(read.written).toBe(1025);
    expect(read.answer.subarray(0, 1024)).toEqual(data);
    expect(read.answer[1024]).toBe(OK);
    expect(b.rig.device.stats).toMatchObject({ readBytes: 1024, writtenBytes: 1024 });
  });

  test('makes no assumption on framing: header, data and status cut anywhere', () => {
    const b = bench(new MemoryDisk(16));
    b.rig.start();
    const cut = (bytes: Uint8Array, at: number[]) => {
      const points = [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((x, y) => x - y);
      const pieces: Uint8Array[] = [];
      let from = 0;
      for (const point of [...points, bytes.length]) {
        pieces.push(bytes.slice(from, point));
        from = point;
      }
      return pieces;
    };
    fc.assert(
      fc.property(fc.array(fc.nat(2000)), fc.array(fc.nat(2000)), fc.nat(255), (outs, ins, seed) => {
        const data = pattern(1024, seed);
        const request = new Uint8Array([...header(d.VIRTIO_BLK_T_OUT, 3), ...data]);
        const written = b.rig.send(0, cut(request, outs), [1]);
        expect(written.room[0]).toBe(OK);
        const lengths = cut(new Uint8Array(1025), ins).map((piece) => piece.length);
        const read = b.rig.send(0, cut(header(d.VIRTIO_BLK_T_IN, 3), outs), lengths);
        expect(read.answer.subarray(0, 1024)).toEqual(data);
        expect(read.answer[1024]).toBe(OK);
      }),
      { numRuns: 60 },
    );
  });

  test('GET_ID gives 20 bytes, NUL-padded, never more', () => {
    const b = bench(new MemoryDisk(8), { serial: 'disk-1' });
    b.rig.start();
    const sent = b.rig.send(0, [header(d.VIRTIO_BLK_T_GET_ID)], [20, 1]);
    expect(Buffer.from(sent.answer).toString('latin1')).toBe(`disk-1${'\0'.repeat(14)}\0`);
    const long = bench(new MemoryDisk(8), { serial: '123456789012345678901234' });
    long.rig.start();
    const all = long.rig.send(0, [header(d.VIRTIO_BLK_T_GET_ID)], [24, 1]);
    expect(Buffer.from(all.answer).toString('latin1')).toBe('12345678901234567890\0\0\0\0\0');
    const short = long.rig.send(0, [header(d.VIRTIO_BLK_T_GET_ID)], [4, 1]);
    expect(Buffer.from(short.answer).toString('latin1')).toBe('1234\0');
  });

  test('refuses what is outside the disk, and never asks the back end', () => {
    const b = bench(new MemoryDisk(8));
    b.rig.start();
    b.disk.log.length = 0;
    expect(status(b, [header(d.VIRTIO_BLK_T_IN, 8)], 512)).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_IN, 7)], 1024)).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_OUT, 8), new Uint8Array(512)])).toBe(IOERR);
    const huge = header(d.VIRTIO_BLK_T_IN);
    huge.fill(0xff, 8);
    expect(status(b, [huge], 512)).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_DISCARD), segment(7, 2)])).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_WRITE_ZEROES), segment(2 ** 52, 1)])).toBe(IOERR);
    expect(b.disk.log).toEqual([]);
    expect(b.rig.device.stats.invalidOperations).toBe(6);
  });

  test('refuses lengths that are not whole sectors or logical blocks', () => {
    const b = bench(new MemoryDisk(64));
    b.rig.start();
    expect(status(b, [header(d.VIRTIO_BLK_T_IN, 0)], 511)).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_OUT, 0), new Uint8Array(513)])).toBe(IOERR);
    const big = bench(new MemoryDisk(64), { logical_block_size: 4096, physical_block_size: 4096 });
    big.rig.start();
    expect(status(big, [header(d.VIRTIO_BLK_T_IN, 0)], 512)).toBe(IOERR);
    expect(status(big, [header(d.VIRTIO_BLK_T_IN, 1)], 4096)).toBe(IOERR);
    expect(status(big, [header(d.VIRTIO_BLK_T_IN, 8)], 4096)).toBe(OK);
  });

  test('a short header is answered with an I/O error, and no room for the status breaks the device', () => {
    const b = bench(new MemoryDisk(8));
    b.rig.start();
    expect(status(b, [new Uint8Array(15)])).toBe(IOERR);
    expect(status(b, [])).toBe(IOERR);
    expect(b.rig.errors.length).toBe(2);
    const sent = b.rig.send(0, [header(d.VIRTIO_BLK_T_FLUSH)], []);
    expect(sent.used).toBe(false);
    expect(b.rig.resets).toEqual(['request without room for its status byte']);
  });

  test('unknown types are unsupported', () => {
    const b = bench(new MemoryDisk(8));
    b.rig.start();
    for (const type of [2, 3, 5, 7, 10, 14, 99, 0x80000000, 0xffffffff]) {
      expect(status(b, [header(type)]), `type ${type}`).toBe(UNSUPP);
    }
  });

  test('the used length counts only what was written from the start', () => {
    const b = bench(new MemoryDisk(8));
    b.rig.start();
    expect(b.rig.send(0, [header(d.VIRTIO_BLK_T_FLUSH)], [1]).written).toBe(1);
    expect(b.rig.send(0, [header(d.VIRTIO_BLK_T_IN, 100)], [512, 1]).written).toBe(0);
    b.disk.failures.set('read', 'EIO');
    const failed = b.rig.send(0, [header(d.VIRTIO_BLK_T_IN)], [512, 1]);
    expect(failed.written).toBe(513);
    expect(failed.room.subarray(0, 512).every((byte) => byte === 0)).toBe(true);
  });

  test('discard and write-zeroes: limits, lengths, several segments, not offered', () => {
    const b = bench(new MemoryDisk(64), { 'max-discard-sectors': 16, 'max-write-zeroes-sectors': 8 });
    b.rig.start();
    b.disk.log.length = 0;
    expect(status(b, [header(d.VIRTIO_BLK_T_DISCARD), segment(8, 16)])).toBe(OK);
    expect(b.disk.log).toEqual(['discard 4096 8192']);
    expect(status(b, [header(d.VIRTIO_BLK_T_DISCARD), segment(8, 17)])).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_WRITE_ZEROES), segment(8, 9)])).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_DISCARD), new Uint8Array(8)])).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_DISCARD), new Uint8Array(24)])).toBe(IOERR);
    expect(status(b, [header(d.VIRTIO_BLK_T_DISCARD), segment(0, 1), segment(2, 1)])).toBe(UNSUPP);
    const without = bench(new MemoryDisk(64), { discard: false, 'write-zeroes': false });
    without.rig.start();
    expect(status(without, [header(d.VIRTIO_BLK_T_DISCARD), segment(0, 1)])).toBe(UNSUPP);
    expect(status(without, [header(d.VIRTIO_BLK_T_WRITE_ZEROES), segment(0, 1)])).toBe(UNSUPP);
    expect(without.rig.device.features & (d.VIRTIO_BLK_F_DISCARD | d.VIRTIO_BLK_F_WRITE_ZEROES)).toBe(0n);
  });
});

describe('virtio-blk completion', () => {
  test('requests complete in any order, and one turn is published at once', async () => {
    const b = bench(new MemoryDisk(64, { later: true }));
    b.disk.data.set(pattern(512 * 3, 9));
    b.rig.start();
    b.disk.waiting.length = 0;
    const sent = [0, 1, 2].map((sector) => b.rig.send(0, [header(d.VIRTIO_BLK_T_IN, sector)], [512, 1]));
    expect(sent.map((s) => s.used)).toEqual([false, false, false]);
    b.disk.waiting[2]!.finish();
    b.disk.waiting[0]!.finish();
    await expect.poll(() => sent.map((s) => s.used)).toEqual([true, false, true]);
    expect(b.rig.queues[0]!.interrupts).toBe(1);
    b.disk.waiting[1]!.finish();
    await expect.poll(() => sent[1]!.used).toBe(true);
    for (const [sector, s] of sent.entries()) {
      expect(s.answer.subarray(0, 512)).toEqual(b.disk.data.subarray(sector * 512, sector * 512 + 512));
    }
  });

  test('a batch of requests that complete at once gives one interrupt', () => {
    const b = bench(new MemoryDisk(64));
    b.rig.start();
    for (let i = 0; i < 10; i++) b.rig.send(0, [header(d.VIRTIO_BLK_T_IN, i)], [512, 1], false);
    b.rig.device.notify(0);
    expect(b.rig.queues[0]!.interrupts).toBe(1);
  });

  test('completions that come after a reset are dropped; idle() waits for them', async () => {
    const b = bench(new MemoryDisk(64, { later: true }));
    b.rig.start();
    b.disk.waiting.length = 0;
    const lost = b.rig.send(0, [header(d.VIRTIO_BLK_T_IN, 1)], [512, 1]);
    expect(b.rig.device.busy).toBe(true);
    b.rig.reset();
    b.rig.start();
    const idle = b.rig.device.idle();
    const next = b.rig.send(0, [header(d.VIRTIO_BLK_T_IN, 2)], [512, 1]);
    b.disk.waiting[0]!.finish();
    b.disk.waiting[1]!.fail('EIO');
    await idle;
    await expect.poll(() => next.used).toBe(true);
    expect(next.room.at(-1)).toBe(IOERR);
    expect(lost.used).toBe(false);
    expect(b.rig.device.busy).toBe(false);
  });

  test('a queue reset drops the requests of that queue only', async () => {
    const b = bench(new MemoryDisk(64, { later: true }), { 'num-queues': 2 });
    b.rig.start();
    b.disk.waiting.length = 0;
    const first = b.rig.send(0, [header(d.VIRTIO_BLK_T_IN)], [512, 1]);
    const second = b.rig.send(1, [header(d.VIRTIO_BLK_T_IN)], [512, 1]);
    b.rig.device.queueReset(0);
    b.rig.queues[0]!.clear();
    for (const waiting of b.disk.waiting) waiting.finish();
    await expect.poll(() => second.used).toBe(true);
    expect(first.used).toBe(false);
  });

  test('buffers that were there before DRIVER_OK are served by it', () => {
    const b = bench(new MemoryDisk(64));
    const early = b.rig.send(0, [header(d.VIRTIO_BLK_T_IN)], [512, 1]);
    expect(early.used).toBe(false);
    b.rig.start();
    expect(early.used).toBe(true);
  });
});

describe('virtio-blk host errors', () => {
  const write = () => [header(d.VIRTIO_BLK_T_OUT, 0), pattern(512, 3)];

  test('by default a full disk is an I/O error for the guest, and the next write goes through', () => {
    const b = bench(new MemoryDisk(8));
    b.rig.start();
    b.disk.failures.set('write', 'ENOSPC');
    expect(status(b, write())).toBe(IOERR);
    expect(b.events).toEqual([
      { operation: 'write', action: 'report', nospace: true, code: 'ENOSPC', reason: 'ENOSPC: made to fail' },
    ]);
    expect(b.warnings[0]).toContain('memory (test): write failed (report)');
    expect(status(b, write())).toBe(OK);
  });

  test('ignore answers with success', () => {
    const b = bench(new MemoryDisk(8), { werror: 'ignore', rerror: 'ignore' });
    b.rig.start();
    b.disk.failures.set('write', 'EIO');
    expect(status(b, write())).toBe(OK);
    b.disk.failures.set('read', 'EIO');
    expect(status(b, [header(d.VIRTIO_BLK_T_IN)], 512)).toBe(OK);
  });

  test('stop keeps the request until retry', () => {
    const b = bench(new MemoryDisk(8), { werror: 'stop' });
    b.rig.start();
    b.disk.failures.set('write', 'EIO');
    const sent = b.rig.send(0, write(), [1]);
    expect(sent.used).toBe(false);
    expect(b.events[0]).toMatchObject({ action: 'stop', operation: 'write', nospace: false });
    b.rig.device.retry();
    expect(sent.room[0]).toBe(OK);
    expect(b.disk.data.subarray(0, 512)).toEqual(pattern(512, 3));
  });

  test('enospc stops for a full disk only', async () => {
    const b = bench(new MemoryDisk(8, { later: true }), { werror: 'enospc' });
    b.rig.start();
    b.disk.waiting.length = 0;
    const full = b.rig.send(0, write(), [1]);
    const broken = b.rig.send(0, write(), [1]);
    b.disk.waiting[0]!.fail('ENOSPC');
    b.disk.waiting[1]!.fail('EIO');
    await expect.poll(() => broken.used).toBe(true);
    expect(broken.room[0]).toBe(IOERR);
    expect(full.used).toBe(false);
    b.rig.device.retry();
    b.disk.waiting[2]!.finish();
    await expect.poll(() => full.used).toBe(true);
  });

  test('requests that were kept are forgotten at reset', () => {
    const b = bench(new MemoryDisk(8), { werror: 'stop' });
    b.rig.start();
    b.disk.failures.set('write', 'EIO');
    const sent = b.rig.send(0, write(), [1]);
    b.rig.reset();
    b.rig.start();
    b.disk.log.length = 0;
    b.rig.device.retry();
    expect(sent.used).toBe(false);
    expect(b.disk.log).toEqual([]);
  });
});

describe('virtio-blk configuration', () => {
  test('offers what QEMU 7.2 offers', () => {
    const b = bench(new MemoryDisk(2048));
    // 4 bits of geometry and size, FLUSH, CONFIG_WCE, DISCARD, WRITE_ZEROES.
    expect(b.rig.device.features).toBe(0x6e54n);
    expect(bench(new MemoryDisk(8, { readOnly: true })).rig.device.features & d.VIRTIO_BLK_F_RO).not.toBe(0n);
    expect(bench(new MemoryDisk(8), { 'num-queues': 4 }).rig.device.features & d.VIRTIO_BLK_F_MQ).not.toBe(
      0n,
    );
  });

  test('configuration space shows size, geometry, topology and limits', () => {
    const b = bench(new MemoryDisk(20480), {
      'num-queues': 3,
      logical_block_size: 512,
      physical_block_size: 4096,
      min_io_size: 4096,
      opt_io_size: 65536,
    });
    expect(config(b, d.CONFIG.CAPACITY, 4)).toBe(20480);
    expect(config(b, d.CONFIG.CAPACITY + 4, 4)).toBe(0);
    expect(config(b, d.CONFIG.SIZE_MAX, 4)).toBe(0);
    expect(config(b, d.CONFIG.SEG_MAX, 4)).toBe(254);
    expect(config(b, d.CONFIG.CYLINDERS, 2)).toBe(20);
    expect(config(b, d.CONFIG.HEADS, 1)).toBe(16);
    expect(config(b, d.CONFIG.SECTORS, 1)).toBe(63);
    expect(config(b, d.CONFIG.BLK_SIZE, 4)).toBe(512);
    expect(config(b, d.CONFIG.PHYSICAL_BLOCK_EXP, 1)).toBe(3);
    expect(config(b, d.CONFIG.MIN_IO_SIZE, 2)).toBe(8);
    expect(config(b, d.CONFIG.OPT_IO_SIZE, 4)).toBe(128);
    expect(config(b, d.CONFIG.NUM_QUEUES, 2)).toBe(3);
    expect(config(b, d.CONFIG.MAX_DISCARD_SECTORS, 4)).toBe(4194303);
    expect(config(b, d.CONFIG.MAX_DISCARD_SEG, 4)).toBe(1);
    expect(config(b, d.CONFIG.DISCARD_SECTOR_ALIGNMENT, 4)).toBe(1);
    expect(config(b, d.CONFIG.WRITE_ZEROES_MAY_UNMAP, 1)).toBe(1);
    expect(b.rig.queues.map((queue) => queue.name)).toEqual(['requestq1', 'requestq2', 'requestq3']);
  });

  test('only writeback can be written, and only where CONFIG_WCE is offered', () => {
    const b = bench(new MemoryDisk(8));
    b.rig.start();
    b.rig.device.writeConfig(d.CONFIG.CAPACITY, 4, 99);
    expect(config(b, d.CONFIG.CAPACITY, 4)).toBe(8);
    b.rig.device.writeConfig(d.CONFIG.WRITEBACK, 1, 0);
    expect(b.rig.device.writeback).toBe(false);
    b.rig.device.writeConfig(d.CONFIG.WRITEBACK, 4, 0x00000001);
    expect(b.rig.device.writeback).toBe(true);
    const fixed = bench(new MemoryDisk(8), { 'config-wce': false });
    fixed.rig.start();
    fixed.rig.device.writeConfig(d.CONFIG.WRITEBACK, 1, 0);
    expect(fixed.rig.device.writeback).toBe(true);
  });

  test('geometry is guessed as QEMU does: from the partition table where it fits', () => {
    expect(guessGeometry(512)).toEqual({ cylinders: 2, heads: 16, sectors: 63 });
    expect(guessGeometry(20 * 2 ** 30)).toEqual({ cylinders: 16383, heads: 16, sectors: 63 });
    const mbr = new Uint8Array(512);
    mbr.set([0x55, 0xaa], 510);
    mbr.set([0x80, 1, 1, 0, 0x83, 7, 32, 0, 1, 0, 0, 0, 0xff, 0x0f, 0, 0], 446);
    expect(guessGeometry(16 * 2 ** 20, mbr)).toEqual({ cylinders: 128, heads: 8, sectors: 32 });
    mbr[446 + 5] = 254; // A BIOS that translated: the table says nothing.
    expect(guessGeometry(16 * 2 ** 20, mbr)).toEqual({ cylinders: 32, heads: 16, sectors: 63 });
  });

  test("bad properties are refused with QEMU's texts", () => {
    const refused: [PropertyValues, string][] = [
      [{ 'num-queues': 0 }, 'num-queues property must be larger than 0'],
      [{ 'queue-size': 2 }, 'invalid queue-size property (2), must be > 2'],
      [{ 'queue-size': 100 }, 'invalid queue-size property (100), must be a power of 2 (max 1024)'],
      [{ 'queue-size': 2048 }, 'invalid queue-size property (2048), must be a power of 2 (max 1024)'],
      [
        { logical_block_size: 1000 },
        "Property .logical_block_size doesn't take value '1000', it's not a power of 2",
      ],
      [
        { logical_block_size: 256 },
        "Property .logical_block_size doesn't take value 256 (minimum: 512, maximum: 2097152)",
      ],
      [
        { logical_block_size: 4096, physical_block_size: 512 },
        'logical_block_size > physical_block_size not supported',
      ],
      [{ min_io_size: 1000 }, 'min_io_size must be a multiple of logical_block_size'],
      [{ min_io_size: 33554432 }, 'min_io_size must not exceed 65535 logical blocks'],
      [{ opt_io_size: 1000 }, 'opt_io_size must be a multiple of logical_block_size'],
      [{ discard_granularity: 1000 }, 'discard_granularity must be a multiple of logical_block_size'],
      [
        { 'max-discard-sectors': 0 },
        'invalid max-discard-sectors property (0), must be between 1 and 4194303',
      ],
      [{ werror: 'foo' }, "Parameter 'werror' does not accept value 'foo'"],
      [{ cyls: 1 }, 'heads must be between 1 and 255'],
      [{ cyls: 70000, heads: 1, secs: 1 }, 'cyls must be between 1 and 65535'],
      [{ cyls: 1, heads: 1, secs: 256 }, 'secs must be between 1 and 255'],
    ];
    for (const [values, text] of refused) expect(() => blkSettings(values)).toThrow(text);
    expect(blkSettings({}, 4).numQueues).toBe(4);
  });
});
