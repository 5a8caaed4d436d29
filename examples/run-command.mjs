// Boots the tiny guest, runs one command in its shell, prints what it says, and shuts the guest down in order.
//   node examples/run-command.mjs 'cat /proc/version'
import { createMachine, ensureGuest } from 'paravane';

const command = process.argv[2] ?? 'uname -a; cat /proc/cpuinfo | grep "model name"';
const { kernel, initrd } = await ensureGuest('tiny', { progress: console.error });

const vm = await createMachine({ m: '256M', kernel, initrd, append: 'console=ttyS0 quiet', net: 'none' });
const console0 = vm.serial[0];
await vm.start();
await console0.waitFor('# ');

await console0.write(`stty -echo; PS1=; echo '<<<'; ${command}; echo '>>>'\n`);
await console0.waitFor(/^<<<\r?\n/m);
process.stdout.write((await console0.waitFor(/^>>>/m)).replace(/>>>$/, '').replaceAll('\r', ''));

await console0.write('poweroff\n');
const { reason } = await vm.wait();
if (reason !== 'guest-shutdown') throw new Error(`the guest did not shut down: ${reason}`);
