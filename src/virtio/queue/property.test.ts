/** Random use and random abuse of the split ring: device and driver against a model, and rings that are noise. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../core/memory.ts';
import { Tracer } from '../../core/trace.ts';
import { DriverMemory, type Sg } from '../driver/memory.ts';
import { Vring } from '../driver/vring.ts';
import * as l from './layout.ts';
import type { Chain } from './queue.ts';
import { SplitQueue } from './split.ts';
import { DATA, RING, TestRing } from './test-ring.ts';

/** Driver and device on one ring, with a model of what is where beside them. */
class Pair {
  readonly memory: DriverMemory;
  readonly ring: Vring<number>;
  readonly queue: SplitQueue;
  readonly broken: string[] = [];
  /** The model: what is available, with the device, and used but not taken, in order. */
  readonly available: { token: number; out: number; into: number }[] = [];
  readonly held: { chain: Chain; token: number }[] = [];
  readonly used: { token: number; length: number }[] = [];
  /** Tokens in the order in which the device took them, but for those that it put back. */
  readonly taken: number[] = [];
  readonly buffers: Sg[];
  next = 0;
  /** Used buffer notifications since the driver last asked. */
  interrupts = 0;
  kicks = 0;

  constructor(size: number, eventIdx: boolean, indirect: boolean) {
    const ram = GuestMemory.create(0x80000);
    this.memory = new DriverMemory(ram, 4096, ram.size);
    this.queue = new SplitQueue(0, 'q', size, {
      deviceName: 'model',
      memory: ram,
      tracer: new Tracer(),
      needsReset: (message) => this.broken.push(message),
      guestError: (message) => this.broken.push(message),
      interrupt: () => this.interrupts++,
    });
    this.ring = new Vring<number>({
      index: 0,
      name: 'q',
      size,
      memory: this.memory,
      eventIdx,
      indirect,
      notify: () => this.kicks++,
      callback: () => {},
    });
    this.queue.enable({ ...this.ring.addresses, size, eventIdx, indirect });
    this.buffers = Array.from({ length: 12 }, (_, i) => this.memory.buffer(new Uint8Array(i + 1)));
  }

  add(out: number, into: number): void {
    const free = this.ring.numFree;
    const token = this.next++;
    const list = this.buffers.slice(0, out + into);
    const ok = this.ring.addBuf(list.slice(0, out), list.slice(out), token);
    if (ok) {
      const length = (from: number, to: number) =>
        list.slice(from, to).reduce((sum, sg) => sum + sg.length, 0);
      this.available.push({ token, out: length(0, out), into: length(out, out + into) });
    } else {
      expect(out + into === 0 || out + into > free || out + into > this.ring.size).toBe(true);
    }
  }

  /** Kicks; a device that asked for notifications and finds buffers must have been told. */
  kick(): void {
    const before = this.kicks;
    const told = this.ring.kick();
    expect(this.kicks - before).toBe(told ? 1 : 0);
  }

  pop(): void {
    const chain = this.queue.pop();
    const expected = this.available.shift();
    expect(chain === undefined).toBe(expected === undefined);
    if (chain === undefined) return;
    expect([chain.readableLength, chain.writableLength]).toEqual([expected!.out, expected!.into]);
    this.held.push({ chain, token: expected!.token });
    this.taken.push(expected!.token);
  }

  unpop(): void {
    const last = this.held.at(-1);
    if (last === undefined) return;
    // Only the chain that was taken last may be put back: not one behind which another was taken and used.
    if (last.token !== this.taken.at(-1)) {
      expect(() => this.queue.unpop(last.chain)).toThrow('not taken last');
      return;
    }
    this.taken.pop();
    this.held.pop();
    this.available.unshift({
      token: last.token,
      out: last.chain.readableLength,
      into: last.chain.writableLength,
    });
    this.queue.unpop(last.chain);
  }

  push(which: number): void {
    if (this.held.length === 0) return;
    const [{ chain, token }] = this.held.splice(which % this.held.length, 1) as [
      { chain: Chain; token: number },
    ];
    const length = chain.writableLength;
    this.queue.push(chain, length);
    this.used.push({ token, length });
  }

  /** Publishes; the driver learns of all that was pushed. */
  flush(): void {
    this.queue.flush();
    this.published = this.used.length;
  }
  published = 0;

  get(): void {
    const got = this.ring.getBuf();
    expect(got).toEqual(this.published > 0 ? this.used[0] : undefined);
    if (got === undefined) return;
    this.used.shift();
    this.published--;
  }
}

const action = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('add' as const), fc.nat(6), fc.nat(6)) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('pop' as const), fc.nat(0), fc.nat(0)) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('push' as const), fc.nat(20), fc.nat(0)) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('get' as const), fc.nat(0), fc.nat(0)) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom('flush' as const, 'kick' as const), fc.nat(0), fc.nat(0)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom('unpop' as const, 'snapshot' as const), fc.nat(0), fc.nat(0)),
  },
);

describe('the split ring', () => {
  it('moves buffers as a model says, whatever the order of what both sides do', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 8, 64),
        fc.boolean(),
        fc.boolean(),
        fc.array(action, { minLength: 1, maxLength: 300 }),
        (size, eventIdx, indirect, actions) => {
          const pair = new Pair(size, eventIdx, indirect);
          for (const [what, a, b] of actions) {
            if (what === 'add') pair.add(a, b);
            else if (what === 'push') pair.push(a);
            else if (what === 'snapshot') {
              // Published first: pushed but unpublished chains belong to nobody in a snapshot.
              pair.flush();
              const heads = pair.queue.save().inFlight;
              expect([...heads].sort()).toEqual(pair.held.map(({ chain }) => chain.head).sort());
            } else pair[what]();
          }
          expect(pair.broken).toEqual([]);
          // Everything comes back in the end.
          pair.flush();
          while (pair.available.length > 0) pair.pop();
          while (pair.held.length > 0) pair.push(0);
          pair.flush();
          while (pair.published > 0) pair.get();
          expect([pair.ring.numFree, pair.ring.inFlight, pair.queue.inFlight]).toEqual([size, 0, 0]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('loses no notification: a driver that waits for callbacks and a device that waits for kicks both get on', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 8, 32),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.nat(5), { minLength: 1, maxLength: 60 }),
        (size, eventIdx, delayed, batches) => {
          const pair = new Pair(size, eventIdx, true);
          let sent = 0;
          let received = 0;
          const device = () => {
            for (const chain of pair.queue) pair.queue.push(chain, 0);
            pair.queue.flush();
          };
          const driver = () => {
            do {
              pair.ring.disableCb();
              while (pair.ring.getBuf() !== undefined) received++;
            } while (!(delayed ? pair.ring.enableCbDelayed() : pair.ring.enableCb()));
          };
          for (const batch of batches) {
            for (let i = 0; i < batch; i++) if (pair.ring.addInbuf([pair.buffers[0]!], i)) sent++;
            // Each side runs only when it was told to.
            if (pair.ring.kick()) device();
            while (pair.interrupts > 0) {
              pair.interrupts = 0;
              driver();
            }
            if (!delayed) expect(received).toBe(sent);
          }
          // A delayed callback may keep some back, but never more than the ring holds, and they are all used.
          driver();
          expect(received).toBe(sent);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a ring of noise', () => {
  /** RAM with a guard behind it: regions do not cover the whole buffer, and what is outside must stay as it is. */
  function guarded() {
    const buffer = new ArrayBuffer(0x30000);
    const bytes = new Uint8Array(buffer);
    const memory = new GuestMemory(buffer, [{ gpa: 0, size: 0x20000, offset: 0 }]);
    bytes.fill(0xa5, 0x20000);
    return { memory, intact: () => bytes.subarray(0x20000).every((byte) => byte === 0xa5) };
  }

  const address = fc.oneof(
    fc.nat(0x1ffff).map(BigInt),
    fc.constantFrom(0n, 0x1fffffn, 0x20000n, 0x1fff0n, 2n ** 32n - 1n, 2n ** 63n, 2n ** 64n - 1n),
    fc.bigInt(0n, 2n ** 64n - 1n),
  );
  const length = fc.oneof(fc.nat(64), fc.constantFrom(0, 16, 32, 48, 0x1000, 0x20000, 0xffffffff));
  const descriptor = fc.record({
    address: fc.oneof(address, fc.constantFrom(BigInt(RING.desc), BigInt(DATA), 0x8000n)),
    length,
    flags: fc.oneof(fc.nat(7), fc.nat(0xffff)),
    next: fc.oneof(fc.nat(9), fc.nat(0xffff)),
  });

  it('never throws, never gives out a byte outside RAM, and always comes to an end', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.boolean(),
        fc.array(descriptor, { minLength: 8, maxLength: 8 }),
        fc.array(descriptor, { minLength: 0, maxLength: 6 }),
        fc.array(fc.oneof(fc.nat(7), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }),
        fc.array(fc.oneof(fc.nat(12), fc.nat(0xffff)), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        (eventIdx, indirect, table, indirectTable, heads, steps, write) => {
          const { memory, intact } = guarded();
          const ring = new TestRing({ memory, eventIdx, indirect });
          table.forEach((d, i) => ring.desc(i, d.address, d.length, d.flags, d.next));
          indirectTable.forEach((d, i) => ring.desc(i, d.address, d.length, d.flags, d.next, 0x8000));
          heads.forEach((head, i) => memory.view.setUint16(RING.avail + l.AVAIL_RING + i * 2, head, true));
          for (const step of steps) {
            ring.availIdx = (ring.availIdx + step) & 0xffff;
            for (const chain of ring.queue) {
              for (const part of [...chain.readable, ...chain.writable]) {
                expect(part.byteOffset + part.length).toBeLessThanOrEqual(0x20000);
              }
              if (write) for (const part of chain.writable) part.fill(0x5a);
              ring.queue.push(chain, chain.writableLength);
            }
            ring.queue.flush();
          }
          expect(intact()).toBe(true);
          expect(ring.broken.length).toBeLessThanOrEqual(1);
          if (ring.broken.length === 1) expect(ring.queue.pop()).toBeUndefined();
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('anywhere in memory, aligned or not, is refused or stays inside', () => {
    fc.assert(
      fc.property(
        fc.record({ desc: address, avail: address, used: address }),
        fc.constantFrom(1, 2, 256, 1024, 32768),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        (at, size, noise) => {
          const { memory, intact } = guarded();
          for (let i = 0; i < 0x20000; i += 64) memory.bytes.set(noise, i);
          const broken: string[] = [];
          const queue = new SplitQueue(0, 'q', 32768, {
            deviceName: 'noise',
            memory,
            tracer: new Tracer(),
            needsReset: (message) => broken.push(message),
            guestError: () => {},
            interrupt: () => {},
          });
          const setup = { desc: Number(at.desc), avail: Number(at.avail), used: Number(at.used) };
          queue.enable({ ...setup, size, eventIdx: true, indirect: true });
          for (let i = 0; i < 4; i++) {
            const chain = queue.pop();
            if (chain !== undefined) queue.push(chain, 0);
            queue.flush();
            queue.setNotification(i % 2 === 0);
          }
          expect(intact()).toBe(true);
          expect(broken.length).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 500 },
    );
  });
});
