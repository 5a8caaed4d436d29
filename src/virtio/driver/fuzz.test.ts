/**
 * A driver that does anything: random accesses to configuration space and all BARs of each device, with rings and
 * descriptors that are partly right and partly noise. Whatever it does, no exception reaches the processor, no byte
 * outside RAM changes, and after a reset the device works.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../core/clock.ts';
import { GuestMemory } from '../../core/memory.ts';
import { Tracer } from '../../core/trace.ts';
import type { VirtioDevice } from '../device.ts';
import { VirtioBlk } from '../device/blk/device.ts';
import { MemoryDisk } from '../device/blk/memory-disk.ts';
import { blkSettings } from '../device/blk/properties.ts';
import { VirtioSerial } from '../device/console/device.ts';
import { FakeChardev } from '../device/console/fake-chardev.ts';
import { SerialPort } from '../device/console/port.ts';
import { serialSettings } from '../device/console/properties.ts';
import { VirtioNet } from '../device/net/device.ts';
import { netSettings } from '../device/net/properties.ts';
import { VirtioRng } from '../device/rng/device.ts';
import * as l from '../queue/layout.ts';
import * as c from '../transport/pci-common.ts';
import { VirtioPci } from '../transport/pci.ts';
import { EchoDevice } from './echo.ts';
import { DriverMemory } from './memory.ts';
import { TinyPciBus } from './rig.ts';

const RAM = 0x40000;
/** More with `FUZZ_RUNS=5000`. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 150);
const tracer = () => new Tracer();

const DEVICES: Record<string, () => VirtioDevice> = {
  echo: () => new EchoDevice(),
  block: () => new VirtioBlk({ backend: new MemoryDisk(64), tracer: tracer(), settings: blkSettings({}) }),
  entropy: () =>
    new VirtioRng({
      backend: { fill: (buffer) => void buffer.fill(7) },
      clock: new ManualClock(),
      tracer: tracer(),
    }),
  console: () => {
    const device = new VirtioSerial({ tracer: tracer(), settings: serialSettings({ max_ports: 4 }) });
    device.addPort(new SerialPort({ console: true, chardev: new FakeChardev() }));
    device.addPort(new SerialPort({ console: false, name: 'port', chardev: new FakeChardev({ id: 'f1' }) }));
    return device;
  },
  network: () => new VirtioNet({ tracer: tracer(), settings: netSettings({}) }),
};

/** RAM that does not fill its buffer: what lies behind it is none of the guest's. */
function machine(name: string) {
  const buffer = new ArrayBuffer(RAM + 0x10000);
  const bytes = new Uint8Array(buffer);
  bytes.fill(0xa5, RAM);
  const ram = new GuestMemory(buffer, [{ gpa: 0, size: RAM, offset: 0 }]);
  const fn = new VirtioPci(DEVICES[name]!(), { memory: ram, tracer: tracer() });
  const bus = new TinyPciBus(fn, new DriverMemory(ram, 4096, RAM));
  bus.writeConfig(4, 2, 7);
  return { ram, fn, bus, intact: () => bytes.subarray(RAM).every((byte) => byte === 0xa5) };
}

const size = fc.constantFrom(1 as const, 2 as const, 4 as const);
const value = fc.oneof(
  fc.nat(16),
  fc.constantFrom(0x1000, 0x2000, 0x3000, 0xffff, 0xffffffff),
  fc.nat(0xffffffff),
);
/** Registers that matter, more often than the rest. */
const register = fc.oneof(
  { weight: 4, arbitrary: fc.nat(0x40) },
  { weight: 1, arbitrary: fc.nat(0x3fff) },
  { weight: 3, arbitrary: fc.constantFrom(0x3000, 0x3004, 0x3008, 0x1000, 0x2000) },
);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('bar' as const),
      bar: fc.constantFrom(0, 1, 4, 4, 4),
      register,
      size,
      value,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('config' as const), register: fc.nat(255), size, value }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('noise' as const),
      at: fc.nat(RAM - 64),
      data: fc.uint8Array({ maxLength: 64 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('start' as const), features: fc.bigInt(0n, 2n ** 42n) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('chain' as const),
      queue: fc.nat(5),
      parts: fc.array(
        fc.record({
          address: fc.oneof(fc.nat(RAM), fc.constantFrom(RAM - 8, 0x10000, 2 ** 40)),
          length: fc.oneof(fc.nat(600), fc.constantFrom(1, 16, 512, 1526, 0x10000)),
          flags: fc.constantFrom(0, 2, 2, 0, 4, 6),
        }),
        { minLength: 1, maxLength: 6 },
      ),
      advance: fc.oneof({ weight: 8, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
    }),
  },
);

/** Where queue `index` has its parts when the fuzzer sets it up properly. */
const place = (index: number) => ({
  desc: 0x1000 + index * 0x3000,
  avail: 0x2000 + index * 0x3000,
  used: 0x3000 + index * 0x3000,
});

type Machine = ReturnType<typeof machine>;

/** What a driver that knows the rules does, with features as given. */
function start({ bus, fn, ram }: Machine, features: bigint): void {
  const write = (register: number, bytes: 1 | 2 | 4, v: number) => bus.writeBar(4, register, bytes, v);
  bus.assignBars();
  bus.writeConfig(4, 2, 7);
  write(c.DEVICE_STATUS, 1, 0);
  write(c.DEVICE_STATUS, 1, 3);
  const accepted = (fn.state.modernFeatures & features) | (1n << 32n);
  for (const word of [0, 1]) {
    write(c.DRIVER_FEATURE_SELECT, 4, word);
    write(c.DRIVER_FEATURE, 4, Number((accepted >> BigInt(word * 32)) & 0xffffffffn));
  }
  write(c.DEVICE_STATUS, 1, 11);
  for (let queue = 0; queue < Math.min(6, fn.state.queues.length); queue++) {
    const at = place(queue);
    ram.bytes.fill(0, at.desc, at.desc + 0x3000);
    write(c.QUEUE_SELECT, 2, queue);
    write(c.QUEUE_SIZE, 2, 8);
    write(c.QUEUE_DESC_LO, 4, at.desc);
    write(c.QUEUE_DRIVER_LO, 4, at.avail);
    write(c.QUEUE_DEVICE_LO, 4, at.used);
    write(c.QUEUE_ENABLE, 2, 1);
  }
  write(c.DEVICE_STATUS, 1, 15);
}

function chain(
  { bus, ram }: Machine,
  step: { queue: number; parts: { address: number; length: number; flags: number }[]; advance: number },
): void {
  const { desc, avail } = place(step.queue);
  step.parts.forEach((part, i) => {
    const at = desc + i * l.DESC_SIZE;
    ram.view.setBigUint64(at, BigInt(part.address), true);
    ram.view.setUint32(at + l.DESC_LEN, part.length, true);
    ram.view.setUint16(at + l.DESC_FLAGS, part.flags | (i + 1 < step.parts.length ? 1 : 0), true);
    ram.view.setUint16(at + l.DESC_NEXT, i + 1, true);
  });
  const idx = ram.view.getUint16(avail + l.AVAIL_IDX, true);
  ram.view.setUint16(avail + l.AVAIL_RING + (idx % 8) * 2, 0, true);
  ram.view.setUint16(avail + l.AVAIL_IDX, (idx + step.advance) & 0xffff, true);
  bus.writeBar(4, 0x3000 + step.queue * 4, 2, step.queue);
}

describe('a driver that does anything', () => {
  for (const name of Object.keys(DEVICES)) {
    it(`does no harm to ${name}`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
          const m = machine(name);
          start(m, (1n << 42n) - 1n);
          for (const s of steps) {
            if (s.kind === 'bar') {
              const limit = m.fn.bars[s.bar]?.size ?? 0;
              if (s.register + s.size > limit) continue;
              m.bus.writeBar(s.bar, s.register, s.size, s.value);
              m.bus.readBar(s.bar, s.register, s.size);
            } else if (s.kind === 'config') {
              m.bus.writeConfig(s.register, s.size, s.value);
              m.bus.readConfig(s.register, s.size);
              m.bus.assignBars();
            } else if (s.kind === 'noise') m.ram.write(s.at, s.data);
            else if (s.kind === 'start') start(m, s.features);
            else chain(m, s);
          }
          await new Promise((resolve) => setTimeout(resolve, 0));
          expect(m.intact()).toBe(true);
          // After a reset it is as new.
          start(m, 1n << 32n);
          for (let wait = 0; wait < 5 && m.fn.state.status !== 15; wait++) {
            await new Promise((resolve) => setTimeout(resolve, 0));
            start(m, 1n << 32n);
          }
          expect(m.fn.state.status).toBe(15);
        }),
        { numRuns: RUNS },
      );
    });
  }
});
