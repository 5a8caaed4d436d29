/** What a monitor is sent that it should not be: a clear error for each, nothing lost, nothing kept. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from './json/value.ts';
import { MonitorRig } from './rig.ts';

const errors = (rig: MonitorRig): unknown[] =>
  rig.said.flatMap(({ error }) => (error === undefined ? [] : [(error as JsonObject).desc]));

const alive = async (rig: MonitorRig): Promise<void> => {
  expect(await rig.run('query-status')).toMatchObject({ status: 'prelaunch' });
};

describe('QMP', () => {
  it.each([
    ['}', 'JSON parse error, expecting value'],
    ['{"execute": }', 'JSON parse error, expecting value'],
    ['{"execute": "stop"', undefined],
    ['"just text"', 'QMP input must be a JSON object'],
    ['{"execute": "query-status", "arguments": 5}', "QMP input member 'arguments' must be an object"],
    ['{"execute": "query-status", "id": {"a": [1]}, "zz": 1}', "QMP input member 'zz' is unexpected"],
    ['{"execute": "device_del", "arguments": {"id": "nope"}}', "Device 'nope' not found"],
    ['{"execute": "nope"}', 'The command nope has not been found'],
    ['{"execute": "__proto__"}', 'The command __proto__ has not been found'],
    [
      '{"execute": "device_add", "arguments": {"driver": "__proto__"}}',
      "'__proto__' is not a valid device model name",
    ],
    [
      '{"execute": "blockdev-add", "arguments": {"driver": "constructor"}}',
      "Parameter 'driver' does not accept value 'constructor'",
    ],
    [
      '{"execute": "netdev_add", "arguments": {"type": "toString", "id": "x"}}',
      "Parameter 'type' does not accept value 'toString'",
    ],
  ])('%s', async (text, expected) => {
    await using rig = await MonitorRig.ready();
    await rig.type(`${text}\n`);
    if (expected === undefined) {
      expect(rig.said).toEqual([]);
      // The rest comes later, or never: the next brace ends it.
      await rig.type('}');
      return;
    }
    expect(errors(rig)).toContain(expected);
    await alive(rig);
  });

  it('a line of ten megabytes is read, and answered like any other', async () => {
    await using rig = await MonitorRig.ready();
    const chunk = 'x'.repeat(65536);
    await rig.type('{"execute": "query-status", "arguments": {"x": "');
    for (let sent = 0; sent < 10 * 2 ** 20; sent += chunk.length) await rig.type(chunk);
    await rig.type('"}}\n');
    expect(errors(rig)).toEqual(["Parameter 'x' is unexpected"]);
    await alive(rig);
  }, 60_000);

  it('ten megabytes of answers that nobody asked twice for are all given', async () => {
    await using rig = await MonitorRig.ready();
    const id = 'i'.repeat(100_000);
    for (let i = 0; i < 20; i++) await rig.type(`{"execute": "query-status", "id": "${id}"}\n`);
    expect(rig.said.filter((one) => one.id === id)).toHaveLength(20);
  }, 60_000);

  it('control characters and wrong UTF-8 are errors, one at a time', async () => {
    await using rig = await MonitorRig.ready();
    await rig.type(Uint8Array.of(0xff, 0xfe, 0x0a));
    await rig.type(Uint8Array.of(0x22, 0xc0, 0x80, 0x22, 0x0a));
    await rig.type('\u0000\u0001\n');
    expect(errors(rig).length).toBeGreaterThan(0);
    await rig.type('\n');
    await alive(rig);
  });

  it('any bytes at all leave it answering', async () => {
    await using rig = await MonitorRig.ready();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await rig.type(bytes);
        // Closes whatever was opened, whatever it was: a text, brackets.
        await rig.type('"]}"]}\n');
        await rig.type(Uint8Array.of(0xff));
        rig.said.length = 0;
      }),
      { numRuns: 60 },
    );
    await rig.type('"\n');
    rig.said.length = 0;
    await rig.type('\n{"execute": "query-name", "id": "alive"}\n{"execute": "query-name", "id": "alive"}\n');
    expect(rig.said.some(({ id }) => id === 'alive')).toBe(true);
  });

  it('arguments of every command may be nonsense', async () => {
    await using rig = await MonitorRig.ready('-device virtio-serial-pci,id=ser0');
    const commands = (await rig.run('query-commands')) as readonly JsonObject[];
    const bad = [{ nonsense: 1 }, { id: null }, { device: [] }, { path: '\u0000' }, { options: [{}] }];
    for (const { name } of commands)
      for (const given of bad) {
        if (name === 'quit' || name === 'system_reset') continue;
        const answer = (await rig.run(String(name), given as never)) as JsonObject;
        if (answer !== null && typeof answer === 'object' && 'desc' in answer)
          expect(String(answer.desc)).not.toContain('internal error');
      }
    expect(rig.host.warnings.filter((text) => text.startsWith('monitor:'))).toEqual([]);
  });
});

describe('HMP', () => {
  it('arguments of every command may be nonsense', async () => {
    await using rig = await MonitorRig.ready('-device virtio-serial-pci,id=ser0');
    const { HMP_COMMANDS, INFO_COMMANDS } = await import('./hmp/commands.ts');
    const names = [
      ...HMP_COMMANDS.map(({ name }) => name),
      ...INFO_COMMANDS.map(({ name }) => `info ${name}`),
    ];
    for (const name of names) {
      if (['quit', 'system_reset'].includes(name)) continue;
      for (const rest of [
        '',
        ' "',
        ' -z',
        ' 5 5 5 5 5',
        ' \\',
        ' nope=1,=,',
        ' /999999999x 0',
        ` ${'('.repeat(500)}`,
      ])
        expect(await rig.human(`${name}${rest}`), `${name}${rest}`).not.toContain('internal error');
    }
    expect(rig.host.warnings.filter((text) => text.startsWith('monitor:'))).toEqual([]);
    expect(await rig.human('info status')).toContain('VM status');
  });

  it('a line without end is cut', async () => {
    await using rig = await MonitorRig.ready();
    for (let i = 0; i < 100; i++) await rig.keys('y'.repeat(1000));
    expect(await rig.human('')).toContain('unknown command');
    expect(await rig.human('info status')).toContain('VM status');
  });
});
