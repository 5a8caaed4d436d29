/** `paravane image build tiny|debian`: makes the files of a guest anew. */
import { ensureGuest } from '../host/node/guests.ts';
import type { GuestName } from '../host/node/guests.ts';
import { UsageError } from '../core/errors.ts';
import { didYouMean } from '../qapi/suggest.ts';
import type { Cli } from './cli.ts';
import { EXIT } from './messages.ts';
import { progressLine } from './progress.ts';

export const GUESTS: readonly GuestName[] = ['tiny', 'debian'];

/** The name of a guest, or a clear refusal. */
export function guestName(word: string | undefined, command: string): GuestName {
  const name = GUESTS.find((candidate) => candidate === word);
  if (name !== undefined) return name;
  if (word === undefined) throw new UsageError(`${command}: which guest? (${GUESTS.join(' or ')})`);
  throw new UsageError(
    `${command} ${word}: no such guest${didYouMean(word, GUESTS)} (there are: ${GUESTS.join(', ')})`,
  );
}

export async function imageCommand(context: Cli, argv: readonly string[]): Promise<number> {
  const [verb, word, ...rest] = argv;
  if (verb !== 'build')
    throw new UsageError(`image ${verb ?? ''}: the only command is 'image build ${GUESTS.join('|')}'`);
  const name = guestName(word, 'image build');
  if (rest.length > 0) throw new UsageError(`image build ${name}: unexpected '${rest[0]}'`);
  const progress = progressLine(context.process);
  try {
    const guest = await ensureGuest(name, { progress: progress.say, rebuild: true });
    progress.end();
    for (const path of [guest.kernel, guest.initrd, guest.disk])
      if (path !== undefined) context.process.stdout(`${path}\n`);
    return EXIT.done;
  } finally {
    progress.end();
  }
}
