/**
 * One script of QMP commands for QEMU 7.2 and for us, on the same machine: errors and HMP's texts are to be equal,
 * answers to have the same shape. What may differ is named here, with the reason. Skipped where QEMU is missing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MISSING_COMMANDS } from '../../src/monitor/qmp/missing.ts';
import type { Message } from './rig.ts';
import { comparable, human, Pair, run, shape } from './rig.ts';

const SER0 = '/machine/peripheral/ser0/virtio-backend';

const OPTIONS = [
  ...['-M', 'pc', '-m', '64', '-display', 'none', '-nodefaults', '-S', '-name', 'test'],
  ...['-chardev', 'ringbuf,id=rb', '-serial', 'chardev:rb', '-drive', 'file=d.raw,if=virtio,format=raw'],
  ...['-netdev', 'user,id=n0', '-device', 'virtio-net-pci,netdev=n0', '-device', 'virtio-balloon-pci,id=bal'],
  ...['-device', 'virtio-serial-pci,id=ser0', '-chardev', 'null,id=cn', '-chardev', 'null,id=free'],
  ...['-device', 'virtserialport,chardev=cn,name=a.b,id=p0', '-qmp', 'stdio'],
];

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
  'driver-specific': 'statistics of the host’s file driver',
  desc: 'not all functions have a named class',
  'unknown-dev-features': 'bits that QEMU has no name for have one here',
  prefetch: 'not all functions have BARs in memory',
  mem_type_64: 'not all functions have BARs in memory',
  idle_time_ns: 'only after a request',
  description: 'not all properties have one',
  'default-value': 'not all properties have one',
};

describe.runIf(comparable())('QMP of QEMU and ours', () => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start(OPTIONS, { 'd.raw': 8 << 20 });
  }, 60_000);

  afterAll(() => pair?.close());

  it('greet alike', () => {
    const [theirs, ours] = pair.greetings.map((one) => [...shape(one, {})]);
    expect(ours).toEqual(theirs);
  });

  it('answer alike', { timeout: 60_000 }, async () => {
    expect(await pair.shapes(ALIKE, ABSENT)).toEqual([]);
  });

  it('answer the same', { timeout: 60_000 }, async () => {
    expect(await pair.differences(EQUAL)).toEqual([]);
  });

  it('tell the same events', () => {
    expect([...pair.ours.events].sort()).toEqual([...pair.theirs.events].sort());
  });

  it('know the same commands, but for those that are listed as missing', async () => {
    const names = async (client: Pair['ours']): Promise<string[]> =>
      ((await client.ask(run('query-commands'))).return as Message[]).map(({ name }) => String(name));
    const [theirs, ours] = [await names(pair.theirs), await names(pair.ours)];
    const listed = MISSING_COMMANDS.flatMap((one) => one.names);
    expect(theirs.filter((name) => !ours.includes(name)).sort()).toEqual([...listed].sort());
    // Deprecated in QEMU and gone in 7.2, but asked for by older programs.
    expect(ours.filter((name) => !theirs.includes(name))).toEqual(['query-events']);
  });

  it('take the same arguments, and need the same', async () => {
    const { theirs, ours } = await pair.schemas();
    const found: unknown[] = [];
    for (const name of ours.commands) {
      if (theirs.find(name) === undefined) continue;
      const [wanted, own] = [theirs.arguments(name), ours.arguments(name)];
      const unknown = [...own.keys()].filter((key) => !wanted.has(key));
      const absent = [...wanted.keys()].filter((key) => !own.has(key));
      const needs = [...own].filter(([key, optional]) => wanted.get(key) !== optional).map(([key]) => key);
      if (unknown.length + absent.length + needs.length > 0) found.push({ name, unknown, absent, needs });
    }
    expect(found).toEqual([]);
  });

  it('gives answers of the types that it declares', () => {
    expect(pair.invalid).toEqual([]);
  });
});
