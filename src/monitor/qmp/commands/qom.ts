/** The object tree: what is in it, and the values there. */
import { DEVICE_CLASSES } from '../../../machine/registry.ts';
import { OBJECT_TYPES } from '../../../qapi/schema/object.ts';
import { VirtioBalloon } from '../../../virtio/device/balloon/device.ts';
import { listQom, resolveQom } from '../../qom.ts';
import { command } from '../command.ts';
import { deviceNotFound, QmpError } from '../error.ts';
import { any, array, bool, object, str } from '../types.ts';

/** Types with what they are a kind of, as far as anybody asks: devices and objects. */
function typeList(): { readonly name: string; readonly parent: string }[] {
  return [
    ...DEVICE_CLASSES.map(({ name }) => ({
      name,
      parent: /-pci(-(non-)?transitional)?$/.test(name)
        ? name.replace(/-pci(-(non-)?transitional)?$/, '-pci-base')
        : 'device',
    })),
    ...OBJECT_TYPES.map(({ name }) => ({ name, parent: name.startsWith('rng-') ? 'rng-backend' : 'object' })),
  ];
}

export const qomCommands = [
  command({
    name: 'qom-list',
    help: 'What is at a place in the object tree',
    arguments: { path: str },
    returns: array(object({ name: str, type: str, 'description?': str })),
    run: ({ path }, target) => {
      const at = resolveQom(target, path);
      if (at === undefined) throw deviceNotFound(path);
      return listQom(at);
    },
  }),
  command({
    name: 'qom-get',
    help: 'The value of a property',
    arguments: { path: str, property: str },
    returns: any,
    run: ({ path, property }, target) => {
      const at = resolveQom(target, path);
      if (at === undefined) throw deviceNotFound(path);
      if (property === 'type') return at.type;
      const found = at.properties.find(({ name }) => name === property);
      if (found?.get !== undefined) return found.get();
      const child = at.children.has(property);
      if (child) return `${path.replace(/\/$/, '')}/${property}`;
      throw new QmpError(`Property '${at.type}.${property}' not found`);
    },
  }),
  command({
    name: 'qom-set',
    help: "Changes a property; only a balloon's guest-stats-polling-interval can be",
    arguments: { path: str, property: str, value: any },
    run: ({ path, property, value }, target) => {
      const at = resolveQom(target, path);
      if (at === undefined) throw deviceNotFound(path);
      const balloon = target.device(path.replace(/\/virtio-backend$/, ''))?.device.pci?.device;
      if (property === 'guest-stats-polling-interval' && balloon instanceof VirtioBalloon) {
        // Seconds; more than a day between statistics is not meant.
        if (typeof value !== 'number' || value < 0)
          throw new QmpError('timer value must be greater than zero');
        if (value > 86400) throw new QmpError('timer value is too big');
        return balloon.setStatsInterval(value);
      }
      if (!at.properties.some(({ name }) => name === property))
        throw new QmpError(`Property '${at.type}.${property}' not found`);
      throw new QmpError(
        `Attempt to set property '${property}' on device '${path}' (type '${at.type}') after it was realized`,
      );
    },
  }),
  command({
    name: 'qom-list-types',
    help: 'The types of objects',
    arguments: { 'implements?': str, 'abstract?': bool },
    returns: array(object({ name: str, 'abstract?': bool, 'parent?': str })),
    run: ({ implements: kind }) =>
      typeList().filter(
        ({ name, parent }) =>
          kind === undefined ||
          name === kind ||
          parent === kind ||
          kind === 'object' ||
          (kind === 'device' && parent !== 'object' && parent !== 'rng-backend'),
      ),
  }),
  command({
    name: 'qom-list-properties',
    help: 'The properties of a type',
    arguments: { typename: str },
    returns: array(object({ name: str, type: str, 'description?': str })),
    run: ({ typename }) => {
      const found =
        DEVICE_CLASSES.find(({ name }) => name === typename) ??
        OBJECT_TYPES.find(({ name }) => name === typename);
      if (found === undefined) throw new QmpError(`Class '${typename}' not found`, 'DeviceNotFound');
      return [
        { name: 'type', type: 'string' },
        ...found.properties.map(({ name, type, help }) => ({ name, type, description: help })),
      ];
    },
  }),
];
