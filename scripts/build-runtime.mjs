// Compiles the AssemblyScript part of the processor (src/x86/runtime) to dist/x86/runtime.wasm, unless it is there
// already for exactly these sources.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'src/x86/runtime');
const out = join(root, 'dist/x86');

// the first step of a build: what is there is no finished one any more
rmSync(join(root, 'dist/.built'), { force: true });

const hash = createHash('sha256');
const inputs = readdirSync(source)
  .sort()
  .map((name) => join(source, name));
for (const path of [...inputs, join(root, 'src/x86/layout.ts'), fileURLToPath(import.meta.url)])
  hash.update(readFileSync(path));
const digest = hash.digest('hex');
const stamp = join(out, 'runtime.sha256');
if (existsSync(join(out, 'runtime.wasm')) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest)
  process.exit(0);

// Built aside and moved into place: another build may be under way.
const temporary = join(out, `runtime.${process.pid}`);
mkdirSync(temporary, { recursive: true });
const { error, stderr } = await asc.main([
  join(source, 'index.ts'),
  ...['--outFile', join(temporary, 'runtime.wasm'), '--textFile', join(temporary, 'runtime.wat')],
  ...['-O3', '--runtime', 'stub', '--noAssert', '--importMemory', '--sharedMemory', '--noExportMemory'],
  ...['--initialMemory', '1024', '--maximumMemory', '65536', '--importTable', '--memoryBase', '262144'],
  ...['--enable', 'threads', '--enable', 'simd', '--enable', 'bulk-memory', '--use', 'abort='],
]);
if (error) process.stderr.write(stderr.toString());
else {
  for (const name of ['runtime.wasm', 'runtime.wat']) renameSync(join(temporary, name), join(out, name));
  writeFileSync(stamp, digest);
}
rmSync(temporary, { recursive: true });
process.exit(error ? 1 : 0);
