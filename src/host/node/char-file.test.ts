import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Chardev } from '../../chardev/chardev.ts';
import { createChardev } from '../../chardev/create.ts';
import { FakeFront, until } from '../../chardev/fake-front.ts';
import type { PropertyValue } from '../../qapi/property.ts';
import { libc } from '../linux/libc.ts';
import { openPty } from '../linux/pty.ts';
import { nodeCharHost } from './char.ts';

// Real sockets and terminals on a machine that may be busy.
vi.setConfig({ testTimeout: 30_000 });

let folder = '';
const host = nodeCharHost(() => {});
const nothing = (): never => {
  throw new Error('not here');
};
const make = (type: string, options: Record<string, PropertyValue>): Promise<Chardev> =>
  createChardev(type, { id: 'c', ...options }, { host, tls: nothing, claim: nothing });

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paravane-file-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe('file', () => {
  it('reads from another file as fast as the guest takes it, and tells of its end', async () => {
    const input = path.join(folder, 'in');
    const output = path.join(folder, 'out');
    const content = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) & 0xff));
    fs.writeFileSync(input, content);
    const chardev = await make('file', { path: output, 'input-path': input });
    const front = new FakeFront();
    front.room = 1000;
    chardev.attach(front);
    await until(() => front.bytes.length === 1000);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([front.bytes.length, chardev.open]).toEqual([1000, true]);
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    await until(() => front.events.includes('closed'));
    expect(front.bytes.equals(content)).toBe(true);
    expect(front.events).toEqual(['opened', 'closed']);
    // Output goes on.
    expect(chardev.write(Buffer.from('answer'))).toBe(6);
    await chardev.close();
    expect(fs.readFileSync(output, 'utf8')).toBe('answer');
    await expect(make('file', { path: output, 'input-path': '/nope' })).rejects.toThrow(
      "Could not open '/nope': No such file or directory",
    );
  });

  it('that is a FIFO makes the guest wait for its reader, and stops nobody else', async () => {
    const name = path.join(folder, 'fifo');
    execFileSync('mkfifo', [name]);
    const chardev = await make('file', { path: name });
    const front = new FakeFront();
    chardev.attach(front);
    let sent = 0;
    for (let count = 1; count > 0 && sent < 4 << 20; sent += count)
      count = chardev.write(Buffer.alloc(50_000));
    expect(sent).toBeLessThan(1 << 20);
    const reader = new net.Socket({ fd: fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK) });
    let read = 0;
    reader.on('data', (data) => (read += data.length));
    await until(() => read === sent && front.drains > 0);
    reader.destroy();
    await chardev.close();
  });
});

describe('serial', () => {
  it('takes any character device', async () => {
    const chardev = await make('serial', { path: '/dev/null' });
    chardev.attach(new FakeFront());
    expect([chardev.write(Buffer.from('x')), chardev.describe()]).toEqual([1, 'serial']);
    await chardev.close();
    const file = path.join(folder, 'plain');
    fs.writeFileSync(file, '');
    await expect(make('serial', { path: file })).rejects.toThrow(`Could not open '${file}': not a device`);
    await expect(make('serial', { path: '/dev/nope' })).rejects.toThrow(
      "Could not open '/dev/nope': No such file or directory",
    );
  });
});

describe.skipIf(libc() === undefined || !fs.existsSync('/dev/ptmx'))('terminals', () => {
  it('serial carries bytes as they are, both ways', async () => {
    const far = openPty();
    const got: number[] = [];
    far.stream.onData = (data) => got.push(...data);
    far.stream.resume();
    const chardev = await make('tty', { path: far.name });
    const front = new FakeFront();
    chardev.attach(front);
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    chardev.write(all);
    await until(() => got.length === 256);
    expect(got).toEqual([...all]);
    far.stream.write(all);
    await until(() => front.bytes.length === 256);
    expect([...front.bytes]).toEqual([...all]);
    await chardev.close();
    await far.stream.close();
  });

  it('a pty is open while someone has it open, and drops what is written meanwhile', async () => {
    const link = path.join(folder, 'link');
    const chardev = await make('pty', { path: link });
    const front = new FakeFront();
    chardev.attach(front);
    expect([chardev.open, front.events]).toEqual([false, []]);
    expect(chardev.write(Buffer.alloc(100_000))).toBe(100_000);
    expect(`pty:${fs.readlinkSync(link)}`).toBe(chardev.describe());
    for (let round = 1; round <= 2; round++) {
      const fd = fs.openSync(link, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
      await until(() => chardev.open);
      fs.writeSync(fd, 'hi');
      await until(() => front.bytes.toString() === 'hi'.repeat(round));
      fs.closeSync(fd);
      await until(() => !chardev.open);
    }
    expect(front.events).toEqual(['opened', 'closed', 'opened', 'closed']);
    await chardev.close();
    expect(fs.existsSync(link)).toBe(false);
    await expect(make('pty', { path: '/nope/link' })).rejects.toThrow(
      "Failed to create PTY symlink '/nope/link': No such file or directory",
    );
  });

  it('a pty whose reader stops makes the guest wait, and a guest that does not read its writer', async () => {
    const chardev = await make('pty', {});
    const front = new FakeFront();
    front.room = 0;
    chardev.attach(front);
    const name = chardev.describe().slice(4);
    const fd = fs.openSync(name, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
    await until(() => chardev.open);
    let sent = 0;
    for (let count = 1; count > 0 && sent < 4 << 20; sent += count)
      count = chardev.write(Buffer.alloc(50_000));
    expect(sent).toBeLessThan(1 << 20);
    let written = 0;
    // The kernel says when its buffer is full: that is where the writer waits.
    const fill = (): boolean => {
      try {
        written += fs.writeSync(fd, Buffer.alloc(1000));
        return false;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'EAGAIN';
      }
    };
    for (let quiet = 0; quiet < 20; quiet++) {
      while (!fill()) if (written > 4 << 20) throw new Error('nobody waits');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(written).toBeLessThan(1 << 20);
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    await until(() => front.bytes.length === written);
    const buffer = Buffer.alloc(65536);
    let read = 0;
    await until(() => {
      try {
        for (;;) read += fs.readSync(fd, buffer);
      } catch {
        return read === sent;
      }
    });
    expect(front.drains).toBeGreaterThan(0);
    fs.closeSync(fd);
    await chardev.close();
  });
});
