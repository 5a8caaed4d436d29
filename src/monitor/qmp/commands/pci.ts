/** The PCI buses. */
import type { JsonObject } from '../../json/value.ts';
import type { PciInfo } from '../../pci-info.ts';
import { pciInfos } from '../../pci-info.ts';
import { command } from '../command.ts';
import { array, bool, int, object, str } from '../types.ts';

const REGION = object({
  bar: int,
  type: str,
  address: int,
  size: int,
  'prefetch?': bool,
  'mem_type_64?': bool,
});

const MEMBERS = {
  bus: int,
  slot: int,
  function: int,
  class_info: object({ 'desc?': str, class: int }),
  id: object({ device: int, vendor: int, 'subsystem?': int, 'subsystem-vendor?': int }),
  'irq?': int,
  irq_pin: int,
  qdev_id: str,
  regions: array(REGION),
};

const RANGE = object({ base: int, limit: int });

/** Bridges are on the root bus only: what is behind one is never a bridge. */
const BRIDGE = object({
  bus: object({
    number: int,
    secondary: int,
    subordinate: int,
    io_range: RANGE,
    memory_range: RANGE,
    prefetchable_range: RANGE,
  }),
  'devices?': array(object(MEMBERS)),
});

const DEVICE = object({ ...MEMBERS, 'pci_bridge?': BRIDGE });

function shown(one: PciInfo): JsonObject {
  const { bridge } = one;
  return {
    irq_pin: one.pin,
    bus: one.bus,
    ...(bridge === undefined
      ? {}
      : {
          pci_bridge: {
            bus: {
              number: bridge.primary,
              secondary: bridge.secondary,
              subordinate: bridge.subordinate,
              io_range: { ...bridge.io },
              memory_range: { ...bridge.memory },
              prefetchable_range: { ...bridge.prefetchable },
            },
            ...(bridge.secondary === 0 ? {} : { devices: bridge.devices.map(shown) }),
          },
        }),
    qdev_id: one.id,
    ...(one.pin === 0 ? {} : { irq: one.line }),
    slot: one.slot,
    class_info: { class: one.classCode, desc: one.className },
    id: {
      device: one.device,
      'subsystem-vendor': one.subsystemVendor,
      vendor: one.vendor,
      subsystem: one.subsystem,
    },
    function: one.function,
    regions: one.bars.map(({ bar, kind, prefetch, size, address }) => ({
      ...(kind === 'io' ? {} : { prefetch, mem_type_64: kind === 'mem64' }),
      bar,
      size,
      // What decodes nothing is at -1, as in QEMU.
      address: address ?? -1,
      type: kind === 'io' ? 'io' : 'memory',
    })),
  };
}

export const pciCommands = [
  command({
    name: 'query-pci',
    help: 'The functions on the PCI buses',
    returns: array(object({ bus: int, devices: array(DEVICE) })),
    run: (_, target) => [{ bus: 0, devices: pciInfos(target).map(shown) }],
  }),
];
