// Compiles the AssemblyScript part of the processor (src/x86/runtime) to dist/x86/runtime.wasm.
import { mkdirSync, readdirSync, statSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'src/x86/runtime');
const out = join(root, 'dist/x86/runtime.wasm');

/** Newest modification time of anything that the module is made from. */
function newest(...paths) {
  return Math.max(
    ...paths.map((path) =>
      statSync(path).isDirectory()
        ? Math.max(...readdirSync(path).map((name) => newest(join(path, name))))
        : statSync(path).mtimeMs,
    ),
  );
}

const inputs = newest(source, join(root, 'src/x86/layout.ts'), fileURLToPath(import.meta.url));
if (existsSync(out) && statSync(out).mtimeMs > inputs) process.exit(0);

mkdirSync(dirname(out), { recursive: true });
const { error, stderr } = await asc.main([
  join(source, 'index.ts'),
  ...['--outFile', out, '--textFile', out.replace(/wasm$/, 'wat')],
  ...['-O3', '--runtime', 'stub', '--noAssert', '--importMemory', '--sharedMemory', '--noExportMemory'],
  ...['--initialMemory', '1024', '--maximumMemory', '65536', '--importTable', '--memoryBase', '262144'],
  ...['--enable', 'threads', '--enable', 'simd', '--enable', 'bulk-memory', '--use', 'abort='],
]);
if (error) {
  process.stderr.write(stderr.toString());
  process.exit(1);
}
