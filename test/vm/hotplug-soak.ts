/**
 * Plugs and unplugs a virtio-serial port a thousand times, while four other ports of the controller carry data both
 * ways. A long test, by hand:
 *
 *   node scripts/typescript.mjs test/vm/hotplug-soak.ts [--rounds 1000] [--program paravane|qemu]
 *
 * It fails when a byte is lost or changed, an event does not come, or the machine's memory keeps growing. (What the
 * rounds leave behind is translated code: of the objects on the heap, only those of blocks and regions become more.)
 */
import { readFileSync } from 'node:fs';
import * as net from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MachineProcess, type Program } from './machine-process.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    program: { type: 'string', default: 'paravane' },
  },
});
const ROUNDS = Number(values.rounds);
const PORTS = [1, 2, 3, 4];
const HOT = 9;
/** Bytes that are on their way through the guest and back, at most, on each port. */
const WINDOW = 16384;
/**
 * By how much resident memory may grow after the first hundred rounds. 36 MiB were measured in 900 rounds, until V8
 * collects what has become old: then it is less than at the start. Collected at each look it grows by 5.
 */
const GROWTH = 64 * 2 ** 20;
/** How often what came back is replaced. */
const REFILL_MS = 50;

/** Sends a stream of bytes that can be computed, and holds what comes back against it. */
class EchoCheck {
  readonly #socket: net.Socket;
  #sent = 0;
  #back = 0;
  readonly #timer: NodeJS.Timeout;
  error: string | undefined;

  constructor(socket: net.Socket, seed: number) {
    this.#socket = socket;
    const byteAt = (at: number): number => (at * 131 + seed * 17 + (at >> 8)) & 0xff;
    const more = (): void => {
      while (this.#sent - this.#back < WINDOW) {
        const from = this.#sent;
        this.#sent += 1024;
        socket.write(Uint8Array.from({ length: 1024 }, (_, index) => byteAt(from + index)));
      }
    };
    socket.on('data', (data: Buffer) => {
      for (const byte of data) {
        if (byte !== byteAt(this.#back) && this.error === undefined)
          this.error = `byte ${this.#back} came back as ${byte}, not as ${byteAt(this.#back)}`;
        this.#back++;
      }
    });
    // Always something on its way, without keeping the guest from all else.
    this.#timer = setInterval(more, REFILL_MS);
    more();
  }

  get bytes(): number {
    return this.#back;
  }

  /** Sends no more, and waits for the rest. @throws when it does not come in a minute */
  async finish(): Promise<void> {
    clearInterval(this.#timer);
    for (let i = 0; i < 600 && this.#back < this.#sent; i++) await pause(100);
    if (this.#back < this.#sent) throw new Error(`${this.#sent - this.#back} bytes did not come back`);
    if (this.error !== undefined) throw new Error(this.error);
    this.#socket.destroy();
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Resident bytes of a process. */
function resident(pid: number): number {
  const kilobytes = /^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(kilobytes?.[1] ?? 0) * 1024;
}

async function connect(path: string): Promise<net.Socket> {
  const socket = net.connect(path);
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket;
}

async function main(): Promise<void> {
  const vm = await MachineProcess.boot(values.program as Program, (folder) => [
    ...['-device', 'virtio-serial-pci,id=ser0'],
    ...[...PORTS, HOT].flatMap((nr) => [
      '-chardev',
      `socket,id=c${nr},path=${join(folder, `c${nr}`)},server=on,wait=off`,
    ]),
    ...PORTS.flatMap((nr) => ['-device', `virtserialport,chardev=c${nr},nr=${nr},name=echo${nr}`]),
  ]);
  try {
    await vm.shell();
    await vm.sh('mount -t debugfs none /sys/kernel/debug');
    // Says a word on the port that comes and goes, and reads until it is gone.
    const agent = `while :; do [ -c /dev/vport0p${HOT} ] && { echo hello >&7; cat <&7; } 7<>/dev/vport0p${HOT}; sleep 0.01; done`;
    await vm.sh(`(sh -c '${agent}' >/dev/null 2>&1 &)`);
    const echoes: EchoCheck[] = [];
    // The host first: a read of a port to which nobody is connected is at its end.
    for (const nr of PORTS) {
      const socket = await connect(join(vm.folder, `c${nr}`));
      const connected = `grep -q "host_connected: 1" /sys/kernel/debug/virtio-ports/vport0p${nr}`;
      await vm.sh(`until ${connected}; do sleep 0.05; done`);
      await vm.sh(`(sh -c 'exec cat 0<>/dev/vport0p${nr} 1>&0' &)`);
      echoes.push(new EchoCheck(socket, nr));
    }
    const hot = await connect(join(vm.folder, `c${HOT}`));
    let heard = '';
    let wake: () => void = () => {};
    hot.on('data', (data: Buffer) => {
      heard += data.toString('latin1');
      wake();
    });
    const start = Date.now();
    let early = 0;
    let first: number | undefined;
    for (let round = 1; round <= ROUNDS; round++) {
      heard = '';
      const port = { driver: 'virtserialport', id: 'hot', chardev: `c${HOT}`, nr: HOT, name: `hot${round}` };
      const added = await vm.run('device_add', port);
      if (JSON.stringify(added) !== '{}') throw new Error(`round ${round}: device_add: ${String(added)}`);
      // In one of ten rounds it goes before the guest has had time to look.
      if (round % 10 === 0) early++;
      else {
        while (!heard.includes('hello\n'))
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        hot.write('some input that may or may not be read in time\n');
      }
      vm.takeEvents();
      const removed = await vm.run('device_del', { id: 'hot' });
      if (JSON.stringify(removed) !== '{}') throw new Error(`round ${round}: device_del: ${String(removed)}`);
      await vm.waitForEvent('DEVICE_DELETED', { device: 'hot' });
      if (round % 100 === 0 || round === ROUNDS) {
        const bytes = echoes.reduce((sum, echo) => sum + echo.bytes, 0);
        const seconds = ((Date.now() - start) / 1000).toFixed(0);
        const memory = resident(vm.pid);
        first ??= memory;
        const mebibytes = (memory / 2 ** 20).toFixed(0);
        console.log(
          `${round} rounds (${early} of them early), ${seconds} s, ${bytes} bytes echoed, ${mebibytes} MiB`,
        );
        if (memory - first > GROWTH) throw new Error(`memory has grown by more than ${GROWTH / 2 ** 20} MiB`);
      }
    }
    for (const echo of echoes) await echo.finish();
    const left = await vm.sh('ls /sys/class/virtio-ports | tr "\\n" " "; dmesg | grep -ciE "warn|bug|oops"');
    console.log(`ports left: ${left}`);
    console.log(vm.errors === '' ? 'no messages' : vm.errors);
  } finally {
    await vm.end();
  }
}

await main();
