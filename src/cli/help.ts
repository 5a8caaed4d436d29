/** What `help` and `?` answer: `-device help`, `-device NAME,help`, `-machine help`, `-nic model=help`, … */
import { SHOWN_NIC_MODELS } from '../machine/configure-net.ts';
import { LOG_ITEMS } from '../machine/configure.ts';
import { deviceSummaries, requireClass } from '../machine/registry.ts';
import { TRACE_POINTS } from '../machine/trace-points.ts';
import { findOption } from '../qapi/parse-command-line.ts';
import { deviceListHelp, nameListHelp, propertiesHelp } from '../qapi/help.ts';
import { isHelp, lastValue, parseOptions } from '../qapi/options.ts';
import type { Property } from '../qapi/property.ts';
import type { ChardevType } from '../qapi/schema/chardev.ts';
import { CHARDEV_TYPES } from '../qapi/schema/chardev.ts';
import type { NetdevType } from '../qapi/schema/netdev.ts';
import { NETDEV_TYPES, NIC_PROPERTIES } from '../qapi/schema/netdev.ts';
import type { ObjectType } from '../qapi/schema/object.ts';
import type { BlockdevDriver } from '../qapi/schema/blockdev.ts';
import { BLOCKDEV_COMMON, BLOCKDEV_DRIVERS } from '../qapi/schema/blockdev.ts';
import { OBJECT_TYPES } from '../qapi/schema/object.ts';
import { cpuHelp } from './cpu-help.ts';

const MACHINES = `Supported machines are:
pc                   Standard PC (i440FX + PIIX, 1996) (default)
q35                  Standard PC (Q35 + ICH9, 2009)`;

/** The properties of a chardev, netdev or object, without the id that all have. */
const own = (properties: readonly Property[]): Property[] => properties.filter((one) => one.name !== 'id');

/** Answers `option` with `argument` if that asks for help; undefined when it does not. */
export function answerHelp(option: string, argument: string): string | undefined {
  const definition = findOption(option);
  if (definition === undefined || definition.takes === 'none') return undefined;
  const entries = definition.takes === 'properties' ? safeParse(argument, definition.implied) : [];
  const asks =
    isHelp(argument) || entries.some((entry) => (entry.bare && isHelp(entry.name)) || isHelp(entry.value));
  if (!asks) return undefined;
  const first = definition.implied === undefined ? undefined : lastValue(entries, definition.implied);
  const named = first !== undefined && !isHelp(first) ? first : undefined;
  switch (definition.name) {
    case 'device': {
      if (named === undefined) return deviceListHelp(deviceSummaries());
      const found = requireClass(named);
      return propertiesHelp(`${found.name} options`, found.properties);
    }
    case 'chardev': {
      const types: readonly ChardevType[] = CHARDEV_TYPES;
      const type = types.find((one) => one.name === named);
      if (type !== undefined) return propertiesHelp('chardev options', own(type.properties));
      return nameListHelp(
        'Available chardev backend types: ',
        types.filter((one) => one.missing === undefined).map((one) => one.name),
      );
    }
    case 'netdev':
    case 'nic':
    case 'net': {
      const model = lastValue(entries, 'model');
      if (model !== undefined && isHelp(model))
        return nameListHelp('Supported NIC models:', SHOWN_NIC_MODELS, '');
      const types: readonly NetdevType[] = NETDEV_TYPES;
      const type = types.find((one) => one.name === named);
      if (type !== undefined && type.missing === undefined)
        return propertiesHelp(
          `${type.name} options`,
          definition.name === 'netdev' ? own(type.properties) : [...own(type.properties), ...NIC_PROPERTIES],
        );
      return nameListHelp(
        'Available netdev backend types:',
        types.filter((one) => one.missing === undefined).map((one) => one.name),
        '',
      );
    }
    case 'blockdev': {
      const drivers: readonly BlockdevDriver[] = BLOCKDEV_DRIVERS;
      const driver = drivers.find((one) => one.name === named);
      if (driver !== undefined)
        return propertiesHelp(`${driver.name} options`, [...BLOCKDEV_COMMON, ...driver.properties]);
      return nameListHelp(
        'Available block drivers:',
        drivers.map((one) => one.name),
      );
    }
    case 'object': {
      const types: readonly ObjectType[] = OBJECT_TYPES;
      const type = types.find((one) => one.name === named);
      if (type !== undefined) return propertiesHelp(`${type.name} options`, own(type.properties));
      return nameListHelp(
        'List of user creatable objects:',
        types.map((one) => one.name),
      );
    }
    case 'machine':
      if (named === undefined) return MACHINES;
      return propertiesHelp(
        `${named} options`,
        definition.properties!.filter((one) => one.name !== 'type'),
      );
    case 'accel':
      return 'Accelerators supported in Paravane:\ntcg (the translator to WebAssembly)';
    case 'cpu':
      return cpuHelp();
    case 'd':
      return [
        'Log items (comma separated):',
        ...LOG_ITEMS.map(({ name, help }) => `${name.padEnd(15)} ${help}`),
        'trace:PATTERN   enable trace points',
        '',
        'Use "-trace help" to get a list of trace points.',
      ].join('\n');
    case 'trace':
      return TRACE_POINTS.join('\n');
    default:
      if (definition.properties === undefined) return undefined;
      return propertiesHelp(`-${definition.name} options`, definition.properties);
  }
}

function safeParse(argument: string, implied: string | undefined) {
  try {
    return parseOptions(argument, implied);
  } catch {
    return [];
  }
}

/** The first question in `argv` that has an answer. */
export function findHelp(argv: readonly string[]): string | undefined {
  for (let at = 0; at < argv.length; at++) {
    const option = findOption(argv[at]!.replace(/^--?/, ''));
    if (!argv[at]!.startsWith('-') || option === undefined || option.takes === 'none') continue;
    const argument = argv[++at];
    const answer = argument === undefined ? undefined : answerHelp(option.name, argument);
    if (answer !== undefined) return answer;
  }
  return undefined;
}
