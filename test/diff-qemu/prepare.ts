/** The machine that QEMU's examples speak of: the devices and back ends that they name, as far as we have such. */
import type { Message } from './rig.ts';
import { run } from './rig.ts';

const BASE = ['-M', 'pc', '-m', '1024', '-display', 'none', '-nodefaults', '-S', '-qmp', 'stdio'];

const disk = (id: string, device?: string): string[] => [
  ...['-drive', `file=d.raw,if=none,format=raw,id=${id},file.locking=off`],
  ...['-device', `virtio-blk-pci,drive=${id}${device === undefined ? '' : `,id=${device}`}`],
];

/** One machine that has all of it: most examples need only a part. */
const ALL = [
  ...disk('scratch'),
  ...disk('drive0', 'virtio-blk-pci0'),
  ...disk('virtio0', 'ide0-1-0'),
  ...disk('ide-hd0', 'ide1-0-1'),
  ...disk('extra').map((word) => word.replace('d.raw', 'e.raw')),
  ...['-object', 'rng-builtin,id=rng1', '-object', 'iothread,id=iothread0'],
  ...['-netdev', 'user,id=netdev1', '-netdev', 'user,id=n0', '-netdev', 'user,id=n1'],
  ...['-device', 'virtio-net-pci,netdev=n0,id=vnet0', '-device', 'virtio-net-pci,netdev=n1,id=e1000.0'],
  ...['-device', 'virtio-balloon-pci', '-device', 'virtio-rng-pci,id=net1', '-device', 'virtio-rng-pci'],
  ...['-device', 'virtio-serial-pci,id=vsock0', '-device', 'virtio-serial-pci,id=crypto0'],
  ...['-chardev', 'null,id=baz', '-device', 'virtserialport,bus=vsock0.0,chardev=baz'],
  ...['-chardev', 'null,id=charchannel2', '-device', 'virtserialport,bus=vsock0.0,chardev=charchannel2'],
  ...['-chardev', 'ringbuf,id=foo', '-name', 'qemu-name'],
];

/** Commands whose examples make what they name themselves, or need it in another form. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  'chardev-add': [],
  'chardev-remove': ['-chardev', 'null,id=foo'],
  'chardev-send-break': ['-chardev', 'null,id=foo', '-serial', 'chardev:foo'],
  device_add: [],
  netdev_add: [],
  'object-add': [],
  'query-memory-size-summary': [],
};

/** Sent before it, with answers that do not matter. */
const FIRST: Readonly<Record<string, readonly string[]>> = {
  'ringbuf-read': [run('ringbuf-write', { device: 'foo', data: 'abcdefgh' })],
  'blockdev-del': [run('blockdev-add', { driver: 'null-co', 'node-name': 'node0' })],
};

/** Files of the examples, with their sizes in bytes. */
export const FILES = { 'd.raw': 8 << 20, 'e.raw': 8 << 20, 'test.raw': 1 << 20, 'fedora.iso': 1 << 20 };

export const machineFor = (sent: readonly Message[]): string[] => [
  ...BASE,
  ...(OPTIONS[String(sent.at(-1)?.execute)] ?? ALL),
];

export const firstFor = (sent: readonly Message[]): readonly string[] =>
  FIRST[String(sent.at(-1)?.execute)] ?? [];
