/**
 * The three kinds of failure, kept apart: what the user asked for is wrong (`UsageError`), the host could not
 * do it (`HostError`), or we have a bug (`assert`). What a *guest* does wrong is none of these: it is normal,
 * is answered as the specification says, and goes to `GuestErrorLog` in trace.ts.
 */

/** Base of every error that Paravane throws on purpose; `code` is stable and meant for programs. */
export class ParavaneError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The command line, options object or monitor command is wrong. The process exits with 2. */
export class UsageError extends ParavaneError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_USAGE', message, options);
  }
}

/** The host could not do what was asked: a file that cannot be opened, a full disk, a socket in use. */
export class HostError extends ParavaneError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_HOST', message, options);
  }
}

/** A bug of ours: `state` goes into the message so that a report is worth something. */
export class BugError extends ParavaneError {
  constructor(message: string, state?: unknown) {
    super('ERR_BUG', state === undefined ? message : `${message} (${JSON.stringify(state)})`);
  }
}

/** Throws a `BugError` when an invariant of ours does not hold. Never used for guest or user input. */
export function assert(condition: unknown, message: string, state?: unknown): asserts condition {
  if (!condition) throw new BugError(message, state);
}
