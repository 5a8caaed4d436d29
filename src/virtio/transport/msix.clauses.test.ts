/** The device-side statements of VIRTIO 1.4 §4.1.5 about MSI-X and notifications, one test each. */
import { describe, expect, it } from 'vitest';
import * as pci from '../../core/pci.ts';
import { EchoDevice } from '../driver/echo.ts';
import { pciCapabilities } from '../driver/pci.ts';
import { Rig, type StartOptions } from '../driver/rig.ts';
import type { VirtioPciOptions } from './pci.ts';
import * as c from './pci-common.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
/** BAR and offsets of the modern regions, as a driver finds them. */
const BAR = 4;

class BlockLikeEcho extends EchoDevice {
  override readonly deviceId: number = 2;
}

function rigOf(options: VirtioPciOptions = {}): Rig<EchoDevice> {
  const rig = new Rig<EchoDevice>(new BlockLikeEcho(), options);
  rig.open();
  return rig;
}

async function started(options: StartOptions = {}, device: VirtioPciOptions = {}): Promise<Rig<EchoDevice>> {
  const rig = new Rig<EchoDevice>(new BlockLikeEcho(), device);
  await rig.start(options);
  return rig;
}

const read = (rig: Rig, register: number, size: 1 | 2 | 4) => rig.bus.readBar(BAR, register, size);
const write = (rig: Rig, register: number, size: 1 | 2 | 4, value: number) =>
  rig.bus.writeBar(BAR, register, size, value);

describe('MSI-X', () => {
  const ID = 'MSI-X Vector Configuration';
  const size = (rig: Rig) =>
    (rig.bus.readConfig(pciCapabilities(rig.bus, pci.PCI_CAP_ID_MSIX)[0]! + 2, 2) & 0x7ff) + 1;

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#1 there are 2 to 0x800 vectors', () => {
    expect(size(rigOf())).toBe(3);
    expect(size(rigOf({ vectors: 2048 }))).toBe(2048);
    expect(() => rigOf({ vectors: 2049 })).toThrow('vectors=2049');
    expect(pciCapabilities(rigOf({ vectors: 0 }).bus, pci.PCI_CAP_ID_MSIX)).toEqual([]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#2 Table Size tells how many', () => {
    for (const vectors of [1, 2, 3, 64, 1000]) expect(size(rigOf({ vectors }))).toBe(vectors);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#3 Table Size is no larger than events need', () => {
    expect(size(rigOf())).toBe(rigOf().device.queues.length + 1);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#4 any event maps to any vector', async () => {
    for (let vector = 0; vector < 3; vector++) {
      const rig = await started();
      write(rig, c.CONFIG_MSIX_VECTOR, 2, vector);
      write(rig, c.QUEUE_SELECT, 2, 1);
      write(rig, c.QUEUE_MSIX_VECTOR, 2, vector);
      rig.device.host.configChanged();
      rig.queues[1]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
      rig.queues[1]!.kick();
      expect(rig.messages.map((message) => message.data)).toEqual([vector, vector]);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#5 any event can be unmapped', async () => {
    const rig = await started();
    write(rig, c.CONFIG_MSIX_VECTOR, 2, 0xffff);
    write(rig, c.QUEUE_SELECT, 2, 0);
    write(rig, c.QUEUE_MSIX_VECTOR, 2, 0xffff);
    expect([read(rig, c.CONFIG_MSIX_VECTOR, 2), read(rig, c.QUEUE_MSIX_VECTOR, 2)]).toEqual([0xffff, 0xffff]);
    rig.device.host.configChanged();
    rig.queues[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    rig.queues[0]!.kick();
    expect([rig.messages.length, rig.queues[0]!.moreUsed]).toEqual([0, true]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#6 the vector that is mapped reads back', () => {
    const rig = rigOf();
    for (const vector of [2, 0, 1, 0xffff]) {
      write(rig, c.CONFIG_MSIX_VECTOR, 2, vector);
      write(rig, c.QUEUE_MSIX_VECTOR, 2, vector);
      expect([read(rig, c.CONFIG_MSIX_VECTOR, 2), read(rig, c.QUEUE_MSIX_VECTOR, 2)]).toEqual([
        vector,
        vector,
      ]);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#7 nothing is mapped after a reset', async () => {
    for (const reset of [
      (rig: Rig) => write(rig, c.DEVICE_STATUS, 1, 0),
      (rig: Rig) => (rig.fn.reset(), rig.bus.assignBars(), rig.open()),
    ]) {
      const rig = await started();
      expect(read(rig, c.CONFIG_MSIX_VECTOR, 2)).toBe(0);
      reset(rig);
      expect(read(rig, c.CONFIG_MSIX_VECTOR, 2)).toBe(0xffff);
      for (const queue of [0, 1]) {
        write(rig, c.QUEUE_SELECT, 2, queue);
        expect(read(rig, c.QUEUE_MSIX_VECTOR, 2)).toBe(0xffff);
      }
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#8 mapping succeeds whenever there is such a vector', () => {
    const rig = rigOf({ vectors: 100 });
    for (let vector = 0; vector < 100; vector++) {
      write(rig, c.QUEUE_MSIX_VECTOR, 2, vector);
      expect(read(rig, c.QUEUE_MSIX_VECTOR, 2)).toBe(vector);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration#9 a mapping that failed reads NO_VECTOR', () => {
    for (const options of [{}, { vectors: 0 }]) {
      const rig = rigOf(options);
      write(rig, c.CONFIG_MSIX_VECTOR, 2, 3);
      write(rig, c.QUEUE_MSIX_VECTOR, 2, 0x7ff);
      expect([read(rig, c.CONFIG_MSIX_VECTOR, 2), read(rig, c.QUEUE_MSIX_VECTOR, 2)]).toEqual([
        0xffff, 0xffff,
      ]);
    }
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Used Buffer Notifications#1 a queue with NO_VECTOR does not interrupt', async () => {
    const rig = await started();
    write(rig, c.QUEUE_SELECT, 2, 0);
    write(rig, c.QUEUE_MSIX_VECTOR, 2, 0xffff);
    rig.queues[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    rig.queues[0]!.kick();
    expect([rig.messages.length, rig.line, rig.bus.lineRaised]).toEqual([0, false, 0]);
  });

  it('dev:Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Notification of Device Configuration Changes#1 configuration changes with NO_VECTOR do not interrupt', async () => {
    const rig = await started();
    write(rig, c.CONFIG_MSIX_VECTOR, 2, 0xffff);
    rig.device.host.configChanged();
    expect([rig.messages.length, rig.line, rig.bus.lineRaised]).toEqual([0, false, 0]);
  });

  it(`${ID}: a masked vector waits, and is sent once when it is unmasked`, async () => {
    const rig = await started();
    const mask = (value: number) => rig.bus.writeBar(1, 12, 4, value);
    mask(1);
    rig.device.host.configChanged();
    rig.device.host.configChanged();
    expect([rig.messages.length, rig.bus.readBar(1, 2048, 4)]).toEqual([0, 1]);
    mask(0);
    expect([rig.messages.map((m) => m.data), rig.bus.readBar(1, 2048, 4)]).toEqual([[0], 0]);
  });

  it(`${ID}: messages are lost, and rings rest, while bus mastering is off`, async () => {
    const rig = await started();
    const command = rig.bus.readConfig(pci.PCI_COMMAND, 2);
    rig.bus.writeConfig(pci.PCI_COMMAND, 2, command & ~pci.PCI_COMMAND_MASTER);
    rig.device.host.configChanged();
    rig.queues[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    rig.queues[0]!.notify();
    expect([rig.messages.length, rig.queues[0]!.moreUsed]).toEqual([0, false]);
    rig.bus.writeConfig(pci.PCI_COMMAND, 2, command);
    expect(rig.queues[0]!.moreUsed).toBe(true);
  });
});
