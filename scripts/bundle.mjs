// Puts the program `paravane` into one file, in the place of the one that imports hundreds: those take Node.js a third
// of a second to find and load, a tenth of a boot. Packages stay imports; names stay as they are, for stack traces.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const program = join(fileURLToPath(new URL('../dist/', import.meta.url)), 'cli/main.js');
const bundle = await rolldown({
  input: program,
  platform: 'node',
  external: (id) => id !== program && !/^[./]/.test(id),
});
await bundle.write({ file: program, format: 'esm', codeSplitting: false, comments: false });
await bundle.close();
