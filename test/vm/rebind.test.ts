/**
 * Four agents in the tiny guest, each on a port of its own, and four clients on the host that stay connected while the
 * guest's driver is unbound and bound over and over, and while the guest reboots. What was acknowledged was not lost,
 * and a question that was lost with the driver is answered when it is asked again. The same for QEMU where it is
 * installed. Skipped without a build and the guest.
 */
import { existsSync } from 'node:fs';
import * as net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';
import { haveQemu } from '../pc/qemu-monitor.ts';
import { MachineProcess, type Program } from './machine-process.ts';

const ready = existsSync('dist/cli/main.js') && cachedGuest('tiny') !== undefined;
const programs: readonly Program[] = haveQemu() ? ['paravane', 'qemu'] : ['paravane'];

const AGENTS = ['org.a', 'org.b', 'org.c', 'org.d'] as const;
const ROUNDS = 4;

/**
 * An agent: finds its port by name, writes down each line that it reads and then acknowledges it; when the port goes,
 * it looks for it again. The lines have random data behind the number, so that parts of them cannot pass for others.
 */
const AGENT = [
  'cat >/tmp/agent <<"END"',
  'while :; do',
  '  node=$(grep -l "^$1$" /sys/class/virtio-ports/*/name 2>/dev/null | cut -d/ -f5)',
  '  if [ -n "$node" ] && [ -c /dev/$node ]; then',
  '    while read number rest; do echo "$number $rest" >>/tmp/log.$1; echo "ack $number $rest"; done <>/dev/$node >&0',
  '  fi 2>/dev/null',
  '  sleep 0.1',
  'done',
  'END',
].join('\n');

/** A client that asks one question at a time, and again when there was no answer. */
class Client {
  readonly socket: net.Socket;
  /** Numbers that were acknowledged, in order. */
  readonly acknowledged: string[] = [];
  closed = false;
  /** Answers to what nobody asked. */
  readonly strange: string[] = [];
  #number = 0;
  #line = '';
  #timer: NodeJS.Timeout | undefined;
  #rest = '';
  #wake: () => void = () => {};

  constructor(path: string) {
    this.socket = net.connect(path).setEncoding('latin1');
    this.socket.on('close', () => {
      this.closed = true;
    });
    this.socket.on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop()!;
      for (const line of lines) this.#answer(line.replace(/\r$/, ''));
    });
    this.#ask();
  }

  #ask(): void {
    this.#line = `${this.#number} ${'abcdefghij'.repeat(10 + (this.#number % 40))}`;
    this.#send();
  }

  #send(): void {
    this.socket.write(`${this.#line}\n`);
    // The driver may have gone with the question.
    this.#timer = setTimeout(() => this.#send(), 3000);
  }

  #answer(line: string): void {
    // An agent that opens its port in the middle of a line has got a part of one: that is no number of ours.
    if (line === `ack ${this.#line}`) {
      clearTimeout(this.#timer);
      this.acknowledged.push(this.#line);
      this.#number++;
      this.#wake();
      this.#ask();
    } else if (!line.startsWith('ack ') || Number(line.split(' ')[1]) > this.#number) this.strange.push(line);
  }

  /** Waits until so many more questions have been answered. */
  async more(count: number): Promise<void> {
    const target = this.acknowledged.length + count;
    while (this.acknowledged.length < target)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.socket.destroy();
  }
}

describe.skipIf(!ready).each(programs)('%s', (program) => {
  it('four clients stay connected over rebinds and reboots', { timeout: 400_000 }, async () => {
    const vm = await MachineProcess.boot(program, (folder) => [
      ...['-device', 'virtio-serial-pci,id=ser0'],
      ...AGENTS.flatMap((name) => [
        ...['-chardev', `socket,id=c-${name},path=${join(folder, name)},server=on,wait=off`],
        ...['-device', `virtserialport,bus=ser0.0,chardev=c-${name},name=${name},id=${name}`],
      ]),
    ]);
    const clients: Client[] = [];
    const startAgents = async (): Promise<void> => {
      await vm.shell();
      await vm.sh(AGENT);
      for (const name of AGENTS) await vm.sh(`(sh /tmp/agent ${name} >/dev/null 2>&1 &)`);
    };
    const all = (count: number): Promise<unknown> => Promise.all(clients.map((client) => client.more(count)));
    /** What each port was told to be last. */
    const told = new Map<string, boolean>();
    const changes = (): string[] =>
      vm.takeEvents().flatMap(([event, data]) => {
        if (event !== 'VSERPORT_CHANGE') return [];
        const { id, open } = data as { id: string; open: boolean };
        told.set(id, open);
        return [`${id} ${open}`];
      });
    const opened = async (open: boolean): Promise<void> => {
      for (const id of AGENTS) await vm.waitForEvent('VSERPORT_CHANGE', { id, open });
      changes();
      expect([...told.values()]).toEqual(AGENTS.map(() => open));
    };
    try {
      await startAgents();
      for (const name of AGENTS) clients.push(new Client(join(vm.folder, name)));
      await all(3);
      await opened(true);
      await vm.sh('cd /sys/bus/virtio/drivers/virtio_console; ls -d virtio? >/tmp/dev; cd /');
      for (let round = 0; round < ROUNDS; round++) {
        // In the middle of the traffic.
        await vm.sh('cat /tmp/dev >/sys/bus/virtio/drivers/virtio_console/unbind');
        await opened(false);
        // More than a second later, so that what is told at most once a second is told of each.
        await vm.sh('sleep 1.2; cat /tmp/dev >/sys/bus/virtio/drivers/virtio_console/bind');
        await opened(true);
        await all(3);
      }
      // Whatever was acknowledged has been written down.
      for (const [index, name] of AGENTS.entries()) {
        const done = clients[index]!.acknowledged.slice();
        const log = new Set((await vm.sh(`cut -d" " -f1 /tmp/log.${name}`)).split('\n'));
        expect(done.filter((line) => !log.has(line.split(' ')[0]!))).toEqual([]);
      }
      for (const reboot of ['guest', 'host']) {
        vm.takeEvents();
        if (reboot === 'guest') await vm.type('reboot -f\n');
        else expect(await vm.run('system_reset')).toEqual({});
        await opened(false);
        await startAgents();
        await all(3);
        await opened(true);
      }
      for (const client of clients) {
        expect(client.closed).toBe(false);
        expect(client.strange).toEqual([]);
        // In order, each of them once.
        expect(client.acknowledged.map((line) => Number(line.split(' ')[0]))).toEqual(
          client.acknowledged.map((_, index) => index),
        );
      }
    } finally {
      for (const client of clients) client.end();
      await vm.end();
    }
  });
});
