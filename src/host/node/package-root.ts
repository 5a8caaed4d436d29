/** Where the package lies on disk: the same from `src/`, from `dist/` and from the program in one file. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostError } from '../../core/errors.ts';

/** The nearest folder above this file that holds a package.json. */
function findRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (dirname(folder) === folder) throw new HostError(`${start} does not lie in a package`);
  }
}

export const PACKAGE_ROOT = findRoot();
