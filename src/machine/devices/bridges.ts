/** PCI Express root ports: each a slot in which devices of q35 come and go. */
import { UsageError } from '../../core/errors.ts';
import { LINK_SPEEDS, LINK_WIDTHS, PcieRootPort } from '../../pc/pci/root-port.ts';
import type { DeviceClass, DeviceContext, DeviceRequest, PluggedDevice } from '../registry.ts';

/** What a bridge reserves is worked out for what is behind it. */
const RESERVED = 'windows are as large as what is behind them needs';

function createRootPort(context: DeviceContext, request: DeviceRequest): PluggedDevice {
  const { values } = request;
  if (context.pciBus(request).kind !== 'root-complex')
    // QEMU takes it, but what is plugged behind it is in no table that a guest reads.
    throw new UsageError("'pcie-root-port' needs the root bus of a PCI Express machine (-M q35)");
  const fn = new PcieRootPort({
    busName: request.id ?? context.busName('pcie', undefined),
    slot: Number(values.slot),
    port: Number(values.port),
    hotplug: values.hotplug !== false,
    acs: values['disable-acs'] !== true,
    multifunction: values.multifunction === true,
    nativeCapable: values['x-native-hotplug'] !== false,
    native: context.nativeHotplug,
    powerController: values.power_controller_present !== false,
    speed: LINK_SPEEDS[String(values['x-speed']) as keyof typeof LINK_SPEEDS],
    width: Number(values['x-width']),
  });
  const chassis = Number(values.chassis);
  const key = `${chassis}.${Number(values.slot)}`;
  if (context.chassisSlots.has(key))
    throw new UsageError(
      `Can't add chassis slot, error -16: chassis=${chassis} has a slot=${Number(values.slot)} already`,
    );
  context.plugPci(fn, request);
  context.chassisSlots.add(key);
  return {
    id: request.id,
    className: request.className,
    fn,
    carries: { name: fn.busName, type: 'PCI', owner: fn.secondary },
    close: () => void context.chassisSlots.delete(key),
    describe: () => `bus ${fn.busName}`,
  };
}

export const bridgeClasses: readonly DeviceClass[] = [
  {
    name: 'pcie-root-port',
    bus: 'PCI',
    category: 'Controller/Bridge/Hub',
    description: 'PCI Express Root Port',
    properties: [
      { name: 'addr', type: 'pci-devfn', help: 'Slot and optional function number, example: 06.0 or 06' },
      { name: 'multifunction', type: 'bool', default: false, help: 'on/off' },
      { name: 'chassis', type: 'uint8', default: 0, help: 'Chassis that the slot is in' },
      { name: 'slot', type: 'uint16', default: 0, max: 8191, help: 'Number of the slot on its chassis' },
      { name: 'port', type: 'uint8', default: 0, help: 'Number of the port' },
      { name: 'hotplug', type: 'bool', default: true, help: 'Devices come and go while the machine runs' },
      { name: 'disable-acs', type: 'bool', default: false, help: 'No access control services' },
      {
        name: 'power_controller_present',
        type: 'bool',
        default: true,
        help: 'The slot can be switched on and off',
      },
      { name: 'x-native-hotplug', type: 'bool', default: true, help: 'The slot says that it can be plugged' },
      {
        name: 'x-speed',
        type: 'enum',
        values: Object.keys(LINK_SPEEDS),
        default: '16',
        shownType: 'PCIELinkSpeed',
        help: '2_5/5/8/16',
      },
      {
        name: 'x-width',
        type: 'enum',
        values: LINK_WIDTHS,
        default: '32',
        shownType: 'PCIELinkWidth',
        help: '1/2/4/8/12/16/32',
      },
      { name: 'bus-reserve', type: 'uint32', default: 4294967295, help: '', ignored: RESERVED },
      { name: 'io-reserve', type: 'size', help: '', ignored: RESERVED },
      { name: 'mem-reserve', type: 'size', help: '', ignored: RESERVED },
      { name: 'pref32-reserve', type: 'size', help: '', ignored: RESERVED },
      { name: 'pref64-reserve', type: 'size', help: '', ignored: RESERVED },
    ],
    create: createRootPort,
  },
];
