/** -netdev, -nic and -net: back ends of network cards, and the cards that -nic plugs. */
import { UsageError } from '../core/errors.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { checkId, lastValue } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { blame } from '../qapi/parse-command-line.ts';
import type { Property } from '../qapi/property.ts';
import { readProperties } from '../qapi/read.ts';
import type { NetdevType } from '../qapi/schema/netdev.ts';
import { NETDEV_TYPES, NIC_PROPERTIES } from '../qapi/schema/netdev.ts';
import { didYouMean } from '../qapi/suggest.ts';
import type { DeviceConfig, HubPortConfig, NetdevConfig } from './config.ts';

/** Cards that -nic and -net can plug, and the device classes behind them. */
export const NIC_MODELS: Readonly<Record<string, string>> = {
  virtio: 'virtio-net-pci',
  'virtio-net-pci': 'virtio-net-pci',
  'virtio-net-pci-non-transitional': 'virtio-net-pci-non-transitional',
  'virtio-net-pci-transitional': 'virtio-net-pci-transitional',
};

/** The models as `-nic model=help` lists them. */
export const SHOWN_NIC_MODELS = Object.keys(NIC_MODELS).filter((name) => name !== 'virtio');

/** Values that the user net is given although they have no effect would mislead: these are refused by name. */
const REFUSED_USER = ['tftp', 'smb', 'smbserver', 'guestfwd', 'bootfile', 'tftp-server-name'];

interface Net {
  readonly netdevs: NetdevConfig[];
  readonly devices: DeviceConfig[];
  readonly hubPorts: HubPortConfig[];
}

export function configureNet(
  given: readonly Given[],
  options: {
    readonly nodefaults: boolean;
    readonly note: (origin: string) => (message: string) => void;
  },
): Net {
  const net: Net = { netdevs: [], devices: [], hubPorts: [] };
  let asked = false;
  for (const one of given) {
    const note = options.note(one.origin);
    if (one.name === 'netdev') {
      asked = true;
      blame(one.origin, () => addNetdev(net, one.entries, one.origin, note));
    } else if (one.name === 'nic') {
      asked = true;
      blame(one.origin, () => addNic(net, one.entries, one.origin, note));
    }
  }
  const old = given.filter((one) => one.name === 'net');
  if (old.length > 0) {
    asked = true;
    addOldNet(net, old, options.note);
  }
  // A network card in a -device says that the default one is not wanted either.
  if (
    given.some(
      (one) =>
        one.name === 'device' && /^virtio-net|^e1000|^rtl8139/.test(lastValue(one.entries, 'driver') ?? ''),
    )
  )
    asked = true;
  // QEMU's default is a card on the user network; the card is virtio-net-pci where QEMU's is an e1000.
  if (!asked && !options.nodefaults) addNic(net, [{ name: 'type', value: 'user' }], '-nic user', () => {});
  return net;
}

function findType(name: string | undefined): NetdevType {
  if (name === undefined) throw new UsageError("Parameter 'type' is missing");
  const types: readonly NetdevType[] = NETDEV_TYPES;
  const type = types.find((candidate) => candidate.name === name);
  if (type === undefined)
    throw new UsageError(
      `Parameter 'type' does not accept value '${name}'${didYouMean(
        name,
        types.map((candidate) => candidate.name),
      )}`,
    );
  if (type.missing !== undefined) throw new UsageError(`netdev type '${name}' is ${type.missing}`);
  return type;
}

/** One `-netdev`, or `netdev_add`. @throws UsageError */
export function configureNetdev(
  entries: readonly OptionEntry[],
  origin: string,
  note: (message: string) => void = () => {},
): NetdevConfig {
  const type = findType(lastValue(entries, 'type'));
  const own = entries.filter((entry) => entry.name !== 'type');
  const { values, lists } = readProperties(own, type.properties, { note });
  const id = String(values.id);
  // Those that -net makes up for itself start with a character that no id has.
  if (!id.startsWith('#')) checkId(id);
  for (const name of REFUSED_USER)
    if (values[name] !== undefined || lists[name] !== undefined)
      throw new UsageError(`'${name}' is not available yet`);
  for (const rule of lists.hostfwd ?? []) checkForward(rule);
  return { id, type: type.name, values, lists, origin };
}

function addNetdev(
  net: Net,
  entries: readonly OptionEntry[],
  origin: string,
  note: (message: string) => void,
): void {
  const netdev = configureNetdev(entries, origin, note);
  if (net.netdevs.some(({ id }) => id === netdev.id))
    throw new UsageError(`Duplicate ID '${netdev.id}' for netdev`);
  net.netdevs.push(netdev);
}

/** `[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`. */
function checkForward(rule: string): void {
  const refuse = (why: string) => new UsageError(`Invalid host forwarding rule '${rule}' (${why})`);
  const [protocol, ...rest] = rule.split(':');
  if (rest.length === 0) throw refuse('No : separators');
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== '') throw refuse('Bad protocol name');
  const match = /^(?:\[[^\]]*\]|[^:-]*):([^:-]*)-(?:\[[^\]]*\]|[^:]*):([^:]*)$/.exec(rest.join(':'));
  if (match === null) throw refuse('expected PROTO:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT');
  const [, host, guest] = match;
  if (!/^\d+$/.test(host!) || Number(host) > 65535) throw refuse('Bad host port');
  if (!/^\d+$/.test(guest!) || Number(guest) < 1 || Number(guest) > 65535) throw refuse('Bad guest port');
}

function nextId(net: Net): string {
  for (let n = 0; ; n++) {
    const id = `net${n}`;
    if (!net.netdevs.some((netdev) => netdev.id === id)) return id;
  }
}

function addNic(
  net: Net,
  entries: readonly OptionEntry[],
  origin: string,
  note: (message: string) => void,
): void {
  const name = lastValue(entries, 'type');
  if (name === 'none') return;
  findType(name);
  const isNic = (entry: OptionEntry): boolean =>
    entry.name !== 'id' &&
    (NIC_PROPERTIES as readonly Property[]).some(
      (property) => property.name === entry.name || (property.aliases?.includes(entry.name) ?? false),
    );
  const id = lastValue(entries, 'id') ?? nextId(net);
  const backend = entries.filter((entry) => !isNic(entry) && entry.name !== 'id');
  addNetdev(net, [...backend, { name: 'id', value: id }], origin, note);
  net.devices.push(nicDevice(entries.filter(isNic), id, origin));
}

function nicDevice(
  entries: readonly OptionEntry[],
  netdev: string | undefined,
  origin: string,
): DeviceConfig {
  const { values } = readProperties(entries, NIC_PROPERTIES);
  const model = (values.model as string | undefined) ?? 'virtio-net-pci';
  const driver = NIC_MODELS[model];
  if (driver === undefined)
    throw new UsageError(
      `Unsupported NIC model: ${model}${didYouMean(model, Object.keys(NIC_MODELS)) || ' (model=help lists them)'}`,
    );
  const kept = ['mac', 'addr', 'vectors'].flatMap((name) =>
    values[name] === undefined ? [] : [{ name, value: String(values[name]) }],
  );
  return {
    driver,
    entries: [...(netdev === undefined ? [] : [{ name: 'netdev', value: netdev }]), ...kept],
    origin,
  };
}

/**
 * `-net nic -net user`: all of them meet on hub 0, each at a port of its own. Two are connected without a hub between
 * them, because a hub takes finished frames only: monitors show it all the same (`hubPorts`).
 */
function addOldNet(
  net: Net,
  given: readonly Given[],
  note: (origin: string) => (message: string) => void,
): void {
  const parts = given.filter((one) => lastValue(one.entries, 'type') !== 'none');
  for (const one of parts)
    blame(one.origin, () => {
      const type = lastValue(one.entries, 'type');
      if (type !== 'nic') findType(type);
    });
  const isNic = (one: Given): boolean => lastValue(one.entries, 'type') === 'nic';
  const cards = parts.filter(isNic).filter((one) => lastValue(one.entries, 'netdev') === undefined);
  const backs = parts.filter((one) => !isNic(one));
  const cable = cards.length === 1 && backs.length === 1;
  const names = new Map<Given, string>();
  for (const [port, one] of parts.entries()) {
    if (isNic(one)) continue;
    const id = lastValue(one.entries, 'id') ?? `#net${String(port).padStart(3, '0')}`;
    names.set(one, id);
    const entries = one.entries.filter((entry) => entry.name !== 'id');
    blame(one.origin, () =>
      addNetdev(net, [...entries, { name: 'id', value: id }], one.origin, note(one.origin)),
    );
    if (cable) net.hubPorts.push({ port: `hub0port${port}`, netdev: id, card: false });
    else addPort(net, `hub0port${port}`, id, one.origin);
  }
  for (const [port, one] of parts.entries()) {
    if (!isNic(one)) continue;
    const named = lastValue(one.entries, 'netdev');
    let peer = named;
    if (named !== undefined) {
      if (!net.netdevs.some(({ id }) => id === named))
        throw new UsageError(`${one.origin}: netdev '${named}' not found`);
    } else if (cable) {
      peer = names.get(backs[0]!)!;
      net.hubPorts.push({ port: `hub0port${port}`, netdev: peer, card: true });
    } else {
      peer = `hub0port${port}`;
      addPort(net, peer, undefined, one.origin);
    }
    blame(one.origin, () => {
      const entries = one.entries.filter((entry) => entry.name !== 'type' && entry.name !== 'netdev');
      net.devices.push(nicDevice(entries, peer, one.origin));
    });
  }
}

function addPort(net: Net, id: string, netdev: string | undefined, origin: string): void {
  const values = { id, hubid: 0, ...(netdev === undefined ? {} : { netdev }) };
  net.netdevs.push({ id, type: 'hubport', values, lists: {}, origin });
}
