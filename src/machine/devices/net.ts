/** virtio-net: a card on a netdev, with an address of its own. */
import { UsageError } from '../../core/errors.ts';
import { VirtioNet } from '../../virtio/device/net/device.ts';
import { netSettings } from '../../virtio/device/net/properties.ts';
import type { DeviceContext, DeviceRequest, PluggedDevice } from '../registry.ts';
import { plugVirtio } from './virtio-pci.ts';
import type { VirtioPlace } from './virtio-pci.ts';

/** QEMU's addresses for cards without `mac=`: the last byte counts up from 56h. */
const MAC_PREFIX = '52:54:00:12:34:';
const FIRST_MAC = 0x56;

function freeMac(used: Set<string>): string {
  for (let byte = FIRST_MAC; byte < 0xff; byte++) {
    const mac = `${MAC_PREFIX}${byte.toString(16)}`;
    if (!used.has(mac)) return mac;
  }
  throw new UsageError('no more default network addresses: give each card its mac=');
}

export function createNet(
  context: DeviceContext,
  request: DeviceRequest,
  variant: VirtioPlace,
): PluggedDevice {
  const { values } = request;
  const path = `${context.path()}/virtio-backend`;
  const mac = (values.mac as string | undefined) ?? freeMac(context.macs);
  const settings = netSettings({ ...values, mac });
  const netdev =
    values.netdev === undefined
      ? undefined
      : context.backends.claimNetdev(String(values.netdev), 'virtio-net-device');
  if (netdev === undefined) context.warn(`${request.origin}: the card has no peer (netdev=)`);
  const device = new VirtioNet({
    tracer: context.tracer,
    settings,
    ...(netdev === undefined ? {} : { netdev }),
    onRxFilterChanged: () => context.events.emit('rxFilter', request.id, path),
  });
  const carrier = plugVirtio(context, request, device, variant);
  context.macs.add(mac);
  const cardName = request.id ?? `virtio-net-pci.${context.cards.count}`;
  context.cards.count++;
  return {
    id: request.id,
    className: request.className,
    ...carrier,
    cardName,
    close: () => {
      device.close();
      context.macs.delete(mac);
      context.cards.count--;
    },
    describe: () => `macaddr=${mac}`,
  };
}
