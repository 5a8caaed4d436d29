// Puts the program `paravane` into one file, in the place of the one that imports hundreds: those take Node.js a third
// of a second to find and load, a tenth of a boot. What starts it is a file of its own, because it says where the
// compiled program is kept. Packages stay imports; names stay as they are, for stack traces.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

for (const name of ['program.js', 'main.js']) {
  const file = join(fileURLToPath(new URL('../dist/cli/', import.meta.url)), name);
  const bundle = await rolldown({
    input: file,
    platform: 'node',
    external: (id) => id !== file && (!/^[./]/.test(id) || id === './program.js'),
  });
  await bundle.write({ file, format: 'esm', codeSplitting: false, comments: false });
  await bundle.close();
}
