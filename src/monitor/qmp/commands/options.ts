/** The options of the command line, for programs that want to know what they may say. */
import { OPTIONS } from '../../../qapi/command-line.ts';
import type { OptionDef } from '../../../qapi/command-line.ts';
import type { Property } from '../../../qapi/property.ts';
import type { JsonObject } from '../../json/value.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { any, array, object, oneOf, str } from '../types.ts';

function typeOf({ type }: Property): 'string' | 'boolean' | 'number' | 'size' {
  switch (type) {
    case 'bool':
      return 'boolean';
    case 'uint8':
    case 'uint16':
    case 'uint32':
    case 'int32':
    case 'uint64':
      return 'number';
    case 'size':
      return 'size';
    default:
      return 'string';
  }
}

/** QEMU's names for options whose parameters are a list of their own. */
const GROUPS: Readonly<Record<string, string>> = { m: 'memory', boot: 'boot-opts', smp: 'smp-opts' };

const groupOf = ({ name }: OptionDef): string => GROUPS[name] ?? name;

const describe = (option: OptionDef): JsonObject => ({
  option: groupOf(option),
  parameters: (option.properties ?? []).map((property) => ({
    name: property.name,
    help: property.help,
    type: typeOf(property),
  })),
});

export const optionCommands = [
  command({
    name: 'query-command-line-options',
    help: 'Options of the command line, with their parameters',
    arguments: { 'option?': str },
    returns: array(
      object({
        option: str,
        parameters: array(
          object({
            name: str,
            type: oneOf('string', 'boolean', 'number', 'size'),
            'help?': str,
            'default?': any,
          }),
        ),
      }),
    ),
    run: ({ option }) => {
      const usable = (OPTIONS as readonly OptionDef[]).filter(
        ({ name, refused, takes }) => refused === undefined && takes === 'properties' && name !== 'blockdev',
      );
      if (option === undefined) return usable.map(describe);
      const found = usable.filter((one) => groupOf(one) === option);
      if (found.length === 0) throw new QmpError(`invalid option name: ${option}`);
      return found.map(describe);
    },
  }),
];
