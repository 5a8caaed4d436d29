/** PCI functions as monitors show them: classes by name, BARs and where they are now. */
import { type PciFunction, PCI_PRIMARY_BUS } from '../core/pci.ts';
import { functionOf } from '../machine/registry.ts';
import type { BridgeWindow } from '../pc/pci/bridge.ts';
import { PciBridge } from '../pc/pci/bridge.ts';
import type { PlacedFunction } from '../pc/pci/bus.ts';
import type { MonitorTarget } from './target.ts';

const VENDOR = 0x00;
const DEVICE = 0x02;
const CLASS = 0x0a;
const SUBSYSTEM_VENDOR = 0x2c;
const SUBSYSTEM = 0x2e;
const INTERRUPT_LINE = 0x3c;
const INTERRUPT_PIN = 0x3d;

/** Classes that QEMU 7.2 has names for, of those that can be here. PCI code and ID assignment 1.11. */
const CLASS_NAMES: Readonly<Record<number, string>> = {
  0x0100: 'SCSI controller',
  0x0101: 'IDE controller',
  0x0104: 'RAID controller',
  0x0106: 'SATA controller',
  0x0200: 'Ethernet controller',
  0x0280: 'Network controller',
  0x0300: 'VGA controller',
  0x0380: 'Display controller',
  0x0401: 'Audio controller',
  0x0403: 'Audio controller',
  0x0500: 'RAM controller',
  0x0600: 'Host bridge',
  0x0601: 'ISA bridge',
  0x0604: 'PCI bridge',
  0x0680: 'Bridge',
  0x0780: 'Communication controller',
  0x0c03: 'USB controller',
  0x0c05: 'SMBus',
};
/** Of these QEMU prints the number. */
const UNNAMED = new Set([0x0780]);

export interface BarInfo {
  readonly bar: number;
  readonly kind: 'io' | 'mem32' | 'mem64';
  readonly prefetch: boolean;
  readonly size: number;
  /** Undefined while it decodes nothing. */
  readonly address: number | undefined;
}

/** What a bridge forwards, and to which buses. */
export interface BridgeInfo {
  readonly primary: number;
  readonly secondary: number;
  readonly subordinate: number;
  readonly io: BridgeWindow;
  readonly memory: BridgeWindow;
  readonly prefetchable: BridgeWindow;
  /** What is behind it, once its bus has a number. */
  readonly devices: readonly PciInfo[];
}

export interface PciInfo {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
  readonly id: string;
  readonly classCode: number;
  readonly className: string | undefined;
  readonly vendor: number;
  readonly device: number;
  /** Bridges have none. */
  readonly subsystemVendor: number | undefined;
  readonly subsystem: number | undefined;
  readonly bridge: BridgeInfo | undefined;
  /** 0 when it has none, 1 for INTA#. */
  readonly pin: number;
  readonly line: number;
  readonly bars: readonly BarInfo[];
}

function barsOf(fn: PciFunction): BarInfo[] {
  const mapped = new Map(fn.mappings().map(({ index, base }) => [index, base]));
  return fn.bars.flatMap((bar, index) =>
    bar === undefined
      ? []
      : [
          {
            bar: index,
            kind: bar.kind,
            prefetch: bar.prefetchable === true,
            size: bar.size,
            address: mapped.get(index),
          },
        ],
  );
}

function bridgeInfo(target: MonitorTarget, bridge: PciBridge): BridgeInfo {
  const { secondaryNumber, secondary } = bridge;
  return {
    primary: bridge.byte(PCI_PRIMARY_BUS),
    secondary: secondaryNumber,
    subordinate: bridge.subordinateNumber,
    io: bridge.ioWindow,
    memory: bridge.memoryWindow,
    prefetchable: bridge.prefetchableWindow,
    devices: secondaryNumber === 0 ? [] : secondary.functions.map((placed) => pciInfo(target, placed)),
  };
}

export function pciInfo(target: MonitorTarget, place: PlacedFunction): PciInfo {
  const { fn, bus, slot, function: number } = place;
  const classCode = fn.word(CLASS);
  const placed = target.board.placed.find(({ device }) => functionOf(device) === fn);
  const bridge = fn instanceof PciBridge ? bridgeInfo(target, fn) : undefined;
  return {
    bus: bus.number,
    slot,
    function: number,
    id: placed?.device.id ?? '',
    classCode,
    className: UNNAMED.has(classCode) ? undefined : CLASS_NAMES[classCode],
    vendor: fn.word(VENDOR),
    device: fn.word(DEVICE),
    subsystemVendor: bridge === undefined ? fn.word(SUBSYSTEM_VENDOR) : undefined,
    subsystem: bridge === undefined ? fn.word(SUBSYSTEM) : undefined,
    bridge,
    pin: fn.byte(INTERRUPT_PIN),
    line: fn.byte(INTERRUPT_LINE),
    bars: barsOf(fn),
  };
}

/** Those of the root bus; others are in their bridges' `devices`. */
export const pciInfos = (target: MonitorTarget): PciInfo[] =>
  target.board.platform.pci.functions.map((placed) => pciInfo(target, placed));
