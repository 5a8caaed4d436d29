/**
 * `npm run bench:serial`: bytes per second through a virtio-serial port in both directions, with writes of several
 * sizes, and the round trip of one byte; QEMU's translator and Paravane in turn, same guest, same command line, same
 * host program. Each measurement is first made untimed for a while, by both; what the first of these runs took is
 * shown as well. Prints a table and, with `--json FILE`, all measurements.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Agent } from '../test/fedora/agent.ts';
import { HostPort, pattern } from '../test/fedora/host-port.ts';
import { buildAgent, type Peer, scratchFolder, VmProcess } from '../test/fedora/vm.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
    node: { type: 'string' },
    program: { type: 'string' },
    only: { type: 'string', default: '' },
    'no-qemu': { type: 'boolean', default: false },
    'node-arg': { type: 'string', multiple: true, default: [] },
    mebibytes: { type: 'string', default: '128' },
    warm: { type: 'string', default: '2' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(
    `npm run bench:serial -- [--rounds N] [--mebibytes N] [--warm SECONDS] [--only TEXT] [--json FILE] [--node PATH] [--no-qemu]
  --mebibytes  what one transfer moves (128); with 4 KB writes a quarter of it
  --warm       seconds for which each measurement is made before it counts (2; 0: the first run counts)
  --program    main.js of another build of Paravane
  --only       measurements whose name holds TEXT
  --node       Node.js that runs Paravane; --node-arg ARG is given to it (a profiler's option)\n`,
  );
  process.exit(0);
}
const rounds = Number(values.rounds);
const mebibytes = Number(values.mebibytes);
const warm = Number(values.warm) * 1000;
if (!Number.isInteger(rounds) || rounds < 1 || !(mebibytes > 0) || !(warm >= 0)) {
  process.stderr.write(
    'bench:serial: --rounds and --mebibytes are numbers from 1 on, --warm one from 0 on\n',
  );
  process.exit(2);
}

const folder = scratchFolder();
const { ensureGuest } = (await import(
  join(process.cwd(), 'dist/index.js')
)) as typeof import('../src/index.ts');
const guest = await ensureGuest('tiny', { progress: (text) => process.stderr.write(`${text}\n`) });
const built = buildAgent(folder);
if (built === undefined) {
  process.stderr.write('bench:serial: gcc is needed to build the program for the guest\n');
  process.exit(1);
}
const agentFile = built;

/** One measurement: higher is better for bytes per second, lower for microseconds. */
interface Measurement {
  readonly name: string;
  readonly unit: 'MB/s' | 'µs';
  run(agent: Agent, fd: number, host: HostPort): Promise<number>;
}

function transfer(direction: 'guest→host' | 'host→guest', chunk: number, name: string): Measurement {
  const total = Math.round((mebibytes * 2 ** 20) / (chunk < 65536 ? 4 : 1));
  return {
    name: `${direction} ${name}`,
    unit: 'MB/s',
    async run(agent, fd, host) {
      if (direction === 'guest→host') {
        const answer = agent.call('fill', fd, total, chunk, 1, 'plain');
        await host.take(1);
        const start = performance.now();
        await host.skip(total - 1);
        const took = performance.now() - start;
        await answer;
        return total / took / 1000;
      }
      const answer = agent.call('drain', fd, total, 65536, 1, 'plain', 'ack');
      const bytes = Buffer.from(pattern(0, chunk, 1));
      const start = performance.now();
      for (let done = 0; done < total; done += chunk)
        if (!host.socket.write(bytes)) await new Promise((resolve) => host.socket.once('drain', resolve));
      await host.take(1);
      const took = performance.now() - start;
      await answer;
      return total / took / 1000;
    },
  };
}

const TRIPS = 2000;

const MEASUREMENTS: readonly Measurement[] = [
  transfer('guest→host', 1 << 20, '1 MB writes'),
  transfer('guest→host', 65536, '64 KB writes'),
  transfer('guest→host', 4096, '4 KB writes'),
  transfer('host→guest', 1 << 20, '1 MB writes'),
  transfer('host→guest', 65536, '64 KB writes'),
  transfer('host→guest', 4096, '4 KB writes'),
  {
    name: 'round trip from the host',
    unit: 'µs',
    async run(agent, fd, host) {
      const answer = agent.call('echo', fd, TRIPS);
      const byte = Buffer.from('p');
      const start = performance.now();
      for (let i = 0; i < TRIPS; i++) {
        host.write(byte);
        await host.take(1);
      }
      const took = performance.now() - start;
      await answer;
      return (took * 1000) / TRIPS;
    },
  },
  {
    name: 'round trip from the guest',
    unit: 'µs',
    async run(agent, fd, host) {
      const answer = agent.call('ping', fd, TRIPS);
      for (let i = 0; i < TRIPS; i++) {
        await host.take(1);
        host.write('p');
      }
      return Number((await answer).split(' ')[1]) / 1000 / TRIPS;
    },
  },
];

/** Processor time of a process with all its threads, in milliseconds; NaN where the system does not tell. */
function cpuTime(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const times = threads.map(
      (id) => readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0],
    );
    return times.reduce((sum, time) => sum + Number(time) / 1e6, 0);
  } catch {
    return Number.NaN;
  }
}

const wanted = MEASUREMENTS.filter(({ name }) => name.includes(values.only));
const results = new Map<string, Record<Peer, number[]>>();
/** The first run of each, before the warm-up. */
const firsts = new Map<string, Record<Peer, number[]>>();
/** Processor milliseconds of the machine's process for each measurement: hardly changed by what else runs. */
const cpu = new Map<string, Record<Peer, number[]>>();
for (const { name } of wanted)
  for (const map of [results, firsts, cpu]) map.set(name, { paravane: [], qemu: [] });

async function round(peer: Peer, number: number): Promise<void> {
  const path = join(folder, `${peer}${number}`);
  const vm = new VmProcess(
    {
      peer,
      guest,
      ...(values.node === undefined ? {} : { node: values.node }),
      ...(values.program === undefined ? {} : { program: values.program }),
      nodeArgs: values['node-arg'],
      args: [
        ...['-drive', `file=${agentFile.image},if=virtio,format=raw,readonly=on`],
        ...['-device', 'virtio-serial-pci', '-chardev', `socket,path=${path},server=on,wait=off,id=p`],
        ...['-device', 'virtserialport,chardev=p,name=bench'],
      ],
    },
    folder,
  );
  try {
    await vm.shell();
    const agent = await Agent.start(vm, '/dev/vda', agentFile.size);
    const host = await HostPort.connect({ path });
    const fd = await agent.open('/dev/vport1p1').catch(() => agent.open('/dev/vport0p1'));
    for (const measurement of wanted) {
      // Translators meet the code of this path for the first time: a cost of its own, and shown as such.
      const first: number[] = firsts.get(measurement.name)![peer];
      for (const end = performance.now() + warm; performance.now() < end; ) {
        const value = await measurement.run(agent, fd, host);
        if (first.length < number) first.push(value);
      }
      const before = cpuTime(vm.child.pid!);
      const value = await measurement.run(agent, fd, host);
      const spent = cpuTime(vm.child.pid!) - before;
      cpu.get(measurement.name)![peer].push(spent);
      results.get(measurement.name)![peer].push(value);
      process.stderr.write(
        `round ${number}  ${peer.padEnd(8)}  ${measurement.name}: ${value.toFixed(2)} ${measurement.unit}, ` +
          `${spent.toFixed(0)} ms of processor time\n`,
      );
    }
    await host.close();
  } catch (error) {
    throw new Error(`${peer}: ${(error as Error).message}\n${vm.errors.log}`, { cause: error });
  } finally {
    await vm.kill();
  }
}

const peers: Peer[] = values['no-qemu'] ? ['paravane'] : ['qemu', 'paravane'];
for (let number = 1; number <= rounds; number++) for (const peer of peers) await round(peer, number);

const median = (list: readonly number[]): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
/** How many times as good as QEMU: bytes per second, or the inverse of the time. */
const table = wanted.map(({ name, unit }) => {
  const { paravane, qemu } = results.get(name)!;
  const [ours, theirs] = [median(paravane), median(qemu)];
  const cold = firsts.get(name)!;
  const spent = cpu.get(name)!;
  const cpuRatio = median(spent.qemu) / median(spent.paravane);
  return {
    name,
    unit,
    paravane: ours,
    qemu: theirs,
    ratio: unit === 'µs' ? theirs / ours : ours / theirs,
    first:
      unit === 'µs' ? median(cold.qemu) / median(cold.paravane) : median(cold.paravane) / median(cold.qemu),
    cpuRatio,
  };
});
const geometricMean = (list: readonly number[]): number =>
  Math.exp(list.reduce((sum, value) => sum + Math.log(value), 0) / list.length);
process.stdout.write(
  `\n${'measurement'.padEnd(28)} ${'qemu-tcg'.padStart(10)} ${'paravane'.padStart(10)} unit  times as good  in processor time  in the first run\n`,
);
for (const row of table)
  process.stdout.write(
    `${row.name.padEnd(28)} ${row.qemu.toFixed(2).padStart(10)} ${row.paravane.toFixed(2).padStart(10)} ` +
      `${row.unit.padEnd(5)} ${row.ratio.toFixed(2).padEnd(14)} ${row.cpuRatio.toFixed(2).padEnd(18)} ` +
      `${warm > 0 ? row.first.toFixed(2) : '-'}\n`,
  );
const speed = geometricMean(table.filter(({ unit }) => unit === 'MB/s').map(({ ratio }) => ratio));
if (!values['no-qemu'])
  process.stdout.write(
    `geometric mean of bytes per second: ${speed.toFixed(2)} times QEMU's (Node ${process.versions.node})\n`,
  );
if (values.json !== undefined) {
  const all = table.map((row) => ({
    ...row,
    rounds: results.get(row.name),
    firstRuns: firsts.get(row.name),
    cpu: cpu.get(row.name),
  }));
  writeFileSync(
    values.json,
    `${JSON.stringify({ node: process.versions.node, rounds, results: all }, null, 2)}\n`,
  );
}
process.exit(0);
