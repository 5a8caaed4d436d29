/** `help`: all commands, one of them, or what `info` can tell. */
import type { HmpCommand } from './command.ts';
import { helpLine } from './command.ts';
import { findCommand, HMP_COMMANDS, INFO_COMMANDS } from './commands.ts';

const byName = (a: HmpCommand, b: HmpCommand): number => (a.name < b.name ? -1 : 1);

export function helpText(topic: string): string {
  const [name = '', sub] = topic.trim().split(/\s+/);
  if (name === 'info') {
    if (sub === undefined)
      return [...INFO_COMMANDS]
        .sort(byName)
        .map((one) => helpLine(one, 'info '))
        .join('');
    const found = findCommand(INFO_COMMANDS, sub);
    return found === undefined ? `unknown command: 'info ${sub}'\n` : helpLine(found, 'info ');
  }
  if (name === '') {
    const own = [
      ...HMP_COMMANDS,
      {
        name: 'help',
        aliases: ['?'],
        takes: '',
        synopsis: '[cmd]',
        help: 'show the commands',
        run: () => {},
      },
      { name: 'info', takes: '', synopsis: '[subcommand]', help: 'show how things stand', run: () => {} },
    ];
    return own
      .sort(byName)
      .map((one) => helpLine(one))
      .join('');
  }
  const found = findCommand(HMP_COMMANDS, name);
  return found === undefined ? `unknown command: '${name}'\n` : helpLine(found);
}
