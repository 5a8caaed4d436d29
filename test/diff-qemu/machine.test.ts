/** The machine's own commands: dumps, actions, keys, trace points, descriptors, what is not there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comparable, human, Pair, run } from './rig.ts';

const OPTIONS = [
  ...['-M', 'pc', '-m', '64', '-display', 'none', '-nodefaults', '-S', '-qmp', 'stdio'],
  ...['-cpu', 'max', '-rtc', 'base=2030-01-02T03:04:05,clock=vm', '-device', 'virtio-rng-pci,id=r'],
];

const dump = (given: Readonly<Record<string, unknown>>): string =>
  run('dump-guest-memory', { paging: false, ...given });

const EQUAL = [
  run('query-tpm'),
  run('query-memory-devices'),
  run('query-hotpluggable-cpus'),
  run('query-acpi-ospm-status'),
  run('query-memdev'),
  run('query-yank'),
  run('query-jobs'),
  run('query-block-jobs'),
  run('query-vnc'),
  run('query-vnc-servers'),
  run('query-spice'),
  run('query-replay'),
  run('query-fdsets'),
  run('query-stats', { target: 'vm' }),
  run('query-stats-schemas'),
  run('query-display-options'),
  run('query-pr-managers'),
  run('query-migrate'),
  run('query-dump'),
  run('screendump', { filename: 'x.ppm' }),
  run('getfd', { fdname: 'x' }),
  run('closefd', { fdname: 'x' }),
  run('add-fd', {}),
  run('remove-fd', { 'fdset-id': 1 }),
  run('set-action', {}),
  run('set-action', { reboot: 'nope' }),
  run('set-action', { reboot: 'shutdown', shutdown: 'pause', panic: 'none' }),
  run('watchdog-set-action', { action: 'none' }),
  run('rtc-reset-reinjection'),
  run('system_wakeup'),
  run('inject-nmi'),
  run('send-key', { keys: [{ type: 'qcode', data: 'a' }] }),
  run('send-key', { keys: [{ type: 'qcode', data: 'nope' }] }),
  run('send-key', { keys: [{ type: 'number', data: 30 }], 'hold-time': 5 }),
  run('send-key', { keys: [{ type: 'qcode' }] }),
  run('send-key', { keys: [] }),
  run('send-key', {}),
  run('input-send-event', { events: [] }),
  run('trace-event-set-state', { name: 'nope', enable: true }),
  run('trace-event-get-state', { name: 'nope' }),
  run('query-command-line-options', { option: 'nope' }),
  run('query-cpu-model-expansion', { type: 'full', model: { name: 'nope' } }),
  run('query-cpu-model-expansion', { type: 'nope', model: { name: 'max' } }),
  run('query-cpu-model-expansion', { type: 'full' }),
  run('qom-get', { path: '/machine', property: 'rtc-time' }),
  run('qom-set', { path: '/nope', property: 'x', value: 1 }),
  run('qom-list-properties', { typename: 'nope' }),
  dump({ protocol: 'nope' }),
  dump({ protocol: 'fd:x' }),
  dump({ protocol: 'file:/nodir/x' }),
  dump({ protocol: 'file:d', begin: 0 }),
  dump({ protocol: 'file:d', length: 5 }),
  dump({ protocol: 'file:d', begin: 4096, length: 8192, format: 'kdump-zlib' }),
  dump({ protocol: 'file:d', format: 'kdump-lzo' }),
  dump({ protocol: 'file:d', format: 'nope' }),
  dump({ protocol: 'file:part', begin: 4096, length: 8192 }),
  run('query-dump'),
  dump({ protocol: 'file:beyond', begin: 2 ** 40, length: 4096 }),
  human('dump-guest-memory -z -l x'),
  human('dump-guest-memory'),
  human('screendump x.ppm'),
  human('sendkey ctrl-alt-f1'),
  human('sendkey a 100'),
  human('sendkey nope'),
  human('sendkey a-nope'),
  human('cpu 0'),
  human('cpu 1'),
  human('info kvm'),
  human('info numa'),
  human('info tpm'),
  human('info vnc'),
  human('info usb'),
  human('info profile'),
  human('info opcount'),
  human('info dump'),
  human('info memdev'),
  human('info memory-devices'),
  human('info hotpluggable-cpus'),
  human('info mem'),
  human('info tlb'),
  human('gva2gpa 0x1000'),
  human('info trace-events nope'),
  human('trace-event nope on'),
  human('watchdog_action none'),
  human('getfd x'),
  human('closefd x'),
  human('nmi'),
];

describe.runIf(comparable())('the machine of QEMU and ours', () => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start(OPTIONS, {});
  }, 60_000);

  afterAll(() => pair?.close());

  it('answers the same', { timeout: 60_000 }, async () => {
    expect(await pair.differences(EQUAL)).toEqual([]);
  });

  it('answers alike', { timeout: 60_000 }, async () => {
    const texts = [
      run('query-cpu-definitions'),
      run('query-current-machine'),
      run('query-dump-guest-memory-capability'),
      run('query-command-line-options', { option: 'drive' }),
      run('x-query-irq'),
      run('x-query-ramblock'),
    ];
    const absent = {
      'alias-of': 'models have no versions here',
      'unavailable-features': 'every model that there is can do all it says',
      default: 'no parameter has one',
    };
    expect(await pair.shapes(texts, absent)).toEqual([]);
  });

  it('dumps the same piece of memory to the same kind of file', () => {
    const parts = pair.folders.map((folder) => {
      const view = new DataView(Uint8Array.from(readFileSync(join(folder, 'part'))).buffer);
      const count = view.getUint16(56, true);
      const headers = Array.from({ length: count }, (_, index) => 64 + 56 * index);
      const load = headers.filter((at) => view.getUint32(at, true) === 1);
      return {
        magic: view.getUint32(0),
        type: view.getUint16(16, true),
        loads: load.map((at) => [view.getBigUint64(at + 24, true), view.getBigUint64(at + 32, true)]),
        size: view.byteLength - Number(view.getBigUint64(load[0]! + 8, true)),
      };
    });
    // Before the first instruction QEMU takes the processor for one of 32 bits, and writes such a file.
    expect(parts[1]).toEqual({ magic: 0x7f454c46, type: 4, loads: [[4096n, 8192n]], size: 8192 });
    expect(parts[0]!.magic).toBe(parts[1]!.magic);
    expect(parts[0]!.type).toBe(parts[1]!.type);
  });

  it('gives answers of the types that it declares', () => {
    expect(pair.invalid).toEqual([]);
  });
});
