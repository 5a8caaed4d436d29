import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../core/clock.ts';
import { Tracer } from '../../../core/trace.ts';
import type { Sent } from '../fake-transport.ts';
import * as d from './defs.ts';
import { FakeChardev } from './fake-chardev.ts';
import { bytes, controller, Driver, port, text, virtconsole } from './fake-driver.ts';
import type { SerialPortOptions } from './port.ts';

describe('virtio-serial data', () => {
  function openPort(options: Partial<SerialPortOptions> = {}) {
    const rig = controller();
    const chardev = new FakeChardev();
    rig.device.addPort(port({ chardev, ...options }));
    const driver = new Driver(rig);
    driver.poll();
    driver.open(1);
    return { rig, chardev, driver };
  }

  test('bytes both ways, used lengths exact, buffers of all sizes', () => {
    const { chardev, driver } = openPort();
    expect(driver.write(1, 'hello ').written).toBe(0);
    driver.rig.send(d.transmitq(1), [bytes('wor'), bytes(''), bytes('ld')]);
    expect(chardev.text).toBe('hello world');
    const small = driver.room(1, 3);
    const large = driver.room(1, 100);
    chardev.send('abcdef');
    expect(text(small)).toBe('abc');
    expect(text(large)).toBe('def');
  });

  test('a chardev that takes less keeps the buffer, and only that port waits', () => {
    const { rig, chardev, driver } = openPort();
    const other = new FakeChardev();
    rig.device.addPort(port({ chardev: other }));
    driver.poll();
    chardev.room = 4;
    const first = driver.write(1, 'abcdef');
    const second = driver.write(1, 'ghi');
    expect([first.used, second.used]).toEqual([false, false]);
    expect(chardev.text).toBe('abcd');
    expect(driver.write(2, 'other').used).toBe(true);
    chardev.drain(1);
    expect(first.used).toBe(false);
    chardev.drain(3);
    expect(first.used).toBe(true);
    expect(second.used).toBe(false);
    chardev.drain(1);
    expect(second.used).toBe(true);
    expect(chardev.text).toBe('abcdefghi');
    expect(other.text).toBe('other');
  });

  test('a guest without buffers keeps the chardev waiting', () => {
    const { chardev, driver } = openPort();
    chardev.send('0123456789');
    expect(chardev.input.length).toBe(10);
    const first = driver.room(1, 4);
    expect(text(first)).toBe('0123');
    expect(chardev.input.length).toBe(6);
    expect(text(driver.room(1, 64))).toBe('456789');
    expect(chardev.input.length).toBe(0);
  });

  test('input for a port that the guest has not opened is held until it does', () => {
    const { chardev, driver } = openPort();
    driver.close(1);
    const room = driver.room(1, 16);
    chardev.send('early');
    expect(room.used).toBe(false);
    driver.open(1);
    expect(text(room)).toBe('early');
  });

  test('nothing is lost or reordered whatever the sizes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(40), fc.nat(40), fc.nat(9))),
        fc.infiniteStream(fc.nat(255)),
        (steps, stream) => {
          const { chardev, driver } = openPort();
          chardev.room = 0;
          const sentOut: number[] = [];
          const sentIn: number[] = [];
          const rooms: Sent[] = [];
          const random = stream[Symbol.iterator]();
          const next = (count: number) => Array.from({ length: count }, () => random.next().value as number);
          for (const [out, input, drain] of steps) {
            const data = next(out + 1);
            sentOut.push(...data);
            driver.rig.send(d.transmitq(1), [Uint8Array.from(data)]);
            chardev.drain(drain);
            const typed = next(input);
            sentIn.push(...typed);
            chardev.send(Uint8Array.from(typed));
            rooms.push(driver.room(1, drain + 1));
          }
          chardev.drain(1e6);
          while (chardev.input.length > 0) rooms.push(driver.room(1, 7));
          expect(chardev.written).toEqual(sentOut);
          expect(rooms.flatMap((sent) => (sent.used ? [...sent.answer] : []))).toEqual(sentIn);
        },
      ),
      { numRuns: 50 },
    );
  });

  describe('with a clock', () => {
    function gathering() {
      const clock = new ManualClock();
      const rig = controller(4, { clock });
      const chardev = new FakeChardev();
      rig.device.addPort(port({ chardev }));
      const driver = new Driver(rig);
      driver.poll();
      driver.open(1);
      return { rig, chardev, driver, clock };
    }

    test('the first buffer leaves at once, those behind it together', () => {
      const { chardev, driver, clock } = gathering();
      expect(driver.write(1, 'a').used).toBe(true);
      const more = ['b', 'c', 'd'].map((letter) => driver.write(1, letter));
      expect(more.map(({ used }) => used)).toEqual([false, false, false]);
      expect(chardev.text).toBe('a');
      clock.advance(0);
      expect(more.map(({ used }) => used)).toEqual([true, true, true]);
      expect(chardev.text).toBe('abcd');
      expect(driver.write(1, 'e').used).toBe(true);
      clock.advance(0);
      expect(driver.write(1, 'f').used).toBe(true);
      expect(chardev.text).toBe('abcdef');
      clock.advance(0);
      expect(clock.timers.next()).toBe(Number.POSITIVE_INFINITY);
    });

    test('a chardev that is full keeps the order', () => {
      const { chardev, driver, clock } = gathering();
      chardev.room = 2;
      driver.write(1, 'a');
      driver.write(1, 'bcd');
      clock.advance(0);
      const last = driver.write(1, 'e');
      chardev.drain(100);
      clock.advance(0);
      expect(chardev.text).toBe('abcde');
      expect(last.used).toBe(true);
    });

    test('what is gathered leaves before the port is closed, and before the driver is gone', () => {
      const { rig, chardev, driver, clock } = gathering();
      driver.write(1, 'a');
      driver.write(1, 'b');
      driver.close(1);
      expect(chardev.text).toBe('ab');
      driver.open(1);
      driver.write(1, 'c');
      driver.write(1, 'd');
      rig.device.stop();
      expect(chardev.text).toBe('abcd');
      clock.advance(1e9);
      expect(chardev.text).toBe('abcd');
    });

    test('a console is not kept waiting', () => {
      const clock = new ManualClock();
      const rig = controller(4, { clock });
      const chardev = new FakeChardev();
      rig.device.addPort(virtconsole({ chardev }));
      const driver = new Driver(rig);
      driver.poll();
      for (const letter of 'abc') expect(driver.write(0, letter).used).toBe(true);
      expect(chardev.text).toBe('abc');
    });
  });

  test('a port whose host is gone drops what the guest writes', () => {
    const { chardev, driver } = openPort();
    chardev.room = 2;
    const held = driver.write(1, 'abcd');
    expect(held.used).toBe(false);
    chardev.disconnect();
    expect(held.used).toBe(true);
    expect(driver.poll()).toEqual(['1:OPEN=0']);
    expect(driver.write(1, 'lost').used).toBe(true);
    chardev.room = 100;
    chardev.connect();
    expect(driver.poll()).toEqual(['1:OPEN=1']);
    driver.write(1, 'new');
    expect(chardev.text).toBe('abnew');
  });

  test('a console is always open to the guest; output nobody reads is dropped', () => {
    const rig = controller();
    const chardev = new FakeChardev({ open: false });
    rig.device.addPort(virtconsole({ chardev }));
    rig.device.addPort(virtconsole());
    const driver = new Driver(rig);
    expect(driver.poll()).toContain('0:OPEN=1');
    expect(driver.write(0, 'boot').used).toBe(true);
    expect(driver.write(1, 'nowhere').used).toBe(true);
    expect(chardev.text).toBe('');
    chardev.connect();
    chardev.room = 1;
    expect(driver.write(0, 'login').used).toBe(true);
    chardev.disconnect();
    chardev.room = 10;
    chardev.connect();
    driver.write(0, '!');
    expect(chardev.text).toBe('l!');
  });

  test('a console whose reader is slow keeps a backlog, then waits, and drops only when nobody reads', () => {
    const clock = new ManualClock();
    const warnings: string[] = [];
    const tracer = new Tracer();
    tracer.onWarning = (_, message) => warnings.push(message);
    const rig = controller(4, { clock, tracer });
    const chardev = new FakeChardev({ room: 0 });
    rig.device.addPort(virtconsole({ chardev }));
    const driver = new Driver(rig);
    driver.poll();
    const kilobytes = (n: number) => driver.write(0, 'x'.repeat(n * 1024));
    expect(kilobytes(200).used).toBe(true);
    const full = kilobytes(100);
    expect(full.used).toBe(false);
    // A little taken in each second is enough for the guest to go on waiting.
    for (let i = 0; i < 5; i++) {
      clock.advance(0.9e9);
      chardev.drain(1000);
    }
    expect(full.used).toBe(false);
    chardev.drain(300 * 1024);
    expect(full.used).toBe(true);
    expect(chardev.written.length).toBe(300 * 1024);
    // Nothing taken for a second: the guest goes on without the reader.
    chardev.room = 0;
    expect(kilobytes(256).used).toBe(true);
    const lost = kilobytes(1);
    expect(lost.used).toBe(false);
    clock.advance(2.1e9);
    expect(lost.used).toBe(true);
    expect(kilobytes(1).used).toBe(true);
    expect(warnings).toEqual(["fake0: nobody reads the console's output; what does not fit is dropped"]);
    // And is back when it reads.
    chardev.drain(1e9);
    driver.write(0, 'again');
    expect(chardev.text.endsWith('xagain')).toBe(true);
    expect(chardev.written.length).toBe((300 + 256) * 1024 + 5);
  });

  test('a driver without MULTIPORT has port 0, open from the start', () => {
    const rig = controller();
    const chardev = new FakeChardev();
    rig.device.addPort(virtconsole({ chardev }));
    chardev.send('early');
    const room = rig.send(0, [], [16]);
    rig.start(0n);
    expect(text(room)).toBe('early');
    expect(rig.send(1, [bytes('out')]).used).toBe(true);
    expect(chardev.text).toBe('out');
  });

  test('a reset drops what was held, and touches the old buffers no more', () => {
    const { rig, chardev, driver } = openPort();
    chardev.room = 0;
    const held = driver.write(1, 'old');
    const room = driver.room(1, 8);
    rig.reset();
    chardev.drain(100);
    chardev.send('x');
    expect(held.used).toBe(false);
    expect(room.used).toBe(false);
    expect(chardev.text).toBe('');
    expect(chardev.input.length).toBe(1);
  });

  test('a reset of the transmit queue drops what was held of it', () => {
    const { rig, chardev, driver } = openPort();
    chardev.room = 0;
    driver.write(1, 'old');
    rig.device.queueReset(d.transmitq(1));
    rig.queues[d.transmitq(1)]!.clear();
    chardev.drain(100);
    driver.write(1, 'new');
    expect(chardev.text).toBe('new');
  });

  test('buffers of the wrong direction are logged and given back', () => {
    const { rig, driver, chardev } = openPort();
    rig.send(d.receiveq(1), [bytes('wrong')]);
    const room = driver.room(1, 8);
    chardev.send('in');
    expect(text(room)).toBe('in');
    rig.send(d.transmitq(1), [bytes('x')], [4]);
    expect(rig.errors).toHaveLength(2);
    expect(chardev.text).toBe('x');
  });
});
