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

/**
 * Linux before 6.3 numbers consoles without a lock: two controllers that are probed at the same time may give theirs
 * the same number, and one of them is then no /dev/hvcN, under QEMU as here. Waits for `consoles` of them; where a
 * number is not unique, the driver leaves all of their controllers and takes one after the other.
 * @returns whether it had to
 * @throws Error when not all consoles appear: a message of the device was lost
 */
export async function separateConsoles(vm: VmProcess, consoles: number): Promise<boolean> {
  const ports = '/sys/kernel/debug/virtio-ports';
  const driver = '/sys/bus/virtio/drivers/virtio_console';
  const wait = (count: number): string =>
    `n=0; while [ $(cat ${ports}/* | grep -c 'is_console: yes') != ${count} ] && [ $n -lt 60 ]; do n=$((n+1)); sleep 1; done`;
  await vm.run('[ -d /sys/kernel/debug/virtio-ports ] || mount -t debugfs none /sys/kernel/debug');
  const list = await vm.run(
    `${wait(consoles)}; for p in $(cd ${ports}; grep -l 'is_console: yes' *); do echo $(sed -n 's/console_vtermno: //p' ${ports}/$p) $(basename $(readlink -f /sys/class/virtio-ports/$p/device)); done`,
  );
  const found = list.split('\n').map((line) => line.split(' '));
  if (found.length !== consoles) throw new Error(`${consoles} consoles expected in the guest:\n${list}`);
  if (new Set(found.map(([number]) => number)).size === consoles) return false;
  const controllers = [...new Set(found.map(([, controller]) => controller!))];
  for (const controller of controllers) await vm.run(`echo ${controller} >${driver}/unbind`);
  for (const [at, controller] of controllers.entries())
    await vm.run(`echo ${controller} >${driver}/bind; ${wait(at + 1)}; sleep 1`);
  return true;
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
    if (await separateConsoles(vm, 2))
      options.progress?.(
        `${peer}: the guest had given both consoles one number, and has bound their driver anew`,
      );
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
