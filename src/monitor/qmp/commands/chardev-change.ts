/** Character devices that come, go and are exchanged while the machine runs. */
import type { Chardev } from '../../../chardev/chardev.ts';
import { ptyOf } from '../../../chardev/create.ts';
import type { JsonObject } from '../../json/value.ts';
import { CHARDEV_BACKEND, readBackend } from '../chardev-backend.ts';
import { command } from '../command.ts';
import { asQmpError, QmpError } from '../error.ts';
import { object, str } from '../types.ts';

const RETURN = object({ 'pty?': str });

const result = (chardev: Chardev): JsonObject => {
  const pty = ptyOf(chardev);
  return pty === undefined ? {} : { pty: pty.name };
};

/** Runs `make`; what goes wrong is said as of a chardev that could not be made. */
async function adding<T>(id: string, make: () => Promise<T> | T): Promise<T> {
  try {
    return await make();
  } catch (error) {
    const known = asQmpError(error);
    throw known === undefined ? error : new QmpError(`Failed to add chardev '${id}': ${known.message}`);
  }
}

export const chardevChanges = [
  command({
    name: 'chardev-add',
    help: 'Makes a character device',
    arguments: { id: str, backend: CHARDEV_BACKEND },
    returns: RETURN,
    run: async ({ id, backend }, { backends: { chardevs } }) => {
      if (chardevs.has(id)) throw new QmpError(`Chardev with id '${id}' already exists`);
      return result(await adding(id, () => chardevs.add({ id, ...readBackend(backend as JsonObject) })));
    },
  }),
  command({
    name: 'chardev-change',
    help: 'Puts another character device in the place of one',
    arguments: { id: str, backend: CHARDEV_BACKEND },
    returns: RETURN,
    run: async ({ id, backend }, { backends: { chardevs } }) => {
      const change = () => chardevs.change({ id, ...readBackend(backend as JsonObject) });
      // Where nobody uses it, it is taken away and made anew; QEMU's words tell which of both failed.
      const known = chardevs.get(id);
      const anew = known !== undefined && known.user === undefined && !chardevs.isMux(id);
      return result(await (anew ? adding(id, change) : change()));
    },
  }),
  command({
    name: 'chardev-remove',
    help: 'Takes a character device away that nobody uses',
    arguments: { id: str },
    run: ({ id }, { backends: { chardevs } }) => chardevs.remove(id),
  }),
];
