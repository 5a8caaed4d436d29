/**
 * QEMU's object tree, as far as we have what is in it: the machine, its devices by id or by number, the virtio devices
 * behind them, chardevs and objects. Properties are those that the classes declare.
 */
import type { PlacedDevice } from '../machine/board.ts';
import { functionOf } from '../machine/registry.ts';
import type { Property, PropertyValue } from '../qapi/property.ts';
import { VirtioBalloon } from '../virtio/device/balloon/device.ts';
import { uuidOf } from './qmp/commands/status.ts';
import type { JsonValue } from './json/value.ts';
import { typeName } from './properties.ts';
import type { MonitorTarget } from './target.ts';

export interface QomProperty {
  readonly name: string;
  readonly type: string;
  readonly get?: () => JsonValue;
}

export interface QomNode {
  readonly type: string;
  readonly properties: readonly QomProperty[];
  readonly children: ReadonlyMap<string, () => QomNode>;
}

const node = (
  type: string,
  children: Iterable<readonly [string, () => QomNode]> = [],
  properties: readonly QomProperty[] = [],
): QomNode => ({ type, properties, children: new Map(children) });

const leaf = (name: string, type: string, value: JsonValue): QomProperty => ({
  name,
  type,
  get: () => value,
});

const plain = (value: PropertyValue): JsonValue => value ?? '';

/** PCI places are numbers here, slot * 8 + function. */
function declared(placed: PlacedDevice, properties: readonly Property[]): QomProperty[] {
  const values = placed.request?.values ?? {};
  return properties.map((property) => ({
    name: property.name,
    type: typeName(property),
    get: () => plain(values[property.name]),
  }));
}

function deviceNode(target: MonitorTarget, placed: PlacedDevice): QomNode {
  const { device, deviceClass } = placed;
  const { pci } = device;
  const fn = functionOf(device);
  const properties = declared(placed, deviceClass?.properties ?? []).map((property) => {
    if (property.name === 'addr' && fn !== undefined) {
      const place = target.board.platform.pci.placeOf(fn);
      return { ...property, get: () => (place === undefined ? -1 : place.slot * 8 + place.function) };
    }
    // What was left to the device is shown as what it has chosen.
    if (property.name === 'vectors' && pci !== undefined)
      return { ...property, get: () => pci.msix?.vectors ?? 0 };
    return property;
  });
  const common = [
    leaf('realized', 'bool', true),
    leaf('hotplugged', 'bool', placed.hotplugged),
    leaf('hotpluggable', 'bool', true),
  ];
  const backend = pci?.device;
  const children: [string, () => QomNode][] =
    backend === undefined
      ? []
      : [
          [
            'virtio-backend',
            () => node(`${backend.name}-device`, [], [...common, ...backendProperties(placed)]),
          ],
        ];
  return node(device.className, children, [...common, ...properties, ...balloonProperties(placed)]);
}

function backendProperties(placed: PlacedDevice): QomProperty[] {
  return [...declared(placed, placed.deviceClass?.properties ?? []), ...balloonProperties(placed)];
}

/** Statistics that the guest gave. */
function balloonProperties({ device }: PlacedDevice): QomProperty[] {
  const balloon = device.pci?.device;
  if (!(balloon instanceof VirtioBalloon)) return [];
  return [
    {
      name: 'guest-stats',
      type: 'guest statistics',
      get: () => ({ 'last-update': balloon.lastUpdate, stats: Object.fromEntries(balloon.stats) }),
    },
  ];
}

/** What the guest's clock shows, as C's struct tm has it. */
function rtcTime({ board }: MonitorTarget): JsonValue {
  const time = new Date(board.platform.rtc.time);
  return {
    tm_year: time.getUTCFullYear() - 1900,
    tm_mon: time.getUTCMonth(),
    tm_mday: time.getUTCDate(),
    tm_hour: time.getUTCHours(),
    tm_min: time.getUTCMinutes(),
    tm_sec: time.getUTCSeconds(),
  };
}

const MACHINE_TYPES = { pc: 'pc-i440fx-7.2-machine', q35: 'pc-q35-7.2-machine' } as const;

function processorNode({ machine }: MonitorTarget): QomNode {
  const { model } = machine.config.cpu;
  return node(
    `${model}-x86_64-cpu`,
    [],
    [leaf('realized', 'bool', true), leaf('hotplugged', 'bool', false), leaf('hotpluggable', 'bool', true)],
  );
}

function machineNode(target: MonitorTarget): QomNode {
  const { config } = target.machine;
  const inFolder = (folder: string): [string, () => QomNode][] =>
    target.board.placed
      .filter(({ path }) => path.startsWith(`/machine/${folder}/`))
      .map((placed) => [placed.path.slice(folder.length + 10), () => deviceNode(target, placed)]);
  const path = (source: string | Uint8Array | undefined): string =>
    typeof source === 'string' ? source : '';
  return node(
    MACHINE_TYPES[config.machine],
    [
      ['unattached', () => node('container', [['device[0]', () => processorNode(target)]])],
      ['peripheral-anon', () => node('container', inFolder('peripheral-anon'))],
      ['peripheral', () => node('container', inFolder('peripheral'))],
    ],
    [
      leaf('kernel', 'string', path(config.kernel)),
      leaf('initrd', 'string', path(config.initrd)),
      leaf('append', 'string', config.append),
      leaf('hpet', 'bool', config.hpet),
      leaf('acpi', 'OnOffAuto', config.acpi ? 'on' : 'off'),
      leaf('uuid', 'string', uuidOf(config.uuid)),
      { name: 'rtc-time', type: 'struct tm', get: () => rtcTime(target) },
    ],
  );
}

export function qomRoot(target: MonitorTarget): QomNode {
  const { backends } = target;
  return node('container', [
    [
      'objects',
      () =>
        node(
          'container',
          [...backends.objects.values()].map(({ id, type, values }) => [
            id,
            () =>
              node(
                type,
                [],
                Object.entries(values).map(([name, value]) =>
                  leaf(name, typeof value === 'string' ? 'string' : 'int', plain(value)),
                ),
              ),
          ]),
        ),
    ],
    ['machine', () => machineNode(target)],
    [
      'chardevs',
      () =>
        node(
          'container',
          [...backends.chardevs].map(([id, { thing }]) => [id, () => node(`chardev-${thing.type}`)]),
        ),
    ],
  ]);
}

/** The node at an absolute path, or at a partial one that only one node has (`ser0`, `peripheral/ser0`). */
export function resolveQom(target: MonitorTarget, path: string): QomNode | undefined {
  const parts = path.split('/').filter((part) => part !== '');
  const follow = (from: QomNode | undefined): QomNode | undefined =>
    parts.reduce<QomNode | undefined>((at, part) => at?.children.get(part)?.(), from);
  const root = qomRoot(target);
  if (path.startsWith('/')) return follow(root);
  const found: QomNode[] = [];
  const search = (from: QomNode): void => {
    const hit = parts.length > 0 ? follow(from) : undefined;
    if (hit !== undefined) found.push(hit);
    for (const make of from.children.values()) search(make());
  };
  search(root);
  return found.length === 1 ? found[0] : undefined;
}

/** What `qom-list` lists: the type, properties, children. */
export function listQom(at: QomNode): { readonly name: string; readonly type: string }[] {
  return [
    { name: 'type', type: 'string' },
    ...at.properties.map(({ name, type }) => ({ name, type })),
    ...[...at.children].map(([name, make]) => ({ name, type: `child<${make().type}>` })),
  ];
}
