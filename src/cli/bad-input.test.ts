/** Files that are missing, empty, truncated or wrong, for every option that names one: with the real host. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CliProcess } from '../host/node/cli-process.ts';
import { cliProcess } from '../host/node/cli-process.ts';
import { nodeMachineHost } from '../host/node/machine-host.ts';
import { FakeCpu, FakeHost } from '../machine/fake-host.ts';
import { cli } from './cli.ts';

let folder = '';
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-test-'));
  writeFileSync(file('empty'), '');
  writeFileSync(file('text'), 'this is no kernel\n'.repeat(1000));
  writeFileSync(file('disk'), '');
  truncateSync(file('disk'), 1 << 20);
  writeFileSync(file('odd'), 'x'.repeat(700));
  // A bzImage that ends in the middle of its header, and one whose payload is cut off.
  const kernel = new Uint8Array(0x4000);
  const view = new DataView(kernel.buffer);
  view.setUint8(0x1f1, 4);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x202, 0, true);
  kernel.set(new TextEncoder().encode('HdrS'), 0x202);
  view.setUint16(0x206, 0x020f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x1f4, 0x10000, true);
  view.setUint32(0x248, 0x100, true);
  view.setUint32(0x24c, 0x100000, true);
  writeFileSync(file('truncated'), kernel);
  writeFileSync(file('stub'), kernel.subarray(0, 0x210));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Exit code and messages of a command line; a guest that gets to run powers off at once. */
async function run(line: string): Promise<{ code: number; err: string }> {
  let err = '';
  const process: CliProcess = {
    ...cliProcess,
    argv: `-display none -net none -monitor none ${line}`.split(' '),
    stderrIsTerminal: false,
    colour: false,
    stdout: () => {},
    stderr: (text) => {
      if (!text.includes('nothing to boot')) err += text;
    },
    onSignal: () => () => {},
    exit: () => {},
  };
  const code = await cli(process, (warn) => {
    const fake = new FakeHost();
    fake.program = (cpu) => {
      cpu.bus.writePort(0x604, 2, 0x2000);
      return 'stopped';
    };
    return { ...nodeMachineHost(warn), createCpu: (request) => Promise.resolve(new FakeCpu(request, fake)) };
  });
  return { code, err };
}

const GONE = /No such file or directory/;

describe('files that are not there', () => {
  it.each([
    ['-kernel GONE', /^paravane: -kernel .*gone: Could not open '.*gone': No such file/],
    ['-kernel TEXT -initrd GONE', /^paravane: -initrd .*gone: Could not open '.*gone': No such file/],
    [
      '-drive file=GONE,if=virtio,format=raw',
      /^paravane: -drive file=.*: Could not open '.*gone': No such file/,
    ],
    ['-object rng-random,id=r,filename=GONE', /^paravane: -object .*: Could not open '.*gone': No such file/],
    ['-chardev file,id=c,path=GONE/x', GONE],
    ['-serial file:GONE/x', /^paravane: -serial file:.*No such file/],
    ['-chardev null,id=c,logfile=GONE/x', GONE],
    ['-chardev pipe,id=c,path=GONE', GONE],
    ['-chardev socket,id=c,path=GONE', /^paravane: -chardev .*: Failed to connect to '.*gone': No such file/],
    ['-chardev socket,id=c,path=GONE/x,server=on,wait=off', GONE],
    ['-D GONE/log', /Error opening logfile .*No such file/],
    ['-trace cpu.*,file=GONE/log', /Error opening logfile .*No such file/],
    ['-pidfile GONE/pid', /cannot create PID file: Could not create '.*': No such file/],
    ['-fw_cfg opt/a,file=GONE', /^paravane: -fw_cfg .*Could not open '.*gone': No such file/],
  ])('%s', async (line, message) => {
    const { code, err } = await run(line.replaceAll('GONE', file('gone')).replaceAll('TEXT', file('text')));
    expect(err).toMatch(message);
    expect(err.trim().split('\n').length).toBe(1);
    expect(code).toBe(1);
  });
});

describe('files that are not what they should be', () => {
  it.each([
    ['-kernel EMPTY', /^paravane: -kernel .*empty: the file is empty/, 2],
    ['-kernel TEXT', /^paravane: -kernel .*text: kernel image is neither/, 2],
    ['-kernel FOLDER', /^paravane: -kernel .*: Could not open '.*': Is a directory/, 1],
    ['-kernel STUB', /^paravane: -kernel .*stub: /, 2],
    ['-kernel TRUNCATED', /^paravane: -kernel .*truncated: /, 2],
    ['-drive file=FOLDER,if=virtio,format=raw', /'file' driver requires '.*' to be a regular file/, 1],
    ['-drive file=DISK,if=virtio,format=qcow3', /Unknown driver 'qcow3'/, 2],
    ['-drive file=DISK,if=virtio,format=qcow2', /format 'qcow2' is not supported yet/, 2],
    ['-object rng-random,id=r,filename=FOLDER -device virtio-rng-pci,rng=r', /^$/, 0],
  ])('%s', async (line, message, exit) => {
    const names = {
      EMPTY: 'empty',
      TEXT: 'text',
      STUB: 'stub',
      TRUNCATED: 'truncated',
      DISK: 'disk',
      FOLDER: '',
    };
    let words = line;
    for (const [key, name] of Object.entries(names)) words = words.replaceAll(key, file(name));
    const { code, err } = await run(words);
    expect(err).toMatch(message);
    expect(code).toBe(exit);
  });
});

describe('disks', () => {
  it('of odd sizes, empty ones, and read-only ones are taken', async () => {
    for (const line of [
      `-drive file=${file('odd')},if=virtio,format=raw`,
      `-drive file=${file('empty')},if=virtio,format=raw`,
      `-drive file=${file('disk')},if=virtio,format=raw,readonly=on`,
      `-drive file=${file('disk')},if=virtio,format=raw,snapshot=on`,
    ]) {
      const { code, err } = await run(line);
      expect(err, line).toBe('');
      expect(code, line).toBe(0);
    }
  });

  it('are warned of when their format is guessed', async () => {
    const { code, err } = await run(`-drive file=${file('disk')},if=virtio`);
    expect(err).toContain('Image format was not specified');
    expect(code).toBe(0);
  });

  it('are refused to a second user', async () => {
    const disk = `-drive file=${file('disk')},if=virtio,format=raw`;
    const { code, err } = await run(`${disk} ${disk}`);
    expect(err).toMatch(/Failed to get "write" lock/);
    expect(err).toMatch(/Is another process using the image/);
    expect(code).toBe(1);
  });
});
