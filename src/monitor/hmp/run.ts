/** One line for the monitor: finds the command, reads its arguments, runs it, and says what went wrong in QEMU's words. */
import { UsageError } from '../../core/errors.ts';
import { asQmpError } from '../qmp/error.ts';
import { readRegisters } from '../registers.ts';
import type { MonitorTarget } from '../target.ts';
import type { ArgumentContext, FormatMemory } from './arguments.ts';
import { parseArguments } from './arguments.ts';
import type { HmpCommand } from './command.ts';
import { HmpError } from './error.ts';
import { findCommand, HMP_COMMANDS, INFO_COMMANDS } from './commands.ts';
import { helpText } from './help.ts';

/** The form that `x` and its kin were last given, for each machine. */
const formats = new WeakMap<MonitorTarget, FormatMemory>();

const crlf = (text: string): string => text.replaceAll('\n', '\r\n');

/** @returns what the command prints, its lines ended by CR LF */
export function runHmp(
  line: string,
  target: MonitorTarget,
  history: readonly string[] = [],
): string | Promise<string> {
  const [, name = '', rest = ''] = /^\s*(\S*)\s*(.*)$/s.exec(line)!;
  // `x/4x 0` needs no space.
  const slash = name.indexOf('/');
  if (slash > 0) return dispatch(name.slice(0, slash), `${name.slice(slash)} ${rest}`, target, history);
  return name === '' ? '' : dispatch(name, rest, target, history);
}

function dispatch(
  name: string,
  rest: string,
  target: MonitorTarget,
  history: readonly string[],
): string | Promise<string> {
  if (name === 'help' || name === '?') return crlf(helpText(rest));
  if (name !== 'info') {
    const command = findCommand(HMP_COMMANDS, name);
    return command === undefined ? `unknown command: '${name}'\r\n` : execute(command, name, rest, target);
  }
  const [, what = '', after = ''] = /^(\S*)\s*(.*)$/s.exec(rest)!;
  if (what === '') return crlf(helpText('info'));
  if (what === 'history') return crlf(history.map((one, index) => `${index}: '${one}'\n`).join(''));
  const command = findCommand(INFO_COMMANDS, what);
  if (command === undefined) return `unknown command: 'info ${what}'\r\n`;
  return execute(command, `info ${what}`, after, target);
}

function execute(
  command: HmpCommand,
  typed: string,
  rest: string,
  target: MonitorTarget,
): string | Promise<string> {
  const explain = (error: unknown): string => {
    if (error instanceof HmpError)
      return crlf(`${error.message}\n${error.hint ? `Try "help ${typed}" for more information\n` : ''}`);
    if (error instanceof UsageError) return crlf(`Error: ${error.message}\n`);
    const known = asQmpError(error);
    if (known === undefined) throw error;
    return crlf(`Error: ${known.message}\n`);
  };
  let format = formats.get(target);
  if (format === undefined) formats.set(target, (format = { form: 'x', size: 4 }));
  const context: ArgumentContext = {
    command: [command.name, ...(command.aliases ?? [])].join('|'),
    register: (register) => readRegisters(target).get(register),
    format,
  };
  try {
    const result = command.run(parseArguments(command.takes, rest, context), target);
    return result instanceof Promise ? result.then((text) => crlf(text ?? ''), explain) : crlf(result ?? '');
  } catch (error) {
    return explain(error);
  }
}
