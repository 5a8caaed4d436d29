// Writes the reference pages in docs: every option, device, chardev, netdev and object, and every command of the
// monitors, out of the declarations that the program itself reads. `npm run docs:options` builds first.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { optionsReference } from '../dist/cli/reference.js';
import { hmpReference, qmpReference } from '../dist/monitor/reference.js';

const docs = join(dirname(fileURLToPath(import.meta.url)), '../docs');
writeFileSync(join(docs, 'options.md'), optionsReference());
writeFileSync(join(docs, 'qmp.md'), qmpReference());
writeFileSync(join(docs, 'hmp.md'), hmpReference());
