/** The PCI function beside QEMU 7.2's, and the legacy interface (VIRTIO 1.4 §4.1.4.10, "Legacy Interfaces"). */
import { describe, expect, it } from 'vitest';
import * as pci from '../../core/pci.ts';
import { EchoDevice } from '../driver/echo.ts';
import { Rig } from '../driver/rig.ts';
import * as f from '../features.ts';
import * as l from '../queue/layout.ts';
import * as lg from './pci-legacy.ts';
import type { VirtioPciOptions } from './pci.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);

/** As entropy: one queue, no configuration. */
class RngLike extends EchoDevice {
  override readonly deviceId: number = 4;
  override readonly configSize: number = 0;
  constructor() {
    super([{ name: 'requestq', size: 8 }]);
  }
}

/** As the network card: three queues. */
class NetLike extends EchoDevice {
  override readonly deviceId: number = 1;
  constructor() {
    super(['receiveq', 'transmitq', 'ctrlq'].map((name) => ({ name, size: 256 })));
  }
}

class BlockLike extends EchoDevice {
  override readonly deviceId: number = 2;
}

/** Read from QEMU 7.2.22 through qtest: configuration space after reset (64 dwords), then BARs with all ones. */
const QEMU = {
  rng: {
    config: `10051af4 00100000 00ff0000 00000000 00000001 00000000 00000000 00000000
      0000000c 00000000 00000000 00041af4 00000000 00000098 00000000 00000100
      01100009 00000004 00000000 00001000 03104009 00000004 00001000 00001000
      04105009 00000004 00002000 00001000 02146009 00000004 00003000 00001000
      00000004 05147009 00000000 00000000 00000000 00000000 00018411 00000001
      00000801`,
    bars: [0xffffffe1, 0xfffff000, 0, 0, 0xffffc00c, 0xffffffff],
  },
  rngModern: {
    config: `10441af4 00100000 00ff0001 00000000 00000000 00000000 00000000 00000000
      0000000c 00000000 00000000 11001af4 00000000 00000098 00000000 00000100
      01100009 00000004 00000000 00001000 03104009 00000004 00001000 00001000
      04105009 00000004 00002000 00001000 02146009 00000004 00003000 00001000
      00000004 05147009 00000000 00000000 00000000 00000000 00018411 00000001
      00000801`,
    bars: [0, 0xfffff000, 0, 0, 0xffffc00c, 0xffffffff],
  },
  net: {
    config: `10001af4 00100000 02000000 00000000 00000001 00000000 00000000 00000000
      0000000c 00000000 00000000 00011af4 00000000 00000098 00000000 00000100
      01100009 00000004 00000000 00001000 03104009 00000004 00001000 00001000
      04105009 00000004 00002000 00001000 02146009 00000004 00003000 00001000
      00000004 05147009 00000000 00000000 00000000 00000000 00038411 00000001
      00000801`,
    bars: [0xffffffe1, 0xfffff000, 0, 0, 0xffffc00c, 0xffffffff],
  },
};

describe('the PCI function', () => {
  const cases: [keyof typeof QEMU, EchoDevice, VirtioPciOptions][] = [
    ['rng', new RngLike(), {}],
    ['rngModern', new RngLike(), { disableLegacy: 'on' }],
    ['net', new NetLike(), {}],
  ];
  for (const [name, device, options] of cases) {
    it(`has QEMU's configuration space, byte for byte (${name})`, () => {
      const { fn } = new Rig(device, options);
      fn.reset();
      const expected = QEMU[name].config.split(/\s+/);
      const shown = Array.from({ length: 64 }, (_, i) =>
        fn
          .readConfig(i * 4, 4)
          .toString(16)
          .padStart(8, '0'),
      );
      expect(shown).toEqual(Array.from({ length: 64 }, (_, i) => expected[i] ?? '00000000'));
      for (let bar = 0; bar < 6; bar++) fn.writeConfig(0x10 + bar * 4, 4, 0xffffffff);
      const bars = Array.from({ length: 6 }, (_, bar) => fn.readConfig(0x10 + bar * 4, 4));
      expect(bars).toEqual(QEMU[name].bars);
      expect(fn.mappings()).toEqual([]);
    });
  }

  it('is modern only behind a PCI Express port, and where there was no legacy device', () => {
    const kinds = (options: VirtioPciOptions, device: EchoDevice = new BlockLike()) => {
      const { fn } = new Rig(device, options);
      return [fn.legacy, fn.modern];
    };
    expect(kinds({})).toEqual([true, true]);
    expect(kinds({ expressPort: true })).toEqual([false, true]);
    expect(kinds({ expressPort: true, disableLegacy: 'off' })).toEqual([true, true]);
    expect(kinds({ disableModern: true })).toEqual([true, false]);
    expect(kinds({}, new EchoDevice())).toEqual([false, true]);
    expect(() => kinds({ disableLegacy: 'off' }, new EchoDevice())).toThrow('modern-only');
    expect(() => kinds({ disableLegacy: 'on', disableModern: true })).toThrow('neither modern nor legacy');
  });

  it('survives a snapshot: another one goes on where it was', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    await rig.start();
    rig.device.hold = true;
    const ring = rig.queues[0]!;
    for (const token of ['a', 'b']) {
      ring.addBuf([rig.memory.buffer(bytes(1, 2))], [rig.memory.buffer(bytes(0, 0))], token);
      ring.kick();
    }
    const twin = new Rig<EchoDevice>(new BlockLike());
    twin.memory.ram.bytes.set(rig.memory.ram.bytes);
    const snapshot = structuredClone(rig.fn.save());
    twin.fn.restore(snapshot);
    expect(twin.fn.save()).toMatchObject({ configVector: 0, queueVectors: [1, 2], fn: snapshot.fn });
    expect(twin.messages.map((message) => message.data)).toEqual([1]);
    rig.memory.ram.bytes.set(twin.memory.ram.bytes);
    expect([ring.getBuf(), ring.getBuf()]).toEqual([
      { token: 'a', length: 2 },
      { token: 'b', length: 2 },
    ]);
  });
});

describe('the legacy interface', () => {
  function legacyRig(options: VirtioPciOptions = {}): Rig<EchoDevice> {
    const rig = new Rig<EchoDevice>(new BlockLike(), options);
    rig.open({ interface: 'legacy' });
    return rig;
  }
  const read = (rig: Rig, register: number, size: 1 | 2 | 4) => rig.bus.readBar(0, register, size);
  const write = (rig: Rig, register: number, size: 1 | 2 | 4, value: number) =>
    rig.bus.writeBar(0, register, size, value);

  it('is an I/O BAR 0 that has room for header and configuration', () => {
    expect(legacyRig().fn.bars[0]).toMatchObject({ kind: 'io', size: 32 });
    expect([lg.legacyBarSize(true, 60), lg.legacyBarSize(false, 60), lg.legacyBarSize(true, 0)]).toEqual([
      128, 128, 32,
    ]);
  });

  it('shows the configuration behind the header, and it moves when MSI-X is enabled', () => {
    const rig = legacyRig();
    rig.device.config.set([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(read(rig, 20, 4)).toBe(0x04030201);
    rig.bus.writeConfig(rig.fn.msix!.capability + 2, 2, 0x8000);
    expect([read(rig, 24, 4), read(rig, 20, 2)]).toEqual([0x04030201, 0xffff]);
    // "...using any width accesses": the same bytes, whatever the width.
    expect([read(rig, 25, 2), read(rig, 27, 1), read(rig, 28, 4)]).toEqual([0x0302, 4, 0x08070605]);
    write(rig, 26, 2, 0xbeef);
    expect(rig.device.config.slice(0, 5)).toEqual(bytes(1, 2, 0xef, 0xbe, 5));
    rig.bus.writeConfig(rig.fn.msix!.capability + 2, 2, 0);
    expect(read(rig, 22, 2)).toBe(0xbeef);
  });

  it('offers bits 0 to 31 and takes bits 32 to 63 as not acknowledged', async () => {
    const rig = legacyRig();
    const offered = BigInt(read(rig, lg.LEGACY_DEVICE_FEATURES, 4));
    for (const bit of [0n, 1n, 3n, f.VIRTIO_F_NOTIFY_ON_EMPTY, f.VIRTIO_F_ANY_LAYOUT, f.VIRTIO_F_EVENT_IDX]) {
      expect(f.hasFeature(offered, bit)).toBe(true);
    }
    write(rig, lg.LEGACY_DRIVER_FEATURES, 4, 0b1111);
    expect(rig.fn.state.negotiated).toBe(0b1011n);
    // A driver that acknowledges everything has not negotiated at all.
    write(rig, lg.LEGACY_DRIVER_FEATURES, 4, 0xffffffff);
    expect(rig.fn.state.negotiated).toBe(0n);
  });

  it('finds the queue by its page number, in the legacy layout', () => {
    const rig = legacyRig();
    expect(
      [0, 1, 2].map(
        (queue) => (write(rig, lg.LEGACY_QUEUE_SELECT, 2, queue), read(rig, lg.LEGACY_QUEUE_SIZE, 2)),
      ),
    ).toEqual([256, 8, 0]);
    write(rig, lg.LEGACY_QUEUE_SELECT, 2, 0);
    write(rig, lg.LEGACY_QUEUE_ADDRESS, 4, 16);
    expect(read(rig, lg.LEGACY_QUEUE_ADDRESS, 4)).toBe(16);
    expect(rig.fn.state.queueConfig(0)).toMatchObject({ ...l.legacyLayout(16 * 4096, 256), enabled: true });
    write(rig, lg.LEGACY_QUEUE_ADDRESS, 4, 0);
    expect([read(rig, lg.LEGACY_QUEUE_ADDRESS, 4), rig.fn.state.queueConfig(0)!.enabled]).toEqual([0, false]);
  });

  it('serves a driver that notifies before DRIVER_OK, as legacy drivers did (§3.1.2)', () => {
    const rig = legacyRig();
    write(rig, lg.LEGACY_STATUS, 1, 3);
    const ring = rig.driver.ops.findVqs([{ name: 'echoq', callback: () => {} }])[0]!;
    ring.addInbuf([rig.memory.buffer(bytes(0))], 'early');
    ring.kick();
    expect(ring.getBuf()!.token).toBe('early');
    write(rig, lg.LEGACY_STATUS, 1, 7);
    expect(rig.device.calls.filter((call) => call === 'start')).toHaveLength(1);
    expect(rig.errors).toEqual([]);
  });

  it('enables bus mastering for drivers that forget to, when they write ACKNOWLEDGE and DRIVER', () => {
    const rig = legacyRig();
    rig.bus.writeConfig(pci.PCI_COMMAND, 2, pci.PCI_COMMAND_IO);
    write(rig, lg.LEGACY_STATUS, 1, 1);
    expect(rig.fn.busMaster).toBe(false);
    write(rig, lg.LEGACY_STATUS, 1, 3);
    expect(rig.fn.busMaster).toBe(true);
  });

  it('reads and clears ISR status, and lowers the line', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    await rig.start({ interface: 'legacy', interrupts: 'intx' });
    rig.bus.onLine(() => {});
    rig.device.host.configChanged();
    expect(rig.line).toBe(true);
    expect([read(rig, lg.LEGACY_ISR, 1), rig.line, read(rig, lg.LEGACY_ISR, 1)]).toEqual([2, false, 0]);
  });

  it('is reset at once, whatever the back end still does, for its drivers do not wait', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    await rig.start({ interface: 'legacy' });
    rig.device.pending = new Promise(() => {});
    write(rig, lg.LEGACY_STATUS, 1, 0);
    expect(read(rig, lg.LEGACY_STATUS, 1)).toBe(0);
    rig.device.pending = undefined;
    await rig.start({ interface: 'legacy' });
    expect((await rig.request(0, [bytes(1)], [1])).length).toBe(1);
  });

  it('does not show DEVICE_NEEDS_RESET, which its drivers do not know', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    await rig.start({ interface: 'legacy' });
    rig.device.host.needsReset('broken');
    expect(read(rig, lg.LEGACY_STATUS, 1)).toBe(7);
    rig.queues[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    rig.queues[0]!.notify();
    expect(rig.queues[0]!.moreUsed).toBe(false);
  });
});
