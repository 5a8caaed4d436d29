/**
 * Virtio devices outside PCI: `virtio-serial-device` and its like, each behind a window of registers of its own, which
 * the guest finds in the ACPI tables. QEMU has such windows on its machine `microvm` only; here both machines do.
 */
import type { Property } from '../../qapi/property.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import { VirtioMmio } from '../../virtio/transport/mmio.ts';
import { UsageError } from '../../core/errors.ts';
import type { DeviceContext, DeviceRequest } from '../registry.ts';

const bit = (name: string, value: boolean): Property => ({
  name,
  type: 'bool',
  default: value,
  help: 'on/off',
});

/** With QEMU 7.2's names and defaults. */
export const MMIO_PROPERTIES: readonly Property[] = [
  bit('event_idx', true),
  bit('indirect_desc', true),
  bit('queue_reset', true),
  bit('notify_on_empty', true),
  bit('any_layout', true),
  bit('packed', false),
  bit('iommu_platform', false),
];

const REFUSED = ['packed', 'iommu_platform'] as const;

/** Puts a virtio device behind a window of registers (version 2). @throws UsageError when there is no window left */
export function plugVirtioMmio(
  context: DeviceContext,
  { values }: DeviceRequest,
  device: VirtioDevice,
): VirtioMmio {
  for (const name of REFUSED)
    if (values[name] === true)
      throw new UsageError(`Property '${name}' can't take value 'on': not available yet`);
  return context.plugMmio((line) => {
    const environment = { memory: context.memory, tracer: context.tracer };
    return new VirtioMmio(device, environment, line, {
      eventIdx: values.event_idx !== false,
      indirectDesc: values.indirect_desc !== false,
      queueReset: values.queue_reset !== false,
    });
  });
}
