/** Virtio devices outside PCI in the tiny guest: found by its ACPI tables, with drivers that nobody here wrote. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';
import { MachineProcess } from './machine-process.ts';

const ready = existsSync('dist/cli/main.js') && cachedGuest('tiny') !== undefined;

describe.skipIf(!ready)('virtio-mmio', () => {
  it('carries ports, a disk, a network card and random numbers', { timeout: 240_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paravane-mmio-'));
    const image = join(folder, 'disk');
    writeFileSync(image, Buffer.alloc(1 << 20, 'DISKDATA'));
    const vm = await MachineProcess.boot('paravane', [
      ...['-drive', `file=${image},if=none,id=d0,format=raw`, '-device', 'virtio-blk-device,drive=d0'],
      ...['-netdev', 'user,id=n0', '-device', 'virtio-net-device,netdev=n0', '-device', 'virtio-rng-device'],
      ...['-device', 'virtio-serial-device,id=ser0,max_ports=4', '-chardev', 'ringbuf,id=rb'],
      ...['-device', 'virtserialport,chardev=rb,name=org.mmio', '-chardev', 'ringbuf,id=con'],
      ...['-device', 'virtconsole,chardev=con'],
    ]);
    try {
      await vm.shell();
      const devices = await vm.sh(
        'cd /sys/bus/virtio/devices; for d in *; do readlink -f $d; done | cut -d/ -f5',
      );
      expect(devices.split('\n').sort()).toEqual([0, 1, 2, 3].map((n) => `LNRO0005:0${n}`));
      expect(await vm.sh('head -c 8 /dev/vda; head -c 16 /dev/hwrng | wc -c')).toBe('DISKDATA16');
      expect(await vm.sh('ip -4 -o addr show dev eth0')).toContain('10.0.2.15');
      await vm.sh('echo word >/dev/virtio-ports/org.mmio; echo console >/dev/hvc0');
      expect(await vm.run('ringbuf-read', { device: 'rb', size: 100 })).toBe('word\n');
      expect(String(await vm.run('ringbuf-read', { device: 'con', size: 1000 }))).toContain('console');
      // Ports come and go as on PCI; the devices themselves do not.
      const port = { driver: 'virtserialport', id: 'p3', nr: 3, bus: 'ser0.0' };
      expect(await vm.run('device_add', port)).toEqual({});
      await vm.sh('until [ -c /dev/vport3p3 ]; do sleep 0.1; done');
      expect(await vm.run('device_del', { id: 'p3' })).toEqual({});
      await vm.sh('while [ -c /dev/vport3p3 ]; do sleep 0.1; done');
      expect(await vm.run('device_add', { driver: 'virtio-rng-device' })).toBe(
        "Bus 'virtio-mmio-bus.0' does not support hotplugging",
      );
      expect(await vm.run('system_reset')).toEqual({});
      await vm.shell();
      expect(await vm.sh('head -c 8 /dev/vda')).toBe('DISKDATA');
    } finally {
      await vm.end();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
