/** `info virtio…`: the devices, their features and rings. */
import type { JsonObject } from '../json/value.ts';
import { virtioQueueStatus, virtioStatus } from '../qmp/commands/virtio.ts';
import type { MonitorTarget } from '../target.ts';
import {
  featureSet,
  offered,
  queueElement,
  requireQueue,
  requireVirtio,
  virtioEntries,
} from '../virtio-info.ts';
import type { HmpCommand } from './command.ts';

const row = (label: string, value: unknown, width: number): string =>
  `  ${`${label}:`.padEnd(width)}${String(value)}\n`;

function featuresText(title: string, deviceId: number, bits: bigint): string {
  const { transports, device, unknown } = featureSet(deviceId, bits);
  const lines = [...transports, ...device].map((name) => `\t${name}`).join(',\n');
  const rest = unknown === 0n ? '' : `  unknown-features(0x${unknown.toString(16).padStart(16, '0')})\n`;
  return `  ${title}:\n${lines === '' ? '' : `${lines}\n`}${rest}`;
}

const STATUS_ROWS: readonly (readonly [string, string])[] = [
  ['device_name', 'name'],
  ['device_id', 'device-id'],
  ['vhost_started', 'vhost-started'],
  ['bus_name', 'bus-name'],
  ['broken', 'broken'],
  ['disabled', 'disabled'],
  ['disable_legacy_check', 'disable-legacy-check'],
  ['started', 'started'],
  ['use_started', 'use-started'],
  ['start_on_kick', 'start-on-kick'],
  ['use_guest_notifier_mask', 'use-guest-notifier-mask'],
  ['vm_running', 'vm-running'],
  ['num_vqs', 'num-vqs'],
  ['queue_sel', 'queue-sel'],
  ['isr', 'isr'],
  ['endianness', 'device-endian'],
];

function statusText(target: MonitorTarget, path: string): string {
  const { pci } = requireVirtio(target, path);
  const status = virtioStatus(target, path);
  const names = (status.status as JsonObject).statuses as readonly string[];
  const { deviceId } = pci.device;
  return [
    `${path}:\n`,
    ...STATUS_ROWS.map(([label, key]) => row(label, status[key], 25)),
    '  status:\n',
    names.map((name) => `\t${name}`).join(',\n'),
    '\n',
    featuresText('Guest features', deviceId, pci.state.negotiated),
    featuresText('Host features', deviceId, offered(pci)),
    '  Backend features:\n',
  ].join('');
}

const address = (value: unknown): string => `0x${Number(value).toString(16).padStart(16, '0')}`;

function queueText(target: MonitorTarget, path: string, index: number): string {
  const status = virtioQueueStatus(target, path, index);
  const inner = (label: string, value: unknown): string => `    ${`${label}:`.padEnd(14)}${String(value)}\n`;
  return [
    `${path}:\n`,
    row('device_name', status.name, 22),
    row('queue_index', status['queue-index'], 22),
    row('inuse', status.inuse, 22),
    row('used_idx', status['used-idx'], 22),
    row('signalled_used', status['signalled-used'], 22),
    row('signalled_used_valid', status['signalled-used-valid'], 22),
    row('last_avail_idx', status['last-avail-idx'], 22),
    row('shadow_avail_idx', status['shadow-avail-idx'], 22),
    '  VRing:\n',
    inner('num', status['vring-num']),
    inner('num_default', status['vring-num-default']),
    inner('align', status['vring-align']),
    inner('desc', address(status['vring-desc'])),
    inner('avail', address(status['vring-avail'])),
    inner('used', address(status['vring-used'])),
  ].join('');
}

function elementText(target: MonitorTarget, path: string, queue: number, index: number | undefined): string {
  const entry = requireVirtio(target, path);
  const element = queueElement(target, requireQueue(entry, queue), index);
  const descs = element.descs.map(
    ({ addr, len, flags }) =>
      `\n    addr 0x${addr.toString(16)} len ${len}${flags.length > 0 ? ` (${flags.join(', ')})` : ''}`,
  );
  return [
    `${path}:\n`,
    `  device_name: ${entry.pci.device.name}\n`,
    `  index:   ${element.index}\n`,
    `  desc:\n    descs:${descs.join(',')}\n`,
    `  avail:\n    flags: ${element.avail.flags}\n    idx:   ${element.avail.idx}\n    ring:  ${element.avail.ring}\n`,
    `  used:\n    flags: ${element.used.flags}\n    idx:   ${element.used.idx}\n`,
  ].join('');
}

const paths = (target: MonitorTarget): string[] => virtioEntries(target).map(({ path }) => path);

export const virtioInfo: readonly HmpCommand[] = [
  {
    name: 'virtio',
    takes: '',
    synopsis: '',
    help: 'the virtio devices',
    run: (_, target) => {
      const entries = virtioEntries(target);
      if (entries.length === 0) return 'No VirtIO devices\n';
      return entries.map(({ path, pci }) => `${path} [${pci.device.name}]\n`).join('');
    },
  },
  {
    name: 'virtio-status',
    takes: 'path:s',
    synopsis: 'path',
    help: 'features and status of a virtio device',
    run: ({ path }, target) => statusText(target, String(path)),
    complete: paths,
  },
  {
    name: 'virtio-queue-status',
    takes: 'path:s,queue:i',
    synopsis: 'path queue',
    help: 'where a virtqueue is and how far it has come',
    run: ({ path, queue }, target) => queueText(target, String(path), Number(queue)),
    complete: paths,
  },
  {
    name: 'virtio-queue-element',
    takes: 'path:s,queue:i,index:i?',
    synopsis: 'path queue [index]',
    help: 'the next chain of a virtqueue, or another',
    run: ({ path, queue, index }, target) =>
      elementText(target, String(path), Number(queue), index === undefined ? undefined : Number(index)),
    complete: paths,
  },
];
