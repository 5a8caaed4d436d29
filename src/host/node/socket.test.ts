import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { Chardev } from '../../chardev/chardev.ts';
import { createChardev } from '../../chardev/create.ts';
import { FakeFront, until } from '../../chardev/fake-front.ts';
import type { CharHost, HostTls, TlsConfig } from '../../chardev/host.ts';
import type { PropertyValue } from '../../qapi/property.ts';
import { nodeCharHost } from './char.ts';
import { haveOpenssl, makeCertificates } from './test-certificates.ts';

// Real sockets and terminals on a machine that may be busy.
vi.setConfig({ testTimeout: 30_000 });

let folder = '';
const messages: string[] = [];
const host: CharHost = nodeCharHost((message) => messages.push(message));
let credentials: HostTls | undefined;
const make = (type: string, options: Record<string, PropertyValue>): Promise<Chardev> =>
  createChardev(
    type,
    { id: 'c', ...options },
    {
      host,
      tls: () => credentials!,
      claim: () => {
        throw new Error('not here');
      },
    },
  );

const connect = (where: string | number): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = typeof where === 'string' ? net.connect(where) : net.connect(where, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });

/** A server on some port, with a front end. */
async function serve(options: Record<string, PropertyValue> = {}) {
  const chardev = await make('socket', {
    host: '127.0.0.1',
    port: '0',
    server: true,
    wait: false,
    ...options,
  });
  const front = new FakeFront();
  chardev.attach(front);
  return { chardev, front, port: Number(/:(\d+),server/.exec(chardev.describe())![1]) };
}

/** What comes out of a stream. */
function collect(stream: { on(event: 'data', call: (data: Buffer) => void): unknown }): () => Buffer {
  const chunks: Buffer[] = [];
  stream.on('data', (data) => chunks.push(data));
  return () => Buffer.concat(chunks);
}

/** Sends all of `data` as fast as it is taken. */
function pour(chardev: Chardev, front: FakeFront, data: Uint8Array): { readonly done: () => boolean } {
  let sent = 0;
  const push = (): void => {
    while (sent < data.length) {
      const count = chardev.write(data.subarray(sent, sent + 30000));
      if (count === 0) return;
      sent += count;
    }
  };
  front.onWritable = push;
  push();
  return { done: () => sent === data.length };
}

const pattern = (size: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 9)) & 0xff));

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paravane-socket-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe('addresses', () => {
  it('listen at the first free port of a range', async () => {
    const first = await serve();
    const second = await serve({ port: String(first.port), to: first.port + 20 });
    expect(second.port).toBeGreaterThan(first.port);
    await expect(serve({ port: String(first.port) })).rejects.toThrow(
      'Failed to find an available port: Address already in use',
    );
    await first.chardev.close();
    await second.chardev.close();
  });

  it('are of the family that was asked for', async () => {
    await expect(make('socket', { host: 'localhost', port: '1', ipv4: false, ipv6: false })).rejects.toThrow(
      'Cannot disable IPv4 and IPv6 at same time',
    );
    const four = await serve({ host: 'localhost', ipv4: true });
    expect(four.chardev.describe()).toMatch(/^disconnected:tcp:127\./);
    await four.chardev.close();
    await expect(serve({ host: '127.0.0.1', ipv6: true })).rejects.toThrow('address resolution failed');
    await expect(make('socket', { host: '', port: '1' })).rejects.toThrow('host and/or port not specified');
  });

  it.runIf(process.platform === 'linux')('are abstract names, tight or filled up', async () => {
    for (const tight of [true, false]) {
      const name = `paravane-${process.pid}-${tight}`;
      const chardev = await make('socket', { path: name, abstract: true, tight, server: true, wait: false });
      expect(chardev.describe()).toBe(
        `disconnected:unix:${name},abstract=on${tight ? ',tight=on' : ''},server=on`,
      );
      const front = new FakeFront();
      chardev.attach(front);
      const client = await make('socket', { path: name, abstract: true, tight });
      client.attach(new FakeFront());
      client.write(Buffer.from('hello'));
      await until(() => front.text === 'hello');
      const table = fs.readFileSync('/proc/net/unix', 'utf8');
      const shown = table.split('\n').find((line) => line.includes(`@${name}`))!;
      expect(shown.endsWith(`@${name}`)).toBe(tight);
      await client.close();
      await chardev.close();
    }
  });
});

describe('a client that connects again', () => {
  it('says once that nobody is there', async () => {
    messages.length = 0;
    const name = path.join(folder, 'later');
    const chardev = await make('socket', { path: name, reconnect: 1 });
    expect(chardev.describe()).toBe(`disconnected:unix:${name}`);
    await new Promise((resolve) => setTimeout(resolve, 1300));
    expect(messages).toEqual([
      `Unable to connect character device c: Failed to connect to '${name}': No such file or directory`,
    ]);
    await chardev.close();
  });
});

describe('a peer that stops reading', () => {
  it('makes the writer wait after a bounded number of bytes', async () => {
    const { chardev, front, port } = await serve();
    const client = await connect(port);
    client.pause();
    await until(() => chardev.open);
    const sending = pour(chardev, front, Buffer.alloc(64 << 20));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(sending.done()).toBe(false);
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(200 << 20);
    client.destroy();
    // Nobody is there any more: the rest is dropped, and the writer goes on.
    await until(() => sending.done());
    await chardev.close();
  });
});

describe('telnet', () => {
  it('negotiates, passes all bytes, and hears a break', async () => {
    const { chardev, front, port } = await serve({ telnet: true });
    const client = await connect(port);
    const got = collect(client);
    await until(() => got().length === 12);
    expect(got().toString('hex')).toBe('fffb01fffb03fffb00fffd00');
    client.write(Buffer.from([0xff, 0xfb, 0, 0xff, 0xfd, 1, 0x68, 0x69, 0xff, 0xff, 0xff, 0xf3]));
    await until(() => front.events.includes('break'));
    expect([...front.bytes]).toEqual([0x68, 0x69, 0xff]);
    chardev.write(Buffer.from([0x6f, 0xff, 0x6b]));
    await until(() => got().length === 16);
    expect(got().subarray(12).toString('hex')).toBe('6fffff6b');
    expect(chardev.describe()).toMatch(/^telnet:127\.0\.0\.1:\d+,server=on <-> 127\.0\.0\.1:\d+$/);
    client.destroy();
    await chardev.close();
  });

  it('carries 2 MB each way between two of ours', async () => {
    const { chardev, front, port } = await serve({ telnet: true });
    const other = await make('socket', { host: '127.0.0.1', port: String(port), telnet: true });
    const otherFront = new FakeFront();
    other.attach(otherFront);
    await until(() => chardev.open);
    const data = pattern(2 << 20);
    pour(chardev, front, data);
    pour(other, otherFront, data);
    await until(() => front.bytes.length === data.length && otherFront.bytes.length === data.length);
    expect(front.bytes.equals(data) && otherFront.bytes.equals(data)).toBe(true);
    await other.close();
    await chardev.close();
  }, 20_000);
});

describe('WebSocket', () => {
  const open = (port: number, protocols?: string[]): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const ws = new WebSocket(`ws://127.0.0.1:${port}/any/path`, protocols);
      ws.once('open', () => resolve(ws));
      ws.once('error', reject);
    });

  it('serves clients one after the other, in binary messages', async () => {
    const { chardev, front, port } = await serve({ websocket: true });
    expect(chardev.describe()).toBe(`disconnected:websocket:127.0.0.1:${port},server=on`);
    const ws = await open(port, ['binary']);
    expect(ws.protocol).toBe('binary');
    let got = '';
    ws.on('message', (data: Buffer, binary) => (got += `${binary}:${data.toString()};`));
    await until(() => chardev.open);
    ws.send(Buffer.from('typed'));
    await until(() => front.text === 'typed');
    chardev.write(Buffer.from('shown'));
    await until(() => got === 'true:shown;');
    expect(chardev.describe()).toMatch(/^websocket:127\.0\.0\.1:\d+,server=on <-> 127\.0\.0\.1:\d+$/);
    ws.close();
    await until(() => !chardev.open);
    const next = await open(port);
    await until(() => chardev.open);
    expect(front.events).toEqual(['opened', 'closed', 'opened']);
    next.terminate();
    await chardev.close();
  });

  it('turns away what is no WebSocket client, and other subprotocols', async () => {
    const { chardev, front, port } = await serve({ websocket: true });
    const plain = await connect(port);
    const got = collect(plain);
    plain.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => got().toString().startsWith('HTTP/1.1 426'));
    await expect(open(port, ['chat'])).rejects.toThrow('400');
    const junk = await connect(port);
    junk.on('error', () => {});
    junk.write('\x00\x01junk\r\n\r\n');
    await until(() => junk.destroyed || junk.readableEnded);
    expect(front.events).toEqual([]);
    // And serves the next all the same.
    const ws = await open(port);
    await until(() => chardev.open);
    ws.terminate();
    plain.destroy();
    await chardev.close();
  });

  it('makes the writer wait for a client that does not read, and the client for the guest', async () => {
    const { chardev, front, port } = await serve({ websocket: true });
    const ws = await open(port);
    ws.pause();
    await until(() => chardev.open);
    const data = pattern(16 << 20);
    const sending = pour(chardev, front, data);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(sending.done()).toBe(false);
    const chunks: Buffer[] = [];
    let count = 0;
    ws.on('message', (chunk: Buffer) => {
      chunks.push(chunk);
      count += chunk.length;
    });
    ws.resume();
    await until(() => count === data.length);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    front.room = 0;
    for (let i = 0; i < 256; i++) ws.send(data.subarray(i << 16, (i + 1) << 16));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(ws.bufferedAmount).toBeGreaterThan(0);
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    await until(() => front.length === data.length);
    expect(front.bytes.equals(data)).toBe(true);
    ws.terminate();
    await chardev.close();
  }, 30_000);

  it('passes on a message of 45 MB as it comes, at the pace of the guest', async () => {
    const { chardev, front, port } = await serve({ websocket: true });
    const ws = await open(port);
    await until(() => chardev.open);
    const data = pattern(45 << 20);
    front.room = 0;
    const before = process.memoryUsage().arrayBuffers;
    ws.send(data);
    await new Promise((resolve) => setTimeout(resolve, 150));
    // The client's masked copy is in this process, too.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(data.length + (8 << 20));
    expect(ws.bufferedAmount).toBeGreaterThan(data.length / 2);
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    await until(() => front.length === data.length);
    expect(front.bytes.equals(data)).toBe(true);
    expect(chardev.open).toBe(true);
    ws.terminate();
    await chardev.close();
  }, 120_000);
});

const config = (dir: string, endpoint: 'client' | 'server', more: Partial<TlsConfig> = {}): TlsConfig => ({
  type: 'tls-creds-x509',
  dir,
  endpoint,
  verifyPeer: true,
  username: 'qemu',
  ...more,
});

async function exchange(server: TlsConfig, client: TlsConfig, layers: Record<string, PropertyValue> = {}) {
  credentials = host.openTls(server);
  const { chardev, front, port } = await serve({ 'tls-creds': 't', ...layers });
  credentials = host.openTls(client);
  const other = await make('socket', { host: '127.0.0.1', port: String(port), 'tls-creds': 't', ...layers });
  const otherFront = new FakeFront();
  other.attach(otherFront);
  await until(() => chardev.open);
  const data = pattern(1 << 20);
  pour(chardev, front, data);
  pour(other, otherFront, data);
  await until(() => front.bytes.length === data.length && otherFront.bytes.length === data.length);
  expect(front.bytes.equals(data) && otherFront.bytes.equals(data)).toBe(true);
  await other.close();
  await until(() => !chardev.open);
  await chardev.close();
}

describe.runIf(haveOpenssl())('TLS with certificates (needs openssl)', () => {
  let dir = '';
  let strange = '';
  beforeAll(() => {
    dir = path.join(folder, 'pki');
    strange = path.join(folder, 'other-pki');
    makeCertificates(dir);
    makeCertificates(strange);
  });

  it('carries 1 MB each way, telnet inside too', async () => {
    await exchange(config(dir, 'server'), config(dir, 'client'));
    await exchange(config(dir, 'server'), config(dir, 'client'), { telnet: true });
  }, 30_000);

  it('refuses who cannot prove who it is, unless told otherwise', async () => {
    credentials = host.openTls(config(dir, 'server'));
    const { chardev, front, port } = await serve({ 'tls-creds': 't' });
    const to = { host: '127.0.0.1', port: String(port), 'tls-creds': 't' };
    // The client does not trust the server.
    credentials = host.openTls(config(strange, 'client'));
    await expect(make('socket', to)).rejects.toThrow('TLS handshake failed: ');
    // The server does not trust the client, which did not look.
    credentials = host.openTls(config(strange, 'client', { verifyPeer: false }));
    const distrusted = await make('socket', to).catch(() => undefined);
    // In the open.
    const plain = await connect(port);
    plain.write('hello\r\n\r\n');
    await until(() => plain.destroyed || plain.readableEnded);
    expect(front.events).toEqual([]);
    await distrusted?.close();
    await chardev.close();
    await exchange(
      config(dir, 'server', { verifyPeer: false }),
      config(strange, 'client', { verifyPeer: false }),
    );
  }, 30_000);

  it('serves WebSocket clients over it', async () => {
    credentials = host.openTls(config(dir, 'server', { verifyPeer: false }));
    const { chardev, front, port } = await serve({ 'tls-creds': 't', websocket: true });
    const ws = new WebSocket(`wss://localhost:${port}/`, {
      ca: fs.readFileSync(path.join(dir, 'ca-cert.pem')),
    });
    await new Promise((resolve) => ws.once('open', resolve));
    ws.send('over TLS');
    await until(() => front.text === 'over TLS');
    ws.terminate();
    await chardev.close();
  });

  it('names the file that is missing, and what is not supported', () => {
    expect(() => host.openTls(config(folder, 'server'))).toThrow(
      `Unable to access credentials ${folder}/ca-cert.pem: No such file or directory`,
    );
    expect(() => host.openTls(config(dir, 'server', { priority: 'SECURE256' }))).toThrow(
      "priority 'SECURE256'",
    );
    fs.writeFileSync(path.join(strange, 'server-key.pem'), 'nonsense');
    expect(() => host.openTls(config(strange, 'server'))).toThrow(
      `Unable to load credentials of ${strange}: `,
    );
  });

  it('gives a client that never finishes its handshake no place for long', async () => {
    credentials = host.openTls(config(dir, 'server'));
    const { chardev, port } = await serve({ 'tls-creds': 't' });
    const idle = await Promise.all(Array.from({ length: 16 }, () => connect(port)));
    const late = await connect(port);
    late.on('error', () => {});
    await until(() => late.destroyed || late.readableEnded || late.closed);
    for (const socket of idle) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    credentials = host.openTls(config(dir, 'client'));
    const client = await make('socket', { host: '127.0.0.1', port: String(port), 'tls-creds': 't' });
    await until(() => chardev.open);
    await client.close();
    await chardev.close();
  });
});

describe('TLS with pre-shared keys', () => {
  const psk = (dir: string, endpoint: 'client' | 'server', username = 'qemu'): TlsConfig =>
    config(dir, endpoint, { type: 'tls-creds-psk', username });

  it('carries 1 MB each way for who has the key', async () => {
    const dir = path.join(folder, 'psk');
    const wrong = path.join(folder, 'wrong-psk');
    for (const one of [dir, wrong]) fs.mkdirSync(one);
    fs.writeFileSync(
      path.join(dir, 'keys.psk'),
      '# users\nqemu:00112233445566778899aabbccddeeff\nann:0102\n',
    );
    fs.writeFileSync(path.join(wrong, 'keys.psk'), 'qemu:ffeeddccbbaa99887766554433221100\n');
    await exchange(psk(dir, 'server'), psk(dir, 'client'));
    await exchange(psk(dir, 'server'), psk(dir, 'client', 'ann'));
    credentials = host.openTls(psk(dir, 'server'));
    const { chardev, port } = await serve({ 'tls-creds': 't' });
    credentials = host.openTls(psk(wrong, 'client'));
    await expect(make('socket', { host: '127.0.0.1', port: String(port), 'tls-creds': 't' })).rejects.toThrow(
      'TLS handshake failed',
    );
    await chardev.close();
    expect(() => host.openTls(psk(dir, 'client', 'bob'))).toThrow('No PSK found for bob');
  }, 30_000);
});

describe('UDP', () => {
  it('sends each write as a datagram, and reads what comes', async () => {
    const peer = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => peer.bind(0, '127.0.0.1', resolve));
    const got: string[] = [];
    let from = 0;
    peer.on('message', (data, info) => {
      got.push(data.toString());
      from = info.port;
    });
    const chardev = await make('udp', { host: '127.0.0.1', port: String(peer.address().port) });
    const front = new FakeFront();
    chardev.attach(front);
    expect([chardev.open, chardev.describe()]).toEqual([true, 'udp']);
    chardev.write(Buffer.from('one'));
    chardev.write(Buffer.from('two'));
    await until(() => got.length === 2);
    expect(got).toEqual(['one', 'two']);
    peer.send('three', from, '127.0.0.1');
    peer.send('four', from, '127.0.0.1');
    await until(() => front.text === 'threefour');
    // While the guest takes nothing, datagrams wait up to a bound and no further.
    front.room = 5;
    for (let i = 0; i < 100; i++) peer.send(Buffer.alloc(8192, 0x78), from, '127.0.0.1');
    await new Promise((resolve) => setTimeout(resolve, 200));
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    expect(front.bytes.length).toBeGreaterThan(8192);
    expect(front.bytes.length).toBeLessThanOrEqual(9 + 5 + 2 * 262_144);
    await chardev.close();
    peer.close();
  });

  it('is bound where it is told, and says why it cannot be', async () => {
    const taken = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => taken.bind(0, '127.0.0.1', resolve));
    const { port } = taken.address();
    await expect(
      make('udp', { host: '127.0.0.1', port: '9', localaddr: '127.0.0.1', localport: String(port) }),
    ).rejects.toThrow('Failed to bind socket: Address already in use');
    taken.close();
    await expect(make('udp', { host: 'x.invalid', port: '9' })).rejects.toThrow(
      'address resolution failed for x.invalid:9: Name or service not known',
    );
  });
});
