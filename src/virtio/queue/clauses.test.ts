/** The device-side statements of VIRTIO 1.4 about queues and the split ring, one test each. */
import { describe, expect, it } from 'vitest';
import * as f from '../features.ts';
import { EchoDevice } from '../driver/echo.ts';
import { Rig } from '../driver/rig.ts';
import type { Vring } from '../driver/vring.ts';
import * as l from './layout.ts';
import { DATA, TestRing } from './test-ring.ts';

const { VIRTQ_DESC_F_NEXT: NEXT, VIRTQ_DESC_F_WRITE: WRITE, VIRTQ_DESC_F_INDIRECT: INDIRECT } = l;
const TABLE = 0x8000;
const bytes = (...values: number[]) => Uint8Array.from(values);

async function started(options = {}): Promise<Rig<EchoDevice>> {
  const rig = new Rig(new EchoDevice());
  await rig.start(options);
  return rig;
}

describe('message framing', () => {
  it('dev:Basic Facilities of a Virtio Device / Message Framing#1 any arrangement of descriptors gives the same answer', async () => {
    const rig = await started({ without: [f.VIRTIO_F_INDIRECT_DESC] });
    const input = [1, 2, 3, 4, 5, 6];
    for (const cut of [[6], [1, 5], [2, 2, 2], [1, 1, 1, 1, 1, 1]]) {
      let at = 0;
      const pieces = cut.map((n) => Uint8Array.from(input.slice(at, (at += n))));
      const { data, length } = await rig.request(0, pieces, cut);
      expect([...data]).toEqual([6, 5, 4, 3, 2, 1]);
      expect(length).toBe(6);
    }
  });

  it('dev:Basic Facilities of a Virtio Device / Message Framing#2 chains may be as long as the queue, and not endless', () => {
    const ring = new TestRing({ size: 8 });
    for (let i = 0; i < 8; i++) ring.desc(i, DATA + i, 1, i < 7 ? NEXT : 0, i + 1);
    ring.offer(0);
    expect(ring.queue.pop()!.readableLength).toBe(8);
    expect(ring.errors).toEqual([]);
  });
});

describe('descriptor table', () => {
  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table#1 readable buffers are never written', async () => {
    const rig = await started();
    const input = rig.memory.buffer(bytes(9, 8, 7));
    const output = rig.memory.buffer(bytes(0, 0, 0));
    await rig.submit(0, [input], [output]);
    expect([...rig.memory.read(input)]).toEqual([9, 8, 7]);
    expect([...rig.memory.read(output)]).toEqual([7, 8, 9]);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table#2 no entry of the table is written', () => {
    const ring = new TestRing();
    ring
      .desc(0, DATA, 4, NEXT, 3)
      .desc(3, DATA + 64, 4, WRITE)
      .desc(1, TABLE, 16, INDIRECT);
    ring.desc(0, DATA, 8, WRITE, 0, TABLE);
    const table = ring.descTable;
    const indirect = ring.memory.slice(TABLE, 16)!.slice();
    ring.offer(0, 1);
    expect(ring.drain(4)).toBe(2);
    expect(ring.descTable).toEqual(table);
    expect(ring.memory.slice(TABLE, 16)).toEqual(indirect);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors#1 WRITE is ignored in the descriptor of a table', () => {
    for (const flags of [INDIRECT, INDIRECT | WRITE]) {
      const ring = new TestRing();
      ring.desc(0, TABLE, 32, flags);
      ring
        .desc(0, DATA, 4, NEXT, 1, TABLE)
        .desc(1, DATA + 8, 2, WRITE, 0, TABLE)
        .offer(0);
      const chain = ring.queue.pop()!;
      expect([chain.readableLength, chain.writableLength]).toEqual([4, 2]);
    }
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors#2 normal descriptors may come before the indirect one', () => {
    for (let normal = 0; normal < 4; normal++) {
      const ring = new TestRing();
      for (let i = 0; i < normal; i++) ring.desc(i, DATA + i, 1, NEXT, i + 1);
      ring.desc(normal, TABLE, 32, INDIRECT);
      ring
        .desc(0, DATA + 32, 5, NEXT, 1, TABLE)
        .desc(1, DATA + 64, 6, WRITE, 0, TABLE)
        .offer(0);
      const chain = ring.queue.pop()!;
      expect([chain.readableLength, chain.writableLength]).toEqual([normal + 5, 6]);
      expect(ring.broken).toEqual([]);
    }
  });
});

describe('used buffer notification suppression', () => {
  function once(ring: TestRing): number {
    const before = ring.interrupts;
    ring.desc(0, DATA, 1).offer(0);
    ring.drain();
    return ring.interrupts - before;
  }

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression#1 used_event is ignored without VIRTIO_F_EVENT_IDX', () => {
    const ring = new TestRing();
    for (const event of [0, 1, 5, 0xffff]) {
      ring.usedEvent = event;
      expect(once(ring)).toBe(1);
    }
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression#2 flags of 1 suppress the notification', () => {
    const ring = new TestRing();
    ring.availFlags = 1;
    expect([once(ring), ring.usedIdx]).toEqual([0, 1]);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression#3 flags of 0 get a notification', () => {
    const ring = new TestRing();
    ring.availFlags = 0;
    expect([once(ring), once(ring)]).toEqual([1, 1]);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression#4 flags are ignored with VIRTIO_F_EVENT_IDX', () => {
    const ring = new TestRing({ eventIdx: true });
    ring.availFlags = 1;
    ring.usedEvent = 0;
    expect(once(ring)).toBe(1);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression#5 the entry at used_event gets a notification', () => {
    const ring = new TestRing({ eventIdx: true });
    ring.usedEvent = 3;
    expect([once(ring), once(ring), once(ring), once(ring), once(ring)]).toEqual([0, 0, 0, 1, 0]);
    // Also when a batch passes it, and across the wrap of the index.
    ring.usedEvent = 6;
    ring.desc(0, DATA, 1).desc(1, DATA, 1).desc(2, DATA, 1).offer(0, 1, 2);
    ring.drain();
    expect(ring.interrupts).toBe(2);
    ring.usedEvent = 0;
    while (ring.usedIdx !== 0) expect(once(ring)).toBe(0);
    expect(once(ring)).toBe(1);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression#6 other entries get none', () => {
    const ring = new TestRing({ eventIdx: true });
    ring.usedEvent = 100;
    for (let i = 0; i < 100; i++) expect(once(ring)).toBe(0);
    expect(once(ring)).toBe(1);
    expect(once(ring)).toBe(0);
  });
});

describe('used ring', () => {
  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring#1 len is there before idx moves', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 8, WRITE).offer(0);
    ring.queue.push(ring.queue.pop()!, 5);
    expect([ring.used(0), ring.usedIdx]).toEqual([{ id: 0, len: 5 }, 0]);
    ring.queue.flush();
    expect(ring.usedIdx).toBe(1);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring#2 len bytes were written, from the first writable buffer on', async () => {
    const rig = await started();
    const { length, data } = await rig.request(0, [bytes(1, 2, 3, 4, 5)], [2, 2, 4]);
    expect(length).toBe(5);
    expect([...data]).toEqual([5, 4, 3, 2, 1, 0, 0, 0]);
    // More than the writable buffers hold can never be claimed: that would be a bug of ours.
    const ring = new TestRing();
    ring.desc(0, DATA, 4, WRITE).offer(0);
    const chain = ring.queue.pop()!;
    expect(() => ring.queue.push(chain, 5)).toThrow('used length');
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring#3 len may tell less than was written', () => {
    const ring = new TestRing();
    ring.desc(0, DATA, 4, WRITE).offer(0);
    const chain = ring.queue.pop()!;
    chain.writable[0]!.fill(1);
    ring.queue.push(chain, 1);
    ring.queue.flush();
    expect(ring.used(0)).toEqual({ id: 0, len: 1 });
  });
});

describe('available buffer notification suppression', () => {
  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression#1 flags are 0 or 1 without VIRTIO_F_EVENT_IDX', () => {
    const ring = new TestRing();
    const seen = new Set<number>();
    ring.desc(0, DATA, 1).offer(0, 0);
    seen.add(ring.usedFlags);
    for (const chain of ring.queue) {
      seen.add(ring.usedFlags);
      ring.queue.push(chain, 0);
    }
    ring.queue.setNotification(false);
    seen.add(ring.usedFlags);
    ring.queue.setNotification(true);
    seen.add(ring.usedFlags);
    expect([...seen].sort()).toEqual([0, 1]);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression#2 flags of 1 tell that notifications are not needed', async () => {
    const rig = await started({ without: [f.VIRTIO_F_EVENT_IDX] });
    const ring = rig.queues[0]!;
    rig.device.host.queues[0]!.setNotification(false);
    ring.addInbuf([rig.memory.buffer(bytes(0))], 1);
    expect(ring.kick()).toBe(false);
    rig.device.host.queues[0]!.setNotification(true);
    ring.addInbuf([rig.memory.buffer(bytes(0))], 2);
    expect(ring.kick()).toBe(true);
    expect([ring.getBuf()!.token, ring.getBuf()!.token]).toEqual([1, 2]);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression#3 flags stay 0 with VIRTIO_F_EVENT_IDX', () => {
    const ring = new TestRing({ eventIdx: true });
    ring.desc(0, DATA, 1).offer(0, 0);
    for (const chain of ring.queue) {
      expect(ring.usedFlags).toBe(0);
      ring.queue.push(chain, 0);
    }
    ring.queue.setNotification(false);
    expect(ring.usedFlags).toBe(0);
    ring.queue.setNotification(true);
    expect(ring.usedFlags).toBe(0);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression#4 avail_event tells which entry is to be notified', async () => {
    const rig = await started();
    const ring = rig.queues[0]!;
    const queue = rig.device.host.queues[0]!;
    const add = () => ring.addInbuf([rig.memory.buffer(bytes(0))], 0) && ring.kick();
    expect([add(), add()]).toEqual([true, true]);
    queue.setNotification(false);
    expect([add(), add(), add()]).toEqual([false, false, false]);
    // Asked for again after the driver has added three: those three are not announced, the next one is.
    queue.setNotification(true);
    expect(add()).toBe(false);
    expect([...queue].length).toBe(4);
    expect(add()).toBe(true);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression#5 spurious notifications do no harm', async () => {
    const rig = await started();
    const ring: Vring = rig.queues[0]!;
    for (let i = 0; i < 10; i++) ring.notify();
    rig.fn.state.notify(1);
    rig.fn.state.notify(77);
    expect(rig.errors).toEqual([]);
    expect((await rig.request(0, [bytes(1, 2)], [2])).length).toBe(2);
  });
});
