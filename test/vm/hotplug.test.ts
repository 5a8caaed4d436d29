/**
 * Devices that come and go while the tiny guest runs, on both machines; the same script for QEMU where it is
 * installed. What guest and host see must be the same. Skipped without a build and the guest.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pollUntil } from '../guest/poll.ts';
import { cachedGuest } from '../guest/shell.ts';
import { haveQemu } from '../pc/qemu-monitor.ts';
import { MachineProcess, type Program } from './machine-process.ts';

const ready = existsSync('dist/cli/main.js') && cachedGuest('tiny') !== undefined;
const LONG = { timeout: 240_000 };

type MachineType = 'pc' | 'q35';
const programs: readonly Program[] = haveQemu() ? ['paravane', 'qemu'] : ['paravane'];
const cases = programs.flatMap((program): [Program, MachineType][] => [
  [program, 'pc'],
  [program, 'q35'],
]);

/** On q35 devices are plugged behind root ports, one behind each. */
const ROOT_PORTS = ['rp0', 'rp1', 'rp2', 'rp3'];
const machineOptions = (machine: MachineType): string[] => [
  ...['-M', machine],
  ...(machine === 'pc'
    ? []
    : ROOT_PORTS.flatMap((id, index) => ['-device', `pcie-root-port,id=${id},chassis=${index}`])),
];
const behind = (machine: MachineType, index: number): { bus?: string } =>
  machine === 'pc' ? {} : { bus: ROOT_PORTS[index]! };

/** For the guest: waits up to ten seconds for the condition, and says whether it came true. */
const until = (condition: string): string => pollUntil(condition, 10);
/**
 * For the guest: starts a program that goes on. Not as a job of the shell: this busybox takes the end of a job for the
 * end of its input.
 */
const daemon = (command: string): string => `(sh -c '${command}' &)`;
const NO_PORTS = '[ -z "$(ls /sys/class/virtio-ports)" ]';
/** For the guest: the device node of a port by its name. */
const nodeOf = (name: string): string =>
  `/dev/$(grep -l ^${name}$ /sys/class/virtio-ports/*/name | cut -d/ -f5)`;

const gone = (id: string): [string, unknown][] => [
  ['DEVICE_DELETED', { path: `/machine/peripheral/${id}/virtio-backend` }],
  ['DEVICE_DELETED', { device: id, path: `/machine/peripheral/${id}` }],
];

/** The devices that were told to be gone; other events are told at most once a second, and come when they come. */
const deleted = (vm: MachineProcess): [string, unknown][] =>
  vm.takeEvents().filter(([name]) => name === 'DEVICE_DELETED');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-hotplug-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function image(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, Buffer.alloc(4 << 20, 'DISKDATA'));
  return path;
}

/** What the other end of a socket chardev gets, up to `length` bytes. */
function take(socket: net.Socket, length: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (data: Buffer): void => {
      text += data.toString('latin1');
      if (text.length < length) return;
      socket.off('data', onData).pause();
      resolve(text);
    };
    socket.on('data', onData).resume();
    socket.once('error', reject);
  });
}

describe.skipIf(!ready).each(cases)('%s, machine %s', (program, machine) => {
  it('plugs devices, uses them, unplugs them, and plugs their back ends again', LONG, async () => {
    const vm = await MachineProcess.boot(program, [
      ...machineOptions(machine),
      ...['-netdev', 'user,id=n0', '-object', 'rng-builtin,id=rg', '-chardev', 'ringbuf,id=rb'],
      ...['-drive', `file=${image(`${program}-${machine}`)},if=none,id=d0,format=raw`],
    ]);
    const devices = [
      { driver: 'virtio-blk-pci', drive: 'd0', id: 'b0' },
      { driver: 'virtio-net-pci', netdev: 'n0', id: 'e0' },
      { driver: 'virtio-rng-pci', rng: 'rg', id: 'r0' },
      { driver: 'virtio-serial-pci', id: 's0' },
    ];
    const port = { driver: 'virtserialport', chardev: 'rb', id: 'p0', name: 'org.hot', bus: 's0.0' };
    try {
      await vm.shell();
      for (let round = 0; round < 2; round++) {
        const disk = program === 'paravane' || round === 0;
        // QEMU drops a -drive with its device; ours serves the next.
        for (const [index, device] of devices.entries())
          if (disk || device.id !== 'b0')
            expect(await vm.run('device_add', { ...device, ...behind(machine, index) })).toEqual({});
        expect(await vm.run('device_add', port)).toEqual({});
        expect(await vm.run('device_add', port)).toBe("Duplicate device ID 'p0'");
        if (disk) expect(await vm.sh(until('[ -b /dev/vda ]'))).toBe('yes');
        expect(await vm.sh(until('[ -e /sys/class/net/eth0 ]'))).toBe('yes');
        expect(await vm.sh(until('grep -q virtio_rng /sys/class/misc/hw_random/rng_available'))).toBe('yes');
        expect(await vm.sh(until(`grep -q org.hot /sys/class/virtio-ports/*/name 2>/dev/null`))).toBe('yes');
        if (disk) expect(await vm.sh('head -c 8 /dev/vda; cat /sys/block/vda/size')).toBe('DISKDATA8192');
        expect(await vm.sh('head -c 16 /dev/hwrng | wc -c')).toBe('16');
        await vm.sh(`echo round ${round} >${nodeOf('org.hot')}`);
        expect(await vm.run('ringbuf-read', { device: 'rb', size: 100 })).toBe(`round ${round}\n`);
        vm.takeEvents();

        // A program reads the disk as fast as it can while it goes.
        await vm.sh(
          daemon(
            'while dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done; echo lost >/tmp/dd',
          ),
        );
        for (const [id, condition] of [
          ['b0', '[ ! -e /dev/vda ]'],
          ['e0', '[ ! -e /sys/class/net/eth0 ]'],
          ['r0', '! grep -q virtio_rng /sys/class/misc/hw_random/rng_available'],
        ] as const) {
          if (!disk && id === 'b0') continue;
          expect(await vm.run('device_del', { id })).toEqual({});
          await vm.waitForEvent('DEVICE_DELETED', { device: id });
          expect(deleted(vm)).toEqual(gone(id));
          expect(await vm.sh(until(condition))).toBe('yes');
          expect(await vm.run('device_del', { id })).toBe(`Device '${id}' not found`);
        }
        expect(await vm.sh(until('grep -q lost /tmp/dd'))).toBe('yes');

        // A program has the port open.
        await vm.sh(daemon(`echo $$ >/tmp/pid; exec sleep 1000 7<>${nodeOf('org.hot')}`));
        await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: true });
        vm.takeEvents();
        expect(await vm.run('device_del', { id: 's0' })).toEqual({});
        await vm.waitForEvent('DEVICE_DELETED', { device: 's0' });
        // Told at most once a second.
        await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: false });
        expect(deleted(vm)).toEqual([
          ['DEVICE_DELETED', { device: 'p0', path: '/machine/peripheral/p0' }],
          ...gone('s0'),
        ]);
        expect(await vm.sh(until(NO_PORTS))).toBe('yes');
        await vm.sh('kill $(cat /tmp/pid); rm /tmp/pid /tmp/dd');
      }
    } finally {
      await vm.end();
    }
  });
});

describe.skipIf(!ready).each(programs)('%s', (program) => {
  const socketOf = (id: string, name: string): string[] => [
    ...['-chardev', `socket,id=${id},path=${join(folder, name)},server=on,wait=off`],
  ];

  it('plugs and unplugs ports under programs that use them', LONG, async () => {
    const path = `${program}-port`;
    const vm = await MachineProcess.boot(program, [
      ...['-device', 'virtio-serial-pci,id=ser0', ...socketOf('c0', path)],
      ...['-chardev', 'null,id=none', '-device', 'virtserialport,bus=ser0.0,chardev=none,name=org.none'],
    ]);
    const port = { driver: 'virtserialport', bus: 'ser0.0', chardev: 'c0', id: 'p0', name: 'org.hot', nr: 9 };
    try {
      await vm.shell();
      await vm.sh('mount -t debugfs none /sys/kernel/debug');
      const state = (nr: number): Promise<string> =>
        vm.sh(`grep -E "^(name|guest_conn|host_conn|is_cons)" /sys/kernel/debug/virtio-ports/vport*p${nr}`);
      // Nobody is at the other end of a null chardev.
      expect(await state(1)).toBe('name: org.none\nguest_connected: 0\nhost_connected: 0\nis_console: no');
      // A monitor that is quick enough sees the machine start (RESUME).
      vm.takeEvents();
      for (let round = 0; round < 3; round++) {
        expect(await vm.run('device_add', port)).toEqual({});
        expect(await vm.sh(until('[ -c /dev/vport*p9 ]'))).toBe('yes');
        expect(await state(9)).toBe('name: org.hot\nguest_connected: 0\nhost_connected: 0\nis_console: no');
        const socket = net.connect(join(folder, path)).pause();
        await new Promise((resolve) => socket.once('connect', resolve));
        expect(
          await vm.sh(until('grep -q "^host_connected: 1" /sys/kernel/debug/virtio-ports/vport*p9')),
        ).toBe('yes');
        // A writer that never ends, a reader that waits; both are told when the port goes.
        await vm.sh(daemon('dd if=/dev/zero of=/dev/vport0p9 bs=4k 2>/tmp/dd'));
        await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: true });
        expect((await take(socket, 20_000)).replaceAll('\0', '')).toBe('');
        expect(vm.takeEvents()).toEqual([['VSERPORT_CHANGE', { id: 'p0', open: true }]]);
        expect(await vm.run('device_del', { id: 'p0' })).toEqual({});
        await vm.waitForEvent('DEVICE_DELETED');
        expect(await vm.sh(until('grep -q "No such device" /tmp/dd'))).toBe('yes');
        expect(await vm.sh(until('[ ! -e /dev/vport0p9 ]'))).toBe('yes');
        await vm.sh('rm /tmp/dd');
        socket.destroy();
        // Unplugged while it was open: of the closing there is no event of its own.
        const event = { device: 'p0', path: '/machine/peripheral/p0' };
        expect(vm.takeEvents()).toEqual([['DEVICE_DELETED', event]]);
      }
    } finally {
      await vm.end();
    }
  });

  it('keeps ports over resets and rebinds, and unplugs what the guest could not yet', LONG, async () => {
    const vm = await MachineProcess.boot(program, [
      ...['-device', 'virtio-serial-pci,id=ser0', '-chardev', 'ringbuf,id=rb', '-chardev', 'ringbuf,id=rb2'],
      ...['-device', 'virtserialport,chardev=rb,name=org.one,id=p0', '-device', 'virtio-rng-pci,id=r0'],
    ]);
    try {
      // The guest has not begun to listen: it is asked again later, and no earlier answer is in the way; but one of
      // the machine's first millisecond would be, for ever.
      await setTimeout(100);
      expect(await vm.run('device_del', { id: 'r0' })).toEqual({});
      await vm.shell();
      expect(await vm.run('device_del', { id: 'r0' })).toEqual({});
      await vm.waitForEvent('DEVICE_DELETED', { device: 'r0' });
      expect(
        await vm.run('device_add', { driver: 'virtserialport', id: 'p1', chardev: 'rb2', name: 'org.two' }),
      ).toEqual({});
      const names = 'cat $(ls -d /sys/class/virtio-ports/*/name)';
      expect(await vm.sh(until('[ -c /dev/vport0p2 ]'))).toBe('yes');
      expect(await vm.sh(names)).toBe('org.one\norg.two');
      // The driver goes with a port open, and comes back.
      await vm.sh(daemon('echo $$ >/tmp/pid; exec sleep 1000 7<>/dev/vport0p1'));
      await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: true });
      await vm.sh('cd /sys/bus/virtio/drivers/virtio_console; ls -d virtio? >/tmp/dev; cat /tmp/dev >unbind');
      await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: false });
      expect(await vm.sh(until(NO_PORTS))).toBe('yes');
      // A port comes and one goes while there is no driver.
      expect(await vm.run('device_del', { id: 'p1' })).toEqual({});
      await vm.waitForEvent('DEVICE_DELETED', { device: 'p1' });
      vm.takeEvents();
      expect(
        await vm.run('device_add', { driver: 'virtserialport', id: 'p2', chardev: 'rb2', name: 'org.new' }),
      ).toEqual({});
      await vm.sh(
        'kill $(cat /tmp/pid); cd /sys/bus/virtio/drivers/virtio_console; cat /tmp/dev >bind; cd /',
      );
      expect(await vm.sh(until('[ -c /dev/vport*p2 ]'))).toBe('yes');
      expect(await vm.sh(names)).toBe('org.one\norg.new');
      await vm.sh(`echo rebound >${nodeOf('org.new')}`);
      expect(await vm.run('ringbuf-read', { device: 'rb2', size: 100 })).toBe('rebound\n');
      await vm.sh(daemon(`exec sleep 1000 7<>${nodeOf('org.one')}`));
      await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: true });
      vm.takeEvents();
      // The reset of a machine whose guest was asked for a device that it cannot give back.
      expect(await vm.run('device_add', { driver: 'virtio-rng-pci', id: 'r1' })).toEqual({});
      expect(await vm.run('stop')).toEqual({});
      expect(await vm.run('device_del', { id: 'r1' })).toEqual({});
      expect(await vm.run('system_reset')).toEqual({});
      expect(await vm.run('cont')).toEqual({});
      await vm.waitForEvent('VSERPORT_CHANGE', { id: 'p0', open: false });
      await vm.shell();
      expect(await vm.run('device_del', { id: 'r1' })).toBe("Device 'r1' not found");
      expect(await vm.sh(names)).toBe('org.one\norg.new');
    } finally {
      await vm.end();
    }
  });

  it('moves data with any number of vectors, on ports of several controllers', LONG, async () => {
    // Each controller has a port; the last one has the console, too, for that names no bus.
    const controllers = [
      { id: 'a', more: 'vectors=0' },
      { id: 'b', more: 'vectors=2' },
      { id: 'c', more: 'vectors=4,max_ports=2' },
      { id: 'd', more: 'addr=9,disable-legacy=on' },
    ];
    const vm = await MachineProcess.boot(program, [
      ...controllers.flatMap(({ id, more }) => ['-device', `virtio-serial-pci,id=${id},${more}`]),
      ...controllers.flatMap(({ id }) => ['-chardev', `ringbuf,id=c-${id}`]),
      ...controllers.flatMap(({ id }, index) => [
        '-device',
        `virtserialport,bus=${id}.0,chardev=c-${id},name=on-${id}${index === 1 ? ',nr=30' : ''}`,
      ]),
      ...['-chardev', 'ringbuf,id=con', '-device', 'virtconsole,chardev=con'],
    ]);
    try {
      await vm.shell();
      for (const { id } of controllers) {
        await vm.sh(`echo to ${id} >${nodeOf(`on-${id}`)}`);
        expect(await vm.run('ringbuf-read', { device: `c-${id}`, size: 100 })).toBe(`to ${id}\n`);
      }
      await vm.sh('echo console >/dev/hvc0');
      const written = String(await vm.run('ringbuf-read', { device: 'con', size: 1000 }));
      expect(written.replaceAll('\r', '')).toContain('console\n');
      expect((await vm.sh('cd /dev; ls vport*')).split(/\s+/)).toEqual([
        'vport0p1',
        'vport1p30',
        'vport2p1',
        'vport3p0',
        'vport3p1',
      ]);
      const interrupts = await vm.sh('grep -o "virtio[0-9].*" /proc/interrupts | sort | tr "\\n" " "');
      // One vector for configuration changes, one for all queues; without MSI-X the function's own line.
      expect(interrupts.trim().split(' ')).toEqual([
        'virtio0',
        ...[1, 2, 3].flatMap((n) => [`virtio${n}-config`, `virtio${n}-virtqueues`]),
      ]);
    } finally {
      await vm.end();
    }
  });
});
