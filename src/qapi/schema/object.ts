/** `-object TYPE,id=`: things that devices refer to. */
import type { Property } from '../property.ts';

const ID = { name: 'id', type: 'str', required: true, help: 'Name for -device' } as const;

export interface ObjectType {
  readonly name: string;
  readonly properties: readonly Property[];
  readonly help: string;
}

export const OBJECT_TYPES = [
  { name: 'rng-builtin', properties: [ID], help: "The host's generator of random numbers" },
  {
    name: 'rng-random',
    properties: [
      ID,
      {
        name: 'filename',
        type: 'str',
        shownType: 'string',
        default: '/dev/urandom',
        help: 'File with random bytes',
      },
    ],
    help: 'Random numbers out of a file',
  },
  {
    name: 'iothread',
    properties: [
      ID,
      { name: 'poll-max-ns', type: 'uint64', help: 'Busy polling', ignored: 'one thread for now' },
    ],
    help: 'A thread for input and output; accepted, the one thread does the work',
  },
] as const satisfies readonly ObjectType[];
