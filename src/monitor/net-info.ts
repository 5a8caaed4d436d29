/** Network cards and their back ends as monitors name them: by id, or by model and number as QEMU does. */
import type { Netdev } from '../net/netdev.ts';
import type { VirtioNet } from '../virtio/device/net/device.ts';
import { VirtioNet as VirtioNetDevice } from '../virtio/device/net/device.ts';
import type { MonitorTarget } from './target.ts';

export interface Card {
  /** The device's id, or `virtio-net-pci.0`. */
  readonly name: string;
  readonly model: string;
  readonly path: string;
  readonly device: VirtioNet;
  /** The id of its back end. */
  readonly netdev: string | undefined;
}

export const formatMac = (mac: Uint8Array): string =>
  [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');

export function cards(target: MonitorTarget): Card[] {
  const found: Card[] = [];
  let unnamed = 0;
  for (const { device, request, path } of target.board.placed) {
    const net = device.pci?.device;
    if (!(net instanceof VirtioNetDevice)) continue;
    const model = 'virtio-net-pci';
    found.push({
      name: device.id ?? `${model}.${unnamed++}`,
      model,
      path,
      device: net,
      netdev: request?.values.netdev === undefined ? undefined : String(request.values.netdev),
    });
  }
  return found;
}

/** The back ends, with the card that has each. */
export function netdevs(
  target: MonitorTarget,
): { readonly netdev: Netdev; readonly card: Card | undefined }[] {
  const all = cards(target);
  return [...target.backends.netdevs].map(([id, { thing }]) => ({
    netdev: thing,
    card: all.find(({ netdev }) => netdev === id),
  }));
}
