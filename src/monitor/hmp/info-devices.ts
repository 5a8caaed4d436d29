/** `info` about network, chardevs and PCI, in QEMU's words: people and scripts read them. */
import { formatIds } from './ids.ts';
import type { NetFlow } from '../../net/user/options.ts';
import { cards, cardText, hubPorts, netdevs, userNets } from '../net-info.ts';
import type { BridgeWindow } from '../../pc/pci/bridge.ts';
import type { BarInfo, BridgeInfo, PciInfo } from '../pci-info.ts';
import { pciInfos } from '../pci-info.ts';
import { chardevInfos } from '../qmp/commands/chardev.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';

function infoNetwork(target: MonitorTarget): string {
  const { ports, behind } = hubPorts(target);
  let text = '';
  const hubs = new Set(ports.map(({ hub }) => hub));
  for (const hub of hubs) {
    text += `hub ${hub}\n`;
    // The newest first, as in QEMU.
    for (const { port, peer } of ports.filter((one) => one.hub === hub).reverse())
      text += ` \\ ${port}${peer === undefined ? '' : `: ${peer}`}\n`;
  }
  // In the order in which they were made: cards with what is behind them, and back ends without a card.
  const ends = netdevs(target).filter(({ netdev }) => !behind.has(netdev.id));
  for (const { netdev, card } of ends.sort((one, other) => one.order - other.order)) {
    const own = `${netdev.id}: ${netdev.describe()}\n`;
    text += card === undefined ? own : `${cardText(card)}\n \\ ${own}`;
  }
  for (const card of cards(target)) if (card.netdev === undefined) text += `${cardText(card)}\n`;
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

function bridgeText({ primary, secondary, subordinate, io, memory, prefetchable }: BridgeInfo): string {
  const range = ({ base, limit }: BridgeWindow, digits: number): string =>
    `[0x${hex(base, digits)}, 0x${hex(limit, digits)}]`;
  return [
    `      BUS ${primary}.\n`,
    `      secondary bus ${secondary}.\n`,
    `      subordinate bus ${subordinate}.\n`,
    `      IO range ${range(io, 4)}\n`,
    `      memory range ${range(memory, 8)}\n`,
    `      prefetchable memory range ${range(prefetchable, 8)}\n`,
  ].join('');
}

function pciText(one: PciInfo): string {
  const title = one.className ?? `Class ${String(one.classCode).padStart(4, '0')}`;
  return [
    `  Bus ${String(one.bus).padStart(2)}, device ${String(one.slot).padStart(3)}, function ${one.function}:\n`,
    `    ${title}: PCI device ${formatIds(one.vendor, one.device)}\n`,
    one.subsystemVendor === undefined
      ? ''
      : `      PCI subsystem ${formatIds(one.subsystemVendor, one.subsystem ?? 0)}\n`,
    one.pin === 0 ? '' : `      IRQ ${one.line}, pin ${'ABCD'[one.pin - 1]}\n`,
    one.bridge === undefined ? '' : bridgeText(one.bridge),
    ...one.bars.map(barText),
    `      id "${one.id}"\n`,
    ...(one.bridge?.devices.map(pciText) ?? []),
  ].join('');
}

/** One line as libslirp lays it out; there are no descriptors to show. */
function flowText({ protocol, source, sourcePort, destination, destinationPort }: NetFlow): string {
  const place = (address: string, port: number): string =>
    `${address.padStart(15)} ${String(port).padStart(5)}`;
  const ends = `${place(source, sourcePort)} ${place(destination, destinationPort)}`;
  return `${`  ${protocol}`.padEnd(19)}  -1 ${ends}     0     0\n`;
}

const infoUsernet = (target: MonitorTarget): string =>
  userNets(target)
    .map(
      ({ id, net }) =>
        `Hub -1 (${id}):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n` +
        net.flows().map(flowText).join(''),
    )
    .join('');

export const deviceInfo: readonly HmpCommand[] = [
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
