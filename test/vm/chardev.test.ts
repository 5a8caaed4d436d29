/**
 * Sockets under a whole machine: a guest's program at one end of a port, a program on the host at the other, over a
 * unix socket, telnet and WebSocket. Either of both stops reading for a while: the other waits and loses nothing, and
 * nobody else in the guest waits with it. Skipped without the guest; `PARAVANE_PEER=qemu` runs the same under QEMU.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { freePort } from '../fedora/run-paths.ts';
import { delay, type Peer, VmProcess, within } from '../fedora/vm.ts';
import { cachedGuest } from '../guest/shell.ts';

const guest = cachedGuest('tiny');
const ready = existsSync('dist/cli/main.js') && existsSync('dist/x86/runtime.wasm') && guest !== undefined;
const peer: Peer = process.env['PARAVANE_PEER'] === 'qemu' ? 'qemu' : 'paravane';
/** Seconds on an idle machine. */
const LONG = { timeout: 240_000 };

/** What the guest writes, over and over: whole lines of eight bytes. */
const PIECE = 3_000_000;
/** The most that Linux keeps of a TCP connection for whom it is sent to, and of whom it comes from. */
const tcpBuffer = (name: string): number => {
  const path = `/proc/sys/net/ipv4/${name}`;
  return existsSync(path) ? Number(readFileSync(path, 'utf8').trim().split(/\s+/).at(-1)) : 6 << 20;
};
const TCP_BUFFERS = tcpBuffer('tcp_rmem') + tcpBuffer('tcp_wmem');
/** Pieces that go each way: more than all buffers on the way hold. */
const PIECES = {
  unix: 3,
  telnet: Math.ceil(TCP_BUFFERS / PIECE) + 2,
  websocket: Math.ceil(TCP_BUFFERS / PIECE) + 2,
};
/** What the host sends: without 255, so that telnet has nothing to say about it. */
const hostData = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) % 251));
const MESSAGE = 65536;
/** IAC WILL ECHO, SUPPRESS-GO-AHEAD, BINARY and DO BINARY: what QEMU's telnet server says first. */
const GREETING = 12;

const KINDS = ['unix', 'telnet', 'websocket'] as const;
type Kind = (typeof KINDS)[number];

describe.skipIf(!ready)('sockets of the tiny guest', () => {
  const folder = mkdtempSync(join(tmpdir(), 'paravane-chardev-'));
  const ports = new Map<string, number>();
  /** What a test has connected: a server takes one client. */
  const streams: Duplex[] = [];
  let vm: VmProcess;

  beforeAll(async () => {
    for (const kind of KINDS) ports.set(kind, await freePort());
    const server = (kind: Kind) =>
      kind === 'unix'
        ? `path=${join(folder, 'unix')}`
        : `host=127.0.0.1,port=${ports.get(kind)},${kind === 'telnet' ? 'telnet' : 'websocket'}=on`;
    vm = new VmProcess(
      {
        peer,
        guest: { kernel: guest!.kernel, initrd: guest!.initrd },
        args: [
          ...['-device', 'virtio-serial-pci'],
          ...['-chardev', `socket,id=quick,path=${join(folder, 'quick')},server=on,wait=off`],
          ...['-device', 'virtserialport,chardev=quick,name=quick'],
          ...KINDS.flatMap((kind) => [
            ...['-chardev', `socket,id=${kind},server=on,wait=off,${server(kind)}`],
            ...['-device', `virtserialport,chardev=${kind},name=${kind}`],
          ]),
        ],
      },
      folder,
    );
    await vm.shell();
    await vm.run(`yes 0123456 | head -c ${PIECE} >/tmp/data`);
  }, 240_000);

  afterAll(async () => {
    await vm?.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach(() => {
    for (const stream of streams.splice(0)) stream.destroy();
  });

  const connect = async (where: Kind | 'quick'): Promise<Duplex> => {
    if (where === 'websocket') {
      const ws = new WebSocket(`ws://127.0.0.1:${ports.get(where)}/`, 'binary');
      await within(new Promise((resolve) => ws.once('open', resolve)), 30_000, 'WebSocket');
      streams.push(createWebSocketStream(ws));
      return streams.at(-1)!;
    }
    const socket =
      where === 'telnet' ? net.connect(ports.get(where)!, '127.0.0.1') : net.connect(join(folder, where));
    await within(new Promise((resolve) => socket.once('connect', resolve)), 30_000, where);
    streams.push(socket);
    return socket;
  };

  it.each(KINDS)(
    '%s: the guest waits for a program that does not read, and loses nothing',
    LONG,
    async (kind) => {
      const stream = await connect(kind);
      stream.pause();
      // Out of the shell's sight: busybox's may take the end of a child for the end of its input.
      await vm.run(
        `((i=0; while [ $i -lt ${PIECES[kind]} ]; do cat /tmp/data; i=$((i+1)); done >/dev/virtio-ports/${kind}; echo sent >/tmp/${kind}) &)`,
      );
      await delay(1500);
      expect(await vm.run(`cat /tmp/${kind} 2>/dev/null || echo waits`)).toBe('waits');
      // The shell has answered; another port works, too.
      const quick = await connect('quick');
      quick.write('ping\n');
      expect(await vm.run('head -n 1 /dev/virtio-ports/quick')).toBe('ping');

      const hash = createHash('sha1');
      const size = PIECES[kind] * PIECE;
      let length = kind === 'telnet' ? -GREETING : 0;
      const all = new Promise<void>((resolve) => {
        stream.on('data', (data: Buffer) => {
          hash.update(length < 0 ? data.subarray(-length) : data);
          length += data.length;
          if (length >= size) resolve();
        });
      });
      stream.resume();
      await within(all, 120_000, `${kind}: all that the guest writes`);
      expect(length).toBe(size);
      expect(hash.digest('hex')).toBe(
        createHash('sha1').update(Buffer.alloc(size, '0123456\n')).digest('hex'),
      );
      expect(await vm.run(`while ! [ -s /tmp/${kind} ]; do sleep 1; done; cat /tmp/${kind}`)).toBe('sent');
    },
  );

  it.each(KINDS)(
    '%s: a program waits for a guest that does not read, and loses nothing',
    LONG,
    async (kind) => {
      const stream = await connect(kind);
      stream.resume();
      const data = hostData(PIECES[kind] * PIECE);
      let taken = false;
      const written = new Promise<void>((resolve) => {
        const last = () => {
          taken = true;
          resolve();
        };
        // In pieces: a WebSocket message is passed on only when it is complete.
        for (let at = 0; at < data.length; at += MESSAGE)
          stream.write(data.subarray(at, at + MESSAGE), at + MESSAGE < data.length ? () => {} : last);
      });
      await delay(1500);
      expect(taken).toBe(false);
      const sum = createHash('md5').update(data).digest('hex');
      expect(await vm.run(`head -c ${data.length} /dev/virtio-ports/${kind} | md5sum`)).toContain(sum);
      await within(written, 30_000, `${kind}: all is taken`);
    },
  );
});
