/** Messages for people, on stderr: `paravane: …`, with colour on a terminal that wants it. */
import { ParavaneError, UsageError } from '../core/errors.ts';
import type { CliProcess } from '../host/node/cli-process.ts';

export const PROGRAM = 'paravane';
/** Exit codes: done, failed, bad usage. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

export interface Messages {
  /** -msg timestamp=on: the time in front of each. */
  timestamps: boolean;
  error(text: string): void;
  warn(text: string): void;
  note(text: string): void;
}

export function messages(process: CliProcess): Messages {
  const paint = (code: number, text: string): string =>
    process.colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  // The terminal may be raw, where a line feed does not return.
  const end = process.stderrIsTerminal && process.stdinIsTerminal ? '\r\n' : '\n';
  const line = (text: string): void => {
    const time = all.timestamps ? `${new Date().toISOString()} ` : '';
    process.stderr(`${time}${text.replaceAll('\n', end)}${end}`);
  };
  const all: Messages = {
    timestamps: false,
    error: (text) => line(`${paint(31, `${PROGRAM}:`)} ${text}`),
    // Some of QEMU's own texts start with a word of this kind.
    warn: (text) =>
      text.startsWith('info: ')
        ? all.note(text)
        : line(`${paint(33, `${PROGRAM}: warning:`)} ${text.replace(/^WARNING: /, '')}`),
    note: (text) => line(`${PROGRAM}: ${text}`),
  };
  return all;
}

/** What a failure says to the user, and the exit code that goes with it. */
export function explain(error: unknown): { readonly text: string; readonly code: number } {
  if (error instanceof UsageError) return { text: error.message, code: EXIT.usage };
  if (error instanceof ParavaneError) return { text: error.message, code: EXIT.failed };
  if (error instanceof Error)
    return {
      text: `a bug of this program, please report it:\n${error.stack ?? error.message}`,
      code: EXIT.failed,
    };
  return { text: String(error), code: EXIT.failed };
}
