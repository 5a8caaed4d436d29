/** Network cards and their back ends as monitors name them: by id, or by model and number as QEMU does. */
import type { NetPlug } from '../net/plug.ts';
import { UserNet } from '../net/user/user-net.ts';
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
  for (const { device, request, path } of target.board.placed) {
    const net = device.pci?.device;
    if (!(net instanceof VirtioNetDevice)) continue;
    const model = 'virtio-net-pci';
    found.push({
      name: device.cardName ?? `${model}.${found.length}`,
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
): { readonly netdev: NetPlug; readonly card: Card | undefined; readonly order: number }[] {
  const all = cards(target);
  return [...target.backends.nets.all, ...target.backends.nets.gone].map(([id, { thing, made, taken }]) => {
    const card = all.find(({ netdev }) => netdev === id);
    return { netdev: thing, card, order: card === undefined ? made : taken };
  });
}

/** A port of a hub as `info network` shows it. */
export interface HubPortInfo {
  readonly hub: number;
  readonly port: string;
  /** `n1: index=0,type=user,…`; undefined when there is nothing in it. */
  readonly peer: string | undefined;
}

export const cardText = ({ name, model, device }: Card): string =>
  `${name}: index=0,type=nic,model=${model},macaddr=${formatMac(device.mac)}`;

/** The ports of all hubs, and the ids of what is behind them: that is shown nowhere else. */
export function hubPorts(target: MonitorTarget): {
  readonly ports: HubPortInfo[];
  readonly behind: ReadonlySet<string>;
} {
  const all = cards(target);
  const { nets } = target.backends;
  const behind = new Set<string>();
  const describe = (id: string | undefined): string | undefined => {
    const netdev = id === undefined ? undefined : nets.all.get(id);
    return netdev === undefined ? undefined : `${id!}: ${netdev.thing.describe()}`;
  };
  const ports: HubPortInfo[] = [];
  for (const [port, entry] of nets.ports) {
    behind.add(port);
    if (entry.back !== undefined) behind.add(entry.back);
    const card = all.find(({ netdev }) => netdev === port);
    ports.push({
      hub: entry.port.hub,
      port,
      peer: card === undefined ? describe(entry.back) : cardText(card),
    });
  }
  const cable = [...target.machine.config.hubPorts].sort((a, b) => (a.port < b.port ? -1 : 1));
  for (const { port, netdev, card: isCard } of cable) {
    behind.add(netdev);
    const card = all.find((one) => one.netdev === netdev);
    const peer = isCard ? (card === undefined ? undefined : cardText(card)) : describe(netdev);
    ports.push({ hub: 0, port, peer });
  }
  return { ports, behind };
}

/** The user networks, with their ids. */
export const userNets = (target: MonitorTarget): { readonly id: string; readonly net: UserNet }[] =>
  netdevs(target).flatMap(({ netdev }) =>
    netdev.inner instanceof UserNet ? [{ id: netdev.id, net: netdev.inner }] : [],
  );
