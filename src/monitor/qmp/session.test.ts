import { describe, expect, it } from 'vitest';
import { FakeChardev } from '../../virtio/device/console/fake-chardev.ts';
import type { MonitorTarget } from '../target.ts';
import type { Command } from './command.ts';
import { command } from './command.ts';
import { QmpSession } from './session.ts';
import { array, bool, int, object, oneOf, str } from './types.ts';

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 3, "minor": 2, "major": 1}, "package": "p"}, "capabilities": ["oob"]}}';

let release: () => void = () => {};

const COMMANDS: readonly Command[] = [
  command({
    name: 'qmp_capabilities',
    help: '',
    arguments: { 'enable?': array(oneOf('oob')) },
    run: () => {},
  }),
  command({ name: 'ping', help: '', returns: str, run: () => 'pong' }),
  command({
    name: 'slow',
    help: '',
    run: () =>
      new Promise<void>((resolve) => {
        release = resolve;
      }),
  }),
  command({
    name: 'typed',
    help: '',
    arguments: {
      name: str,
      'count?': int,
      'on?': bool,
      'mode?': oneOf('a', 'b'),
      'deep?': object({ inner: str }),
    },
    returns: str,
    run: ({ name, count }) => `${name} ${count ?? '-'}`,
  }),
  command({
    name: 'broken',
    help: '',
    run: () => {
      throw new TypeError('ours');
    },
  }),
];

function session(room = Number.POSITIVE_INFINITY) {
  const chardev = new FakeChardev({ room });
  const bugs: unknown[] = [];
  const made = new QmpSession(chardev, {
    target: { ready: true } as MonitorTarget,
    commands: new Map(COMMANDS.map((one) => [one.name, one])),
    version: { major: 1, minor: 2, micro: 3, package: 'p' },
    oob: true,
    onBug: (error) => bugs.push(error),
  });
  let seen = 0;
  const lines = (): string[] => {
    const all = chardev.text.split('\r\n');
    const fresh = all.slice(seen, -1);
    seen = all.length - 1;
    return fresh;
  };
  const ask = async (text: string): Promise<string[]> => {
    chardev.send(text);
    await new Promise((resolve) => setImmediate(resolve));
    return lines();
  };
  chardev.connect();
  return { chardev, session: made, ask, lines, bugs };
}

const error = (desc: string, errorClass = 'GenericError'): string =>
  `{"error": {"class": "${errorClass}", "desc": "${desc}"}}`;

describe('a QMP client', () => {
  it('is greeted, and has to negotiate first', async () => {
    const { ask, lines } = session();
    expect(lines()).toEqual([GREETING]);
    expect(await ask('{"execute":"ping"}')).toEqual([
      error("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound'),
    ]);
    expect(await ask('{"execute":"qmp_capabilities"}')).toEqual(['{"return": {}}']);
    expect(await ask('{"execute":"qmp_capabilities"}')).toEqual([
      error('Capabilities negotiation is already complete, command ignored', 'CommandNotFound'),
    ]);
    expect(await ask('{"execute":"ping","id":{"a":[1,null]}}')).toEqual([
      '{"return": "pong", "id": {"a": [1, null]}}',
    ]);
  });

  it('starts anew when it comes back', async () => {
    const { ask, lines, chardev } = session();
    await ask('{"execute":"qmp_capabilities"}{"execute":"pi');
    chardev.disconnect();
    chardev.connect();
    expect(lines()).toEqual([GREETING]);
    expect(await ask('{"execute":"ping"}')).toEqual([
      error("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound'),
    ]);
  });

  it.each([
    ['[1,2]', 'QMP input must be a JSON object'],
    ['{}', "QMP input lacks member 'execute'"],
    ['{"execute":5}', "QMP input member 'execute' must be a string"],
    ['{"execute":"ping","arguments":5}', "QMP input member 'arguments' must be an object"],
    ['{"execute":"ping","arguments":null}', "QMP input member 'arguments' must be an object"],
    ['{"execute":"ping","foo":5}', "QMP input member 'foo' is unexpected"],
    ['{"exec-oob":"ping"}', "QMP input member 'exec-oob' is unexpected"],
    ['{"execute":"ping","arguments":{"x":1}}', "Parameter 'x' is unexpected"],
    ['{"execute":"typed"}', "Parameter 'name' is missing"],
    ['{"execute":"typed","arguments":{"name":1}}', "Invalid parameter type for 'name', expected: string"],
    [
      '{"execute":"typed","arguments":{"name":"","count":1.5}}',
      "Invalid parameter type for 'count', expected: integer",
    ],
    [
      '{"execute":"typed","arguments":{"name":"","count":18446744073709551615}}',
      "Invalid parameter type for 'count', expected: integer",
    ],
    [
      '{"execute":"typed","arguments":{"name":"","on":1}}',
      "Invalid parameter type for 'on', expected: boolean",
    ],
    ['{"execute":"typed","arguments":{"name":"","mode":"c"}}', "Parameter 'mode' does not accept value 'c'"],
    [
      '{"execute":"typed","arguments":{"name":"","deep":{"inner":5}}}',
      "Invalid parameter type for 'deep.inner', expected: string",
    ],
    ['{"execute":"typed","arguments":{"name":"","deep":{}}}', "Parameter 'deep.inner' is missing"],
    [
      '{"execute":"typed","arguments":{"name":"","deep":{"inner":"","x":1}}}',
      "Parameter 'deep.x' is unexpected",
    ],
    ['nonsense\n', "JSON parse error, invalid keyword 'nonsense'"],
  ])('is told what is wrong with %s', async (text, desc) => {
    const { ask } = session();
    await ask('{"execute":"qmp_capabilities"}');
    expect(await ask(text)).toEqual([error(desc)]);
  });

  it('may enable out-of-band execution, which no command has to support', async () => {
    const { ask, lines } = session();
    lines();
    expect(await ask('{"execute":"qmp_capabilities","arguments":{"enable":["x"]}}')).toEqual([
      error("Parameter 'null' does not accept value 'x'"),
    ]);
    expect(await ask('{"execute":"qmp_capabilities","arguments":{"enable":[5]}}')).toEqual([
      error("Invalid parameter type for 'enable[0]', expected: string"),
    ]);
    await ask('{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}');
    expect(await ask('{"exec-oob":"ping"}')).toEqual([error('The command ping does not support OOB')]);
    expect(await ask('{"exec-oob":"ping","execute":"ping"}')).toEqual([
      error("QMP input member 'execute' clashes with 'exec-oob'"),
    ]);
  });

  it('gets answers in order, also behind one that takes its time', async () => {
    const { ask, lines } = session();
    await ask('{"execute":"qmp_capabilities"}');
    expect(await ask('{"execute":"slow","id":1}{"execute":"ping","id":2}')).toEqual([]);
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(lines()).toEqual(['{"return": {}, "id": 1}', '{"return": "pong", "id": 2}']);
  });

  it('does not hear the answer to a client before it', async () => {
    const { ask, lines, chardev } = session();
    await ask('{"execute":"qmp_capabilities"}{"execute":"slow","id":1}');
    chardev.disconnect();
    chardev.connect();
    lines();
    release();
    expect(await ask('{"execute":"qmp_capabilities","id":2}')).toEqual(['{"return": {}, "id": 2}']);
  });

  it('is not read from while eight commands wait, or while it does not read', async () => {
    const { ask, chardev } = session();
    await ask('{"execute":"qmp_capabilities"}');
    await ask('{"execute":"slow"}');
    // The first is under way; a chunk may bring more than eight at once, but then nothing more is taken.
    for (let i = 0; i < 8; i++) await ask('{"execute":"ping"}');
    expect(chardev.frontend!.canReceive()).toBe(0);
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(chardev.frontend!.canReceive()).toBeGreaterThan(0);
    chardev.room = 0;
    await ask(`{"execute":"ping","id":"${'x'.repeat(70000)}"}`);
    expect(chardev.frontend!.canReceive()).toBe(0);
    chardev.drain(1e6);
    expect(chardev.frontend!.canReceive()).toBeGreaterThan(0);
  });

  it('that never reads loses events, beyond a bound', async () => {
    const { ask, chardev, session: made } = session();
    await ask('{"execute":"qmp_capabilities"}');
    const before = chardev.written.length;
    chardev.room = 0;
    for (let i = 0; i < 2000; i++) made.emit({ event: 'X', data: { text: 'x'.repeat(1000) } });
    chardev.drain(1e9);
    expect(chardev.written.length - before).toBeGreaterThan(2 ** 20);
    expect(chardev.written.length - before).toBeLessThan(2 ** 20 + 2000);
  });

  it('hears of a bug of ours, and so does the user', async () => {
    const { ask, bugs } = session();
    await ask('{"execute":"qmp_capabilities"}');
    expect(await ask('{"execute":"broken"}')).toEqual([error('internal error: TypeError: ours')]);
    expect(bugs).toHaveLength(1);
  });

  it('gets events only when it has negotiated', async () => {
    const { ask, lines, session: made } = session();
    lines();
    made.emit({ event: 'X' });
    expect(lines()).toEqual([]);
    await ask('{"execute":"qmp_capabilities"}');
    made.emit({ event: 'X' });
    expect(lines()).toEqual(['{"event": "X"}']);
  });
});
