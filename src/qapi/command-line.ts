/**
 * The options of the command line, each declared once: what it takes, whether it may be repeated, what it is for, and
 * where it stands. The parser, `--help`, docs/options.md and the library's types are read from this table.
 */
import { BLOCK, CHARACTER, NETWORK } from './command-line/devices.ts';
import { EXPERT } from './command-line/expert.ts';
import { DISPLAY, LINUX, STANDARD } from './command-line/machine.ts';
import { MISSING } from './command-line/missing.ts';
import type { OptionDef } from './command-line/option.ts';

export { CATEGORIES } from './command-line/option.ts';
export type { OptionDef } from './command-line/option.ts';

export const OPTIONS = [
  ...STANDARD,
  ...BLOCK,
  ...CHARACTER,
  ...NETWORK,
  ...DISPLAY,
  ...LINUX,
  ...EXPERT,
  ...MISSING,
] as const satisfies readonly OptionDef[];

/** Options that do something, by name. */
export type OptionName = Exclude<(typeof OPTIONS)[number], { refused: string }>['name'];
