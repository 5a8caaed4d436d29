/** The virtio devices that -device can plug: their classes, as QEMU names and describes them. */
import type { Property } from '../../qapi/property.ts';
import type { DeviceCategory } from '../../qapi/help.ts';
import { VirtioBalloon } from '../../virtio/device/balloon/device.ts';
import { balloonProperties, balloonSettings } from '../../virtio/device/balloon/properties.ts';
import { VirtioBlk } from '../../virtio/device/blk/device.ts';
import { blkProperties, blkSettings } from '../../virtio/device/blk/properties.ts';
import { serialProperties } from '../../virtio/device/console/properties.ts';
import { netProperties } from '../../virtio/device/net/properties.ts';
import { VirtioRng } from '../../virtio/device/rng/device.ts';
import { rngLimits, rngProperties } from '../../virtio/device/rng/properties.ts';
import type { DeviceClass, DeviceContext, DeviceRequest, PluggedDevice } from '../registry.ts';
import { createNet } from './net.ts';
import { createController, portClasses } from './serial.ts';
import { PCI_PROPERTIES, plugVirtio } from './virtio-pci.ts';
import type { VirtioPlace, VirtioVariant } from './virtio-pci.ts';
import { MMIO_PROPERTIES } from './virtio-mmio.ts';

type Maker = (context: DeviceContext, request: DeviceRequest, variant: VirtioPlace) => PluggedDevice;

/** `NAME-pci` with its alias, the transitional and non-transitional forms, and `NAME-device` outside PCI. */
function classes(
  name: string,
  category: DeviceCategory,
  own: readonly Property[],
  create: Maker,
  vectors?: number,
): DeviceClass[] {
  const common = PCI_PROPERTIES.map((property: Property) =>
    property.name === 'vectors' && vectors !== undefined ? { ...property, default: vectors } : property,
  );
  const fixed = common.filter(({ name }) => name !== 'disable-legacy' && name !== 'disable-modern');
  const form = (variant: VirtioVariant, suffix: string, properties: readonly Property[]): DeviceClass => ({
    name: `${name}-pci${suffix}`,
    ...(variant === 'generic' ? { alias: name } : {}),
    bus: 'PCI',
    category,
    properties: [...own, ...properties],
    create: (context, request) => create(context, request, variant),
  });
  return [
    form('generic', '', common),
    form('non-transitional', '-non-transitional', fixed),
    form('transitional', '-transitional', fixed),
    {
      name: `${name}-device`,
      bus: 'virtio-bus',
      category,
      properties: [...own, ...MMIO_PROPERTIES],
      create: (context, request) => create(context, request, 'mmio'),
    },
  ];
}

/** Nanoseconds in which failures of one disk are told once. */
const ERROR_QUIET_NS = 5e9;

function createBlk(context: DeviceContext, request: DeviceRequest, variant: VirtioPlace): PluggedDevice {
  const { values } = request;
  const settings = blkSettings(values);
  const disk = context.backends.claimDrive(String(values.drive), {
    name: 'virtio-blk-device',
    path: `${context.path()}/virtio-backend`,
    shares: values['share-rw'] === true,
  });
  const backend = disk.backend!;
  const given = disk.config?.values ?? {};
  // -drive's werror and rerror count where the device's own are not given.
  const policy = (name: 'werror' | 'rerror') =>
    settings[name] === 'auto' && given[name] !== undefined
      ? (given[name] as typeof settings.werror)
      : settings[name];
  const writethrough =
    given['cache.writeback'] === false || given.cache === 'writethrough' || given.cache === 'directsync';
  let quietUntil = 0;
  const device = new VirtioBlk({
    backend,
    tracer: context.tracer,
    settings: { ...settings, werror: policy('werror'), rerror: policy('rerror') },
    writeCache: !writethrough,
    onError: ({ operation, action, reason }) => {
      // A guest goes on trying, and each failure says the same.
      if (action === 'stop' || context.clock.now() >= quietUntil) {
        context.warn(
          `drive '${disk.id === '' ? (disk.root?.name ?? '') : disk.id}': ${operation} failed: ${reason} (${action})`,
        );
        const nospace = /ENOSPC|No space/.test(reason);
        context.events.emit('blockError', {
          device: disk.id,
          node: disk.root?.name,
          operation,
          action,
          nospace,
          reason,
        });
        quietUntil = context.clock.now() + ERROR_QUIET_NS;
      }
      if (action === 'stop') context.control.pause('io-error');
    },
  });
  // The partition table was looked at, for the geometry.
  backend.forget();
  disk.onResize = () => device.sizeChanged();
  const carrier = plugVirtio(context, request, device, variant);
  const forget = context.onResume(() => device.retry());
  return {
    id: request.id,
    className: request.className,
    ...carrier,
    close: forget,
    describe: () => backend.describe(),
  };
}

function createRng(context: DeviceContext, request: DeviceRequest, variant: VirtioPlace): PluggedDevice {
  const { values } = request;
  const { maxBytes, period } = rngLimits(values);
  const backend =
    values.rng === undefined
      ? { fill: (view: Uint8Array) => context.random(view) }
      : context.backends.randomSource(String(values.rng));
  const device = new VirtioRng({
    backend,
    clock: context.clock,
    tracer: context.tracer,
    maxBytes,
    period,
  });
  const carrier = plugVirtio(context, request, device, variant);
  return { id: request.id, className: request.className, ...carrier };
}

function createBalloon(context: DeviceContext, request: DeviceRequest, variant: VirtioPlace): PluggedDevice {
  const device = new VirtioBalloon({
    clock: context.clock,
    tracer: context.tracer,
    memory: context.memory,
    settings: balloonSettings(request.values),
    onChange: (actual) => context.events.emit('balloon', actual),
  });
  const carrier = plugVirtio(context, request, device, variant);
  return { id: request.id, className: request.className, ...carrier };
}

export const virtioClasses: readonly DeviceClass[] = [
  ...classes('virtio-blk', 'Storage', blkProperties, createBlk),
  ...classes('virtio-net', 'Network', netProperties, createNet),
  ...classes('virtio-serial', 'Input', serialProperties, createController),
  ...portClasses,
  ...classes('virtio-rng', 'Misc', rngProperties, createRng),
  ...classes('virtio-balloon', 'Misc', balloonProperties, createBalloon),
];
