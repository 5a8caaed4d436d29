/** The devices, driven through ring, transport and interrupts by the driver library: no guest, no shortcut. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../core/clock.ts';
import { Tracer } from '../../core/trace.ts';
import type { Netdev, NetFrontend } from '../../net/netdev.ts';
import type { VirtioDevice } from '../device.ts';
import { VirtioBlk } from '../device/blk/device.ts';
import { MemoryDisk } from '../device/blk/memory-disk.ts';
import { blkSettings } from '../device/blk/properties.ts';
import * as con from '../device/console/defs.ts';
import { VirtioSerial } from '../device/console/device.ts';
import { FakeChardev } from '../device/console/fake-chardev.ts';
import { SerialPort } from '../device/console/port.ts';
import { serialSettings } from '../device/console/properties.ts';
import { VirtioNet } from '../device/net/device.ts';
import { netSettings } from '../device/net/properties.ts';
import { VirtioRng } from '../device/rng/device.ts';
import { Rig, type StartOptions } from './rig.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);

function header(type: number, sector: number): Uint8Array {
  const data = new Uint8Array(16);
  new DataView(data.buffer).setUint32(0, type, true);
  new DataView(data.buffer).setUint32(8, sector, true);
  return data;
}

const blk = (disk: MemoryDisk) =>
  new VirtioBlk({ backend: disk, tracer: new Tracer(), settings: blkSettings({ serial: 'SN1' }) });

const rng = () =>
  new VirtioRng({
    backend: { fill: (buffer) => void buffer.fill(0x42) },
    clock: new ManualClock(),
    tracer: new Tracer(),
  });

/** A wire that remembers what was sent on it. */
class Wire implements Netdev {
  readonly id = 'wire';
  readonly type = 'test';
  readonly txCaps = { csum: false, tso4: false, tso6: false, ufo: false };
  readonly frames: Uint8Array[] = [];
  frontend: NetFrontend | undefined;
  linkUp = true;
  attach(frontend: NetFrontend): () => void {
    this.frontend = frontend;
    return () => {
      this.frontend = undefined;
    };
  }
  send(frame: Uint8Array): void {
    this.frames.push(frame.slice());
  }
  acceptInput(): void {}
  describe(): string {
    return 'a wire';
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

const WAYS: StartOptions[] = (['modern', 'legacy'] as const).flatMap((iface) =>
  (['msix', 'intx'] as const).map((interrupts) => ({ interface: iface, interrupts })),
);

for (const way of WAYS) {
  const where = `${way.interface}, ${way.interrupts}`;

  describe(`block over ${where}`, () => {
    for (const later of [false, true]) {
      it(`reads and writes what the disk holds${later ? ', later' : ''}`, async () => {
        const disk = new MemoryDisk(2048, { later });
        const rig = new Rig(blk(disk));
        await rig.start(way);
        expect(new DataView(rig.driver.readConfig(0, 8).buffer).getBigUint64(0, true)).toBe(2048n);
        const request = async (out: Uint8Array[], into: number[]) => {
          const answer = rig.request(0, out, into);
          while (later && disk.waiting.length > 0) disk.waiting.shift()!.finish();
          return answer;
        };
        for (let sector = 0; sector < 40; sector++) {
          const data = new Uint8Array(1024).fill(sector + 1);
          const written = await request(
            [header(1, sector * 2), data.subarray(0, 500), data.subarray(500)],
            [1],
          );
          expect(written).toEqual({ length: 1, data: bytes(0) });
        }
        expect(disk.data[79 * 512]).toBe(40);
        const read = await request([header(0, 6)], [512, 512, 1]);
        expect(read.length).toBe(1025);
        expect(read.data).toEqual(Uint8Array.from([...Array(1024).fill(4), 0]));
        expect((await request([header(0, 5000)], [512, 1])).data[512]).toBe(1);
        expect(rig.queues[0]!.numFree).toBe(rig.queues[0]!.size);
        expect(rig.errors).toEqual([]);
      });
    }
  });

  describe(`entropy over ${where}`, () => {
    it('fills buffers', async () => {
      const rig = new Rig(rng());
      await rig.start(way);
      for (let i = 0; i < 20; i++) {
        const { length, data } = await rig.request(0, [], [60, 4]);
        expect(length).toBe(64);
        expect(data.every((byte) => byte === 0x42)).toBe(true);
      }
    });
  });

  describe(`console over ${where}`, () => {
    it('carries bytes both ways', async () => {
      const chardev = new FakeChardev();
      const device = new VirtioSerial({ tracer: new Tracer(), settings: serialSettings({ max_ports: 1 }) });
      device.addPort(new SerialPort({ console: true, chardev }));
      const rig = new Rig<VirtioDevice>(device);
      await rig.start(way);
      const input = rig.request(con.receiveq(0), [], [16]);
      chardev.send('typed');
      expect(Buffer.from((await input).data.slice(0, (await input).length)).toString()).toBe('typed');
      await rig.request(con.transmitq(0), [Buffer.from('printed '), Buffer.from('text')], []);
      expect(chardev.text).toBe('printed text');
    });
  });

  describe(`network over ${where}`, () => {
    it('carries frames both ways', async () => {
      const wire = new Wire();
      const device = new VirtioNet({
        tracer: new Tracer(),
        settings: netSettings({ mac: '52:54:00:12:34:56' }),
        netdev: wire,
      });
      const rig = new Rig<VirtioDevice>(device);
      await rig.start(way);
      expect([...rig.driver.readConfig(0, 6)]).toEqual([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
      // MRG_RXBUF or VERSION_1: the header is 12 bytes (§5.1.6.1).
      const head = new Uint8Array(12);
      const frame = Uint8Array.from({ length: 60 }, (_, i) => (i < 6 ? 0xff : i));
      await rig.request(1, [head, frame], []);
      expect(wire.frames).toEqual([frame]);
      const incoming = rig.request(0, [], [1600]);
      expect(wire.frontend!.receive(frame)).toBe(true);
      const { length, data } = await incoming;
      expect(length).toBe(72);
      expect(data.slice(12, 72)).toEqual(frame);
    });
  });
}
