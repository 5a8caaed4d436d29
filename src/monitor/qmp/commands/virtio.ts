/** Virtio devices from inside: features, status, rings. */
import type { MonitorTarget } from '../../target.ts';
import type { JsonObject } from '../../json/value.ts';
import type { VirtioEntry } from '../../virtio-info.ts';
import {
  featureSet,
  offered,
  queueElement,
  requireQueue,
  requireVirtio,
  statusNames,
  virtioEntries,
} from '../../virtio-info.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { array, bool, int, object, str, uint, uint16 } from '../types.ts';

const FEATURES = object({
  transports: array(str),
  'dev-features?': array(str),
  'unknown-dev-features?': uint,
});
const STATUSES = object({ statuses: array(str) });

function featuresJson(deviceId: number, bits: bigint): JsonObject {
  const { transports, device, unknown } = featureSet(deviceId, bits);
  return {
    ...(unknown === 0n ? {} : { 'unknown-dev-features': unknown }),
    'dev-features': device,
    transports,
  };
}

/** `ser0.0` for a device that carries a bus; QEMU notes no name of any other. */
function busName({ placed }: VirtioEntry): string {
  return placed.device.carries?.name ?? '';
}

export function virtioStatus(target: MonitorTarget, path: string): JsonObject {
  const entry = requireVirtio(target, path);
  const { pci } = entry;
  const { state, device } = pci;
  return {
    name: device.name,
    'device-id': device.deviceId,
    'vhost-started': false,
    'device-endian': 'little',
    'guest-features': featuresJson(device.deviceId, state.negotiated),
    'host-features': featuresJson(device.deviceId, offered(pci)),
    'backend-features': { 'dev-features': [], transports: [] },
    'num-vqs': state.queues.length,
    status: { statuses: statusNames(state.status) },
    isr: 0,
    'queue-sel': pci.registers.queueSelect,
    'vm-running': target.machine.running,
    broken: (state.status & 0x40) !== 0,
    disabled: false,
    'use-started': true,
    started: state.started,
    'start-on-kick': false,
    'disable-legacy-check': false,
    'bus-name': busName(entry),
    'use-guest-notifier-mask': true,
  };
}

export function virtioQueueStatus(target: MonitorTarget, path: string, index: number): JsonObject {
  const { pci } = requireVirtio(target, path);
  const queue = requireQueue({ pci } as VirtioEntry, index);
  const config = pci.state.queueConfig(index)!;
  const { lastAvail, usedIdx } = queue.save();
  return {
    name: pci.device.name,
    'queue-index': index,
    inuse: queue.inFlight,
    'vring-num': config.size,
    'vring-num-default': queue.maxSize,
    'vring-align': 4096,
    'vring-desc': config.desc,
    'vring-avail': config.avail,
    'vring-used': config.used,
    'last-avail-idx': lastAvail,
    'shadow-avail-idx': (lastAvail + queue.available) & 0xffff,
    'used-idx': usedIdx,
    'signalled-used': usedIdx,
    'signalled-used-valid': queue.setup !== undefined,
  };
}

const QUEUE = { path: str, queue: uint16 };

export const virtioCommands = [
  command({
    name: 'x-query-virtio',
    help: 'The virtio devices',
    returns: array(object({ path: str, name: str })),
    run: (_, target) => virtioEntries(target).map(({ path, pci }) => ({ name: pci.device.name, path })),
  }),
  command({
    name: 'x-query-virtio-status',
    help: 'Features and status of a virtio device',
    arguments: { path: str },
    returns: object({
      name: str,
      'device-id': int,
      'vhost-started': bool,
      'device-endian': str,
      'guest-features': FEATURES,
      'host-features': FEATURES,
      'backend-features': FEATURES,
      'num-vqs': int,
      status: STATUSES,
      isr: int,
      'queue-sel': int,
      'vm-running': bool,
      broken: bool,
      disabled: bool,
      'use-started': bool,
      started: bool,
      'start-on-kick': bool,
      'disable-legacy-check': bool,
      'bus-name': str,
      'use-guest-notifier-mask': bool,
    }),
    run: ({ path }, target) => virtioStatus(target, path),
  }),
  command({
    name: 'x-query-virtio-queue-status',
    help: 'Where a virtqueue is and how far it has come',
    arguments: QUEUE,
    returns: object({
      name: str,
      'queue-index': int,
      inuse: int,
      'vring-num': int,
      'vring-num-default': int,
      'vring-align': int,
      'vring-desc': int,
      'vring-avail': int,
      'vring-used': int,
      'last-avail-idx?': int,
      'shadow-avail-idx?': int,
      'used-idx': int,
      'signalled-used': int,
      'signalled-used-valid': bool,
    }),
    run: ({ path, queue }, target) => virtioQueueStatus(target, path, queue),
  }),
  command({
    name: 'x-query-virtio-vhost-queue-status',
    help: 'The same of a queue that the host kernel serves: there is none',
    arguments: QUEUE,
    run: ({ path }, target) => {
      requireVirtio(target, path);
      throw new QmpError('Error: vhost device has not started yet');
    },
  }),
  command({
    name: 'x-query-virtio-queue-element',
    help: 'The next chain of descriptors in a virtqueue, or another',
    arguments: { ...QUEUE, 'index?': uint16 },
    returns: object({
      name: str,
      index: int,
      descs: array(object({ addr: int, len: int, flags: array(str) })),
      avail: object({ flags: int, idx: int, ring: int }),
      used: object({ flags: int, idx: int }),
    }),
    run: ({ path, queue, index }, target) => {
      const entry = requireVirtio(target, path);
      const element = queueElement(target, requireQueue(entry, queue), index);
      return {
        name: entry.pci.device.name,
        ...element,
        descs: element.descs.map(({ addr, len, flags }) => ({ addr, len, flags })),
      };
    },
  }),
];
