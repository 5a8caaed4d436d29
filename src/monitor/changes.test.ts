/** What monitors change in a running machine, and the events that follow: disks, networks, actions, dumps, keys. */
import { describe, expect, it } from 'vitest';
import { MemoryFile } from '../block/memory.ts';
import { HostError } from '../core/errors.ts';
import { FakeHost } from '../machine/fake-host.ts';
import { MonitorRig } from './rig.ts';

const MB = 2 ** 20;

/** A host with disk images in memory. */
function hostWithDisks(): FakeHost {
  const host = new FakeHost();
  Object.assign(host.block, {
    open: (path: string) => {
      if (!path.endsWith('.raw')) throw new HostError(`Could not open '${path}': No such file or directory`);
      return MemoryFile.from(new Uint8Array(MB), path);
    },
  });
  return host;
}

const DISK = '-drive file=a.raw,format=raw,if=none,id=d0 -device virtio-blk-pci,drive=d0,id=disk';
/** Bytes 0 to 7 of the configuration space: the capacity in sectors. */
const capacity = (rig: MonitorRig, index = 0): number =>
  rig.made.board.placed[index]!.device.pci!.device.readConfig(0, 4);

describe('disks', () => {
  it('a resized one tells the guest', async () => {
    await using rig = await MonitorRig.ready(DISK, hostWithDisks());
    expect(capacity(rig)).toBe(MB / 512);
    expect(await rig.run('block_resize', { device: 'd0', size: 2 * MB })).toEqual({});
    expect(capacity(rig)).toBe((2 * MB) / 512);
    expect(await rig.human('block_resize d0 3')).toBe('');
    expect(capacity(rig)).toBe((3 * MB) / 512);
  });

  it('nodes are made, plugged, and deleted when nothing uses them', async () => {
    await using rig = await MonitorRig.ready('', hostWithDisks());
    await rig.run('blockdev-add', { driver: 'file', 'node-name': 'f', filename: 'x.raw' });
    await rig.run('blockdev-add', { driver: 'raw', 'node-name': 'r', file: 'f' });
    await rig.run('device_add', { driver: 'virtio-blk-pci', drive: 'r', id: 'b' });
    expect(capacity(rig)).toBe(MB / 512);
    expect(await rig.run('blockdev-del', { 'node-name': 'r' })).toMatchObject({ desc: 'Node r is in use' });
    await rig.run('block_resize', { 'node-name': 'f', size: 4 * MB });
    expect(capacity(rig)).toBe((4 * MB) / 512);
  });

  it('limits hold requests back until they are lifted', async () => {
    await using rig = await MonitorRig.ready(DISK, hostWithDisks());
    const none = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
    await rig.run('block_set_io_throttle', { device: 'd0', ...none, iops: 10 });
    const { backend } = rig.made.board.backends.disks.find('d0')!;
    const reads = Array.from({ length: 8 }, () => backend!.read(0, [new Uint8Array(512)]));
    expect(reads.filter((read) => read !== undefined).length).toBeGreaterThan(4);
    await rig.run('block_set_io_throttle', { device: 'd0', ...none });
    await Promise.all(reads);
    expect(await rig.human('info block d0')).not.toContain('throttling');
  });

  it('-drive throttling.* and the old names are the same', async () => {
    await using rig = await MonitorRig.ready(
      '-drive file=a.raw,format=raw,if=none,id=a,throttling.bps-total=5000,throttling.group=g ' +
        '-drive file=b.raw,format=raw,if=none,id=b,iops_rd=7',
      hostWithDisks(),
    );
    const blocks = (await rig.run('query-block')) as unknown as { inserted: Record<string, unknown> }[];
    expect(blocks.map(({ inserted }) => [inserted.bps, inserted.iops_rd, inserted.group])).toEqual([
      [5000, 0, 'g'],
      [0, 7, 'b'],
    ]);
  });

  it('one that is taken from under its device fails, and says so', async () => {
    await using rig = await MonitorRig.ready(DISK, hostWithDisks());
    const { backend } = rig.made.board.backends.disks.find('d0')!;
    expect(await rig.human('drive_del d0')).toBe('');
    expect(() => backend!.read(0, [new Uint8Array(512)])).toThrow('No medium found');
    expect(await rig.human('info block')).toContain('[not inserted]');
  });
});

describe('networks', () => {
  it('a back end that goes takes the link with it', async () => {
    await using rig = await MonitorRig.ready('-netdev user,id=n -device virtio-net-pci,netdev=n,id=c');
    const card = rig.made.board.placed[0]!.device.pci!.device as unknown as { linkUp: boolean };
    expect(card.linkUp).toBe(true);
    expect(await rig.run('netdev_del', { id: 'n' })).toEqual({});
    expect(card.linkUp).toBe(false);
    expect(await rig.run('netdev_del', { id: 'n' })).toMatchObject({ class: 'DeviceNotFound' });
    expect(await rig.run('netdev_add', { type: 'user', id: 'n' })).toEqual({});
  });

  it('a captured wire is written as long as the object lives', async () => {
    await using rig = await MonitorRig.ready('-netdev user,id=n -device virtio-net-pci,netdev=n');
    await rig.run('object-add', { 'qom-type': 'filter-dump', id: 'f', netdev: 'n', file: 'cap' });
    const plug = rig.made.board.backends.nets.all.get('n')!.thing;
    const before = rig.host.output.length;
    plug.send(new Uint8Array(60));
    expect(rig.host.output.length).toBe(before + 1);
    await rig.run('object-del', { id: 'f' });
    plug.send(new Uint8Array(60));
    expect(rig.host.output.length).toBe(before + 1);
  });
});

describe('the machine', () => {
  it('does at the end what set-action says', async () => {
    await using rig = await MonitorRig.ready();
    await rig.run('set-action', { shutdown: 'pause', panic: 'none' });
    await rig.run('cont');
    rig.made.machine.control.pause('guest-panicked');
    await rig.settle();
    expect(rig.eventData('GUEST_PANICKED')).toEqual([{ action: 'run' }]);
    expect(rig.made.machine.state).toBe('running');
    await rig.run('set-action', { panic: 'pause' });
    rig.made.machine.control.pause('guest-panicked');
    await rig.settle();
    expect(await rig.run('query-status')).toMatchObject({ status: 'guest-panicked' });
  });

  it('tells when the guest sets its clock, at most once a second', async () => {
    await using rig = await MonitorRig.ready();
    const { rtc } = rig.made.board.platform;
    // Hours, in BCD: the clock stands at midnight in tests.
    rtc.write(4, 0x02);
    rtc.write(4, 0x03);
    await rig.settle();
    expect(rig.eventData('RTC_CHANGE')).toEqual([
      { offset: 7200, 'qom-path': '/machine/unattached/device[7]' },
    ]);
    expect(await rig.run('qom-get', { path: '/machine', property: 'rtc-time' })).toMatchObject({
      tm_hour: 3,
    });
  });

  it('has keys pressed', async () => {
    await using rig = await MonitorRig.ready();
    const { keyboard } = rig.made.board.platform.i8042;
    keyboard.state.scanning = true;
    expect(await rig.human('sendkey ctrl-c')).toBe('');
    // As the controller translates them to set 1: Ctrl, C.
    const { ports } = rig.made.board;
    expect([ports.read(0x60, 1), ports.read(0x60, 1)]).toEqual([0x1d, 0x2e]);
    expect(await rig.human('sendkey ctrl-zz')).toBe('invalid parameter: zz\n');
  });

  it('has the mouse moved and its buttons pressed', async () => {
    await using rig = await MonitorRig.ready();
    const { mouse } = rig.made.board.platform.i8042;
    const packets = (): number[] => mouse.state.queue.splice(0);
    mouse.state.reporting = true;
    mouse.onData = () => {};
    expect(await rig.human('info mice')).toBe('* Mouse #2: QEMU PS/2 Mouse\n');
    expect(await rig.run('query-mice')).toEqual([
      { name: 'QEMU PS/2 Mouse', index: 2, current: true, absolute: false },
    ]);
    // Down on the screen is what the mouse calls back: negative.
    expect(await rig.human('mouse_move 2 1')).toBe('');
    expect(packets()).toEqual([0x28, 2, 0xff]);
    // Left and right as QEMU's command has them, then as the mouse has them.
    expect(await rig.human('mouse_button 5')).toBe('');
    expect(packets()).toEqual([0x0b, 0, 0]);
    const button = (name: string, down: boolean) => ({ type: 'btn', data: { button: name, down } });
    const events = [
      button('left', false),
      button('middle', true),
      { type: 'rel', data: { axis: 'y', value: -3 } },
      button('side', true),
    ];
    expect(await rig.run('input-send-event', { events })).toMatchObject({ desc: 'VM not running' });
    await rig.run('cont');
    expect(await rig.run('input-send-event', { events })).toEqual({});
    expect(packets()).toEqual([0x0a, 0, 0, 0x0e, 0, 0, 0x0e, 0, 3]);
    expect(await rig.run('input-send-event', { device: 'vga', events: [] })).toMatchObject({
      desc: "Device 'vga' not found",
    });
    expect(await rig.human('mouse_set 2')).toBe('');
    expect(await rig.human('mouse_set 3')).toBe("Mouse at index '3' not found\n");
  });

  it('dumps its memory as an ELF core', async () => {
    await using rig = await MonitorRig.ready();
    rig.made.board.cpu.guestMemory.write(0x2000, Uint8Array.of(9, 8, 7));
    expect(
      await rig.run('dump-guest-memory', {
        paging: false,
        protocol: 'file:core',
        begin: 0x2000,
        length: 0x1000,
      }),
    ).toEqual({});
    const { data } = rig.saved.find(({ path }) => path === 'core')!;
    expect([...data.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    expect([...data.subarray(data.length - 0x1000, data.length - 0x1000 + 3)]).toEqual([9, 8, 7]);
    expect(rig.eventData('DUMP_COMPLETED')).toEqual([
      { result: { status: 'completed', completed: 0x1000, total: 0x1000 } },
    ]);
  });

  it('switches trace points on and off', async () => {
    await using rig = await MonitorRig.ready();
    rig.made.board.tracer.point('test.point');
    await rig.run('trace-event-set-state', { name: 'test.*', enable: true });
    expect(await rig.run('trace-event-get-state', { name: 'test.point' })).toEqual([
      { name: 'test.point', vcpu: false, state: 'enabled' },
    ]);
    await rig.human('trace-event test.point off');
    expect(await rig.human('info trace-events test.point')).toBe('test.point : state 0\n');
  });
});
