/** Whole machines with the tiny guest of the cache: what no test of one room shows. Skipped where there is none. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'paravane');
const guests = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith('tiny-')) : [];
const ready = existsSync('dist/index.js') && existsSync('dist/x86/runtime.wasm') && guests.length > 0;
const kernel = join(cache, guests.at(-1) ?? '', 'kernel');
const initrd = join(cache, guests.at(-1) ?? '', 'initrd');

/** A boot takes a few seconds on an idle machine; a busy one is given its time. */
const LONG = { timeout: 240_000 };

type Library = typeof import('../../src/index.ts');
/** The compiled library, as users have it: vitest's own compilation would slow the translator down. */
const library = async (): Promise<Library> => (await import(join(process.cwd(), 'dist/index.js'))) as Library;

const COMMON = { m: '256M', kernel, initrd, append: 'console=ttyS0 quiet' };

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function disk(name: string, mebibytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, mebibytes * 2 ** 20);
  return path;
}

/** A shell in the guest that runs commands and gives their output. */
async function boot(options: object): Promise<{
  vm: Awaited<ReturnType<Library['createMachine']>>;
  sh: (command: string) => Promise<string>;
}> {
  const { createMachine } = await library();
  const errors: string[] = [];
  const vm = await createMachine({ ...COMMON, ...options, onMessage: (text) => void errors.push(text) });
  const console = vm.serial[0]!;
  await vm.start();
  await console.waitFor('# ');
  await console.write('stty -echo; PS1=\n');
  let count = 0;
  const sh = async (command: string): Promise<string> => {
    const mark = `done${count++}:`;
    await console.write(`echo; echo start-${mark}; ${command}; echo ${mark}\n`);
    await console.waitFor(new RegExp(`^start-${mark}\\r?\\n`, 'm'));
    const text = await console.waitFor(new RegExp(`^${mark}`, 'm'));
    return text.slice(0, -mark.length).replaceAll('\r', '');
  };
  return { vm, sh };
}

describe.skipIf(!ready)('the tiny guest (needs a build and the guest: npm start makes both)', () => {
  it.each(['pc', 'q35'])('passes its self-test on %s', LONG, async (machine) => {
    const child = spawn(process.execPath, [
      'dist/cli/main.js',
      'run',
      'tiny',
      '--selftest',
      '--',
      '-machine',
      machine,
    ]);
    let out = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.resume();
    const code = await new Promise((resolve) => child.on('exit', resolve));
    expect(out).toMatch(/^selftest: \d+ passed, 0 failed$/m);
    for (const name of [
      'clock',
      'block.read',
      'block.write',
      'rng',
      'net.dhcp',
      'net.ping',
      'net.tcp',
      'port.echo',
    ])
      expect(out).toContain(`ok - ${name}\n`);
    expect(code).toBe(0);
  });

  it('reaches the host over the user network, and is reached through hostfwd', LONG, async () => {
    const body = Buffer.alloc(3 << 20, 'some bytes to fetch, 32 at a time');
    const server = http.createServer((_, response) => response.end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    const probe = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => probe.once('listening', resolve));
    const forwarded = (probe.address() as net.AddressInfo).port;
    await new Promise((resolve) => probe.close(resolve));
    const { vm, sh } = await boot({ nic: { type: 'user', hostfwd: `tcp:127.0.0.1:${forwarded}-:7777` } });
    try {
      const sum = await sh(`wget -q -O - http://10.0.2.2:${port}/x | sha1sum`);
      expect(sum).toContain(createHash('sha1').update(body).digest('hex'));
      await sh('(echo hello from the guest | nc -l -p 7777) & sleep 1');
      const text = await new Promise<string>((resolve, reject) => {
        let got = '';
        const socket = net.connect(forwarded, '127.0.0.1');
        socket.on('data', (data) => (got += data.toString()));
        socket.on('end', () => resolve(got));
        socket.on('error', reject);
      });
      expect(text).toBe('hello from the guest\n');
    } finally {
      server.close();
      await vm.quit();
    }
  });

  it('has what it wrote on the disk after its sync, and nothing of it with snapshot=on', LONG, async () => {
    const kept = disk('kept', 8);
    const thrown = disk('thrown', 8);
    const locked = disk('locked', 8);
    const { vm, sh } = await boot({
      net: 'none',
      drive: [
        { file: kept, if: 'virtio', format: 'raw', cache: 'writeback' },
        { file: thrown, if: 'virtio', format: 'raw', snapshot: true },
        { file: locked, if: 'virtio', format: 'raw', readonly: true },
      ],
    });
    try {
      await sh('for d in vda vdb; do echo "I was here" | dd of=/dev/$d conv=fsync 2>/dev/null; done');
      expect(await sh('head -c 10 /dev/vdb; cat /sys/block/vdc/ro')).toBe('I was here1\n');
      expect(await sh('echo x | dd of=/dev/vdc 2>&1 | head -1')).toMatch(
        /Operation not permitted|Read-only|can't open/,
      );
      // Nobody closed the file in order yet.
      expect(readFileSync(kept).subarray(0, 10).toString()).toBe('I was here');
      expect(readFileSync(thrown).subarray(0, 10).toString()).toBe('\0'.repeat(10));
    } finally {
      await vm.quit();
    }
  });

  it('stops and goes on, reboots, and powers off', LONG, async () => {
    const { vm, sh } = await boot({ net: 'none' });
    const before = Number.parseFloat(await sh('cut -d" " -f1 /proc/uptime'));
    vm.stop();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    vm.cont();
    const after = Number.parseFloat(await sh('cut -d" " -f1 /proc/uptime'));
    expect(after - before).toBeLessThan(2.9);
    let resets = 0;
    vm.on('reset', () => resets++);
    const console = vm.serial[0]!;
    await console.write('reboot -f\n');
    await console.waitFor(/A shell follows[\s\S]*# /);
    expect(resets).toBe(1);
    await console.write('poweroff -f\n');
    expect(await vm.wait()).toEqual({ reason: 'guest-shutdown', code: 0 });
  });

  it('idles without using the host', LONG, async () => {
    const { vm, sh } = await boot({ net: 'none' });
    try {
      await sh('sleep 2');
      const before = vm.stats()['instructions']!;
      await new Promise((resolve) => setTimeout(resolve, 3000));
      // A few hundred wake-ups at most; a busy wait would be hundreds of millions.
      expect(vm.stats()['instructions']! - before).toBeLessThan(20_000_000);
    } finally {
      await vm.quit();
    }
  });
});
