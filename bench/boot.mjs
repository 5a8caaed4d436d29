// `npm run bench:boot [-- ROUNDS]`: the Debian cloud kernel from process start to where it would run /init, by Paravane and
// by QEMU's translator in turn, with the same kernel, initrd, command line and memory. Prints each run, medians, and
// the ratio (ours / QEMU's, below 1 is faster). Wall-clock seconds: run it on a machine that does nothing else.
import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { join } from 'node:path';
import { root, setup } from '../scripts/setup.mjs';

setup();
const { ensureGuest } = await import('../dist/index.js');
const rounds = Number(process.argv[2] ?? 3);
if (!Number.isInteger(rounds) || rounds < 1) {
  process.stderr.write(`bench:boot: ROUNDS is '${process.argv[2]}', but must be a whole number from 1 on\n`);
  process.exit(2);
}
const guest = await ensureGuest('tiny');

// Without an init the kernel panics where it would start it, and panic=-1 with -no-reboot ends the process.
const line = [
  ...['-m', '512', '-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot'],
  ...['-kernel', guest.kernel, '-initrd', guest.initrd],
  ...['-append', 'console=ttyS0 rdinit=/none panic=-1'],
];
const peers = {
  paravane: [process.execPath, [join(root, 'dist/cli/main.js'), '-nic', 'none', ...line]],
  'qemu-tcg': ['qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max', '-nic', 'none', ...line]],
};

const seconds = { paravane: [], 'qemu-tcg': [] };
for (let round = 1; round <= rounds; round++)
  for (const [name, [command, args]] of Object.entries(peers)) {
    const start = performance.now();
    const { stdout, error } = spawnSync(command, args, { input: '', encoding: 'utf8', timeout: 300_000 });
    const took = (performance.now() - start) / 1000;
    if (error || !/Unable to mount root|Kernel panic/.test(stdout)) {
      process.stderr.write(
        `${name}: the kernel did not get to its end: ${error?.message ?? stdout.slice(-400)}\n`,
      );
      process.exit(1);
    }
    seconds[name].push(took);
    process.stdout.write(`round ${round}  ${name.padEnd(8)}  ${took.toFixed(2)} s\n`);
  }

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const ours = median(seconds.paravane);
const theirs = median(seconds['qemu-tcg']);
process.stdout.write(
  `median    paravane ${ours.toFixed(2)} s, qemu-tcg ${theirs.toFixed(2)} s, ratio ${(ours / theirs).toFixed(2)} ` +
    `(Node ${process.versions.node})\n`,
);
