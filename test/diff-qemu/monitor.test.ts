/**
 * One script of QMP commands for QEMU 7.2 and for us, on the same machine: errors and HMP's texts are to be equal,
 * answers to have the same shape. What may differ is named here, with the reason. Skipped where QEMU is missing.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { haveQemu } from '../pc/qemu-monitor.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const SER0 = '/machine/peripheral/ser0/virtio-backend';

const OPTIONS = [
  ...['-M', 'pc', '-m', '64', '-display', 'none', '-nodefaults', '-S', '-name', 'test'],
  ...['-chardev', 'ringbuf,id=rb', '-serial', 'chardev:rb', '-drive', 'file=d.raw,if=virtio,format=raw'],
  ...['-netdev', 'user,id=n0', '-device', 'virtio-net-pci,netdev=n0', '-device', 'virtio-balloon-pci,id=bal'],
  ...['-device', 'virtio-serial-pci,id=ser0', '-chardev', 'null,id=cn', '-chardev', 'null,id=free'],
  ...['-device', 'virtserialport,chardev=cn,name=a.b,id=p0', '-qmp', 'stdio'],
];

interface Message {
  readonly [key: string]: unknown;
}

class Client {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Message[] = [];
  #wake: () => void = () => {};
  readonly events: string[] = [];

  constructor(program: string, args: readonly string[], cwd: string) {
    this.#child = spawn(program, args, { cwd });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as Message;
      if ('event' in message) this.events.push(String(message.event));
      else this.#lines.push(message);
      this.#wake();
    });
  }

  async next(): Promise<Message> {
    while (this.#lines.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#lines.shift()!;
  }

  ask(text: string): Promise<Message> {
    this.#child.stdin.write(`${text}\n`);
    return this.next();
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}

const run = (execute: string, given?: Message): string =>
  JSON.stringify(given === undefined ? { execute } : { execute, arguments: given });
const human = (line: string): string => run('human-monitor-command', { 'command-line': line });

/** Answers that are equal to the last byte. */
const EQUAL = [
  'xx',
  '{"execute" "query-status"}',
  '{"execute":"query-status","id":"\\q"}',
  '[1]',
  '{}',
  '{"execute":5}',
  '{"execute":"query-name","arguments":5}',
  '{"execute":"query-name","foo":5}',
  '{"exec-oob":"query-name"}',
  '{"execute":"query-name","id":[1.5,-0,0.1,1e3,18446744073709551615,null,"\\ud834\\udd1e\\u007f"]}',
  '{"execute":"qmp_capabilities"}',
  run('nope'),
  run('query-status'),
  run('query-status', { x: 1 }),
  run('query-name'),
  run('query-uuid'),
  run('query-target'),
  run('query-iothreads'),
  run('query-memory-size-summary'),
  run('query-memory-devices'),
  run('query-balloon'),
  run('balloon', { value: -1 }),
  run('device_del'),
  run('device_del', { id: 3 }),
  run('device_del', { id: 'zz' }),
  run('device_add', {}),
  run('device_add', { driver: 'nope' }),
  run('device_add', { driver: 'virtserialport', chardev: 'nope' }),
  run('device_add', { driver: 'virtserialport', chardev: 'cn' }),
  run('device_add', { driver: 'virtserialport', bogus: 1 }),
  run('device_add', { driver: 'virtserialport', nr: 99 }),
  run('device_add', { driver: 'virtserialport', nr: 1 }),
  run('device_add', { driver: 'virtserialport', nr: 0 }),
  run('device_add', { driver: 'virtserialport', name: 'a.b' }),
  run('device_add', { driver: 'virtserialport', id: 'p0' }),
  run('device_add', { driver: 'virtserialport', bus: 'pci.0' }),
  run('device_add', { driver: 'virtserialport', id: 'p1', chardev: 'free', name: 'c.d' }),
  run('device_del', { id: 'p1' }),
  run('device_add', { driver: 'virtio-rng-pci', id: '1bad' }),
  run('device_add', { driver: 'virtio-rng-pci', bus: 'nobus' }),
  run('device_add', { driver: 'virtio-rng-pci', addr: '40' }),
  run('device_add', { driver: 'virtio-rng-pci', 'max-bytes': 'abc' }),
  run('device_add', { driver: 'isa-serial' }),
  run('device_add', { driver: 'virtio-rng-pci', id: 'r0' }),
  run('device_del', { id: 'r0' }),
  run('device_del', { id: 'r0' }),
  run('ringbuf-write', { device: 'rb', data: 'hello' }),
  run('ringbuf-read', { device: 'rb', size: 100 }),
  run('ringbuf-read', { device: 'rb', size: 0 }),
  run('ringbuf-read', { device: 'nope', size: 1 }),
  run('ringbuf-read', { device: 'cn', size: 1 }),
  run('ringbuf-write', { device: 'rb', data: '!!', format: 'base64' }),
  run('ringbuf-read', { device: 'rb', size: 1, format: 'zz' }),
  run('set_link', { name: 'n0', up: false }),
  run('set_link', { name: 'zz', up: false }),
  run('set_link', { name: 'n0', up: 1 }),
  run('query-rx-filter', { name: 'zz' }),
  run('chardev-send-break', { id: 'zz' }),
  run('chardev-send-break', { id: 'rb' }),
  run('system_wakeup'),
  run('object-add', { 'qom-type': 'rng-builtin', id: 'o1' }),
  run('object-add', { 'qom-type': 'rng-builtin', id: 'o1' }),
  run('object-add', { 'qom-type': 'nope', id: 'o2' }),
  run('object-add', { 'qom-type': 'rng-builtin' }),
  run('object-add', { 'qom-type': 'rng-builtin', id: 'o3', bogus: 1 }),
  run('object-add', { 'qom-type': 'rng-random', id: 'o4', filename: '/nope' }),
  run('object-del', { id: 'o1' }),
  run('object-del', { id: 'o1' }),
  run('qom-list', { path: '/zz' }),
  run('qom-get', { path: '/machine/peripheral/ser0', property: 'type' }),
  run('qom-get', { path: '/machine/peripheral/ser0', property: 'zz' }),
  run('device-list-properties', { typename: 'nope' }),
  run('x-query-virtio-status', { path: '/nope' }),
  run('x-query-virtio-queue-status', { path: SER0, queue: 1000 }),
  run('x-query-virtio-queue-element', { path: SER0, queue: 0 }),
  run('x-query-virtio-vhost-queue-status', { path: SER0, queue: 0 }),
  run('memsave', { val: 0, size: 16, filename: 'm', 'cpu-index': 5 }),
  run('pmemsave', { val: 0, size: 16, filename: 'nodir/m' }),
  human('info status'),
  human('info name'),
  human('info uuid'),
  human('info network'),
  human('info balloon'),
  human('info memory_size_summary'),
  human('nonsense'),
  human('info nonsense'),
  human('device_del'),
  human('device_del zz'),
  human('device_add nope'),
  human('xp /4wx 0'),
  human('xp /2gx 0x10'),
  human('xp /8bx 0'),
  human('xp /3dh 0'),
  human('xp /4c 0'),
  human('xp /4zz 0'),
  human('xp /4wx 0'),
  human('print /x 0x10*3+(7&5)-1'),
  human('print /d -10/3'),
  human('p /u 5/0'),
  human('p /x $nonsense'),
  human('p'),
  human('p (1'),
  human('sum 0 100'),
  human('sum'),
  human('sum 1 2 3'),
  human('ringbuf_write rb hello'),
  human('ringbuf_read rb 100'),
  human('ringbuf_read nope 100'),
  human('ringbuf_read rb'),
  human('set_link n0 zz'),
  human('set_link nope on'),
  human('chardev-send-break nope'),
  human('object_del zz'),
  human('help nope'),
  human('info virtio-queue-status /nope 0'),
  human(`info virtio-queue-status ${SER0} 0`),
  run('cont'),
  run('stop'),
  run('query-status'),
  human('info status'),
  run('system_powerdown'),
];

/** Answers of the same shape: the values are the host's, or the implementation's. */
const ALIKE = [
  run('query-version'),
  run('query-kvm'),
  run('query-cpus-fast'),
  run('query-chardev'),
  run('query-block'),
  run('query-blockstats'),
  run('query-named-block-nodes'),
  run('query-rx-filter'),
  run('query-pci'),
  run('query-commands'),
  run('x-query-virtio'),
  run('x-query-virtio-status', { path: SER0 }),
  run('x-query-virtio-queue-status', { path: SER0, queue: 0 }),
  run('device-list-properties', { typename: 'virtserialport' }),
  run('qom-list', { path: '/machine/peripheral' }),
  run('qom-list-types', { implements: 'virtio-serial-pci' }),
];

/** Members that only QEMU gives, all of them optional in its schema, and why we do not. */
const ABSENT: Readonly<Record<string, string>> = {
  'actual-size': 'how much of a file is allocated is not asked of the host',
  'driver-specific': 'statistics of the host’s file driver',
  'hotpluggable-cpus': 'compared by itself',
  desc: 'not all functions have a named class',
  'unknown-dev-features': 'bits that QEMU has no name for have one here',
  prefetch: 'not all functions have BARs in memory',
  mem_type_64: 'not all functions have BARs in memory',
  idle_time_ns: 'only after a request',
  description: 'not all properties have one',
  'default-value': 'not all properties have one',
};

/** Paths and kinds of all that is in a value: `[].inserted.image.format string`. */
function shape(value: unknown, at = '', into = new Set<string>()): Set<string> {
  if (Array.isArray(value)) for (const item of value) shape(item, `${at}[]`, into);
  else if (typeof value === 'object' && value !== null)
    for (const [key, item] of Object.entries(value)) {
      if (key in ABSENT) continue;
      shape(item, `${at}.${key}`, into);
    }
  else into.add(`${at} ${typeof value}`);
  return into;
}

/** Names that QEMU makes up at random. */
const settle = (message: Message): unknown =>
  JSON.parse(
    JSON.stringify(message)
      .replace(/#block\d+/g, '#block')
      .replace(/#net\d+/g, '#net'),
  );

describe.runIf(haveQemu() && existsSync(MAIN))('QMP of QEMU and ours', () => {
  let folder: string;
  let theirs: Client;
  let ours: Client;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'paravane-qmp-'));
    // Each its own disk: both would lock it.
    for (const name of ['qemu', 'own']) {
      const own = mkdtempSync(join(folder, name));
      writeFileSync(join(own, 'd.raw'), new Uint8Array(8 << 20));
      if (name === 'qemu') theirs = new Client('qemu-system-x86_64', OPTIONS, own);
      else ours = new Client(process.execPath, [MAIN, ...OPTIONS], own);
    }
    const greetings = [await theirs.next(), await ours.next()].map((one) => [...shape(one)]);
    expect(greetings[1]).toEqual(greetings[0]);
    await theirs.ask(run('qmp_capabilities'));
    await ours.ask(run('qmp_capabilities'));
  }, 60_000);

  afterAll(() => {
    theirs?.close();
    ours?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('answer alike', { timeout: 60_000 }, async () => {
    for (const text of ALIKE) {
      const [wanted, got] = await Promise.all([theirs.ask(text), ours.ask(text)]);
      const missing = [...shape(wanted)].filter((path) => !shape(got).has(path));
      const extra = [...shape(got)].filter((path) => !shape(wanted).has(path));
      expect({ text, missing, extra }).toEqual({ text, missing: [], extra: [] });
    }
  });

  it('answer the same', { timeout: 60_000 }, async () => {
    const differences: unknown[] = [];
    for (const text of EQUAL) {
      const [wanted, got] = await Promise.all([theirs.ask(text), ours.ask(text)]);
      if (JSON.stringify(sorted(settle(got))) !== JSON.stringify(sorted(settle(wanted))))
        differences.push({ text, wanted, got });
    }
    expect(differences).toEqual([]);
  });

  it('tell the same events', () => {
    expect([...ours.events].sort()).toEqual([...theirs.events].sort());
  });
});

/** With the keys in order: QEMU's are in that of its hash table. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
