/**
 * The paths of a virtio-serial port that a guest's program and a host's program can take: open, read, write, poll,
 * signals, splice, closing, coming and going of either side. Each case says what is expected; it is right when QEMU
 * gives the same. The guest's calls are made by test/guest/port-agent.c.
 */
import * as net from 'node:net';
import { join } from 'node:path';
import { Agent } from './agent.ts';
import { HostPort } from './host-port.ts';
import { delay, type Qmp, type VmProcess, within } from './vm.ts';

export interface Rig {
  readonly vm: VmProcess;
  readonly agent: Agent;
  readonly qmp: Qmp;
  readonly folder: string;
  /** Guest path of the port with this name. */
  node(name: string): string;
  /** Connects to the port's socket. */
  host(name: string): Promise<HostPort>;
  /** The client chardev's server. */
  readonly server: net.Server;
  /** Port of the tcp chardev. */
  readonly tcp: number;
  /** Expects `actual` to be `expected`, and keeps both. */
  is(what: string, actual: unknown, expected: unknown): void;
}

export interface PathCase {
  readonly name: string;
  /** In the short run of `npm test`. */
  readonly short?: boolean;
  run(rig: Rig): Promise<void>;
}

/** Names of the ports with a unix server socket behind them. */
const SERVERS = ['p1', 'p2', 'p3'] as const;

/** Options for the ports that the cases use; `server` must listen already. */
export function portArgs(folder: string, tcp: number): string[] {
  const unix = (id: string) => `socket,path=${join(folder, id)},server=on,wait=off,id=${id}`;
  return [
    ...['-device', 'virtio-serial-pci,id=ser0', '-chardev', unix('con0')],
    ...['-device', 'virtconsole,bus=ser0.0,chardev=con0,id=console0'],
    ...SERVERS.flatMap((id) => [
      ...['-chardev', unix(id)],
      ...['-device', `virtserialport,bus=ser0.0,chardev=${id},name=${id},id=port-${id}`],
    ]),
    ...['-chardev', `socket,host=127.0.0.1,port=${tcp},server=on,wait=off,id=tcp`],
    ...['-device', 'virtserialport,bus=ser0.0,chardev=tcp,name=tcp,id=port-tcp'],
    ...['-chardev', `socket,path=${join(folder, 'client')},reconnect=1,id=client`],
    ...['-device', 'virtserialport,bus=ser0.0,chardev=client,name=client,id=port-client'],
    ...['-device', 'virtserialport,bus=ser0.0,name=bare,id=port-bare'],
    ...['-device', 'virtio-serial-pci,id=ser1,max_ports=1', '-chardev', unix('con1')],
    ...['-device', 'virtconsole,bus=ser1.0,chardev=con1,id=console1'],
    ...['-chardev', unix('plug')],
  ];
}

/** A guest's answer of a transfer without its time. */
const count = (answer: string): number => Number(answer.split(' ')[0]);
const MB = 1 << 20;

/** Writes without blocking until no more is taken; how many bytes. */
async function fillUp(agent: Agent, fd: number): Promise<number> {
  await agent.call('nonblock', fd, 'on');
  let total = 0;
  for (let quiet = 0; quiet < 4; ) {
    const put = count(await agent.call('fill', fd, 64 * MB, 4096, 0, 'plain'));
    total += put;
    // What the host's buffers take comes a little later.
    quiet = put === 0 ? quiet + 1 : 0;
    await delay(100);
  }
  await agent.call('nonblock', fd, 'off');
  return total;
}

export const PATHS: readonly PathCase[] = [
  {
    name: 'open, once at a time, in each mode',
    short: true,
    async run({ agent, node, is }) {
      const fd = await agent.open(node('p1'));
      is('a second open', await agent.call('open', node('p1')), 'EBUSY');
      is('close', await agent.call('close', fd), 'ok');
      for (const mode of ['read', 'write', 'nonblock']) {
        const next = await agent.open(node('p1'), mode);
        await agent.call('close', next);
      }
      const first = await agent.open(node('p1'));
      const copy = Number(await agent.call('dup', first));
      await agent.call('close', first);
      is('open while a copy is open', await agent.call('open', node('p1')), 'EBUSY');
      await agent.call('close', copy);
      is('the console has no port', await agent.call('open', node('p1').replace(/p\d+$/, 'p0')), 'ENXIO');
    },
  },
  {
    name: 'VSERPORT_CHANGE at the first open and the last close',
    short: true,
    async run({ agent, node, qmp, is }) {
      // The event comes at most once a second for each port; the last state is always told.
      await delay(2500);
      qmp.events.length = 0;
      const fd = await agent.open(node('p1'));
      const copy = Number(await agent.call('dup', fd));
      await agent.call('close', fd);
      await agent.call('close', copy);
      await delay(1500);
      const seen = qmp.events.filter(({ event }) => event === 'VSERPORT_CHANGE').map(({ data }) => data);
      is('events', JSON.stringify(seen), '[{"open":true,"id":"port-p1"},{"open":false,"id":"port-p1"}]');
    },
  },
  {
    name: 'with nobody on the host: reads end, writes wait, poll says so',
    short: true,
    async run({ agent, node, is }) {
      const fd = await agent.open(node('p1'));
      is('poll', await agent.call('poll', 0, fd), 'in+hup');
      is('select', await agent.call('select', fd), 'r');
      is('read', await agent.call('read', fd, 100), '0');
      await agent.call('nonblock', fd, 'on');
      is('non-blocking read', await agent.call('read', fd, 100), '0');
      is('non-blocking write', await agent.call('write', fd, 'hello'), 'EAGAIN');
      await agent.call('nonblock', fd, 'off');
      const write = agent.start('write', fd, 'hello');
      is('write', await Agent.soon(write.answer), 'blocked');
      await agent.call('interrupt', write.id);
      is('write after a signal', await Agent.soon(write.answer), 'EINTR');
      await agent.call('close', fd);
    },
  },
  {
    name: 'a write that waits goes on when the host comes',
    async run({ agent, node, host, is }) {
      const fd = await agent.open(node('p1'));
      const write = agent.start('write', fd, 'patience');
      is('write', await Agent.soon(write.answer, 500), 'blocked');
      const peer = await host('p1');
      is('write with a host', await Agent.soon(write.answer, 5000), '8');
      is('what came', (await peer.take(8)).toString(), 'patience');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'blocking read',
    short: true,
    async run({ agent, node, host, is }) {
      const fd = await agent.open(node('p1'));
      const peer = await host('p1');
      await hostIsThere(agent, fd);
      const read = agent.start('read', fd, 100);
      is('before data', await Agent.soon(read.answer), 'blocked');
      peer.write('abc');
      is('with data', await Agent.soon(read.answer, 5000), '3 616263');
      const next = agent.start('read', fd, 100);
      is('the next one', await Agent.soon(next.answer, 500), 'blocked');
      await agent.call('interrupt', next.id);
      is('after a signal', await Agent.soon(next.answer, 5000), 'EINTR');
      const last = agent.start('read', fd, 100);
      is('again', await Agent.soon(last.answer, 500), 'blocked');
      await peer.close();
      is('when the host leaves', await Agent.soon(last.answer, 5000), '0');
      await agent.call('close', fd);
    },
  },
  {
    name: 'non-blocking read',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p2');
      const fd = await agent.open(node('p2'), 'nonblock');
      await hostIsThere(agent, fd);
      is('nothing there', await agent.call('read', fd, 100), 'EAGAIN');
      peer.write('xyz');
      await agent.call('pollin', 5000, fd);
      is('something there', await agent.call('read', fd, 100), '3 78797a');
      is('nothing left', await agent.call('read', fd, 100), 'EAGAIN');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'reads shorter than what is there, and exact lengths',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      peer.write('0123456789');
      is('three', await agent.call('read', fd, 3), '3 303132');
      is('one', await agent.call('read', fd, 1), '1 33');
      is('the rest', await agent.call('read', fd, 100), '6 343536373839');
      // The used length is the number of bytes: a buffer of a page is never reported full when it is not.
      for (const length of [1, 2, 100, 4095, 4096]) {
        peer.write(Buffer.alloc(length, 'x'));
        is(`${length} bytes`, count(await agent.call('read', fd, 65536)), length);
      }
      peer.write(Buffer.alloc(4097, 'y'));
      await delay(300);
      is('4097 bytes: a buffer', count(await agent.call('read', fd, 65536)), 4096);
      is('4097 bytes: and one', count(await agent.call('read', fd, 65536)), 1);
      peer.write('z');
      await agent.call('pollin', 5000, fd);
      is('read of nothing where there is something', await agent.call('read0', fd), 'ok');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'poll, select and epoll',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      is('quiet', await agent.call('poll', 0, fd), 'out');
      is('select, quiet', await agent.call('select', fd), 'w');
      is('waiting for input in vain', await agent.call('pollin', 300, fd), 'none');
      peer.write('z');
      is('input', await agent.call('pollin', 5000, fd), 'in');
      is('both', await agent.call('poll', 0, fd), 'in+out');
      is('select, both', await agent.call('select', fd), 'rw');
      is('epoll, edges', await agent.call('epoll', 300, fd), 'in+out none');
      await agent.call('read', fd, 10);
      const wait = agent.start('pollin', 10_000, fd);
      is('sleeps', await Agent.soon(wait.answer, 500), 'blocked');
      peer.write('w');
      is('wakes', await Agent.soon(wait.answer, 5000), 'in');
      await agent.call('read', fd, 10);
      const leave = agent.start('pollin', 10_000, fd);
      await delay(300);
      await peer.close();
      is('the host leaves', await Agent.soon(leave.answer, 5000), 'in+hup');
      const back = await host('p1');
      await hostIsThere(agent, fd);
      is('the host is back', await agent.call('poll', 0, fd), 'out');
      await agent.call('close', fd);
      await back.close();
    },
  },
  {
    name: 'SIGIO',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p2');
      const fd = await agent.open(node('p2'));
      await hostIsThere(agent, fd);
      is('asked for', await agent.call('async', fd, 'on'), 'ok');
      is('quiet', await agent.call('sigio', 300), 'none');
      peer.write('s');
      is('data', await agent.call('sigio', 500), 'some out');
      await agent.call('read', fd, 10);
      await peer.close();
      is('the host leaves', (await agent.call('sigio', 500)).split(' ')[0], 'some');
      const back = await host('p2');
      is('the host comes', (await agent.call('sigio', 500)).split(' ')[0], 'some');
      is('no more', await agent.call('async', fd, 'off'), 'ok');
      back.write('t');
      is('data unasked', await agent.call('sigio', 500), 'none');
      await agent.call('close', fd);
      await back.close();
    },
  },
  {
    name: 'splice, sendfile, writev, readv',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      const spliced = agent.call('splice', fd, 300_000, 5);
      is('spliced', await peer.drain(300_000, 5), 'equal');
      is('count', await spliced, '300000');
      const sent = agent.call('sendfile', fd, '/tmp/agent', 100_000);
      is('sendfile', (await peer.take(100_000)).subarray(1, 4).toString(), 'ELF');
      is('sendfile count', await sent, '100000');
      is('writev', await agent.call('writev', fd), '8 abcdefgh');
      is('gathered', (await peer.take(8)).toString(), 'abcdefgh');
      peer.write('12345678');
      await delay(200);
      const scattered = await agent.call('readv', fd);
      is('readv', scattered, '8 12345678');
      peer.write('q');
      await delay(200);
      is('splice out of a port', await agent.call('unsplice', fd, 10), 'EINVAL');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'what a port is not',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      for (const [call, answer] of [
        ['lseek', 'ESPIPE'],
        ['pread', 'ESPIPE'],
        ['mmap', 'ENODEV'],
        ['ioctl', 'ENOTTY'],
        ['fsync', 'EINVAL'],
        ['badwrite', 'EFAULT'],
        ['write0', 'ok'],
      ] as const)
        is(call, await agent.call(call, fd), answer);
      await agent.call('close', fd);
      const reader = await agent.open(node('p1'), 'read');
      is('write on a port open for reading', await agent.call('write', reader, 'no'), 'EBADF');
      await agent.call('close', reader);
      is('nothing reached the host', (await peer.rest()).length, 0);
      await peer.close();
    },
  },
  ...[1, 100, 4095, 4096, 4097, 32768, 32769, MB].map(
    (chunk): PathCase => ({
      name: `both directions in pieces of ${chunk}`,
      short: chunk === 4097 || chunk === 32769,
      async run({ agent, node, host, is }) {
        const total = chunk === 1 ? 3000 : chunk === 100 ? 100_000 : 2 * MB + 777;
        const peer = await host('p3');
        const fd = await agent.open(node('p3'));
        await hostIsThere(agent, fd);
        const out = agent.call('fill', fd, total, chunk, 9);
        const into = agent.call('drain', fd, total, chunk, 3);
        const sent = peer.fill(total, 3, chunk);
        is('to the host', await peer.drain(total, 9), 'equal');
        await sent;
        is('written', count(await out), total);
        is('to the guest', (await into).replace(/ \d+$/, ''), String(total));
        await agent.call('close', fd);
        await peer.close();
      },
    }),
  ),
  {
    name: 'a host that stops reading makes its writer wait, and no other',
    short: true,
    async run({ agent, node, host, is }) {
      const slow = await host('p1');
      const other = await host('p2');
      const fd = await agent.open(node('p1'));
      const fd2 = await agent.open(node('p2'));
      await hostIsThere(agent, fd);
      await hostIsThere(agent, fd2);
      slow.pause();
      const total = 12 * MB;
      const fill = agent.start('fill', fd, total, 32768, 1);
      is('the writer', await Agent.soon(fill.answer, 3000), 'blocked');
      is('room', await agent.call('pollout', 0, fd), 'none');
      const echo = agent.call('echo', fd2, 20);
      for (let i = 0; i < 20; i++) {
        other.write('e');
        await other.take(1, 10_000);
      }
      is('another port', await echo, '20');
      is('input of the same port', await (slow.write('in'), agent.call('read', fd, 10)), '2 696e');
      slow.resume();
      is('then all of it', await slow.drain(total, 1), 'equal');
      is('written', count(await fill.answer), total);
      for (const each of [fd, fd2]) await agent.call('close', each);
      await slow.close();
      await other.close();
    },
  },
  {
    name: 'non-blocking write until full, and poll for room',
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      peer.pause();
      const taken = await fillUp(agent, fd);
      is('took some', taken > 65536, true);
      await agent.call('nonblock', fd, 'on');
      is('full', await agent.call('write', fd, 'x'), 'EAGAIN');
      is('poll', await agent.call('poll', 0, fd), 'none');
      const room = agent.start('pollout', 20_000, fd);
      peer.resume();
      await peer.take(taken, 30_000);
      is('room', await Agent.soon(room.answer, 5000), 'out');
      is('write', await agent.call('write', fd, 'x'), '1');
      is('came', (await peer.take(1)).toString(), 'x');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'a guest that stops reading makes the host wait',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p2');
      const fd = await agent.open(node('p2'));
      await hostIsThere(agent, fd);
      const total = 12 * MB;
      let done = false;
      const fill = peer.fill(total, 4).then(() => (done = true));
      await delay(2000);
      is('the host waits', done, false);
      is('the guest gets all', (await agent.call('drain', fd, total, 65536, 4)).split(' ')[0], String(total));
      await within(fill, 10_000, 'the host is done');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'what the host sends before the guest opens is kept for it',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      peer.write('early');
      await delay(700);
      const fd = await agent.open(node('p1'));
      is('read', await agent.call('read', fd, 100), '5 6561726c79');
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'what was delivered and not read is gone with the close',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      peer.write('unread');
      await agent.call('pollin', 5000, fd);
      await agent.call('close', fd);
      const next = await agent.open(node('p1'), 'nonblock');
      is('read', await agent.call('read', next, 100), 'EAGAIN');
      peer.write('new');
      await agent.call('pollin', 5000, next);
      is('read of what came later', await agent.call('read', next, 100), '3 6e6577');
      await agent.call('close', next);
      await peer.close();
    },
  },
  {
    name: 'close with output in flight: the host gets what was written',
    short: true,
    async run({ agent, node, host, is }) {
      const peer = await host('p3');
      const fd = await agent.open(node('p3'));
      await hostIsThere(agent, fd);
      peer.pause();
      await agent.call('nonblock', fd, 'on');
      const written = count(await agent.call('fill', fd, 64 * MB, 4096, 6));
      await agent.call('close', fd);
      peer.resume();
      is('bytes', await peer.drain(written, 6), 'equal');
      is('and no more', (await peer.rest()).length, 0);
      const again = await agent.open(node('p3'));
      await agent.call('write', again, 'after');
      is('the port still works', (await peer.take(5)).toString(), 'after');
      await agent.call('close', again);
      await peer.close();
    },
  },
  {
    name: 'the host leaves with the guest’s output in flight, and comes back',
    async run({ agent, node, host, is }) {
      const peer = await host('p1');
      const fd = await agent.open(node('p1'));
      await hostIsThere(agent, fd);
      peer.pause();
      await fillUp(agent, fd);
      await peer.close();
      await delay(500);
      is('poll without host', await agent.call('poll', 0, fd), 'in+hup');
      const back = await host('p1');
      await hostIsThere(agent, fd);
      is('nothing of the past', (await back.rest()).length, 0);
      is('poll', await agent.call('poll', 0, fd), 'out');
      await agent.call('write', fd, 'fresh');
      is('what is new', (await back.take(5)).toString(), 'fresh');
      await agent.call('close', fd);
      await back.close();
    },
  },
  {
    name: 'host disconnects and reconnects many times',
    short: true,
    async run({ agent, node, host, is }) {
      const fd = await agent.open(node('p2'));
      let good = 0;
      for (let i = 0; i < 20; i++) {
        const peer = await host('p2');
        await hostIsThere(agent, fd);
        const echo = agent.call('echo', fd, 1);
        peer.write('r');
        if ((await peer.take(1, 10_000)).toString() === 'r' && (await echo) === '1') good++;
        await peer.close();
        await agent.call('pollin', 5000, fd);
      }
      is('echoes', good, 20);
      await agent.call('close', fd);
    },
  },
  {
    name: 'a tcp port carries binary data both ways',
    short: true,
    async run({ agent, node, tcp, is }) {
      const peer = await HostPort.connect({ host: '127.0.0.1', port: tcp });
      const fd = await agent.open(node('tcp'));
      await hostIsThere(agent, fd);
      const total = 2 * MB + 1;
      const out = agent.call('fill', fd, total, 10_000, 2);
      const into = agent.call('drain', fd, total, 10_000, 8);
      const sent = peer.fill(total, 8, 10_000);
      is('to the host', await peer.drain(total, 2), 'equal');
      await sent;
      is('to the guest', (await into).split(' ')[0], String(total));
      await out;
      await agent.call('close', fd);
      await peer.close();
    },
  },
  {
    name: 'a client chardev comes back after its server leaves',
    async run({ agent, node, server, is }) {
      const accept = () =>
        within(
          new Promise<HostPort>((resolve) => server.once('connection', (s) => resolve(new HostPort(s)))),
          15_000,
          'the client connects',
        );
      const fd = await agent.open(node('client'));
      const first = accept();
      for (const socket of clients(server)) socket.destroy();
      const peer = await first;
      await hostIsThere(agent, fd);
      await agent.call('write', fd, 'hello');
      is('to the server', (await peer.take(5)).toString(), 'hello');
      peer.write('answer');
      is('from the server', await agent.call('read', fd, 100), '6 616e73776572');
      await peer.close();
      const again = await accept();
      await hostIsThere(agent, fd);
      await agent.call('write', fd, 'again');
      is('after the reconnect', (await again.take(5)).toString(), 'again');
      await agent.call('close', fd);
    },
  },
  {
    name: 'a port without a chardev',
    async run({ agent, node, is }) {
      const fd = await agent.open(node('bare'), 'nonblock');
      is('poll', await agent.call('poll', 0, fd), 'in+hup');
      is('write', await agent.call('write', fd, 'x'), 'EAGAIN');
      is('read', await agent.call('read', fd, 1), '0');
      await agent.call('close', fd);
    },
  },
  {
    name: 'consoles: of a controller with ports, and alone with max_ports=1',
    short: true,
    async run({ agent, host, is }) {
      const peers = [await host('con0'), await host('con1')];
      await delay(500);
      for (const tty of ['hvc0', 'hvc1']) {
        const fd = await agent.open(`/dev/${tty}`);
        is(`write to ${tty}`, await agent.call('write', fd, `over-${tty}`), '9');
        await agent.call('close', fd);
      }
      const texts = await Promise.all(peers.map(async (peer) => (await peer.rest(1000)).toString()));
      // Linux numbers the consoles as it finds them, and a controller with ports tells of its console later.
      is('both came, each at its place', texts.sort().join(' '), 'over-hvc0 over-hvc1');
      for (const peer of peers) await peer.close();
    },
  },
  {
    name: 'hot-unplug of an open port with a blocked reader',
    short: true,
    async run({ agent, host, qmp, is }) {
      await qmp.call('device_add', {
        driver: 'virtserialport',
        bus: 'ser0.0',
        chardev: 'plug',
        id: 'plugged',
        nr: 20,
      });
      const peer = await host('plug');
      const node = await waitForNode(agent, 20);
      is('appears', node !== '', true);
      const fd = await agent.open(node);
      await hostIsThere(agent, fd);
      await agent.call('write', fd, 'hi');
      is('works', (await peer.take(2)).toString(), 'hi');
      const read = agent.start('read', fd, 10);
      const poll = agent.start('pollin', 20_000, fd);
      is('reader', await Agent.soon(read.answer, 500), 'blocked');
      qmp.events.length = 0;
      await qmp.call('device_del', { id: 'plugged' });
      is('reader after it', await Agent.soon(read.answer, 5000), 'ENODEV');
      is('poll after it', (await Agent.soon(poll.answer, 5000)).includes('hup'), true);
      is('write after it', await agent.call('write', fd, 'x'), 'ENODEV');
      is('read after it', await agent.call('read', fd, 1), 'ENODEV');
      is('poll', await agent.call('poll', 0, fd), 'hup');
      is('open anew', await agent.call('open', node), 'ENOENT');
      is('close', await agent.call('close', fd), 'ok');
      await delay(300);
      const events = qmp.events.map(({ event }) => event).filter((event) => event === 'DEVICE_DELETED');
      is('DEVICE_DELETED', events.length, 1);
      await peer.close();
    },
  },
  {
    name: 'hot-unplug with data under way both ways, then the same port again',
    async run({ agent, host, qmp, is }) {
      for (let round = 0; round < 5; round++) {
        await qmp.call('device_add', {
          driver: 'virtserialport',
          bus: 'ser0.0',
          chardev: 'plug',
          id: 'plugged',
          nr: 21,
        });
        const peer = await host('plug');
        const node = await waitForNode(agent, 21);
        const fd = await agent.open(node);
        await hostIsThere(agent, fd);
        const out = agent.start('fill', fd, 256 * MB, 32768, 0, 'plain');
        void peer.fill(4 * MB, 0).catch(() => {});
        await peer.skip(MB);
        await qmp.call('device_del', { id: 'plugged' });
        const end = await Agent.soon(out.answer, 10_000);
        is(
          `round ${round}: the writer ends with an error`,
          /^\d+ (ENODEV|EIO)$/.test(end) ? 'yes' : end,
          'yes',
        );
        await agent.call('close', fd);
        peer.socket.destroy();
        await delay(200);
      }
    },
  },
  {
    name: 'many ports, plugged while it runs',
    async run({ agent, qmp, folder, is }) {
      const numbers = Array.from({ length: 20 }, (_, i) => 8 + i);
      for (const nr of numbers) {
        const path = join(folder, `many${nr}`);
        await qmp.call('chardev-add', {
          id: `many${nr}`,
          backend: {
            type: 'socket',
            data: { addr: { type: 'unix', data: { path } }, server: true, wait: false },
          },
        });
        await qmp.call('device_add', {
          driver: 'virtserialport',
          bus: 'ser0.0',
          chardev: `many${nr}`,
          id: `m${nr}`,
          nr,
        });
      }
      let good = 0;
      await Promise.all(
        numbers.map(async (nr) => {
          const peer = await HostPort.connect({ path: join(folder, `many${nr}`) });
          const node = await waitForNode(agent, nr);
          const fd = await agent.open(node);
          await hostIsThere(agent, fd);
          const out = agent.call('fill', fd, 100_000, 5000, nr);
          const into = agent.call('drain', fd, 100_000, 5000, nr + 1);
          void peer.fill(100_000, nr + 1, 7000);
          const right = (await peer.drain(100_000, nr)) === 'equal';
          if (right && count(await out) === 100_000 && (await into).startsWith('100000 ')) good++;
          await agent.call('close', fd);
          await peer.close();
        }),
      );
      is('ports with right data both ways', good, numbers.length);
      for (const nr of numbers) {
        await qmp.call('device_del', { id: `m${nr}` });
        // Its chardev is free when the device is gone.
        for (let attempt = 0; ; attempt++) {
          const refusal = await qmp
            .call('chardev-remove', { id: `many${nr}` })
            .catch((error: Error) => error);
          if (!(refusal instanceof Error)) break;
          if (attempt === 20) throw refusal;
          await delay(100);
        }
      }
    },
  },
];

const sockets = new WeakMap<net.Server, Set<net.Socket>>();

/** A server for the client chardev, and what is connected to it. */
export async function listen(path: string): Promise<net.Server> {
  const server = net.createServer();
  const set = new Set<net.Socket>();
  sockets.set(server, set);
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    set.add(socket);
    socket.on('close', () => set.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

const clients = (server: net.Server): net.Socket[] => [...(sockets.get(server) ?? [])];

/** Waits until the guest knows that the host is connected: reads before that end at once. */
async function hostIsThere(agent: Agent, fd: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (!(await agent.call('poll', 0, fd)).includes('hup')) return;
    await delay(20);
  }
  throw new Error('the guest does not see that the host is connected');
}

/** The device node of port `nr` of the first controller, when it is there. */
async function waitForNode(agent: Agent, nr: number): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    // Two controllers, which the guest may have bound twice.
    for (const controller of [0, 1, 2, 3]) {
      const path = `/dev/vport${controller}p${nr}`;
      const answer = await agent.call('open', path);
      if (!/^\d+$/.test(answer)) continue;
      await agent.call('close', answer);
      return path;
    }
    await delay(50);
  }
  return '';
}
