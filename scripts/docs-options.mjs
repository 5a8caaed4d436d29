// Writes docs/options.md: every option, device, chardev, netdev and object, out of the declarations that the program
// itself reads. Run it after `npm run build`, by `npm run docs:options`.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { optionsReference } from '../dist/cli/reference.js';

const file = join(dirname(fileURLToPath(import.meta.url)), '../docs/options.md');
writeFileSync(file, optionsReference());
