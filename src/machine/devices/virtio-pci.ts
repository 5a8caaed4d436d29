/** What all virtio devices on PCI share: the properties of the function and of virtio in general, and the plugging. */
import type { Property, PropertyValue } from '../../qapi/property.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import type { VirtioPciOptions } from '../../virtio/transport/pci.ts';
import { VirtioPci } from '../../virtio/transport/pci.ts';
import { UsageError } from '../../core/errors.ts';
import type { DeviceContext, DeviceRequest } from '../registry.ts';
import { plugVirtioMmio } from './virtio-mmio.ts';

const ON_OFF = 'on/off';
const bit = <const N extends string>(name: N, value: boolean, ignored?: string) =>
  ({
    name,
    type: 'bool',
    default: value,
    help: ON_OFF,
    ...(ignored === undefined ? {} : { ignored }),
  }) as const;

/** 0xffffffff: as many as the device has use for. */
const VECTORS_UNSET = 4294967295;

/** Entries that the table of a function can have (PCI 3.0 §6.8.2.3); with more asked for, QEMU gives none. */
const MSIX_MAX = 2048;

/** With QEMU 7.2's names, defaults and order of type names. `vectors` has its own default with some devices. */
export const PCI_PROPERTIES = [
  {
    name: 'addr',
    type: 'pci-devfn',
    help: 'Slot and optional function number, example: 06.0 or 06',
  },
  bit('multifunction', false),
  { name: 'vectors', type: 'uint32', default: VECTORS_UNSET, help: 'MSI-X vectors; 0: none' },
  { name: 'disable-legacy', type: 'on-off-auto', default: 'auto', help: 'on/off/auto' },
  { name: 'disable-modern', type: 'bool', default: false, help: '' },
  bit('event_idx', true),
  bit('indirect_desc', true),
  bit('queue_reset', true),
  bit('notify_on_empty', true),
  bit('any_layout', true),
  bit('page-per-vq', false),
  bit('packed', false),
  bit('iommu_platform', false),
  bit('ats', false),
  bit('ioeventfd', true, 'a notification is handled where it arrives'),
  bit('modern-pio-notify', false),
  { name: 'class', type: 'uint32', default: 0, help: 'Base class and sub-class; 0: the usual ones' },
  { name: 'rombar', type: 'uint32', default: 1, help: '', ignored: 'there is no option ROM' },
  { name: 'romfile', type: 'str', help: '', ignored: 'there is no option ROM' },
  { name: 'acpi-index', type: 'uint32', default: 0, help: '', ignored: 'slots have no names yet' },
  bit('aer', false, 'a conventional slot has no AER'),
] as const satisfies readonly Property[];

/** Features that would change what the guest sees and are not there: refused rather than ignored. */
const REFUSED = ['packed', 'iommu_platform', 'ats', 'modern-pio-notify'] as const;

export type VirtioVariant = 'generic' | 'transitional' | 'non-transitional';
/** The same, or a window of registers outside PCI. */
export type VirtioPlace = VirtioVariant | 'mmio';

/** What carries a virtio device. */
export interface VirtioCarrier {
  readonly pci?: VirtioPci;
  /** At a reset of the machine, for what no bus resets. */
  reset?(): void;
}

/** The transport's options out of the properties. */
export function transportOptions(
  values: Readonly<Record<string, PropertyValue>>,
  given: ReadonlySet<string>,
  variant: VirtioVariant,
): VirtioPciOptions {
  for (const name of REFUSED)
    if (values[name] === true)
      throw new UsageError(`Property '${name}' can't take value 'on': not available yet`);
  const legacy = values['disable-legacy'] as 'on' | 'off' | 'auto';
  const vectors = Number(values.vectors ?? VECTORS_UNSET);
  const classCode = Number(values.class ?? 0);
  return {
    disableLegacy: variant === 'generic' ? legacy : variant === 'transitional' ? 'off' : 'on',
    disableModern: variant === 'generic' && values['disable-modern'] === true,
    ...(vectors !== VECTORS_UNSET || given.has('vectors') ? { vectors } : {}),
    pagePerVq: values['page-per-vq'] === true,
    multifunction: values.multifunction === true,
    eventIdx: values.event_idx !== false,
    indirectDesc: values.indirect_desc !== false,
    queueReset: values.queue_reset !== false,
    notifyOnEmpty: values.notify_on_empty !== false,
    anyLayout: values.any_layout !== false,
    ...(classCode === 0 ? {} : { classCode }),
  };
}

/** Puts a virtio device into a PCI function and that on the bus, or behind a window of registers. */
export function plugVirtio(
  context: DeviceContext,
  request: DeviceRequest,
  device: VirtioDevice,
  variant: VirtioPlace,
  defaults: VirtioPciOptions = {},
): VirtioCarrier {
  if (variant === 'mmio') {
    const transport = plugVirtioMmio(context, request, device);
    return { reset: () => transport.reset() };
  }
  const options = { ...defaults, ...transportOptions(request.values, request.given, variant) };
  const { vectors } = options;
  if (vectors !== undefined && vectors > MSIX_MAX) {
    context.warn(`${request.origin}: unable to init msix vectors to ${vectors}`);
    options.vectors = 0;
  }
  // A transitional device is a conventional one, wherever it sits.
  const expressPort = variant !== 'transitional' && context.pciBus(request).kind === 'port';
  const environment = { memory: context.memory, tracer: context.tracer };
  const fn = new VirtioPci(device, environment, { ...options, expressPort });
  context.plugPci(fn, request);
  return { pci: fn };
}
