// Marks a finished build, so that `npm start` and `npm test` know when to build again; makes the program executable. The
// mark names the build by its contents: what it keeps of one run for the next is of no use to another build.
import { createHash } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
chmodSync(join(dist, 'cli/main.js'), 0o755);
const hash = createHash('sha256');
for (const name of readdirSync(dist, { recursive: true }).sort())
  if (/\.(js|wasm)$/.test(name)) hash.update(name).update(readFileSync(join(dist, name)));
writeFileSync(join(dist, '.built'), hash.digest('hex').slice(0, 16));
