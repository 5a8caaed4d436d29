/**
 * The devices under load through real rings: the driver library on one side of a PCI function, the device on the
 * other, with chains that are completed out of order, put back, spread over buffers, or void because of a reset.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../core/clock.ts';
import { Tracer } from '../../core/trace.ts';
import type { Offload } from '../../net/netdev.ts';
import type { Sg } from '../driver/memory.ts';
import { Rig, type StartOptions } from '../driver/rig.ts';
import * as f from '../features.ts';
import * as b from './blk/defs.ts';
import { VirtioBlk } from './blk/device.ts';
import { MemoryDisk } from './blk/memory-disk.ts';
import { blkSettings } from './blk/properties.ts';
import { parseControl, serializeControl } from './console/control.ts';
import * as c from './console/defs.ts';
import { VirtioSerial } from './console/device.ts';
import { FakeChardev } from './console/fake-chardev.ts';
import { SerialPort } from './console/port.ts';
import { serialSettings } from './console/properties.ts';
import { VirtioNet } from './net/device.ts';
import { FakeNetdev } from './net/fake-netdev.ts';
import { netSettings } from './net/properties.ts';
import { VirtioRng } from './rng/device.ts';

const WAYS: Record<string, StartOptions> = {
  modern: { interface: 'modern', interrupts: 'msix' },
  'modern without EVENT_IDX': { interface: 'modern', interrupts: 'shared', without: [f.VIRTIO_F_EVENT_IDX] },
  'modern without indirect descriptors': { interface: 'modern', without: [f.VIRTIO_F_INDIRECT_DESC] },
  'legacy with INTx': { interface: 'legacy', interrupts: 'intx' },
};

/** A generator of numbers that are the same in each run. */
function lcg(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function blkHeader(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(8, sector, true);
  return bytes;
}

function blk(disk: MemoryDisk, values = {}): Rig<VirtioBlk> {
  return new Rig(new VirtioBlk({ backend: disk, tracer: new Tracer(), settings: blkSettings(values) }));
}

describe('block device through a ring', () => {
  for (const [way, options] of Object.entries(WAYS)) {
    it(`completes many requests in any order: ${way}`, async () => {
      const disk = new MemoryDisk(256, { later: true });
      const model = new Uint8Array(256 * 512);
      const rig = blk(disk, { 'num-queues': 3 });
      disk.waiting.length = 0;
      await rig.start({ ...options, queueSizes: [16, 64, undefined] });
      const random = lcg(7);
      const pending = new Set<Promise<void>>();
      const locked = new Set<number>();
      for (let i = 0; i < 200; i++) {
        // No two requests in flight on one sector: their order would not be defined.
        let sector = random(250);
        while ([0, 1, 2].some((n) => locked.has(sector + n))) sector = random(250);
        const count = 1 + random(3);
        const sectors = Array.from({ length: count }, (_, n) => sector + n);
        for (const n of sectors) locked.add(n);
        const at = sector * 512;
        const write = random(2) === 1;
        const data = new Uint8Array(count * 512).map(() => random(256));
        if (write) model.set(data, at);
        const cut = 1 + random(data.length - 1);
        const sent = write
          ? rig.request(
              i % 3,
              [blkHeader(b.VIRTIO_BLK_T_OUT, sector), data.slice(0, cut), data.slice(cut)],
              [1],
            )
          : rig.request(i % 3, [blkHeader(b.VIRTIO_BLK_T_IN, sector)], [cut, data.length - cut, 1]);
        const done: Promise<void> = sent.then((answer) => {
          expect(answer.data.at(-1)).toBe(b.VIRTIO_BLK_S_OK);
          if (!write) {
            expect(answer.length).toBe(data.length + 1);
            expect(answer.data.subarray(0, -1)).toEqual(model.subarray(at, at + data.length));
          }
          for (const n of sectors) locked.delete(n);
          pending.delete(done);
        });
        pending.add(done);
        while (disk.waiting.length > (i === 199 ? 0 : 2)) {
          disk.waiting.splice(random(disk.waiting.length), 1)[0]!.finish();
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
      }
      await Promise.all(pending);
      expect(disk.data).toEqual(model);
      expect(rig.errors).toEqual([]);
      for (const queue of rig.queues) expect(queue.inFlight).toBe(0);
    });
  }

  it('keeps a reset open until the back end leaves guest memory alone', async () => {
    const disk = new MemoryDisk(8, { later: true });
    disk.data.fill(0xaa);
    const rig = blk(disk);
    disk.waiting.length = 0;
    await rig.start({ interface: 'modern' });
    const into = [rig.memory.buffer(new Uint8Array(512)), rig.memory.buffer(Uint8Array.of(0x77))];
    void rig.submit(0, [rig.memory.buffer(blkHeader(b.VIRTIO_BLK_T_IN, 0))], into);
    let reset = false;
    const done = rig.driver.reset().then(() => {
      reset = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(reset).toBe(false);
    disk.waiting[0]!.finish();
    await done;
    // The data had been asked for; the status, and the used ring, were not written any more.
    expect(rig.memory.read(into[1]!)[0]).toBe(0x77);
    await rig.start({ interface: 'modern' });
    const again = rig.request(0, [blkHeader(b.VIRTIO_BLK_T_IN, 0)], [512, 1]);
    disk.waiting[1]!.finish();
    expect((await again).data[0]).toBe(0xaa);
  });

  it('keeps the reset of one queue open the same way', async () => {
    const disk = new MemoryDisk(8, { later: true });
    const rig = blk(disk, { 'num-queues': 2 });
    disk.waiting.length = 0;
    await rig.start({ interface: 'modern' });
    void rig.request(0, [blkHeader(b.VIRTIO_BLK_T_IN, 0)], [512, 1]).catch(() => {});
    const other = rig.request(1, [blkHeader(b.VIRTIO_BLK_T_IN, 1)], [512, 1]);
    const ops = rig.driver.ops as { resetVq?(index: number): Promise<void> };
    let reset = false;
    const done = ops.resetVq!(0).then(() => {
      reset = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(reset).toBe(false);
    disk.waiting[1]!.finish();
    expect((await other).data[512]).toBe(b.VIRTIO_BLK_S_OK);
    expect(reset).toBe(false);
    disk.waiting[0]!.finish();
    await done;
    expect(rig.errors).toEqual([]);
  });

  it('tells the processor of every byte that a read wrote', async () => {
    const disk = new MemoryDisk(8);
    const rig = blk(disk);
    await rig.start();
    const written = new Map<number, number>();
    rig.memory.ram.onWrite((gpa, length) => {
      for (let at = gpa; at < gpa + length; at++) written.set(at, (written.get(at) ?? 0) + 1);
    });
    for (const fails of [false, true]) {
      written.clear();
      if (fails) disk.failures.set('read', 'EIO');
      const into = [100, 412, 1].map((length) => rig.memory.buffer(new Uint8Array(length)));
      await rig.submit(0, [rig.memory.buffer(blkHeader(b.VIRTIO_BLK_T_IN, 0))], into);
      for (const sg of into)
        for (let i = 0; i < sg.length; i++) expect(written.has(sg.address + i)).toBe(true);
    }
  });
});

describe('entropy device through a ring', () => {
  it('fills many buffers from a slow source, across a reset', async () => {
    let value = 0;
    const backend = {
      fill: async (buffer: Uint8Array) => {
        await new Promise((resolve) => setTimeout(resolve, 0));
        buffer.fill(++value);
      },
    };
    const rig = new Rig(new VirtioRng({ backend, clock: new ManualClock(), tracer: new Tracer() }));
    await rig.start();
    void rig.request(0, [], [16]);
    await rig.driver.reset();
    await rig.start();
    const answers = await Promise.all(Array.from({ length: 8 }, () => rig.request(0, [], [10, 6])));
    const first = answers[0]!.data[0]!;
    expect(answers.map(({ data, length }) => [length, data[0], data[15]])).toEqual(
      answers.map((_, i) => [16, first + i, first + i]),
    );
  });
});

/** The Linux way of driving a multiport console. */
class SerialDriver {
  readonly rig: Rig<VirtioSerial>;
  readonly log: string[] = [];

  constructor(rig: Rig<VirtioSerial>) {
    this.rig = rig;
  }

  async start(options: StartOptions): Promise<void> {
    await this.rig.start(options);
    const queue = this.rig.queues[c.CONTROL_RECEIVEQ]!;
    queue.callback = () => this.#control();
    for (let i = 0; i < 8; i++) this.#room();
    queue.kick();
    this.say(0xffffffff, c.VIRTIO_CONSOLE_DEVICE_READY, 1);
  }

  say(id: number, event: number, value: number): void {
    void this.rig.request(c.CONTROL_TRANSMITQ, [serializeControl({ id, event, value })], []);
  }

  #room(): void {
    const sg = this.rig.memory.buffer(new Uint8Array(128));
    this.rig.queues[c.CONTROL_RECEIVEQ]!.addInbuf([sg], sg);
  }

  #control(): void {
    const queue = this.rig.queues[c.CONTROL_RECEIVEQ]!;
    for (let used = queue.getBuf(); used !== undefined; used = queue.getBuf()) {
      const sg = used.token as Sg;
      const { id, event, value } = parseControl([this.rig.memory.read(sg, used.length)])!;
      this.log.push(`${id}:${event}=${value}`);
      this.rig.memory.free(sg.address);
      this.#room();
      if (event === c.VIRTIO_CONSOLE_DEVICE_ADD) this.say(id, c.VIRTIO_CONSOLE_PORT_READY, 1);
      if (event === c.VIRTIO_CONSOLE_CONSOLE_PORT) this.say(id, c.VIRTIO_CONSOLE_PORT_OPEN, 1);
    }
    queue.kick();
  }
}

describe('console device through rings', () => {
  for (const [way, options] of Object.entries(WAYS)) {
    it(`moves 120 KB both ways on two ports with slow hosts: ${way}`, async () => {
      const rig = new Rig(
        new VirtioSerial({ tracer: new Tracer(), settings: serialSettings({ max_ports: 4 }) }),
      );
      const chardevs = [new FakeChardev({ room: 0 }), new FakeChardev({ room: 0 })];
      rig.device.addPort(new SerialPort({ console: true, chardev: chardevs[0]! }));
      rig.device.addPort(new SerialPort({ console: false, name: 'data', chardev: chardevs[1]! }));
      const driver = new SerialDriver(rig);
      await driver.start(options);
      driver.say(1, c.VIRTIO_CONSOLE_PORT_OPEN, 1);
      expect(driver.log).toEqual(['0:1=1', '1:1=1', '0:4=1', '0:6=1', '1:7=1', '1:6=1']);
      const random = lcg(3);
      for (const [port, chardev] of chardevs.entries()) {
        const out: number[] = [];
        const sent: Promise<unknown>[] = [];
        const typed = new Uint8Array(30_000).map(() => random(256));
        chardev.send(typed);
        const got: number[] = [];
        while (out.length < 30_000 || got.length < typed.length) {
          const piece = new Uint8Array(1 + random(3000)).map(() => random(256));
          if (rig.queues[c.transmitq(port)]!.numFree > 4) {
            out.push(...piece);
            sent.push(
              rig.request(
                c.transmitq(port),
                [piece.slice(0, 7), piece.slice(7)].filter((p) => p.length),
                [],
              ),
            );
          }
          chardev.drain(random(4000));
          if (got.length < typed.length) {
            const room = 1 + random(5000);
            const { data, length } = await rig.request(c.receiveq(port), [], [room]);
            got.push(...data.subarray(0, length));
          }
        }
        chardev.drain(1e9);
        await Promise.all(sent);
        expect(Buffer.from(chardev.written).equals(Buffer.from(out))).toBe(true);
        expect(Buffer.from(got).equals(Buffer.from(typed))).toBe(true);
      }
      expect(rig.errors).toEqual([]);
    });
  }

  it('survives a port that is unplugged and plugged with buffers in its queues', async () => {
    const rig = new Rig(new VirtioSerial({ tracer: new Tracer(), settings: serialSettings({}) }));
    const driver = new SerialDriver(rig);
    await driver.start({});
    for (let round = 0; round < 50; round++) {
      const chardev = new FakeChardev({ room: 2 });
      const port = new SerialPort({ console: false, chardev });
      expect(rig.device.addPort(port)).toBe(1);
      driver.say(1, c.VIRTIO_CONSOLE_PORT_OPEN, 1);
      const sent = rig.request(c.transmitq(1), [Uint8Array.of(1, 2, 3)], []);
      // A receive buffer of each round stays in the queue and serves the next.
      const room = rig.request(c.receiveq(1), [], [4]);
      if (round > 0) chardev.send('ab');
      rig.device.removePort(port);
      expect((await sent).length).toBe(0);
      expect(chardev.written).toEqual([1, 2]);
      void room;
    }
    expect(driver.log.filter((line) => line === '1:2=1').length).toBe(50);
    expect(rig.errors).toEqual([]);
  });
});

/** A TCP/IPv4 frame for the rig's card; checksums are the driver's to finish. */
function tcp(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(54 + payload.length);
  bytes.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 1, 0x08, 0, 0x45]);
  bytes[23] = 6;
  bytes[46] = 0x50;
  bytes.set(payload, 54);
  return bytes;
}

const LARGE: Offload = {
  needsCsum: true,
  csumStart: 34,
  csumOffset: 16,
  gso: 'tcp4',
  gsoSize: 1448,
  hdrLen: 54,
  dataValid: false,
};

describe('network device through rings', () => {
  for (const [way, options] of Object.entries(WAYS)) {
    it(`spreads large packets over small buffers, in order: ${way}`, async () => {
      const netdev = new FakeNetdev();
      const rig = new Rig(new VirtioNet({ netdev, tracer: new Tracer(), settings: netSettings({}) }));
      await rig.start(options);
      const queue = rig.queues[0]!;
      const got: Uint8Array[] = [];
      let open: { left: number; bytes: number[] } | undefined;
      const random = lcg(11);
      const refill = () => {
        while (queue.numFree > 8) {
          const sg = rig.memory.buffer(new Uint8Array(64 + random(2000)));
          queue.addInbuf([sg], sg);
        }
        queue.kick();
      };
      const collect = () => {
        for (let used = queue.getBuf(); used !== undefined; used = queue.getBuf()) {
          const sg = used.token as Sg;
          const data = rig.memory.read(sg, used.length);
          rig.memory.free(sg.address);
          if (open === undefined) {
            open = { left: data[10]! | (data[11]! << 8), bytes: [...data.subarray(12)] };
          } else open.bytes.push(...data);
          if (--open.left === 0) {
            got.push(Uint8Array.from(open.bytes));
            open = undefined;
          }
        }
      };
      refill();
      const frames = Array.from({ length: 60 }, (_, i) =>
        tcp(new Uint8Array(i % 3 === 0 ? 1 + random(60_000) : 10 + random(1400)).map((_, n) => n * i)),
      );
      for (const frame of frames) {
        netdev.deliver(frame, frame.length > 1514 ? LARGE : undefined);
        while (netdev.waiting.length > 0) {
          collect();
          refill();
        }
      }
      collect();
      expect(got.length).toBe(frames.length);
      for (const [i, frame] of frames.entries())
        expect(Buffer.from(got[i]!).equals(Buffer.from(frame))).toBe(true);
      expect(rig.errors).toEqual([]);
    });

    it(`sends what the driver cuts anywhere: ${way}`, async () => {
      const netdev = new FakeNetdev();
      const rig = new Rig(new VirtioNet({ netdev, tracer: new Tracer(), settings: netSettings({}) }));
      await rig.start(options);
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 500 }), { maxLength: 6 }), async (cuts) => {
          const frame = tcp(new Uint8Array(450).map((_, i) => i));
          const whole = new Uint8Array([...new Uint8Array(12), ...frame]);
          const at = [...new Set([0, ...cuts, whole.length])].sort((x, y) => x - y);
          await rig.request(
            1,
            at.slice(1).map((to, i) => whole.slice(at[i], to)),
            [],
          );
          expect(netdev.sent.pop()!.frame).toEqual(frame);
        }),
        { numRuns: 30 },
      );
    });
  }

  it('answers commands, and tells of the link by a configuration change', async () => {
    const netdev = new FakeNetdev();
    const rig = new Rig(new VirtioNet({ netdev, tracer: new Tracer(), settings: netSettings({}) }));
    await rig.start();
    const answer = await rig.request(2, [Uint8Array.of(0, 0), Uint8Array.of(0)], [1]);
    expect(answer).toEqual({ length: 1, data: Uint8Array.of(0) });
    expect(rig.device.filter.modes.promisc).toBe(false);
    netdev.setLink(false);
    expect(rig.configChanges).toBe(1);
    expect([...rig.driver.readConfig(6, 2)]).toEqual([0, 0]);
  });
});
