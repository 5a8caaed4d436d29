/** PCI functions as monitors show them: classes by name, BARs and where they are now. */
import type { PciFunction } from '../core/pci.ts';
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

export interface PciInfo {
  readonly slot: number;
  readonly function: number;
  readonly id: string;
  readonly classCode: number;
  readonly className: string | undefined;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
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

export function pciInfo(target: MonitorTarget, { fn, slot, function: number }: PlacedFunction): PciInfo {
  const classCode = fn.word(CLASS);
  const placed = target.board.placed.find(({ device }) => device.pci === fn);
  return {
    slot,
    function: number,
    id: placed?.device.id ?? '',
    classCode,
    className: UNNAMED.has(classCode) ? undefined : CLASS_NAMES[classCode],
    vendor: fn.word(VENDOR),
    device: fn.word(DEVICE),
    subsystemVendor: fn.word(SUBSYSTEM_VENDOR),
    subsystem: fn.word(SUBSYSTEM),
    pin: fn.byte(INTERRUPT_PIN),
    line: fn.byte(INTERRUPT_LINE),
    bars: barsOf(fn),
  };
}

export const pciInfos = (target: MonitorTarget): PciInfo[] =>
  target.board.platform.pci.functions.map((placed) => pciInfo(target, placed));
