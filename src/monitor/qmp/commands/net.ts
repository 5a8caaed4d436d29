/** Network cards: what they receive, and their cables. */
import { configureNetdev } from '../../../machine/configure-net.ts';
import type { OptionEntry } from '../../../qapi/options.ts';
import type { NetdevType } from '../../../qapi/schema/netdev.ts';
import { NETDEV_TYPES } from '../../../qapi/schema/netdev.ts';
import type { RxFilter } from '../../../virtio/device/net/filter.ts';
import { cards, formatMac, netdevs } from '../../net-info.ts';
import type { Card } from '../../net-info.ts';
import type { JsonObject } from '../../json/value.ts';
import { membersOf } from '../../property-types.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { toEntries } from '../entries.ts';
import { deviceNotFound, QmpError } from '../error.ts';
import type { ObjectType } from '../types.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

const RX_STATE = oneOf('normal', 'none', 'all');

/** The address that a filter keeps as a number. */
function macOf(key: number): string {
  const digits = key.toString(16).padStart(12, '0');
  return digits.match(/../g)!.join(':');
}

const state = (none: boolean, all: boolean): string => (none ? 'none' : all ? 'all' : 'normal');

/** While the driver filters no VLANs all of them pass; QEMU lists them downwards. */
function vlanTable({ vlans }: RxFilter): number[] {
  const table: number[] = [];
  for (let vlan = 4095; vlan >= 0; vlan--)
    if (vlans === undefined || (vlans[vlan >> 5]! & (1 << (vlan & 31))) !== 0) table.push(vlan);
  return table;
}

/** As QEMU answers; whoever asks is told of the next change. */
function describeFilter({ name, device }: Card): JsonObject {
  device.watchRxFilter();
  const { filter } = device;
  const { modes } = filter;
  const vlans = vlanTable(filter);
  return {
    promiscuous: modes.promisc,
    name,
    'main-mac': formatMac(device.mac),
    unicast: state(modes.nouni, modes.alluni),
    vlan: state(vlans.length === 0, filter.vlans === undefined),
    'vlan-table': vlans,
    'unicast-table': [...filter.unicast].reverse().map(macOf),
    multicast: state(modes.nomulti, modes.allmulti),
    'multicast-overflow': filter.multicastOverflow,
    'unicast-overflow': filter.unicastOverflow,
    'multicast-table': [...filter.multicast].reverse().map(macOf),
    // QEMU gives the driver's NOBCAST here, the opposite of what the name says; programs have got used to it.
    'broadcast-allowed': modes.nobcast,
  };
}

const types = (NETDEV_TYPES as readonly NetdevType[]).filter(({ missing }) => missing === undefined);

/** What `-netdev` takes, by type. */
const NETDEV: ObjectType = {
  kind: 'object',
  members: { id: str, type: oneOf(...types.map(({ name }) => name)) },
  tag: 'type',
  variants: Object.fromEntries(
    types.map(({ name, properties }) => [
      name,
      { kind: 'object', members: membersOf(properties.filter((one) => one.name !== 'id')) } as const,
    ]),
  ),
};

export async function addNetdev(target: MonitorTarget, entries: readonly OptionEntry[]): Promise<void> {
  await target.backends.nets.open(configureNetdev(entries, 'netdev_add'));
}

export async function removeNetdev(target: MonitorTarget, id: string): Promise<void> {
  if (!(await target.backends.nets.remove(id))) throw deviceNotFound(id);
}

export const netCommands = [
  command({
    name: 'netdev_add',
    help: "Makes the host's side of a network card; its options are those of -netdev",
    type: NETDEV,
    run: (given, target) => addNetdev(target, toEntries(given)),
  }),
  command({
    name: 'netdev_del',
    help: "Takes the host's side of a network card away; the card's link goes down",
    arguments: { id: str },
    run: ({ id }, target) => removeNetdev(target, id),
  }),
  command({
    name: 'query-rx-filter',
    help: 'Which frames the network cards receive',
    arguments: { 'name?': str },
    returns: array(
      object({
        name: str,
        promiscuous: bool,
        multicast: RX_STATE,
        unicast: RX_STATE,
        vlan: RX_STATE,
        'broadcast-allowed': bool,
        'multicast-overflow': bool,
        'unicast-overflow': bool,
        'main-mac': str,
        'vlan-table': array(int),
        'unicast-table': array(str),
        'multicast-table': array(str),
      }),
    ),
    run: ({ name }, target) => {
      const all = cards(target);
      if (name === undefined) return all.map(describeFilter);
      const found = all.filter((card) => card.name === name);
      if (found.length > 0) return found.map(describeFilter);
      if (target.backends.netdevs.has(name)) throw new QmpError(`net client(${name}) isn't a NIC`);
      throw new QmpError(`invalid net client name: ${name}`);
    },
  }),
  command({
    name: 'set_link',
    help: 'Plugs the cable of a network card in, or pulls it',
    arguments: { name: str, up: bool },
    run: ({ name, up }, target) => {
      const card = cards(target).find((one) => one.name === name);
      const peer = netdevs(target).find(({ netdev }) => netdev.id === name);
      if (card === undefined && peer === undefined) throw deviceNotFound(name);
      (card ?? peer?.card)?.device.setLink(up);
    },
  }),
];
