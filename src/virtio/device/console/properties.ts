/** Properties of virtio-serial and its ports (device part) with QEMU 7.2's names, defaults and error texts. */
import { UsageError } from '../../../core/errors.ts';
import type { Property, PropertyValues } from '../../../qapi/property.ts';

export const serialProperties: readonly Property[] = [
  { name: 'max_ports', type: 'uint32', default: 31, help: 'ports that the controller can have' },
  { name: 'emergency-write', type: 'bool', default: true, help: 'offer output before the queues work' },
];

/** Of `virtconsole` and `virtserialport`. */
export const portProperties: readonly Property[] = [
  { name: 'chardev', type: 'chardev', help: 'id of the chardev on the host side' },
  { name: 'name', type: 'str', help: 'name that the guest sees in /sys/class/virtio-ports/*/name' },
  { name: 'nr', type: 'uint32', default: 4294967295, help: 'port number; 4294967295: the next free one' },
];

/** More ports would need more virtqueues than a device has: two a port, and two for control. */
const MAX_PORTS = 511;

export interface SerialSettings {
  readonly maxPorts: number;
  readonly emergencyWrite: boolean;
}

/** Checks parsed properties of the controller; throws UsageError with QEMU's text. */
export function serialSettings(values: PropertyValues): SerialSettings {
  const maxPorts = Number(values['max_ports'] ?? 31);
  if (maxPorts === 0) throw new UsageError('Maximum number of serial ports not specified');
  if (maxPorts > MAX_PORTS) throw new UsageError(`maximum ports supported: ${MAX_PORTS}`);
  return { maxPorts, emergencyWrite: Boolean(values['emergency-write'] ?? true) };
}

/** `nr` as a number, or undefined for "the next free one". */
export function portNumber(values: PropertyValues): number | undefined {
  const nr = Number(values['nr'] ?? 4294967295);
  return nr === 4294967295 ? undefined : nr;
}
