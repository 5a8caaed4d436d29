/** Devices that come and go, and objects that they refer to. */
import { checkId } from '../../../qapi/options.ts';
import type { OptionEntry } from '../../../qapi/options.ts';
import type { Property } from '../../../qapi/property.ts';
import { OBJECT_TYPES } from '../../../qapi/schema/object.ts';
import { configureObject, deviceConfig } from '../../../machine/configure.ts';
import { findClass } from '../../../machine/registry.ts';
import type { PlacedDevice } from '../../../machine/board.ts';
import { propertyInfo } from '../../properties.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { toEntries } from '../entries.ts';
import { deviceNotFound, QmpError } from '../error.ts';
import { any, array, object, oneOf, str } from '../types.ts';

export function addDevice(target: MonitorTarget, entries: readonly OptionEntry[]): PlacedDevice {
  return target.board.plugDevice(deviceConfig(entries, 'device_add'));
}

export function removeDevice(target: MonitorTarget, id: string): void {
  const placed = target.device(id);
  if (placed === undefined) throw deviceNotFound(id);
  target.board.unplugDevice(placed);
}

export function addObject(target: MonitorTarget, entries: readonly OptionEntry[]): void {
  target.backends.addObject(configureObject(entries, 'object-add'));
}

const PROPERTY = object({ name: str, type: str, 'description?': str, 'default-value?': any });

export const deviceCommands = [
  command({
    name: 'device_add',
    help: 'Plugs a device into the running machine; its properties are those of -device',
    arguments: { driver: str, 'bus?': str, 'id?': str },
    open: true,
    run: (given, target) => {
      if (given.id !== undefined) checkId(given.id);
      addDevice(target, toEntries(given));
    },
  }),
  command({
    name: 'device_del',
    help: 'Unplugs a device, by its id or its place; DEVICE_DELETED tells when it is gone',
    arguments: { id: str },
    run: ({ id }, target) => removeDevice(target, id),
  }),
  command({
    name: 'device-list-properties',
    help: 'The properties of a kind of device',
    arguments: { typename: str },
    returns: array(PROPERTY),
    run: ({ typename }) => {
      const found = findClass(typename);
      if (found === undefined || found.name !== typename) throw deviceNotFound(typename);
      return found.properties.map((property) => propertyInfo(property));
    },
  }),
  command({
    name: 'object-add',
    help: 'Makes an object that devices can refer to; its properties are those of -object',
    arguments: { 'qom-type': oneOf(...OBJECT_TYPES.map(({ name }) => name)), id: str },
    open: true,
    run: (given, target) => {
      const { properties } = OBJECT_TYPES.find(({ name }) => name === given['qom-type'])!;
      for (const name of Object.keys(given))
        if (name !== 'qom-type' && !(properties as readonly Property[]).some((one) => one.name === name))
          throw new QmpError(`Parameter '${name}' is unexpected`);
      addObject(target, toEntries(given));
    },
  }),
  command({
    name: 'object-del',
    help: 'Takes an object away that nothing uses',
    arguments: { id: str },
    run: ({ id }, { backends }) => backends.removeObject(id),
  }),
];
