import { describe, expect, it } from 'vitest';
import { CACHE_MODES } from './cache.ts';
import { BlockIoError } from './errors.ts';
import type { HostFile } from './file.ts';
import { MemoryFile } from './memory.ts';
import { RawBackend } from './raw.ts';

const options = { readOnly: false, cache: CACHE_MODES['writeback']! };

/** A file that counts its syncs and finishes them when told to. */
class SlowSync extends MemoryFile {
  pending: { resolve: () => void; reject: (error: Error) => void }[] = [];
  syncs = 0;
  override sync(): Promise<void> {
    this.syncs++;
    return new Promise((resolve, reject) => this.pending.push({ resolve, reject }));
  }
}

describe('raw', () => {
  it('pads a size that is not a multiple of 512 with zeroes', async () => {
    const raw = new RawBackend(MemoryFile.from(new Uint8Array(1000).fill(7)), options);
    expect(raw.size).toBe(1024);
    const sector = new Uint8Array(512).fill(9);
    await raw.read(512, [sector.subarray(0, 100), sector.subarray(100)]);
    expect([...sector.subarray(0, 488)].every((byte) => byte === 7)).toBe(true);
    expect([...sector.subarray(488)].every((byte) => byte === 0)).toBe(true);
  });

  it('refuses what lies beyond the end and writes to a read-only image', () => {
    const raw = new RawBackend(new MemoryFile(4096), options);
    expect(() => raw.read(4096, [new Uint8Array(1)])).toThrow(BlockIoError);
    expect(() => raw.write(-512, [new Uint8Array(512)])).toThrow(BlockIoError);
    const fixed = new RawBackend(new MemoryFile(4096), { ...options, readOnly: true });
    expect(() => fixed.write(0, [new Uint8Array(512)])).toThrow(expect.objectContaining({ code: 'EROFS' }));
    expect(() => fixed.writeZeroes(0, 512, false)).toThrow(expect.objectContaining({ code: 'EROFS' }));
  });

  it('flushes only when something was written, and joins flushes that come while one runs', async () => {
    const file = new SlowSync(4096);
    const raw = new RawBackend(file, options);
    expect(raw.flush()).toBeUndefined();
    await raw.write(0, [new Uint8Array(512)]);
    const first = raw.flush();
    await raw.write(512, [new Uint8Array(512)]);
    const second = raw.flush();
    const third = raw.flush();
    expect(file.syncs).toBe(1);
    file.pending.shift()!.resolve();
    await first;
    await Promise.resolve();
    expect(file.syncs).toBe(2);
    let late = false;
    void Promise.all([second, third]).then(() => (late = true));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(late).toBe(false);
    file.pending.shift()!.resolve();
    await Promise.all([second, third]);
    expect(raw.flush()).toBeUndefined();
    expect(file.syncs).toBe(2);
  });

  it('fails every flush after one has failed', async () => {
    const file = new SlowSync(4096);
    const raw = new RawBackend(file, options);
    await raw.write(0, [new Uint8Array(512)]);
    const flush = raw.flush();
    file.pending.shift()!.reject(new BlockIoError('EIO', 'disk gone'));
    await expect(flush).rejects.toThrow('disk gone');
    expect(() => raw.flush()).toThrow('disk gone');
  });

  it('writethrough completes a write after the sync; unsafe never syncs', async () => {
    const file = new SlowSync(4096);
    const through = new RawBackend(file, { ...options, cache: CACHE_MODES['writethrough']! });
    let done = false;
    const write = (through.write(0, [new Uint8Array(512)]) as Promise<void>).then(() => (done = true));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(done).toBe(false);
    file.pending.shift()!.resolve();
    await write;
    const unsafe = new RawBackend(file, { ...options, cache: CACHE_MODES['unsafe']! });
    await unsafe.write(0, [new Uint8Array(512)]);
    expect(unsafe.flush()).toBeUndefined();
    expect(file.syncs).toBe(1);
  });

  it('writes zeroes itself where the file cannot', async () => {
    class NoZero extends MemoryFile {
      override zero(): boolean {
        return false;
      }
    }
    const file: HostFile = new NoZero(4 << 20, 8 << 20);
    const raw = new RawBackend(file, options);
    await raw.write(0, [new Uint8Array(4 << 20).fill(5)]);
    await raw.writeZeroes(512, 3 << 20, true);
    const all = new Uint8Array(4 << 20);
    await raw.read(0, [all]);
    expect(all.indexOf(0)).toBe(512);
    expect(all.subarray(512).indexOf(5)).toBe(3 << 20);
  });

  it('discard does nothing unless asked for', async () => {
    const file = MemoryFile.from(new Uint8Array(65536).fill(1));
    await new RawBackend(file, options).discard(0, 65536);
    const byte = new Uint8Array(1);
    file.read(0, [byte]);
    expect(byte[0]).toBe(1);
    await new RawBackend(file, { ...options, discard: true }).discard(0, 65536);
    file.read(0, [byte]);
    expect(byte[0]).toBe(0);
  });

  it('keeps the guest from turning a guessed raw image into another format', () => {
    const raw = new RawBackend(new MemoryFile(4096), { ...options, probed: true });
    const sector = new Uint8Array(512);
    sector.set([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);
    expect(() => raw.write(0, [sector])).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(raw.write(512, [sector])).toBeUndefined();
    expect(raw.write(0, [new Uint8Array(512).fill(1)])).toBeUndefined();
  });

  it('detects zeroes when told to', async () => {
    const file = MemoryFile.from(new Uint8Array(131072).fill(1));
    const before = file.allocated;
    const raw = new RawBackend(file, { ...options, detectZeroes: 'unmap' });
    await raw.write(0, [new Uint8Array(65536)]);
    expect(file.allocated).toBe(before - 65536);
  });
});
