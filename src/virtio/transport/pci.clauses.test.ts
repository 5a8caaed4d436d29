/** The device-side statements of VIRTIO 1.4 §4.1 (virtio over PCI), one test each. */
import { describe, expect, it } from 'vitest';
import * as pci from '../../core/pci.ts';
import { EchoDevice } from '../driver/echo.ts';
import { pciCapabilities } from '../driver/pci.ts';
import { Rig, type StartOptions } from '../driver/rig.ts';
import * as f from '../features.ts';
import * as p from './pci.ts';
import * as c from './pci-common.ts';
import { pciIds } from './pci-ids.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
/** BAR and offsets of the modern regions, as a driver finds them. */
const BAR = 4;
const ISR = 0x1000;
const CONFIG = 0x2000;

class BlockLikeEcho extends EchoDevice {
  override readonly deviceId: number = 2;
}

function rigOf(options: p.VirtioPciOptions = {}): Rig<EchoDevice> {
  const rig = new Rig<EchoDevice>(new BlockLikeEcho(), options);
  rig.open();
  return rig;
}

async function started(
  options: StartOptions = {},
  device: p.VirtioPciOptions = {},
): Promise<Rig<EchoDevice>> {
  const rig = new Rig<EchoDevice>(new BlockLikeEcho(), device);
  await rig.start(options);
  return rig;
}

/** Capabilities of a type: their fields. */
function caps(rig: Rig, type: number) {
  return pciCapabilities(rig.bus, pci.PCI_CAP_ID_VNDR)
    .filter((at) => rig.bus.readConfig(at + p.CAP_CFG_TYPE, 1) === type)
    .map((at) => ({
      at,
      len: rig.bus.readConfig(at + p.CAP_LEN, 1),
      bar: rig.bus.readConfig(at + p.CAP_BAR, 1),
      offset: rig.bus.readConfig(at + p.CAP_OFFSET, 4),
      length: rig.bus.readConfig(at + p.CAP_LENGTH, 4),
      extra: rig.bus.readConfig(at + p.CAP_EXTRA, 4),
    }));
}

const read = (rig: Rig, register: number, size: 1 | 2 | 4) => rig.bus.readBar(BAR, register, size);
const write = (rig: Rig, register: number, size: 1 | 2 | 4, value: number) =>
  rig.bus.writeBar(BAR, register, size, value);

describe('PCI device discovery', () => {
  it('dev:Virtio Transport Options / Virtio Over PCI Bus#1 the function has a configuration header and capability list as PCI asks', () => {
    for (const options of [
      {},
      { disableLegacy: 'on' },
      { disableModern: true },
      { vectors: 0 },
    ] as p.VirtioPciOptions[]) {
      const rig = rigOf(options);
      const cfg = (at: number, size: 1 | 2 | 4) => rig.bus.readConfig(at, size);
      expect(cfg(pci.PCI_HEADER_TYPE, 1)).toBe(0);
      expect(cfg(pci.PCI_CLASS_DEVICE, 2)).toBe(0x0100);
      expect(cfg(pci.PCI_INTERRUPT_PIN, 1)).toBe(1);
      // Identity is read-only; the command register keeps the bits that it has.
      rig.bus.writeConfig(0, 4, 0);
      rig.bus.writeConfig(8, 4, 0);
      expect([cfg(0, 2), cfg(8, 1)]).toEqual([0x1af4, options.disableLegacy === 'on' ? 1 : 0]);
      rig.bus.writeConfig(pci.PCI_COMMAND, 2, 0xffff);
      expect(cfg(pci.PCI_COMMAND, 2)).toBe(0x547);
      // Every BAR says its size when all ones are written, and is aligned to it.
      rig.fn.bars.forEach((bar, index) => {
        if (bar === undefined) return;
        rig.bus.writeConfig(0x10 + index * 4, 4, 0xffffffff);
        const low = bar.kind === 'io' ? 3 : 15;
        expect((~(cfg(0x10 + index * 4, 4) & ~low) + 1) >>> 0).toBe(bar.size);
      });
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery#1 the vendor is 0x1AF4', () => {
    for (const options of [{}, { disableLegacy: 'on' }] as p.VirtioPciOptions[]) {
      expect(rigOf(options).bus.readConfig(pci.PCI_VENDOR_ID, 2)).toBe(0x1af4);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery#2 device ids are 0x1040 + id, or the transitional one', () => {
    const transitional: [number, number][] = [
      [1, 0x1000],
      [2, 0x1001],
      [5, 0x1002],
      [3, 0x1003],
      [8, 0x1004],
      [4, 0x1005],
      [9, 0x1009],
    ];
    for (const [id, device] of transitional) expect(pciIds(id).transitional).toBe(device);
    expect(rigOf().bus.readConfig(pci.PCI_DEVICE_ID, 2)).toBe(0x1001);
    expect(rigOf({ disableLegacy: 'on' }).bus.readConfig(pci.PCI_DEVICE_ID, 2)).toBe(0x1042);
    expect(new Rig(new EchoDevice()).bus.readConfig(pci.PCI_DEVICE_ID, 2)).toBe(0x1040 + 42);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery#3 subsystem ids are those of the environment', () => {
    const rig = rigOf({ disableLegacy: 'on' });
    const ids = [pci.PCI_SUBSYSTEM_VENDOR_ID, pci.PCI_SUBSYSTEM_ID].map((at) => rig.bus.readConfig(at, 2));
    expect(ids).toEqual([0x1af4, 0x1100]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery#4 non-transitional device ids are 0x1040 to 0x107f', () => {
    const id = rigOf({ disableLegacy: 'on' }).bus.readConfig(pci.PCI_DEVICE_ID, 2);
    expect(id >= 0x1040 && id <= 0x107f).toBe(true);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery#5 non-transitional devices have revision 1', () => {
    expect(rigOf({ disableLegacy: 'on' }).bus.readConfig(pci.PCI_REVISION_ID, 1)).toBe(1);
    expect(rigOf().bus.readConfig(pci.PCI_REVISION_ID, 1)).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery#6 non-transitional devices have a subsystem id of 0x40 or more', () => {
    expect(rigOf({ disableLegacy: 'on' }).bus.readConfig(pci.PCI_SUBSYSTEM_ID, 2)).toBeGreaterThanOrEqual(
      0x40,
    );
    // A legacy driver finds the device id there.
    expect(rigOf().bus.readConfig(pci.PCI_SUBSYSTEM_ID, 2)).toBe(2);
  });
});

describe('PCI device layout', () => {
  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout#1 both halves of 64-bit fields are accessed apart', () => {
    const rig = rigOf();
    write(rig, CONFIG, 4, 0x11223344);
    write(rig, CONFIG + 4, 4, 0x55667788);
    expect([read(rig, CONFIG + 4, 4), read(rig, CONFIG, 4)]).toEqual([0x55667788, 0x11223344]);
    for (const register of [c.QUEUE_DESC_LO, c.QUEUE_DRIVER_LO, c.QUEUE_DEVICE_LO]) {
      write(rig, register + 4, 4, 0x12);
      write(rig, register, 4, 0xfffff000);
      expect([read(rig, register, 4), read(rig, register + 4, 4)]).toEqual([0xfffff000, 0x12]);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities#1 cap_len covers the extra fields', () => {
    const rig = rigOf();
    const lengths = [1, 2, 3, 4, 5].map((type) => caps(rig, type)[0]!.len);
    expect(lengths).toEqual([16, 20, 16, 16, 20]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities#2 structures are padded to a page', () => {
    const rig = rigOf();
    expect([1, 3, 4].map((type) => caps(rig, type)[0]!.length)).toEqual([0x1000, 0x1000, 0x1000]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities#3 there is one structure of each type: nothing to order', () => {
    const rig = rigOf();
    expect([1, 2, 3, 4, 5].map((type) => caps(rig, type).length)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('common configuration', () => {
  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#1 its offset is 4-byte aligned', () => {
    expect(caps(rigOf(), p.VIRTIO_PCI_CAP_COMMON_CFG)[0]!.offset % 4).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#2 there is one', () => {
    expect(caps(rigOf(), p.VIRTIO_PCI_CAP_COMMON_CFG)).toHaveLength(1);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#3 device_feature shows the word that was selected', () => {
    const rig = rigOf();
    const word = (select: number) => {
      write(rig, c.DEVICE_FEATURE_SELECT, 4, select);
      return read(rig, c.DEVICE_FEATURE, 4);
    };
    expect(word(0)).toBe(0b1011 | (1 << 28) | (1 << 29));
    expect(word(1)).toBe(1 | (1 << 8));
    expect([2, 3, 4, 0x10000, 0xffffffff].map(word)).toEqual([0, 0, 0, 0, 0]);
    expect(word(0)).toBe(0b1011 | (1 << 28) | (1 << 29));
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#4 driver_feature shows the valid bits that the driver wrote', () => {
    const rig = rigOf();
    [0b1001, 1, 0, 0].forEach((value, select) => {
      write(rig, c.DRIVER_FEATURE_SELECT, 4, select);
      write(rig, c.DRIVER_FEATURE, 4, value);
    });
    const shown = [0, 1, 2, 3, 4].map((select) => {
      write(rig, c.DRIVER_FEATURE_SELECT, 4, select);
      return read(rig, c.DRIVER_FEATURE, 4);
    });
    expect(shown).toEqual([0b1001, 1, 0, 0, 0]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#5 invalid bits are mirrored, and refused at FEATURES_OK', () => {
    const rig = rigOf();
    write(rig, c.DEVICE_STATUS, 1, 3);
    write(rig, c.DRIVER_FEATURE, 4, 0b0100);
    expect(read(rig, c.DRIVER_FEATURE, 4)).toBe(0b0100);
    write(rig, c.DEVICE_STATUS, 1, 11);
    expect(read(rig, c.DEVICE_STATUS, 1)).toBe(3);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#6 config_generation has changed after a changed value was read', async () => {
    const rig = await started();
    const generation = () => read(rig, c.CONFIG_GENERATION, 1);
    const first = generation();
    read(rig, CONFIG, 4);
    expect(generation()).toBe(first);
    // 256 changes are one: the driver has not looked, so that the 8 bits cannot wrap unseen.
    for (let i = 0; i < 256; i++) {
      rig.device.config[0] = i;
      rig.device.host.configChanged();
    }
    read(rig, CONFIG, 1);
    expect(generation()).not.toBe(first);
    // A driver that reads while it changes reads again.
    let reads = 0;
    const original = rig.device.readConfig.bind(rig.device);
    rig.device.readConfig = (offset, size) => {
      if (reads++ === 4) {
        rig.device.config.fill(0xee);
        rig.device.host.configChanged();
      }
      return original(offset, size);
    };
    expect([...rig.driver.readConfig(0, 8)]).toEqual(Array(8).fill(0xee));
    expect(reads).toBe(16);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#7 writing 0 to device_status resets', async () => {
    const rig = await started();
    expect(read(rig, c.DEVICE_STATUS, 1)).toBe(15);
    write(rig, c.DEVICE_STATUS, 1, 0);
    expect(read(rig, c.DEVICE_STATUS, 1)).toBe(0);
    expect(rig.device.calls.at(-1)).toBe('stop');
    write(rig, c.DRIVER_FEATURE_SELECT, 4, 0);
    expect(read(rig, c.DRIVER_FEATURE, 4)).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#8 queue_enable is 0 after a reset', async () => {
    const rig = await started();
    const enabled = () =>
      [0, 1].map((queue) => {
        write(rig, c.QUEUE_SELECT, 2, queue);
        return read(rig, c.QUEUE_ENABLE, 2);
      });
    expect(enabled()).toEqual([1, 1]);
    write(rig, c.DEVICE_STATUS, 1, 0);
    expect(enabled()).toEqual([0, 0]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#9 queue_reset is 0 after a reset', async () => {
    const rig = await started();
    rig.device.pending = new Promise(() => {});
    write(rig, c.QUEUE_SELECT, 2, 0);
    write(rig, c.QUEUE_RESET, 2, 1);
    expect(read(rig, c.QUEUE_RESET, 2)).toBe(1);
    rig.device.pending = undefined;
    write(rig, c.DEVICE_STATUS, 1, 0);
    expect(read(rig, c.QUEUE_RESET, 2)).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#10 queue_reset is 0 after the queue is enabled', async () => {
    const rig = await started();
    await rig.driver.ops.resetVq!(0);
    rig.driver.ops.enableVqAfterReset!(0, { name: 'again' });
    expect([read(rig, c.QUEUE_ENABLE, 2), read(rig, c.QUEUE_RESET, 2)]).toEqual([1, 0]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#11 writing 1 to queue_reset resets the queue', async () => {
    const rig = await started();
    write(rig, c.QUEUE_SELECT, 2, 1);
    write(rig, c.QUEUE_RESET, 2, 0);
    expect(rig.device.calls).not.toContain('reset 1');
    write(rig, c.QUEUE_RESET, 2, 1);
    expect(rig.device.calls.at(-1)).toBe('reset 1');
    expect([c.QUEUE_DESC_LO, c.QUEUE_DRIVER_LO, c.QUEUE_DEVICE_LO].map((at) => read(rig, at, 4))).toEqual([
      0, 0, 0,
    ]);
    expect(read(rig, c.QUEUE_MSIX_VECTOR, 2)).toBe(0xffff);
    // Without the feature it does nothing.
    const plain = await started({}, { queueReset: false });
    write(plain, c.QUEUE_RESET, 2, 1);
    expect([plain.device.calls.at(-1), read(plain, c.QUEUE_ENABLE, 2)]).toEqual(['start', 1]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#12 queue_reset stays 1 while the reset is under way', async () => {
    const rig = await started();
    let end = () => {};
    rig.device.pending = new Promise((resolve) => (end = resolve));
    write(rig, c.QUEUE_SELECT, 2, 0);
    write(rig, c.QUEUE_RESET, 2, 1);
    for (let i = 0; i < 3; i++) {
      await rig.bus.pause();
      expect(read(rig, c.QUEUE_RESET, 2)).toBe(1);
    }
    end();
    await rig.bus.pause();
    expect(read(rig, c.QUEUE_RESET, 2)).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#13 after a queue reset queue_reset and queue_enable are 0', async () => {
    const rig = await started();
    await rig.driver.ops.resetVq!(0);
    expect([read(rig, c.QUEUE_RESET, 2), read(rig, c.QUEUE_ENABLE, 2)]).toEqual([0, 0]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#14 queue_size is 0 where there is no queue', () => {
    const rig = rigOf();
    const sizes = [0, 1, 2, 3, 0xffff].map((queue) => {
      write(rig, c.QUEUE_SELECT, 2, queue);
      return read(rig, c.QUEUE_SIZE, 2);
    });
    expect(sizes).toEqual([256, 8, 0, 0, 0]);
    // And writing to one that is not there does nothing.
    write(rig, c.QUEUE_SIZE, 2, 8);
    write(rig, c.QUEUE_ENABLE, 2, 1);
    write(rig, c.QUEUE_DESC_LO, 4, 4096);
    expect([read(rig, c.QUEUE_SIZE, 2), read(rig, c.QUEUE_ENABLE, 2), read(rig, c.QUEUE_DESC_LO, 4)]).toEqual(
      [0, 0, 0],
    );
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout#15 queue_size is a power of two', () => {
    const rig = rigOf();
    for (const [written, shown] of [
      [128, 128],
      [3, 128],
      [100, 128],
      [0, 128],
      [512, 128],
      [256, 256],
    ] as const) {
      write(rig, c.QUEUE_SIZE, 2, written);
      expect(read(rig, c.QUEUE_SIZE, 2)).toBe(shown);
    }
    expect(rig.errors[0]).toContain('Common configuration structure layout#3');
  });

  it('tells a driver that writes what it must not', () => {
    const rig = rigOf();
    write(rig, c.NUM_QUEUES, 2, 9);
    write(rig, c.DEVICE_FEATURE, 4, 9);
    write(rig, c.QUEUE_ENABLE, 2, 0);
    expect([read(rig, c.NUM_QUEUES, 2), rig.errors.length]).toEqual([2, 3]);
    write(rig, c.QUEUE_ENABLE, 2, 1);
    write(rig, c.QUEUE_DESC_LO, 4, 0x1000);
    expect(read(rig, c.QUEUE_DESC_LO, 4)).toBe(0);
    expect(rig.errors.at(-1)).toContain('configured while enabled');
  });
});

describe('notification capability', () => {
  const notify = (options: p.VirtioPciOptions = {}) => caps(rigOf(options), p.VIRTIO_PCI_CAP_NOTIFY_CFG);

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability#1 there is one', () => {
    expect(notify()).toHaveLength(1);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability#2 its offset is aligned', () => {
    expect(notify()[0]!.offset % 2).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability#3 the multiplier is an even power of two', () => {
    expect([notify()[0]!.extra, notify({ pagePerVq: true })[0]!.extra]).toEqual([4, 4096]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability#4 it is long enough for all queues', () => {
    for (const pagePerVq of [false, true]) {
      const { length, extra } = notify({ pagePerVq })[0]!;
      expect(length).toBe(1024 * extra);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability#5 it reaches the last queue, and that notifies it', async () => {
    for (const pagePerVq of [false, true]) {
      const rig = await started({}, { pagePerVq });
      const { length, extra, offset } = caps(rig, p.VIRTIO_PCI_CAP_NOTIFY_CFG)[0]!;
      write(rig, c.QUEUE_SELECT, 2, 1);
      const place = read(rig, c.QUEUE_NOTIFY_OFF, 2) * extra;
      expect(length).toBeGreaterThanOrEqual(place + 2);
      rig.bus.writeBar(BAR, offset + place, 2, 1);
      expect(rig.device.calls.at(-1)).toBe('notify 1');
      expect(rig.bus.readBar(BAR, offset + place, 2)).toBe(0);
    }
  });
});

describe('ISR status', () => {
  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability#1 there is one', () => {
    expect(caps(rigOf(), p.VIRTIO_PCI_CAP_ISR_CFG)).toHaveLength(1);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability#2 the configuration bit is set before the notification', async () => {
    const rig = await started({ interrupts: 'intx' });
    let isr = -1;
    rig.bus.onLine(() => (isr = read(rig, ISR, 1)));
    rig.device.host.configChanged();
    expect(isr).toBe(p.ISR_CONFIG);
    const msix = await started({ interrupts: 'msix' });
    msix.device.host.configChanged();
    expect(read(msix, ISR, 1)).toBe(p.ISR_CONFIG);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability#3 without MSI-X the queue bit is set before the notification', async () => {
    const rig = await started({ interrupts: 'intx' });
    const seen: number[] = [];
    rig.bus.onLine(() => seen.push(read(rig, ISR, 1)));
    void rig.request(0, [bytes(1)], [1]);
    expect(seen).toEqual([p.ISR_QUEUE]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability#4 the interrupt bit of the PCI status is the OR of all ISR bits', async () => {
    const rig = await started({ interrupts: 'intx' });
    rig.bus.onLine(() => {});
    const status = () => rig.bus.readConfig(pci.PCI_STATUS, 2) & pci.PCI_STATUS_INTERRUPT;
    expect([status(), rig.line]).toEqual([0, false]);
    rig.device.host.configChanged();
    expect([status(), rig.line]).toEqual([pci.PCI_STATUS_INTERRUPT, true]);
    // INTx may be masked by the command register: the status bit stays.
    const command = rig.bus.readConfig(pci.PCI_COMMAND, 2);
    rig.bus.writeConfig(pci.PCI_COMMAND, 2, command | pci.PCI_COMMAND_INTX_DISABLE);
    expect([status(), rig.line]).toEqual([pci.PCI_STATUS_INTERRUPT, false]);
    rig.bus.writeConfig(pci.PCI_COMMAND, 2, command);
    expect(rig.line).toBe(true);
    read(rig, ISR, 1);
    expect([status(), rig.line]).toEqual([0, false]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability#5 reading it makes it 0', async () => {
    const rig = await started({ interrupts: 'intx' });
    rig.bus.onLine(() => {});
    rig.device.host.configChanged();
    void rig.request(0, [bytes(1)], [1]);
    expect([read(rig, ISR, 1), read(rig, ISR, 1)]).toEqual([3, 0]);
  });
});

describe('other structures', () => {
  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Device-specific configuration#1 its offset is 4-byte aligned', () => {
    expect(caps(rigOf(), p.VIRTIO_PCI_CAP_DEVICE_CFG)[0]!.offset % 4).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability#1 there is one', () => {
    expect(caps(rigOf(), p.VIRTIO_PCI_CAP_PCI_CFG)).toHaveLength(1);
  });

  function windowOf(rig: Rig) {
    const { at } = caps(rig, p.VIRTIO_PCI_CAP_PCI_CFG)[0]!;
    return (bar: number, offset: number, length: number) => {
      rig.bus.writeConfig(at + p.CAP_BAR, 1, bar);
      rig.bus.writeConfig(at + p.CAP_OFFSET, 4, offset);
      rig.bus.writeConfig(at + p.CAP_LENGTH, 4, length);
      return at + p.CAP_EXTRA;
    };
  }

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability#2 a write to pci_cfg_data is a write to the BAR', () => {
    const rig = rigOf();
    const window = windowOf(rig);
    rig.bus.writeConfig(window(BAR, c.DEVICE_STATUS, 1), 1, 3);
    rig.bus.writeConfig(window(BAR, c.QUEUE_SELECT, 2), 2, 1);
    rig.bus.writeConfig(window(BAR, CONFIG, 4), 4, 0xa1b2c3d4);
    expect([read(rig, c.DEVICE_STATUS, 1), read(rig, c.QUEUE_SELECT, 2)]).toEqual([3, 1]);
    expect(read(rig, CONFIG, 4)).toBe(0xa1b2c3d4);
    // Windows that are not aligned, not in the BAR, or of another length do nothing.
    for (const [bar, offset, length] of [
      [BAR, CONFIG + 1, 4],
      [BAR, CONFIG, 3],
      [BAR, CONFIG, 0],
      [BAR, 0xfffffffc, 4],
      [0, 0, 4],
      [9, 0, 4],
    ] as const) {
      rig.bus.writeConfig(window(bar, offset, length), 4, 0xffffffff);
    }
    expect(read(rig, CONFIG, 4)).toBe(0xa1b2c3d4);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability#3 a read of pci_cfg_data is a read of the BAR', () => {
    const rig = rigOf();
    const window = windowOf(rig);
    rig.device.config.set([1, 2, 3, 4]);
    expect(rig.bus.readConfig(window(BAR, CONFIG, 4), 4)).toBe(0x04030201);
    expect(rig.bus.readConfig(window(BAR, CONFIG + 2, 2), 2)).toBe(0x0403);
    expect(rig.bus.readConfig(window(BAR, c.NUM_QUEUES, 2), 2)).toBe(2);
  });
});

describe('features', () => {
  it('of the legacy interface are not shown by the modern one, nor the other way round', () => {
    const { modernFeatures, legacyFeatures } = rigOf().fn.state;
    expect(modernFeatures & f.LEGACY_ONLY_FEATURES).toBe(0n);
    expect(legacyFeatures >> 32n).toBe(0n);
    expect(legacyFeatures & f.LEGACY_ONLY_FEATURES).toBe(f.LEGACY_ONLY_FEATURES);
  });
});
