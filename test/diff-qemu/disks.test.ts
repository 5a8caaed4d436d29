/** Disks and their nodes by monitor: what is refused and in which words, what is shown, and that limits hold. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comparable, human, Pair, run } from './rig.ts';

const OPTIONS = [
  ...['-M', 'pc', '-m', '64', '-display', 'none', '-nodefaults', '-S', '-qmp', 'stdio'],
  ...['-drive', 'file=d.raw,if=none,id=v0,format=raw', '-device', 'virtio-blk-pci,drive=v0,id=vd'],
  ...['-drive', 'file=e.raw,if=none,id=u0,format=raw', '-drive', 'if=none,id=w0'],
  ...[
    '-blockdev',
    'driver=file,filename=f.raw,node-name=bf',
    '-blockdev',
    '{"driver":"raw","node-name":"br","file":"bf"}',
  ],
];

const NO_LIMITS = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
const limit = (given: Readonly<Record<string, number | string>>): string =>
  run('block_set_io_throttle', { device: 'v0', ...NO_LIMITS, ...given });
const add = (given: Readonly<Record<string, unknown>>): string => run('blockdev-add', given);
const reopen = (given: Readonly<Record<string, unknown>>): string =>
  run('blockdev-reopen', { options: [given] });

const EQUAL = [
  human('info block'),
  run('block_resize', { device: 'v0', size: 16 << 20 }),
  run('block_resize', { device: 'v0', size: -1 }),
  run('block_resize', { 'node-name': 'nope', size: 1000 }),
  run('block_resize', { device: 'w0', size: 1000 }),
  run('block_resize', { size: 1000 }),
  run('eject', { device: 'v0' }),
  run('eject', { device: 'nope' }),
  run('eject', {}),
  run('eject', { device: 'u0' }),
  run('blockdev-open-tray', { id: 'v0' }),
  run('blockdev-open-tray', { id: 'vd' }),
  run('blockdev-close-tray', { id: 'vd' }),
  run('blockdev-remove-medium', { id: 'vd' }),
  run('blockdev-insert-medium', { id: 'vd', 'node-name': 'x' }),
  run('blockdev-change-medium', { device: 'u0', filename: 'nope.raw' }),
  run('blockdev-change-medium', { device: 'u0', filename: 'e.raw', format: 'raw' }),
  run('blockdev-change-medium', { device: 'u0', filename: 'e.raw', format: 'bogus' }),
  run('blockdev-open-tray', { device: 'u0' }),
  human('eject u0'),
  human('eject nope'),
  human('eject v0'),
  human('eject'),
  human('change u0 e.raw raw'),
  human('change nope x'),
  human('change u0'),
  human('block_resize v0 4'),
  human('block_resize v0'),
  human('block_resize nope 4'),
  limit({ bps: 1_000_000, iops: 50, iops_size: 4096 }),
  human('info block v0'),
  limit({ bps: 1_000_000, bps_max: 2_000_000, bps_max_length: 3, group: 'g1' }),
  human('info block v0'),
  limit({ bps: 1, bps_rd: 5 }),
  limit({ bps: 1_000_000, bps_max: 5 }),
  limit({ bps: -1 }),
  limit({ bps_max: 5 }),
  limit({ bps: 100, bps_max_length: 5 }),
  limit({ bps: 1e18 }),
  limit({ iops_size: 5 }),
  run('block_set_io_throttle', { id: 'nope', ...NO_LIMITS }),
  run('block_set_io_throttle', { id: 'vd', ...NO_LIMITS }),
  human('block_set_io_throttle v0 0 0 0 0 0 0'),
  human('block_set_io_throttle v0 1 2 0 0 0 0'),
  human('info block v0'),
  add({ driver: 'file', 'node-name': 'f0', filename: 'g.raw' }),
  add({ driver: 'raw', 'node-name': 'r0', file: 'f0' }),
  add({ driver: 'raw', 'node-name': 'r0', file: 'f0' }),
  add({ driver: 'raw', 'node-name': 'r1', file: 'f0' }),
  add({ driver: 'raw', 'node-name': 'r2', file: 'nope' }),
  add({ driver: 'raw', 'node-name': 'r2' }),
  add({ driver: 'raw', 'node-name': 'r2', file: 5 }),
  add({ driver: 'raw', 'node-name': 'r2', file: { driver: 'file' } }),
  add({ driver: 'file', 'node-name': 'f2' }),
  add({ driver: 'file', filename: 'h.raw' }),
  add({ driver: 'file', 'node-name': '1bad', filename: 'h.raw' }),
  add({ driver: 'file', 'node-name': 'f2', filename: 'nope.raw' }),
  add({ driver: 'file', 'node-name': 'f2', filename: 'h.raw', bogus: 1 }),
  add({ driver: 'nope', 'node-name': 'f2', filename: 'h.raw' }),
  add({ driver: 'file', 'node-name': 'v0', filename: 'h.raw' }),
  add({ driver: 'null-co', 'node-name': 'n0', size: 1 << 20 }),
  add({
    driver: 'raw',
    'node-name': 'in',
    file: { driver: 'file', filename: 'h.raw' },
    'read-only': true,
  }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'r0', id: 'b0' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'r0', id: 'b1' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'r1', id: 'b1' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'in', id: 'b2' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'n0', id: 'b3' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'nope', id: 'b4' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'w0', id: 'b4' }),
  run('device_add', { driver: 'virtio-blk-pci', drive: 'br', id: 'b5' }),
  run('blockdev-del', { 'node-name': 'r0' }),
  run('blockdev-del', { 'node-name': 'f0' }),
  run('blockdev-del', { 'node-name': 'nope' }),
  run('blockdev-del', { 'node-name': 'r1' }),
  run('block_resize', { 'node-name': 'r0', size: 8 << 20 }),
  run('block_resize', { 'node-name': 'in', size: 8 << 20 }),
  reopen({ driver: 'raw', 'node-name': 'r0', file: 'f0', 'read-only': true }),
  reopen({ driver: 'raw', 'node-name': 'r0', file: 'f0', cache: { 'no-flush': true } }),
  reopen({ driver: 'raw', 'node-name': 'nope', file: 'f0' }),
  reopen({ driver: 'raw', file: 'f0' }),
  reopen({ driver: 'null-co', 'node-name': 'r0' }),
  reopen({ driver: 'raw', 'node-name': 'r0' }),
  reopen({ driver: 'file', 'node-name': 'f0', filename: 'h.raw' }),
  human('info block'),
  human('info block -n'),
  human('info block -v r0'),
  human('info block zz'),
  human('drive_add 0 if=none,file=i.raw,id=dd,format=raw'),
  human('drive_add 0 if=none,file=i.raw,id=dd,format=raw'),
  human('drive_add 0 if=none,file=nope,id=de,format=raw'),
  human('drive_add 0 if=virtio,file=i.raw,id=df,format=raw'),
  human('drive_add -n 0 driver=null-co,node-name=nn'),
  human('drive_del dd'),
  human('drive_del dd'),
  human('drive_del r0'),
  human('drive_del v0'),
  human('info block'),
];

const ALIKE = [
  run('query-block'),
  run('query-named-block-nodes'),
  run('query-blockstats'),
  run('query-blockstats', { 'query-nodes': true }),
];

/** Members that only QEMU gives, all of them optional in its schema. */
const ABSENT = {
  'driver-specific': 'statistics of the host’s file driver',
  idle_time_ns: 'only after a request',
};

describe.runIf(comparable())('disks of QEMU and ours', () => {
  let pair: Pair;

  beforeAll(async () => {
    const sizes = { 'd.raw': 8, 'e.raw': 4, 'f.raw': 4, 'g.raw': 4, 'h.raw': 2, 'i.raw': 1 };
    pair = await Pair.start(
      OPTIONS,
      Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, size << 20])),
    );
  }, 60_000);

  afterAll(() => pair?.close());

  it('look alike', { timeout: 60_000 }, async () => {
    expect(await pair.shapes(ALIKE, ABSENT)).toEqual([]);
  });

  it('are changed the same way, and refuse the same in the same words', { timeout: 60_000 }, async () => {
    expect(await pair.differences(EQUAL)).toEqual([]);
  });

  it('still look alike then', { timeout: 60_000 }, async () => {
    expect(await pair.shapes(ALIKE, ABSENT)).toEqual([]);
  });

  it('gives answers of the types that it declares', () => {
    expect(pair.invalid).toEqual([]);
  });
});
