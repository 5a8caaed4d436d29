import { describe, expect, it } from 'vitest';
import { FakeHost } from '../machine/fake-host.ts';
import { chardevTypes } from '../qapi/schema/chardev.ts';
import { CHARDEV_BACKEND } from './qmp/chardev-backend.ts';
import { MonitorRig } from './rig.ts';

const failure = (desc: string) => ({ class: 'GenericError', desc });
const backend = (type: string, data = {}) => ({ type, data });

const write = (rig: MonitorRig, text: string): void => {
  const { port } = rig.made.board.platform.info.serialPorts[0]!;
  for (const byte of new TextEncoder().encode(text)) rig.made.board.ports.write(port, 1, byte);
};

describe('chardevs while the machine runs', () => {
  it('come, are used by a device that is plugged, and go', async () => {
    await using rig = await MonitorRig.ready('-device virtio-serial-pci');
    expect(await rig.run('chardev-add', { id: 'r', backend: backend('ringbuf', { size: 64 }) })).toEqual({});
    expect(await rig.run('query-chardev')).toContainEqual({
      label: 'r',
      filename: 'ringbuf',
      'frontend-open': false,
    });
    await rig.run('device_add', { driver: 'virtserialport', chardev: 'r', id: 'p' });
    expect(await rig.run('chardev-remove', { id: 'r' })).toEqual(failure("Chardev 'r' is busy"));
    await rig.run('device_del', { id: 'p' });
    expect(await rig.run('chardev-remove', { id: 'r' })).toEqual({});
    expect(await rig.run('chardev-remove', { id: 'r' })).toEqual(failure("Chardev 'r' not found"));
    expect(await rig.run('device_add', { driver: 'virtserialport', chardev: 'r' })).toEqual(
      failure("Property 'virtserialport.chardev' can't find value 'r'"),
    );
  });

  it('are exchanged under a serial port, which goes on writing', async () => {
    await using rig = await MonitorRig.ready('-chardev ringbuf,id=a -serial chardev:a');
    write(rig, 'one');
    expect(await rig.run('ringbuf-read', { device: 'a', size: 9 })).toBe('one');
    expect(await rig.run('chardev-change', { id: 'a', backend: backend('memory') })).toEqual({});
    write(rig, 'two');
    expect(await rig.run('ringbuf-read', { device: 'a', size: 9 })).toBe('two');
    expect(await rig.run('query-chardev')).toContainEqual({
      label: 'a',
      filename: 'memory',
      'frontend-open': true,
    });
    expect(await rig.human('chardev-change a null')).toBe('');
    write(rig, 'three');
    expect(await rig.human('info chardev')).toContain('a: filename=null\n');
  });

  it('are logged where a monitor asked for it', async () => {
    const host = new FakeHost();
    await using rig = await MonitorRig.ready('-chardev null,id=a -serial chardev:a', host);
    await rig.run('chardev-change', { id: 'a', backend: backend('null', { logfile: 'log' }) });
    write(rig, 'x');
    expect(host.output).toEqual(['log:x']);
  });

  it('that monitors or debug consoles use stay what they are', async () => {
    await using rig = await MonitorRig.ready('-chardev null,id=d -device isa-debugcon,chardev=d');
    for (const id of ['qmp', 'hmp', 'd'])
      expect(await rig.run('chardev-change', { id, backend: backend('null') })).toEqual(
        failure('Chardev user does not support chardev hotswap'),
      );
    expect(await rig.run('chardev-change', { id: 'zz', backend: backend('null') })).toEqual(
      failure("Chardev 'zz' does not exist"),
    );
  });

  it('can be shared by a mux that comes later', async () => {
    await using rig = await MonitorRig.ready();
    await rig.run('chardev-add', { id: 'base', backend: backend('ringbuf') });
    expect(await rig.run('chardev-add', { id: 'm', backend: backend('mux', { chardev: 'base' }) })).toEqual(
      {},
    );
    expect(await rig.run('chardev-remove', { id: 'base' })).toEqual(failure("Chardev 'base' is busy"));
    expect(await rig.human('chardev-add ringbuf,id=both,mux=on')).toBe('');
    expect(await rig.human('info chardev')).toContain('both: filename=mux\n');
  });

  it('are not streams, which are for programs', async () => {
    await using rig = await MonitorRig.ready();
    expect(await rig.run('chardev-add', { id: 's', backend: backend('stream') })).toEqual(
      failure("Parameter 'type' does not accept value 'stream'"),
    );
    expect(await rig.human('chardev-add stream,id=s')).toContain("'stream' is not a valid char driver name");
    expect(await rig.human('chardev-add help')).not.toContain('stream');
  });
});

describe('the backend of chardev-add', () => {
  it('has the types of -chardev, and is found in the schema', async () => {
    const names = chardevTypes.map(({ name }) => name).filter((name) => name !== 'stream' && name !== 'tty');
    expect(Object.keys(CHARDEV_BACKEND.variants ?? {}).sort()).toEqual([...names].sort());
    await using rig = await MonitorRig.ready();
    const schema = (await rig.run('query-qmp-schema')) as { name: string; [key: string]: unknown }[];
    const byName = (name: unknown) => schema.find((one) => one.name === name)!;
    const add = byName(byName('chardev-add')['arg-type']) as unknown as {
      members: { name: string; type: string }[];
    };
    const found = byName(add.members.find(({ name }) => name === 'backend')!.type) as unknown as {
      tag: string;
      variants: { case: string; type: string }[];
    };
    expect(found.tag).toBe('type');
    const socket = byName(found.variants.find((one) => one.case === 'socket')!.type) as unknown as {
      members: { type: string }[];
    };
    const data = byName(socket.members[0]!.type) as unknown as { members: { name: string }[] };
    expect(data.members.map(({ name }) => name).sort()).toEqual([
      ...['addr', 'logappend', 'logfile', 'nodelay', 'reconnect', 'server', 'telnet', 'tls-authz'],
      ...['tls-creds', 'tn3270', 'wait', 'websocket'],
    ]);
  });
});
