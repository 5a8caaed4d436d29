// A virtio device of one's own, in JavaScript: an entropy device (VIRTIO 1.4, 5.4) whose "random" numbers count up.
// The guest's stock driver finds it, and what it reads from /dev/hwrng is what we wrote.
import { createMachine, ensureGuest } from 'paravane';

class CountingRng {
  deviceId = 4; // entropy device
  name = 'counting-rng';
  features = 0n;
  queues = [{ name: 'requestq', size: 8 }];
  configSize = 0;
  next = 0;

  attach(host) {
    this.host = host;
  }
  start() {}
  stop() {}
  readConfig() {
    return 0;
  }
  writeConfig() {}

  // The driver has put buffers into the queue: fill them all, then tell it once.
  notify(index) {
    const queue = this.host.queues[index];
    for (const chain of queue) {
      let written = 0;
      for (const view of chain.writable) {
        for (let i = 0; i < view.length; i++) view[i] = this.next++ & 0xff;
        written += view.length;
      }
      queue.push(chain, written);
    }
    queue.flush();
  }
}

const { kernel, initrd } = await ensureGuest('tiny', { progress: console.error });
const vm = await createMachine({
  m: '256M',
  kernel,
  initrd,
  append: 'console=ttyS0 quiet random.trust_cpu=off',
  net: 'none',
  plug: [new CountingRng()],
});
vm.on('guestError', (device, message) => console.error(`${device}: ${message}`));
const console0 = vm.serial[0];
await vm.start();
await console0.waitFor('# ');
await console0.write('stty -echo; PS1=; dd if=/dev/hwrng bs=8 count=1 2>/dev/null | xxd -p; echo end\n');
const text = await console0.waitFor(/^end/m);
const bytes = /^[0-9a-f]{16}/m
  .exec(text)[0]
  .match(/../g)
  .map((byte) => Number.parseInt(byte, 16));
console.log(`/dev/hwrng gave ${bytes.join(' ')}`);
await vm.quit();
