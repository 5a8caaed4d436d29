import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../core/memory.ts';
import { DriverMemory, type Sg } from './memory.ts';
import { Vring, type VringOptions } from './vring.ts';

function ringOf(options: Partial<VringOptions> = {}): {
  ring: Vring;
  memory: DriverMemory;
  notified: number[];
} {
  const ram = GuestMemory.create(0x40000);
  const memory = new DriverMemory(ram, 4096, ram.size);
  const notified: number[] = [];
  const ring = new Vring({
    index: 3,
    name: 'q',
    size: 8,
    memory,
    eventIdx: false,
    indirect: false,
    notify: (index) => notified.push(index),
    callback: () => {},
    ...options,
  });
  return { ring, memory, notified };
}

const sg = (address: number, length = 16): Sg => ({ address, length });

describe('the driver side of the ring', () => {
  it('DRV: has as many free descriptors as it was given back', () => {
    const { ring } = ringOf();
    expect(ring.addBuf([sg(0x8000), sg(0x8010)], [sg(0x8020)], 'a')).toBe(true);
    expect(ring.addSgs([[sg(0x8000)], [sg(0x8010), sg(0x8020)]], 1, 'b')).toBe(true);
    expect(ring.numFree).toBe(2);
    expect(ring.addBuf([sg(1), sg(2)], [sg(3)], 'too much')).toBe(false);
    expect(ring.addBuf([], [], 'nothing')).toBe(false);
    expect([ring.numFree, ring.inFlight]).toEqual([2, 2]);
    expect([ring.detachUnused(), ring.detachUnused(), ring.detachUnused()]).toEqual(['a', 'b', undefined]);
    expect(ring.numFree).toBe(8);
  });

  it('DRV: indirect tables take one descriptor, and their memory comes back', () => {
    const { ring, memory } = ringOf({ indirect: true });
    const before = memory.allocate(64);
    memory.free(before);
    const list = Array.from({ length: 8 }, (_, i) => sg(0x8000 + i * 16));
    for (let i = 0; i < 8; i++) expect(ring.addInbuf(list, i)).toBe(true);
    expect([ring.numFree, ring.addInbuf([sg(0x8000)], 9)]).toEqual([0, false]);
    expect(ring.addInbuf([...list, sg(0)], 'longer than the queue')).toBe(false);
    while (ring.detachUnused() !== undefined);
    expect(memory.allocate(64)).toBe(before);
  });

  it('DRV: kicks once for a batch', () => {
    const { ring, notified } = ringOf();
    ring.addInbuf([sg(0x8000)], 1);
    ring.addInbuf([sg(0x8010)], 2);
    expect([ring.kick(), ring.kick(), notified]).toEqual([true, false, [3]]);
  });

  it('DRV: a device that returns what it was never given breaks the ring, not the driver', () => {
    const { ring, memory } = ringOf();
    const { view } = memory.ram;
    view.setUint32(ring.addresses.used + 4, 5, true);
    view.setUint16(ring.addresses.used + 2, 1, true);
    expect([ring.getBuf(), ring.broken, ring.addInbuf([sg(0x8000)], 1)]).toEqual([undefined, true, false]);
  });

  it('DRV: enableCb tells when buffers were used meanwhile', () => {
    for (const eventIdx of [false, true]) {
      const { ring, memory } = ringOf({ eventIdx });
      ring.addInbuf([sg(0x8000)], 'a');
      ring.disableCb();
      expect(ring.enableCb()).toBe(true);
      memory.ram.view.setUint16(ring.addresses.used + 2, 1, true);
      expect([ring.enableCb(), ring.enableCbDelayed(), ring.moreUsed]).toEqual([false, false, true]);
      expect(ring.getBuf()).toEqual({ token: 'a', length: 0 });
      expect(ring.enableCb()).toBe(true);
    }
  });

  it('DRV: memory is merged when it comes back', () => {
    const { memory } = ringOf();
    const all = [100, 200, 300].map((length) => memory.allocate(length));
    for (const at of [1, 0, 2]) memory.free(all[at]!);
    expect(memory.allocate(600)).toBe(all[0]);
    expect(() => memory.free(12345)).toThrow('not allocated');
    expect(() => memory.allocate(1e6)).toThrow('used up');
  });
});
