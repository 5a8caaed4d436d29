/** What goes wrong with a line for the monitor, and how that is told. */
import { QmpError } from '../qmp/error.ts';

/** What is wrong with a line that was typed: the text is printed as it is, with a hint at `help`. */
export class HmpError extends Error {
  /** The hint follows: the command was known, its arguments were not understood. */
  readonly hint: boolean;

  constructor(message: string, hint = true) {
    super(message);
    this.hint = hint;
  }
}

/** Runs something whose errors are printed without `Error:` in front, as some commands of QEMU's do. */
export function plainly<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof QmpError ? new HmpError(error.message, false) : error;
  }
}
