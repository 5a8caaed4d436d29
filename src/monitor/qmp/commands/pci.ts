/** The PCI bus. */
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

const DEVICE = object({
  bus: int,
  slot: int,
  function: int,
  class_info: object({ 'desc?': str, class: int }),
  id: object({ device: int, vendor: int, 'subsystem?': int, 'subsystem-vendor?': int }),
  'irq?': int,
  irq_pin: int,
  qdev_id: str,
  regions: array(REGION),
});

export const pciCommands = [
  command({
    name: 'query-pci',
    help: 'The functions on the PCI bus',
    returns: array(object({ bus: int, devices: array(DEVICE) })),
    run: (_, target) => [
      {
        bus: 0,
        devices: pciInfos(target).map((one) => ({
          irq_pin: one.pin,
          bus: 0,
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
        })),
      },
    ],
  }),
];
