// `npm run test:hotplug`: the whole-VM tests of devices that come and go, on Debian's stock kernel (linux-image-amd64)
// instead of the cloud kernel, and on the full Debian guest where that is in the cache. Arguments go to vitest.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, setup } from './setup.mjs';

setup();
const { ensureGuest } = await import('../dist/index.js');
await ensureGuest('tiny', { flavour: 'generic', progress: (text) => process.stderr.write(`${text}\n`) });
const files = ['test/vm/hotplug', 'test/vm/rx-filter', 'test/vm/rebind', 'test/guest/debian-hotplug'];
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', ...files, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, PARAVANE_TINY: 'generic', PARAVANE_HOTPLUG: '1' },
});
process.exit(status ?? 1);
