/** The console device over real rings, driven by drivers that break its rules: each is logged, and nothing is harmed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tracer } from '../../core/trace.ts';
import { parseControl, serializeControl } from '../device/console/control.ts';
import * as con from '../device/console/defs.ts';
import { VirtioSerial } from '../device/console/device.ts';
import { FakeChardev } from '../device/console/fake-chardev.ts';
import { SerialPort } from '../device/console/port.ts';
import { serialSettings } from '../device/console/properties.ts';
import { createRig, type Rig, type StartOptions } from './rig.ts';

const text = (value: string): Uint8Array => Buffer.from(value, 'latin1');

interface Setup {
  readonly rig: Rig<VirtioSerial>;
  readonly chardev: FakeChardev;
  readonly port: SerialPort;
  /** Sends a control message as raw bytes. */
  raw(...pieces: Uint8Array[]): Promise<unknown>;
  control(id: number, event: number, value: number): Promise<unknown>;
  /** What the device has said since the last time. */
  heard(): string[];
}

const NAMES = ['READY', 'ADD', 'REMOVE', 'PORT_READY', 'CONSOLE', 'RESIZE', 'OPEN', 'NAME'];

/** A controller with a port 1, whose driver has set everything up and said nothing yet. */
async function setup(options: StartOptions = {}): Promise<Setup> {
  const chardev = new FakeChardev();
  const tracer = new Tracer();
  const device = new VirtioSerial({ tracer, settings: serialSettings({ max_ports: 4 }) });
  const rig = await createRig(device, { tracer });
  const port = new SerialPort({ console: false, name: 'org.a', chardev });
  device.addPort(port);
  await rig.start(options);
  const queue = rig.queues[con.CONTROL_RECEIVEQ]!;
  const post = (): void => {
    const buffer = rig.memory.buffer(new Uint8Array(64));
    queue.addBuf([], [buffer], buffer);
    queue.kick();
  };
  for (let i = 0; i < 16; i++) post();
  const heard = (): string[] => {
    const news: string[] = [];
    for (;;) {
      const used = queue.getBuf();
      if (used === undefined) return news;
      const bytes = rig.memory
        .read(used.token as ReturnType<typeof rig.memory.buffer>)
        .subarray(0, used.length);
      const { id, event, value } = parseControl([bytes])!;
      news.push(`${id}:${NAMES[event]}=${value}`);
      post();
    }
  };
  const raw = (...pieces: Uint8Array[]): Promise<unknown> => rig.request(con.CONTROL_TRANSMITQ, pieces, []);
  return {
    ...{ rig, chardev, port, raw, heard },
    control: (id, event, value) => raw(serializeControl({ id, event, value })),
  };
}

const all: [string, StartOptions][] = [
  ['modern, MSI-X', {}],
  ['modern, INTx', { interrupts: 'intx' }],
  ['legacy', { interface: 'legacy' }],
];

describe.each(all)('hostile control messages: %s', (_, options) => {
  it('that are short, long, or in pieces', async () => {
    const { rig, raw, heard } = await setup(options);
    await raw(new Uint8Array(7));
    await raw(new Uint8Array(1), new Uint8Array(3));
    expect(rig.errors).toEqual(['virtio-serial: control message shorter than 8 bytes']);
    const ready = serializeControl({ id: 0, event: con.VIRTIO_CONSOLE_DEVICE_READY, value: 1 });
    // The header in pieces of a byte, with much behind it that means nothing.
    await raw(...Array.from(ready, (byte) => Uint8Array.of(byte)), new Uint8Array(4096).fill(0xff));
    expect(heard()).toEqual(['1:ADD=1']);
  });

  it('for ports and with events that do not exist', async () => {
    const { rig, control, heard, port } = await setup(options);
    await control(0, con.VIRTIO_CONSOLE_DEVICE_READY, 1);
    for (const id of [4, 31, 0x7fffffff, 0xffffffff]) await control(id, con.VIRTIO_CONSOLE_PORT_OPEN, 1);
    for (const event of [1, 2, 4, 5, 7, 8, 0xffff]) await control(1, event, 1);
    // Ports that could be there and are not: normal while one goes.
    for (const id of [0, 2, 3]) await control(id, con.VIRTIO_CONSOLE_PORT_READY, 1);
    expect(rig.errors[0]).toBe('virtio-serial: control message for port 4 of 4');
    expect(rig.errors).toContain("virtio-serial: control event 65535 is not the driver's to send");
    expect(port.guestConnected).toBe(false);
    expect(heard()).toEqual(['1:ADD=1']);
    await control(1, con.VIRTIO_CONSOLE_PORT_READY, 1);
    expect(heard()).toEqual(['1:NAME=1', '1:OPEN=1']);
  });

  it('of a driver that opens before it is ready, and closes what was never open', async () => {
    const { control, heard, port, chardev, rig } = await setup(options);
    await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 0);
    await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 7);
    expect(port.guestConnected).toBe(true);
    await rig.request(con.transmitq(1), [text('early')], []);
    expect(chardev.text).toBe('early');
    expect(heard()).toEqual([]);
    await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 0);
    await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 0);
    expect(port.guestConnected).toBe(false);
  });

  it('any of them, in any order, leave the device as it was', async () => {
    const message = fc.record({
      id: fc.oneof(fc.nat(5), fc.nat(0xffffffff)),
      event: fc.oneof(fc.nat(8), fc.nat(0xffff)),
      value: fc.oneof(fc.nat(1), fc.nat(0xffff)),
      cut: fc.nat(12),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (messages) => {
        const { rig, raw, control, heard, chardev, port } = await setup(options);
        for (const { cut, ...one } of messages)
          await raw(serializeControl({ ...one, data: new Uint8Array(4) }).subarray(0, Math.max(1, cut)));
        heard();
        // The driver is reloaded: everything is told as at the first time.
        await rig.driver.reset();
        expect(port.guestConnected).toBe(false);
        expect(port.ready).toBe(false);
        await rig.start(options);
        const answers = [
          rig.request(con.CONTROL_RECEIVEQ, [], [8]),
          rig.request(con.CONTROL_RECEIVEQ, [], [32]),
        ];
        await control(0, con.VIRTIO_CONSOLE_DEVICE_READY, 1);
        await control(1, con.VIRTIO_CONSOLE_PORT_READY, 1);
        const [added, named] = await Promise.all(answers);
        expect(parseControl([added!.data])).toEqual({
          id: 1,
          event: con.VIRTIO_CONSOLE_DEVICE_ADD,
          value: 1,
        });
        expect(Buffer.from(named!.data.subarray(8, named!.length)).toString()).toBe('org.a');
        await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 1);
        chardev.written.length = 0;
        await rig.request(con.transmitq(1), [text('well')], []);
        expect(chardev.text).toBe('well');
      }),
      { numRuns: 15 },
    );
  });
});

describe('statements for drivers', () => {
  it('drv:Device Types / Console Device / Device Operation#1 a receiveq holds no device-readable buffers', async () => {
    const { rig, control, chardev } = await setup();
    await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 1);
    const answer = rig.request(con.receiveq(1), [text('wrong')], [8]);
    chardev.send('in');
    const { data, length } = await answer;
    expect(Buffer.from(data.subarray(0, length)).toString()).toBe('in');
    expect(rig.errors.join()).toContain('[drv:Device Types / Console Device / Device Operation#1]');
  });

  it('drv:Device Types / Console Device / Device Operation#2 a transmitq holds no device-writable buffers', async () => {
    const { rig, control, chardev } = await setup();
    await control(1, con.VIRTIO_CONSOLE_PORT_OPEN, 1);
    const { length } = await rig.request(con.transmitq(1), [text('out')], [8]);
    expect(length).toBe(0);
    expect(chardev.text).toBe('out');
    expect(rig.errors.join()).toContain('[drv:Device Types / Console Device / Device Operation#2]');
  });

  it('drv:Device Types / Console Device / Device Operation / Multiport Device Operation#1 nothing is told of ports before DEVICE_READY', async () => {
    const { control, heard, rig } = await setup();
    rig.device.addPort(new SerialPort({ console: true }));
    expect(heard()).toEqual([]);
    await control(0, con.VIRTIO_CONSOLE_DEVICE_READY, 0);
    expect(heard()).toEqual([]);
    await control(0, con.VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect(heard()).toEqual(['0:ADD=1', '1:ADD=1']);
  });

  it('drv:Device Types / Console Device / Device Operation / Multiport Device Operation#2 a console that its driver does not open gets no input', async () => {
    const { control, rig } = await setup();
    const chardev = new FakeChardev();
    rig.device.addPort(new SerialPort({ console: true, chardev }));
    await control(0, con.VIRTIO_CONSOLE_DEVICE_READY, 1);
    await control(0, con.VIRTIO_CONSOLE_PORT_READY, 1);
    const input = rig.request(con.receiveq(0), [], [8]);
    chardev.send('typed');
    expect(chardev.input.length).toBe(5);
    await control(0, con.VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect((await input).length).toBe(5);
  });
});
