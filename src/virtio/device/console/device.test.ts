import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Sent } from '../fake-transport.ts';
import { parseControl, serializeControl } from './control.ts';
import * as d from './defs.ts';
import { FakeChardev } from './fake-chardev.ts';
import { bytes, controller, Driver, port, virtconsole } from './fake-driver.ts';
import { SerialPort } from './port.ts';
import { portNumber, serialSettings } from './properties.ts';

describe('virtio-serial ports and numbers', () => {
  test('numbers are given out as QEMU does: 0 to the first console, others from 1', () => {
    const { device } = controller(31);
    expect(device.addPort(port())).toBe(1);
    expect(device.addPort(virtconsole())).toBe(0);
    expect(device.addPort(virtconsole())).toBe(2);
    expect(device.addPort(port({ nr: 5 }))).toBe(5);
    expect(device.addPort(port())).toBe(3);
    device.removePort(device.ports.get(1)!);
    expect(device.addPort(port())).toBe(1);
    expect([...device.ports.keys()].sort()).toEqual([0, 1, 2, 3, 5]);
  });

  test("numbers and names that cannot be had are refused with QEMU's texts", () => {
    const { device } = controller(4);
    expect(() => device.addPort(port({ nr: 0 }))).toThrow(
      'Port number 0 on virtio-serial devices reserved for virtconsole devices for backward compatibility.',
    );
    expect(() => device.addPort(port({ nr: 4 }))).toThrow(
      'virtio-serial-bus: Out-of-range port id specified, max. allowed: 3',
    );
    device.addPort(port({ nr: 2, name: 'a' }));
    expect(() => device.addPort(port({ nr: 2 }))).toThrow('virtio-serial-bus: A port already exists at id 2');
    expect(() => device.addPort(port({ name: 'a' }))).toThrow(
      'virtio-serial-bus: A port already exists by name a',
    );
    const one = controller(1).device;
    expect(() => one.addPort(port())).toThrow(
      'virtio-serial-bus: Out-of-range port id specified, max. allowed: 0',
    );
    one.addPort(virtconsole());
    expect(() => one.addPort(virtconsole())).toThrow('max. allowed: 0');
    const full = controller(32).device;
    for (let i = 1; i < 32; i++) full.addPort(port());
    expect(() => full.addPort(port())).toThrow(
      'virtio-serial-bus: Maximum port limit for this device reached',
    );
    expect(() => serialSettings({ max_ports: 0 })).toThrow('Maximum number of serial ports not specified');
    expect(() => serialSettings({ max_ports: 512 })).toThrow('maximum ports supported: 511');
    expect(portNumber({})).toBeUndefined();
    expect(portNumber({ nr: 3 })).toBe(3);
  });

  test('a name is unique over all controllers, and free again when its port is gone', () => {
    const portNames = new Set<string>();
    const first = controller(4, { portNames }).device;
    const second = controller(4, { portNames }).device;
    const named = port({ name: 'org.agent' });
    first.addPort(named);
    expect(() => second.addPort(port({ name: 'org.agent' }))).toThrow('A port already exists by name');
    first.removePort(named);
    expect(second.addPort(port({ name: 'org.agent' }))).toBe(1);
  });

  test('features, queues and configuration follow max_ports', () => {
    const many = controller(31);
    expect(many.device.features).toBe(d.VIRTIO_CONSOLE_F_MULTIPORT | d.VIRTIO_CONSOLE_F_EMERG_WRITE);
    expect(many.queues.length).toBe(64);
    expect(many.queues[2]!.name).toBe('control receiveq');
    expect(many.queues[2]!.size).toBe(32);
    expect(many.queues[5]!.name).toBe('transmitq(port1)');
    expect(many.device.readConfig(d.CONFIG.MAX_NR_PORTS, 4)).toBe(31);
    expect(many.device.configSize).toBe(12);
    const one = controller(1);
    expect(one.device.features).toBe(d.VIRTIO_CONSOLE_F_EMERG_WRITE);
    expect(one.queues.length).toBe(2);
    for (let nr = 0; nr < 31; nr++) {
      expect(d.portOf(d.receiveq(nr))).toBe(nr);
      expect(d.portOf(d.transmitq(nr))).toBe(nr);
    }
  });
});

describe('virtio-serial control', () => {
  test('a driver is told of ports, consoles, names and who is there', () => {
    const rig = controller();
    rig.device.addPort(virtconsole({ chardev: new FakeChardev() }));
    rig.device.addPort(port({ name: 'org.a', chardev: new FakeChardev() }));
    rig.device.addPort(port({ name: 'org.b', chardev: new FakeChardev({ open: false }) }));
    const driver = new Driver(rig);
    expect(driver.poll()).toEqual([
      '0:ADD=1',
      '1:ADD=1',
      '2:ADD=1',
      '0:CONSOLE=1',
      '0:OPEN=1',
      '1:NAME=1 org.a',
      '1:OPEN=1',
      '2:NAME=1 org.b',
    ]);
  });

  test('messages wait for buffers in order', () => {
    const rig = controller();
    rig.device.addPort(virtconsole({ chardev: new FakeChardev() }));
    rig.device.addPort(port({ name: 'late' }));
    const driver = new Driver(rig, 1);
    for (let i = 0; i < 8; i++) driver.poll();
    expect(driver.log).toEqual(['0:ADD=1', '1:ADD=1', '0:CONSOLE=1', '0:OPEN=1', '1:NAME=1 late']);
  });

  test('a buffer that is too small is given back empty and the message waits for the next', () => {
    const rig = controller();
    rig.device.addPort(port());
    rig.start();
    const small = rig.send(d.CONTROL_RECEIVEQ, [], [7]);
    rig.send(d.CONTROL_TRANSMITQ, [serializeControl({ id: 0, event: 0, value: 1 })]);
    expect(small.written).toBe(0);
    expect(rig.errors[0]).toContain('too small');
    const enough = rig.send(d.CONTROL_RECEIVEQ, [], [3, 5]);
    expect(parseControl([enough.answer])).toEqual({ id: 1, event: d.VIRTIO_CONSOLE_DEVICE_ADD, value: 1 });
  });

  test('hot-plug and unplug while the guest runs', () => {
    const rig = controller();
    const driver = new Driver(rig);
    const chardev = new FakeChardev();
    const added = port({ name: 'hot', chardev });
    rig.device.addPort(added);
    expect(driver.poll()).toEqual(['1:ADD=1', '1:NAME=1 hot', '1:OPEN=1']);
    const room = driver.room(1, 16);
    rig.device.removePort(added);
    expect(driver.poll()).toEqual(['1:REMOVE=1']);
    expect(room.used).toBe(false);
    expect(chardev.frontend).toBeUndefined();
    // What the guest still writes to it comes back unread.
    expect(driver.write(1, 'late').used).toBe(true);
    expect(chardev.text).toBe('');
  });

  test('asks for news of buffers only while input waits, and after an earlier port on the same queue', () => {
    const rig = controller();
    const driver = new Driver(rig);
    const seen: boolean[] = [];
    const queue = rig.queues[d.receiveq(1)]!;
    const ask = queue.setNotification.bind(queue);
    queue.setNotification = (enabled) => {
      seen.push(enabled);
      ask(enabled);
    };
    const plug = (): { first: SerialPort; chardev: FakeChardev } => {
      const chardev = new FakeChardev();
      const first = port({ chardev, nr: 1 });
      rig.device.addPort(first);
      driver.poll();
      driver.open(1);
      return { first, chardev };
    };
    const { first, chardev } = plug();
    driver.room(1, 16);
    chardev.send('fits');
    expect(seen).toEqual([false]);
    chardev.send('waits');
    expect(seen).toEqual([false, true]);
    driver.room(1, 16);
    expect(seen).toEqual([false, true, false]);
    rig.device.removePort(first);
    driver.poll();
    // The queue is as the first port left it: the next one must not wait for news that it did not ask for.
    plug().chardev.send('early');
    expect(seen).toEqual([false, true, false, true]);
  });

  test('a thousand plugs that the driver does not look at leave nothing behind', () => {
    const rig = controller();
    const driver = new Driver(rig, 0);
    for (let i = 0; i < 1000; i++) {
      const p = port({ name: 'x', chardev: new FakeChardev() });
      rig.device.addPort(p);
      rig.device.removePort(p);
    }
    const sent = rig.send(d.CONTROL_RECEIVEQ, [], [64]);
    driver.poll();
    expect(sent.used).toBe(false);
  });

  test('a host that comes and goes is told once, with the loss', () => {
    const rig = controller();
    const chardev = new FakeChardev();
    rig.device.addPort(port({ chardev }));
    const driver = new Driver(rig, 3);
    driver.poll();
    driver.poll();
    expect(driver.log).toEqual(['1:ADD=1', '1:OPEN=1']);
    // The driver has three buffers: use them up with nobody looking.
    for (let i = 0; i < 50; i++) {
      chardev.disconnect();
      chardev.connect();
    }
    const news: string[] = [];
    for (let i = 0; i < 10; i++) news.push(...driver.poll());
    expect(news.length).toBeLessThanOrEqual(5);
    expect(news.at(-1)).toBe('1:OPEN=1');
    expect(news).toContain('1:OPEN=0');
  });

  test('a driver that asks a thousand times without reading gets each answer once', () => {
    const rig = controller();
    rig.device.addPort(virtconsole({ name: 'c', chardev: new FakeChardev() }));
    rig.start();
    const say = (id: number, event: number) =>
      rig.send(d.CONTROL_TRANSMITQ, [serializeControl({ id, event, value: 1 })]);
    say(0, d.VIRTIO_CONSOLE_DEVICE_READY);
    for (let i = 0; i < 1000; i++) {
      say(0, d.VIRTIO_CONSOLE_DEVICE_READY);
      say(0, d.VIRTIO_CONSOLE_PORT_READY);
    }
    const answers: Sent[] = [];
    for (let i = 0; i < 10; i++) answers.push(rig.send(d.CONTROL_RECEIVEQ, [], [64]));
    expect(answers.filter((sent) => sent.used).length).toBe(4);
  });

  test('the guest opening and closing is told to the host, and a reset closes', () => {
    const rig = controller();
    const events: boolean[] = [];
    rig.device.addPort(port({ chardev: new FakeChardev(), onGuestOpen: (open) => events.push(open) }));
    const driver = new Driver(rig);
    driver.poll();
    driver.open(1);
    driver.open(1);
    driver.close(1);
    driver.open(1);
    rig.reset();
    expect(events).toEqual([true, false, true, false]);
  });

  test('a driver that is reloaded is told everything again', () => {
    const rig = controller();
    rig.device.addPort(virtconsole({ chardev: new FakeChardev() }));
    new Driver(rig).poll();
    rig.reset();
    expect(new Driver(rig).poll()).toEqual(['0:ADD=1', '0:CONSOLE=1', '0:OPEN=1']);
  });

  test('nonsense on the control queue is logged and survived', () => {
    const rig = controller();
    const driver = new Driver(rig);
    rig.send(d.CONTROL_TRANSMITQ, [new Uint8Array(7)]);
    driver.control(77, d.VIRTIO_CONSOLE_PORT_OPEN, 1);
    rig.device.addPort(port());
    driver.control(1, 99, 1);
    driver.control(1, d.VIRTIO_CONSOLE_PORT_READY, 0);
    expect(rig.errors).toEqual([
      'control message shorter than 8 bytes',
      'control message for port 77 of 4',
      "control event 99 is not the driver's to send",
    ]);
    expect(rig.resets).toEqual([]);
  });

  test('control messages survive the round trip', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.nat(0xffff), fc.nat(0xffff), (id, event, value) => {
        expect(parseControl([serializeControl({ id, event, value })])).toEqual({ id, event, value });
      }),
    );
  });

  test('sizes are told to consoles where a size was given', () => {
    const rig = controller(4, { size: { cols: 80, rows: 25 } });
    rig.device.addPort(virtconsole({ chardev: new FakeChardev() }));
    const driver = new Driver(rig);
    expect(driver.poll()).toContain('0:RESIZE=0 P\0\x19\0');
    rig.device.resize({ cols: 132, rows: 43 });
    expect(driver.poll()).toEqual(['0:RESIZE=0 \x84\0+\0']);
    expect(rig.device.readConfig(d.CONFIG.COLS, 2)).toBe(132);
    expect(rig.device.readConfig(d.CONFIG.ROWS, 2)).toBe(43);
    expect(rig.configChanges).toBe(1);
  });
});

describe('console device clauses', () => {
  test('dev:Device Types / Console Device / Device Initialization#1 emerg_wr can be written before anything else', () => {
    const rig = controller();
    const chardev = new FakeChardev();
    rig.device.addPort(virtconsole({ chardev }));
    for (const byte of bytes('panic')) rig.device.writeConfig(d.CONFIG.EMERG_WR, 4, byte);
    expect(chardev.text).toBe('panic');
    // Without a console, or with a chardev that is full, it is allowed as well.
    controller().device.writeConfig(d.CONFIG.EMERG_WR, 4, 0x41);
    chardev.room = 0;
    rig.device.writeConfig(d.CONFIG.EMERG_WR, 4, 0x21);
    chardev.drain(1);
    expect(chardev.text).toBe('panic!');
  });

  test('dev:Device Types / Console Device / Device Initialization#2 the lower byte goes to the console', () => {
    const rig = controller();
    const chardev = new FakeChardev();
    rig.device.addPort(virtconsole({ chardev }));
    rig.device.writeConfig(d.CONFIG.EMERG_WR, 4, 0x12345641);
    rig.device.writeConfig(d.CONFIG.EMERG_WR, 1, 0x42);
    rig.device.writeConfig(d.CONFIG.EMERG_WR + 1, 1, 0x43);
    expect(chardev.text).toBe('AB');
  });

  test('dev:Device Types / Console Device / Device Operation / Multiport Device Operation#1 a port is added once, below max_nr_ports', () => {
    const rig = controller(4);
    for (let i = 0; i < 3; i++) rig.device.addPort(port());
    expect(() => rig.device.addPort(port())).toThrow();
    const driver = new Driver(rig);
    driver.poll();
    driver.control(0, d.VIRTIO_CONSOLE_DEVICE_READY, 1);
    driver.poll();
    expect(driver.log.filter((line) => line.includes('ADD'))).toEqual(['1:ADD=1', '2:ADD=1', '3:ADD=1']);
  });

  test('dev:Device Types / Console Device / Device Operation / Multiport Device Operation#2 only an added port is removed', () => {
    const rig = controller(4);
    rig.start();
    const early = port();
    rig.device.addPort(early);
    rig.device.removePort(early);
    const driver = new Driver(rig);
    const late = port();
    rig.device.addPort(late);
    driver.poll();
    rig.device.removePort(late);
    expect(driver.poll()).toEqual(['1:REMOVE=1']);
    expect(driver.log).toEqual(['1:ADD=1', '1:REMOVE=1']);
  });
});
