// `npm start`: sets everything up and boots the small guest. Arguments go on: `npm start -- debian`.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root, setup } from './setup.mjs';

setup();
const [guest = 'tiny', ...options] = process.argv.slice(2);
const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'run', guest, ...options], {
  stdio: 'inherit',
});
// The guest owns the terminal: signals are its business, and its end is ours.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
