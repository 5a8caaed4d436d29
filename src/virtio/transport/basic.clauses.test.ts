/** The device-side statements of VIRTIO 1.4 §2 and §6 that every transport shares, one test each. */
import { describe, expect, it } from 'vitest';
import * as f from '../features.ts';
import { EchoDevice } from '../driver/echo.ts';
import { Rig, type StartOptions } from '../driver/rig.ts';
import * as s from './state.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);

async function started(options: StartOptions = {}): Promise<Rig<EchoDevice>> {
  const rig = new Rig(new EchoDevice());
  await rig.start(options);
  return rig;
}

/** A driver up to, and without, DRIVER_OK: features accepted, queues enabled. */
async function almost(): Promise<Rig<EchoDevice>> {
  const rig = new Rig(new EchoDevice());
  const driver = rig.open();
  await driver.negotiate({
    name: 'almost',
    idTable: [],
    featureTable: [0n, 1n, 3n],
    probe: () => {},
    remove: () => {},
  });
  return rig;
}

describe('device status', () => {
  it('dev:Basic Facilities of a Virtio Device / Device Status Field#1 buffers are neither consumed nor used before DRIVER_OK', async () => {
    const rig = await almost();
    let used = 0;
    const ring = rig.driver.findVqs([{ name: 'echoq', callback: () => used++ }])[0]!;
    ring.addBuf([rig.memory.buffer(bytes(1, 2))], [rig.memory.buffer(bytes(0, 0))], 'early');
    ring.notify();
    expect(rig.device.calls).toEqual(['stop']);
    expect([used, ring.moreUsed, rig.messages.length]).toEqual([0, false, 0]);
    expect(rig.errors.join()).toContain('before DRIVER_OK [drv:General Initialization And Device Operation');
    // From DRIVER_OK on they are, with no further notification.
    rig.driver.ready();
    expect([used, ring.getBuf()]).toEqual([1, { token: 'early', length: 2 }]);
  });

  it('dev:Basic Facilities of a Virtio Device / Device Status Field#2 an error that needs a reset sets DEVICE_NEEDS_RESET', async () => {
    const rig = await started();
    rig.device.host.needsReset('the disk caught fire');
    expect(rig.driver.status & s.VIRTIO_CONFIG_S_NEEDS_RESET).toBe(s.VIRTIO_CONFIG_S_NEEDS_RESET);
    expect(rig.errors).toEqual(['virtio-echo: the disk caught fire']);
    // Nothing works until the reset, and everything works after it.
    rig.queues[0]!.addInbuf([rig.memory.buffer(bytes(0))], 1);
    rig.queues[0]!.notify();
    expect(rig.queues[0]!.moreUsed).toBe(false);
    await rig.start();
    expect((await rig.request(0, [bytes(1)], [1])).length).toBe(1);
  });

  it('dev:Basic Facilities of a Virtio Device / Device Status Field#3 after DRIVER_OK the driver is notified of DEVICE_NEEDS_RESET', async () => {
    const rig = await started();
    rig.device.host.needsReset('broken');
    expect([rig.configChanges, rig.messages.map((m) => m.data)]).toEqual([1, [0]]);
    rig.device.host.needsReset('still broken');
    expect(rig.configChanges).toBe(1);
    const early = await almost();
    early.device.host.needsReset('broken before it began');
    expect([early.driver.status & s.VIRTIO_CONFIG_S_NEEDS_RESET, early.messages.length]).toEqual([0x40, 0]);
  });

  it('bits that the driver clears stay set, and are told once with the clause', async () => {
    const rig = await started();
    rig.driver.ops.setStatus(s.VIRTIO_CONFIG_S_ACKNOWLEDGE);
    expect(rig.driver.status).toBe(15);
    expect(rig.errors).toEqual([
      'virtio-echo: the driver cleared a status bit [drv:Basic Facilities of a Virtio Device / Device Status Field#2]',
    ]);
  });

  it('DRIVER_OK needs FEATURES_OK when VIRTIO_F_VERSION_1 was accepted', async () => {
    const rig = new Rig(new EchoDevice());
    const driver = rig.open();
    await driver.reset();
    driver.addStatus(3);
    driver.ops.setFeatures(1n << f.VIRTIO_F_VERSION_1);
    driver.addStatus(s.VIRTIO_CONFIG_S_DRIVER_OK);
    expect([driver.status, rig.device.calls]).toEqual([3, ['stop']]);
  });
});

describe('feature bits', () => {
  it('dev:Basic Facilities of a Virtio Device / Feature Bits#1 no ring or transport feature is offered that requires one that is not', () => {
    // Of the reserved bits only these build on another (§6, §4.1.5.2): what they need is here or they are not.
    const requires: [bigint, bigint][] = [
      [f.VIRTIO_F_NOTIF_CONFIG_DATA, f.VIRTIO_F_VERSION_1],
      [f.VIRTIO_F_RING_PACKED, f.VIRTIO_F_VERSION_1],
      [f.VIRTIO_F_RING_RESET, f.VIRTIO_F_VERSION_1],
      [f.VIRTIO_F_ADMIN_VQ, f.VIRTIO_F_VERSION_1],
    ];
    for (const options of [{}, { eventIdx: false }, { indirectDesc: false }, { queueReset: false }]) {
      const offered = new Rig(new EchoDevice(), options).fn.state.modernFeatures;
      for (const [bit, needed] of requires) {
        expect(f.hasFeature(offered, bit) && !f.hasFeature(offered, needed)).toBe(false);
      }
    }
  });

  it('dev:Basic Facilities of a Virtio Device / Feature Bits#2 any subset is accepted; what is not a valid one does not get FEATURES_OK', async () => {
    for (let subset = 0n; subset < 8n; subset++) {
      const wanted = [0n, 1n, 3n].filter((_, i) => (subset >> BigInt(i)) & 1n);
      const rig = await started({ features: wanted });
      expect(rig.driver.status & s.VIRTIO_CONFIG_S_FEATURES_OK).toBe(s.VIRTIO_CONFIG_S_FEATURES_OK);
    }
    for (const bad of [1n << 2n, 1n << f.VIRTIO_F_RING_PACKED, 1n << 63n, 1n << 64n, 1n << 127n]) {
      const rig = new Rig(new EchoDevice());
      const driver = rig.open();
      await driver.reset();
      driver.addStatus(3);
      driver.ops.setFeatures((1n << f.VIRTIO_F_VERSION_1) | bad);
      driver.addStatus(s.VIRTIO_CONFIG_S_FEATURES_OK);
      expect(driver.status).toBe(3);
      expect(rig.errors.join()).toContain(
        'accepted but not offered [drv:Basic Facilities of a Virtio Device',
      );
    }
    const rig = new Rig(new EchoDevice());
    rig.device.refuse = true;
    await expect(rig.start()).rejects.toThrow('refuses features');
    expect(rig.fn.state.status).toBe(3 | s.VIRTIO_CONFIG_S_FAILED);
  });

  it('dev:Basic Facilities of a Virtio Device / Feature Bits#3 only features that work are offered', () => {
    const state = new Rig(new EchoDevice()).fn.state;
    const ring = [
      f.VIRTIO_F_INDIRECT_DESC,
      f.VIRTIO_F_EVENT_IDX,
      f.VIRTIO_F_VERSION_1,
      f.VIRTIO_F_RING_RESET,
    ];
    expect(state.modernFeatures).toBe(ring.reduce((bits, bit) => bits | (1n << bit), 0b1011n));
    const less = new Rig(new EchoDevice(), { eventIdx: false, indirectDesc: false, queueReset: false }).fn
      .state;
    expect(less.modernFeatures).toBe(0b1011n | (1n << f.VIRTIO_F_VERSION_1));
    // Words that do not exist read 0: nothing is offered there.
    expect([4, 5, 100, 0xffffffff].map((word) => state.deviceFeatureWord(word))).toEqual([0, 0, 0, 0]);
  });

  it('dev:Basic Facilities of a Virtio Device / Feature Bits#4 what was negotiated once is accepted again after a reset', async () => {
    const rig = await started({ features: [0n, 3n] });
    const before = rig.driver.features;
    for (let i = 0; i < 3; i++) {
      if (i === 1) await rig.driver.reset();
      else {
        // A system reset clears the BARs: whoever is the firmware sets them again.
        rig.fn.reset();
        rig.bus.assignBars();
      }
      await rig.start({ features: [0n, 3n] });
      expect(rig.driver.features).toBe(before);
      expect(rig.driver.status).toBe(15);
    }
  });

  it('are frozen from FEATURES_OK on', async () => {
    const rig = await started({ features: [0n] });
    const before = rig.fn.state.negotiated;
    rig.driver.ops.setFeatures(0n);
    expect(rig.fn.state.negotiated).toBe(before);
    expect(rig.errors.join()).toContain('features were written after FEATURES_OK');
  });

  it('beyond bit 63 are negotiated', async () => {
    const device = new EchoDevice();
    device.features |= (1n << 64n) | (1n << 127n);
    const rig = new Rig(device);
    await rig.start();
    expect(rig.driver.hasFeature(64n) && rig.driver.hasFeature(127n)).toBe(true);
    expect(f.hasFeature(rig.fn.state.negotiated, 127n)).toBe(true);
  });
});

describe('device reset', () => {
  it('dev:Basic Facilities of a Virtio Device / Device Reset#1 status is 0 after a reset', async () => {
    const rig = await started();
    rig.driver.ops.setStatus(0);
    expect(rig.driver.status).toBe(0);
    // A device whose back end still works says so, and gets there when it has ended.
    await rig.start();
    let end = () => {};
    rig.device.pending = new Promise((resolve) => (end = resolve));
    rig.driver.ops.setStatus(0);
    expect(rig.driver.status).not.toBe(0);
    rig.driver.ops.setStatus(1);
    expect(rig.driver.status & s.VIRTIO_CONFIG_S_DRIVER_OK).toBe(0);
    end();
    await rig.device.pending;
    await rig.bus.pause();
    expect(rig.driver.status).toBe(0);
    rig.device.pending = undefined;
    await rig.start();
    expect((await rig.request(0, [bytes(1)], [1])).length).toBe(1);
  });

  it('that ends late changes nothing in the life after the next one', async () => {
    const rig = await started();
    let end = () => {};
    rig.device.pending = new Promise((resolve) => (end = resolve));
    rig.driver.ops.setStatus(0);
    const first = rig.device.pending;
    rig.device.pending = undefined;
    // The machine is reset meanwhile, and the driver starts anew.
    rig.fn.reset();
    rig.bus.assignBars();
    await rig.start();
    end();
    await first;
    await rig.bus.pause();
    expect(rig.driver.status).toBe(15);
  });

  it('dev:Basic Facilities of a Virtio Device / Device Reset#2 a device that was reset neither notifies nor touches its queues', async () => {
    const rig = await started();
    rig.device.hold = true;
    const buffer = rig.memory.buffer(bytes(0, 0));
    rig.queues[0]!.addBuf([rig.memory.buffer(bytes(1, 2))], [buffer], 1);
    rig.queues[0]!.kick();
    const [chain] = rig.device.held.splice(0);
    await rig.driver.reset();
    const messages = rig.messages.length;
    rig.device.answer(0, chain!);
    rig.device.host.queues[0]!.flush();
    rig.device.host.configChanged();
    rig.fn.state.notify(0);
    expect([rig.messages.length, rig.queues[0]!.moreUsed]).toEqual([messages, false]);
    expect(rig.device.calls.at(-1)).toBe('stop');
  });
});

describe('configuration space', () => {
  it('dev:Basic Facilities of a Virtio Device / Device Configuration Space#1 fields can be read before FEATURES_OK', async () => {
    const rig = new Rig(new EchoDevice());
    rig.device.config.set([1, 2, 3, 4, 5, 6, 7, 8]);
    const driver = rig.open();
    await driver.reset();
    for (const status of [0, 1, 3]) {
      if (status > 0) driver.ops.setStatus(status);
      expect([...driver.readConfig(0, 8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    }
  });

  it('past its end reads ones and ignores writes', async () => {
    const rig = await started();
    expect([...rig.driver.ops.get(6, 4)]).toEqual([0, 0, 255, 255]);
    rig.driver.ops.set(6, bytes(1, 2, 3, 4));
    expect([...rig.driver.ops.get(6, 4)]).toEqual([1, 2, 255, 255]);
  });
});

describe('queue reset', () => {
  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset#1 nothing of a queue that was reset is executed or notified', async () => {
    const rig = await started();
    rig.device.hold = true;
    const old = rig.queues[0]!;
    old.addBuf([rig.memory.buffer(bytes(1))], [rig.memory.buffer(bytes(0))], 1);
    old.kick();
    const [chain] = rig.device.held.splice(0);
    const memory = rig.memory.ram.slice(old.addresses.used, 64)!;
    await rig.driver.ops.resetVq!(0);
    expect(rig.device.calls.at(-1)).toBe('reset 0');
    const before = memory.slice();
    const messages = rig.messages.length;
    rig.device.answer(0, chain!);
    rig.device.host.queues[0]!.flush();
    rig.fn.state.notify(0);
    expect(rig.device.calls.at(-1)).toBe('reset 0');
    expect(rig.messages.length).toBe(messages);
    expect(memory).toEqual(before);
    // The other queue lives on.
    rig.device.hold = false;
    expect((await rig.request(1, [bytes(1)], [1])).length).toBe(1);
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset#2 available and used state are as at first', async () => {
    const rig = await started();
    for (let i = 0; i < 5; i++) await rig.request(0, [bytes(1)], [1]);
    await rig.driver.ops.resetVq!(0);
    const queue = rig.fn.state.queues[0]!;
    expect(queue.save()).toEqual({
      setup: undefined,
      lastAvail: 0,
      usedIdx: 0,
      notification: true,
      inFlight: [],
    });
    expect(rig.fn.state.queueConfig(0)).toEqual({
      size: 256,
      desc: 0,
      avail: 0,
      used: 0,
      enabled: false,
      resetting: false,
    });
  });

  it('dev:Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable#1 a queue comes back as the driver configures it then', async () => {
    const rig = await started();
    await rig.request(0, [bytes(1)], [1]);
    for (const size of [16, 256, 4]) {
      await rig.driver.ops.resetVq!(0);
      const got: unknown[] = [];
      const ring = rig.driver.ops.enableVqAfterReset!(0, {
        name: 'again',
        size,
        callback: (queue) => got.push(queue.getBuf()),
      });
      expect(rig.fn.state.queues[0]!.size).toBe(size);
      for (let i = 0; i < 2 * size + 1; i++) {
        ring.addBuf([rig.memory.buffer(bytes(1, 2, 3))], [rig.memory.buffer(bytes(0, 0, 0))], i);
        ring.kick();
      }
      expect(got).toEqual(Array.from({ length: 2 * size + 1 }, (_, token) => ({ token, length: 3 })));
    }
    expect(rig.errors).toEqual([]);
  });

  it('reads 1 in queue_reset while the device still has buffers', async () => {
    const rig = await started();
    let end = () => {};
    rig.device.pending = new Promise((resolve) => (end = resolve));
    let done = false;
    const reset = rig.driver.ops.resetVq!(0).then(() => (done = true));
    await rig.bus.pause();
    expect([done, rig.fn.state.queueConfig(0)!.resetting]).toEqual([false, true]);
    rig.fn.state.enableQueue(0);
    expect(rig.fn.state.queueConfig(0)!.enabled).toBe(false);
    end();
    await reset;
    expect(rig.fn.state.queueConfig(0)!.resetting).toBe(false);
  });
});

describe('reserved feature bits', () => {
  it('dev:Reserved Feature Bits#1 VIRTIO_F_VERSION_1 is offered', () => {
    expect(f.hasFeature(new Rig(new EchoDevice()).fn.state.modernFeatures, f.VIRTIO_F_VERSION_1)).toBe(true);
  });

  it('dev:Reserved Feature Bits#2 a driver that does not accept VIRTIO_F_VERSION_1 is told, and goes on', async () => {
    const rig = await started({ without: [f.VIRTIO_F_VERSION_1] });
    expect(rig.errors).toEqual([
      'virtio-echo: VIRTIO_F_VERSION_1 was not accepted [drv:Reserved Feature Bits#1]',
    ]);
    expect((await rig.request(0, [bytes(1)], [1])).length).toBe(1);
  });

  it('dev:Reserved Feature Bits#9 VIRTIO_F_SR_IOV is not offered, for there is no such capability', () => {
    const rig = new Rig(new EchoDevice());
    expect(rig.fn.config.length).toBe(256);
    expect(f.hasFeature(rig.fn.state.modernFeatures, f.VIRTIO_F_SR_IOV)).toBe(false);
  });
});

describe('suspend', () => {
  it('dev:General Initialization And Device Operation / Device Suspend#1 the SUSPEND bit does nothing', async () => {
    const rig = new Rig(new EchoDevice());
    const driver = rig.open();
    await driver.reset();
    driver.ops.setStatus(1 | 16);
    expect(driver.status).toBe(1);
    await rig.start();
    driver.ops.setStatus(15 | 16);
    expect(driver.status).toBe(15);
    expect((await rig.request(0, [bytes(1)], [1])).length).toBe(1);
  });
});
