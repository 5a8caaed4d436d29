/**
 * Native PCI Express hot-plug on q35 with Linux's pciehp: devices come and go by a port's own registers. The same
 * script for QEMU where it is installed; the registers are compared byte for byte with what QEMU 7.2 has. Skipped
 * without a build and the tiny guest.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pollUntil } from '../guest/poll.ts';
import { cachedGuest } from '../guest/shell.ts';
import { haveQemu } from '../pc/qemu-monitor.ts';
import { MachineProcess, type Program } from './machine-process.ts';

const ready = existsSync('dist/cli/main.js') && cachedGuest('tiny') !== undefined;
const programs: readonly Program[] = haveQemu() ? ['paravane', 'qemu'] : ['paravane'];

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-native-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** For the guest: waits up to twenty seconds for the condition, and says whether it came true. */
const until = (condition: string): string => pollUntil(condition, 20);

const gone = (id: string): [string, unknown][] => [
  ['DEVICE_DELETED', { path: `/machine/peripheral/${id}/virtio-backend` }],
  ['DEVICE_DELETED', { device: id, path: `/machine/peripheral/${id}` }],
];

/** A dword of the port's configuration: the capabilities, controls and status of link and slot. */
const registers = (slot: number): string =>
  `for at in 96 100 104 108; do dd if=/sys/bus/pci/devices/0000:00:0${slot}.0/config bs=1 skip=$at count=4 2>/dev/null | hexdump -e '1/4 "%08x "'; done`;

/** Linux's enables; power and link on, something in the slot; or neither. */
const FULL = '00300604 20110000 SLOT 004001f1';
const EMPTY = '00300604 02040000 SLOT 000007f1';

describe.skipIf(!ready).each(programs)('%s', (program) => {
  it('plugs and unplugs by the port’s registers', { timeout: 300_000 }, async () => {
    const image = join(folder, program);
    writeFileSync(image, Buffer.alloc(4 << 20, 'DISKDATA'));
    const vm = await MachineProcess.boot(program, [
      ...['-M', 'q35', '-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'],
      ...['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1'],
      ...['-device', 'pcie-root-port,id=rp2,chassis=1,slot=2'],
      ...['-device', 'pcie-root-port,id=rp3,chassis=1,slot=3,hotplug=off'],
      ...['-device', 'virtio-rng-pci,bus=rp2,id=cold', '-netdev', 'user,id=n0'],
      ...['-drive', `file=${image},if=none,id=d0,format=raw`],
    ]);
    const events = (): [string, unknown][] => vm.takeEvents().filter(([name]) => name === 'DEVICE_DELETED');
    const slot = (number: number): string =>
      ((number << 19) | (number === 3 ? 0x2001b : 0x2007b)).toString(16).padStart(8, '0');
    const expected = (text: string, number: number): string => text.replace('SLOT', slot(number));
    const add = (driver: string, id: string, bus: string, more: object = {}): Promise<unknown> =>
      vm.run('device_add', { driver, id, bus, ...more });
    try {
      await vm.shell();
      expect(await vm.sh('ls /sys/bus/pci/slots')).toMatch(/^1\s+2$/);
      expect(await vm.sh(registers(1))).toBe(expected(EMPTY, 1));
      expect(await vm.sh(registers(2))).toBe(expected(FULL, 2));
      expect(await vm.sh('cat /sys/bus/pci/slots/*/power /sys/bus/pci/slots/*/adapter')).toBe('0\n1\n0\n1');
      expect(await vm.sh('head -c 4 /dev/hwrng | wc -c')).toBe('4');

      expect(await add('virtio-rng-pci', 'x', 'rp3')).toBe(
        "Hot-plug failed: unsupported by the port device 'rp3'",
      );
      expect(await add('virtio-rng-pci', 'x', 'pcie.0')).toBe("Bus 'pcie.0' does not support hotplugging");
      expect(await vm.run('device_del', { id: 'rp1' })).toBe("Bus 'pcie.0' does not support hotplugging");

      expect(await add('virtio-net-pci', 'e0', 'rp1', { netdev: 'n0' })).toEqual({});
      expect(await add('virtio-rng-pci', 'x', 'rp1', { addr: '0' })).toBe(
        'PCI: slot 0 function 0 not available for virtio-rng-pci, in use by virtio-net-pci,id=e0',
      );
      expect(await vm.sh(until('[ -e /sys/class/net/eth0 ]'))).toBe('yes');
      expect(await vm.sh(registers(1))).toBe(expected(FULL, 1));
      expect(
        await vm.sh('ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 1 -W 9 10.0.2.2'),
      ).toContain('1 packets received');
      // Both at once. Linux waits five seconds before it gives a slot back, for people who press the button again.
      expect(await vm.run('device_del', { id: 'e0' })).toEqual({});
      expect(await vm.run('device_del', { id: 'cold' })).toEqual({});
      expect(await vm.run('device_del', { id: 'e0' })).toBe('Device e0 is already in the process of unplug');
      expect(await vm.sh('sleep 1; [ -e /sys/class/net/eth0 ] && echo there')).toBe('there');
      expect(events()).toEqual([]);
      await vm.waitForEvent('DEVICE_DELETED', { device: 'e0' });
      await vm.waitForEvent('DEVICE_DELETED', { device: 'cold' });
      expect(events()).toEqual(expect.arrayContaining([...gone('e0'), ...gone('cold')]));
      expect(await vm.sh(until('[ ! -e /sys/class/net/eth0 ]'))).toBe('yes');
      expect(await vm.sh(until('[ $(cat /sys/bus/pci/slots/2/power) = 0 ]'))).toBe('yes');
      expect(await vm.sh(registers(2))).toBe(expected(EMPTY, 2));

      // A guest that switches a slot off by itself.
      expect(await add('virtio-blk-pci', 'b0', 'rp2', { drive: 'd0' })).toEqual({});
      expect(await vm.sh(until('[ -b /dev/vda ]'))).toBe('yes');
      expect(await vm.sh('head -c 8 /dev/vda')).toBe('DISKDATA');
      expect(await vm.sh('echo 0 >/sys/bus/pci/slots/2/power; cat /sys/bus/pci/slots/2/power')).toBe('0');
      await vm.waitForEvent('DEVICE_DELETED', { device: 'b0' });
      expect(events()).toEqual(gone('b0'));
      expect(await vm.sh('ls /dev/vda 2>&1')).toContain('No such file');
    } finally {
      await vm.end();
    }
  });
});
