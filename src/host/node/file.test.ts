import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBlock } from '../../block/open.ts';
import { libc } from '../linux/libc.ts';
import { nodeBlockHost } from './file.ts';

let folder = '';
const warnings: string[] = [];
const host = nodeBlockHost((message) => warnings.push(message));
const image = (name: string, size: number): string => {
  const file = path.join(folder, name);
  fs.writeFileSync(file, new Uint8Array(size));
  return file;
};

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paravane-test-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe('files as disks', () => {
  it('reads and writes views of shared memory, small and large', async () => {
    const file = image('rw', 8 << 20);
    const disk = await openBlock({ file, format: 'raw' }, host);
    const memory = new Uint8Array(
      new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true }).buffer,
    );
    for (const length of [512, 65536, 3 << 20]) {
      memory.fill(length & 0x7f || 0x33, 0, length);
      await disk.write(4096, [memory.subarray(0, 100), memory.subarray(100, length)]);
      await disk.read(4096, [memory.subarray(8 << 20, (8 << 20) + length)]);
      expect(Buffer.compare(memory.subarray(0, length), memory.subarray(8 << 20, (8 << 20) + length))).toBe(
        0,
      );
    }
    await disk.flush();
    await disk.close();
    expect(fs.readFileSync(file).subarray(4096, 4196)).toEqual(Buffer.from(memory.subarray(0, 100)));
  });

  it('takes more buffers than one system call does', async () => {
    const disk = await openBlock({ file: image('iov', 1 << 20), format: 'raw' }, host);
    const data = Uint8Array.from({ length: 3000 * 16 }, (_, i) => i & 0xff);
    const parts = Array.from({ length: 3000 }, (_, i) => data.subarray(i * 16, i * 16 + 16));
    await disk.write(0, parts);
    const back = new Uint8Array(data.length);
    await disk.read(
      0,
      Array.from({ length: 3000 }, (_, i) => back.subarray(i * 16, i * 16 + 16)),
    );
    expect(back).toEqual(data);
    await disk.close();
  });

  it("refuses what is not there or not a file, in QEMU's words", async () => {
    const missing = path.join(folder, 'missing');
    await expect(openBlock({ file: missing, format: 'raw' }, host)).rejects.toThrow(
      `Could not open '${missing}': No such file or directory`,
    );
    await expect(openBlock({ file: folder, format: 'raw' }, host)).rejects.toThrow(
      `'file' driver requires '${folder}' to be a regular file`,
    );
    await expect(openBlock({ file: '/dev/null', format: 'raw' }, host)).rejects.toThrow('regular file');
    await expect(openBlock({ file: image('x', 512), format: 'qcow2' }, host)).rejects.toThrow(
      'not supported yet',
    );
    await expect(openBlock({ file: image('x', 512), format: 'foo' }, host)).rejects.toThrow(
      "Unknown driver 'foo'",
    );
    await expect(openBlock({ file: image('x', 512), cache: 'foo' }, host)).rejects.toThrow(
      'invalid cache option',
    );
  });

  it('warns when the format is guessed and refuses images of formats to come', async () => {
    const file = image('guess', 4096);
    warnings.length = 0;
    await (await openBlock({ file }, host)).close();
    expect(warnings[0]).toMatch(
      /^WARNING: Image format was not specified for '.*guess' and probing guessed raw\.\n/,
    );
    fs.writeFileSync(file, Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'));
    await expect(openBlock({ file }, host)).rejects.toThrow("format 'qcow2' is not supported yet");
  });

  it('opens empty files, and files that end within a sector', async () => {
    const empty = await openBlock({ file: image('empty', 0), format: 'raw' }, host);
    expect(empty.size).toBe(0);
    await empty.close();
    const file = image('odd', 1000);
    const odd = await openBlock({ file, format: 'raw' }, host);
    await odd.write(512, [new Uint8Array(512).fill(1)]);
    await odd.close();
    expect(fs.statSync(file).size).toBe(1024);
  });

  it('closes only after what is under way', async () => {
    const file = image('close', 64 << 20);
    const disk = await openBlock({ file, format: 'raw' }, host);
    const writes = [0, 1, 2, 3].map((n) => disk.write(n << 24, [new Uint8Array(16 << 20).fill(n + 1)]));
    await disk.close();
    await Promise.all(writes);
    const data = fs.readFileSync(file);
    for (const n of [0, 1, 2, 3])
      expect([data[n << 24], data[(n + 1) * (1 << 24) - 1]]).toEqual([n + 1, n + 1]);
  });

  it('snapshot=on leaves the file as it was', async () => {
    const file = image('snap', 1 << 20);
    const disk = await openBlock({ file, format: 'raw', snapshot: true }, host);
    await disk.write(512, [new Uint8Array(512).fill(9)]);
    const sector = new Uint8Array(512);
    await disk.read(512, [sector]);
    expect(sector[0]).toBe(9);
    await disk.close();
    expect(fs.readFileSync(file).every((byte) => byte === 0)).toBe(true);
  });

  it('works past the page cache or says that it cannot', async () => {
    warnings.length = 0;
    const file = image('direct', 1 << 20);
    const disk = await openBlock({ file, format: 'raw', cache: 'none' }, host);
    await disk.write(1024, [new Uint8Array(300).fill(4), new Uint8Array(724).fill(5)]);
    const back = new Uint8Array(1024);
    await disk.read(1024, [back]);
    expect(back.indexOf(5)).toBe(300);
    expect(back[0]).toBe(4);
    await disk.flush();
    await disk.close();
    expect(fs.readFileSync(file)[1024]).toBe(4);
    for (const warning of warnings) expect(warning).toContain('O_DIRECT');
  });

  it.skipIf(libc() === undefined)(
    'tells a file that may not grow by its errno name, and goes on after',
    async () => {
      // A full file system would need root to make; a limit on the size of files fails in the same place.
      const c = (createRequire(import.meta.url)('koffi') as typeof import('koffi')).load('libc.so.6');
      const setrlimit = c.func('int setrlimit64(int resource, void *limit)');
      c.func('void *signal(int number, intptr_t handler)')(25, 1); // SIGXFSZ, SIG_IGN
      const limit = (bytes: bigint): void => {
        const words = Buffer.alloc(16, 0xff);
        words.writeBigUInt64LE(bytes, 0);
        expect(setrlimit(1, words)).toBe(0); // RLIMIT_FSIZE
      };
      const disk = await openBlock({ file: image('limit', 65536), format: 'raw' }, host);
      fs.truncateSync(path.join(folder, 'limit'), 0);
      limit(8192n);
      try {
        expect(() => disk.write(8192, [new Uint8Array(4096)])).toThrow(
          expect.objectContaining({ code: 'EFBIG' }),
        );
        // The first half fits: the write is cut short by the system, the rest fails.
        expect(() => disk.write(4096, [new Uint8Array(8192)])).toThrow(
          expect.objectContaining({ code: 'EFBIG' }),
        );
      } finally {
        limit(2n ** 64n - 1n);
      }
      expect(disk.write(8192, [new Uint8Array(4096).fill(1)])).toBeUndefined();
      await disk.close();
    },
  );

  it.skipIf(libc() === undefined)('makes zeroes without writing them', async () => {
    const file = image('zero', 0);
    fs.writeFileSync(file, new Uint8Array(4 << 20).fill(1));
    fs.fsyncSync(fs.openSync(file, 'r+'));
    const disk = await openBlock({ file, format: 'raw', discard: 'unmap' }, host);
    await disk.discard(0, 2 << 20);
    await disk.writeZeroes(3 << 20, 4096, false);
    await disk.flush();
    const data = fs.readFileSync(file);
    expect(data.subarray(0, 2 << 20).every((byte) => byte === 0)).toBe(true);
    expect(data.subarray(2 << 20, 3 << 20).every((byte) => byte === 1)).toBe(true);
    expect(data[3 << 20]).toBe(0);
    expect(fs.statSync(file).blocks * 512).toBeLessThan(3 << 20);
    await disk.close();
  });
});

describe.skipIf(libc() === undefined)('locks', () => {
  it('refuse a second writer, and a reader beside a writer; readers share', async () => {
    const file = image('locked', 4096);
    const writer = await openBlock({ file, format: 'raw' }, host);
    await expect(openBlock({ file, format: 'raw' }, host)).rejects.toThrow(
      `Failed to get "write" lock\nIs another process using the image [${file}]?`,
    );
    await expect(openBlock({ file, format: 'raw', readonly: true }, host)).rejects.toThrow(
      `Failed to get shared "write" lock\nIs another process using the image [${file}]?`,
    );
    await writer.close();
    const one = await openBlock({ file, format: 'raw', readonly: true }, host);
    const two = await openBlock({ file, format: 'raw', readonly: true }, host);
    await one.close();
    await two.close();
  });

  const qemu = '/usr/bin/qemu-system-x86_64';
  it.skipIf(!fs.existsSync(qemu))('exclude QEMU, and QEMU excludes us', async () => {
    const file = image('shared', 4096);
    const drive = `file=${file},if=virtio,format=raw`;
    const common = ['-display', 'none', '-nodefaults', '-S', '-monitor', 'none', '-drive', drive];
    const ours = await openBlock({ file, format: 'raw' }, host);
    expect(() => execFileSync(qemu, common, { stdio: 'pipe', timeout: 10000 })).toThrow(
      'Failed to get "write" lock',
    );
    await ours.close();
    const child = spawn(qemu, [...common, '-qmp', 'stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
    // It answers its monitor once it has opened its disks.
    child.stdin.write('{"execute":"qmp_capabilities"}\n');
    await new Promise<void>((resolve) =>
      child.stdout.on('data', (data: Buffer) => data.includes('"return"') && resolve()),
    );
    await expect(openBlock({ file, format: 'raw' }, host)).rejects.toThrow('Failed to get "write" lock');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await gone;
  });
});

/** Runs a command as root would; undefined where that is not possible. */
function tryRun(command: string, ...args: string[]): string | undefined {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

describe('with what only root can make', () => {
  it('a block device is as large as the kernel says, and is read, written and zeroed', async ({ skip }) => {
    const device = tryRun('losetup', '-f', '--show', image('loop', 4 << 20));
    if (device === undefined) return skip('no loop devices here');
    try {
      for (const cache of ['writeback', 'none']) {
        const disk = await openBlock({ file: device, format: 'raw', cache, discard: 'unmap' }, host);
        expect(disk.size).toBe(4 << 20);
        await disk.write((4 << 20) - 512, [new Uint8Array(512).fill(8)]);
        await disk.flush();
        const sector = new Uint8Array(512);
        await disk.read((4 << 20) - 512, [sector]);
        expect(sector[511]).toBe(8);
        await disk.writeZeroes((4 << 20) - 4096, 4096, true);
        await disk.read((4 << 20) - 512, [sector]);
        expect(sector[511]).toBe(0);
        expect(() => disk.read(4 << 20, [sector])).toThrow('beyond');
        await disk.close();
      }
    } finally {
      tryRun('losetup', '-d', device);
    }
  });

  it('a full file system says ENOSPC, and all is well once there is room', async ({ skip }) => {
    const mount = path.join(folder, 'small');
    fs.mkdirSync(mount);
    if (tryRun('mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', mount) === undefined)
      return skip('cannot mount');
    try {
      const file = path.join(mount, 'disk');
      fs.writeFileSync(path.join(mount, 'filler'), new Uint8Array(512 << 10));
      fs.writeFileSync(file, '');
      fs.truncateSync(file, 4 << 20);
      const disk = await openBlock({ file, format: 'raw' }, host);
      const block = new Uint8Array(65536).fill(1);
      let written = 0;
      let code = '';
      for (let at = 0; at < 4 << 20 && code === ''; at += block.length) {
        try {
          await disk.write(at, [block]);
          written = at + block.length;
        } catch (error) {
          code = (error as { code: string }).code;
        }
      }
      expect(code).toBe('ENOSPC');
      expect(written).toBeGreaterThan(256 << 10);
      const large = disk.write(1 << 20, [new Uint8Array(2 << 20).fill(2)]);
      await expect(large).rejects.toMatchObject({ code: 'ENOSPC' });
      fs.unlinkSync(path.join(mount, 'filler'));
      await disk.write(written, [block]);
      await disk.flush();
      const back = new Uint8Array(65536);
      await disk.read(written, [back]);
      expect(Buffer.compare(back, block)).toBe(0);
      await disk.close();
    } finally {
      tryRun('umount', '-l', mount);
    }
  });
});
