/**
 * The classes of devices that -device can plug: one line each in `DEVICE_CLASSES`. A class declares its properties
 * once; the command line, the help texts, the reference and the library's types are read from them.
 */
import type { AddressSpace, IoHandler } from '../core/bus.ts';
import type { Clock } from '../core/clock.ts';
import { UsageError } from '../core/errors.ts';
import type { IrqLine } from '../core/irq.ts';
import type { GuestMemory } from '../core/memory.ts';
import type { PciFunction } from '../core/pci.ts';
import type { Tracer } from '../core/trace.ts';
import type { DeviceCategory, DeviceSummary } from '../qapi/help.ts';
import { lastValue } from '../qapi/options.ts';
import type { OptionEntry } from '../qapi/options.ts';
import type { Property, PropertyValue } from '../qapi/property.ts';
import { readProperties } from '../qapi/read.ts';
import { didYouMean } from '../qapi/suggest.ts';
import type { PciBus } from '../pc/pci/bus.ts';
import type { SerialPort } from '../virtio/device/console/port.ts';
import type { VirtioPci } from '../virtio/transport/pci.ts';
import type { Backends } from './backends.ts';
import type { DeviceConfig } from './config.ts';
import { bridgeClasses } from './devices/bridges.ts';
import { isaClasses } from './devices/isa.ts';
import { testdevClass } from './devices/testdev.ts';
import { virtioClasses } from './devices/virtio.ts';
import type { Emitter } from './events.ts';
import type { MachineControl, MachineEvents } from './machine.ts';

/** Where a device is plugged, by the names that `-device help` shows. */
export type BusType = 'PCI' | 'ISA' | 'virtio-bus' | 'virtio-serial-bus';

/** A bus that a device carries. */
export interface DeviceBus {
  /** Such as `ser0.0`. */
  readonly name: string;
  readonly type: BusType;
  /** What devices on it are given. */
  readonly owner: unknown;
}

/** A device that is plugged. */
export interface PluggedDevice {
  readonly id: string | undefined;
  readonly className: string;
  /** The function that carries it, for virtio devices on PCI. */
  readonly pci?: VirtioPci;
  /** The function that it is, for other devices on PCI. */
  readonly fn?: PciFunction;
  /** The port, for those of a virtio-serial controller. */
  readonly port?: SerialPort;
  /** What it sits on, where that is not the machine's PCI or ISA bus. */
  readonly bus?: string;
  /** What monitors call a network card: its id, or one of QEMU's names for those without. */
  readonly cardName?: string;
  /** Takes it off its bus at once. Devices on PCI have none: the guest is asked first. */
  unplug?(): void;
  /** Name of the bus that it carries, such as `ser0.0`. */
  readonly carries?: DeviceBus;
  /** Called at a machine reset, after the platform's own. PCI functions are reset by their bus. */
  reset?(): void;
  close?(): Promise<void> | void;
  /** A line for `info`: the back end, the slot. */
  describe?(): string;
}

/** What a class gets to make a device. */
export interface DeviceContext {
  readonly machine: 'pc' | 'q35';
  readonly memory: GuestMemory;
  readonly ports: AddressSpace;
  /** Guest-physical addresses that are not RAM. */
  readonly mmio: AddressSpace;
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly backends: Backends;
  readonly control: MachineControl;
  /** Fills with random bytes. */
  random(view: Uint8Array): void;
  /** The PCI bus that a device is asked to sit on: the machine's first unless `bus=` says otherwise. */
  pciBus(request: DeviceRequest): PciBus;
  /** Puts a function on that bus: at `addr`, or in the first free slot. */
  plugPci(fn: PciFunction, request: DeviceRequest): void;
  /** Slots of PCI Express ports are plugged by their own registers. */
  readonly nativeHotplug: boolean;
  /** Maps registers for a virtio device outside PCI; `make` gets their interrupt line. @throws UsageError */
  plugMmio<T extends IoHandler>(make: (line: IrqLine) => T): T;
  isaIrq(irq: number): IrqLine;
  /** Adds a serial port that the platform knows of (for ACPI). */
  attachSerial(index: number, request: DeviceRequest): void;
  /** Names of virtio-serial ports, unique across the machine's controllers. */
  readonly portNames: Set<string>;
  /** How many network cards there are: the next one's number. */
  readonly cards: { count: number };
  /** Ethernet addresses in use. */
  readonly macs: Set<string>;
  /** Slots of PCI Express ports in use, as `chassis.slot`. */
  readonly chassisSlots: Set<string>;
  /** The name of the bus that a device carries: from its id, or from the kind of bus and a number. */
  busName(kind: BusType | 'pcie', id: string | undefined): string;
  /** The name of the bus whose owner this is. */
  busOf(owner: unknown): string;
  /** What the bus called `name` carries, or without a name the latest of the type. */
  findBus(type: BusType, name: string | undefined, device: string): unknown;
  /** Calls when the machine goes on after it was stopped; returns the way to call it off. */
  onResume(call: () => void): () => void;
  /** What monitors tell of. */
  readonly events: Emitter<MachineEvents>;
  /** The place of the device that is being made in QEMU's object tree: `/machine/peripheral/ID`. */
  path(): string;
  warn(message: string): void;
}

/** One device as it was asked for, with its properties read. */
export interface DeviceRequest {
  readonly className: string;
  readonly id: string | undefined;
  readonly bus: string | undefined;
  readonly values: Readonly<Record<string, PropertyValue>>;
  readonly given: ReadonlySet<string>;
  readonly origin: string;
}

/** The PCI function of a device, where it has one. */
export const functionOf = (device: PluggedDevice): PciFunction | undefined => device.pci ?? device.fn;

export interface DeviceClass {
  readonly name: string;
  readonly alias?: string;
  /** Old spellings, accepted and not shown. */
  readonly oldNames?: readonly string[];
  readonly bus: BusType;
  readonly category: DeviceCategory;
  readonly description?: string;
  readonly properties: readonly Property[];
  create(context: DeviceContext, request: DeviceRequest): PluggedDevice;
}

export const DEVICE_CLASSES: readonly DeviceClass[] = [
  ...virtioClasses,
  ...bridgeClasses,
  ...isaClasses,
  testdevClass,
];

export function findClass(driver: string, classes = DEVICE_CLASSES): DeviceClass | undefined {
  return classes.find(
    (one) => one.name === driver || one.alias === driver || (one.oldNames?.includes(driver) ?? false),
  );
}

/** The class of a `-device`; throws with the nearest name when there is none. */
export function requireClass(driver: string, classes = DEVICE_CLASSES): DeviceClass {
  const found = findClass(driver, classes);
  if (found !== undefined) return found;
  const names = classes.flatMap((one) => [one.name, ...(one.alias === undefined ? [] : [one.alias])]);
  throw new UsageError(`'${driver}' is not a valid device model name${didYouMean(driver, names)}`);
}

/** Reads the properties of a `-device` as its class declares them. @param defaults what `-global` says of it */
export function readRequest(
  config: DeviceConfig,
  deviceClass: DeviceClass,
  note?: (message: string) => void,
  defaults: readonly OptionEntry[] = [],
): DeviceRequest {
  const own = config.entries.filter((entry) => entry.name !== 'id' && entry.name !== 'bus');
  const { values, given } = readProperties([...defaults, ...own], deviceClass.properties, {
    device: deviceClass.name,
    ...(note === undefined ? {} : { note }),
  });
  return {
    className: deviceClass.name,
    id: lastValue(config.entries, 'id'),
    bus: lastValue(config.entries, 'bus'),
    values,
    given,
    origin: config.origin,
  };
}

/** The list for `-device help`. */
export function deviceSummaries(classes = DEVICE_CLASSES): DeviceSummary[] {
  return classes.map(({ name, bus, alias, description, category }) => ({
    name,
    bus,
    category,
    ...(alias === undefined ? {} : { alias }),
    ...(description === undefined ? {} : { description }),
  }));
}
