import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { Chardev } from '../../chardev/chardev.ts';
import { createChardev } from '../../chardev/create.ts';
import { FakeFront, until } from '../../chardev/fake-front.ts';
import type { CharHost, HostStream } from '../../chardev/host.ts';
import type { PropertyValue } from '../../qapi/property.ts';
import { browserCharHost } from './char.ts';
import type { PortLike } from './port-stream.ts';
import { PortStream } from './port-stream.ts';
import type { SocketLike } from './web-socket-stream.ts';

// Real sockets and terminals on a machine that may be busy.
vi.setConfig({ testTimeout: 30_000 });

const nothing = (): never => {
  throw new Error('not here');
};
const make = (host: CharHost, type: string, options: Record<string, PropertyValue>): Promise<Chardev> =>
  createChardev(type, { id: 'c', ...options }, { host, tls: nothing, claim: nothing });

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Writes until nothing more is taken; how much that was. */
function fill(stream: { write(data: Uint8Array): number }, limit = 64 << 20): number {
  let sent = 0;
  for (let count = 1; count > 0 && sent < limit; sent += count) count = stream.write(new Uint8Array(10_000));
  return sent;
}

describe('a MessagePort', () => {
  const setUp = async () => {
    const { port1, port2 } = new MessageChannel();
    const host = browserCharHost({ ports: new Map([['tty', port1 as unknown as PortLike]]) });
    const chardev = await make(host, 'pipe', { path: 'tty' });
    const front = new FakeFront();
    chardev.attach(front);
    const page: HostStream = new PortStream(port2 as unknown as PortLike);
    let length = 0;
    let text = '';
    page.onData = (data) => {
      length += data.length;
      if (length < 100) text += Buffer.from(data).toString();
    };
    let closed = false;
    page.onClose = () => (closed = true);
    return { host, chardev, front, page, port2, got: () => ({ length, text, closed }) };
  };

  it('is a chardev by its name', async () => {
    const { host, chardev, front, page, got } = await setUp();
    page.resume();
    chardev.write(Buffer.from('login: '));
    page.write(Buffer.from('root\r'));
    await until(() => got().text === 'login: ' && front.text === 'root\r');
    await expect(make(host, 'pipe', { path: 'tty' })).rejects.toThrow('no MessagePort has this name');
    await page.close();
    await until(() => front.events.includes('closed'));
    expect(front.events).toEqual(['opened', 'closed']);
    expect(chardev.write(Buffer.from('dropped'))).toBe(7);
    await chardev.close();
  });

  it('makes the guest wait for a page that does not read, and the page for the guest', async () => {
    const { chardev, front, page, got } = await setUp();
    expect(fill(chardev)).toBe(262_144);
    let drained = 0;
    front.onWritable = () => drained++;
    await pause(50);
    expect([got().length, drained]).toEqual([0, 0]);
    page.resume();
    await until(() => got().length === 262_144 && drained > 0);
    expect(fill(chardev)).toBeGreaterThan(200_000);

    front.room = 0;
    let sent = fill(page);
    await pause(50);
    sent += fill(page);
    // One window on the way, and one delivery that the chardev holds.
    expect(sent).toBeLessThanOrEqual(262_144 + 65_536);
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    await until(() => front.length === sent);
    await chardev.close();
    await until(() => got().closed);
  });

  it('ends when the other end breaks the rules, and overhears what is no message', async () => {
    const { chardev, front, port2 } = await setUp();
    front.room = 0;
    for (const junk of [null, 5, 'x', { type: 'data' }, { type: 'credit', bytes: -1 }, { type: 'zz' }])
      port2.postMessage(junk);
    await pause(20);
    expect(chardev.open).toBe(true);
    for (let i = 0; i < 5; i++) port2.postMessage({ type: 'data', data: new Uint8Array(100_000) });
    await pause(50);
    front.room = Number.POSITIVE_INFINITY;
    chardev.acceptInput();
    await until(() => front.events.includes('closed'));
    expect(front.length).toBeLessThanOrEqual(400_000);
    await chardev.close();
  });
});

describe('a WebSocket', () => {
  let server: WebSocketServer;
  const clients: WebSocket[] = [];
  const host = browserCharHost({ connect: (url) => new WebSocket(url) as unknown as SocketLike });
  const options = () => ({
    host: '127.0.0.1',
    port: String((server.address() as AddressInfo).port),
    websocket: true,
  });

  beforeAll(async () => {
    server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.on('connection', (client) => clients.push(client));
    await new Promise((resolve) => server.once('listening', resolve));
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.terminate();
  });
  afterAll(() => server.close());

  it('carries bytes both ways, and connects again', async () => {
    const chardev = await make(host, 'socket', { ...options(), reconnect: 1 });
    const front = new FakeFront();
    chardev.attach(front);
    await until(() => clients.length === 1 && chardev.open);
    let got = '';
    clients[0]!.on('message', (data: Buffer) => (got += data.toString()));
    clients[0]!.send(Buffer.from('binary '));
    clients[0]!.send('and text');
    chardev.write(Buffer.from('answer'));
    await until(() => got === 'answer' && front.text === 'binary and text');
    clients[0]!.close();
    await until(() => clients.length === 2);
    await until(() => front.events.length === 3);
    expect(front.events).toEqual(['opened', 'closed', 'opened']);
    await chardev.close();
  });

  it('makes the guest wait for a server that does not read', async () => {
    const chardev = await make(host, 'socket', options());
    const front = new FakeFront();
    chardev.attach(front);
    let sent = 0;
    await until(() => clients.length === 1);
    clients[0]!.pause();
    for (let quiet = 0; quiet < 5; quiet++) {
      const count = fill(chardev);
      if (count > 0) quiet = 0;
      sent += count;
      expect(sent).toBeLessThan(64 << 20);
      await pause(20);
    }
    let got = 0;
    clients[0]!.on('message', (data: Buffer) => (got += data.length));
    let drained = 0;
    front.onWritable = () => drained++;
    clients[0]!.resume();
    await until(() => got === sent && drained > 0);
    await chardev.close();
  });

  it('gives a server up that sends more than the guest will ever take', async () => {
    const chardev = await make(host, 'socket', options());
    const front = new FakeFront();
    front.room = 0;
    chardev.attach(front);
    await until(() => clients.length === 1);
    let code = 0;
    clients[0]!.on('close', (number: number) => (code = number));
    for (let i = 0; i < 20; i++) clients[0]!.send(new Uint8Array(1 << 20));
    await until(() => code === 4000);
    await chardev.close();
  });

  it('says that a server is not there', async () => {
    await expect(make(host, 'socket', { ...options(), port: '1' })).rejects.toThrow(
      "Failed to connect to 'ws://127.0.0.1:1/'",
    );
  });
});

describe('what a page has not', () => {
  it('is refused by name', async () => {
    const host = browserCharHost();
    await expect(make(host, 'stdio', {})).rejects.toThrow('there are no terminals in a page');
    await expect(make(host, 'file', { path: 'x' })).rejects.toThrow('there are no files in a page');
    await expect(make(host, 'pty', {})).rejects.toThrow('there are no pseudo-terminals in a page');
    await expect(make(host, 'udp', { port: '1' })).rejects.toThrow('there are no UDP sockets in a page');
    await expect(make(host, 'socket', { path: 'x' })).rejects.toThrow('only connect by WebSocket');
    await expect(make(host, 'socket', { port: '1', server: true, wait: false })).rejects.toThrow(
      'there are no listening sockets in a page',
    );
  });
});
