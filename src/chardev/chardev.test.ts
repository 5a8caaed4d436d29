import { describe, expect, it } from 'vitest';
import { CharBase } from './base.ts';
import { CHARDEV_TYPES } from '../qapi/schema/chardev.ts';
import { checkChardev, createChardev } from './create.ts';
import type { ChardevContext } from './create.ts';
import type { CharHost, HostStream } from './host.ts';
import { FakeFront } from './fake-front.ts';
import { MuxChardev } from './mux.ts';
import { RingbufChardev } from './simple.ts';
import { ChardevSlot } from './slot.ts';
import { TelnetStream } from './telnet.ts';
import { WebStreamChardev } from './web.ts';

const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A chardev whose host side is the test. */
class TestChardev extends CharBase {
  readonly type = 'test';
  out = '';
  limit = Number.POSITIVE_INFINITY;
  flowing = false;
  protected send(data: Uint8Array): number {
    const count = Math.min(data.length, this.limit);
    this.limit -= count;
    this.out += text(data.subarray(0, count));
    return count;
  }
  protected override pauseInput(): void {
    this.flowing = false;
  }
  protected override resumeInput(): void {
    this.flowing = true;
  }
  protected shutdown(): Promise<void> {
    return Promise.resolve();
  }
  describe(): string {
    return 'test';
  }
  peer(on: boolean): void {
    if (on) this.setOpen();
    else this.setClosed();
  }
  type_(value: string): void {
    this.deliver(bytes(value));
  }
  roomAgain(limit: number): void {
    this.limit = limit;
    this.drained();
  }
}

describe('every chardev', () => {
  it('delivers as much as there is room for and keeps the rest', () => {
    const chardev = new TestChardev('c');
    const front = new FakeFront(0);
    chardev.attach(front);
    expect(chardev.flowing).toBe(true);
    front.room = 3;
    chardev.type_('abcdefgh');
    expect(front.text).toBe('abc');
    expect(chardev.flowing).toBe(false);
    front.room = 2;
    chardev.acceptInput();
    expect(front.text).toBe('abcde');
    front.room = 10;
    chardev.acceptInput();
    expect(front.text).toBe('abcdefgh');
    expect(chardev.flowing).toBe(true);
  });

  it("tells the front end of a peer's end after its last bytes", () => {
    const chardev = new TestChardev('c');
    const front = new FakeFront(0);
    chardev.attach(front);
    chardev.peer(true);
    chardev.type_('bye');
    chardev.peer(false);
    expect(front.events).toEqual(['opened']);
    front.room = 3;
    chardev.acceptInput();
    expect(front.text).toBe('bye');
    expect(front.events).toEqual(['opened', 'closed']);
    expect(chardev.open).toBe(false);
  });

  it('reads nothing while no front end is there, and allows one at a time', () => {
    const chardev = new TestChardev('c');
    const detach = chardev.attach(new FakeFront(0));
    expect(() => chardev.attach(new FakeFront(0))).toThrow("chardev 'c' is already in use");
    detach();
    expect(chardev.flowing).toBe(false);
    chardev.attach(new FakeFront(0));
    expect(chardev.flowing).toBe(true);
  });

  it('copies what was taken to the log, and only that', () => {
    const chardev = new TestChardev('c');
    let log = '';
    chardev.logTo({ write: (data) => (log += text(data)), close() {} });
    chardev.limit = 3;
    expect(chardev.write(bytes('hello'))).toBe(3);
    expect(log).toBe('hel');
  });
});

describe('mux', () => {
  const setUp = (): { base: TestChardev; mux: MuxChardev; a: FakeFront; b: FakeFront } => {
    const base = new TestChardev('c');
    base.peer(true);
    const mux = new MuxChardev('c', base);
    const a = new FakeFront(0);
    const b = new FakeFront(0);
    a.room = b.room = 1000;
    mux.port().attach(b);
    mux.port().attach(a);
    return { base, mux, a, b };
  };

  it('gives the keyboard to the last that came, and turns with C-a c', () => {
    const { base, a, b } = setUp();
    base.type_('one');
    base.type_('\x01ctwo\x01');
    base.type_('cthree');
    expect(a.text).toBe('onethree');
    expect(b.text).toBe('two');
    expect(a.events).toEqual(['opened', 'mux-in', 'mux-out', 'mux-in']);
    expect(b.events).toEqual(['opened', 'mux-in', 'mux-out', 'mux-in', 'mux-out']);
  });

  it('sends C-a when it is typed twice, breaks, and swallows unknown commands', () => {
    const { base, a } = setUp();
    base.type_('x\x01\x01y\x01zq\x01b');
    expect(a.text).toBe('x\x01yq');
    expect(a.events.at(-1)).toBe('break');
  });

  it('quits and saves by the actions it was given, also while the guest takes nothing', () => {
    const { base, mux, a } = setUp();
    const calls: string[] = [];
    mux.actions = { onQuit: () => calls.push('quit'), onSave: () => calls.push('save') };
    a.room = 0;
    base.type_('waiting');
    base.type_('\x01s\x01x');
    expect(calls).toEqual(['save', 'quit']);
    a.room = 100;
    mux.acceptInput();
    expect(a.text).toBe('');
    expect(base.out).toContain('terminated');
  });

  it('has another escape key where it is told', () => {
    const { base, mux, a, b } = setUp();
    mux.actions = { escape: 0x14 };
    base.type_('\x01c\x14cto-b\x14\x14');
    expect([a.text, b.text]).toEqual(['\x01c', 'to-b\x14']);
    base.type_('\x14h');
    expect(base.out).toContain('C-t C-t  send C-t');
  });

  it('loses nothing that was typed ahead', () => {
    const { base, a } = setUp();
    a.room = 2;
    base.type_('ls -l\r');
    expect(a.text).toBe('ls');
    const detachable = new FakeFront(0);
    expect(detachable.text).toBe('');
  });

  it('puts times in front of lines', () => {
    const { base, mux } = setUp();
    let now = 1000;
    mux.actions = { now: () => now };
    base.type_('\x01t');
    mux.write(bytes('a\nb'));
    now += 3_723_456;
    mux.write(bytes('c\nd'));
    expect(base.out).toBe('[00:00:00.000] a\n[00:00:00.000] bc\n[01:02:03.456] d');
    base.type_('\x01h');
    expect(base.out).toContain('C-a x');
  });

  it('passes short writes and drains through', () => {
    const { base, mux, a, b } = setUp();
    base.limit = 2;
    expect(mux.write(bytes('hello'))).toBe(2);
    base.roomAgain(100);
    expect([a.drains, b.drains]).toEqual([1, 1]);
  });

  it('has room for four', () => {
    const { mux } = setUp();
    mux.port();
    mux.port();
    expect(() => mux.port()).toThrow("chardev 'c' has 4 users already");
  });
});

describe('ringbuf', () => {
  it('keeps the last bytes', () => {
    const ring = new RingbufChardev('r', 8);
    ring.write(bytes('hello'));
    expect(text(ring.read(2))).toBe('he');
    ring.write(bytes('world!'));
    expect(text(ring.read(100))).toBe('loworld!'.slice(-8));
    ring.write(bytes('0123456789abcdef'));
    expect(text(ring.read(100))).toBe('89abcdef');
    expect(() => new RingbufChardev('r', 1000)).toThrow('power of two');
    expect(() => new RingbufChardev('r', 2 ** 40)).toThrow('at most');
    const usual = new RingbufChardev('r', 0, 'memory');
    usual.write(new Uint8Array(70000));
    expect([usual.length, usual.describe()]).toEqual([65536, 'memory']);
  });
});

describe('web streams', () => {
  it('makes the guest wait for a reader, and a writer for the guest', async () => {
    const chardev = new WebStreamChardev('w');
    const front = new FakeFront(0);
    chardev.attach(front);
    let sent = 0;
    while (sent < 1 << 20) {
      const count = chardev.write(new Uint8Array(10000));
      sent += count;
      if (count < 10000) break;
    }
    expect(sent).toBe(65536);
    const reader = chardev.readable.getReader();
    let got = 0;
    while (got < sent) got += (await reader.read()).value!.length;
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(front.drains).toBeGreaterThan(0);

    const writer = chardev.writable.getWriter();
    let written = false;
    const write = writer.write(bytes('input')).then(() => (written = true));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(written).toBe(false);
    front.room = 5;
    chardev.acceptInput();
    await write;
    expect(front.text).toBe('input');
    await writer.close();
    expect(front.events).toEqual(['opened', 'closed']);
    await chardev.close();
    expect((await reader.read()).done).toBe(true);
  });
});

describe('createChardev', () => {
  const context: ChardevContext = {
    host: {} as CharHost,
    tls: () => ({ endpoint: 'client' }),
    claim: () => new RingbufChardev('r'),
  };
  const make = (type: string, options = {}): Promise<unknown> =>
    createChardev(type, { id: 'foo', ...options }, context);

  it.each([
    ['bogus', {}, "'bogus' is not a valid char driver name"],
    ['constructor', {}, 'not a valid char driver name'],
    ['spicevmc', {}, "chardev type 'spicevmc' is not offered here"],
    ['parallel', { path: '/dev/parport0' }, "chardev type 'parallel' is not offered here"],
    ['file', {}, 'chardev: file: no filename given'],
    ['pipe', {}, 'chardev: pipe: no device path given'],
    ['tty', {}, 'chardev: serial/tty: no device path given'],
    ['mux', {}, 'chardev: mux: no chardev given'],
    ['udp', { host: 'a' }, 'chardev: udp: remote port not specified'],
    ['ringbuf', { size: 1000 }, 'size of ringbuf chardev must be power of two'],
    ['socket', { host: 'a' }, 'chardev: socket: no port given'],
    ['socket', {}, "needs 'path' (unix) or 'host' and 'port' (tcp)"],
    ['socket', { fd: 'x' }, 'Unable to parse FD number x'],
    ['socket', { path: 'a', host: 'b' }, "'path' (unix) excludes 'host' (tcp) and 'fd'"],
    ['socket', { host: 'a', port: 'http' }, 'address resolution failed for a:http: Servname not supported'],
    ['socket', { host: 'a', port: '65536' }, 'is not 0 to 65535'],
    ['socket', { path: 'a', wait: true }, "'wait' option is incompatible with socket in client connect mode"],
    [
      'socket',
      { path: 'a', server: true, reconnect: 1 },
      "'reconnect' option is incompatible with socket in server listen mode",
    ],
    ['socket', { path: 'a', tn3270: true }, 'tn3270 is not offered here'],
    ['socket', { path: 'a', websocket: true }, 'Websocket client is not implemented'],
    [
      'socket',
      { path: 'a', 'tls-creds': 't' },
      "'tls_creds' option is incompatible with 'unix' address type",
    ],
    ['socket', { port: '1', 'tls-authz': 't' }, "'tls_authz' option requires 'tls_creds' option"],
    [
      'socket',
      { port: '1', server: true, wait: false, 'tls-creds': 't' },
      'Expected TLS credentials for a server endpoint',
    ],
  ])("refuses %s %o in QEMU's words", async (type, options, message) => {
    await expect(make(type, options)).rejects.toThrow(message);
  });

  it('makes a mux of what shall be one, and of what is named', async () => {
    expect(await make('null', { mux: true })).toBeInstanceOf(MuxChardev);
    const mux = (await make('mux', { chardev: 'r' })) as MuxChardev;
    expect(mux.base.id).toBe('r');
  });

  it('has a maker for every type that is declared', async () => {
    for (const { name, missing } of CHARDEV_TYPES as readonly { name: string; missing?: string }[]) {
      // What is refused here is refused for what is missing, and not for want of a maker.
      let message = '';
      try {
        checkChardev(name, {});
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message.includes('is not offered here'), name).toBe(missing !== undefined);
    }
    for (const name of ['null', 'vc', 'stream', 'ringbuf', 'memory'])
      expect(((await make(name)) as { describe(): string }).describe()).toBe(name);
  });

  it('declares no property twice', () => {
    for (const type of CHARDEV_TYPES) {
      const names = type.properties.map((property) => property.name);
      expect(new Set(names).size).toBe(names.length);
    }
  });
});

/** A stream whose other end is the test. */
class TestStream implements HostStream {
  onData: (data: Uint8Array) => void = () => {};
  onDrain: () => void = () => {};
  onClose: () => void = () => {};
  sent: number[] = [];
  limit = Number.POSITIVE_INFINITY;
  write(data: Uint8Array): number {
    const count = Math.min(this.limit, data.length);
    this.limit -= count;
    this.sent.push(...data.subarray(0, count));
    return count;
  }
  pause(): void {}
  resume(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe('telnet', () => {
  const setUp = () => {
    const raw = new TestStream();
    const telnet = new TelnetStream(raw);
    const got: number[] = [];
    telnet.onData = (data) => got.push(...data);
    return { raw, telnet, got, give: (...data: number[]) => raw.onData(Uint8Array.from(data)) };
  };

  it('greets as QEMU does: it will echo, go ahead is off, eight bits both ways', () => {
    expect(Buffer.from(setUp().raw.sent).toString('hex')).toBe('fffb01fffb03fffb00fffd00');
  });

  it('takes commands out of the input, whole or in pieces', () => {
    const { got, give } = setUp();
    // a IAC DO ECHO b IAC IAC c IAC SB NAWS 0 80 IAC IAC SE-less… IAC SE d IAC NOP e
    give(0x61, 255, 253, 1, 0x62, 255, 255, 0x63, 255, 250, 31, 0, 80, 255, 255, 9, 255, 240, 0x64, 255, 241);
    give(0x65, 255);
    give(254);
    give(3, 0x66);
    expect(got).toEqual([0x61, 0x62, 255, 0x63, 0x64, 0x65, 0x66]);
  });

  it('passes a break where it was typed', () => {
    const { telnet, got, give } = setUp();
    let before: number[] = [];
    telnet.onBreak = () => (before = [...got]);
    give(0x61, 255, 243, 0x62);
    expect([before, got]).toEqual([[0x61], [0x61, 0x62]]);
  });

  it('drops the zero behind a return of a client that will not send eight bits', () => {
    const { got, give } = setUp();
    give(0x0d, 0);
    give(255, 252, 0, 0x0d, 0, 0, 0x0d);
    give(0);
    expect(got).toEqual([0x0d, 0, 0x0d, 0, 0x0d]);
  });

  it('doubles the escape byte, also where there is room for the first half only', () => {
    const { raw, telnet } = setUp();
    raw.sent = [];
    raw.limit = 2;
    expect(telnet.write(Uint8Array.of(1, 255, 2))).toBe(2);
    expect(telnet.write(Uint8Array.of(2))).toBe(0);
    raw.limit = 100;
    expect(telnet.write(Uint8Array.of(2, 255, 255))).toBe(3);
    expect(raw.sent).toEqual([1, 255, 255, 2, 255, 255, 255, 255]);
  });
});

describe('ChardevSlot', () => {
  it('shows an exchange as one peer that went and another that came', () => {
    const old = new TestChardev('c');
    old.peer(true);
    const slot = new ChardevSlot(old);
    const front = new FakeFront(0);
    front.room = 100;
    const detach = slot.attach(front);
    old.limit = 0;
    expect(slot.write(bytes('x'))).toBe(0);
    const next = new TestChardev('c');
    slot.exchange(next);
    expect(front.events).toEqual(['opened', 'closed']);
    expect(front.drains).toBe(1);
    next.peer(true);
    next.type_('hi');
    expect(front.events).toEqual(['opened', 'closed', 'opened']);
    expect(front.text).toBe('hi');
    slot.write(bytes('x'));
    expect([old.out, next.out]).toEqual(['', 'x']);
    detach();
    next.type_('lost?');
    expect(front.text).toBe('hi');
  });
});
