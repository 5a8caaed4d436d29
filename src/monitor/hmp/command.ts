/** A command of the monitor for people, declared once: dispatch, `help` and completion are read from it. */
import type { MonitorTarget } from '../target.ts';
import type { HmpArguments } from './arguments.ts';

export type HmpOutput = string | void | Promise<string | void>;

export interface HmpCommand {
  readonly name: string;
  /** Other names for it. */
  readonly aliases?: readonly string[];
  /** See arguments.ts. */
  readonly takes: string;
  /** The arguments as `help` shows them. */
  readonly synopsis: string;
  readonly help: string;
  readonly run: (given: HmpArguments, target: MonitorTarget) => HmpOutput;
  /** Words that the last argument may be. */
  readonly complete?: (target: MonitorTarget) => Iterable<string>;
}

export const helpLine = ({ name, aliases = [], synopsis, help }: HmpCommand, prefix = ''): string =>
  `${prefix}${[name, ...aliases].join('|')} ${synopsis} -- ${help}\n`;
