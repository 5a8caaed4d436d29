/**
 * The test plan of Fedora's virtio-serial feature page on one machine with the Debian guest: several consoles with a
 * getty on each, files both ways over unix and tcp sockets with checksums, eight ports in both directions at once
 * for minutes, and all of it at the same time.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from './agent.ts';
import { HostPort } from './host-port.ts';
import { freePort } from './run-paths.ts';
import { delay, type GuestFiles, type Peer, TextStream, VmProcess } from './vm.ts';

export interface PlanResult {
  readonly name: string;
  /** `ok`, or what was wrong. */
  readonly verdict: string;
  readonly seconds: number;
  /** A figure for the table, such as bytes per second. */
  readonly figure?: string;
}

export interface PlanOptions {
  readonly peer: Peer;
  readonly smp: number;
  readonly guest: GuestFiles;
  readonly agent: { readonly image: string; readonly size: number };
  readonly folder: string;
  /** Of the run with eight ports. */
  readonly minutes: number;
  readonly progress: (text: string) => void;
}

const CONSOLES = [0, 1, 2];
const PORTS = Array.from({ length: 8 }, (_, i) => i);
/** Of each file. */
const FILE_BYTES = 16 << 20;
/** What a port moves each way between two looks at the clock. */
const ROUND_BYTES = 2 << 20;
const MB = 1 << 20;

/** A person at a console: its socket as text. */
class Terminal {
  readonly text = new TextStream();
  readonly port: HostPort;

  constructor(port: HostPort) {
    this.port = port;
    port.socket.setEncoding('utf8');
    port.socket.removeAllListeners('data');
    port.socket.on('data', (data) => this.text.push(String(data)));
  }

  async login(): Promise<void> {
    this.port.write('\n');
    await this.text.waitFor('login: ');
    this.port.write('root\n');
    await this.text.waitFor('# ');
  }

  /** What `command` prints between two marks. */
  async run(command: string): Promise<string> {
    this.port.write(`echo be''gin; ${command}; echo e''nd\n`);
    await this.text.waitFor(/begin\r?\n/);
    return (await this.text.waitFor(/end\r?\n/))
      .replaceAll('\r', '')
      .replace(/end\n$/, '')
      .trim();
  }
}

export async function runPlan(options: PlanOptions): Promise<PlanResult[]> {
  const { peer, smp, guest, agent: program, progress } = options;
  const folder = join(options.folder, `plan-${peer}-${smp}`);
  mkdirSync(folder, { recursive: true });
  const tcp = new Map<number, number>();
  for (const n of PORTS) if (n % 2 === 1) tcp.set(n, await freePort());
  const unix = (id: string) => `socket,path=${join(folder, id)},server=on,wait=off,id=${id}`;
  const backend = (n: number) =>
    tcp.has(n) ? `socket,host=127.0.0.1,port=${tcp.get(n)},server=on,wait=off,id=p${n}` : unix(`p${n}`);
  const vm = new VmProcess(
    {
      ...{ peer, guest, smp },
      args: [
        ...['-drive', `file=${program.image},if=virtio,format=raw,readonly=on,file.locking=off`],
        ...['-device', 'virtio-serial'],
        ...CONSOLES.flatMap((n) => ['-chardev', unix(`c${n}`), '-device', `virtconsole,chardev=c${n}`]),
        ...PORTS.flatMap((n) => [
          ...['-chardev', backend(n)],
          ...['-device', `virtserialport,chardev=p${n},name=org.fedoraproject.port.${n}`],
        ]),
      ],
    },
    folder,
  );
  const results: PlanResult[] = [];
  const check = async (name: string, body: () => Promise<string | void>): Promise<void> => {
    const start = Date.now();
    let verdict = 'ok';
    let figure: string | undefined;
    try {
      figure = (await body()) ?? undefined;
    } catch (error) {
      verdict = (error as Error).message;
    }
    const seconds = (Date.now() - start) / 1000;
    results.push({ name, verdict, seconds, ...(figure === undefined ? {} : { figure }) });
    progress(`${peer} -smp ${smp}: ${name}: ${verdict}${figure === undefined ? '' : ` (${figure})`}`);
  };
  const connect = (n: number) =>
    HostPort.connect(tcp.has(n) ? { host: '127.0.0.1', port: tcp.get(n)! } : { path: join(folder, `p${n}`) });
  const node = (n: number) => `/dev/virtio-ports/org.fedoraproject.port.${n}`;
  const terminals: Terminal[] = [];
  const consolesAnswer = async (): Promise<void> => {
    await Promise.all(
      terminals.map(async (terminal, n) => {
        const seen = await terminal.run(`tty; echo $((${n} + 40))`);
        if (seen !== `/dev/hvc${n}\n${n + 40}`) throw new Error(`hvc${n}: ${JSON.stringify(seen)}`);
      }),
    );
  };

  try {
    await check('boots to a login', () => vm.shell());
    await check('names: sysfs, udev links', async () => {
      const names = await vm.run('cat /sys/class/virtio-ports/*/name | sort; ls /dev/virtio-ports | wc -l');
      const right = [...PORTS.map((n) => `org.fedoraproject.port.${n}`), '8'].join('\n');
      if (names !== right) throw new Error(names);
    });
    await check('a getty on each console: log in', async () => {
      await vm.run('systemctl stop "serial-getty@hvc*" 2>/dev/null; true');
      for (const n of CONSOLES) {
        terminals.push(new Terminal(await HostPort.connect({ path: join(folder, `c${n}`) })));
        await vm.run(`setsid agetty hvc${n} 9600 vt100 >/dev/null 2>&1 & sleep 0`);
      }
      await Promise.all(terminals.map((terminal) => terminal.login()));
      await consolesAnswer();
    });

    const file = randomBytes(FILE_BYTES);
    const sum = createHash('sha1').update(file).digest('hex');
    const intoGuest = async (n: number): Promise<void> => {
      const host = await connect(n);
      const got = vm.run(`head -c ${FILE_BYTES} ${node(n)} >/root/f${n}; sha1sum </root/f${n}`);
      await delay(500);
      await new Promise<void>((resolve) => host.socket.write(file, () => resolve()));
      const answer = await got;
      await host.close();
      if (!answer.includes(sum)) throw new Error(`sha1sum in the guest: ${answer}, on the host: ${sum}`);
    };
    const outOfGuest = async (n: number): Promise<void> => {
      const host = await connect(n);
      const sent = vm.run(`cat /root/f${n} >${node(n)}`);
      const bytes = await host.take(FILE_BYTES, 300_000);
      await sent;
      await host.close();
      const got = createHash('sha1').update(bytes).digest('hex');
      if (got !== sum) throw new Error(`sha1sum on the host: ${got}, in the guest: ${sum}`);
    };
    for (const [n, kind] of [
      [0, 'unix'],
      [1, 'tcp'],
    ] as const) {
      await check(`a file host → guest over ${kind}, sha1sums`, () => intoGuest(n));
      await check(`the file guest → host over ${kind}, sha1sums`, () => outOfGuest(n));
    }

    const agent = await Agent.start(vm, '/dev/vdb', program.size);
    await check(`eight ports, both ways at once, ${options.minutes} min`, async () => {
      const end = Date.now() + options.minutes * 60_000;
      const start = Date.now();
      const moved = await Promise.all(
        PORTS.map(async (n) => {
          const host = await connect(n);
          const fd = await agent.open(node(n));
          for (let tries = 0; (await agent.call('poll', 0, fd)).includes('hup') && tries < 100; tries++)
            await delay(20);
          let total = 0;
          for (let seed = n; Date.now() < end; seed = (seed + 8) & 0xff) {
            const out = agent.start('fill', fd, ROUND_BYTES, 1 << (10 + (n % 6)), seed).answer;
            const into = agent.start('drain', fd, ROUND_BYTES, 65536, seed + 1).answer;
            const [, seen] = await Promise.all([
              host.fill(ROUND_BYTES, seed + 1),
              host.drain(ROUND_BYTES, seed, 300_000),
            ]);
            const [put, got] = [await out, await into];
            if (seen !== 'equal') throw new Error(`port ${n}, to the host: ${seen}`);
            for (const answer of [put, got])
              if (!new RegExp(`^${ROUND_BYTES} \\d+$`).test(answer)) throw new Error(`port ${n}: ${answer}`);
            total += 2 * ROUND_BYTES;
          }
          await agent.call('close', fd);
          await host.close();
          return total;
        }).concat(
          // All at the same time: somebody works on the consoles meanwhile.
          (async () => {
            for (; Date.now() < end - 5000; await delay(5000)) await consolesAnswer();
            return 0;
          })(),
        ),
      );
      const total = moved.reduce((sum, each) => sum + each, 0);
      if (moved.slice(0, PORTS.length).some((each) => each === 0)) throw new Error('a port moved nothing');
      return `${Math.round(total / MB)} MB, ${(total / MB / ((Date.now() - start) / 1000)).toFixed(1)} MB/s`;
    });
    await check('the consoles still answer', consolesAnswer);
    await agent.exit();
    await check('powers off', async () => {
      vm.type('poweroff\n');
      const code = await Promise.race([vm.exited, delay(120_000).then(() => 'still running')]);
      if (code !== 0) throw new Error(`exit status ${code}: ${vm.errors.log}`);
    });
  } catch (error) {
    results.push({ name: 'the machine', verdict: (error as Error).message, seconds: 0 });
    progress(`${peer}: ${(error as Error).message}`);
  } finally {
    await vm.kill();
  }
  return results;
}
