// Runs a TypeScript program of test/ or bench/ (`node scripts/typescript.mjs FILE ARGUMENTS…`) on any Node.js that the
// project runs on: sets everything up, compiles the file and what it imports aside, and runs the result.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, setup } from './setup.mjs';

setup();
const [file, ...args] = process.argv.slice(2);
const out = join(root, 'node_modules/.cache/paravane-programs');
mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'package.json'), '{ "type": "module" }\n');
const config = join(out, `tsconfig.${process.pid}.json`);
writeFileSync(
  config,
  JSON.stringify({
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { rootDir: root, outDir: out, declaration: false, sourceMap: false, noCheck: true },
    files: [join(root, file)],
    include: [],
  }),
);
const compiled = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config], {
  cwd: root,
  stdio: ['ignore', 2, 2],
});
if (compiled.status !== 0) process.exit(1);
const program = join(out, file.replace(/\.ts$/, '.js'));
const { status } = spawnSync(process.execPath, [program, ...args], { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
