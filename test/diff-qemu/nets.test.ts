/** Networks by monitor: back ends that come and go, hubs, forwarded ports, captures. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comparable, human, Pair, run } from './rig.ts';

const OPTIONS = [
  ...['-M', 'pc', '-m', '64', '-display', 'none', '-nodefaults', '-S', '-qmp', 'stdio'],
  ...['-net', 'nic,model=virtio', '-net', 'user'],
];

const add = (given: Readonly<Record<string, unknown>>): string => run('netdev_add', given);
const plug = (given: Readonly<Record<string, unknown>>): string =>
  run('device_add', { driver: 'virtio-net-pci', ...given });

const EQUAL = [
  human('info network'),
  add({ type: 'user', id: 'n0' }),
  add({ type: 'user', id: 'n1', hostfwd: [{ str: 'tcp:127.0.0.1:0-:22' }] }),
  add({ type: 'user', id: 'n2', hostfwd: [{ str: 'bogus' }] }),
  add({ type: 'user', id: 'n2', hostfwd: ['tcp::0-:22'] }),
  add({ type: 'user', id: 'n2', bogus: 1 }),
  add({ type: 'nope', id: 'n2' }),
  add({ type: 'user' }),
  add({ id: 'n2' }),
  add({ type: 'user', id: '1n' }),
  add({ type: 'user', id: 'n2', restrict: 5 }),
  add({ type: 'hubport', id: 'h0', hubid: 1 }),
  add({ type: 'hubport', id: 'h1' }),
  add({ type: 'hubport', id: 'h2', hubid: 1, netdev: 'n1' }),
  add({ type: 'hubport', id: 'h3', hubid: 1, netdev: 'nope' }),
  plug({ netdev: 'n1', id: 'c0' }),
  plug({ netdev: 'h0', id: 'c1' }),
  plug({ netdev: 'zz', id: 'c2' }),
  plug({ netdev: 'n0', id: 'c3' }),
  human('info network'),
  run('set_link', { name: 'c3', up: false }),
  run('netdev_del', { id: 'n1' }),
  run('netdev_del', { id: 'zz' }),
  run('netdev_del', { id: 'c3' }),
  human('info network'),
  run('netdev_del', { id: 'n0' }),
  human('info network'),
  human('netdev_add user,id=q0'),
  human('netdev_add user'),
  human('netdev_add user,id=q1,bogus=1'),
  human('netdev_del zz'),
  human('hostfwd_add q0 tcp:127.0.0.1:0-:80'),
  human('hostfwd_add nope tcp::15581-:80'),
  human('hostfwd_add q0 bogus'),
  human('hostfwd_remove q0 tcp::15580'),
  human('hostfwd_remove nope tcp::15580'),
  human('hostfwd_remove q0 bogus'),
  run('object-add', { 'qom-type': 'filter-dump', id: 'fd', netdev: 'h0', file: 'cap.pcap' }),
  run('object-add', { 'qom-type': 'filter-dump', id: 'fd2', netdev: 'h0' }),
  run('object-add', { 'qom-type': 'filter-dump', id: 'fd3', file: 'cap.pcap' }),
  run('object-del', { id: 'fd' }),
  run('object-del', { id: 'fd' }),
  human('info network'),
];

describe.runIf(comparable())('networks of QEMU and ours', () => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start(OPTIONS, {});
  }, 60_000);

  afterAll(() => pair?.close());

  it('are changed the same way, and refuse the same in the same words', { timeout: 60_000 }, async () => {
    expect(await pair.differences(EQUAL)).toEqual([]);
  });

  it('gives answers of the types that it declares', () => {
    expect(pair.invalid).toEqual([]);
  });
});
