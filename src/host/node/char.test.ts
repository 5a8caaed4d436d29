import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Chardev } from '../../chardev/chardev.ts';
import { createChardev, ptyNote } from '../../chardev/create.ts';
import { FakeFront, until } from '../../chardev/fake-front.ts';
import type { CharHost } from '../../chardev/host.ts';
import { libc } from '../linux/libc.ts';
import { nodeCharHost } from './char.ts';

let folder = '';
const messages: string[] = [];
const host: CharHost = {
  ...nodeCharHost((message) => messages.push(message)),
  inform: (m) => messages.push(m),
};
const nothing = (): never => {
  throw new Error('not here');
};
const make = (type: string, options: Record<string, string | number | boolean>): Promise<Chardev> =>
  createChardev(type, { id: 'c', ...options }, { host, tls: nothing, claim: nothing });

const connect = (where: string | number): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = typeof where === 'string' ? net.connect(where) : net.connect(where, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paravane-test-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe('socket', () => {
  it('fails as QEMU does when the server is not there', async () => {
    const missing = path.join(folder, 'foo');
    await expect(make('socket', { path: missing })).rejects.toThrow(
      `Failed to connect to '${missing}': No such file or directory`,
    );
    await expect(make('socket', { host: '127.0.0.1', port: '1' })).rejects.toThrow(
      "Failed to connect to '127.0.0.1:1': Connection refused",
    );
    const nowhere = path.join(folder, 'no/where');
    await expect(make('socket', { path: nowhere, server: true })).rejects.toThrow(
      `Failed to bind socket to ${nowhere}: No such file or directory`,
    );
  });

  it('serves clients one after the other; the front end hears of each', async () => {
    const name = path.join(folder, 'one');
    const chardev = await make('socket', { path: name, server: true, wait: false });
    const front = new FakeFront();
    chardev.attach(front);
    expect(chardev.open).toBe(false);
    expect(chardev.describe()).toBe(`disconnected:unix:${name},server=on`);
    expect(chardev.write(Buffer.from('into the void'))).toBe(13);
    const first = await connect(name);
    await until(() => chardev.open);
    expect(chardev.describe()).toBe(`unix:${name},server=on`);
    const second = await connect(name);
    second.write('two');
    first.write('one');
    await until(() => front.text === 'one');
    let answer = '';
    first.on('data', (data) => (answer += data));
    chardev.write(Buffer.from('hello'));
    await until(() => answer === 'hello');
    first.end();
    await until(() => front.text === 'onetwo');
    expect(front.events).toEqual(['opened', 'closed', 'opened']);
    second.destroy();
    await until(() => !chardev.open);
    await chardev.close();
    expect(fs.existsSync(name)).toBe(false);
  });

  it('waits for the first client when told to', async () => {
    const name = path.join(folder, 'wait');
    messages.length = 0;
    let done = false;
    const making = make('socket', { path: name, server: true }).then((chardev) => {
      done = true;
      return chardev;
    });
    await until(() => messages.length > 0);
    expect(messages[0]).toBe(`info: Paravane waiting for connection on: disconnected:unix:${name},server=on`);
    expect(done).toBe(false);
    const client = await connect(name);
    const chardev = await making;
    expect(chardev.open).toBe(true);
    client.destroy();
    await chardev.close();
  });

  it('carries 8 MB each way with slow readers at both ends, and loses nothing', async () => {
    const chardev = await make('socket', { host: '127.0.0.1', port: '0', server: true, wait: false });
    const front = new FakeFront();
    front.room = 0;
    chardev.attach(front);
    const port = Number(/:(\d+),server/.exec(chardev.describe())![1]);
    const client = await connect(port);
    await until(() => chardev.open);
    const size = 8 << 20;
    const data = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 11)) & 0xff));
    // To the guest: it takes 100000 bytes now and then.
    client.write(data);
    const take = setInterval(() => {
      front.room = 100000;
      chardev.acceptInput();
    }, 1);
    // From the guest: as much as goes, then when there is room.
    let sent = 0;
    let short = 0;
    const push = (): void => {
      while (sent < size) {
        const count = chardev.write(data.subarray(sent, sent + 50000));
        sent += count;
        if (count < Math.min(50000, size - sent + count)) {
          short++;
          return;
        }
      }
    };
    front.onWritable = push;
    const echoed: Buffer[] = [];
    let count = 0;
    push();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(sent).toBeLessThan(size);
    client.on('data', (chunk) => {
      echoed.push(chunk);
      count += chunk.length;
    });
    await until(() => count === size && front.chunks.reduce((sum, chunk) => sum + chunk.length, 0) === size);
    clearInterval(take);
    expect(short).toBeGreaterThan(0);
    expect(Buffer.compare(Buffer.concat(echoed), data)).toBe(0);
    expect(Buffer.compare(Buffer.concat(front.chunks), data)).toBe(0);
    client.destroy();
    await chardev.close();
  }, 20000);

  it('as client connects again when told to', async () => {
    const name = path.join(folder, 'again');
    const chardev = await make('socket', { path: name, reconnect: 1 });
    const front = new FakeFront();
    chardev.attach(front);
    const server = net.createServer((socket) => socket.end('hi')).listen(name);
    await until(() => front.text === 'hi');
    expect(front.events.slice(0, 2)).toEqual(['opened', 'closed']);
    await chardev.close();
    server.close();
  });

  it('gives a client that left its bytes unread a second, then serves the next', async () => {
    const name = path.join(folder, 'patience');
    const chardev = await make('socket', { path: name, server: true, wait: false });
    const front = new FakeFront();
    front.room = 0;
    chardev.attach(front);
    (await connect(name)).end('stale');
    const next = await connect(name);
    next.write('fresh');
    await new Promise((resolve) => setTimeout(resolve, 1300));
    front.room = 100;
    chardev.acceptInput();
    await until(() => front.text === 'fresh');
    next.destroy();
    await chardev.close();
  });
});

describe('files and pipes', () => {
  it('write, append and log', async () => {
    const name = path.join(folder, 'out');
    for (const append of [false, true, true]) {
      const chardev = await make('file', { path: name, append, logfile: `${name}.log`, logappend: append });
      expect(chardev.write(Buffer.from('line\n'))).toBe(5);
      await chardev.close();
    }
    expect(fs.readFileSync(name, 'utf8')).toBe('line\nline\nline\n');
    expect(fs.readFileSync(`${name}.log`, 'utf8')).toBe('line\nline\nline\n');
    await (await make('file', { path: name })).close();
    expect(fs.readFileSync(name, 'utf8')).toBe('');
    const bad = path.join(folder, 'no/file');
    await expect(make('file', { path: bad })).rejects.toThrow(
      `Could not open '${bad}': No such file or directory`,
    );
  });

  it.skipIf(!fs.existsSync('/dev/full'))('say once that the disk is full', async () => {
    const chardev = await make('file', { path: '/dev/full' });
    messages.length = 0;
    chardev.write(Buffer.from('x'));
    chardev.write(Buffer.from('x'));
    expect(messages.length).toBe(1);
    expect(messages[0]).toContain('ENOSPC');
    await chardev.close();
  });

  it('pipes go both ways', async () => {
    const name = path.join(folder, 'fifo');
    execFileSync('mkfifo', [`${name}.in`, `${name}.out`]);
    const chardev = await make('pipe', { path: name });
    const front = new FakeFront();
    chardev.attach(front);
    const cat = spawn('sh', ['-c', `echo to-guest > ${name}.in; head -c 5 ${name}.out`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    cat.stdout.on('data', (data: Buffer) => (out += data));
    chardev.write(Buffer.from('hello'));
    await until(() => out === 'hello' && front.text === 'to-guest\n');
    await chardev.close();
    await expect(make('pipe', { path: path.join(folder, 'none') })).rejects.toThrow('Could not open');
  });
});

describe.skipIf(libc() === undefined || !fs.existsSync('/dev/ptmx'))('pty', () => {
  it('has a name that programs can open', async () => {
    messages.length = 0;
    const chardev = await make('pty', {});
    const front = new FakeFront();
    chardev.attach(front);
    const name = /^char device redirected to (\/dev\/pts\/\d+) \(label c\)$/.exec(ptyNote(chardev)!)![1]!;
    expect(chardev.describe()).toBe(`pty:${name}`);
    expect(chardev.write(Buffer.alloc(100000))).toBe(100000);
    const fd = fs.openSync(name, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
    fs.writeSync(fd, 'typed\r\x03');
    await until(() => front.text === 'typed\r\x03');
    chardev.write(Buffer.from('shown\n'));
    const buffer = Buffer.alloc(100);
    let count = 0;
    await until(() => {
      try {
        count = fs.readSync(fd, buffer);
      } catch {
        return false;
      }
      return count > 0;
    });
    expect(buffer.subarray(0, count).toString()).toBe('shown\n');
    fs.closeSync(fd);
    await chardev.close();
  });
});
