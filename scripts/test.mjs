// `npm test`: sets everything up and passes the tests. Arguments go to vitest: `npm test -- src/virtio`.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, setup } from './setup.mjs';

setup();
if (process.argv.length === 2) {
  // The whole-VM tests want the small guest; where it cannot be made they skip, and this says why.
  const { ensureGuest } = await import('../dist/index.js');
  try {
    await ensureGuest('tiny', { progress: (text) => process.stderr.write(`${text}\n`) });
  } catch (error) {
    process.stderr.write(`no guest for the whole-VM tests: ${error.message}\n`);
  }
}
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
