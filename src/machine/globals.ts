/**
 * `-global DRIVER.PROPERTY=VALUE`: defaults for properties of all devices of a kind, and the few properties of the
 * chipset's own functions that have a meaning here. Names, rules and texts are QEMU's.
 */
import { UsageError } from '../core/errors.ts';
import { parseOptions, type OptionEntry } from '../qapi/options.ts';
import type { Given } from '../qapi/parse-command-line.ts';
import { blame } from '../qapi/parse-command-line.ts';
import type { Property } from '../qapi/property.ts';
import { readProperties } from '../qapi/read.ts';
import type { GlobalConfig, MachineConfig } from './config.ts';
import { DEVICE_CLASSES } from './registry.ts';
import type { DeviceClass } from './registry.ts';

const SLEEP = 'sleep states S3 and S4 are never offered';

/** Properties of the chipset's power management functions, which decide what ACPI tells of hot-plug. */
const CHIPSET: Readonly<
  Record<string, { readonly machine: string; readonly properties: readonly Property[] }>
> = {
  PIIX4_PM: {
    machine: 'pc',
    properties: [
      { name: 'acpi-pci-hotplug-with-bridge-support', type: 'bool', default: true, help: '' },
      { name: 'acpi-root-pci-hotplug', type: 'bool', default: true, help: '' },
      { name: 'disable_s3', type: 'uint8', default: 0, help: '', ignored: SLEEP },
      { name: 'disable_s4', type: 'uint8', default: 0, help: '', ignored: SLEEP },
    ],
  },
  'ICH9-LPC': {
    machine: 'q35',
    properties: [
      { name: 'acpi-pci-hotplug-with-bridge-support', type: 'bool', default: true, help: '' },
      { name: 'disable_s3', type: 'uint8', default: 0, help: '', ignored: SLEEP },
      { name: 'disable_s4', type: 'uint8', default: 0, help: '', ignored: SLEEP },
    ],
  },
};

/** Names of QEMU's types above a device's: what is said of them is said of the device. */
function ancestors({ name, bus }: DeviceClass): readonly string[] {
  const virtio = /^virtio-(.+?)(-pci)?(-transitional|-non-transitional)?$/.exec(name);
  if (bus === 'PCI' && virtio !== null)
    return ['virtio-pci', 'pci-device', 'virtio-device', `virtio-${virtio[1]}-device`];
  if (bus === 'PCI')
    return name === 'pcie-root-port' ? ['pcie-root-port-base', 'pci-device'] : ['pci-device'];
  return name.startsWith('virtio-') ? ['virtio-device'] : [];
}

const isFor = (deviceClass: DeviceClass, driver: string): boolean =>
  deviceClass.name === driver || ancestors(deviceClass).includes(driver);

/** Reads all `-global` options; what none of our devices is named is noted. */
export function configureGlobals(
  given: readonly Given[],
  machine: MachineConfig['machine'],
  note: (message: string) => void,
): GlobalConfig[] {
  const globals = given
    .filter((one) => one.name === 'global')
    .map(({ text, origin }) => blame(origin, () => ({ ...readGlobal(text), origin })));
  for (const { driver, property, value } of globals) {
    const chipset = CHIPSET[driver];
    if (chipset?.machine === machine) continue;
    if (chipset !== undefined) note(`global ${driver}.${property}=${value} not used`);
    else if (!DEVICE_CLASSES.some((one) => isFor(one, driver)))
      note(`global ${driver}.${property} has invalid class name`);
  }
  return globals;
}

/** `DRIVER.PROPERTY=VALUE`, or the three by name. */
function readGlobal(text: string): Omit<GlobalConfig, 'origin'> {
  const short = /^([^.=]{1,63})\.([^=]{1,63})=(.*)$/s.exec(text);
  if (short !== null) return { driver: short[1]!, property: short[2]!, value: short[3]! };
  const found: Record<string, string> = {};
  for (const { name, value } of parseOptions(text)) {
    if (!['driver', 'property', 'value'].includes(name)) throw new UsageError(`Invalid parameter '${name}'`);
    found[name] = value;
  }
  const { driver, property, value } = found;
  if (driver === undefined || property === undefined || value === undefined)
    throw new UsageError("options 'driver', 'property', and 'value' are required");
  return { driver, property, value };
}

/** What globals say of a device of this class, to be put in front of its own entries. @throws UsageError */
export function globalsFor(deviceClass: DeviceClass, globals: readonly GlobalConfig[]): OptionEntry[] {
  return globals
    .filter(({ driver }) => isFor(deviceClass, driver))
    .map((one) => {
      const entry = { name: one.property, value: one.value, bare: false };
      const optional = deviceClass.properties.map((property) => ({ ...property, required: false }));
      apply(one, () => readProperties([entry], optional, { device: one.driver }));
      return entry;
    });
}

/** @returns which slots ACPI tells of */
export function acpiHotplug(
  globals: readonly GlobalConfig[],
  machine: MachineConfig['machine'],
): { readonly root: boolean; readonly bridges: boolean } {
  const [driver, { properties }] = Object.entries(CHIPSET).find(([, one]) => one.machine === machine)!;
  const entries = globals
    .filter((one) => one.driver === driver)
    .map((one) => {
      const entry = { name: one.property, value: one.value, bare: false };
      apply(one, () => readProperties([entry], properties, { device: driver }));
      return entry;
    });
  const { values } = readProperties(entries, properties);
  return {
    root: values['acpi-root-pci-hotplug'] !== false,
    bridges: values['acpi-pci-hotplug-with-bridge-support'] !== false,
  };
}

function apply({ driver, property, value }: GlobalConfig, body: () => void): void {
  try {
    body();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    // Ours has the nearest name behind it.
    const reason = error.message.replace(/ \(did you mean.*$/, '');
    throw new UsageError(`can't apply global ${driver}.${property}=${value}: ${reason}`, { cause: error });
  }
}
