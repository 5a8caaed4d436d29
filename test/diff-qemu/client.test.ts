/**
 * A QMP client that was written for QEMU and knows nothing of us (npm's qemu-qmp), over unix and TCP sockets. Skipped
 * where it is missing, or where Node.js has no more what it is written with.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import util from 'node:util';
import { describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface QmpClient extends Socket {
  readonly version: { readonly qemu: { readonly major: number } };
  execute(command: string, given: unknown, callback: (error: Error | null, result: unknown) => void): void;
}

function loadClient(): (new () => QmpClient) | undefined {
  try {
    // It copies objects by a function that newer versions of Node.js have dropped.
    if (typeof util['_extend' as keyof typeof util] !== 'function') return undefined;
    return createRequire(import.meta.url)('qemu-qmp') as new () => QmpClient;
  } catch {
    return undefined;
  }
}

const Client = loadClient();

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function connect(place: string | number): Promise<QmpClient> {
  for (let left = 100; ; left--) {
    const client = new Client!();
    try {
      return await new Promise<QmpClient>((resolve, reject) => {
        const done = (error: Error | null): void => (error === null ? resolve(client) : reject(error));
        const all = client as unknown as { connect(...given: unknown[]): void };
        if (typeof place === 'number') all.connect(place, '127.0.0.1', done);
        else all.connect(place, done);
      });
    } catch (error) {
      client.destroy();
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const ask = (client: QmpClient, command: string, given: unknown = {}): Promise<unknown> =>
  new Promise((resolve, reject) => {
    client.execute(command, given, (error, result) => (error === null ? resolve(result) : reject(error)));
  });

describe.runIf(Client !== undefined && existsSync(MAIN))('a client that nobody here wrote', () => {
  it.each(['unix', 'tcp'])('drives a machine over %s', { timeout: 60_000 }, async (kind) => {
    const folder = mkdtempSync(join(tmpdir(), 'paravane-client-'));
    const port = await freePort();
    const path = join(folder, 'qmp');
    const socket = kind === 'unix' ? `unix:${path}` : `tcp:127.0.0.1:${port}`;
    const child = spawn(process.execPath, [
      MAIN,
      ...['-display', 'none', '-nodefaults', '-S', '-m', '32', '-device', 'virtio-serial-pci,id=ser0'],
      ...['-chardev', 'null,id=c0', '-qmp', `${socket},server=on,wait=off`],
    ]);
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    try {
      const client = await connect(kind === 'unix' ? path : port);
      expect(client.version.qemu.major).toBe(7);
      expect(await ask(client, 'query-status')).toMatchObject({ running: false, status: 'prelaunch' });
      const events: string[] = [];
      for (const name of ['resume', 'stop', 'device_deleted', 'shutdown'])
        client.on(name, (event: string) => events.push(event));
      await ask(client, 'cont');
      await ask(client, 'stop');
      await ask(client, 'blockdev-add', { driver: 'null-co', 'node-name': 'n0' });
      await ask(client, 'device_add', { driver: 'virtio-blk-pci', drive: 'n0', id: 'b0' });
      await ask(client, 'device_add', { driver: 'virtserialport', chardev: 'c0', id: 'p0' });
      expect(await ask(client, 'qom-list', { path: '/machine/peripheral' })).toHaveLength(4);
      await ask(client, 'device_del', { id: 'p0' });
      await expect(ask(client, 'device_del', { id: 'p0' })).rejects.toThrow("Device 'p0' not found");
      expect(events).toEqual(['RESUME', 'STOP', 'DEVICE_DELETED']);
      // A second one at the same socket comes when the first is gone.
      client.end();
      const second = await connect(kind === 'unix' ? path : port);
      expect(await ask(second, 'query-status')).toMatchObject({ status: 'paused' });
      await ask(second, 'quit');
      expect(await ended).toBe(0);
    } finally {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
