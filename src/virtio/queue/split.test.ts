import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../core/memory.ts';
import { Tracer } from '../../core/trace.ts';
import * as l from './layout.ts';
import { SplitQueue } from './split.ts';
import { DATA, RING, TestRing } from './test-ring.ts';

const { VIRTQ_DESC_F_NEXT: NEXT, VIRTQ_DESC_F_WRITE: WRITE, VIRTQ_DESC_F_INDIRECT: INDIRECT } = l;
const TABLE = 0x8000;

describe('layout', () => {
  it('computes the legacy layout of a queue of 256 as Linux and QEMU do', () => {
    expect(l.legacyLayout(0x10000, 256)).toEqual({ desc: 0x10000, avail: 0x11000, used: 0x12000 });
    expect(l.legacyBytes(256)).toBe(0x3000);
    expect(l.legacyBytes(8)).toBe(0x2000);
  });

  it('decides notifications by event index, also across the wrap', () => {
    expect(l.needEvent(0, 1, 0)).toBe(true);
    expect(l.needEvent(1, 1, 0)).toBe(false);
    expect(l.needEvent(0xffff, 0, 0xffff)).toBe(true);
    expect(l.needEvent(5, 10, 5)).toBe(true);
    expect(l.needEvent(4, 10, 5)).toBe(false);
    expect(l.needEvent(10, 10, 5)).toBe(false);
  });
});

describe('chains', () => {
  it('are views of guest memory, readable before writable', () => {
    const ring = new TestRing();
    ring.memory.write(DATA, Uint8Array.of(1, 2, 3));
    ring
      .desc(0, DATA, 3, NEXT, 5)
      .desc(5, DATA + 16, 4, WRITE | NEXT, 2)
      .desc(2, DATA + 32, 8, WRITE)
      .offer(0);
    const chain = ring.queue.pop()!;
    expect(chain.head).toBe(0);
    expect(chain.readable.map((part) => [...part])).toEqual([[1, 2, 3]]);
    expect(chain.writable.map((part) => part.length)).toEqual([4, 8]);
    expect([chain.readableLength, chain.writableLength]).toEqual([3, 12]);
    chain.writable[1]![0] = 77;
    expect(ring.memory.bytes[DATA + 32]).toBe(77);
  });

  it('report what was written to the memory, piece by piece, and no more', () => {
    const ring = new TestRing();
    ring
      .desc(0, DATA, 4, WRITE | NEXT, 1)
      .desc(1, DATA + 100, 8, WRITE)
      .offer(0);
    ring.queue.push(ring.queue.pop()!, 6);
    expect(ring.written).toEqual([
      { gpa: DATA, length: 4 },
      { gpa: DATA + 100, length: 2 },
    ]);
  });

  it('may cross from one RAM region into the next', () => {
    const buffer = new ArrayBuffer(0x20000);
    const memory = new GuestMemory(buffer, [
      { gpa: 0, size: 0x18000, offset: 0 },
      { gpa: 0x18000, size: 0x1000, offset: 0x1a000 },
    ]);
    const ring = new TestRing({ memory });
    ring.desc(0, 0x17ff0, 0x20).desc(1, 0x18ff0, 0x20).offer(0);
    const chain = ring.queue.pop()!;
    expect(chain.readable.map((part) => part.byteOffset)).toEqual([0x17ff0, 0x1a000]);
    expect(chain.readableLength).toBe(0x20);
    ring.offer(1);
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken).toHaveLength(1);
  });

  it('take no memory of their own from one to the next', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 8).offer(0);
    const first = ring.queue.pop()!;
    ring.queue.push(first, 0);
    ring.offer(0);
    expect(ring.queue.pop()).toBe(first);
  });

  it('can be put back', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).desc(1, DATA, 2).offer(0, 1);
    const first = ring.queue.pop()!;
    const second = ring.queue.pop()!;
    ring.queue.unpop(second);
    ring.queue.unpop(first);
    expect([ring.queue.pop()!.head, ring.queue.pop()!.head, ring.queue.pop()]).toEqual([0, 1, undefined]);
  });

  it('are only put back in turn: behind the last one that was taken, the ring would give one that was used', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).desc(1, DATA, 2).offer(0, 1);
    const first = ring.queue.pop()!;
    const second = ring.queue.pop()!;
    expect(() => ring.queue.unpop(first)).toThrow('not taken last');
    ring.queue.push(second, 0);
    expect(() => ring.queue.unpop(first)).toThrow('not taken last');
    ring.queue.push(first, 0);
    ring.queue.flush();
    expect([ring.usedIdx, ring.queue.inFlight, ring.queue.pop()]).toEqual([2, 0, undefined]);
  });

  it('of an earlier life are dropped when they complete', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 8, WRITE).offer(0);
    const chain = ring.queue.pop()!;
    ring.queue.reset();
    ring.queue.enable({ ...RING, size: 8, eventIdx: false, indirect: false });
    ring.queue.push(chain, 4);
    ring.queue.unpop(chain);
    ring.queue.flush();
    expect([ring.usedIdx, ring.interrupts, ring.queue.inFlight, ring.written]).toEqual([0, 0, 0, []]);
  });
});

describe('a hostile ring', () => {
  const cases: [string, string, (ring: TestRing) => void][] = [
    [
      'a loop',
      'The Virtqueue Descriptor Table#1',
      (r) => r.desc(0, DATA, 1, NEXT, 1).desc(1, DATA, 1, NEXT, 0),
    ],
    ['a descriptor that follows itself', 'Descriptor Table#1', (r) => r.desc(0, DATA, 1, NEXT, 0)],
    [
      'next out of range',
      'descriptor 8 is not in a table of 8 [drv:Basic Facilities',
      (r) => r.desc(0, DATA, 1, NEXT, 8),
    ],
    ['a buffer of no bytes', 'a buffer of no bytes [undefined]', (r) => r.desc(0, DATA, 0)],
    ['a buffer past RAM', 'Reserved Feature Bits#4', (r) => r.desc(0, 0x1fff0, 0x11)],
    ['a buffer at the end of the address space', 'Feature Bits#4', (r) => r.desc(0, 2n ** 64n - 1n, 2)],
    ['a buffer of 4 GiB', 'Feature Bits#4', (r) => r.desc(0, DATA, 0xffffffff)],
    [
      'writable before readable',
      'Message Framing#1',
      (r) => r.desc(0, DATA, 1, WRITE | NEXT, 1).desc(1, DATA, 1),
    ],
    ['INDIRECT with NEXT', 'Indirect Descriptors#4', (r) => r.desc(0, TABLE, 16, INDIRECT | NEXT, 1)],
    [
      'INDIRECT in an indirect table',
      'Indirect Descriptors#2',
      (r) => r.desc(0, TABLE, 16, INDIRECT).desc(0, DATA, 16, INDIRECT, 0, TABLE),
    ],
    ['an indirect table of no bytes', 'an indirect table of 0 bytes', (r) => r.desc(0, TABLE, 0, INDIRECT)],
    ['an indirect table of 17 bytes', 'an indirect table of 17 bytes', (r) => r.desc(0, TABLE, 17, INDIRECT)],
    ['an indirect table outside RAM', 'Reserved Feature Bits#4', (r) => r.desc(0, 0x20000, 16, INDIRECT)],
    [
      'next out of range in an indirect table',
      'descriptor 2 is not in a table of 2',
      (r) => r.desc(0, TABLE, 32, INDIRECT).desc(0, DATA, 1, NEXT, 2, TABLE),
    ],
    [
      'a loop in an indirect table',
      'Descriptor Table#1',
      (r) => r.desc(0, TABLE, 32, INDIRECT).desc(0, DATA, 1, NEXT, 1, TABLE).desc(1, DATA, 1, NEXT, 0, TABLE),
    ],
  ];
  for (const [what, clause, build] of cases) {
    it(`with ${what} stops, once, with the clause`, () => {
      const ring = new TestRing();
      build(ring);
      ring.offer(0);
      expect(ring.queue.pop()).toBeUndefined();
      expect(ring.broken).toHaveLength(1);
      expect(ring.broken[0]).toContain(clause);
      expect(ring.queue.enabled).toBe(false);
      expect(ring.drain()).toBe(0);
      expect(ring.broken).toHaveLength(1);
      expect([ring.usedIdx, ring.interrupts]).toEqual([0, 0]);
    });
  }

  it('with INDIRECT that was not negotiated stops', () => {
    const ring = new TestRing({ indirect: false });
    ring.desc(0, TABLE, 16, INDIRECT).desc(0, DATA, 1, 0, 0, TABLE).offer(0);
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken[0]).toContain('Indirect Descriptors#1');
  });

  it('whose avail idx jumps by more than its size stops', () => {
    const ring = new TestRing();
    ring.availIdx = 9;
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken[0]).toContain('The Virtqueue Available Ring#1');
  });

  it('whose avail idx goes back stops', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).offer(0);
    ring.drain();
    ring.availIdx = 0;
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken[0]).toContain('The Virtqueue Available Ring#1');
  });

  it('with a head that is no descriptor stops', () => {
    const ring = new TestRing();
    ring.offer(8);
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken[0]).toContain('descriptor 8 is not in a table of 8');
  });

  it('that makes more available than it has entries stops', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).offer(0, 0, 0, 0, 0, 0, 0, 0);
    for (let i = 0; i < 8; i++) expect(ring.queue.pop()).toBeDefined();
    expect(ring.errors[0]).toContain('made available again');
    ring.offer(0);
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken[0]).toContain('more buffers are in flight');
  });

  it('takes an indirect table longer than the queue, as QEMU does, and says so', () => {
    const ring = new TestRing();
    for (let i = 0; i < 20; i++) ring.desc(i, DATA + i, 1, i < 19 ? NEXT : 0, i + 1, TABLE);
    ring.desc(0, TABLE, 20 * 16, INDIRECT).offer(0);
    expect(ring.queue.pop()!.readableLength).toBe(20);
    expect(ring.errors[0]).toContain('Indirect Descriptors#3');
  });

  it('never has a chain of more than 1024 buffers taken', () => {
    const ring = new TestRing({ memory: GuestMemory.create(0x40000) });
    const table = 0x20000;
    for (let i = 0; i < 1025; i++) ring.desc(i, DATA, 1, i < 1024 ? NEXT : 0, i + 1, table);
    ring.desc(0, table, 1025 * 16, INDIRECT).desc(1, table + 16, 1024 * 16, INDIRECT);
    for (let i = 0; i < 1024; i++) ring.desc(i, DATA, 1, i < 1023 ? NEXT : 0, i + 1, table + 16);
    ring.offer(1);
    expect(ring.queue.pop()!.readableLength).toBe(1024);
    for (let i = 0; i < 1025; i++) ring.desc(i, DATA, 1, i < 1024 ? NEXT : 0, i + 1, table);
    ring.offer(0);
    expect(ring.queue.pop()).toBeUndefined();
    expect(ring.broken[0]).toContain('Indirect Descriptors#3');
  });

  it('cannot be enabled outside RAM or unaligned', () => {
    const enable = (change: Partial<l.RingAddresses>) => {
      const broken: string[] = [];
      const queue = new SplitQueue(0, 'q', 8, {
        deviceName: 'test',
        memory: GuestMemory.create(0x10000),
        tracer: new Tracer(),
        needsReset: (message, clause) => broken.push(`${message} [${clause}]`),
        guestError: () => {},
        interrupt: () => {},
      });
      const ok = queue.enable({ ...RING, ...change, size: 8, eventIdx: true, indirect: true });
      expect(queue.enabled).toBe(ok);
      expect(queue.pop()).toBeUndefined();
      return broken.join();
    };
    expect(enable({})).toBe('');
    for (const change of [{ desc: 0x1008 }, { avail: 0x9001 }, { used: 0xa002 }]) {
      expect(enable(change)).toContain('Virtqueues#1');
    }
    for (const change of [{ desc: 0xfff0 }, { avail: 0xfffe }, { used: 0x10000 }, { used: 2 ** 63 }]) {
      expect(enable(change)).toContain('not in RAM');
    }
  });
});

describe('notifications', () => {
  it('are not asked for while the device iterates, and asked for again behind it', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).offer(0);
    for (const chain of ring.queue) {
      expect(ring.usedFlags).toBe(l.VIRTQ_USED_F_NO_NOTIFY);
      ring.queue.push(chain, 0);
    }
    expect(ring.usedFlags).toBe(0);
    expect(ring.queue.empty).toBe(true);
  });

  it('are asked for by avail_event', () => {
    const ring = new TestRing({ eventIdx: true });
    ring.desc(0, DATA, 1).offer(0, 0, 0);
    for (const chain of ring.queue) {
      expect(ring.availEvent).toBe(0xffff);
      ring.queue.push(chain, 0);
    }
    expect([ring.availEvent, ring.usedFlags]).toEqual([3, 0]);
  });

  it('are asked for again when a loop over the queue is left early', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).offer(0, 0);
    for (const chain of ring.queue) {
      ring.queue.push(chain, 0);
      break;
    }
    expect([ring.usedFlags, ring.queue.available]).toEqual([0, 1]);
  });

  it('are asked for at each chain when the device takes them one by one', () => {
    const ring = new TestRing({ eventIdx: true });
    ring.desc(0, DATA, 1).offer(0, 0);
    ring.queue.push(ring.queue.pop()!, 0);
    expect(ring.availEvent).toBe(1);
    ring.queue.push(ring.queue.pop()!, 0);
    expect(ring.availEvent).toBe(2);
  });

  it('are not missed when the driver adds a buffer just before it could see that they are wanted', () => {
    for (const eventIdx of [false, true]) {
      const ring = new TestRing({ eventIdx });
      ring.desc(0, DATA, 1).desc(1, DATA, 1).offer(0);
      const { queue } = ring;
      const ask = queue.setNotification.bind(queue);
      queue.setNotification = (enabled) => {
        if (enabled && ring.availIdx === 1) ring.offer(1);
        ask(enabled);
      };
      expect(ring.drain()).toBe(2);
    }
  });

  it('interrupt once for a batch', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 1).desc(1, DATA, 1).offer(0, 1);
    const chains = [ring.queue.pop()!, ring.queue.pop()!];
    for (const chain of chains.reverse()) ring.queue.push(chain, 0);
    expect([ring.usedIdx, ring.interrupts]).toEqual([0, 0]);
    ring.queue.flush();
    ring.queue.flush();
    expect([ring.usedIdx, ring.interrupts]).toEqual([2, 1]);
    expect([ring.used(0).id, ring.used(1).id]).toEqual([1, 0]);
  });

  it('interrupt a legacy driver that runs out of buffers, though it asked for none (VIRTIO_F_NOTIFY_ON_EMPTY)', () => {
    const ring = new TestRing({ notifyOnEmpty: true });
    ring.availFlags = l.VIRTQ_AVAIL_F_NO_INTERRUPT;
    ring.desc(0, DATA, 1).desc(1, DATA, 1).offer(0, 1);
    ring.queue.push(ring.queue.pop()!, 0);
    ring.queue.flush();
    expect(ring.interrupts).toBe(0);
    ring.queue.push(ring.queue.pop()!, 0);
    ring.queue.flush();
    expect(ring.interrupts).toBe(1);
  });
});

describe('a snapshot', () => {
  it('gives chains in flight again, oldest first, before new ones', () => {
    const ring = new TestRing();
    for (let i = 0; i < 4; i++) ring.desc(i, DATA + i, 1, WRITE);
    ring.offer(3, 1, 2);
    const [three, one] = [ring.queue.pop()!, ring.queue.pop()!, ring.queue.pop()!];
    ring.queue.push(one!, 1);
    ring.queue.flush();
    const state = ring.queue.save();
    expect(state.inFlight).toEqual([3, 2]);
    expect(three!.head).toBe(3);
    const twin = new TestRing({ memory: ring.memory });
    twin.queue.restore(state);
    twin.offer(0);
    expect(twin.queue.available).toBe(3);
    const first = twin.queue.pop()!;
    expect(first.head).toBe(3);
    twin.queue.unpop(first);
    const again = [twin.queue.pop()!, twin.queue.pop()!, twin.queue.pop()!];
    expect(again.map((chain) => chain.head)).toEqual([3, 2, 0]);
    for (const chain of again) twin.queue.push(chain, 1);
    twin.queue.flush();
    expect(twin.usedIdx).toBe(4);
    expect(twin.interrupts).toBe(1);
    expect(twin.queue.save().inFlight).toEqual([]);
  });
});
