/** argv against the table of options: a list of what was given, in order, with the words that gave it. */
import { HostError, UsageError } from '../core/errors.ts';
import type { OptionDef } from './command-line.ts';
import { OPTIONS } from './command-line.ts';
import type { OptionEntry } from './options.ts';
import { isHelp, parseOptions } from './options.ts';
import { readProperties } from './read.ts';
import type { ReadResult } from './read.ts';
import { nearest } from './suggest.ts';

/** One option as it was given. */
export interface Given {
  readonly name: string;
  /** For messages: `-device virtio-blk-pci,drive=d`. */
  readonly origin: string;
  /** The argument as it was written; '' for switches. */
  readonly text: string;
  /** The argument taken apart, for options that take properties. */
  readonly entries: readonly OptionEntry[];
}

const BY_NAME = new Map<string, OptionDef>();
for (const option of OPTIONS as readonly OptionDef[])
  for (const name of [option.name, ...(option.aliases ?? [])]) BY_NAME.set(name, option);

export const findOption = (name: string): OptionDef | undefined => BY_NAME.get(name);

/** Runs `body` and puts `origin` in front of the message of its failure. */
export function blame<T>(origin: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw blamed(origin, error);
  }
}

/** The error with `origin: ` in front, unless it says so already, or is a bug of ours. */
export function blamed(origin: string, error: unknown): unknown {
  if (!(error instanceof UsageError || error instanceof HostError)) return error;
  if (error.message.startsWith(origin)) return error;
  const message = `${origin}: ${error.message}`;
  return error instanceof UsageError
    ? new UsageError(message, { cause: error })
    : new HostError(message, { cause: error });
}

/** One option and its argument; checks keys and values where the table declares them. */
export function giveOption(option: OptionDef, word: string, argument: string): Given {
  const origin = option.takes === 'none' ? word : `${word} ${argument}`;
  return blame(origin, () => {
    if (option.refused !== undefined) throw new UsageError(option.refused);
    if (option.takes !== 'properties') return { name: option.name, origin, text: argument, entries: [] };
    const entries = parseOptions(argument, option.implied);
    if (option.properties !== undefined && !entries.some(({ value, name }) => isHelp(value) || isHelp(name)))
      readProperties(entries, option.properties);
    return { name: option.name, origin, text: argument, entries };
  });
}

export interface ParsedCommandLine {
  readonly given: readonly Given[];
  /** Arguments without a dash: disk images. */
  readonly images: readonly string[];
}

/** Reads `argv` (without the program's name). Throws a `UsageError` for what cannot be understood. */
export function parseCommandLine(argv: readonly string[]): ParsedCommandLine {
  const given: Given[] = [];
  const images: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (!word.startsWith('-') || word === '-') {
      images.push(word);
      continue;
    }
    const option = findOption(word.replace(/^--?/, ''));
    if (option === undefined) throw new UsageError(unknownOption(word));
    if (option.takes === 'none') given.push(giveOption(option, word, ''));
    else {
      const argument = argv[++at];
      if (argument === undefined) throw new UsageError(`${word}: requires an argument`);
      given.push(giveOption(option, word, argument));
    }
  }
  return { given, images };
}

function unknownOption(word: string): string {
  const name = word.replace(/^--?/, '').replace(/=.*$/, '');
  if (name !== word.replace(/^--?/, '') && BY_NAME.has(name))
    return `${word}: invalid option (write '-${name} ${word.slice(word.indexOf('=') + 1)}')`;
  const near = nearest(name, BY_NAME.keys());
  return `${word}: invalid option${near === undefined ? '' : ` (did you mean '-${near}'?)`}`;
}

/** All properties of the options called `name`, later ones winning: for options with `repeat: 'merge'`. */
export function mergedProperties(
  given: readonly Given[],
  name: string,
  note?: (message: string) => void,
): ReadResult {
  const option = findOption(name)!;
  const entries = given.filter((one) => one.name === name).flatMap((one) => one.entries);
  const origin = given.findLast((one) => one.name === name)?.origin ?? `-${name}`;
  return blame(origin, () =>
    readProperties(entries, option.properties ?? [], note === undefined ? {} : { note }),
  );
}

/** One command line for the shell out of what was given: quotes words that need it. */
export function formatCommandLine(
  given: readonly { readonly origin: string; readonly text: string }[],
): string {
  return given
    .map(({ origin, text }) =>
      text === '' ? origin : `${origin.slice(0, origin.length - text.length - 1)} ${shellQuote(text)}`,
    )
    .join(' ');
}

export function shellQuote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
