/**
 * Code that changes, is shared, remapped or read from a disk, signals with changed contexts, single steps and debug
 * registers: one C program runs on the host's processor and in the tiny guest, and both say the same.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';
import { cpio } from '../guest/cpio.ts';

const guest = cachedGuest('tiny');
const compiler = spawnSync('gcc', ['--version']).status === 0 && process.arch === 'x64';
const ready = guest !== undefined && compiler && existsSync('dist/cli/main.js');
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const BLOCKS = 64;

describe.skipIf(!ready)('code that changes while it runs', () => {
  it('does in the guest what it does on the host', { timeout: 400_000 }, () => {
    const program = join(folder, 'code');
    const source = new URL('../guest/code.c', import.meta.url).pathname;
    const built = spawnSync('gcc', ['-O1', '-static', '-no-pie', '-o', program, source], {
      encoding: 'utf8',
    });
    expect(built.stderr).toBe('');
    // block n: mov eax, n; ret
    const disk = Buffer.alloc(BLOCKS * 4096, 0x90);
    for (let n = 0; n < BLOCKS; n++) disk.set([0xb8, n, 0, 0, 0, 0xc3], 4096 * n);
    const image = join(folder, 'blocks');
    writeFileSync(image, disk);

    const host = spawnSync(program, [image], { encoding: 'utf8', timeout: 60_000 });
    expect(host.status).toBe(0);
    const lines = host.stdout.trim().split('\n');
    expect(lines.at(-1)).toBe('end of code.c');
    expect(lines.length).toBeGreaterThan(25);

    const initrd = join(folder, 'initrd');
    const more = cpio([
      { name: 'bin/code', mode: 0o100755, data: readFileSync(program) },
      { name: 'etc/selftest', mode: 0o100644, data: Buffer.from('/bin/code /dev/vda\n') },
    ]);
    writeFileSync(initrd, Buffer.concat([readFileSync(guest!.initrd), gzipSync(more)]));
    const log = join(folder, 'console');
    const line = ['-nographic', '-nodefaults', '-no-reboot', '-m', '256', '-serial', `file:${log}`];
    line.push('-kernel', guest!.kernel, '-initrd', initrd);
    line.push('-append', 'console=ttyS0 quiet paravane.selftest');
    line.push('-drive', `file=${image},if=virtio,format=raw,readonly=on`);
    spawnSync(process.execPath, ['dist/cli/main.js', ...line], { timeout: 350_000 });
    const said = readFileSync(log, 'latin1').replaceAll('\r', '').split('\n');
    const first = said.indexOf(lines[0]!);
    expect(said.slice(first, first + lines.length)).toEqual(lines);
  });
});

it.runIf(!ready)('skipped: there is no tiny guest in the cache, no gcc, or no dist', () => {
  expect(ready).toBe(false);
});
