import { describe, expect, it } from 'vitest';
import type { JsonObject, JsonValue } from './json/value.ts';
import { MonitorRig } from './rig.ts';

const failure = (desc: string, errorClass = 'GenericError'): JsonObject => ({ class: errorClass, desc });

const SERIAL =
  '-device virtio-serial-pci,id=ser0 -chardev null,id=c0 -device virtserialport,bus=ser0.0,chardev=c0,id=p0,name=org.one';

describe('the switches', () => {
  it('say what they did by events', async () => {
    await using rig = await MonitorRig.ready();
    expect(await rig.run('query-status')).toEqual({
      status: 'prelaunch',
      singlestep: false,
      running: false,
    });
    expect(await rig.run('cont')).toEqual({});
    expect(await rig.run('query-status')).toMatchObject({ status: 'running', running: true });
    await rig.run('stop');
    expect(await rig.run('query-status')).toMatchObject({ status: 'paused', running: false });
    await rig.run('system_reset');
    expect(await rig.run('query-status')).toMatchObject({ status: 'prelaunch' });
    await rig.run('system_powerdown');
    expect(rig.events).toEqual(['RESUME', 'STOP', 'RESET', 'POWERDOWN']);
    expect(rig.eventData('RESET')).toEqual([{ guest: false, reason: 'host-qmp-system-reset' }]);
    expect(await rig.run('system_wakeup')).toEqual(
      failure('Unable to wake up: guest is not in suspended state'),
    );
  });

  it('quit is answered, and the end told', async () => {
    const rig = await MonitorRig.ready();
    expect(await rig.run('quit')).toEqual({});
    await rig.made.machine.wait();
    await rig.settle();
    expect(rig.eventData('SHUTDOWN')).toEqual([{ guest: false, reason: 'host-qmp-quit' }]);
  });

  it('events carry the time', async () => {
    await using rig = await MonitorRig.ready();
    rig.host.nanoseconds = 1_500_250_000;
    await rig.run('cont');
    const event = rig.said.find((one) => one.event === 'RESUME') as { timestamp: Record<string, number> };
    expect(event.timestamp.seconds).toBe(Date.UTC(2024, 0, 1) / 1000 + 1);
    expect(event.timestamp.microseconds).toBeGreaterThanOrEqual(500_000);
  });

  it('tell of a guest that powers off with -no-shutdown', async () => {
    await using rig = await MonitorRig.ready('-no-shutdown');
    await rig.run('cont');
    rig.made.machine.control.powerOff();
    await rig.settle();
    expect(rig.events).toEqual(['RESUME', 'SHUTDOWN', 'STOP']);
    expect(rig.eventData('SHUTDOWN')).toEqual([{ guest: true, reason: 'guest-shutdown' }]);
    expect(await rig.run('query-status')).toMatchObject({ status: 'shutdown' });
    expect(await rig.run('cont')).toEqual(failure('Resetting the Virtual Machine is required'));
  });
});

describe('introspection', () => {
  it('names nothing that it does not describe', async () => {
    await using rig = await MonitorRig.ready();
    const schema = (await rig.run('query-qmp-schema')) as readonly JsonObject[];
    const names = schema.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const used: (JsonValue | undefined)[] = schema.flatMap((one) => [
      ...['arg-type', 'ret-type', 'element-type'].flatMap((key) =>
        one[key] === undefined ? [] : [one[key]],
      ),
      ...((one.members ?? []) as readonly JsonObject[]).flatMap(({ type }) =>
        type === undefined ? [] : [type],
      ),
      ...((one.variants ?? []) as readonly JsonObject[]).map(({ type }) => type),
    ]);
    expect(used.filter((type) => !names.includes(type))).toEqual([]);
    const commands = (await rig.run('query-commands')) as readonly JsonObject[];
    expect(schema.filter((one) => one['meta-type'] === 'command').map(({ name }) => name)).toEqual(
      commands.map(({ name }) => name),
    );
    const stop = schema.find(({ name }) => name === 'stop')!;
    expect(stop).toEqual({ name: 'stop', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '0' });
  });

  it('returns what it says it returns', async () => {
    await using rig = await MonitorRig.ready(
      `${SERIAL} -netdev user,id=n0 -device virtio-net-pci,netdev=n0 -device virtio-balloon-pci -object iothread,id=io` +
        ' -drive file=null-co://,format=raw,if=virtio',
    );
    const schema = (await rig.run('query-qmp-schema')) as readonly JsonObject[];
    const byName = new Map(schema.map((one) => [one.name, one]));
    const check = (value: JsonValue | undefined, type: JsonValue | undefined, at: string): void => {
      const found = byName.get(type)!;
      switch (found['meta-type']) {
        case 'array':
          expect(Array.isArray(value), at).toBe(true);
          for (const item of value as readonly JsonValue[]) check(item, found['element-type'], `${at}[]`);
          break;
        case 'object': {
          const members = found.members as readonly JsonObject[];
          const given = value as JsonObject;
          for (const { name, type: inner, default: absent } of members) {
            const item = given[name as string];
            if (item === undefined) expect(absent, `${at}.${String(name)} is missing`).toBe(null);
            else check(item, inner, `${at}.${String(name)}`);
          }
          for (const key of Object.keys(given))
            expect(
              members.some(({ name }) => name === key),
              `${at}.${key} is not declared`,
            ).toBe(true);
          break;
        }
        case 'enum':
          expect(found.values, at).toContain(value);
          break;
        default: {
          const kinds = { string: 'string', int: 'number', boolean: 'boolean', number: 'number' } as const;
          const kind = kinds[found['json-type'] as keyof typeof kinds];
          if (kind !== undefined) expect(typeof value, at).toBe(kind);
        }
      }
    };
    let count = 0;
    for (const one of schema) {
      const name = String(one.name);
      if (one['meta-type'] !== 'command' || !/^(x-)?query-/.test(name) || name === 'query-qmp-schema')
        continue;
      const path = '/machine/peripheral/ser0/virtio-backend';
      const given = name === 'x-query-virtio-status' ? { path } : { path, queue: 0 };
      const takesPath = name.startsWith('x-query-virtio-');
      if (name.endsWith('vhost-queue-status') || name.endsWith('queue-element')) continue;
      const needed: Readonly<Record<string, { [key: string]: JsonValue }>> = {
        'query-cpu-model-expansion': { type: 'full', model: { name: 'max' } },
        'query-stats': { target: 'vm' },
      };
      check(await rig.run(name, takesPath ? given : needed[name]), one['ret-type'], name);
      count++;
    }
    expect(count).toBeGreaterThan(50);
  });
});

describe('devices', () => {
  it('ports come and go while the machine runs', { timeout: 30_000 }, async () => {
    await using rig = await MonitorRig.ready(`${SERIAL} -chardev null,id=c1`);
    await rig.run('cont');
    const port = { driver: 'virtserialport', bus: 'ser0.0', chardev: 'c1', id: 'p1', name: 'org.two' };
    for (let i = 0; i < 1000; i++) {
      expect(await rig.run('device_add', port)).toEqual({});
      expect(await rig.run('device_del', { id: 'p1' })).toEqual({});
    }
    expect(rig.eventData('DEVICE_DELETED')).toHaveLength(1000);
    expect(rig.eventData('DEVICE_DELETED')[0]).toEqual({ device: 'p1', path: '/machine/peripheral/p1' });
    expect(rig.made.board.placed).toHaveLength(2);
  });

  it.each<[JsonObject, string]>([
    [{ driver: 'nope' }, "'nope' is not a valid device model name"],
    [{}, "Parameter 'driver' is missing"],
    [
      { driver: 'virtserialport', chardev: 'nope' },
      "Property 'virtserialport.chardev' can't find value 'nope'",
    ],
    [{ driver: 'virtserialport', bogus: 1 }, "Property 'virtserialport.bogus' not found"],
    [{ driver: 'virtserialport', id: 'p0' }, "Duplicate device ID 'p0'"],
    [
      { driver: 'virtserialport', name: 'org.one' },
      'virtio-serial-bus: A port already exists by name org.one',
    ],
    [{ driver: 'virtio-rng-pci', id: '1bad' }, "Parameter 'id' expects an identifier"],
    [{ driver: 'virtio-rng-pci', bus: 'nobus' }, "Bus 'nobus' not found"],
    [{ driver: 'virtserialport', bus: 'pci.0' }, "Device 'virtserialport' can't go on PCI bus"],
    [{ driver: 'isa-serial' }, "Bus 'isa.0' does not support hotplugging"],
    [{ driver: 'virtio-blk-pci', drive: 'x' }, "Property 'virtio-blk-device.drive' can't find value 'x'"],
    [{ driver: 'virtio-rng-pci', 'max-bytes': 'abc' }, "Parameter 'max-bytes' expects integer"],
    [{ driver: 'virtio-rng-pci', addr: '40' }, "Property 'virtio-rng-pci.addr' doesn't take value '40'"],
  ])('device_add %j is refused in QEMU’s words', async (given, desc) => {
    await using rig = await MonitorRig.ready(SERIAL);
    const before = rig.made.board.placed.length;
    expect(await rig.run('device_add', given as { [key: string]: JsonValue })).toEqual(failure(desc));
    expect(rig.made.board.placed).toHaveLength(before);
  });

  it('a refused device leaves its back ends to others', async () => {
    await using rig = await MonitorRig.ready(`${SERIAL} -chardev null,id=c1`);
    const given = { driver: 'virtserialport', chardev: 'c1', nr: 99 };
    expect(await rig.run('device_add', given)).toEqual(
      failure('virtio-serial-bus: Out-of-range port id specified, max. allowed: 30'),
    );
    expect(await rig.run('device_add', { ...given, nr: 9 })).toEqual({});
  });

  it('PCI functions leave when the guest gives their slot back', async () => {
    await using rig = await MonitorRig.ready('-chardev null,id=c1 -chardev null,id=c2');
    await rig.run('device_add', { driver: 'virtio-serial-pci', id: 's1', addr: '6' });
    await rig.run('device_add', { driver: 'virtserialport', bus: 's1.0', chardev: 'c1', id: 'q1' });
    expect(rig.made.board.platform.hotplug.state.events[0]?.up).toBe(1 << 6);
    expect(await rig.run('device_del', { id: 's1' })).toEqual({});
    expect(await rig.run('device_del', { id: 's1' })).toEqual(
      failure('Device s1 is already in the process of unplug'),
    );
    expect(rig.events).toEqual([]);
    // The guest's _EJ0.
    rig.made.board.ports.write(rig.made.board.platform.info.pciHotplugPort.base + 8, 4, 1 << 6);
    await rig.settle();
    expect(rig.eventData('DEVICE_DELETED')).toEqual([
      { device: 'q1', path: '/machine/peripheral/q1' },
      { path: '/machine/peripheral/s1/virtio-backend' },
      { device: 's1', path: '/machine/peripheral/s1' },
    ]);
    // Ids, slot and chardev are free again.
    expect(await rig.run('device_add', { driver: 'virtio-serial-pci', id: 's1', addr: '6' })).toEqual({});
    expect(await rig.run('device_add', { driver: 'virtserialport', chardev: 'c1', id: 'q1' })).toEqual({});
  });

  it('a guest that does not answer loses the function at the next reset', async () => {
    await using rig = await MonitorRig.ready('-device virtio-rng-pci,id=r0');
    await rig.run('device_del', { id: 'r0' });
    await rig.run('system_reset');
    expect(rig.eventData('DEVICE_DELETED').at(-1)).toEqual({ device: 'r0', path: '/machine/peripheral/r0' });
    expect(rig.made.board.placed).toHaveLength(0);
  });

  it('of q35 stay, as QEMU’s root bus cannot be plugged', async () => {
    await using rig = await MonitorRig.ready('-M q35 -device virtio-rng-pci,id=r0');
    const refused = failure("Bus 'pcie.0' does not support hotplugging");
    expect(await rig.run('device_del', { id: 'r0' })).toEqual(refused);
    expect(await rig.run('device_add', { driver: 'virtio-rng-pci' })).toEqual(refused);
  });

  it('objects come and go, unless they are used', async () => {
    await using rig = await MonitorRig.ready();
    expect(await rig.run('object-add', { 'qom-type': 'rng-builtin', id: 'r1' })).toEqual({});
    expect(await rig.run('object-add', { 'qom-type': 'rng-builtin', id: 'r1' })).toEqual(
      failure("attempt to add duplicate property 'r1' to object (type 'container')"),
    );
    expect(await rig.run('object-add', { 'qom-type': 'rng-random', id: 'r2', filename: '/nope' })).toEqual(
      failure("Could not open '/nope': No such file or directory"),
    );
    await rig.run('device_add', { driver: 'virtio-rng-pci', rng: 'r1', id: 'd1' });
    expect(await rig.run('object-del', { id: 'r1' })).toEqual(
      failure("object 'r1' is in use, can not be deleted"),
    );
    await rig.run('device_del', { id: 'd1' });
    await rig.run('system_reset');
    expect(await rig.run('object-del', { id: 'r1' })).toEqual({});
    expect(await rig.run('object-del', { id: 'r1' })).toEqual(failure("object 'r1' not found"));
  });
});

describe('chardevs', () => {
  it('ring buffers are written and read', async () => {
    await using rig = await MonitorRig.ready('-chardev ringbuf,id=rb -serial chardev:rb');
    const serial = rig.made.board.platform.info.serialPorts[0]!.port;
    for (const byte of Buffer.from('boot')) rig.made.board.ports.write(serial, 1, byte);
    await rig.run('ringbuf-write', { device: 'rb', data: '+ä' });
    expect(await rig.run('ringbuf-read', { device: 'rb', size: 100, format: 'base64' })).toBe(
      Buffer.from('boot+ä').toString('base64'),
    );
    expect(await rig.run('ringbuf-read', { device: 'rb', size: 100 })).toBe('');
    expect(await rig.run('ringbuf-write', { device: 'rb', data: '!!', format: 'base64' })).toEqual(
      failure('Base64 data contains invalid characters'),
    );
    expect(await rig.run('ringbuf-read', { device: 'qmp', size: 1 })).toEqual(
      failure('qmp is not a ringbuf device'),
    );
    expect(await rig.run('ringbuf-read', { device: 'zz', size: 1 })).toEqual(
      failure("Device 'zz' not found"),
    );
    expect(await rig.run('chardev-send-break', { id: 'zz' })).toEqual(failure("Chardev 'zz' not found"));
    expect(await rig.run('chardev-send-break', { id: 'rb' })).toEqual({});
  });

  it('are listed with who listens', async () => {
    await using rig = await MonitorRig.ready(SERIAL);
    expect(await rig.run('query-chardev')).toContainEqual({
      label: 'c0',
      filename: 'null',
      'frontend-open': false,
    });
  });
});

describe('cards, memory and the balloon', () => {
  it('cables are pulled at either end', async () => {
    await using rig = await MonitorRig.ready('-netdev user,id=n0 -device virtio-net-pci,netdev=n0,id=card');
    const card = rig.made.board.placed[0]!.device.pci!.device as unknown as { linkUp: boolean };
    for (const name of ['n0', 'card']) {
      expect(await rig.run('set_link', { name, up: false })).toEqual({});
      expect(card.linkUp).toBe(false);
      await rig.run('set_link', { name, up: true });
      expect(card.linkUp).toBe(true);
    }
    expect(await rig.run('set_link', { name: 'zz', up: true })).toEqual(
      failure("Device 'zz' not found", 'DeviceNotFound'),
    );
    const [filter] = (await rig.run('query-rx-filter', { name: 'card' })) as readonly JsonObject[];
    expect(filter).toMatchObject({ name: 'card', 'main-mac': '52:54:00:12:34:56', promiscuous: true });
    expect(filter!['vlan-table']).toHaveLength(4096);
  });

  it('a machine without a balloon says so, one with it counts all RAM', async () => {
    await using without = await MonitorRig.ready();
    expect(await without.run('balloon', { value: 1 })).toEqual(
      failure('No balloon device has been activated', 'DeviceNotActive'),
    );
    await using rig = await MonitorRig.ready('-device virtio-balloon-pci');
    expect(await rig.run('query-balloon')).toEqual({ actual: 8 * 2 ** 20 });
    expect(await rig.run('balloon', { value: 4 * 2 ** 20 })).toEqual({});
    const device = rig.made.board.placed[0]!.device.pci!.device;
    expect(device.readConfig(0, 4)).toBe(1024);
    expect(await rig.run('balloon', { value: -1 })).toEqual(failure("Parameter 'target' expects a size"));
  });

  it('memory is saved', async () => {
    await using rig = await MonitorRig.ready();
    rig.made.board.cpu.guestMemory.write(0x1000, Uint8Array.of(1, 2, 3, 4));
    expect(await rig.run('pmemsave', { val: 0x1000, size: 4, filename: 'm' })).toEqual({});
    expect(rig.saved).toEqual([{ path: 'm', data: Uint8Array.of(1, 2, 3, 4) }]);
    expect(await rig.run('memsave', { val: 0, size: 1, filename: 'm', 'cpu-index': 5 })).toEqual(
      failure("Parameter 'cpu-index' expects a CPU number"),
    );
  });
});

describe('the object tree', () => {
  it('is walked by paths, whole or in part', async () => {
    await using rig = await MonitorRig.ready(SERIAL);
    expect(await rig.run('qom-list', { path: '/machine/peripheral' })).toEqual([
      { name: 'type', type: 'string' },
      { name: 'ser0', type: 'child<virtio-serial-pci>' },
      { name: 'p0', type: 'child<virtserialport>' },
    ]);
    expect(await rig.run('qom-get', { path: 'p0', property: 'nr' })).toBe(4294967295);
    expect(await rig.run('qom-get', { path: '/machine/peripheral/ser0', property: 'type' })).toBe(
      'virtio-serial-pci',
    );
    expect(await rig.run('qom-get', { path: '/machine/peripheral/ser0', property: 'zz' })).toEqual(
      failure("Property 'virtio-serial-pci.zz' not found"),
    );
    expect(await rig.run('qom-list', { path: '/zz' })).toEqual(
      failure("Device '/zz' not found", 'DeviceNotFound'),
    );
  });
});
