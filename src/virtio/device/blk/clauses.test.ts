/** The device-side normative statements of VIRTIO 1.4 §5.2.5.2 and §5.2.6.2, one test each, by their ids. */
import { describe, expect, test } from 'vitest';
import { Tracer } from '../../../core/trace.ts';
import type { PropertyValues } from '../../../qapi/property.ts';
import { FakeTransport } from '../fake-transport.ts';
import * as d from './defs.ts';
import { VirtioBlk } from './device.ts';
import { MemoryDisk } from './memory-disk.ts';
import { blkSettings } from './properties.ts';

function blk(disk: MemoryDisk, values: PropertyValues = {}, writeCache = true): FakeTransport<VirtioBlk> {
  const settings = blkSettings(values);
  return new FakeTransport(new VirtioBlk({ backend: disk, tracer: new Tracer(), settings, writeCache }));
}

function request(type: number, sector = 0, ...data: Uint8Array[]): Uint8Array[] {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return [bytes, ...data];
}

function segment(sector: number, count: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, count, true);
  view.setUint32(12, flags, true);
  return bytes;
}

const write = (value: number) => request(d.VIRTIO_BLK_T_OUT, 0, new Uint8Array(512).fill(value));
const ALL_COMBINATIONS: PropertyValues[] = [
  {},
  { 'config-wce': false },
  { 'write-cache': false },
  { 'write-cache': true, 'config-wce': false },
  { discard: false },
  { 'num-queues': 4 },
];

describe('block device initialization', () => {
  test('dev:Device Types / Block Device / Device Initialization#1 FLUSH is offered wherever CONFIG_WCE is', () => {
    for (const values of ALL_COMBINATIONS) {
      const { features } = blk(new MemoryDisk(8), values).device;
      if ((features & d.VIRTIO_BLK_F_CONFIG_WCE) !== 0n) expect(features & d.VIRTIO_BLK_F_FLUSH).not.toBe(0n);
    }
    expect(blk(new MemoryDisk(8)).device.features & d.VIRTIO_BLK_F_FLUSH).not.toBe(0n);
  });

  test('dev:Device Types / Block Device / Device Initialization#2 CONFIG_WCE without FLUSH starts with writeback 0', () => {
    const rig = blk(new MemoryDisk(8));
    rig.start(d.VIRTIO_BLK_F_CONFIG_WCE);
    expect(rig.device.readConfig(d.CONFIG.WRITEBACK, 1)).toBe(0);
    rig.reset();
    rig.start(d.VIRTIO_BLK_F_CONFIG_WCE | d.VIRTIO_BLK_F_FLUSH);
    expect(rig.device.readConfig(d.CONFIG.WRITEBACK, 1)).toBe(1);
  });

  test('dev:Device Types / Block Device / Device Initialization#3 padding is 0', () => {
    const { device } = blk(new MemoryDisk(8));
    expect(device.readConfig(d.CONFIG.UNUSED0, 1)).toBe(0);
    for (let i = 0; i < 3; i++) expect(device.readConfig(d.CONFIG.UNUSED1 + i, 1)).toBe(0);
  });

  test('dev:Device Types / Block Device / Device Initialization#4 a disk without zones does not offer ZONED', () => {
    for (const values of ALL_COMBINATIONS) {
      expect(blk(new MemoryDisk(8), values).device.features & d.VIRTIO_BLK_F_ZONED).toBe(0n);
    }
  });

  test('dev:Device Types / Block Device / Device Initialization#5 ZONED is not offered to legacy drivers either', () => {
    // The legacy interface shows bits 0 to 31 of the same offer.
    expect(BigInt.asUintN(32, blk(new MemoryDisk(8)).device.features) & d.VIRTIO_BLK_F_ZONED).toBe(0n);
  });

  test('dev:Device Types / Block Device / Device Initialization#6 without ZONED it initializes, zone fields read 0', () => {
    const rig = blk(new MemoryDisk(8)).start();
    for (let offset = d.CONFIG.END; offset < 96; offset += 4)
      expect(rig.device.readConfig(offset, 4)).toBe(0);
    expect(rig.send(0, write(1), [1]).room[0]).toBe(d.VIRTIO_BLK_S_OK);
  });
});

describe('block device operation', () => {
  test('dev:Device Types / Block Device / Device Operation#1 the capacity may change while it runs', () => {
    const disk = new MemoryDisk(8);
    const rig = blk(disk).start();
    disk.data = new Uint8Array(16 * 512);
    rig.device.sizeChanged();
    expect(rig.device.readConfig(d.CONFIG.CAPACITY, 4)).toBe(16);
    const sent = rig.send(0, request(d.VIRTIO_BLK_T_IN, 15), [512, 1]);
    expect(sent.room[512]).toBe(d.VIRTIO_BLK_S_OK);
  });

  test('dev:Device Types / Block Device / Device Operation#2 a new capacity gives a configuration change', () => {
    const rig = blk(new MemoryDisk(8)).start();
    rig.device.sizeChanged();
    expect(rig.configChanges).toBe(1);
  });

  test('dev:Device Types / Block Device / Device Operation#3 a read-only disk refuses writes and writes nothing', () => {
    const disk = new MemoryDisk(8, { readOnly: true });
    const rig = blk(disk).start();
    disk.log.length = 0;
    expect(rig.send(0, write(1), [1]).room[0]).toBe(d.VIRTIO_BLK_S_IOERR);
    for (const type of [d.VIRTIO_BLK_T_DISCARD, d.VIRTIO_BLK_T_WRITE_ZEROES]) {
      expect(rig.send(0, request(type, 0, segment(0, 1)), [1]).room[0]).toBe(d.VIRTIO_BLK_S_IOERR);
    }
    expect(disk.log).toEqual([]);
    // Nor where the driver did not accept VIRTIO_BLK_F_RO: that it is offered is enough.
    rig.reset();
    rig.start(0n);
    expect(rig.send(0, write(1), [1]).room[0]).toBe(d.VIRTIO_BLK_S_IOERR);
  });

  test('dev:Device Types / Block Device / Device Operation#4 unknown flags are unsupported', () => {
    const rig = blk(new MemoryDisk(8)).start();
    for (const type of [d.VIRTIO_BLK_T_DISCARD, d.VIRTIO_BLK_T_WRITE_ZEROES, d.VIRTIO_BLK_T_SECURE_ERASE]) {
      for (const flags of [2, 0x80000000, 0xfffffffe]) {
        const sent = rig.send(0, request(type, 0, segment(0, 1, flags)), [1]);
        expect(sent.room[0]).toBe(d.VIRTIO_BLK_S_UNSUPP);
      }
    }
  });

  test('dev:Device Types / Block Device / Device Operation#5 discard with unmap is unsupported', () => {
    const rig = blk(new MemoryDisk(8)).start();
    const sent = rig.send(0, request(d.VIRTIO_BLK_T_DISCARD, 0, segment(0, 1, 1)), [1]);
    expect(sent.room[0]).toBe(d.VIRTIO_BLK_S_UNSUPP);
  });

  test('dev:Device Types / Block Device / Device Operation#6 discard reaches the back end', () => {
    const disk = new MemoryDisk(8);
    const rig = blk(disk).start();
    expect(rig.send(0, request(d.VIRTIO_BLK_T_DISCARD, 0, segment(2, 3)), [1]).room[0]).toBe(0);
    expect(disk.log).toContain('discard 1024 1536');
  });

  test('dev:Device Types / Block Device / Device Operation#7 write zeroes passes unmap on', () => {
    const disk = new MemoryDisk(8);
    const rig = blk(disk).start();
    rig.send(0, request(d.VIRTIO_BLK_T_WRITE_ZEROES, 0, segment(2, 3, 1)), [1]);
    rig.send(0, request(d.VIRTIO_BLK_T_WRITE_ZEROES, 0, segment(2, 3, 0)), [1]);
    expect(disk.log.slice(-2)).toEqual(['zero 1024 1536 true', 'zero 1024 1536 false']);
  });

  test('dev:Device Types / Block Device / Device Operation#8 after write zeroes the range reads as zeroes', () => {
    for (const flags of [0, 1]) {
      const disk = new MemoryDisk(8);
      disk.data.fill(0xaa);
      const rig = blk(disk).start();
      const zeroed = rig.send(0, request(d.VIRTIO_BLK_T_WRITE_ZEROES, 0, segment(2, 3, flags)), [1]);
      expect(zeroed.room[0]).toBe(d.VIRTIO_BLK_S_OK);
      const read = rig.send(0, request(d.VIRTIO_BLK_T_IN, 1), [5 * 512, 1]).answer;
      expect(read.subarray(0, 512).every((byte) => byte === 0xaa)).toBe(true);
      expect(read.subarray(512, 2048).every((byte) => byte === 0)).toBe(true);
      expect(read.subarray(2048, 2560).every((byte) => byte === 0xaa)).toBe(true);
    }
  });

  test('dev:Device Types / Block Device / Device Operation#9 write_zeroes_may_unmap is set where unmap is passed on', () => {
    expect(blk(new MemoryDisk(8)).device.readConfig(d.CONFIG.WRITE_ZEROES_MAY_UNMAP, 1)).toBe(1);
    const without = blk(new MemoryDisk(8), { 'write-zeroes': false });
    expect(without.device.readConfig(d.CONFIG.WRITE_ZEROES_MAY_UNMAP, 1)).toBe(0);
  });

  test('dev:Device Types / Block Device / Device Operation#12 stable writes are committed before they complete', async () => {
    // Case 1: neither CONFIG_WCE nor FLUSH negotiated.
    const plain = new MemoryDisk(8);
    expect(blk(plain).start(0n).send(0, write(1), [1]).used).toBe(true);
    expect(plain.stable[0]).toBe(1);
    // Case 2: writeback is 0, with a back end that answers later.
    const slow = new MemoryDisk(8, { later: true });
    const rig = blk(slow).start();
    slow.waiting.length = 0;
    rig.device.writeConfig(d.CONFIG.WRITEBACK, 1, 0);
    const sent = rig.send(0, write(2), [1]);
    slow.waiting[0]!.finish();
    await expect.poll(() => slow.waiting.length).toBe(2);
    expect(sent.used).toBe(false);
    expect(slow.waiting[1]!.operation).toBe('flush');
    slow.waiting[1]!.finish();
    await expect.poll(() => sent.used).toBe(true);
    expect(slow.stable[0]).toBe(2);
    // Case 3: a volatile write becomes stable with the flush that follows it.
    const cached = new MemoryDisk(8);
    const writeback = blk(cached).start();
    writeback.send(0, write(3), [1]);
    expect(cached.stable[0]).toBe(0);
    expect(writeback.send(0, request(d.VIRTIO_BLK_T_FLUSH), [1]).room[0]).toBe(d.VIRTIO_BLK_S_OK);
    expect(cached.stable[0]).toBe(3);
  });

  test('dev:Device Types / Block Device / Device Operation#13 without FLUSH on offer writes are committed too', () => {
    const disk = new MemoryDisk(8);
    const rig = blk(disk, { 'config-wce': false, 'write-cache': false });
    expect(rig.device.features & d.VIRTIO_BLK_F_FLUSH).toBe(0n);
    rig.start().send(0, write(4), [1]);
    expect(disk.stable[0]).toBe(4);
  });

  test('dev:Device Types / Block Device / Device Operation#15 LIFETIME is not offered without metrics', () => {
    const rig = blk(new MemoryDisk(8)).start();
    expect(rig.device.features & d.VIRTIO_BLK_F_LIFETIME).toBe(0n);
    const sent = rig.send(0, request(d.VIRTIO_BLK_T_GET_LIFETIME), [6, 1]);
    expect(sent.room[6]).toBe(d.VIRTIO_BLK_S_UNSUPP);
  });

  test('dev:Device Types / Block Device / Device Operation#17 zone requests are unsupported without ZONED', () => {
    const rig = blk(new MemoryDisk(8)).start();
    for (const type of [
      d.VIRTIO_BLK_T_ZONE_REPORT,
      d.VIRTIO_BLK_T_ZONE_OPEN,
      d.VIRTIO_BLK_T_ZONE_CLOSE,
      d.VIRTIO_BLK_T_ZONE_FINISH,
      d.VIRTIO_BLK_T_ZONE_APPEND,
      d.VIRTIO_BLK_T_ZONE_RESET,
      d.VIRTIO_BLK_T_ZONE_RESET_ALL,
    ]) {
      expect(rig.send(0, request(type), [64, 1]).room[64]).toBe(d.VIRTIO_BLK_S_UNSUPP);
    }
  });
});
