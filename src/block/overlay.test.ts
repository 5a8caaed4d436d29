import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FaultyBackend } from './faulty.ts';
import { MemoryFile } from './memory.ts';
import { OverlayBackend } from './overlay.ts';
import { CACHE_MODES } from './cache.ts';
import { RawBackend } from './raw.ts';

const SIZE = 40 * 512 * 8;
const operation = fc.record({
  kind: fc.constantFrom('write', 'zero', 'read'),
  offset: fc.integer({ min: 0, max: SIZE / 512 - 1 }).map((sector) => sector * 512),
  sectors: fc.integer({ min: 1, max: 40 }),
  value: fc.integer({ min: 1, max: 255 }),
});

it('equals a plain array whatever is written, and leaves the base alone', { timeout: 30_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 30 }), fc.boolean(), async (operations, slow) => {
      const pattern = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7) & 0xff);
      const file = MemoryFile.from(pattern);
      const raw = new RawBackend(file, { readOnly: true, cache: CACHE_MODES['unsafe']! });
      const base = new FaultyBackend(raw);
      const overlay = new OverlayBackend(base, new MemoryFile(0, 1 << 24));
      const model = pattern.slice();
      const waits: unknown[] = [];
      for (const { kind, offset, sectors, value } of operations) {
        const length = Math.min(sectors * 512, SIZE - offset);
        if (kind === 'read') {
          await Promise.all(waits);
          const buffer = new Uint8Array(length);
          await overlay.read(offset, [buffer.subarray(0, 100), buffer.subarray(100)]);
          expect(Buffer.compare(buffer, model.subarray(offset, offset + length))).toBe(0);
          continue;
        }
        if (slow) base.hold();
        if (kind === 'zero') waits.push(overlay.writeZeroes(offset, length));
        else waits.push(overlay.write(offset, [new Uint8Array(length).fill(value)]));
        model.fill(kind === 'zero' ? 0 : value, offset, offset + length);
        base.release();
      }
      await Promise.all(waits);
      const all = new Uint8Array(SIZE);
      await overlay.read(0, [all]);
      expect(Buffer.compare(all, model)).toBe(0);
      const under = new Uint8Array(SIZE);
      file.read(0, [under]);
      expect(Buffer.compare(under, pattern)).toBe(0);
    }),
    { numRuns: 60 },
  );
});

it('says ENOSPC when its memory is used up, and goes on for what is there', async () => {
  const base = new RawBackend(new MemoryFile(1 << 20), { readOnly: true, cache: CACHE_MODES['unsafe']! });
  const overlay = new OverlayBackend(base, new MemoryFile(0, 65536));
  await overlay.write(0, [new Uint8Array(4096).fill(3)]);
  expect(() => overlay.write(131072, [new Uint8Array(4096)])).toThrow(
    expect.objectContaining({ code: 'ENOSPC' }),
  );
  const byte = new Uint8Array(1);
  await overlay.read(4095, [byte]);
  expect(byte[0]).toBe(3);
});
