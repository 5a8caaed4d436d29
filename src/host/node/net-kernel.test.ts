/**
 * The user-mode network held against the kernel's own TCP: a TAP interface in a network namespace of its own is the
 * guest's card, ordinary programs there are the guest. Needs root, iproute2 and
 * python3; skipped elsewhere.
 */
import { execFileSync, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NetFrontend, Offload, OffloadCaps } from '../../net/netdev.ts';
import type { NetHost } from '../../net/user/host.ts';
import { UserNet } from '../../net/user/user-net.ts';
import { openTap } from '../linux/tap.ts';
import { nodeNetHost } from './net.ts';

const HEADER = 12;
const space = `paravane-test-${process.pid}`;
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });

const usable = ((): boolean => {
  try {
    ip('netns', 'add', `${space}-probe`);
    ip('netns', 'del', `${space}-probe`);
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return fs.existsSync('/dev/net/tun');
  } catch {
    return false;
  }
})();

/** A card that is a TAP interface with virtio-net headers. `lose` drops frames to the guest, as a bad card would. */
class TapCard implements NetFrontend {
  readonly rxCaps: OffloadCaps;
  readonly fd: number;
  lose = (): boolean => false;
  busy = (): boolean => false;
  /** Largest frames seen, each way. */
  largest = { toGuest: 0, fromGuest: 0 };
  #timer: NodeJS.Timeout;
  #net: UserNet | undefined;

  constructor(name: string, offload: boolean) {
    this.fd = openTap(name, HEADER).fd;
    this.rxCaps = { csum: offload, tso4: offload, tso6: false, ufo: false };
    this.#timer = setInterval(() => this.#poll(), 1);
  }

  plug(userNet: UserNet): void {
    this.#net = userNet;
    userNet.attach(this);
  }

  receive(frame: Uint8Array, offload?: Offload): boolean {
    if (this.busy()) {
      setTimeout(() => this.#net?.acceptInput(), 1);
      return false;
    }
    if (this.lose()) return true;
    this.largest.toGuest = Math.max(this.largest.toGuest, frame.length);
    const packet = Buffer.alloc(HEADER + frame.length);
    if (offload?.needsCsum) {
      packet[0] = 1;
      packet.writeUInt16LE(offload.csumStart, 6);
      packet.writeUInt16LE(offload.csumOffset, 8);
    }
    if (offload !== undefined && offload.gso !== 'none') {
      packet[1] = 1;
      packet.writeUInt16LE(offload.hdrLen, 2);
      packet.writeUInt16LE(offload.gsoSize, 4);
    }
    packet.set(frame, HEADER);
    fs.writeSync(this.fd, packet);
    return true;
  }

  linkChanged(): void {}

  #poll(): void {
    const buffer = Buffer.alloc(70000);
    for (let i = 0; i < 500; i++) {
      let count: number;
      try {
        count = fs.readSync(this.fd, buffer);
      } catch {
        return;
      }
      this.largest.fromGuest = Math.max(this.largest.fromGuest, count - HEADER);
      this.#net?.send(buffer.subarray(HEADER, count), {
        needsCsum: (buffer[0]! & 1) !== 0,
        csumStart: buffer.readUInt16LE(6),
        csumOffset: buffer.readUInt16LE(8),
        gso: buffer[1] === 0 ? 'none' : 'tcp4',
        gsoSize: buffer.readUInt16LE(4),
        hdrLen: buffer.readUInt16LE(2),
        dataValid: false,
      });
    }
  }

  close(): void {
    clearInterval(this.#timer);
    fs.closeSync(this.fd);
  }
}

/** Runs a program as the guest; resolves with what it prints. */
function guest(
  command: string[],
  input?: string,
): Promise<{ code: number | null; out: string; error: string }> {
  const child = spawn('ip', ['netns', 'exec', space, ...command], { stdio: 'pipe' });
  let out = '';
  let error = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString('latin1')));
  child.stderr.on('data', (data: Buffer) => (error += data.toString('latin1')));
  child.stdin.end(input);
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, error })));
}

const python = (script: string): Promise<{ code: number | null; out: string; error: string }> =>
  guest(['python3', '-c', script]);

const data = Buffer.from(Uint8Array.from({ length: 4 << 20 }, (_, i) => (i * 131 + (i >> 9) * 7) & 0xff));
const SUM = 'import hashlib,socket,sys,time\n';
const sum = async (bytes: Buffer): Promise<string> =>
  Buffer.from(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes))).toString('hex');

describe.skipIf(!usable)('against the TCP of Linux', () => {
  const servers: { close(): void }[] = [];
  let download = 0;
  let upload = 0;
  let uploaded: Buffer[] = [];
  let echo = 0;

  beforeAll(async () => {
    const serve = (handler: (socket: net.Socket) => void): Promise<number> =>
      new Promise((resolve) => {
        const server = net.createServer({ allowHalfOpen: true }, (socket) => {
          socket.on('error', () => {});
          handler(socket);
        });
        servers.push(server);
        server.listen(0, '127.0.0.1', () => resolve((server.address() as net.AddressInfo).port));
      });
    download = await serve((socket) => socket.end(data));
    upload = await serve((socket) => {
      uploaded = [];
      socket.on('data', (chunk) => uploaded.push(chunk));
      socket.on('end', () => socket.end('thanks'));
    });
    echo = await serve((socket) => socket.pipe(socket));
  });
  afterAll(() => {
    for (const server of servers) server.close();
  });

  for (const offload of [false, true]) {
    describe(offload ? 'with offloads' : 'without offloads', () => {
      let card: TapCard;
      let userNet: UserNet;
      const host: NetHost = nodeNetHost();
      beforeAll(async () => {
        ip('netns', 'add', space);
        card = new TapCard(`pvt${process.pid % 100000}`, offload);
        ip('link', 'set', `pvt${process.pid % 100000}`, 'netns', space);
        const inside = (...args: string[]): string => ip('-n', space, ...args);
        inside('link', 'set', `pvt${process.pid % 100000}`, 'name', 'eth0');
        inside('link', 'set', 'lo', 'up');
        inside('link', 'set', 'eth0', 'up');
        inside('addr', 'add', '10.0.2.15/24', 'dev', 'eth0');
        inside('route', 'add', 'default', 'via', '10.0.2.2');
        userNet = await UserNet.create('n0', { hostfwd: ['tcp:127.0.0.1:0-:7000'] }, host);
        card.plug(userNet);
      });
      afterAll(async () => {
        ip('netns', 'del', space);
        card.close();
        await userNet.close();
      });

      const get = (port: number): string =>
        `${SUM}s=socket.create_connection(("10.0.2.2",${port}))\nh=hashlib.sha256()\nn=0\nwhile True:\n d=s.recv(1<<20)\n if not d: break\n n+=len(d); h.update(d)\nprint(n,h.hexdigest())`;

      it('downloads 4 MB', async () => {
        const { out, error } = await python(get(download));
        expect(error).toBe('');
        expect(out.trim()).toBe(`${data.length} ${await sum(data)}`);
        if (offload) expect(card.largest.toGuest).toBeGreaterThan(20000);
        else expect(card.largest.toGuest).toBeLessThanOrEqual(1514);
      }, 20000);

      it('uploads 4 MB and hears the answer after its own end', async () => {
        const { out, error } = await python(
          `${SUM}s=socket.create_connection(("10.0.2.2",${upload}))\nd=bytes((i*131+(i>>9)*7)&255 for i in range(${data.length}))\ns.sendall(d)\ns.shutdown(1)\nprint(s.recv(100).decode(), s.recv(100)==b"")`,
        );
        expect(error).toBe('');
        expect(out.trim()).toBe('thanks True');
        expect(Buffer.compare(Buffer.concat(uploaded), data)).toBe(0);
        if (offload) expect(card.largest.fromGuest).toBeGreaterThan(20000);
      }, 20000);

      it('loses no byte when one frame in thirty is lost', async () => {
        let n = 0;
        card.lose = () => ++n % 30 === 0;
        const { out } = await python(get(download));
        card.lose = () => false;
        expect(out.trim()).toBe(`${data.length} ${await sum(data)}`);
      }, 180_000);

      it('waits while the card has no room', async () => {
        let n = 0;
        card.busy = () => ++n % 3 === 0;
        const { out } = await python(get(download));
        card.busy = () => false;
        expect(out.trim()).toBe(`${data.length} ${await sum(data)}`);
      }, 60000);

      it('stops while the guest does not read, and goes on', async () => {
        const { out } = await python(
          `${SUM}s=socket.socket()\ns.setsockopt(1,8,4096)\ns.connect(("10.0.2.2",${download}))\ntime.sleep(2)\nn=0\nh=hashlib.sha256()\nwhile True:\n d=s.recv(65536)\n if not d: break\n n+=len(d); h.update(d)\nprint(n,h.hexdigest())`,
        );
        expect(out.trim()).toBe(`${data.length} ${await sum(data)}`);
      }, 30000);

      it('passes refusal and resets on', async () => {
        const free = net.createServer().listen(0, '127.0.0.1');
        await new Promise((resolve) => free.once('listening', resolve));
        const { port } = free.address() as net.AddressInfo;
        await new Promise((resolve) => free.close(resolve));
        const { error } = await python(`${SUM}socket.create_connection(("10.0.2.2",${port}))`);
        expect(error).toContain('ConnectionRefusedError');
        const cut = net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy()));
        cut.listen(0, '127.0.0.1');
        await new Promise((resolve) => cut.once('listening', resolve));
        const reset = await python(
          `${SUM}s=socket.create_connection(("10.0.2.2",${(cut.address() as net.AddressInfo).port}))\ns.send(b"x")\ns.recv(1)`,
        );
        expect(reset.error).toContain('ConnectionResetError');
        cut.close();
      }, 20000);

      it('many connections at once, and none left afterwards', async () => {
        const { out, error } = await python(
          `${SUM}import threading\nok=[]\ndef f(i):\n s=socket.create_connection(("10.0.2.2",${echo}))\n m=bytes([i])*30000\n s.sendall(m)\n s.shutdown(1)\n r=b""\n while True:\n  d=s.recv(65536)\n  if not d: break\n  r+=d\n ok.append(r==m)\nt=[threading.Thread(target=f,args=(i,)) for i in range(60)]\n[x.start() for x in t];[x.join() for x in t]\nprint(len(ok),all(ok))`,
        );
        expect(error).toBe('');
        expect(out.trim()).toBe('60 True');
        await new Promise((resolve) => setTimeout(resolve, 2500));
        expect(userNet.connections()).toEqual([]);
      }, 30000);

      it('leads a forwarded port to the guest', async () => {
        const server = guest([
          'python3',
          '-c',
          `${SUM}s=socket.socket()\ns.bind(("",7000))\ns.listen()\nc,a=s.accept()\nd=c.recv(100)\nc.sendall(d.upper()*100000)\nc.close()\nprint(a[0])`,
        ]);
        const port = userNet.forwards[0]!.hostPort;
        let answer = '';
        for (let attempt = 0; attempt < 50 && answer === ''; attempt++) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          answer = await new Promise<string>((resolve) => {
            const socket = net.connect(port, '127.0.0.1');
            let got = '';
            socket.write('hello');
            socket.on('data', (chunk) => (got += chunk.toString()));
            socket.on('error', () => resolve(''));
            socket.on('close', () => resolve(got));
          });
        }
        expect(answer).toBe('HELLO'.repeat(100000));
        expect((await server).out.trim()).toBe('10.0.2.2');
      }, 20000);

      it('gives an address and names to a DHCP client, and answers ping', async ({ skip }) => {
        if (!fs.existsSync('/bin/busybox') && !fs.existsSync('/usr/bin/busybox')) return skip('no busybox');
        const script = `${fs.mkdtempSync('/tmp/paravane-test-')}/dhcp`;
        fs.writeFileSync(
          script,
          '#!/bin/sh\n[ "$1" = bound ] && echo "$ip $mask $router $dns $lease"\nexit 0\n',
        );
        fs.chmodSync(script, 0o755);
        const { out } = await guest(['busybox', 'udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-s', script]);
        expect(out).toContain('10.0.2.15 24 10.0.2.2 10.0.2.3 86400');
        fs.rmSync(script);
        const name = await guest(['busybox', 'nslookup', 'localhost', '10.0.2.3']);
        expect(name.out).toMatch(/127\.0\.0\.1|NXDOMAIN|SERVFAIL/);
        expect((await guest(['busybox', 'ping', '-c', '2', '-i', '0.1', '10.0.2.2'])).out).toContain(
          ' 0% packet loss',
        );
        // An address of this host's that is not the loopback: beyond the gateway, for the guest.
        const outside = Object.values(networkInterfaces())
          .flat()
          .find((one) => one?.family === 'IPv4' && !one.internal);
        if (outside === undefined || host.openPing?.(() => {}) === undefined) return;
        const ping = await guest(['busybox', 'ping', '-c', '2', '-i', '0.1', '-s', '100', outside.address]);
        expect(ping.out).toContain(' 0% packet loss');
      }, 20000);

      it('UDP: there and back, also in fragments; ping to the gateway', async () => {
        const socket = dgram.createSocket('udp4');
        socket.on('message', (message, from) => socket.send(message, from.port, from.address));
        await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
        const { out, error } = await python(
          `${SUM}s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(3)\nfor n in (1,1472,1473,9000):\n s.sendto(bytes([7])*n,("10.0.2.2",${socket.address().port}))\n d,a=s.recvfrom(70000)\n print(len(d),a[0])`,
        );
        expect(error).toBe('');
        expect(out.trim().split('\n')).toEqual([
          '1 10.0.2.2',
          '1472 10.0.2.2',
          '1473 10.0.2.2',
          '9000 10.0.2.2',
        ]);
        socket.close();
      }, 20000);
    });
  }
});
