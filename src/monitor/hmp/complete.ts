/** What the Tab key offers: commands, subcommands of `info`, and what the last argument may be. */
import type { MonitorTarget } from '../target.ts';
import { findCommand, HMP_COMMANDS, INFO_COMMANDS } from './commands.ts';

export function completeHmp(before: string, target: MonitorTarget): string[] {
  const words = before.trimStart().split(/\s+/);
  const last = words.at(-1) ?? '';
  const matching = (names: Iterable<string>): string[] => [...names].filter((name) => name.startsWith(last));
  const commandNames = function* (): Generator<string> {
    for (const { name, aliases = [] } of HMP_COMMANDS) {
      yield name;
      yield* aliases;
    }
    yield* ['help', 'info'];
  };
  if (words.length <= 1) return matching(commandNames());
  const [first = ''] = words;
  if (first === 'help' || first === '?') return matching(commandNames());
  if (first === 'info' && words.length === 2)
    return matching([...INFO_COMMANDS.map(({ name }) => name), 'history']);
  const command =
    first === 'info' ? findCommand(INFO_COMMANDS, words[1] ?? '') : findCommand(HMP_COMMANDS, first);
  return command?.complete === undefined ? [] : matching(command.complete(target));
}
