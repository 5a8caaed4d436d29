/**
 * PCI hot-plug in the DSDT: a device for each slot that the guest can give back, and the method that tells which slots
 * have changed. The registers behind it are those of pci/hotplug.ts. QEMU docs/specs/acpi_pci_hotplug; ACPI 6.4 §6.3.
 */
import type { PlatformInfo } from '../info.ts';
import * as aml from './aml.ts';
import type { Aml } from './aml.ts';

const SLOTS = 32;
/** The chipset sits in slots 0 and 1 and stays there. */
const FIRST_SLOT = 2;
/** Values of Notify (§5.6.6): look for new devices; the user asks to eject this one. */
const DEVICE_CHECK = 1;
const EJECT_REQUEST = 3;

/** `S18` is slot 3: the name has the device and function number that the slot's function 0 has. */
const slotName = (slot: number): string => `S${(slot * 8).toString(16).toUpperCase().padStart(2, '0')}`;

const slots = Array.from({ length: SLOTS - FIRST_SLOT }, (_, index) => FIRST_SLOT + index);

/** What stands inside the root bridge's device. */
export function hotplugSlots({ pciHotplugPort }: PlatformInfo): Aml[] {
  const { base } = pciHotplugPort;
  return [
    aml.region('HPST', aml.REGION.SystemIO, base, 8),
    aml.dwordRegisters('HPST', ['PCIU', 'PCID']),
    aml.region('HPEJ', aml.REGION.SystemIO, base + 8, 4),
    aml.dwordRegisters('HPEJ', ['B0EJ']),
    aml.region('HPBS', aml.REGION.SystemIO, base + 0x10, 4),
    aml.dwordRegisters('HPBS', ['BNUM']),
    // The bus selector and what it selects are used together.
    aml.mutex('BLCK'),
    aml.method(
      'PCEJ',
      1,
      aml.acquire('BLCK'),
      aml.store(0, 'BNUM'),
      aml.store(aml.shiftLeft(1, aml.arg(0)), 'B0EJ'),
      aml.release('BLCK'),
    ),
    ...slots.map((slot) =>
      aml.device(
        slotName(slot),
        aml.name('_SUN', slot),
        aml.name('_ADR', slot * 0x10000),
        aml.method('_EJ0', 1, aml.call('PCEJ', slot)),
      ),
    ),
    // DVNT (slots, value): notifies the slots whose bit is set.
    aml.method(
      'DVNT',
      2,
      ...slots.map((slot) =>
        aml.when(aml.and(aml.arg(0), 2 ** slot), aml.notify(slotName(slot), aml.arg(1))),
      ),
    ),
    aml.method(
      'PCNT',
      0,
      aml.acquire('BLCK'),
      aml.store(0, 'BNUM'),
      aml.call('DVNT', 'PCIU', DEVICE_CHECK),
      aml.call('DVNT', 'PCID', EJECT_REQUEST),
      aml.release('BLCK'),
    ),
  ];
}

/** The general-purpose event by which the machine asks to look. Edge-triggered: `_Exx` (§5.6.4.1). */
export function hotplugEvent({ pciHotplugGpe }: PlatformInfo): Aml {
  const name = `_E${pciHotplugGpe.toString(16).toUpperCase().padStart(2, '0')}`;
  return aml.scope('\\_GPE', aml.method(name, 0, aml.call('\\_SB.PCI0.PCNT')));
}
