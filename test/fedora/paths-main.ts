/**
 * The cases of paths.ts on the tiny guest, on Paravane and QEMU (or the machines named as arguments), as a table;
 * exit status 1 where one is wrong or the two differ: `node scripts/typescript.mjs test/fedora/paths-main.ts`.
 */
import { join } from 'node:path';
import { runPaths } from './run-paths.ts';
import { buildAgent, type Peer, scratchFolder } from './vm.ts';

const [only = '', ...peers] = process.argv.slice(2);
const folder = scratchFolder();
const { ensureGuest } = (await import(
  join(process.cwd(), 'dist/index.js')
)) as typeof import('../../src/index.ts');
const guest = await ensureGuest('tiny');
const agent = buildAgent(folder);
if (agent === undefined) throw new Error('gcc is needed to build the program for the guest');
let failed = false;
for (const peer of (peers.length === 0 ? ['qemu', 'paravane'] : peers) as Peer[]) {
  const results = await runPaths({
    ...{ peer, guest, agent, folder },
    select: ({ name, short }) => (only === 'short' ? short === true : name.includes(only)),
    progress: (text) => process.stdout.write(`${text}\n`),
  });
  failed ||= results.some(({ wrong }) => wrong.length > 0);
}
process.exit(failed ? 1 : 0);
