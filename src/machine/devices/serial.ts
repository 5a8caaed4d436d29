/** virtio-serial and what sits on it: the controller on PCI, consoles and named ports on the controller's bus. */
import type { Chardev } from '../../chardev/chardev.ts';
import { UsageError } from '../../core/errors.ts';
import { VirtioSerial } from '../../virtio/device/console/device.ts';
import { SerialPort } from '../../virtio/device/console/port.ts';
import { portNumber, portProperties, serialSettings } from '../../virtio/device/console/properties.ts';
import type { DeviceClass, DeviceContext, DeviceRequest, PluggedDevice } from '../registry.ts';
import { plugVirtio } from './virtio-pci.ts';
import type { VirtioPlace } from './virtio-pci.ts';

export const SERIAL_BUS = 'virtio-serial-bus';

export function createController(
  context: DeviceContext,
  request: DeviceRequest,
  variant: VirtioPlace,
): PluggedDevice {
  const settings = serialSettings(request.values);
  const device = new VirtioSerial({
    tracer: context.tracer,
    clock: context.clock,
    settings,
    portNames: context.portNames,
    ...(request.id === undefined ? {} : { id: request.id }),
  });
  // One vector for configuration changes and one for each port, within what a driver can count in a byte.
  const vectors = Math.min(settings.maxPorts + 1, 256);
  const carrier = plugVirtio(context, request, device, variant, { vectors });
  return {
    id: request.id,
    className: request.className,
    ...carrier,
    carries: {
      name: context.busName(SERIAL_BUS, request.id),
      type: SERIAL_BUS,
      owner: device,
    },
  };
}

function createPort(context: DeviceContext, request: DeviceRequest, console: boolean): PluggedDevice {
  const { values, className } = request;
  const controller = context.findBus(SERIAL_BUS, request.bus, className);
  if (!(controller instanceof VirtioSerial))
    throw new UsageError(`'${className}' can't be plugged into bus '${request.bus ?? ''}'`);
  const name = values.name as string | undefined;
  const id = values.chardev as string | undefined;
  const chardev: Chardev | undefined =
    id === undefined ? undefined : context.backends.claimChardev(id, className);
  const nr = portNumber(values);
  const port = new SerialPort({
    console,
    ...(request.id === undefined ? {} : { id: request.id }),
    ...(name === undefined ? {} : { name }),
    ...(nr === undefined ? {} : { nr }),
    ...(chardev === undefined ? {} : { chardev }),
    onGuestOpen: (open) => {
      if (request.id !== undefined) context.events.emit('portOpen', request.id, open);
    },
  });
  try {
    controller.addPort(port);
  } catch (error) {
    if (id !== undefined) context.backends.releaseChardev(id);
    throw error;
  }
  return {
    id: request.id,
    className,
    port,
    bus: context.busOf(controller),
    unplug: () => {
      if (controller.ports.get(port.nr) === port) controller.removePort(port);
    },
    describe: () => `nr ${port.nr}${name === undefined ? '' : `, name ${name}`}`,
  };
}

export const portClasses: readonly DeviceClass[] = [
  {
    name: 'virtconsole',
    oldNames: ['virtioconsole'],
    bus: SERIAL_BUS,
    category: 'Input',
    properties: portProperties,
    create: (context, request) => createPort(context, request, true),
  },
  {
    name: 'virtserialport',
    bus: SERIAL_BUS,
    category: 'Input',
    properties: portProperties,
    create: (context, request) => createPort(context, request, false),
  },
];
