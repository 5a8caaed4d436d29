/** `info` about disks, network, chardevs and PCI, in QEMU's words: people and scripts read them. */
import { describeCacheMode } from '../../block/cache.ts';
import { formatIds } from './ids.ts';
import { blockDevices, cacheMode } from '../block-info.ts';
import type { BlockDevice } from '../block-info.ts';
import { cards, formatMac, netdevs } from '../net-info.ts';
import type { Card } from '../net-info.ts';
import type { BarInfo, PciInfo } from '../pci-info.ts';
import { pciInfos } from '../pci-info.ts';
import { humanSize } from '../properties.ts';
import { chardevInfos } from '../qmp/commands/chardev.ts';
import { QmpError } from '../qmp/error.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';

function blockText(device: BlockDevice, node: boolean, verbose: boolean): string {
  const { config, backend } = device;
  const readOnly = backend?.readOnly === true ? ', read-only' : '';
  const name = node ? device.nodeName : config.id;
  if (backend === undefined)
    return `${name}: [not inserted]\n    Removable device: not locked, tray closed\n`;
  const head = node ? name : `${name} (${device.nodeName})`;
  let text = `${head}: ${device.file} (${device.format}${readOnly})\n`;
  if (!node)
    text +=
      device.qdev === undefined
        ? '    Removable device: not locked, tray closed\n'
        : `    Attached to:      ${device.qdev}\n`;
  text += `    Cache mode:       ${describeCacheMode(cacheMode(config))}\n`;
  if (!verbose) return text;
  return (
    `${text}\nImages:\nimage: ${device.file}\nfile format: ${device.format}\n` +
    `virtual size: ${humanSize(backend.size)} (${backend.size} bytes)\n`
  );
}

function infoBlock(
  target: MonitorTarget,
  name: string | undefined,
  nodes: boolean,
  verbose: boolean,
): string {
  let devices = blockDevices(target);
  if (nodes) devices = devices.filter(({ backend }) => backend !== undefined);
  if (name !== undefined)
    devices = devices.filter(({ config, nodeName }) => config.id === name || nodeName === name);
  if (name !== undefined && devices.length === 0) throw new QmpError(`Device '${name}' not found`);
  return devices
    .flatMap((device) =>
      nodes
        ? [
            blockText(device, true, verbose),
            blockText({ ...device, nodeName: device.fileNodeName, format: 'file' }, true, verbose),
          ]
        : [blockText(device, false, verbose)],
    )
    .join('\n');
}

function statsLine(target: MonitorTarget, { config, backend }: BlockDevice): string {
  if (backend === undefined) return '';
  const { rd, wr, flush } = backend.counts;
  const idle =
    backend.lastAccess === undefined ? 0 : Math.round(target.host.time.monotonic() - backend.lastAccess);
  const time = (nanoseconds: number): number => Math.round(nanoseconds);
  return (
    `${config.id}: rd_bytes=${rd.bytes} wr_bytes=${wr.bytes} rd_operations=${rd.operations} ` +
    `wr_operations=${wr.operations} flush_operations=${flush.operations} wr_total_time_ns=${time(wr.time)} ` +
    `rd_total_time_ns=${time(rd.time)} flush_total_time_ns=${time(flush.time)} rd_merged=0 wr_merged=0 ` +
    `idle_time_ns=${idle}\n`
  );
}

const cardText = ({ name, model, device }: Card): string =>
  `${name}: index=0,type=nic,model=${model},macaddr=${formatMac(device.mac)}\n`;

function infoNetwork(target: MonitorTarget): string {
  const ends = netdevs(target);
  // Back ends without a card come first, for they were made first.
  const lonely = ends.filter(({ card }) => card === undefined);
  let text = lonely.map(({ netdev }) => `${netdev.id}: ${netdev.describe()}\n`).join('');
  for (const card of cards(target)) {
    text += cardText(card);
    const end = ends.find(({ card: user }) => user?.name === card.name);
    if (end !== undefined) text += ` \\ ${end.netdev.id}: ${end.netdev.describe()}\n`;
  }
  return text;
}

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');

function barText({ bar, kind, prefetch, size, address }: BarInfo): string {
  // What decodes nothing is at -1, and ends where that wraps to.
  const start = address === undefined ? 0xffff_ffff_ffff_ffffn : BigInt(address);
  const end = BigInt.asUintN(64, start + BigInt(size) - 1n);
  if (kind === 'io') return `      BAR${bar}: I/O at 0x${hex(start, 4)} [0x${hex(end, 4)}].\n`;
  const bits = kind === 'mem64' ? 64 : 32;
  return (
    `      BAR${bar}: ${bits} bit${prefetch ? ' prefetchable' : ''} memory at ` +
    `0x${hex(start, 8)} [0x${hex(end, 8)}].\n`
  );
}

function pciText(one: PciInfo): string {
  const title = one.className ?? `Class ${String(one.classCode).padStart(4, '0')}`;
  return [
    `  Bus ${'0'.padStart(2)}, device ${String(one.slot).padStart(3)}, function ${one.function}:\n`,
    `    ${title}: PCI device ${formatIds(one.vendor, one.device)}\n`,
    `      PCI subsystem ${formatIds(one.subsystemVendor, one.subsystem)}\n`,
    one.pin === 0 ? '' : `      IRQ ${one.line}, pin ${'ABCD'[one.pin - 1]}\n`,
    ...one.bars.map(barText),
    `      id "${one.id}"\n`,
  ].join('');
}

interface WithConnections {
  connections(): string[];
}

const hasConnections = (netdev: unknown): netdev is WithConnections =>
  typeof (netdev as Partial<WithConnections>).connections === 'function';

function infoUsernet(target: MonitorTarget): string {
  return netdevs(target)
    .filter(({ netdev }) => netdev.type === 'user')
    .map(({ netdev }) => {
      const lines = hasConnections(netdev) ? netdev.connections() : [];
      return [
        `Hub -1 (${netdev.id}):`,
        '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
        ...lines.map((line) => `  ${line}`),
        '',
      ].join('\n');
    })
    .join('');
}

export const deviceInfo: readonly HmpCommand[] = [
  {
    name: 'block',
    takes: 'nodes:-n,verbose:-v,device:s?',
    synopsis: '[-n] [-v] [device]',
    help: 'the disks (-n: their layers, -v: more of each)',
    run: ({ nodes, verbose, device }, target) =>
      infoBlock(target, device === undefined ? undefined : String(device), nodes === true, verbose === true),
    complete: ({ machine }) => machine.config.drives.map(({ id }) => id),
  },
  {
    name: 'blockstats',
    takes: '',
    synopsis: '',
    help: 'what has been asked of the disks',
    run: (_, target) =>
      blockDevices(target)
        .map((device) => statsLine(target, device))
        .join(''),
  },
  {
    name: 'network',
    takes: '',
    synopsis: '',
    help: 'network cards and what they are connected to',
    run: (_, target) => infoNetwork(target),
  },
  {
    name: 'usernet',
    takes: '',
    synopsis: '',
    help: 'connections through -netdev user',
    run: (_, target) => infoUsernet(target),
  },
  {
    name: 'chardev',
    takes: '',
    synopsis: '',
    help: 'the character devices',
    run: (_, target) =>
      chardevInfos(target)
        .map(({ label, filename }) => `${label}: filename=${filename}\n`)
        .join(''),
  },
  {
    name: 'pci',
    takes: '',
    synopsis: '',
    help: 'the functions on the PCI bus',
    run: (_, target) => pciInfos(target).map(pciText).join(''),
  },
];
