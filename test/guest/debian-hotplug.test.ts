/**
 * Whole devices that come and go under the full Debian guest, whose kernel (linux-image-amd64), udev and systemd nobody
 * here has touched: nodes and links appear, are used, and vanish, on both machines. Minutes long, so it is part of
 * `npm run test:hotplug`; `PARAVANE_HOTPLUG=qemu` runs it under QEMU. Skipped without the guest.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MachineProcess } from '../vm/machine-process.ts';
import { pollUntil } from './poll.ts';
import { cachedGuest } from './shell.ts';

const guest = cachedGuest('debian');
const wanted = process.env['PARAVANE_HOTPLUG'];
const ready = wanted !== undefined && guest !== undefined && existsSync('dist/cli/main.js');
const program = wanted === 'qemu' ? 'qemu' : 'paravane';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-debian-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** For the guest: waits up to thirty seconds for the condition, and says whether it came true. */
const until = (condition: string): string => pollUntil(condition, 30, 0.2);

const native = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];

describe.skipIf(!ready).each([
  ['pc', 'pc', []],
  ['q35', 'q35', []],
  ['q35, native', 'q35', native],
] as const)('%s', (_, machine, more) => {
  it('plugs, uses and unplugs disk, card, entropy and ports', { timeout: 900_000 }, async () => {
    const image = join(folder, 'hot.raw');
    writeFileSync(image, Buffer.alloc(64 << 20));
    const port = join(folder, 'port');
    const buses = ['rp0', 'rp1', 'rp2', 'rp3'];
    const ports = buses.flatMap((id, n) => ['-device', `pcie-root-port,id=${id},chassis=1,slot=${n + 1}`]);
    const behind = (index: number): object => (machine === 'pc' ? {} : { bus: buses[index]! });
    const vm = await MachineProcess.start(program, [
      ...['-M', machine, ...more, '-m', '1G', '-kernel', guest!.kernel, '-initrd', guest!.initrd],
      ...['-append', 'console=ttyS0 root=/dev/vda rw quiet'],
      ...(machine === 'pc' ? [] : ports),
      ...['-drive', `file=${guest!.disk},if=virtio,format=raw,snapshot=on`],
      ...['-drive', `file=${image},if=none,id=hot,format=raw`, '-netdev', 'user,id=n0'],
      ...['-object', 'rng-builtin,id=rg', '-chardev', `socket,id=c0,path=${port},server=on,wait=off`],
    ]);
    try {
      await vm.waitFor(/login: /);
      await vm.type('root\n');
      await vm.waitFor(/# /);
      await vm.type('stty -echo; dmesg -n 1; bind \'set enable-bracketed-paste off\'; PS1=; echo re""ady\n');
      await vm.waitFor(/^ready\r?\n/m);
      const add = async (driver: string, id: string, options: object): Promise<void> =>
        expect(await vm.run('device_add', { driver, id, ...options })).toEqual({});
      const remove = async (id: string): Promise<void> => {
        expect(await vm.run('device_del', { id })).toEqual({});
        await vm.waitForEvent('DEVICE_DELETED', { device: id });
      };

      await add('virtio-blk-pci', 'b0', { drive: 'hot', serial: 'hotdisk', ...behind(0) });
      expect(await vm.sh(until('[ -b /dev/disk/by-id/virtio-hotdisk ]'))).toBe('yes');
      const used = await vm.sh(
        'cd /; D=/dev/disk/by-id/virtio-hotdisk; mkfs.ext4 -q $D && mount $D /mnt && cp /bin/bash /mnt/ && sync && umount /mnt && mount $D /mnt && cmp /bin/bash /mnt/bash && umount /mnt && echo same',
      );
      expect(used).toContain('same');

      await add('virtio-net-pci', 'e0', { netdev: 'n0', mac: '52:54:00:00:00:99', ...behind(1) });
      const card = 'udevadm settle; C=$(grep -ls 52:54:00:00:00:99 /sys/class/net/*/address | cut -d/ -f5)';
      expect(await vm.sh(until('grep -qs 52:54:00:00:00:99 /sys/class/net/*/address'))).toBe('yes');
      const pinged = `${card}; ip link set $C up; ip addr add 10.0.2.99/24 dev $C; ping -c 2 -W 9 10.0.2.2`;
      expect(await vm.sh(pinged)).toContain(' 0% packet loss');

      await add('virtio-rng-pci', 'r0', { rng: 'rg', ...behind(2) });
      expect(await vm.sh(until('grep -q virtio_rng /sys/class/misc/hw_random/rng_available'))).toBe('yes');
      expect(await vm.sh('head -c 32 /dev/hwrng | wc -c')).toBe('32');

      await add('virtio-serial-pci', 's0', behind(3));
      await add('virtserialport', 'p0', { chardev: 'c0', bus: 's0.0', name: 'org.hot' });
      expect(await vm.sh(until('[ -c /dev/virtio-ports/org.hot ]'))).toBe('yes');
      const socket = net.connect(port);
      const echoed = new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data))));
      await vm.sh('(head -n 1 <>/dev/virtio-ports/org.hot >&0 2>/dev/null &)');
      socket.write('hello\n');
      expect(await echoed).toBe('hello\n');

      for (const [id, condition] of [
        ['b0', '[ ! -e /dev/disk/by-id/virtio-hotdisk ]'],
        ['e0', '! grep -qs 52:54:00:00:00:99 /sys/class/net/*/address'],
        ['r0', '! grep -q virtio_rng /sys/class/misc/hw_random/rng_available'],
        ['s0', '[ ! -e /dev/virtio-ports/org.hot ]'],
      ] as const) {
        await remove(id);
        expect(await vm.sh(until(condition))).toBe('yes');
      }
      socket.destroy();
      expect(await vm.sh('dmesg | grep -E "BUG|Oops|WARNING|Call Trace"')).toBe('');
    } finally {
      await vm.end();
    }
  });
});
