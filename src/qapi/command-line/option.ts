/** What is declared of an option of the command line. */
import type { Property } from '../property.ts';

export const CATEGORIES = [
  'Standard',
  'Block device',
  'Character device',
  'Network',
  'Display',
  'Linux boot',
  'Debug and expert',
  'Not available',
] as const;

export interface OptionDef {
  /** Without the dash. */
  readonly name: string;
  readonly aliases?: readonly string[];
  /** none: a switch; text: one value as it is; properties: `key=value,…`. */
  readonly takes: 'none' | 'text' | 'properties';
  /** Key of a first value without one. */
  readonly implied?: string;
  /** The keys, where they do not depend on the implied value (as those of -device do). */
  readonly properties?: readonly Property[];
  /** last: a later one replaces; merge: keys of a later one replace; append: all count. */
  readonly repeat: 'last' | 'merge' | 'append';
  readonly category: (typeof CATEGORIES)[number];
  /** What stands behind the name in help texts. */
  readonly synopsis: string;
  readonly help: string;
  /** Accepted without effect, and why. */
  readonly ignored?: string;
  /** Known from QEMU, refused here, and why. */
  readonly refused?: string;
}
