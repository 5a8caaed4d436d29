import { describe, expect, it } from 'vitest';
import type { CharEvent, CharFrontend } from './chardev.ts';
import { CharBase } from './base.ts';
import { CHARDEV_TYPES, createChardev } from './create.ts';
import type { CharHost } from './host.ts';
import { MuxChardev } from './mux.ts';
import { RingbufChardev } from './simple.ts';
import { WebStreamChardev } from './web.ts';

const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A front end that takes `room` bytes and no more. */
class Front implements CharFrontend {
  room = 0;
  got = '';
  events: CharEvent[] = [];
  drains = 0;
  canReceive(): number {
    return this.room;
  }
  receive(data: Uint8Array): void {
    expect(data.length).toBeLessThanOrEqual(this.room);
    this.room -= data.length;
    this.got += text(data);
  }
  event(event: CharEvent): void {
    this.events.push(event);
  }
  writable(): void {
    this.drains++;
  }
}

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
    const front = new Front();
    chardev.attach(front);
    expect(chardev.flowing).toBe(true);
    front.room = 3;
    chardev.type_('abcdefgh');
    expect(front.got).toBe('abc');
    expect(chardev.flowing).toBe(false);
    front.room = 2;
    chardev.acceptInput();
    expect(front.got).toBe('abcde');
    front.room = 10;
    chardev.acceptInput();
    expect(front.got).toBe('abcdefgh');
    expect(chardev.flowing).toBe(true);
  });

  it("tells the front end of a peer's end after its last bytes", () => {
    const chardev = new TestChardev('c');
    const front = new Front();
    chardev.attach(front);
    chardev.peer(true);
    chardev.type_('bye');
    chardev.peer(false);
    expect(front.events).toEqual(['opened']);
    front.room = 3;
    chardev.acceptInput();
    expect(front.got).toBe('bye');
    expect(front.events).toEqual(['opened', 'closed']);
    expect(chardev.open).toBe(false);
  });

  it('reads nothing while no front end is there, and allows one at a time', () => {
    const chardev = new TestChardev('c');
    const detach = chardev.attach(new Front());
    expect(() => chardev.attach(new Front())).toThrow("chardev 'c' is already in use");
    detach();
    expect(chardev.flowing).toBe(false);
    chardev.attach(new Front());
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
  const setUp = (): { base: TestChardev; mux: MuxChardev; a: Front; b: Front } => {
    const base = new TestChardev('c');
    base.peer(true);
    const mux = new MuxChardev('c', base);
    const a = new Front();
    const b = new Front();
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
    expect(a.got).toBe('onethree');
    expect(b.got).toBe('two');
    expect(a.events).toEqual(['opened', 'mux-in', 'mux-out', 'mux-in']);
    expect(b.events).toEqual(['opened', 'mux-in', 'mux-out', 'mux-in', 'mux-out']);
  });

  it('sends C-a when it is typed twice, breaks, and swallows unknown commands', () => {
    const { base, a } = setUp();
    base.type_('x\x01\x01y\x01zq\x01b');
    expect(a.got).toBe('x\x01yq');
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
    expect(a.got).toBe('');
    expect(base.out).toContain('terminated');
  });

  it('loses nothing that was typed ahead', () => {
    const { base, a } = setUp();
    a.room = 2;
    base.type_('ls -l\r');
    expect(a.got).toBe('ls');
    const detachable = new Front();
    expect(detachable.got).toBe('');
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
  });
});

describe('web streams', () => {
  it('makes the guest wait for a reader, and a writer for the guest', async () => {
    const chardev = new WebStreamChardev('w');
    const front = new Front();
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
    expect(front.got).toBe('input');
    await writer.close();
    expect(front.events).toEqual(['opened', 'closed']);
    await chardev.close();
    expect((await reader.read()).done).toBe(true);
  });
});

describe('createChardev', () => {
  const host = {} as CharHost;
  const make = (type: string, options = {}): Promise<unknown> =>
    createChardev(type, { id: 'foo', ...options }, host);

  it("refuses in QEMU's words", async () => {
    await expect(make('bogus')).rejects.toThrow("'bogus' is not a valid char driver name");
    await expect(make('spicevmc')).rejects.toThrow("char driver 'spicevmc' is not supported");
    await expect(make('file')).rejects.toThrow('chardev: file: no filename given');
    await expect(make('pipe')).rejects.toThrow('chardev: pipe: no device path given');
    await expect(make('socket', { host: 'a' })).rejects.toThrow('chardev: socket: no port given');
    await expect(make('socket', { path: 'a', wait: true })).rejects.toThrow(
      "'wait' option is incompatible with socket in client connect mode",
    );
    await expect(make('socket', { path: 'a', server: true, reconnect: 1 })).rejects.toThrow(
      "'reconnect' option is incompatible with socket in server listen mode",
    );
    await expect(make('socket', { path: 'a', telnet: true })).rejects.toThrow('telnet is not supported yet');
    await expect(make('constructor')).rejects.toThrow('not a valid char driver name');
  });

  it('makes a mux of what shall be one', async () => {
    expect(await make('null', { mux: true })).toBeInstanceOf(MuxChardev);
  });

  it('declares no property twice', () => {
    for (const type of Object.values(CHARDEV_TYPES)) {
      const names = type.properties.map((property) => property.name);
      expect(new Set(names).size).toBe(names.length);
    }
  });
});
