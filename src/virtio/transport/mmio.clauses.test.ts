/** The device-side statements of VIRTIO 1.4 §4.2 (virtio over MMIO), one test each. */
import { describe, expect, it } from 'vitest';
import type { AccessSize } from '../../core/bus.ts';
import { GuestMemory } from '../../core/memory.ts';
import { Tracer } from '../../core/trace.ts';
import { EchoDevice } from '../driver/echo.ts';
import { DriverMemory } from '../driver/memory.ts';
import { type MmioAccess, openVirtioMmio } from '../driver/mmio.ts';
import { DriverDevice } from '../driver/model.ts';
import type { Vring } from '../driver/vring.ts';
import * as m from './mmio.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);

class Bench implements MmioAccess {
  readonly memory: DriverMemory;
  readonly device = new EchoDevice();
  readonly mmio: m.VirtioMmio;
  readonly errors: string[] = [];
  line = false;
  #handler: () => void = () => {};

  constructor(options: m.VirtioMmioOptions = {}) {
    const ram = GuestMemory.create(0x400000);
    const tracer = new Tracer();
    tracer.onGuestError = (_, message) => this.errors.push(message);
    this.memory = new DriverMemory(ram, 4096, ram.size);
    const line = {
      set: (level: boolean) => {
        const rose = level && !this.line;
        this.line = level;
        if (rose) this.#handler();
      },
    };
    this.mmio = new m.VirtioMmio(this.device, { memory: ram, tracer }, line, options);
  }

  read(offset: number, size: AccessSize = 4): number {
    return this.mmio.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.mmio.write(offset, size, value);
  }

  onLine(handler: () => void): void {
    this.#handler = handler;
  }

  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  async start(onUsed: (queue: Vring) => void = () => {}): Promise<{ driver: DriverDevice; queues: Vring[] }> {
    const driver = new DriverDevice(openVirtioMmio(this)!);
    const nothing = () => {};
    await driver.negotiate({
      name: 'bench',
      idTable: [],
      featureTable: [0n],
      probe: nothing,
      remove: nothing,
    });
    const requests = this.device.queues.map(({ name }) => ({ name, callback: onUsed }));
    const queues = driver.findVqs(requests) as Vring[];
    driver.ready();
    return { driver, queues };
  }

  send(queue: Vring, token: unknown): void {
    queue.addBuf([this.memory.buffer(bytes(1, 2))], [this.memory.buffer(bytes(0, 0))], token);
    queue.kick();
  }
}

describe('virtio over MMIO', () => {
  for (const legacy of [false, true]) {
    it(`carries requests, version ${legacy ? 1 : 2}`, async () => {
      const bench = new Bench({ legacy });
      const got: unknown[] = [];
      const { driver, queues } = await bench.start((queue) => {
        for (let used = queue.getBuf(); used !== undefined; used = queue.getBuf()) got.push(used);
      });
      for (let i = 0; i < 600; i++) bench.send(queues[0]!, i);
      expect(got).toEqual(Array.from({ length: 600 }, (_, token) => ({ token, length: 2 })));
      driver.writeConfig(0, bytes(7, 8));
      expect([...driver.readConfig(0, 3)]).toEqual([7, 8, 0]);
      expect(bench.errors).toEqual([]);
      await driver.reset();
      expect(driver.status).toBe(0);
    });
  }

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#1 MagicValue is "virt"', () => {
    expect(new Bench().read(m.MMIO_MAGIC_VALUE)).toBe(0x74726976);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#2 Version is 2', () => {
    expect(new Bench().read(m.MMIO_VERSION)).toBe(2);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#3 events stay in InterruptStatus until they are acknowledged', async () => {
    const bench = new Bench();
    const { queues } = await bench.start();
    bench.onLine(() => {});
    bench.send(queues[0]!, 1);
    bench.device.host.configChanged();
    expect([bench.read(m.MMIO_INTERRUPT_STATUS), bench.line]).toEqual([3, true]);
    expect(bench.read(m.MMIO_INTERRUPT_STATUS)).toBe(3);
    bench.write(m.MMIO_INTERRUPT_ACK, 4, 1);
    expect([bench.read(m.MMIO_INTERRUPT_STATUS), bench.line]).toEqual([2, true]);
    bench.write(m.MMIO_INTERRUPT_ACK, 4, 2);
    expect([bench.read(m.MMIO_INTERRUPT_STATUS), bench.line]).toEqual([0, false]);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#4 bits of what did not happen are 0', async () => {
    const bench = new Bench();
    const { queues } = await bench.start();
    bench.onLine(() => {});
    bench.send(queues[0]!, 1);
    expect(bench.read(m.MMIO_INTERRUPT_STATUS)).toBe(m.MMIO_INT_VRING);
    bench.write(m.MMIO_INTERRUPT_ACK, 4, 0xffffffff);
    bench.device.host.configChanged();
    expect(bench.read(m.MMIO_INTERRUPT_STATUS)).toBe(m.MMIO_INT_CONFIG);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#5 a reset clears InterruptStatus and QueueReady', async () => {
    const bench = new Bench();
    const { queues } = await bench.start();
    bench.onLine(() => {});
    bench.send(queues[0]!, 1);
    const ready = () =>
      [0, 1].map((queue) => {
        bench.write(m.MMIO_QUEUE_SEL, 4, queue);
        return bench.read(m.MMIO_QUEUE_READY);
      });
    expect([bench.read(m.MMIO_INTERRUPT_STATUS), ready()]).toEqual([1, [1, 1]]);
    bench.write(m.MMIO_STATUS, 4, 0);
    expect([bench.read(m.MMIO_INTERRUPT_STATUS), ready(), bench.line]).toEqual([0, [0, 0], false]);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#6 ConfigGeneration changes with the configuration', async () => {
    const bench = new Bench();
    await bench.start();
    const before = bench.read(m.MMIO_CONFIG_GENERATION);
    bench.device.host.configChanged();
    bench.read(m.MMIO_CONFIG, 1);
    const after = bench.read(m.MMIO_CONFIG_GENERATION);
    expect(after).not.toBe(before);
    bench.read(m.MMIO_CONFIG, 1);
    expect(bench.read(m.MMIO_CONFIG_GENERATION)).toBe(after);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#7 a queue is not touched while QueueReady is 0', async () => {
    const bench = new Bench();
    const { queues } = await bench.start();
    bench.write(m.MMIO_QUEUE_SEL, 4, 0);
    bench.write(m.MMIO_QUEUE_READY, 4, 0);
    expect(bench.read(m.MMIO_QUEUE_READY)).toBe(0);
    bench.send(queues[0]!, 1);
    queues[0]!.notify();
    expect([queues[0]!.moreUsed, bench.device.calls.at(-1)]).toEqual([false, 'start']);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#8 QueueReset is 0 after a reset', async () => {
    const bench = new Bench();
    await bench.start();
    bench.device.pending = new Promise(() => {});
    bench.write(m.MMIO_QUEUE_SEL, 4, 0);
    bench.write(m.MMIO_QUEUE_RESET, 4, 1);
    expect(bench.read(m.MMIO_QUEUE_RESET)).toBe(1);
    bench.device.pending = undefined;
    bench.write(m.MMIO_STATUS, 4, 0);
    expect(bench.read(m.MMIO_QUEUE_RESET)).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#9 QueueReset is 0 after the queue is enabled', async () => {
    const bench = new Bench();
    const { driver } = await bench.start();
    await driver.ops.resetVq!(0);
    driver.ops.enableVqAfterReset!(0, { name: 'again' });
    expect([bench.read(m.MMIO_QUEUE_READY), bench.read(m.MMIO_QUEUE_RESET)]).toEqual([1, 0]);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#10 writing 1 to QueueReset resets the queue', async () => {
    const bench = new Bench();
    await bench.start();
    bench.write(m.MMIO_QUEUE_SEL, 4, 1);
    bench.write(m.MMIO_QUEUE_RESET, 4, 1);
    expect(bench.device.calls.at(-1)).toBe('reset 1');
    expect(bench.mmio.state.queueConfig(1)).toMatchObject({ desc: 0, avail: 0, used: 0, enabled: false });
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#11 QueueReset stays 1 while the reset is under way', async () => {
    const bench = new Bench();
    await bench.start();
    let end = () => {};
    bench.device.pending = new Promise((resolve) => (end = resolve));
    bench.write(m.MMIO_QUEUE_SEL, 4, 0);
    bench.write(m.MMIO_QUEUE_RESET, 4, 1);
    await bench.pause();
    expect(bench.read(m.MMIO_QUEUE_RESET)).toBe(1);
    end();
    await bench.pause();
    expect(bench.read(m.MMIO_QUEUE_RESET)).toBe(0);
  });

  it('dev:Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout#12 after a queue reset QueueReset and QueueReady are 0', async () => {
    const bench = new Bench();
    const { driver } = await bench.start();
    await driver.ops.resetVq!(0);
    expect([bench.read(m.MMIO_QUEUE_RESET), bench.read(m.MMIO_QUEUE_READY)]).toEqual([0, 0]);
  });

  it('tells a driver of narrow accesses and of read-only registers', () => {
    const bench = new Bench();
    expect(bench.read(m.MMIO_MAGIC_VALUE, 1)).toBe(0);
    bench.write(m.MMIO_STATUS, 1, 1);
    bench.write(m.MMIO_VERSION, 4, 1);
    expect(bench.read(m.MMIO_STATUS)).toBe(0);
    expect(bench.errors.map((error) => error.slice(error.indexOf('#')))).toEqual(['#2]', '#2]', '#1]']);
  });

  it('has no shared memory region', () => {
    const bench = new Bench();
    expect([0xb0, 0xb4, 0xb8, 0xbc].map((at) => bench.read(at))).toEqual(Array(4).fill(0xffffffff));
  });

  it('survives a snapshot with requests under way', async () => {
    const bench = new Bench();
    const { queues } = await bench.start();
    bench.device.hold = true;
    bench.send(queues[0]!, 'first');
    bench.send(queues[0]!, 'second');
    const twin = new m.VirtioMmio(
      new EchoDevice(),
      { memory: bench.memory.ram, tracer: new Tracer() },
      { set: () => {} },
    );
    twin.restore(bench.mmio.save());
    expect([queues[0]!.getBuf()!.token, queues[0]!.getBuf()!.token]).toEqual(['first', 'second']);
    expect(twin.state.status).toBe(15);
  });
});
