/** Runs the cases of paths.ts on one machine and gives what each saw. */
import * as net from 'node:net';
import { join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { Agent } from './agent.ts';
import { HostPort } from './host-port.ts';
import { listen, PATHS, type PathCase, portArgs } from './paths.ts';
import { type GuestFiles, type Peer, VmProcess, type VmOptions, within } from './vm.ts';

export interface PathResult {
  readonly name: string;
  /** What did not come out as expected; empty when all did. */
  readonly wrong: string[];
  /** All that was seen, to be compared with another machine's. */
  readonly seen: Record<string, unknown>;
  readonly seconds: number;
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A case that takes longer than this has hung. */
const CASE_LIMIT = 900_000;

export async function runPaths(options: {
  readonly peer: Peer;
  readonly guest: GuestFiles;
  readonly agent: { readonly image: string; readonly size: number };
  readonly folder: string;
  readonly smp?: number;
  readonly select?: (each: PathCase) => boolean;
  readonly vm?: Partial<VmOptions>;
  readonly progress?: (text: string) => void;
}): Promise<PathResult[]> {
  const { peer, guest, agent: program } = options;
  const folder = join(options.folder, `${peer}-${options.smp ?? 1}-${Date.now() % 100_000}`);
  mkdirSync(folder, { recursive: true });
  const server = await listen(join(folder, 'client'));
  const tcp = await freePort();
  const vm = new VmProcess(
    {
      peer,
      guest,
      smp: options.smp ?? 1,
      ...options.vm,
      args: [
        ...['-drive', `file=${program.image},if=virtio,format=raw,readonly=on,file.locking=off`],
        ...portArgs(folder, tcp),
        ...(options.vm?.args ?? []),
      ],
    },
    folder,
  );
  const results: PathResult[] = [];
  try {
    await vm.shell();
    const list = await vm.run('for p in /sys/class/virtio-ports/*; do echo ${p##*/} $(cat $p/name); done');
    const nodes = new Map<string, string>();
    for (const line of list.split('\n')) {
      const [node, name] = line.split(' ');
      if (name !== undefined) nodes.set(name, `/dev/${node}`);
    }
    const agent = await Agent.start(vm, guest.disk === undefined ? '/dev/vda' : '/dev/vdb', program.size);
    const qmp = await vm.qmp();
    for (const each of PATHS.filter(options.select ?? (() => true))) {
      const wrong: string[] = [];
      const seen: Record<string, unknown> = {};
      const hosts: HostPort[] = [];
      const start = Date.now();
      const rig = {
        ...{ vm, agent, qmp, folder, server, tcp },
        node: (name: string) => nodes.get(name) ?? `/dev/virtio-ports/${name}`,
        host: async (name: string) => {
          const host = await HostPort.connect({ path: join(folder, name) });
          hosts.push(host);
          return host;
        },
        is: (what: string, actual: unknown, expected: unknown) => {
          seen[what] = actual;
          if (actual !== expected) wrong.push(`${what}: ${String(actual)}, expected ${String(expected)}`);
        },
      };
      try {
        await within(each.run(rig), CASE_LIMIT, each.name);
      } catch (error) {
        wrong.push((error as Error).message);
        for (const host of hosts) host.socket.destroy();
        await agent.reset();
      }
      const seconds = (Date.now() - start) / 1000;
      results.push({ name: each.name, wrong, seen, seconds });
      options.progress?.(
        `${peer}: ${wrong.length === 0 ? 'ok' : 'WRONG'} ${each.name} (${seconds.toFixed(1)} s)`,
      );
      for (const text of wrong) options.progress?.(`    ${text}`);
    }
  } catch (error) {
    const text = `${(error as Error).message}\n${vm.errors.log}`;
    results.push({ name: 'the machine', wrong: [text], seen: {}, seconds: 0 });
    options.progress?.(text);
  } finally {
    await vm.kill();
    server.close();
  }
  return results;
}
