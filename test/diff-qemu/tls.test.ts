/**
 * TLS between QEMU 7.2, which speaks it by GnuTLS, and our chardevs: a monitor of QEMU's is behind a socket with
 * -object tls-creds-x509 or tls-creds-psk, as server and as client, and our side hears its greeting. Skipped where
 * QEMU or openssl is missing.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Chardev } from '../../src/chardev/chardev.ts';
import { createChardev } from '../../src/chardev/create.ts';
import type { HostTls, TlsConfig } from '../../src/chardev/host.ts';
import { nodeCharHost } from '../../src/host/node/char.ts';
import { haveOpenssl, makeCertificates } from '../../src/host/node/test-certificates.ts';
import type { PropertyValues } from '../../src/qapi/property.ts';
import { haveQemu } from '../pc/qemu-monitor.ts';

let folder = '';
const host = nodeCharHost(() => {});

const make = (options: PropertyValues, tls: HostTls): Promise<Chardev> =>
  createChardev(
    'socket',
    { id: 'c', 'tls-creds': 't', ...options },
    {
      host,
      tls: () => tls,
      claim: () => {
        throw new Error('not here');
      },
    },
  );

/** The first line that comes. */
function firstLine(chardev: Chardev): Promise<string> {
  let text = '';
  return new Promise((resolve) => {
    chardev.attach({
      canReceive: () => 65536,
      receive: (data) => {
        text += Buffer.from(data).toString();
        if (text.includes('\n')) resolve(text.split('\r\n')[0]!);
      },
      event: () => {},
      writable: () => {},
    });
  });
}

const qemu = (credentials: string, socket: string) =>
  spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'pc', '-m', '16', '-display', 'none', '-nodefaults', '-S', '-object', credentials],
      ...['-chardev', `socket,id=q,tls-creds=t,${socket}`, '-mon', 'q,mode=control'],
    ],
    { stdio: 'ignore' },
  );

/** Tries until QEMU listens. */
async function patiently(attempt: () => Promise<Chardev>): Promise<Chardev> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries > 100 || !String(error).includes('refused')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** A port that was free a moment ago. */
async function freePort(tls: HostTls): Promise<string> {
  const chardev = await make({ host: '127.0.0.1', port: '0', server: true, wait: false }, tls);
  const port = /:(\d+),server/.exec(chardev.describe())![1]!;
  await chardev.close();
  return port;
}

describe.runIf(haveQemu() && haveOpenssl())('TLS with QEMU', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'paravane-tls-'));
    makeCertificates(join(folder, 'pki'));
    mkdirSync(join(folder, 'psk'));
    writeFileSync(join(folder, 'psk/keys.psk'), 'qemu:00112233445566778899aabbccddeeff\n');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const own = (kind: 'x509' | 'psk', endpoint: 'client' | 'server'): TlsConfig => ({
    type: `tls-creds-${kind}`,
    dir: join(folder, kind === 'x509' ? 'pki' : 'psk'),
    endpoint,
    verifyPeer: true,
    username: 'qemu',
  });
  const theirs = (kind: 'x509' | 'psk', endpoint: 'client' | 'server'): string =>
    `tls-creds-${kind},id=t,dir=${own(kind, endpoint).dir},endpoint=${endpoint}`;

  it.each(['x509', 'psk'] as const)('as its client, %s', { timeout: 30_000 }, async (kind) => {
    const server = host.openTls(own(kind, 'server'));
    const client = host.openTls(own(kind, 'client'));
    const port = await freePort(server);
    const child = qemu(theirs(kind, 'server'), `host=127.0.0.1,port=${port},server=on,wait=off`);
    const chardev = await patiently(() => make({ host: '127.0.0.1', port }, client));
    expect(await firstLine(chardev)).toContain('{"QMP": ');
    await chardev.close();
    child.kill('SIGKILL');
  });

  it.each(['x509', 'psk'] as const)('as its server, %s', { timeout: 30_000 }, async (kind) => {
    const server = host.openTls(own(kind, 'server'));
    const chardev = await make({ host: '127.0.0.1', port: '0', server: true, wait: false }, server);
    const line = firstLine(chardev);
    const port = /:(\d+),server/.exec(chardev.describe())![1]!;
    const child = qemu(theirs(kind, 'client'), `host=127.0.0.1,port=${port}`);
    expect(await line).toContain('{"QMP": ');
    await chardev.close();
    child.kill('SIGKILL');
  });
});
