// A program on the host and a shell in the guest, talking over a named virtio-serial port: the host asks, the guest
// answers with what it reads from its own /proc.
import { createMachine, ensureGuest } from 'paravane';

const { kernel, initrd } = await ensureGuest('tiny', { progress: console.error });
const vm = await createMachine({
  m: '256M',
  kernel,
  initrd,
  append: 'console=ttyS0 quiet',
  net: 'none',
  chardev: { backend: 'stream', id: 'agent' },
  device: ['virtio-serial-pci', { driver: 'virtserialport', chardev: 'agent', name: 'org.example.agent' }],
});
await vm.start();

// The guest's side: an "agent" of one line of shell. Any program that opens the port would do.
const console0 = vm.serial[0];
await console0.waitFor('# ');
await console0.write(
  'while read -r file; do cat /proc/$file; echo .; done <>/dev/virtio-ports/org.example.agent >&0\n',
);

// The host's side.
const agent = vm.console('agent');
for (const file of ['uptime', 'loadavg', 'sys/kernel/ostype']) {
  await agent.write(`${file}\n`);
  const answer = await agent.waitFor(/^\.\n/m);
  console.log(`${file}: ${answer.replace(/\.\n$/, '').trim()}`);
}
await vm.quit();
