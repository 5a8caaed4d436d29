/**
 * PCI hot-plug in the DSDT: for each bus that can be plugged a device for each slot that the guest can give back, and
 * the method that tells which slots have changed. The registers behind it are those of pci/hotplug.ts. QEMU
 * docs/specs/acpi_pci_hotplug; ACPI 6.4 §6.3.
 */
import type { PlatformInfo } from '../info.ts';
import * as aml from './aml.ts';
import type { Aml } from './aml.ts';

const SLOTS = 32;
/** The chipset of `pc` sits in slots 0 and 1 and stays there. */
const FIRST_SLOT = 2;
/** Values of Notify (§5.6.6): look for new devices; the user asks to eject this one. */
const DEVICE_CHECK = 1;
const EJECT_REQUEST = 3;

/** `S18` is slot 3: the name has the device and function number that the slot's function 0 has. */
const slotName = (devfn: number): string => `S${devfn.toString(16).toUpperCase().padStart(2, '0')}`;

/** A bus in the tables. */
interface BusNode {
  /** Its selector, where its slots can be plugged. */
  selector: number | undefined;
  readonly behind: Map<number, BusNode>;
}

function busTree({ hotplugBuses }: PlatformInfo): BusNode {
  const root: BusNode = { selector: undefined, behind: new Map() };
  hotplugBuses.forEach((way, selector) => {
    let node = root;
    for (const devfn of way) {
      let next = node.behind.get(devfn);
      if (next === undefined) node.behind.set(devfn, (next = { selector: undefined, behind: new Map() }));
      node = next;
    }
    node.selector = selector;
  });
  return root;
}

/** What stands inside the root bridge's device. */
export function hotplugSlots(info: PlatformInfo): Aml[] {
  const { base } = info.pciHotplugPort;
  return [
    aml.region('HPST', aml.REGION.SystemIO, base, 8),
    aml.dwordRegisters('HPST', ['PCIU', 'PCID']),
    aml.region('HPEJ', aml.REGION.SystemIO, base + 8, 4),
    aml.dwordRegisters('HPEJ', ['B0EJ']),
    aml.region('HPBS', aml.REGION.SystemIO, base + 0x10, 4),
    aml.dwordRegisters('HPBS', ['BNUM']),
    // The bus selector and what it selects are used together.
    aml.mutex('BLCK'),
    // PCEJ (selector, slot)
    aml.method(
      'PCEJ',
      2,
      aml.acquire('BLCK'),
      aml.store(aml.arg(0), 'BNUM'),
      aml.store(aml.shiftLeft(1, aml.arg(1)), 'B0EJ'),
      aml.release('BLCK'),
    ),
    ...bus(
      busTree(info),
      Array.from({ length: SLOTS - FIRST_SLOT }, (_, index) => FIRST_SLOT + index),
    ),
  ];
}

/** @param slots those that can be plugged, where the bus can */
function bus({ selector, behind }: BusNode, slots: readonly number[]): Aml[] {
  const plugged = selector === undefined ? [] : slots.filter((slot) => !behind.has(slot * 8));
  return [
    ...plugged.map((slot) =>
      aml.device(
        slotName(slot * 8),
        aml.name('_SUN', slot),
        aml.name('_ADR', slot * 0x10000),
        aml.method('_EJ0', 1, aml.call('PCEJ', selector!, slot)),
      ),
    ),
    // A bridge that was there at the start stays; behind a PCI Express port there is one slot.
    ...[...behind].map(([devfn, node]) =>
      aml.device(slotName(devfn), aml.name('_ADR', (devfn >> 3) * 0x10000 + (devfn & 7)), ...bus(node, [0])),
    ),
    // DVNT (slots, value): notifies the slots whose bit is set.
    aml.method(
      'DVNT',
      2,
      ...plugged.map((slot) =>
        aml.when(aml.and(aml.arg(0), 2 ** slot), aml.notify(slotName(slot * 8), aml.arg(1))),
      ),
    ),
    // PCNT: looks what has changed, here and behind. To be called with BLCK held. A method is a scope of its own.
    aml.method(
      'PCNT',
      0,
      ...(selector === undefined
        ? []
        : [
            aml.store(selector, 'BNUM'),
            aml.call('DVNT', 'PCIU', DEVICE_CHECK),
            aml.call('DVNT', 'PCID', EJECT_REQUEST),
          ]),
      ...[...behind.keys()].map((devfn) => aml.call(`^${slotName(devfn)}.PCNT`)),
    ),
  ];
}

/** The general-purpose event by which the machine asks to look. Edge-triggered: `_Exx` (§5.6.4.1). */
export function hotplugEvent({ pciHotplugGpe }: PlatformInfo): Aml {
  const name = `_E${pciHotplugGpe.toString(16).toUpperCase().padStart(2, '0')}`;
  return aml.scope(
    '\\_GPE',
    aml.method(
      name,
      0,
      aml.acquire('\\_SB.PCI0.BLCK'),
      aml.call('\\_SB.PCI0.PCNT'),
      aml.release('\\_SB.PCI0.BLCK'),
    ),
  );
}
