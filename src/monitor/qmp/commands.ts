/** All of QMP's commands by name: one line for each room of them. */
import { absentCommands } from './commands/absent.ts';
import { blockCommands } from './commands/block.ts';
import { blockChangeCommands } from './commands/block-change.ts';
import { chardevChanges } from './commands/chardev-change.ts';
import { chardevCommands } from './commands/chardev.ts';
import { controlCommands } from './commands/control.ts';
import { cpuCommands } from './commands/cpu.ts';
import { deviceCommands } from './commands/device.ts';
import { dumpCommands } from './commands/dump.ts';
import { inputCommands } from './commands/input.ts';
import { memoryCommands } from './commands/memory.ts';
import { netCommands } from './commands/net.ts';
import { optionCommands } from './commands/options.ts';
import { pciCommands } from './commands/pci.ts';
import { qomCommands } from './commands/qom.ts';
import { statusCommands } from './commands/status.ts';
import { textCommands } from './commands/texts.ts';
import { traceCommands } from './commands/trace.ts';
import { virtioCommands } from './commands/virtio.ts';
import type { Command } from './command.ts';
import { command } from './command.ts';
import { EVENTS } from './events.ts';
import { schemaOf } from './schema.ts';
import { any, array, object, str } from './types.ts';

const introspection: readonly Command[] = [
  command({
    name: 'query-commands',
    help: 'Names of all commands',
    returns: array(object({ name: str })),
    run: () => [...COMMANDS.keys()].map((name) => ({ name })),
  }),
  command({
    name: 'query-events',
    help: 'Names of all events',
    returns: array(object({ name: str })),
    run: () => Object.keys(EVENTS).map((name) => ({ name })),
  }),
  command({
    name: 'query-qmp-schema',
    help: 'Commands and events with their types',
    returns: array(any),
    run: () => (schema ??= schemaOf([...COMMANDS.values()], EVENTS)),
  }),
];

let schema: ReturnType<typeof schemaOf> | undefined;

export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  [
    ...controlCommands,
    ...introspection,
    ...statusCommands,
    ...cpuCommands,
    ...optionCommands,
    ...chardevCommands,
    ...chardevChanges,
    ...blockCommands,
    ...blockChangeCommands,
    ...netCommands,
    ...memoryCommands,
    ...pciCommands,
    ...deviceCommands,
    ...qomCommands,
    ...virtioCommands,
    ...inputCommands,
    ...traceCommands,
    ...absentCommands,
    ...dumpCommands,
    ...textCommands,
  ].map((one) => [one.name, one]),
);
