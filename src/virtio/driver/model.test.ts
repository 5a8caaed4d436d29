import { describe, expect, it } from 'vitest';
import * as f from '../features.ts';
import { EchoDevice } from './echo.ts';
import { DriverDevice, VIRTIO_DEV_ANY_ID, VirtioBus, type VirtioDriver } from './model.ts';
import { openVirtioPci } from './pci.ts';
import { Rig } from './rig.ts';
import type { Vring } from './vring.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);

class BlockLike extends EchoDevice {
  override readonly deviceId: number = 2;
}

/** A driver that writes down what is called. */
class Recorder implements VirtioDriver {
  readonly name = 'recorder';
  idTable = [{ device: 2, vendor: VIRTIO_DEV_ANY_ID }];
  featureTable: readonly bigint[] = [0n, 3n];
  featureTableLegacy: readonly bigint[] = [0n];
  readonly calls: string[] = [];
  vqs: Vring[] = [];
  fail = false;

  validate(device: DriverDevice): void {
    this.calls.push('validate');
    if (this.fail) throw new Error('not this one');
    device.clearFeature(3n);
  }
  probe(device: DriverDevice): void {
    this.calls.push('probe');
    this.vqs = device.findVqs([{ name: 'a', callback: () => this.calls.push('used') }]) as Vring[];
  }
  scan(): void {
    this.calls.push('scan');
  }
  remove(): void {
    this.calls.push('remove');
  }
  configChanged(): void {
    this.calls.push('configChanged');
  }
  freeze(): void {
    this.calls.push('freeze');
  }
  restore(device: DriverDevice): void {
    this.calls.push('restore');
    this.vqs = device.findVqs([{ name: 'a', callback: () => this.calls.push('used') }]) as Vring[];
  }
}

function deviceOf(rig: Rig, options = {}): DriverDevice {
  return new DriverDevice(openVirtioPci(rig.bus, options));
}

describe('the driver model', () => {
  it('DRV: probes, scans, hears of changes, removes', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    const bus = new VirtioBus();
    const driver = new Recorder();
    const device = deviceOf(rig);
    await bus.registerDevice(device);
    expect([device.status, device.driver]).toEqual([1, undefined]);
    await bus.registerDriver(driver);
    expect(driver.calls).toEqual(['validate', 'probe', 'scan']);
    expect(device.status).toBe(15);
    expect([device.hasFeature(0n), device.hasFeature(3n), device.hasFeature(f.VIRTIO_F_VERSION_1)]).toEqual([
      true,
      false,
      true,
    ]);
    driver.vqs[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    driver.vqs[0]!.kick();
    rig.device.host.configChanged();
    await bus.unregisterDriver(driver);
    expect(driver.calls.slice(3)).toEqual(['used', 'configChanged', 'remove']);
    expect([device.status, device.driver]).toEqual([1, undefined]);
  });

  it('DRV: a driver comes first, a device later; only what its table names is probed', async () => {
    const bus = new VirtioBus();
    const other = new Recorder();
    other.idTable = [{ device: 1, vendor: VIRTIO_DEV_ANY_ID }];
    const driver = new Recorder();
    await bus.registerDriver(other);
    await bus.registerDriver(driver);
    await bus.registerDevice(deviceOf(new Rig<EchoDevice>(new BlockLike())));
    expect([other.calls, driver.calls]).toEqual([[], ['validate', 'probe', 'scan']]);
    await bus.unregisterDevice(bus.devices[0]!);
    expect([driver.calls.at(-1), bus.devices]).toEqual(['remove', []]);
  });

  it('DRV: a device that validate refuses gets FAILED', async () => {
    const bus = new VirtioBus();
    const driver = new Recorder();
    driver.fail = true;
    const device = deviceOf(new Rig<EchoDevice>(new BlockLike()));
    await bus.registerDevice(device);
    await expect(bus.registerDriver(driver)).rejects.toThrow('not this one');
    expect([device.status & 0x80, device.driver]).toEqual([0x80, undefined]);
  });

  it('DRV: the legacy feature table serves devices without VIRTIO_F_VERSION_1', async () => {
    const bus = new VirtioBus();
    const driver = new Recorder();
    const device = deviceOf(new Rig<EchoDevice>(new BlockLike()), { interface: 'legacy' });
    await bus.registerDevice(device);
    await bus.registerDriver(driver);
    expect([device.ops.busName, device.features & 0xffn, device.status]).toEqual(['pci-legacy', 1n, 7]);
  });

  it('DRV: freeze gives the queues up, restore negotiates the same again', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    const bus = new VirtioBus();
    const driver = new Recorder();
    const device = deviceOf(rig);
    await bus.registerDevice(device);
    await bus.registerDriver(driver);
    const { features } = device;
    await bus.freeze(device);
    expect(device.status).toBe(0);
    await bus.restore(device);
    expect([device.status, device.features]).toEqual([15, features]);
    driver.vqs[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    driver.vqs[0]!.kick();
    expect(driver.calls.slice(3)).toEqual(['freeze', 'validate', 'restore', 'used']);
  });

  it('DRV: changes before the driver is ready are told when it is', async () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    const bus = new VirtioBus();
    const driver = new Recorder();
    const device = deviceOf(rig);
    driver.probe = () => device.ops.onConfigChanged();
    await bus.registerDevice(device);
    await bus.registerDriver(driver);
    expect(driver.calls).toEqual(['validate', 'configChanged', 'scan']);
  });

  it('finds no virtio device in other functions', () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    rig.fn.setWord(0, 0x8086);
    expect(() => openVirtioPci(rig.bus)).toThrow('not a virtio PCI function');
  });

  it('stops at a capability list that loops', () => {
    const rig = new Rig<EchoDevice>(new BlockLike());
    for (const at of [0x40, 0x50, 0x60, 0x70, 0x84, 0x98]) rig.fn.config[at + 1] = 0x98;
    expect(() => openVirtioPci(rig.bus, { interface: 'modern' })).toThrow('is missing');
  });
});
