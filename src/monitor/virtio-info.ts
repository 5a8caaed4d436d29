/** Virtio devices and their queues as monitors show them: features by name, ring positions, a chain's descriptors. */
import { STATUS_BITS } from './virtio-names.ts';
import { featureNames } from './virtio-names.ts';
import type { PlacedDevice } from '../machine/board.ts';
import type { SplitQueue } from '../virtio/queue/split.ts';
import type { VirtioPci } from '../virtio/transport/pci.ts';
import { QmpError } from './qmp/error.ts';
import type { MonitorTarget } from './target.ts';

export interface VirtioEntry {
  readonly path: string;
  readonly placed: PlacedDevice;
  readonly pci: VirtioPci;
}

/** The newest first, as QEMU lists them. */
export function virtioEntries(target: MonitorTarget): VirtioEntry[] {
  const entries = target.board.placed.flatMap((placed) => {
    const { pci } = placed.device;
    return pci === undefined ? [] : [{ path: `${placed.path}/virtio-backend`, placed, pci }];
  });
  return entries.reverse();
}

export function requireVirtio(target: MonitorTarget, path: string): VirtioEntry {
  const found = virtioEntries(target).find((entry) => entry.path === path);
  if (found === undefined) throw new QmpError(`Path ${path} is not a VirtIODevice`);
  return found;
}

export function requireQueue({ pci }: VirtioEntry, index: number): SplitQueue {
  const queue = pci.state.queues[index];
  if (queue === undefined) throw new QmpError(`Invalid virtqueue number ${index}`);
  return queue;
}

export interface FeatureSet {
  readonly transports: readonly string[];
  readonly device: readonly string[];
  /** Bits without a name. */
  readonly unknown: bigint;
}

export function featureSet(deviceId: number, bits: bigint): FeatureSet {
  const transports: string[] = [];
  const device: string[] = [];
  let unknown = 0n;
  // From the highest bit down, transport features first, as QEMU lists them.
  for (let bit = 127n; bit >= 0n; bit--) {
    if (((bits >> bit) & 1n) === 0n) continue;
    const name = featureNames(deviceId, Number(bit));
    if (name === undefined) unknown |= 1n << bit;
    else if (bit >= 24n && bit < 50n) transports.push(name);
    else device.push(name);
  }
  return { transports, device, unknown };
}

export const statusNames = (status: number): string[] =>
  STATUS_BITS.filter(([bit]) => (status & bit) !== 0).map(([, name]) => name);

/** What a device offers: both interfaces together where it is transitional. */
export const offered = ({ state }: VirtioPci): bigint =>
  state.modernFeatures | (state.legacyFeatures & ~(1n << 30n));

export interface Descriptor {
  readonly addr: bigint;
  readonly len: number;
  readonly flags: readonly string[];
}

export interface QueueElement {
  readonly index: number;
  readonly descs: readonly Descriptor[];
  readonly avail: { readonly flags: number; readonly idx: number; readonly ring: number };
  readonly used: { readonly flags: number; readonly idx: number };
}

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [1, 'next'],
  [2, 'write'],
  [4, 'indirect'],
];
const NEXT = 1;
const INDIRECT = 4;
/** A chain is at most so long: the size of the largest queue. */
const MAX_CHAIN = 32768;

/**
 * The chain that the available ring holds at `index` (the next to be taken unless given). Nothing is taken.
 * @throws QmpError when the queue is not set up, or what it holds cannot be read
 */
export function queueElement(target: MonitorTarget, queue: SplitQueue, index?: number): QueueElement {
  const { setup } = queue;
  if (setup === undefined) throw new QmpError('Region caches not initialized');
  const memory = target.board.cpu.guestMemory;
  const { view } = memory;
  const at = (gpa: number, length: number): number => {
    const offset = memory.locate(gpa, length);
    if (offset < 0) throw new QmpError(`Cannot read the ring at 0x${gpa.toString(16)}`);
    return offset;
  };
  const u16 = (gpa: number): number => view.getUint16(at(gpa, 2), true);
  const position = (index ?? queue.save().lastAvail) & 0xffff;
  const ring = u16(setup.avail + 4 + 2 * (position % setup.size));
  let table = setup.desc;
  let entries = setup.size;
  let next = ring;
  if (next >= entries) throw new QmpError(`Guest says index ${next} is available`);
  const first = at(table + 16 * next, 16);
  if ((view.getUint16(first + 12, true) & INDIRECT) !== 0) {
    entries = Math.floor(view.getUint32(first + 8, true) / 16);
    table = Number(view.getBigUint64(first, true));
    next = 0;
  }
  const descs: Descriptor[] = [];
  for (let count = 0; count < MAX_CHAIN && next < entries; count++) {
    const offset = at(table + 16 * next, 16);
    const flags = view.getUint16(offset + 12, true);
    descs.push({
      addr: view.getBigUint64(offset, true),
      len: view.getUint32(offset + 8, true),
      flags: FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name),
    });
    if ((flags & NEXT) === 0) break;
    next = view.getUint16(offset + 14, true);
  }
  return {
    index: ring,
    descs,
    avail: { flags: u16(setup.avail), idx: u16(setup.avail + 2), ring },
    used: { flags: u16(setup.used), idx: u16(setup.used + 2) },
  };
}
