/**
 * A QMP command, declared once: its name, its arguments and what it returns with their types, one line of what it is
 * for, and what it does. Dispatch, checking, introspection and the reference are all read from the declaration.
 */
import type { JsonObject, JsonValue } from '../json/value.ts';
import type { MonitorTarget } from '../target.ts';
import type { ArgumentsOf, Members, ObjectType, Type } from './types.ts';
import { nothing } from './types.ts';

export interface Command {
  readonly name: string;
  readonly help: string;
  readonly arguments: ObjectType;
  readonly returns: Type;
  /** May be executed out of band. */
  readonly oob?: boolean;
  readonly run: (given: JsonObject, target: MonitorTarget) => JsonValue | Promise<JsonValue>;
}

type Result = JsonValue | void;

interface Declaration<M extends Members> {
  readonly name: string;
  readonly help: string;
  readonly arguments?: M | undefined;
  /** All that is taken, where that is more than a list of members. */
  readonly type?: ObjectType;
  /** Arguments beyond those are accepted. */
  readonly open?: true;
  readonly returns?: Type;
  readonly run: (given: ArgumentsOf<M>, target: MonitorTarget) => Result | Promise<Result>;
}

/** Declares a command. Without `returns` it returns an empty object. */
export function command<const M extends Members = Record<never, never>>(
  declaration: Declaration<M>,
): Command {
  const { name, help, open, returns } = declaration;
  const finish = (result: Result): JsonValue => result ?? {};
  return {
    name,
    help,
    arguments: declaration.type ?? {
      kind: 'object',
      members: declaration.arguments ?? {},
      ...(open === true ? { open } : {}),
    },
    returns: returns ?? nothing,
    run: (given, target) => {
      const result = declaration.run(given as ArgumentsOf<M>, target);
      return result instanceof Promise ? result.then(finish) : finish(result);
    },
  };
}
